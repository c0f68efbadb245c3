//! What nodes share beside the log, through Redis: tickets, revocations and rate limits.
//!
//! | file | what nodes share |
//! |---|---|
//! | `vault` | tickets and sessions, which any of them may redeem |

mod names;
mod vault;

pub use names::Names;
pub use vault::RedisVault;
