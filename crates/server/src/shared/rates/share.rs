//! One limit of one key, as one node sees it: how full the bucket is that all nodes take from, and which share of it is this
//! node's. No I/O; time is an argument.
//!
//! ```text
//! every second   level = what was there + what flowed in - what all nodes took      may be a debt
//!                all   = level + what will flow in until the next time              nothing where that is a debt
//!                share = all, by how often clients tried here and elsewhere
//! ```

use std::collections::BTreeMap;

/// A limit: so many within a period, and as many at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limit {
    pub(crate) count: u32,
    pub(crate) period_ms: u32,
}

impl Limit {
    /// At least one, as the node's own limiters have it.
    pub(crate) fn per_second(count: u32) -> Limit {
        Limit { count: count.max(1), period_ms: 1_000 }
    }

    /// As [`Limit::per_second`].
    pub(crate) fn per_minute(count: u32) -> Limit {
        Limit { count: count.max(1), period_ms: 60_000 }
    }

    /// Whether it is one at all: a configuration has `u32::MAX` for none.
    pub(super) fn is_bound(self) -> bool {
        self.count < u32::MAX
    }

    /// What flows in while `ms` pass.
    pub(super) fn inflow(self, ms: u64) -> f64 {
        f64::from(self.count) * ms as f64 / f64::from(self.period_ms)
    }
}

/// How often a node tells and asks.
pub(super) const INTERVAL_MS: u64 = 1_000;

/// The largest debt, in buckets: who was let through far too often is shut out for so many periods at most.
const DEBT_MAX: f64 = 10.0;

/// Intervals in which a node said nothing new, until what it said before is deleted.
const SILENT_MAX: u32 = 30;

/// What clients did at one node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Use {
    /// How often they tried.
    pub(super) tried: u64,
    /// How often they were let through.
    pub(super) taken: u64,
}

impl Use {
    fn plus(self, other: Use) -> Use {
        Use { tried: self.tried.saturating_add(other.tried), taken: self.taken.saturating_add(other.taken) }
    }

    /// Nothing where the count began anew.
    fn since(self, earlier: Use) -> Option<Use> {
        Some(Use {
            tried: self.tried.checked_sub(earlier.tried)?,
            taken: self.taken.checked_sub(earlier.taken)?,
        })
    }
}

/// What a node tells the others about a key. Absolute, so that it may be told twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Told {
    /// Since the node began to tell.
    pub(super) total: Use,
    /// In its last interval, for whoever has not heard of it before.
    pub(super) last: Use,
}

impl Told {
    pub(super) fn write(&self) -> String {
        let Told { total, last } = self;
        format!("{} {} {} {}", total.tried, total.taken, last.tried, last.taken)
    }

    /// Nothing where it is not what [`Told::write`] writes (fault F33).
    pub(super) fn read(text: &[u8]) -> Option<Told> {
        let mut numbers = std::str::from_utf8(text).ok()?.split(' ').map(|word| word.parse().ok());
        let mut uses = || Some(Use { tried: numbers.next()??, taken: numbers.next()?? });
        let told = Told { total: uses()?, last: uses()? };
        numbers.next().is_none().then_some(told)
    }
}

/// A key that this node follows.
#[derive(Debug)]
pub(super) struct View {
    limit: Limit,
    level: f64,
    level_at_ms: u64,
    told: Told,
    /// What was done here since the level was last computed.
    own: Use,
    /// What every other node told last, and how often it has told the same.
    others: BTreeMap<u64, (Told, u32)>,
    /// What is left of shares that were no whole number.
    carry: f64,
}

impl View {
    /// A full bucket, as it stood an interval ago.
    pub(super) fn new(limit: Limit, now_ms: u64) -> View {
        View {
            limit,
            level: f64::from(limit.count),
            level_at_ms: now_ms.saturating_sub(INTERVAL_MS),
            told: Told::default(),
            own: Use::default(),
            others: BTreeMap::new(),
            carry: 0.0,
        }
    }

    /// Counts what was done here within an interval, under this limit.
    pub(super) fn count(&mut self, limit: Limit, used: Use) {
        if self.limit != limit {
            (self.limit, self.level) = (limit, self.level.min(f64::from(limit.count)));
        }
        self.told = Told { total: self.told.total.plus(used), last: used };
        self.own = self.own.plus(used);
    }

    pub(super) fn limit(&self) -> Limit {
        self.limit
    }

    /// What the other nodes are to know.
    pub(super) fn told(&self) -> Told {
        self.told
    }

    /// Whether it need not be followed any more: nothing was done here, and nothing is owed.
    pub(super) fn is_idle(&self) -> bool {
        self.told.last == Use::default() && self.own == Use::default() && self.level >= 0.0
    }

    /// How urgent it is to tell: what clients tried, of what they may.
    pub(super) fn heat(&self) -> f64 {
        let debt = if self.level < 0.0 { 1.0 } else { 0.0 };
        debt + self.told.last.tried as f64 / self.limit.inflow(INTERVAL_MS).max(f64::MIN_POSITIVE)
    }

