//! The order in which kept messages leave: by age within their lane, by seq over all.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::channel::Channel;

/// Every kept message by its place. Channels whose messages last equally long share a lane, so the oldest of a lane is
/// always the first that is over; there are as many lanes as there are different lifetimes, mostly one.
///
/// An entry whose message was trimmed by count stays until it is found stale.
#[derive(Debug, Default)]
pub(crate) struct Order {
    lanes: Vec<Lane>,
}

#[derive(Debug)]
struct Lane {
    ttl_ms: u64,
    placed: VecDeque<Placed>,
    /// Messages that came late, from where the log is kept: older than those of `placed`, in no order.
    late: BTreeMap<u64, Placed>,
}

/// Where and when a message was placed.
#[derive(Clone, Debug)]
pub(crate) struct Placed {
    pub(crate) seq: u64,
    pub(crate) placed_ms: u64,
    pub(crate) channel: Channel,
}

impl Order {
    /// Adds the newest message, which is kept for `ttl`.
    pub(crate) fn push(&mut self, placed: Placed, ttl: Duration) {
        let ttl_ms = millis(ttl);
        self.lane(ttl_ms).placed.push_back(placed);
    }

    /// Adds a message that is older than others here, which is kept for `ttl`.
    pub(crate) fn insert(&mut self, placed: Placed, ttl: Duration) {
        self.lane(millis(ttl)).late.insert(placed.seq, placed);
    }

    /// Takes out the oldest of all.
    pub(crate) fn pop_oldest(&mut self) -> Option<Placed> {
        self.lanes.iter_mut().min_by_key(|lane| lane.oldest())?.pop_oldest()
    }

    /// Takes out one that has been kept for as long as it is to be.
    pub(crate) fn pop_expired(&mut self, now_ms: u64) -> Option<Placed> {
        self.lanes.iter_mut().find_map(|lane| {
            let is_due = |placed: &Placed| placed.placed_ms.saturating_add(lane.ttl_ms) <= now_ms;
            if lane.placed.front().is_some_and(is_due) {
                return lane.placed.pop_front();
            }
            // The oldest of those that came late may have come last, and then others wait for it.
            let late = lane.late.first_entry().filter(|late| is_due(late.get()))?;
            Some(late.remove())
        })
    }

    /// Those after `seq`, oldest first.
    pub(crate) fn after(&self, seq: u64) -> Vec<&Placed> {
        let newer = |lane: &Lane| lane.placed.partition_point(|placed| placed.seq <= seq);
        let mut after: Vec<&Placed> =
            self.lanes.iter().flat_map(|lane| lane.placed.range(newer(lane)..)).collect();
        let prompt = after.len();
        after.extend(self.lanes.iter().flat_map(|lane| lane.late.range(seq + 1..)).map(|(_, placed)| placed));
        if self.lanes.len() > 1 || after.len() > prompt {
            after.sort_unstable_by_key(|placed| placed.seq);
            // A channel that was forgotten and read again may have left an entry of before.
            after.dedup_by_key(|placed| placed.seq);
        }
        after
    }

    pub(crate) fn len(&self) -> usize {
        self.lanes.iter().map(|lane| lane.placed.len() + lane.late.len()).sum()
    }

    /// Forgets those that `keep` does not want.
    pub(crate) fn retain(&mut self, keep: impl Fn(&Placed) -> bool) {
        for lane in &mut self.lanes {
            lane.placed.retain(|placed| keep(placed));
            lane.late.retain(|_, placed| keep(placed));
        }
    }

    /// The same messages, kept for as long as `ttl_of` has it from now on.
    pub(crate) fn relaid(&mut self, ttl_of: impl Fn(&Channel) -> Duration) -> Order {
        let all = |lane: Lane| lane.placed.into_iter().chain(lane.late.into_values());
        let mut placed: Vec<Placed> = self.lanes.drain(..).flat_map(all).collect();
        placed.sort_unstable_by_key(|placed| placed.seq);
        let mut order = Order::default();
        for one in placed {
            let ttl = ttl_of(&one.channel);
            order.push(one, ttl);
        }
        order
    }

