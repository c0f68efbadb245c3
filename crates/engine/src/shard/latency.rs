//! Latency: how long messages take from this node's taking them until everybody here has been written them once.
//!
//! Sketch: 24 bytes a message until then, and one look at the clock a turn. What is under way is bounded as the lanes are: no
//! more is queued in a pass than [`Lanes::may_queue`] lets in, and a message is through with the pass after its own.

use std::collections::VecDeque;

use tidewire_hub::histogram::Histogram;

use super::lanes::{Lanes, Mark};

/// Messages that were queued and have not been written to everybody yet, in their order.
#[derive(Default)]
pub(super) struct Latency(VecDeque<(u64, Mark)>);

impl Latency {
    /// A message that was taken at `taken_us` has been queued. Of one that was read from a log nobody knows how old it is.
    pub(super) fn queued(&mut self, taken_us: u64, lanes: &Lanes) {
        if taken_us > 0 {
            self.0.push_back((taken_us, lanes.mark()));
        }
    }

    /// At the end of a turn: what everybody has had a write for is through.
    pub(super) fn settle(&mut self, now_us: u64, lanes: &Lanes, histogram: &Histogram) {
        while let Some((taken_us, _)) = self.0.front().filter(|(_, mark)| lanes.has_passed(*mark)) {
            histogram.observe_alone(now_us.saturating_sub(*taken_us));
            self.0.pop_front();
        }
    }

    /// Forgets what is under way.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Gives back the room that a storm needed.
    pub(super) fn shrink_to(&mut self, room: usize) {
        self.0.shrink_to(room);
    }
}
