//! What the API server answers: publishes, the control API, health, pages. Subscriptions are relayed to an outlet.
//!
//! ```text
//! request -> door (who are you, where are you from) -> router -> one file per answer
//! ```

pub(crate) mod assets;
pub mod batch;
mod body;
pub mod channel;
pub mod control;
mod door;
pub mod health;
mod json;
mod problem;
pub mod publish;
pub mod relay;
mod revoke;
pub mod router;
mod tickets;

pub use channel::is_subscription;
pub use door::Peer;
pub use health::is_health;
pub use problem::Problem;
pub(crate) use problem::trace_id;
pub use router::{Parts, admin_router, router};
