//! What is measured: one file a figure, each a function from a fresh server, or a fresh cluster, to rounds of rows.

mod channels;
mod connect;
mod cost;
mod delivery;
mod fan;
mod handshakes;
mod idle;
mod interest;
mod measure;
mod multiplex;
mod nodes;
mod open_loop;
mod publish;
mod saturate;
mod slow;
mod stall;
mod storm;
mod streams;

pub use measure::measure;
