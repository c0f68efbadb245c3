//! What nodes share beside the log, through Redis: tickets, revocations, rate limits, and whether somebody looks.
//!
//! | file | what nodes share |
//! |---|---|
//! | `vault` | tickets and sessions, which any of them may redeem |
//! | `revocations` | rights that were taken back |
//! | `rates` | how often clients may do things, over all nodes |
//! | `lookout` | whether somebody looks at a console |

mod beside;
mod lookout;
mod names;
pub(crate) mod rates;
mod revocations;
mod vault;

pub use beside::Beside;
pub use lookout::Lookout;
pub use names::Names;
pub use rates::Rates;
pub use revocations::{Figures, Ledger, Unwritten};
pub use vault::RedisVault;
