//! What was fetched, how long it is good, and who waits for the next fetch. No socket and no clock: time is an argument.

use std::sync::Arc;

use tidewire_hub::Now;

use super::super::keys::KeySet;

/// No two fetches begin within this time, in milliseconds, however many ask (security rule S16).
pub(crate) const FETCH_INTERVAL_MS: u64 = 10_000;

/// How many tokens may wait for one fetch. A token has 8 KiB at most, so these take 8 MiB at most.
pub(crate) const WAITERS_MAX: usize = 1_024;

/// The last good set of keys, and those who wait for a newer one.
///
/// ```text
///  fetch begins          3/4 of its time          its time is over
///  ├── fresh ────────────┼── fetched in passing ──┼── waited for, unless the last try failed
/// ```
pub(crate) struct Cache<W> {
    keys: Option<Arc<KeySet>>,
    digest: Vec<u8>,
    refresh_at_ms: u64,
    expires_at_ms: u64,
    began_at_ms: Option<u64>,
    in_flight: bool,
    failing: bool,
    generation: u64,
    waiters: Vec<W>,
    fetches: u64,
    failures: u64,
    /// When the fetch began that brought what is known, or confirmed it.
    good_at_ms: Option<u64>,
}

/// What is known now.
#[derive(Clone, Debug)]
pub(crate) struct Current {
    pub keys: Option<Arc<KeySet>>,
    /// Whether it is all that one may decide by; otherwise a fetch has to be waited for.
    pub settled: bool,
    /// Changes with the keys.
    pub generation: u64,
}

/// What a fetch brought.
pub(crate) struct Fetched {
    pub keys: KeySet,
    /// What it was made of, to tell whether it is new.
    pub digest: Vec<u8>,
    /// How long it is good.
    pub lasts_ms: u64,
}

/// What somebody who wants newer keys has to do.
pub(crate) enum Wait<W> {
    /// To go by what is known: there is nothing newer now.
    Now(W),
    /// Nothing: the fetch under way will answer.
    Later,
    /// To begin a fetch, which will answer.
    Begin,
    /// To give up: too many wait already.
    Full(W),
}

impl<W> Cache<W> {
    pub(crate) fn new() -> Cache<W> {
        Cache {
            keys: None,
            digest: Vec::new(),
            refresh_at_ms: 0,
            expires_at_ms: 0,
            began_at_ms: None,
            in_flight: false,
            failing: false,
            generation: 0,
            waiters: Vec::new(),
            fetches: 0,
            failures: 0,
            good_at_ms: None,
        }
    }

    /// What is known, and whether the caller is the one to begin a fetch.
    pub(crate) fn current(&mut self, now: Now) -> (Current, bool) {
        let due = self.keys.is_none() || self.failing || now.monotonic_ms >= self.refresh_at_ms;
        let begin = due && self.begin(now);
        let settled = self.keys.is_some() && (now.monotonic_ms < self.expires_at_ms || self.failing);
        (Current { keys: self.keys.clone(), settled, generation: self.generation }, begin)
    }

    pub(crate) fn keys(&self) -> Option<Arc<KeySet>> {
        self.keys.clone()
    }