    /// Takes what the others have told, and gives what may be let through here until the next time.
    pub(super) fn share(&mut self, others: impl IntoIterator<Item = (u64, Told)>, now_ms: u64) -> u32 {
        let mut elsewhere = Use::default();
        for (node, told) in others {
            let since = match self.others.get_mut(&node) {
                Some((before, silent)) => {
                    let since = told.total.since(before.total).unwrap_or(told.last);
                    *silent = if since == Use::default() { *silent + 1 } else { 0 };
                    *before = told;
                    since
                }
                None => {
                    self.others.insert(node, (told, 0));
                    told.last
                }
            };
            elsewhere = elsewhere.plus(since);
        }
        let own = std::mem::take(&mut self.own);
        let most = f64::from(self.limit.count);
        let came = self.limit.inflow(now_ms.saturating_sub(self.level_at_ms));
        let went = own.plus(elsewhere).taken as f64;
        self.level = (self.level + came - went).clamp(-DEBT_MAX * most, most);
        self.level_at_ms = now_ms;
        let all = (self.level + self.limit.inflow(INTERVAL_MS)).max(0.0);
        let (here, there) = (own.tried as f64, elsewhere.tried as f64);
        // By demand where it is too much, and otherwise all that the others leave.
        let by_demand = if own.tried == 0 { 0.0 } else { all * here / (here + there) };
        let share = by_demand.max(all - there) + self.carry;
        self.carry = share.fract();
        // Never more than a bucket and its inflow, which is in bounds.
        share as u32
    }

    /// Nodes that have said nothing new for so long that they are forgotten, here and in Redis.
    pub(super) fn take_silent(&mut self) -> Vec<u64> {
        let silent: Vec<u64> = self
            .others
            .iter()
            .filter(|(_, (_, silent))| *silent > SILENT_MAX)
            .map(|(node, _)| *node)
            .collect();
        for node in &silent {
            self.others.remove(node);
        }
        silent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEN: Limit = Limit { count: 10, period_ms: 1_000 };

    fn used(tried: u64, taken: u64) -> Use {
        Use { tried, taken }
    }

    fn told(total: (u64, u64), last: (u64, u64)) -> Told {
        Told { total: used(total.0, total.1), last: used(last.0, last.1) }
    }

    #[test]
    fn f33_what_a_node_told_is_read_back_and_junk_is_not() {
        let it = told((1, 2), (3, u64::MAX));
        assert_eq!(Told::read(it.write().as_bytes()), Some(it));
        for junk in ["", "1 2 3", "1 2 3 4 5", "1 2 3 -4", "1  2 3", "a b c d", "1 2 3 99999999999999999999"]
        {
            assert_eq!(Told::read(junk.as_bytes()), None, "{junk:?}");
        }
        assert_eq!(Told::read(&[0xff]), None);
    }

    #[test]
    fn s37_who_is_alone_may_take_all_of_it() {
        let mut view = View::new(TEN, 1_000);
        view.count(TEN, used(10, 10));
        assert_eq!(view.share([], 1_000), 20, "a full bucket, and what flows in");
        view.count(TEN, used(20, 20));
        assert_eq!(view.share([], 2_000), 10);
    }

    #[test]
    fn s37_shares_go_by_what_was_tried() {
        let mut view = View::new(TEN, 1_000);
        view.count(TEN, used(30, 10));
        assert_eq!(
            view.share([(7, told((90, 10), (90, 10)))], 1_000),
            2,
            "a quarter of ten, less the fraction"
        );
        view.count(TEN, used(30, 2));
        let share = view.share([(7, told((180, 18), (90, 8)))], 2_000);
        assert_eq!(share, 3, "a quarter of ten, and the fraction");
    }

    #[test]
    fn s37_what_was_taken_too_much_is_owed() {
        let mut view = View::new(TEN, 1_000);
        view.count(TEN, used(20, 20));
        let mut shares = vec![view.share([(7, told((20, 20), (20, 20)))], 1_000)];
        for second in 2..6 {
            view.count(TEN, used(5, 0));
            shares.push(view.share([(7, told((20, 20), (20, 20)))], second * 1_000));
        }
        assert_eq!(shares, [0, 0, 10, 20, 20], "twenty too many, ten a second");
    }

    #[test]
    fn s37_what_is_told_twice_counts_once_and_a_node_that_began_anew_counts_its_last() {
        let mut view = View::new(TEN, 1_000);
        for (second, (it, share)) in
            [(told((10, 10), (10, 10)), 10), (told((10, 10), (10, 10)), 20), (told((4, 4), (4, 4)), 16)]
                .into_iter()
                .enumerate()
        {
            assert_eq!(view.share([(7, it)], 1_000 * (second as u64 + 1)), share, "{it:?}");
        }
    }

    #[test]
    fn s38_a_limit_below_one_a_second_is_not_rounded_away() {
        let six = Limit::per_minute(6);
        let mut view = View::new(six, 1_000);
        let (mut share, mut passed) = (6, 0);
        for second in 1..=600 {
            let taken = u64::from(share.min(1));
            view.count(six, used(1, taken));
            passed += taken;
            // As many try elsewhere, in vain.
            share = view.share([(7, told((second, 0), (1, 0)))], second * 1_000);
        }
        assert!((54..=66).contains(&passed), "{passed} in ten minutes");
    }

    #[test]
    fn a_node_that_fell_silent_is_forgotten() {
        let mut view = View::new(TEN, 0);
        for second in 0..=u64::from(SILENT_MAX) {
            assert!(view.take_silent().is_empty(), "{second}");
            view.share([(7, told((1, 1), (1, 1)))], second * 1_000);
        }
        view.share([(7, told((1, 1), (1, 1)))], 99_000);
        assert_eq!(view.take_silent(), [7]);
        assert!(view.others.is_empty());
    }
}