    fn lane(&mut self, ttl_ms: u64) -> &mut Lane {
        let at = self.lanes.iter().position(|lane| lane.ttl_ms == ttl_ms);
        let at = at.unwrap_or_else(|| {
            self.lanes.push(Lane { ttl_ms, placed: VecDeque::new(), late: BTreeMap::new() });
            self.lanes.len() - 1
        });
        &mut self.lanes[at]
    }
}

impl Lane {
    /// The seq of its oldest.
    fn oldest(&self) -> u64 {
        let late = self.late.first_key_value().map_or(u64::MAX, |(seq, _)| *seq);
        self.placed.front().map_or(u64::MAX, |placed| placed.seq).min(late)
    }

    fn pop_oldest(&mut self) -> Option<Placed> {
        let oldest = self.oldest();
        self.late.remove(&oldest).or_else(|| self.placed.pop_front())
    }
}

fn millis(ttl: Duration) -> u64 {
    u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn placed(seq: u64, channel: &str) -> Placed {
        Placed { seq, placed_ms: seq, channel: Channel::parse(channel).unwrap() }
    }

    fn ttl_of(channel: &Channel) -> Duration {
        Duration::from_millis(if channel.namespace() == "brief" { 10 } else { 1_000 })
    }

    fn order() -> Order {
        let mut order = Order::default();
        for (seq, channel) in [(1, "a"), (2, "brief:a"), (3, "a"), (4, "brief:b")] {
            let placed = placed(seq, channel);
            let ttl = ttl_of(&placed.channel);
            order.push(placed, ttl);
        }
        order
    }

    fn seqs(taken: impl FnMut() -> Option<Placed>) -> Vec<u64> {
        std::iter::from_fn(taken).map(|placed| placed.seq).collect()
    }

    #[test]
    fn the_oldest_of_all_leaves_first_whatever_its_lane() {
        let mut order = order();
        assert_eq!(seqs(|| order.pop_oldest()), [1, 2, 3, 4]);
        assert_eq!(order.len(), 0);
    }

    #[test]
    fn what_lasts_longer_does_not_hold_up_what_is_over() {
        let mut order = order();
        assert_eq!(seqs(|| order.pop_expired(13)), [2]);
        assert_eq!(seqs(|| order.pop_expired(14)), [4]);
        assert_eq!(seqs(|| order.pop_expired(1_003)), [1, 3]);
    }

    #[test]
    fn r3_what_comes_after_a_place_is_in_order_over_all_lanes() {
        let order = order();
        let after: Vec<u64> = order.after(1).iter().map(|placed| placed.seq).collect();
        assert_eq!(after, [2, 3, 4]);
    }

    #[test]
    fn what_comes_late_leaves_in_its_place() {
        let mut order = order();
        let late = Placed { seq: 2, placed_ms: 50, ..placed(2, "a") };
        order.insert(late, ttl_of(&Channel::parse("a").unwrap()));
        let after: Vec<u64> = order.after(1).iter().map(|placed| placed.seq).collect();
        assert_eq!((after, order.len()), (vec![2, 3, 4], 5));
        assert_eq!(seqs(|| order.pop_expired(1_049)), [1, 3, 2, 4]);
        assert_eq!(seqs(|| order.pop_expired(1_050)), [2]);
    }

    #[test]
    fn other_lifetimes_hold_for_what_is_kept_already() {
        let mut order = order();
        let mut order = order.relaid(|_| Duration::from_millis(10));
        assert_eq!(seqs(|| order.pop_expired(12)), [1, 2]);
        let mut order = order.relaid(ttl_of);
        assert_eq!(seqs(|| order.pop_expired(1_002)), [4]);
    }
}
