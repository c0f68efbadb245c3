//! What a partition knows of one channel: its history, which is its feed alike, and who is interested.

use std::collections::VecDeque;
use std::sync::Arc;

use smallvec::SmallVec;

use crate::admit::{OutletId, Transport};
use crate::limits::Retention;
use crate::message::Message;
use crate::publish::Receivers;

/// The record of one channel.
#[derive(Debug)]
pub(crate) struct History {
    kept: VecDeque<Arc<Message>>,
    bytes: usize,
    /// Messages that came here since the record was made, those that are gone included.
    placed: u64,
    /// The seq of the newest message ever placed here, or the floor when the record was made.
    last: u64,
    /// Everything above this seq is kept here.
    base: u64,
    /// Where the log is kept elsewhere: everything above this seq may still be there. A cursor below it has lost
    /// something.
    gone: Option<u64>,
    /// A piece of the log further back, which does not reach up to what is kept.
    segment: Option<Box<Segment>>,
    /// Whether `base` holds: a channel that is followed is told from when on it is heard whole.
    confirmed: bool,
    receivers: Receivers,
    /// Joined connections by outlet, counted one for one by Admit and Departed (delivery rule R12).
    interest: SmallVec<[u32; 4]>,
}

impl History {
    /// A channel without a record: nothing is known below the floor (delivery rule R20).
    pub(crate) fn new(floor: u64) -> History {
        History {
            kept: VecDeque::new(),
            bytes: 0,
            placed: 0,
            last: floor,
            base: floor,
            gone: None,
            segment: None,
            confirmed: true,
            receivers: Receivers::default(),
            interest: SmallVec::new(),
        }
    }

    pub(crate) fn last(&self) -> u64 {
        self.last
    }

    /// Everything above this seq is kept here.
    pub(crate) fn base(&self) -> u64 {
        self.base
    }

