//! What a run did: faults by kind, and what the code under test made of them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// Counts by name. Cloning shares them.
#[derive(Clone, Debug, Default)]
pub struct Tally(Arc<Mutex<BTreeMap<&'static str, u64>>>);

impl Tally {
    /// Counts one.
    pub fn count(&self, name: &'static str) {
        self.add(name, 1);
    }

    /// Counts `more`.
    pub fn add(&self, name: &'static str, more: u64) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.entry(name).or_default() += more;
    }

    /// How many of `name` there were.
    #[must_use]
    pub fn get(&self, name: &str) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(name).copied().unwrap_or(0)
    }

    /// How many there were of all names that begin with `prefix`.
    #[must_use]
    pub fn sum(&self, prefix: &str) -> u64 {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.iter().filter(|(name, _)| name.starts_with(prefix)).map(|(_, count)| count).sum()
    }

    /// Adds everything that `other` counted.
    pub fn take_in(&self, other: &Tally) {
        let other = other.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for (name, count) in other {
            self.add(name, count);
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let width = counts.keys().map(|name| name.len()).max().unwrap_or(0);
        counts.iter().try_for_each(|(name, count)| writeln!(f, "{name:width$}  {count:>9}"))
    }
}
