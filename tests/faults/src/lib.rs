//! The fault campaign: real nodes and a real Redis, made to suffer under load, and a ledger that judges what subscribers
//! hear.
//!
//! ```text
//!   publishers ─┐              ┌─▶ node 0 ─┐
//!               ├─▶ proxies ───┼─▶ node 1 ─┼─▶ proxies ─▶ redis ◀─ replica, sentinels
//!   subscribers ┘              └─▶ node 2 ─┘
//!        │ write down                 ▲ ▲            ▲ ▲
//!        ▼                            └─┴── faults ──┴─┘
//!      ledger ◀── judged by invariants        │ noted
//!         ▲───────────────────────────────────┘
//! ```
//!
//! What is done, where and for how long follows from a seed; what comes of it depends on the machine, so a seed repeats the
//! schedule and not the interleaving. `cargo xtask faults --seed N` runs it.

#![forbid(unsafe_code)]

pub mod campaign;
pub mod cause;
pub mod cluster;
pub mod faults;
pub mod heard;
pub mod http;
pub mod id;
pub mod ledger;
pub mod node;
pub mod order;
pub mod owner;
pub mod process;
pub mod proxy;
pub mod publisher;
pub mod redis;
pub mod rng;
pub mod run;
pub mod server;
pub mod sse;
pub mod subscriber;
pub mod tally;
pub mod weather;
pub mod websocket;