    /// A cursor below this seq has lost something. In memory mode, what is not kept here is nowhere.
    pub(crate) fn gone(&self) -> u64 {
        self.gone.unwrap_or(self.base)
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn count(&self) -> usize {
        self.kept.len()
    }

    pub(crate) fn placed(&self) -> u64 {
        self.placed
    }

    pub(crate) fn receivers(&self) -> Receivers {
        self.receivers
    }

    /// Appends a message and trims by size. Returns what was trimmed.
    pub(crate) fn append(&mut self, message: Arc<Message>, retention: Retention) -> Trimmed {
        assert!(message.position.seq > self.last, "a channel's messages come in order");
        self.last = message.position.seq;
        self.bytes += message.cost_bytes();
        self.placed += 1;
        self.kept.push_back(message);
        let mut trimmed = Trimmed::default();
        while self.kept.len() > retention.messages_max {
            trimmed.add(self.trim_oldest());
        }
        if trimmed.messages > 0 {
            self.give_up();
        }
        trimmed
    }

    /// Forgets everything up to and including `seq`, which is too old to be kept anywhere. Returns what was trimmed.
    pub(crate) fn outlive(&mut self, seq: u64) -> Trimmed {
        let trimmed = self.trim_to(seq);
        if trimmed.messages > 0 {
            self.give_up();
        }
        trimmed
    }

    /// Forgets everything up to and including `seq`, for want of memory: elsewhere it may still be kept. Returns what was
    /// trimmed.
    pub(crate) fn trim_to(&mut self, seq: u64) -> Trimmed {
        let mut trimmed = Trimmed::default();
        while self.kept.front().is_some_and(|message| message.position.seq <= seq) {
            trimmed.add(self.trim_oldest());
        }
        trimmed
    }

    /// A channel whose log is kept elsewhere, and of which nothing is known yet.
    pub(crate) fn followed() -> History {
        History { gone: Some(0), confirmed: false, ..History::new(0) }
    }

    /// Forgets everything but who is interested: the link was lost, and what it brings next may not follow.
    pub(crate) fn forget(&mut self) -> Trimmed {
        let trimmed = Trimmed { messages: self.kept.len(), bytes: self.bytes };
        let History { receivers, ref mut interest, .. } = *self;
        let interest = std::mem::take(interest);
        *self = History { receivers, interest, ..History::followed() };
        trimmed
    }

    /// Everything above `seq` has been heard since, and will be.
    pub(crate) fn confirm(&mut self, seq: u64) -> Trimmed {
        let trimmed = self.trim_to(seq);
        self.confirmed = true;
        self.base = self.base.max(seq);
        self.last = self.last.max(seq);
        trimmed
    }

    pub(crate) fn is_confirmed(&self) -> bool {
        self.confirmed
    }

    /// Whether all that exists above `after` is kept here.
    pub(crate) fn holds(&self, after: u64) -> bool {
        self.confirmed && (after >= self.base || self.gone() == self.base)
    }

    /// Whether the newest `count` messages are kept here, or all there are.
    pub(crate) fn holds_newest(&self, count: usize) -> bool {
        self.confirmed && (self.kept.len() >= count || self.gone() == self.base)
    }

    /// Whether a page that begins after `after` can be made of what is here.
    pub(crate) fn reaches(&self, after: u64) -> bool {
        self.holds(after) || self.segment.as_ref().is_some_and(|segment| segment.covers(after))
    }

    /// Takes in a piece of the log that was read elsewhere. What fits below `base` is kept from now on, and given back
    /// for the order; a piece that does not reach up to it is set aside.
    pub(crate) fn extend(&mut self, piece: Segment) -> Vec<Arc<Message>> {
        if !self.confirmed {
            return Vec::new();
        }
        // What it shows to be gone is gone whatever becomes of the piece.
        let gone = self.gone.get_or_insert(0);
        *gone = piece.base.max(*gone).min(self.base);
        let mut piece = match self.segment.take() {
            Some(segment) if segment.to == piece.after => segment.with(piece),
            _ => piece,
        };
        if piece.to < self.base {
            if piece.is_whole {
                // It went up to the newest message of its instant, and what came since has been trimmed already. No
                // other piece would do better: by count, age or memory, what lies between is history no longer.
                self.gone = Some(self.base);
            } else {
                self.segment = Some(Box::new(piece));
            }
            return Vec::new();
        }
        let lowest = piece.after.max(piece.base);
        if lowest >= self.base {
            return Vec::new();
        }
        piece.messages.retain(|message| message.position.seq <= self.base);
        for message in piece.messages.iter().rev() {
            self.bytes += message.cost_bytes();
            self.kept.push_front(message.clone());
        }
        self.base = lowest;
        piece.messages
    }

    /// How far the segment goes that is set aside, if it has what comes after `after`.
    pub(crate) fn end_of_segment(&self, after: u64) -> Option<u64> {
        self.segment.as_ref().filter(|segment| segment.covers(after)).map(|segment| segment.to)
    }

    /// Since when a segment is set aside.
    pub(crate) fn segment_read_ms(&self) -> Option<u64> {
        self.segment.as_ref().map(|segment| segment.read_ms)
    }

    /// Lets the segment go.
    pub(crate) fn drop_segment(&mut self) {
        self.segment = None;
    }

    /// What there is after `seq`, oldest first, and up to where that is all there is; nothing where it has no end but that
    /// of the log.
    pub(crate) fn follow(&self, seq: u64) -> (impl Iterator<Item = &Arc<Message>>, Option<u64>) {
        let segment = match &self.segment {
            Some(segment) if !self.holds(seq) && segment.covers(seq) => Some(segment),
            _ => None,
        };
        let aside = segment.map_or(&[][..], |segment| &segment.messages);
        let aside = aside.iter().skip_while(move |message| message.position.seq <= seq);
        // Either of the two is empty.
        let kept = self.after(if segment.is_some() { u64::MAX } else { seq });
        (aside.chain(kept), segment.map(|segment| segment.to))
    }

    /// The message at `seq`, if it is still kept.
    pub(crate) fn at(&self, seq: u64) -> Option<&Arc<Message>> {
        let index = self.kept.partition_point(|message| message.position.seq < seq);
        self.kept.get(index).filter(|message| message.position.seq == seq)
    }

    /// What is kept after `seq`, oldest first.
    pub(crate) fn after(&self, seq: u64) -> impl Iterator<Item = &Arc<Message>> {
        self.kept.range(self.kept.partition_point(|message| message.position.seq <= seq)..)
    }

    /// What is kept, newest first.
    pub(crate) fn newest_first(&self) -> impl Iterator<Item = &Arc<Message>> {
        self.kept.iter().rev()
    }

    pub(crate) fn join(&mut self, outlet: OutletId, transport: Transport) {
        let index = usize::from(outlet.0);
        if self.interest.len() <= index {
            self.interest.resize(index + 1, 0);
        }
        self.interest[index] += 1;
        *count_of(&mut self.receivers, transport) += 1;
    }

    pub(crate) fn leave(&mut self, outlet: OutletId, transport: Transport) {
        let count = self.interest.get_mut(usize::from(outlet.0)).expect("who leaves has joined (R12)");
        *count = count.checked_sub(1).expect("interest is counted one for one (R12)");
        let count = count_of(&mut self.receivers, transport);
        *count = count.checked_sub(1).expect("interest is counted one for one (R12)");
    }

    pub(crate) fn interests(&self, outlet: OutletId) -> bool {
        self.interest.get(usize::from(outlet.0)).is_some_and(|count| *count > 0)
    }

    pub(crate) fn interested(&self) -> impl Iterator<Item = usize> + '_ {
        self.interest.iter().enumerate().filter(|(_, count)| **count > 0).map(|(index, _)| index)
    }

