//! Short polling, long polling, SSE and WebSocket compared: what was measured, what a larger crowd would take, and a verdict
//! with its reasons.
//!
//! ```text
//!   Measurement … ──▶ Comparison ─┬▶ case     what a larger crowd would take
//!                                 └▶ verdict  in words, or why there is none
//! ```
//!
//! Pure: whoever measures, `tidewire compare` in a terminal or the page of `serve --demo`, hands in figures and shows what
//! comes out. A run that lost anything, or in which the generator was at its limit, is shown and not judged.

#![forbid(unsafe_code)]

pub mod case;
pub mod comparison;
pub mod measurement;
pub mod numbers;
pub mod sample;
pub mod verdict;

pub use case::{Case, work_out};
pub use comparison::{Comparison, Setting};
pub use measurement::{Cost, Faults, Latency, Measurement, Spread, Transport};
pub use verdict::{Verdict, judge};
