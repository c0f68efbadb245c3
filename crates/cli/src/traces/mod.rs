//! Traces: what the server did, exported to an OpenTelemetry collector (decision 35).
//!
//! ```text
//! a thread with clients ──span──> queue (bounded, counts what it drops) ──> a thread of its own ──HTTP──> collector
//! ```
//!
//! Said in the environment, by the names that every program with OpenTelemetry has, which is why there are no keys for it.

use crate::exit::Failure;

#[cfg(feature = "otlp")]
mod export;
#[cfg(not(feature = "otlp"))]
#[path = "no_export.rs"]
mod export;
#[cfg(feature = "otlp")]
mod queue;
#[cfg(feature = "otlp")]
mod sampling;

pub(crate) use export::Export;

/// The variables that say where the collector is, the more particular one first. The second leads to a base, below which traces
/// have a path.
const ENDPOINTS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];

/// What exports traces, as the environment has it; nothing where it names no collector.
///
/// # Errors
/// What is wrong with that.
pub(crate) fn open() -> Result<Option<Export>, Failure> {
    match asked() {
        Some((variable, endpoint)) => Export::open(variable, &endpoint),
        None => Ok(None),
    }
}

/// Which variable names a collector, and what it says, unless another one switches all of it off.
fn asked() -> Option<(&'static str, String)> {
    let is_off = set("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"))
        || set("OTEL_TRACES_EXPORTER").is_some_and(|value| value.trim() == "none");
    ENDPOINTS.into_iter().filter(|_| !is_off).find_map(|name| Some((name, set(name)?)))
}

/// A variable that is empty is not set (OpenTelemetry specification, "Environment variables").
fn set(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.trim().is_empty())
}
