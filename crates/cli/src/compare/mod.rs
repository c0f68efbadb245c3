//! `tidewire compare`: the four transports side by side, measured, and a verdict with its reasons.
//!
//! ```text
//!   asked ──▶ runner ──▶ Measurement … ──▶ Comparison ─┬▶ case     what a larger crowd would take
//!             a fresh server for each run              ├▶ verdict  in words, or why there is none
//!                                                      └▶ table, report (HTML), JSON
//! ```
//!
//! What is measured, worked out and judged is in `tidewire_compare`; taking and showing it is here.
//!
//! Whatever is shown says whether it was measured or worked out. A run that lost anything, or in which the generator was
//! at its limit, is shown and not judged.

mod args;
mod chart;
mod date;
mod report;
mod rounds;
mod runner;
mod sheet;
mod table;

pub(crate) use args::Compare;
pub(crate) use runner::run;
