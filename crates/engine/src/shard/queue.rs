//! The one queue of a connection: head, history, gap, message, pong and heartbeat in order (delivery rule R4).
//!
//! Sketch: an empty queue owns no memory, and one waiting frame is held in place, so the common turn of one message
//! per socket allocates nothing.

use std::collections::VecDeque;

use tidewire_hub::channel::Channel;
use tidewire_hub::position::Position;

use super::frames::Frame;
use super::time::Tick;

/// What a frame counts as when a slow reader is judged.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A message or whatever else comes without having been asked for.
    Live,
    /// What the subscriber asked to catch up with: it does not count (delivery rule R10).
    History,
    /// What a connection begins with. It does not count either, and it is never dropped: whatever is said later, be it
    /// an end, makes no sense without it.
    Head,
}

/// Frames waiting for a socket, the first of them perhaps partly written.
#[derive(Default)]
pub(super) struct Queue {
    first: Option<Waiting>,
    /// Boxed, since few queues ever hold a second frame.
    #[allow(clippy::box_collection)]
    rest: Option<Box<VecDeque<Waiting>>>,
    written: u32,
    live_count: u32,
    live_bytes: usize,
}

struct Waiting {
    frame: Frame,
    since: Tick,
    kind: Kind,
}

impl Queue {
    pub(super) fn push(&mut self, frame: Frame, kind: Kind, now: Tick) {
        if kind == Kind::Live {
            self.live_count += 1;
            self.live_bytes += frame.bytes().len();
        }
        let waiting = Waiting { frame, since: now, kind };
        match &mut self.first {
            None => self.first = Some(waiting),
            Some(_) => self.rest.get_or_insert_default().push_back(waiting),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    /// What waits, frame by frame.
    pub(super) fn slices(&self) -> impl Iterator<Item = &[u8]> {
        let rest = self.rest.iter().flat_map(|rest| rest.iter()).map(|waiting| waiting.frame.bytes());
        self.first_bytes().into_iter().chain(rest)
    }

    /// What is left of the frame that leaves next.
    pub(super) fn first_bytes(&self) -> Option<&[u8]> {
        self.first.as_ref().map(|waiting| &waiting.frame.bytes()[self.written as usize..])
    }

    /// Whether exactly one frame waits.
    pub(super) fn is_single(&self) -> bool {
        self.first.is_some() && self.rest.is_none()
    }

    /// Whether the same bytes wait here as there: the very same frames, as far along.
    pub(super) fn is_like(&self, other: &Queue) -> bool {
        self.written == other.written
            && self.frames().map(Frame::identity).eq(other.frames().map(Frame::identity))
    }

    fn frames(&self) -> impl Iterator<Item = &Frame> {
        let rest = self.rest.iter().flat_map(|rest| rest.iter());
        self.first.iter().chain(rest).map(|waiting| &waiting.frame)
    }

    /// Takes away `count` bytes that the socket took. History waits anew from then on: a slow reader may take as
    /// long over it as it likes, so long as it takes some of it (delivery rule R10).
    pub(super) fn advance(&mut self, mut count: usize, now: Tick) {
        while let Some(waiting) = &mut self.first {
            if waiting.kind != Kind::Live {
                waiting.since = now;
            }
            let left = waiting.frame.bytes().len() - self.written as usize;
            if count < left {
                // A frame is far below 4 GiB: payloads are bounded by `Limits::message_bytes_max`.
                self.written += count as u32;
                return;
            }
            count -= left;
            self.written = 0;
            self.pop();
        }
        debug_assert_eq!(count, 0, "a socket takes no more than it is given");
    }

    /// Drops every frame of which no byte has left, but for a head, and names the position before the first message or
    /// gap among them.
    pub(super) fn cut(&mut self) -> Option<Position> {
        let mut dropped = Vec::new();
        if self.written == 0 {
            dropped.extend(self.first.take_if(|first| first.kind != Kind::Head));
        }
        dropped.extend(self.rest.take().into_iter().flat_map(|rest| *rest));
        for waiting in &dropped {
            self.uncount(waiting);
        }
        dropped.iter().find_map(|waiting| waiting.frame.before())
    }

    /// Skips to the newest message of every channel (`docs/protocol.md`, "Gaps"). What is not a message stays, and so
    /// does a frame that has begun to leave. `gap` makes the frame that takes the place and the id of the first message
    /// dropped. False where there was nothing to drop.
    pub(super) fn conflate(&mut self, now: Tick, gap: impl FnOnce(Position, Vec<Channel>) -> Frame) -> bool {
        let all: Vec<Waiting> = self
            .first
            .take()
            .into_iter()
            .chain(self.rest.take().into_iter().flat_map(|rest| *rest))
            .collect();
        let leaving = usize::from(self.written > 0);
        let mut newest: Vec<&Channel> = Vec::new();
        let mut kept = vec![true; all.len()];
        for (at, waiting) in all.iter().enumerate().skip(leaving).rev() {
            if let Some(channel) = waiting.frame.channel() {
                kept[at] = !newest.contains(&channel);
                newest.push(channel);
            }
        }
        let dropped = || all.iter().zip(&kept).filter(|(_, kept)| !**kept).map(|(waiting, _)| &waiting.frame);
        let mut channels: Vec<Channel> = dropped().filter_map(Frame::channel).cloned().collect();
        channels.sort_unstable();
        channels.dedup();
        let mut gap = dropped().next().and_then(Frame::position).map(|first| gap(first, channels));
        let conflated = gap.is_some();
        (self.live_count, self.live_bytes) = (0, 0);
        for (waiting, kept) in all.into_iter().zip(kept) {
            match (kept, gap.take_if(|_| !kept)) {
                (true, _) => self.push(waiting.frame, waiting.kind, waiting.since),
                (false, Some(gap)) => self.push(gap, Kind::Live, now),
                (false, None) => {}
            }
        }
        conflated
    }

    /// Bytes waiting, whoever asked for them.
    pub(super) fn bytes(&self) -> usize {
        self.slices().map(<[u8]>::len).sum()
    }

    /// Messages waiting that nobody asked to catch up with.
    pub(super) fn live_count(&self) -> usize {
        self.live_count as usize
    }

    /// Their bytes.
    pub(super) fn live_bytes(&self) -> usize {
        self.live_bytes
    }

    /// Since when the oldest frame waits.
    pub(super) fn oldest(&self) -> Option<Tick> {
        self.first.as_ref().map(|waiting| waiting.since)
    }

    /// Whether the oldest frame is one that a slow reader is judged by.
    pub(super) fn oldest_is_live(&self) -> bool {
        self.first.as_ref().is_some_and(|waiting| waiting.kind == Kind::Live)
    }

    fn pop(&mut self) {
        let next = self.rest.as_mut().and_then(|rest| rest.pop_front());
        if next.is_none() {
            self.rest = None;
        }
        if let Some(gone) = std::mem::replace(&mut self.first, next) {
            self.uncount(&gone);
        }
    }

    fn uncount(&mut self, waiting: &Waiting) {
        if waiting.kind == Kind::Live {
            self.live_count -= 1;
            self.live_bytes -= waiting.frame.bytes().len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::frames::Frames;
    use super::*;
    use std::sync::Arc;
    use tidewire_hub::message::{Message, Payload};
    use tidewire_hub::position::Gen;
    use tidewire_transport::encoding::Encoding;

    fn frame(frames: &mut Frames, name: &str, seq: u64) -> Frame {
        frames.of(&Arc::new(message(name, seq)), Encoding::WsRaw)
    }

    /// One that came over the bridge right after `seq`.
    fn bridged(frames: &mut Frames, name: &str, seq: u64) -> Frame {
        frames.of(&Arc::new(Message { bridged: true, ..message(name, seq) }), Encoding::WsRaw)
    }

    fn message(name: &str, seq: u64) -> Message {
        Message {
            channel: Channel::parse(name).unwrap(),
            position: Position { generation: Gen::from_random(1), seq },
            prev: 0,
            event: None,
            payload: Payload::binary(format!("{name}{seq}").into_bytes().into()),
            time_ms: 0,
            taken_us: 0,
            bridged: false,
            trace: None,
        }
    }

    fn contents(queue: &Queue) -> Vec<String> {
        queue
            .slices()
            .map(|slice| String::from_utf8_lossy(slice).trim_start_matches(['\u{fffd}', '\u{2}']).to_owned())
            .collect()
    }

    fn filled(frames: &mut Frames) -> Queue {
        let mut queue = Queue::default();
        for (name, seq) in [("a", 1), ("b", 2), ("a", 3), ("a", 4)] {
            queue.push(frame(frames, name, seq), Kind::Live, 0);
        }
        queue
    }

    #[test]
    fn r5_a_gap_takes_the_place_and_the_id_of_the_first_message_dropped() {
        let mut frames = Frames::default();
        let mut queue = filled(&mut frames);
        let gap = |first: Position, channels: Vec<Channel>| {
            frames.control(format!("gap {} {channels:?}", first.seq).into_bytes())
        };
        assert!(queue.conflate(9, gap));
        assert_eq!(contents(&queue), ["gap 1 [\"a\"]", "b2", "a4"]);
        assert_eq!(queue.live_count(), 3);
        assert!(!queue.conflate(9, |_, _| unreachable!("one message a channel is left")));
    }

    #[test]
    fn r14_a_head_is_never_dropped_and_a_dropped_gap_is_come_back_to() {
        let mut frames = Frames::default();
        let mut queue = Queue::default();
        queue.push(frames.control(b"head".to_vec()), Kind::Head, 0);
        queue.push(
            frames.gap(b"gap".to_vec(), Position { generation: Gen::from_random(1), seq: 5 }),
            Kind::Live,
            0,
        );
        queue.push(frame(&mut frames, "a", 9), Kind::Live, 0);
        assert_eq!(queue.cut().unwrap().seq, 4);
        assert_eq!(contents(&queue), ["head"]);
    }

    #[test]
    fn r14_what_has_no_id_is_come_back_to_behind_the_newest_id_before_it() {
        let mut frames = Frames::default();
        let mut queue = Queue::default();
        queue.push(bridged(&mut frames, "a", 8), Kind::Live, 0);
        queue.push(frame(&mut frames, "b", 9), Kind::Live, 0);
        assert_eq!(queue.cut().unwrap().seq, 8);
    }

    #[test]
    fn r5_a_gap_for_what_has_no_id_takes_its_place_and_the_newest_id_before_it() {
        let mut frames = Frames::default();
        let mut queue = Queue::default();
        queue.push(frame(&mut frames, "b", 8), Kind::Live, 0);
        for _ in 0..3 {
            queue.push(bridged(&mut frames, "a", 8), Kind::Live, 0);
        }
        queue.push(frame(&mut frames, "b", 9), Kind::Live, 0);
        assert_eq!(frames.encoded(), 5, "messages without an id are not mistaken for each other");
        assert!(queue.conflate(9, |first, _| frames.control(format!("gap {}", first.seq).into_bytes())));
        assert_eq!(contents(&queue), ["gap 8", "a8", "b9"]);
        queue.push(bridged(&mut frames, "a", 9), Kind::Live, 0);
        assert!(queue.conflate(9, |first, channels| {
            frames.control(format!("gap {} {channels:?}", first.seq).into_bytes())
        }));
        assert_eq!(contents(&queue), ["gap 8", "gap 8 [\"a\"]", "b9", "a9"]);
    }

    #[test]
    fn r14_a_frame_that_has_begun_to_leave_is_finished() {
        let mut frames = Frames::default();
        let mut queue = filled(&mut frames);
        queue.advance(1, 0);
        assert!(queue.conflate(9, |first, _| frames.control(format!("gap {}", first.seq).into_bytes())));
        assert_eq!(contents(&queue)[1..], ["b2", "gap 3", "a4"]);
        let mut queue = filled(&mut frames);
        queue.advance(1, 0);
        assert_eq!(queue.cut().unwrap().seq, 1);
        assert_eq!((queue.live_count(), contents(&queue).len()), (1, 1));
    }
}
