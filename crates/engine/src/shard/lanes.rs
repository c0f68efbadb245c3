//! Lanes: the sockets that have something to send, and whose turn it is (delivery rule R3).
//!
//! Whoever hears a message together with many others stands in the broad lane, everybody else in the narrow one, and the
//! lanes take turns. So a channel with a hundred thousand subscribers keeps the others waiting for a few writes and not for a
//! hundred thousand, and neither lane can hold up the other one.
//!
//! A lane is worked off in passes: everybody who stands in it gets one write before anybody gets a second, and only so much is
//! queued meanwhile. A healthy reader's queue stays far below `Limits::queue_messages_max`, however far behind the loop
//! is: what is not queued waits in the inbox.

use std::collections::VecDeque;

/// A message to more sockets than this is one to many.
const FEW: usize = 256;

/// Messages queued in one pass.
const PASS_MESSAGES: usize = 256;

/// Queue entries made in one pass, which bounds the memory of a pass over very many subscribers.
const PASS_ENTRIES: usize = 262_144;

/// Where a slot stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Lane {
    /// In none: it has nothing to send, or cannot send it now.
    None,
    /// With those that hear what many hear.
    Broad,
    /// With those that have something of their own.
    Narrow,
}

impl Lane {
    /// Of a message to so many sockets.
    pub(super) fn of(receivers: usize) -> Lane {
        if receivers > FEW { Lane::Broad } else { Lane::Narrow }
    }
}

/// Both lanes, by slot.
#[derive(Default)]
pub(super) struct Lanes {
    broad: Line,
    narrow: Line,
    /// The narrow one goes next.
    narrow_next: bool,
}

/// A moment in the life of both lanes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark([u64; 2]);

#[derive(Default)]
struct Line {
    /// A slot may stand here that has been written since, or in the other lane.
    waiting: VecDeque<u32>,
    /// How many of them are left of the pass under way.
    left: usize,
    /// How many have ever left it.
    gone: u64,
    /// Messages and queue entries that may still be queued in it.
    messages: usize,
    entries: usize,
}

impl Lanes {
    /// Whether anything may be queued before more is written.
    pub(super) fn may_queue(&self) -> bool {
        [&self.broad, &self.narrow].iter().all(|line| line.messages > 0 && line.entries > 0)
    }

    /// Takes note that so many messages were queued to so many sockets each.
    pub(super) fn queued(&mut self, messages: usize, receivers: usize) {
        let line = self.line(Lane::of(receivers));
        line.messages = line.messages.saturating_sub(messages);
        line.entries = line.entries.saturating_sub(receivers);
    }

    /// Puts a slot that stands at `at` into `lane`, unless it stands as far in front already. Returns where it stands.
    pub(super) fn put(&mut self, index: u32, at: Lane, lane: Lane) -> Lane {
        if at >= lane {
            return at;
        }
        self.line(lane).waiting.push_back(index);
        lane
    }

    /// What has to have left both lanes for everybody who stands in them now to have had a write.
    pub(super) fn mark(&self) -> Mark {
        Mark([&self.broad, &self.narrow].map(|line| line.gone + line.waiting.len() as u64))
    }

    /// Whether that has left.
    pub(super) fn has_passed(&self, mark: Mark) -> bool {
        self.broad.gone >= mark.0[0] && self.narrow.gone >= mark.0[1]
    }

    /// The next slot to write.
    pub(super) fn next(&mut self) -> Option<u32> {
        self.narrow_next = !self.narrow_next;
        let Lanes { broad, narrow, .. } = self;
        let (first, second) = if self.narrow_next { (narrow, broad) } else { (broad, narrow) };
        first.next().or_else(|| second.next())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.broad.waiting.is_empty() && self.narrow.waiting.is_empty()
    }

    pub(super) fn clear(&mut self) {
        *self = Lanes::default();
    }

    /// Gives back the room that a storm needed.
    pub(super) fn shrink_to(&mut self, room: usize) {
        self.broad.waiting.shrink_to(room);
        self.narrow.waiting.shrink_to(room);
    }

    fn line(&mut self, lane: Lane) -> &mut Line {
        if lane == Lane::Broad { &mut self.broad } else { &mut self.narrow }
    }
}

impl Line {
    fn next(&mut self) -> Option<u32> {
        if self.left == 0 {
            (self.left, self.messages, self.entries) = (self.waiting.len(), PASS_MESSAGES, PASS_ENTRIES);
        }
        let index = self.waiting.pop_front()?;
        self.left = self.left.saturating_sub(1);
        self.gone += 1;
        Some(index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(broad: std::ops::Range<u32>, narrow: std::ops::Range<u32>) -> Lanes {
        let mut lanes = Lanes::default();
        broad.for_each(|index| assert_eq!(lanes.put(index, Lane::None, Lane::Broad), Lane::Broad));
        narrow.for_each(|index| assert_eq!(lanes.put(index, Lane::None, Lane::Narrow), Lane::Narrow));
        lanes
    }

    #[test]
    fn the_lanes_take_turns_and_an_empty_one_gives_its_turn_away() {
        let mut lanes = filled(0..5, 100..102);
        let order: Vec<u32> = std::iter::from_fn(|| lanes.next()).collect();
        assert_eq!(order, [100, 0, 101, 1, 2, 3, 4]);
    }

    #[test]
    fn whoever_has_something_of_its_own_moves_out_of_the_broad_lane_and_not_back() {
        let mut lanes = filled(0..3, 0..0);
        assert_eq!(lanes.put(2, Lane::Broad, Lane::Narrow), Lane::Narrow);
        assert_eq!(lanes.put(2, Lane::Narrow, Lane::Broad), Lane::Narrow);
        assert_eq!(lanes.next(), Some(2));
    }

    #[test]
    fn r3_only_so_much_is_queued_before_everybody_has_had_a_write() {
        let mut lanes = filled(0..2, 0..0);
        assert!(!lanes.may_queue(), "a pass begins with its first write");
        lanes.next();
        lanes.queued(1, PASS_ENTRIES);
        assert!(!lanes.may_queue());
        lanes.next();
        assert!(!lanes.may_queue(), "the pass is over, and the next one has not begun");
        lanes.next();
        assert!(lanes.may_queue());
    }

    #[test]
    fn a_mark_has_passed_once_everybody_who_stood_before_it_has_left() {
        let mut lanes = filled(0..2, 100..101);
        let mark = lanes.mark();
        lanes.put(3, Lane::None, Lane::Broad);
        for _ in 0..3 {
            assert!(!lanes.has_passed(mark));
            lanes.next();
        }
        assert!(lanes.has_passed(mark) && !lanes.is_empty());
    }
}
