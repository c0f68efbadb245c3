//! What is measured: one file a figure, each a function from a fresh server to one round of rows.

mod connect;
mod delivery;
mod fan;
mod idle;
mod measure;
mod saturate;

pub use measure::measure;
