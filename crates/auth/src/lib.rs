//! Gates: who may do what. All of them implement [`tidewire_hub::Gate`].
//!
//! | file | decides on |
//! |---|---|
//! | `dev` | everything, in dev mode |
//! | `guarded` | everything, in dev mode with the demonstrations: tokens count, and some channels want one |
//! | `gate` | everything, elsewhere, out of the following |
//! | `screen`, `allow`, `hosts`, `origin` | pages and names |
//! | `own` | pages of the console |
//! | `credentials`, `cookie` | which of a request's credentials counts |
//! | `jwt`, `verdict` | whether a token is genuine, and what it says |
//! | `judge`, `cache`, `claims` | what a token is worth |
//! | `api_key` | API keys |
//! | `ticket`, `visit`, `ledger`, `record`, `vault` | tickets, and the sessions of streams that they opened |

#![forbid(unsafe_code)]

pub mod allow;
pub mod api_key;
mod cache;
pub mod claims;
mod cookie;
mod credentials;
mod denials;
pub mod dev;
pub mod gate;
pub mod guarded;
pub mod hosts;
mod judge;
pub mod jwt;
mod ledger;
pub mod origin;
pub mod own;
mod record;
pub mod rules;
mod screen;
pub mod secret;
pub mod ticket;
pub mod vault;
mod verdict;
mod visit;

pub use claims::Claims;
pub use dev::DevGate;
pub use gate::{TokenGate, Unverified, Verify};
pub use guarded::GuardedGate;
pub use rules::{Rules, Settings, TicketLimits};
pub use ticket::{Ticket, Tickets};
pub use vault::{MemoryVault, Vault};
