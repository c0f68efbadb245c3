//! `tidewire compare`: the four transports side by side, measured, and a verdict with its reasons.
//!
//! ```text
//!   asked ──▶ runner ──▶ Measurement … ──▶ Comparison ─┬▶ case     what a larger crowd would take
//!             a fresh server for each run              ├▶ verdict  in words, or why there is none
//!                                                      └▶ table, report (HTML), JSON
//! ```
//!
//! Whatever is shown says whether it was measured or worked out. A run that lost anything, or in which the generator was
//! at its limit, is shown and not judged.

mod args;
mod case;
mod chart;
mod comparison;
mod date;
mod measurement;
mod numbers;
mod private;
mod report;
mod rounds;
mod runner;
mod sheet;
mod table;
mod verdict;

pub(crate) use args::Compare;
pub(crate) use runner::run;

#[cfg(test)]
mod tests;
