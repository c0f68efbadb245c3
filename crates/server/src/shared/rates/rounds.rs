//! Rounds of telling and asking. No I/O; time is an argument.

use std::collections::HashMap;

use tidewire_hub::broker::Now;

use super::meter::{Key, Meter};
use super::share::{INTERVAL_MS, Told, Use, View};

/// Keys that one node tells of in one round. Beyond: those that are nearest to their limits; the rest have the node's own.
const KEYS_MAX: usize = 500;

/// The keys that this node follows.
#[derive(Debug, Default)]
pub(super) struct Rounds {
    views: HashMap<Key, View>,
}

/// What is told of one key.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) key: Key,
    pub(super) told: Told,
    /// Nodes that have long said nothing new of it.
    pub(super) silent: Vec<u64>,
}

impl Rounds {
    /// What to tell in this round, the most urgent first.
    pub(super) fn tell(&mut self, meter: &Meter, now: Now) -> Vec<Line> {
        let mut counted: HashMap<Key, _> = HashMap::new();
        for (key, limit, used) in meter.collect(INTERVAL_MS, now) {
            self.views.entry(key.clone()).or_insert_with(|| View::new(limit, now.monotonic_ms));
            counted.insert(key, (limit, used));
        }
        for (key, view) in &mut self.views {
            match counted.get(key) {
                Some((limit, used)) => view.count(*limit, *used),
                None => view.count(view.limit(), Use::default()),
            }
        }
        self.views.retain(|_, view| !view.is_idle());
        let mut keys: Vec<(f64, Key)> =
            self.views.iter().map(|(key, view)| (view.heat(), key.clone())).collect();
        keys.sort_by(|(a, _), (b, _)| b.total_cmp(a));
        for (_, key) in keys.drain(KEYS_MAX.min(keys.len())..) {
            self.views.remove(&key);
        }
        let line = |(_, key): (f64, Key)| {
            let view = self.views.get_mut(&key)?;
            Some(Line { told: view.told(), silent: view.take_silent(), key })
        };
        keys.into_iter().filter_map(line).collect()
    }

