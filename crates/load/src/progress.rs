//! How a run gets on, while it does.

use std::time::Duration;

use crate::measured::Quantiles;

/// A look at a run.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// What is going on.
    pub phase: Phase,
    /// Since the phase began.
    pub elapsed: Duration,
    /// How long the phase takes; `None` where nobody knows.
    pub of: Option<Duration>,
    /// Subscribers that have joined.
    pub joined: usize,
    /// Messages that left.
    pub published: u64,
    /// Deliveries, each counted once.
    pub deliveries: u64,
    /// Since the last look, a second.
    pub deliveries_per_s: f64,
    /// Of the measured time so far; `None` before anything arrived.
    pub latency: Option<Quantiles>,
    /// Streams that the server ended.
    pub cut: u64,
    /// Publishes that were refused.
    pub refused: u64,
    /// Gaps that were announced.
    pub gaps: u64,
    /// Messages that left more than a millisecond late.
    pub late: u64,
}

/// What is going on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Subscribers join.
    Joining,
    /// Messages leave; nothing is measured yet.
    WarmUp,
    /// Messages leave.
    Measuring,
    /// Waiting for what has not arrived.
    Draining,
}

impl Phase {
    /// As users read it.
    pub fn name(self) -> &'static str {
        match self {
            Phase::Joining => "joining",
            Phase::WarmUp => "warm-up",
            Phase::Measuring => "measuring",
            Phase::Draining => "draining",
        }
    }
}
