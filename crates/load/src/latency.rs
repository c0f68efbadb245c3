//! Latency from when a message should have left to when a subscriber had it.

use hdrhistogram::Histogram;

use crate::measured::Quantiles;

/// Latencies of one run, in microseconds with three digits. Lost deliveries count as infinite.
pub struct Latency {
    spread: Histogram<u64>,
}

/// One minute: longer than any run waits, so nothing real is clamped.
const LONGEST_US: u64 = 60_000_000;

impl Latency {
    /// Nothing recorded yet.
    pub fn new() -> Latency {
        let spread = Histogram::new_with_bounds(1, LONGEST_US, 3).expect("1 < 60 000 000 and 3 digits <= 5");
        Latency { spread }
    }

    /// Forgets the warm-up.
    pub fn clear(&mut self) {
        self.spread.clear();
    }

    /// Writes down one delivery.
    pub fn record(&mut self, due_ns: u64, seen_ns: u64) {
        self.spread.saturating_record(seen_ns.saturating_sub(due_ns) / 1_000);
    }

    /// Adds those of another thread.
    pub fn add(&mut self, more: &Latency) {
        self.spread.add(&more.spread).expect("both have the same bounds");
    }

    /// Deliveries written down.
    pub fn count(&self) -> u64 {
        self.spread.len()
    }

    /// The usual four, `lost` deliveries counted as infinitely late.
    pub fn quantiles(&self, lost: u64) -> Quantiles {
        Quantiles {
            mean_ms: if lost == 0 { self.spread.mean() / 1_000.0 } else { f64::INFINITY },
            p50_ms: self.quantile_ms(0.5, lost),
            p99_ms: self.quantile_ms(0.99, lost),
            p999_ms: self.quantile_ms(0.999, lost),
            max_ms: self.quantile_ms(1.0, lost),
        }
    }

    /// Milliseconds that `share` (0 to 1) of all deliveries, `lost` ones included, did not exceed.
    pub fn quantile_ms(&self, share: f64, lost: u64) -> f64 {
        let seen = self.spread.len();
        let all = seen + lost;
        let rank = (share * all as f64).ceil();
        if seen == 0 || rank > seen as f64 {
            return f64::INFINITY;
        }
        self.spread.value_at_quantile(rank / seen as f64) as f64 / 1_000.0
    }
}

impl Default for Latency {
    fn default() -> Latency {
        Latency::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_the_latency_not_exceeded() {
        let mut latency = Latency::new();
        for ms in 1..=100 {
            latency.record(0, ms * 1_000_000);
        }
        assert!((latency.quantile_ms(0.5, 0) - 50.0).abs() < 0.1);
        assert!((latency.quantile_ms(1.0, 0) - 100.0).abs() < 0.1);
    }

    #[test]
    fn what_two_threads_saw_is_one_spread() {
        let (mut one, mut other) = (Latency::new(), Latency::new());
        (1..=50).for_each(|ms| one.record(0, ms * 1_000_000));
        (51..=100).for_each(|ms| other.record(0, ms * 1_000_000));
        one.add(&other);
        assert_eq!(one.count(), 100);
        assert!((one.quantile_ms(0.99, 0) - 99.0).abs() < 0.1);
    }

    #[test]
    fn a_lost_delivery_is_infinitely_late() {
        let mut latency = Latency::new();
        for _ in 0..99 {
            latency.record(0, 1_000_000);
        }
        assert!((latency.quantile_ms(0.99, 1) - 1.0).abs() < 0.01);
        assert!(latency.quantile_ms(1.0, 1).is_infinite());
    }
}
