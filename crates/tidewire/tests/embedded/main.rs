//! Tidewire inside an application, from both sides: what the application calls, and what real clients of `axum::serve` see.
//!
//! | module | about |
//! |---|---|
//! | `promises` | order, resume, gaps and bounds of subscribers inside the process |
//! | `door` | who is let in: `on_authorize` in all its moods, origins, what is open by default |
//! | `wire` | SSE, WebSocket, polls and the control API through the router: nested, over HTTP/1.1 and HTTP/2 |
//! | `attacks` | what comes from whoever means ill: spellings, frames, decisions that never come, names that are none |
//! | `nodes` | two applications that share a real Redis |

#![allow(clippy::unwrap_used)] // The words of a test outside its functions; a panic is their report too.

mod attacks;
mod door;
mod nodes;
mod promises;
mod rig;
#[path = "../../../broker/tests/support/server.rs"]
#[allow(dead_code)] // The log's tests ask more of it.
mod server;
mod wire;
