//! Attempts to log in: five a minute from one address, wrong ones alone (security rule S51).

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use tidewire_transport::forwarded::prefix;

/// Attempts of one address within [`WINDOW_MS`].
pub(super) const ATTEMPTS_MAX: u32 = 5;

/// How long an attempt counts.
const WINDOW_MS: u64 = 60_000;

/// Addresses that are counted by themselves. All beyond share one count: who has so many is one.
const ADDRESSES_MAX: usize = 1_024;

/// Counts by address: a /32, or a /64 of IPv6.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    by_address: HashMap<IpAddr, Count>,
    others: Count,
}

/// Since when, and how many.
#[derive(Clone, Copy, Debug, Default)]
struct Count {
    since_ms: u64,
    attempts: u32,
}

impl Attempts {
    /// Whether `client` may try now, which counts at once: many tries at the same moment are many.
    pub(super) fn begin(&self, client: IpAddr, now_ms: u64) -> bool {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.of(prefix(client), now_ms);
        let may = count.attempts < ATTEMPTS_MAX;
        count.attempts += u32::from(may);
        may
    }

    /// The attempt was right, or was never looked at: it does not count.
    pub(super) fn forget(&self, client: IpAddr, now_ms: u64) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.of(prefix(client), now_ms);
        count.attempts = count.attempts.saturating_sub(1);
    }
}

impl Counts {
    fn of(&mut self, address: IpAddr, now_ms: u64) -> &mut Count {
        let is_over = |count: &Count| now_ms.saturating_sub(count.since_ms) >= WINDOW_MS;
        if self.by_address.len() >= ADDRESSES_MAX && !self.by_address.contains_key(&address) {
            self.by_address.retain(|_, count| !is_over(count));
        }
        let fresh = Count { since_ms: now_ms, attempts: 0 };
        let has_room = self.by_address.len() < ADDRESSES_MAX || self.by_address.contains_key(&address);
        let count = if has_room { self.by_address.entry(address).or_insert(fresh) } else { &mut self.others };
        if is_over(count) {
            *count = fresh;
        }
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(number: u32) -> IpAddr {
        IpAddr::V4(number.into())
    }

    #[test]
    fn s51_five_wrong_attempts_a_minute_are_all() {
        let (attempts, client) = (Attempts::default(), address(1));
        assert!((0..5).all(|_| attempts.begin(client, 1_000)));
        assert!(!attempts.begin(client, 60_999) && attempts.begin(address(2), 60_999));
        assert!(attempts.begin(client, 61_000), "a minute later");
    }

    #[test]
    fn s51_a_right_attempt_does_not_count() {
        let (attempts, client) = (Attempts::default(), address(1));
        for _ in 0..20 {
            assert!(attempts.begin(client, 0));
            attempts.forget(client, 0);
        }
    }

    #[test]
    fn s51_a_crowd_of_addresses_shares_what_is_left() {
        let attempts = Attempts::default();
        assert!((0..1_024).all(|number| attempts.begin(address(number), 0)));
        let more = (2_000..3_000).filter(|number| attempts.begin(address(*number), 1)).count();
        assert_eq!(more, 5);
        assert!(attempts.begin(address(7), 1), "who was counted before is not in the crowd");
        assert!(attempts.begin(address(4_000), 60_000), "and there is room again");
        assert_eq!(attempts.counts.lock().unwrap().by_address.len(), 1);
    }
}
