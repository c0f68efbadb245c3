//! The fast path: counts who tries and who gets through, and holds them to this node's share where nodes share a limit.
//!
//! One lock among sixteen and one look-up; nothing here waits for Redis.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tidewire_auth::secret;
use tidewire_hub::broker::Now;
use tidewire_hub::channel::Channel;

use super::share::{Limit, Use};

/// What is limited, and whose.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Key {
    /// Publishes of a holder.
    Publisher(Arc<str>),
    /// Publishes to a channel.
    Channel(Channel),
    /// Tickets that a holder buys.
    Tickets(Arc<str>),
    /// Connections that an address opens.
    Arrivals(IpAddr),
    /// Wrong credentials of an address.
    Failures(IpAddr),
}

impl Key {
    /// What it is called in Redis: 128 bits that name neither subject nor address.
    pub(super) fn digest(&self) -> String {
        let text = match self {
            Key::Publisher(name) => format!("p {name}"),
            Key::Channel(channel) => format!("c {channel}"),
            Key::Tickets(name) => format!("t {name}"),
            Key::Arrivals(address) => format!("a {address}"),
            Key::Failures(address) => format!("f {address}"),
        };
        let mut digits = secret::hex(&secret::digest(&text));
        digits.truncate(32);
        digits
    }
}

/// How long a share holds without a new one: beyond it Redis is away, and the node's own limits are all there is.
const SHARE_MS: u64 = 2_500;

/// Keys that are counted at once, in each of the shards. Beyond: a new one has the node's own limit only.
const KEYS_MAX: usize = 8_192;

const SHARDS: usize = 16;

/// Counts by key.
pub(crate) struct Meter {
    shards: [Mutex<HashMap<Key, Entry>>; SHARDS],
    hasher: RandomState,
}

struct Entry {
    limit: Limit,
    used: Use,
    /// What may still be let through, and until when that holds.
    share: Option<(u32, u64)>,
}

/// What was counted of one key.
pub(super) type Counted = (Key, Limit, Use);

impl Meter {
    pub(crate) fn new() -> Meter {
        Meter { shards: std::array::from_fn(|_| Mutex::default()), hasher: RandomState::new() }
    }

    /// Whether one more is let through: by this node's share of `limit`, if it has one now, and by the node's own limiter,
    /// which is asked last, so that what the share refuses costs nothing there.
    pub(crate) fn take(&self, key: Key, limit: Limit, by_node: impl FnOnce() -> bool) -> bool {
        let mut shard = self.shard(&key);
        if shard.len() >= KEYS_MAX && !shard.contains_key(&key) {
            return by_node();
        }
        let fresh = || Entry { limit, used: Use::default(), share: None };
        let entry = shard.entry(key).or_insert_with(fresh);
        entry.limit = limit;
        entry.used.tried += 1;
        let passes = entry.share.is_none_or(|(left, _)| left > 0) && by_node();
        if passes {
            entry.used.taken += 1;
            if let Some((left, _)) = &mut entry.share {
                *left -= 1;
            }
        }
        passes
    }

    /// What was counted since the last time: of keys that have a share, and of those that used a tenth of what they may in
    /// an interval. The rest are not worth a word, and are forgotten; so are shares that are too old. Called once an
    /// interval, whatever becomes of Redis.
    pub(super) fn collect(&self, interval_ms: u64, now: Now) -> Vec<Counted> {
        let mut counted = Vec::new();
        for shard in &self.shards {
            let mut shard = lock(shard);
            shard.retain(|key, entry| {
                let used = std::mem::take(&mut entry.used);
                let is_shared = entry.share.is_some();
                entry.share = entry.share.filter(|(_, until_ms)| now.monotonic_ms < *until_ms);
                let worth = entry.limit.inflow(interval_ms) / 10.0;
                if used.tried > 0 && (is_shared || used.tried as f64 >= worth) {
                    counted.push((key.clone(), entry.limit, used));
                }
                entry.share.is_some()
            });
            shard.shrink_to_fit();
        }
        counted
    }