    /// Takes what other nodes told of one key, and allots this node's share.
    pub(super) fn hear(
        &mut self,
        meter: &Meter,
        key: &Key,
        others: impl IntoIterator<Item = (u64, Told)>,
        now: Now,
    ) {
        if let Some(view) = self.views.get_mut(key) {
            let share = view.share(others, now.monotonic_ms);
            meter.allot(key, view.limit(), share, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::share::Limit;
    use super::*;

    /// Three nodes and what they write on, second by second, each at a moment of its own.
    struct Stage {
        nodes: Vec<Node>,
        board: HashMap<Key, HashMap<u64, Told>>,
        redis_is_away: bool,
        now_ms: u64,
    }

    struct Node {
        meter: Meter,
        rounds: Rounds,
        /// The node's own limiter: a bucket for each key.
        buckets: HashMap<Key, (f64, u64)>,
    }

    const LIMIT: u32 = 20;

    impl Stage {
        fn of(count: usize) -> Stage {
            let node = || Node { meter: Meter::new(), rounds: Rounds::default(), buckets: HashMap::new() };
            let nodes = (0..count).map(|_| node()).collect();
            Stage { nodes, board: HashMap::new(), redis_is_away: false, now_ms: 10_000 }
        }

        fn now(&self) -> Now {
            Now { monotonic_ms: self.now_ms, wall_ms: 0, micros: 0 }
        }

        /// One try at one node.
        fn take(&mut self, node: usize, key: &Key) -> bool {
            let (now, limit) = (self.now(), Limit::per_second(LIMIT));
            let Node { meter, buckets, .. } = &mut self.nodes[node];
            let bucket = buckets.entry(key.clone()).or_insert((f64::from(LIMIT), now.monotonic_ms));
            let came = limit.inflow(now.monotonic_ms - bucket.1);
            *bucket = ((bucket.0 + came).min(f64::from(LIMIT)), now.monotonic_ms);
            meter.take(key.clone(), limit, || {
                let passes = bucket.0 >= 1.0;
                bucket.0 -= if passes { 1.0 } else { 0.0 };
                passes
            })
        }

        /// A second in tenths, with `tries` of one key at every node in each.
        fn second(&mut self, tries: &[usize], key: &Key) -> Vec<usize> {
            let mut passed = vec![0; tries.len()];
            for tenth in 0..10 {
                for (node, tries) in tries.iter().enumerate() {
                    for at in 0..*tries {
                        // Spread over the tenths, the first of them first.
                        if at % 10 == tenth && self.take(node, key) {
                            passed[node] += 1;
                        }
                    }
                    if (node * 3) % 10 == tenth {
                        self.round(node);
                    }
                }
                self.now_ms += 100;
            }
            passed
        }

        fn round(&mut self, at: usize) {
            let now = self.now();
            let node = &mut self.nodes[at];
            for line in node.rounds.tell(&node.meter, now) {
                if self.redis_is_away {
                    continue;
                }
                let board = self.board.entry(line.key.clone()).or_default();
                board.insert(at as u64, line.told);
                let others = board.iter().filter(|(node, _)| **node != at as u64);
                let others: Vec<(u64, Told)> = others.map(|(node, told)| (*node, *told)).collect();
                node.rounds.hear(&node.meter, &line.key, others, now);
            }
        }
    }

    fn key() -> Key {
        Key::Publisher("a".into())
    }

    /// What one node lets through at most in `seconds`, as any single server does.
    fn due(seconds: usize) -> usize {
        LIMIT as usize * (seconds + 1)
    }

    /// What three nodes let through until they know of each other: a bucket, and two seconds of inflow, each.
    const OVERSHOOT: usize = 3 * 3 * LIMIT as usize;

    #[test]
    fn s37_who_goes_to_one_node_only_gets_the_whole_limit_there() {
        let mut stage = Stage::of(3);
        for second in 0..30 {
            let passed = stage.second(&[LIMIT as usize, 0, 0], &key());
            assert_eq!(passed, [LIMIT as usize, 0, 0], "second {second}");
        }
    }

    #[test]
    fn s37_who_stays_below_the_limit_over_all_nodes_is_never_refused() {
        let mut stage = Stage::of(3);
        for second in 0..30 {
            assert_eq!(stage.second(&[6, 6, 6], &key()), [6, 6, 6], "second {second}");
        }
    }

    #[test]
    fn s37_who_hammers_all_nodes_gets_the_limit_once_and_no_less() {
        let mut stage = Stage::of(3);
        let mut total = 0;
        for _ in 0..120 {
            total += stage.second(&[100, 100, 100], &key()).iter().sum::<usize>();
        }
        println!("{total} of {} in 120 s", due(120));
        assert!(total <= due(120) + OVERSHOOT, "{total}");
        assert!(total >= due(120) * 9 / 10, "{total}");
        let last = stage.second(&[100, 100, 100], &key());
        assert!(last.iter().all(|passed| (4..=9).contains(passed)), "all have a share: {last:?}");
    }

    #[test]
    fn s37_bursts_between_rests_get_no_more_on_average() {
        for rest in 1..5 {
            let mut stage = Stage::of(3);
            let mut total = 0;
            for second in 0..120 {
                let tries = if second % (rest + 1) == 0 { 100 } else { 0 };
                total += stage.second(&[tries; 3], &key()).iter().sum::<usize>();
            }
            println!("rest {rest}: {total} of {}", due(120));
            assert!(total <= due(120) + OVERSHOOT, "rest {rest}: {total}");
        }
    }

    #[test]
    fn s37_a_share_follows_a_client_that_moves() {
        let mut stage = Stage::of(3);
        for _ in 0..10 {
            stage.second(&[LIMIT as usize, 0, 0], &key());
        }
        let passed: Vec<usize> = (0..10).map(|_| stage.second(&[0, LIMIT as usize, 0], &key())[1]).collect();
        assert!(passed.iter().sum::<usize>() >= 8 * LIMIT as usize, "{passed:?}");
        assert_eq!(passed[5..], [LIMIT as usize; 5]);
    }

    #[test]
    fn s37_without_redis_each_node_has_its_own_limit() {
        let mut stage = Stage::of(3);
        for _ in 0..20 {
            stage.second(&[100, 100, 100], &key());
        }
        stage.redis_is_away = true;
        for _ in 0..4 {
            stage.second(&[100, 100, 100], &key());
        }
        assert_eq!(stage.second(&[100, 100, 100], &key()), [LIMIT as usize; 3]);
        stage.redis_is_away = false;
        for _ in 0..20 {
            stage.second(&[100, 100, 100], &key());
        }
        let total: usize = (0..10).map(|_| stage.second(&[100; 3], &key()).iter().sum::<usize>()).sum();
        assert!(total <= 10 * LIMIT as usize + 3, "{total}");
    }

    #[test]
    fn s37_at_random_no_more_passes_than_the_limit_and_the_overshoot() {
        for seed in 0..40_u64 {
            let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
            let mut below = |most: u64| {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                random % most
            };
            let mut stage = Stage::of(3);
            let (mut total, mut tries) = (0, [0; 3]);
            for _ in 0..100 {
                if below(3) == 0 {
                    tries = [0; 3].map(|_: usize| [0, 0, 5, 30, 100][below(5) as usize]);
                }
                total += stage.second(&tries, &key()).iter().sum::<usize>();
            }
            assert!(total <= due(100) + OVERSHOOT, "seed {seed}: {total}");
        }
    }

    #[test]
    fn s37_so_many_keys_are_told_of_and_those_nearest_to_their_limits_first() {
        let mut stage = Stage::of(1);
        for number in 0..KEYS_MAX + 100 {
            let key = Key::Publisher(number.to_string().into());
            for _ in 0..if number < 100 { 19 } else { 3 } {
                stage.take(0, &key);
            }
        }
        let now = stage.now();
        let node = &mut stage.nodes[0];
        let lines = node.rounds.tell(&node.meter, now);
        assert_eq!((lines.len(), node.rounds.views.len()), (KEYS_MAX, KEYS_MAX));
        assert!(lines[..100].iter().all(|line| line.told.last.tried == 19));
    }

    #[test]
    fn a_key_that_nobody_uses_is_forgotten() {
        let mut stage = Stage::of(3);
        stage.second(&[100, 100, 100], &key());
        for _ in 0..20 {
            stage.second(&[0, 0, 0], &key());
        }
        assert!(stage.nodes.iter().all(|node| node.rounds.views.is_empty()));
    }
}
