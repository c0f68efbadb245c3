//! What nodes share beside the log, through Redis: tickets, revocations and rate limits.
//!
//! | file | what nodes share |
//! |---|---|
//! | `vault` | tickets and sessions, which any of them may redeem |
//! | `revocations` | rights that were taken back |
//! | `rates` | how often clients may do things, over all nodes |

mod beside;
mod names;
pub(crate) mod rates;
mod revocations;
mod vault;

pub use beside::Beside;
pub use names::Names;
pub use rates::Rates;
pub use revocations::{Figures, Ledger, Unwritten};
pub use vault::RedisVault;
