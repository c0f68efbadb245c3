//! The seeded simulation: production's hub, memory broker, control plane and shards over a fake kernel, with
//! subscribers that speak real bytes, and a ledger that judges what they hear.
//!
//! ```text
//!   publishers ──▶ tap ──▶ broker ──▶ inbox + bell ──▶ shard ──▶ kernel ──▶ clients
//!                   │ notes                            production   fake       │ hear
//!                   ▼                                                          ▼
//!                 ledger  ◀──────────────── judged by invariants ────────── witness
//! ```
//!
//! [`cluster`] does the same with several nodes over a model of Redis.
//!
//! Everything runs on one thread and follows from one seed: `cargo run --release -p tidewire-sim -- --seed N` repeats
//! what a failure printed.

#![forbid(unsafe_code)]

pub mod client;
pub mod cluster;
pub mod ear;
pub mod heard;
pub mod kernel;
pub mod ledger;
pub mod mutant;
pub mod node;
pub mod profile;
pub mod retention;
pub mod rng;
pub mod socket;
pub mod speech;
pub mod tally;
pub mod tap;
pub mod witness;
pub mod world;