    /// Lets so many through until the next time.
    pub(super) fn allot(&self, key: &Key, limit: Limit, share: u32, now: Now) {
        let mut shard = self.shard(key);
        if shard.len() >= KEYS_MAX && !shard.contains_key(key) {
            return;
        }
        let fresh = || Entry { limit, used: Use::default(), share: None };
        let entry = shard.entry(key.clone()).or_insert_with(fresh);
        entry.share = Some((share, now.monotonic_ms.saturating_add(SHARE_MS)));
    }

    fn shard(&self, key: &Key) -> MutexGuard<'_, HashMap<Key, Entry>> {
        lock(&self.shards[self.hasher.hash_one(key) as usize % SHARDS])
    }
}

/// A panic elsewhere leaves counts as they were, which is right enough to go on with.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// As [`Meter::take`]; where nodes share nothing, the node's own limiter is all there is.
pub(crate) fn passes(
    meter: Option<&Arc<Meter>>,
    key: impl FnOnce() -> Key,
    limit: Limit,
    by_node: impl FnOnce() -> bool,
) -> bool {
    match meter {
        Some(meter) if limit.is_bound() => meter.take(key(), limit, by_node),
        _ => by_node(),
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Key::Publisher(_) => "Publisher(***)",
            Key::Channel(_) => "Channel(***)",
            Key::Tickets(_) => "Tickets(***)",
            Key::Arrivals(_) => "Arrivals(***)",
            Key::Failures(_) => "Failures(***)",
        })
    }
}

impl fmt::Debug for Meter {
    // Its keys are a list of users.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Meter").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(monotonic_ms: u64) -> Now {
        Now { monotonic_ms, wall_ms: 0, micros: 0 }
    }

    fn key(name: &str) -> Key {
        Key::Publisher(name.into())
    }

    const TEN: Limit = Limit { count: 10, period_ms: 1_000 };

    #[test]
    fn s37_a_share_bounds_what_passes_until_it_is_too_old() {
        let meter = Meter::new();
        meter.allot(&key("a"), TEN, 2, at(0));
        let take = |name| meter.take(key(name), TEN, || true);
        assert_eq!([(); 3].map(|()| take("a")), [true, true, false]);
        assert!(take("b"), "others are not concerned");
        let mut counted = meter.collect(1_000, at(SHARE_MS - 1));
        counted.sort_by(|a, b| a.0.cmp(&b.0));
        assert_eq!(counted[0], (key("a"), TEN, Use { tried: 3, taken: 2 }));
        assert!(!take("a"));
        meter.collect(1_000, at(SHARE_MS));
        assert!(take("a"), "Redis is away: the node's limit is all there is");
    }

    #[test]
    fn s37_what_the_share_refuses_costs_nothing_at_the_node() {
        let meter = Meter::new();
        meter.allot(&key("a"), TEN, 0, at(0));
        assert!(!meter.take(key("a"), TEN, || unreachable!()));
        assert!(!meter.take(key("b"), TEN, || false));
    }

    #[test]
    fn s37_who_uses_little_of_a_limit_is_not_worth_a_word() {
        let meter = Meter::new();
        let hundred = Limit::per_second(100);
        for (name, times) in [("little", 9), ("much", 10)] {
            for _ in 0..times {
                meter.take(key(name), hundred, || true);
            }
        }
        assert_eq!(meter.collect(1_000, at(0)), [(key("much"), hundred, Use { tried: 10, taken: 10 })]);
        assert!(meter.shards.iter().all(|shard| lock(shard).is_empty()), "nothing is kept");
    }

    #[test]
    fn s49_what_stands_in_redis_names_nobody_and_no_two_kinds_share_a_name() {
        let address: IpAddr = "203.0.113.7".parse().unwrap();
        let channel = Channel::parse("alice").unwrap();
        let all = [
            key("alice"),
            Key::Tickets("alice".into()),
            Key::Channel(channel),
            Key::Arrivals(address),
            Key::Failures(address),
        ]
        .map(|key| key.digest());
        for (at, name) in all.iter().enumerate() {
            assert!(name.len() == 32 && !name.contains("alice") && !all[..at].contains(name));
        }
    }
}
