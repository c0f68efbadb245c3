//! Several nodes over one model of Redis: production's sequencer, control plane and shards, over links that lag and break,
//! servers that are promoted while they lag, and clients that move between nodes.
//!
//! ```text
//! publishers ──▶ member ──▶ sequencer ──orders──▶ link ──▶ server ──replicates──▶ server
//!                  ▲            │    ◀──reports──   lags     scripts as a model
//!                  │            ▼                  breaks
//!               shards ──▶ fake kernel ──▶ readers ──▶ judged against all that was ever placed
//! ```

mod judge;
mod link;
mod member;
mod reader;
mod server;
mod store;
pub mod world;