    /// Whether nobody listens and nothing is kept, so that the record can be given up.
    pub(crate) fn is_idle(&self) -> bool {
        self.kept.is_empty() && self.receivers == Receivers::default()
    }

    /// What was trimmed by count or age is history no longer, and whatever came before it is not either. Somebody who waits
    /// for other channels of theirs as well would have this one read again for every message that comes meanwhile.
    fn give_up(&mut self) {
        if let Some(gone) = &mut self.gone {
            *gone = self.base;
        }
    }

    fn trim_oldest(&mut self) -> Trimmed {
        let message = self.kept.pop_front().expect("only called while something is kept");
        self.base = message.position.seq;
        let bytes = message.cost_bytes();
        self.bytes -= bytes;
        Trimmed { messages: 1, bytes }
    }
}

/// A piece of a channel's log as it was read elsewhere.
#[derive(Clone, Debug)]
pub(crate) struct Segment {
    /// It begins after this seq.
    pub(crate) after: u64,
    /// It has everything up to this seq that is not gone.
    pub(crate) to: u64,
    /// Whoever has seen less than this seq has lost something.
    pub(crate) base: u64,
    /// Whether it goes up to the newest message of its instant.
    pub(crate) is_whole: bool,
    /// In seq order.
    pub(crate) messages: Vec<Arc<Message>>,
    /// When it was read, by a clock that never steps.
    pub(crate) read_ms: u64,
}

impl Segment {
    fn covers(&self, after: u64) -> bool {
        (self.after..self.to).contains(&after)
    }

    /// This one, and `next`, which begins where it ends.
    fn with(mut self, next: Segment) -> Segment {
        self.messages.extend(next.messages);
        Segment { after: self.after, base: self.base.max(next.base), messages: self.messages, ..next }
    }
}

/// What a trim gave back.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Trimmed {
    pub(crate) messages: usize,
    pub(crate) bytes: usize,
}

impl Trimmed {
    fn add(&mut self, other: Trimmed) {
        self.messages += other.messages;
        self.bytes += other.bytes;
    }
}

fn count_of(receivers: &mut Receivers, transport: Transport) -> &mut u32 {
    match transport {
        Transport::Sse => &mut receivers.sse,
        Transport::Ws => &mut receivers.ws,
        Transport::Poll => &mut receivers.poll,
    }
}
