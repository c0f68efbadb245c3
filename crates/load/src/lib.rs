//! An honest load generator: messages that leave on a fixed schedule, a histogram of how late they were seen, and a ledger
//! that every delivery is held to.
//!
//! ```text
//!   Plan --> run() --> Measured
//!
//!   publishing (a thread)              readers (a thread a share of the subscribers)
//!   schedule -> publisher -> POST      subscriber -> stream -> sse | websocket ─┐
//!                  └── verdict         poller -> answer -> page ────────────────┴─> payload -> ledger, latency
//!                                  └────────── shared: counts, clock, stop ──────────┘
//! ```
//!
//! The loop is open: a message is due whether or not the one before was answered, carries the time at which it was, and its
//! latency runs from there. So a server that stalls is charged for everything that should have happened meanwhile.

#![forbid(unsafe_code)]
#![cfg(target_os = "linux")]

pub mod answer;
mod costs;
pub mod error;
pub mod faults;
pub mod latency;
pub mod ledger;
mod listener;
pub mod measured;
pub mod meter;
pub mod payload;
pub mod plan;
pub mod poller;
pub mod progress;
pub mod publisher;
mod publishing;
mod readers;
pub mod refusal;
pub mod request;
mod run;
mod schedule;
mod shared;
pub mod sse;
pub mod stream;
pub mod subscriber;
pub mod sys;
mod verdict;
pub mod websocket;

pub use error::Error;
pub use measured::Measured;
pub use plan::{Plan, Target, Transport};
pub use progress::{Phase, Progress};
pub use run::run;
