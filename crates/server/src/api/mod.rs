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
mod remember;
mod revoke;
pub mod router;
mod tickets;

pub(crate) use assets::serve as serve_file;
pub(crate) use body::read as read_body;
pub use channel::is_subscription;
pub use door::Peer;
pub(crate) use door::{Visitor, visitor};
pub use health::is_health;
pub(crate) use json::read as read_json;
pub use problem::Problem;
pub(crate) use problem::trace_id;
pub(crate) use publish::Receivers;
pub(crate) use relay::Relays;
pub(crate) use revoke::as_said as revoke_as_said;
pub use router::{Parts, admin_router, router};
