//! Histograms: how long things took, in buckets that a scrape can add up over loops and nodes.
//!
//! Sketch: one observation is a look through fourteen numbers and two additions, without floating point and without a lock.

use std::sync::atomic::{AtomicU64, Ordering};

/// Upper bounds of the buckets, in microseconds. What is longer is in one bucket more.
///
/// From what a loop does in one turn to what a person takes for broken; each is two to two and a half times the one before.
pub const BOUNDS_US: [u64; 14] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    5_000_000,
];

/// Buckets, the one without a bound included.
const BUCKETS: usize = BOUNDS_US.len() + 1;

/// How often something took how long.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [AtomicU64; BUCKETS],
    sum_us: AtomicU64,
}

/// What a histogram held at one moment. Those of several can be added up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    /// Observations by bucket, each counted once; the last bucket has no bound.
    pub buckets: [u64; BUCKETS],
    /// All of them together, in microseconds.
    pub sum_us: u64,
}

impl Histogram {
    /// Adds an observation, in microseconds. Any thread may.
    pub fn observe(&self, micros: u64) {
        self.buckets[bucket(micros)].fetch_add(1, Ordering::Relaxed);
        self.sum_us.fetch_add(micros, Ordering::Relaxed);
    }

    /// The same where one thread alone adds: plain loads and stores, which contend with nobody.
    pub fn observe_alone(&self, micros: u64) {
        let add = |to: &AtomicU64, more| {
            to.store(to.load(Ordering::Relaxed).wrapping_add(more), Ordering::Relaxed);
        };
        add(&self.buckets[bucket(micros)], 1);
        add(&self.sum_us, micros);
    }

    /// What it holds now.
    #[must_use]
    pub fn observed(&self) -> Observed {
        Observed {
            buckets: std::array::from_fn(|index| self.buckets[index].load(Ordering::Relaxed)),
            sum_us: self.sum_us.load(Ordering::Relaxed),
        }
    }
}

impl Observed {
    /// How many observations there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// Both together.
    #[must_use]
    pub fn and(mut self, other: &Observed) -> Observed {
        self.buckets.iter_mut().zip(other.buckets).for_each(|(sum, more)| *sum += more);
        self.sum_us = self.sum_us.wrapping_add(other.sum_us);
        self
    }
}

fn bucket(micros: u64) -> usize {
    BOUNDS_US.iter().position(|bound| micros <= *bound).unwrap_or(BOUNDS_US.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_belongs_to_the_bucket_below_it() {
        let histogram = Histogram::default();
        [0, 100, 101, 5_000_000, 5_000_001].into_iter().for_each(|micros| histogram.observe(micros));
        histogram.observe_alone(u64::MAX / 2);
        let observed = histogram.observed();
        assert_eq!(
            (observed.buckets[0], observed.buckets[1], observed.buckets[13], observed.buckets[14]),
            (2, 1, 1, 2)
        );
        assert_eq!(observed.count(), 6);
        assert_eq!(observed.and(&observed).count(), 12);
        assert!(BOUNDS_US.is_sorted());
    }
}
