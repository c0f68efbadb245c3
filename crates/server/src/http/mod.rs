//! HTTP connections on tokio: those that the engine hands over, and those that we accept ourselves where there is no
//! engine, or TLS.
//!
//! ```text
//!                                                          ┌─ HTTP/1.1 ─ guard (S42 framing, S33 deadlines, orderly end) ─ hyper ─┐
//! socket ─ introduction (S41, where a proxy makes one) ─ TLS                                                                      api
//!                                                          └─ HTTP/2 ─── calm (S34 floods, S33 deadlines) ──────────────── h2 ────┘
//! ```

mod calm;
mod connection;
mod guard;
mod http1;
mod http2;
mod introduction;
mod pace;
mod serve;
mod tracked;

pub(crate) use serve::TOO_MANY;
pub use serve::{Http, Incoming};
