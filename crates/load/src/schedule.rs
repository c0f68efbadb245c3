//! When messages are due: a pure function of their number.

/// An even schedule.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    start_ns: u64,
    rate: f64,
    count: u64,
}

impl Schedule {
    /// `rate` messages a second from `start_ns` on, for `ns`; at least one.
    pub fn new(start_ns: u64, rate: f64, ns: u64) -> Schedule {
        Schedule { start_ns, rate, count: ((ns as f64 * rate / 1e9).ceil() as u64).max(1) }
    }

    /// When the one with this number is due; nothing after the last. It is worked out from the number alone, so that
    /// nothing adds up over time, and nothing that happened meanwhile moves it.
    pub fn due_ns(&self, number: u64) -> Option<u64> {
        (number < self.count).then(|| self.start_ns + (number as f64 * 1e9 / self.rate) as u64)
    }

    /// How many are due from `from_ns` on.
    pub fn count_from(&self, from_ns: u64) -> u64 {
        let before = (from_ns.saturating_sub(self.start_ns) as f64 * self.rate / 1e9).ceil() as u64;
        self.count.saturating_sub(before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_due_evenly_and_the_last_is_due_before_the_end() {
        let schedule = Schedule::new(1_000, 4.0, 1_000_000_000);
        let due: Vec<u64> = (0..).map_while(|number| schedule.due_ns(number)).collect();
        assert_eq!(due, [1_000, 250_001_000, 500_001_000, 750_001_000]);
        let counts = [0, 1_000, 1_001, 500_001_000, 500_001_001, 9_000_000_000]
            .map(|from_ns| schedule.count_from(from_ns));
        assert_eq!(counts, [4, 4, 3, 2, 1, 0]);
    }

    #[test]
    fn an_hour_at_an_odd_rate_does_not_drift() {
        let schedule = Schedule::new(0, 3.0, 3_600_000_000_000);
        assert_eq!(schedule.due_ns(10_797), Some(3_599_000_000_000));
        assert_eq!(schedule.due_ns(10_800), None);
    }

    #[test]
    fn a_rate_below_one_is_one_message_at_least() {
        let schedule = Schedule::new(7, 0.2, 1_000_000_000);
        assert_eq!((schedule.due_ns(0), schedule.due_ns(1)), (Some(7), None));
    }
}
