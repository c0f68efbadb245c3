//! HTTP/1.1 connections on tokio: those that the engine hands over, and those that we accept ourselves where there is
//! no engine.
//!
//! ```text
//! socket -> introduction (S41, where a proxy makes one) -> guard (S42 framing, S33 deadlines, orderly end) -> hyper -> api
//! ```

mod guard;
mod introduction;
mod pace;
mod serve;

pub(crate) use serve::TOO_MANY;
pub use serve::{Http, Incoming};
