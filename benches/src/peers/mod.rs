//! Tidewire beside its peers, in one run: `cargo xtask bench peers`.
//!
//! ```text
//!   options -> run ----> start     a peer of the roster, as a fresh process on core 0
//!               |          |
//!               |          v
//!               +----> scenario -> audience (subscribers and publishers on core 1, speaking the peer's dialect)
//!               |
//!               v
//!            results -> tsv, document, chart
//! ```
//!
//! The peers' servers are the small programs of `benches/peers`. A peer that does not start or cannot do a scenario is
//! a row that says so.

mod audience;
mod chart;
mod dialect;
mod document;
mod facts;
mod figure;
mod options;
mod results;
mod roster;
mod run;
mod scenario;
mod socket_io;
mod start;

pub use run::run;
