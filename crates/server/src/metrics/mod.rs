//! Metrics: what `/metrics` shows. Counters are plain and summed when somebody looks; a shared one would cost more than a
//! delivery.
//!
//! ```text
//! families   one table: name, type, label, what it means to whoever is on call ──▶ docs/metrics.md
//! collect    asks the parts of a node for their numbers, family by family
//! exposition writes them: OpenMetrics, or the text that Prometheus read before it
//! tally      what the control plane counts itself
//! ```

mod collect;
mod exposition;
mod families;
#[cfg(test)]
mod reference;
mod tally;

pub use collect::Metrics;
pub use exposition::Format;
pub use families::{Family, Kind, SECTIONS};
pub use tally::Tally;
