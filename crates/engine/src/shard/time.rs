//! Time inside a shard: coarse ticks, a lazy timing wheel, and a clock that stands still while the loop is late.

use std::time::Duration;

/// Milliseconds in a tick. Deadlines are as precise as this.
pub(super) const TICK_MS: u64 = 32;

/// Ticks since the shard began; four years fit.
pub(super) type Tick = u32;

/// A duration in ticks, rounded up, so that nothing ends early.
pub(super) fn ticks(duration: Duration) -> Tick {
    let ticks = duration.as_millis().div_ceil(u128::from(TICK_MS));
    Tick::try_from(ticks).unwrap_or(Tick::MAX / 2)
}

/// The shard's own time. It advances with the kernel's, but by no more than the loop meant to wait and a little:
/// when the loop itself was late, deadlines grow by that time (delivery rule R30).
#[derive(Default)]
pub(super) struct Clock {
    kernel_ms: u64,
    shard_ms: u64,
}

/// How long a turn may take before it counts as late.
const LATE_MS: u64 = 250;

impl Clock {
    pub(super) fn starting_at(kernel_ms: u64) -> Clock {
        Clock { kernel_ms, shard_ms: 0 }
    }

    pub(super) fn advance(&mut self, kernel_ms: u64, meant_to_wait_ms: u64) {
        let passed = kernel_ms.saturating_sub(self.kernel_ms);
        self.kernel_ms = kernel_ms;
        self.shard_ms += passed.min(meant_to_wait_ms.saturating_add(LATE_MS));
    }

    pub(super) fn tick(&self) -> Tick {
        Tick::try_from(self.shard_ms / TICK_MS).unwrap_or(Tick::MAX)
    }

    /// Milliseconds until the beginning of `tick`.
    pub(super) fn until_ms(&self, tick: Tick) -> u64 {
        (u64::from(tick) * TICK_MS).saturating_sub(self.shard_ms)
    }
}

/// Buckets of the wheel: 131 seconds ahead. What is due later is looked at then and put back.
const BUCKETS: usize = 4096;

/// A timing wheel. Each connection stands in it once; a deadline that moved back is noticed when its time comes, so
/// that moving it costs nothing.
pub(super) struct Wheel {
    buckets: Vec<Vec<u64>>,
    /// A bit for every bucket that holds anything.
    occupied: [u64; BUCKETS / 64],
    /// Every bucket before this tick has been emptied.
    passed: Tick,
}

impl Default for Wheel {
    fn default() -> Wheel {
        Wheel { buckets: vec![Vec::new(); BUCKETS], occupied: [0; BUCKETS / 64], passed: 0 }
    }
}

impl Wheel {
    /// Puts `token` where it is looked at by `due`, and says at which tick that will be.
    pub(super) fn insert(&mut self, token: u64, due: Tick) -> Tick {
        let at = due.clamp(self.passed, self.passed + BUCKETS as Tick - 1);
        let bucket = at as usize % BUCKETS;
        self.buckets[bucket].push(token);
        self.occupied[bucket / 64] |= 1 << (bucket % 64);
        at
    }

    /// Moves every token whose time has come, up to and including `now`, into `due`.
    pub(super) fn expire(&mut self, now: Tick, due: &mut Vec<(u64, Tick)>) {
        while let Some(at) = self.next().filter(|at| *at <= now) {
            let bucket = at as usize % BUCKETS;
            // Taken with its memory: a storm of connections must not leave it behind in thousands of buckets.
            due.extend(std::mem::take(&mut self.buckets[bucket]).into_iter().map(|token| (token, at)));
            self.occupied[bucket / 64] &= !(1 << (bucket % 64));
            self.passed = at + 1;
        }
        self.passed = self.passed.max(now + 1);
    }

    /// The tick at which something is to be looked at next.
    pub(super) fn next(&self) -> Option<Tick> {
        let start = self.passed as usize % BUCKETS;
        let words = BUCKETS / 64;
        // One word more than there are: the first is looked at twice, its high bits now and its low bits last.
        for step in 0..=words {
            let word = (start / 64 + step) % words;
            let mask = match step {
                0 => !0 << (start % 64),
                _ if step == words => !(!0 << (start % 64)),
                _ => !0,
            };
            let bits = self.occupied[word] & mask;
            if bits != 0 {
                let bucket = word * 64 + bits.trailing_zeros() as usize;
                let ahead = (bucket + BUCKETS - start) % BUCKETS;
                return Some(self.passed + ahead as Tick);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wheel_names_what_is_due_and_nothing_else() {
        let mut wheel = Wheel::default();
        let mut due = Vec::new();
        assert_eq!(wheel.next(), None);
        assert_eq!(wheel.insert(1, 10), 10);
        assert_eq!(wheel.insert(2, 4_000), 4_000);
        assert_eq!(wheel.insert(3, 1_000_000), 4_095);
        assert_eq!(wheel.next(), Some(10));
        wheel.expire(9, &mut due);
        assert!(due.is_empty());
        wheel.expire(4_000, &mut due);
        assert_eq!(due, [(1, 10), (2, 4_000)]);
        assert_eq!(wheel.insert(4, 0), 4_001, "a deadline in the past is looked at next");
        assert_eq!(wheel.insert(5, 4_001 + 4_095), 8_096);
        due.clear();
        wheel.expire(8_096, &mut due);
        assert_eq!(due, [(4, 4_001), (3, 4_095), (5, 8_096)]);
        assert_eq!(wheel.next(), None);
    }

    #[test]
    fn r30_a_late_loop_stops_the_shards_clock() {
        let mut clock = Clock::starting_at(5_000);
        clock.advance(5_064, 64);
        assert_eq!(clock.tick(), 2);
        clock.advance(65_064, 64);
        assert_eq!(clock.tick(), 2 + (64 + LATE_MS as Tick) / TICK_MS as Tick);
    }
}
