//! When to come back: exponential, with full jitter, so that those who were cut together do not return together.

use std::time::Duration;

/// The first wait is below this.
const FIRST_MS: u64 = 500;
/// No wait is above this.
const MOST_MS: u64 = 30_000;

/// Attempts in a row that came to nothing.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// Something was received: the next cut is a new one.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }

    /// How long to wait before the next attempt.
    pub(crate) fn next(&mut self) -> Duration {
        let bound = Backoff::bound_ms(self.failures);
        self.failures = self.failures.saturating_add(1);
        // Without randomness there is no jitter, and coming back still beats not coming back.
        let random = getrandom::u64().unwrap_or(u64::MAX);
        Duration::from_millis(random % (bound + 1))
    }

    fn bound_ms(failures: u32) -> u64 {
        FIRST_MS.saturating_mul(1 << failures.min(16)).min(MOST_MS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_bound_and_start_anew_after_a_success() {
        assert_eq!([0, 1, 2, 6, 60].map(Backoff::bound_ms), [500, 1_000, 2_000, 30_000, 30_000]);
        let mut backoff = Backoff::default();
        for failures in 0..100 {
            assert!(backoff.next().as_millis() <= u128::from(Backoff::bound_ms(failures)));
        }
        backoff.reset();
        assert!(backoff.next().as_millis() <= u128::from(FIRST_MS));
    }
}