    /// Fetches that have ended, those of them that failed, and how old what is known is, in milliseconds.
    pub(crate) fn tally(&self, now: Now) -> (u64, u64, Option<u64>) {
        let age_ms = self.good_at_ms.map(|good_at_ms| now.monotonic_ms.saturating_sub(good_at_ms));
        (self.fetches, self.failures, age_ms)
    }

    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }

    /// Waits for something newer than `seen`, if there can be.
    pub(crate) fn wait(&mut self, seen: &Current, now: Now, waiter: W) -> Wait<W> {
        let changed = seen.generation != self.generation;
        if changed || !(self.in_flight || self.may_begin(now)) {
            return Wait::Now(waiter);
        }
        if self.waiters.len() >= WAITERS_MAX {
            return Wait::Full(waiter);
        }
        self.waiters.push(waiter);
        if self.begin(now) { Wait::Begin } else { Wait::Later }
    }

    /// Takes in what a fetch brought, and gives back those who wait. What was good stays so when a fetch fails.
    pub(crate) fn landed(&mut self, fetched: Option<Fetched>) -> Vec<W> {
        self.in_flight = false;
        self.failing = fetched.is_none();
        self.fetches += 1;
        self.failures += u64::from(self.failing);
        if let Some(Fetched { keys, digest, lasts_ms }) = fetched {
            // Counted from the beginning of the fetch: a key withdrawn while the answer was on its way is not in time.
            let began_at_ms = self.began_at_ms.unwrap_or_default();
            self.good_at_ms = Some(began_at_ms);
            self.refresh_at_ms = began_at_ms.saturating_add(lasts_ms / 4 * 3);
            self.expires_at_ms = began_at_ms.saturating_add(lasts_ms);
            if self.keys.is_none() || self.digest != digest {
                self.keys = Some(Arc::new(keys));
                self.digest = digest;
                self.generation += 1;
            }
        }
        std::mem::take(&mut self.waiters)
    }

    fn begin(&mut self, now: Now) -> bool {
        let begin = self.may_begin(now);
        if begin {
            self.in_flight = true;
            self.began_at_ms = Some(now.monotonic_ms);
        }
        begin
    }

    fn may_begin(&self, now: Now) -> bool {
        let rested = |began_at_ms| now.monotonic_ms.saturating_sub(began_at_ms) >= FETCH_INTERVAL_MS;
        !self.in_flight && self.began_at_ms.is_none_or(rested)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(monotonic_ms: u64) -> Now {
        Now { monotonic_ms, wall_ms: 0, micros: 0 }
    }

    fn fetched(digest: u8) -> Option<Fetched> {
        Some(Fetched { keys: KeySet::default(), digest: vec![digest], lasts_ms: 300_000 })
    }

    /// A cache that began a fetch at 0 and got an answer.
    fn filled() -> Cache<u32> {
        let mut cache = Cache::new();
        assert!(cache.current(at(0)).1);
        cache.landed(fetched(1));
        cache
    }

    #[test]
    fn s16_a_set_is_fetched_in_passing_before_its_time_is_over_and_waited_for_afterwards() {
        let mut cache = filled();
        let (current, begin) = cache.current(at(224_999));
        assert!(current.settled && !begin, "fresh");
        let (current, begin) = cache.current(at(225_000));
        assert!(current.settled && begin, "in passing");
        let (current, begin) = cache.current(at(299_999));
        assert!(current.settled && !begin, "one fetch at a time");
        let (current, _) = cache.current(at(300_000));
        assert!(!current.settled, "a key that was withdrawn is no key any more");
    }

    #[test]
    fn s16_the_last_good_set_is_kept_while_fetches_fail() {
        let mut cache = filled();
        assert!(cache.current(at(300_000)).1);
        cache.landed(None);
        for seconds in 301..310 {
            let (current, begin) = cache.current(at(seconds * 1_000));
            assert!(current.keys.is_some() && current.settled && !begin, "nobody waits in vain");
        }
        let (current, begin) = cache.current(at(310_000));
        assert!(current.settled && begin, "tried again in passing");
        cache.landed(fetched(2));
        let (current, begin) = cache.current(at(310_001));
        assert!(current.settled && !begin && current.generation == 2);
    }

    #[test]
    fn s16_one_fetch_in_ten_seconds_for_everybody() {
        let mut cache = filled();
        let seen = cache.current(at(1)).0;
        assert!(matches!(cache.wait(&seen, at(9_999), 1), Wait::Now(1)), "too soon");
        assert!(matches!(cache.wait(&seen, at(10_000), 2), Wait::Begin));
        assert!(matches!(cache.wait(&seen, at(10_001), 3), Wait::Later));
        assert_eq!(cache.landed(fetched(1)), [2, 3]);
        assert!(matches!(cache.wait(&seen, at(19_999), 4), Wait::Now(4)));
        assert!(matches!(cache.wait(&seen, at(20_000), 5), Wait::Begin));
        cache.landed(fetched(2));
        assert!(matches!(cache.wait(&seen, at(40_000), 6), Wait::Now(6)), "there is something newer already");
    }

    #[test]
    fn s16_who_waits_is_bounded() {
        let mut cache = filled();
        let seen = cache.current(at(1)).0;
        for waiter in 0..WAITERS_MAX {
            assert!(!matches!(cache.wait(&seen, at(10_000), waiter as u32), Wait::Full(_)));
        }
        assert!(matches!(cache.wait(&seen, at(10_000), 7), Wait::Full(7)));
        assert_eq!(cache.landed(None).len(), WAITERS_MAX);
    }

    #[test]
    fn the_generation_changes_with_the_keys_and_not_with_every_fetch() {
        let mut cache = filled();
        assert_eq!(cache.generation(), 1);
        for (digest, generation) in [(1, 1), (2, 2), (2, 2), (1, 3)] {
            cache.landed(fetched(digest));
            assert_eq!(cache.generation(), generation);
        }
        cache.landed(None);
        assert_eq!(cache.generation(), 3);
    }
}
