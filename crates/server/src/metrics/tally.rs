//! What the control plane counts itself: publishes, and tickets.

use std::sync::atomic::{AtomicU64, Ordering};

use tidewire_hub::histogram::Histogram;
use tidewire_hub::reason::Reason;

/// Counts of one node since its start. Any thread adds, once a publish or a ticket, never once a delivery.
#[derive(Debug)]
pub struct Tally {
    /// From a publish that was let in until its receipt, or the broker's refusal.
    pub publish: Histogram,
    published: AtomicU64,
    failures: Box<[AtomicU64]>,
    tickets: AtomicU64,
}

impl Default for Tally {
    fn default() -> Tally {
        let failures = Reason::ALL.iter().map(|_| AtomicU64::new(0)).collect();
        Tally {
            publish: Histogram::default(),
            published: AtomicU64::new(0),
            failures,
            tickets: AtomicU64::new(0),
        }
    }
}

impl Tally {
    /// Counts what came of a publish.
    pub fn published(&self, failure: Option<Reason>) {
        let count = failure.and_then(|reason| self.failures.get(reason as usize)).unwrap_or(&self.published);
        count.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a ticket that was issued.
    pub fn issued_ticket(&self) {
        self.tickets.fetch_add(1, Ordering::Relaxed);
    }

    /// Publishes that were stored or sent.
    #[must_use]
    pub fn publishes(&self) -> u64 {
        self.published.load(Ordering::Relaxed)
    }

    /// Publishes that were not, by reason.
    pub fn failures(&self) -> impl Iterator<Item = (Reason, u64)> {
        Reason::ALL.iter().copied().zip(self.failures.iter().map(|count| count.load(Ordering::Relaxed)))
    }

    /// Tickets issued.
    #[must_use]
    pub fn tickets(&self) -> u64 {
        self.tickets.load(Ordering::Relaxed)
    }
}
