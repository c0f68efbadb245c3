//! An honest load generator: messages that leave on a fixed schedule, a histogram of how late they were seen, and a ledger
//! that every delivery is held to.

#![forbid(unsafe_code)]
#![cfg(target_os = "linux")]

pub mod latency;
pub mod ledger;
pub mod meter;
pub mod payload;
pub mod publisher;
pub mod sse;
pub mod stream;
pub mod subscriber;
pub mod sys;
pub mod websocket;
