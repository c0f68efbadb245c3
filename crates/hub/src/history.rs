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
    /// The seq of the newest message ever placed here, or the floor when the record was made.
    last: u64,
    /// Everything above this seq is kept. A cursor below it has lost something.
    base: u64,
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
            last: floor,
            base: floor,
            receivers: Receivers::default(),
            interest: SmallVec::new(),
        }
    }

    pub(crate) fn last(&self) -> u64 {
        self.last
    }

    pub(crate) fn base(&self) -> u64 {
        self.base
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn count(&self) -> usize {
        self.kept.len()
    }

    pub(crate) fn receivers(&self) -> Receivers {
        self.receivers
    }

    /// Appends a message and trims by size. Returns what was trimmed.
    pub(crate) fn append(&mut self, message: Arc<Message>, retention: Retention) -> Trimmed {
        assert!(
            message.position.seq > self.last && message.prev == self.last,
            "a channel's chain has no hole"
        );
        self.last = message.position.seq;
        self.bytes += message.cost_bytes();
        self.kept.push_back(message);
        let mut trimmed = Trimmed::default();
        while self.kept.len() > retention.messages_max {
            trimmed.add(self.trim_oldest());
        }
        trimmed
    }

    /// Forgets everything up to and including `seq`. Returns what was trimmed.
    pub(crate) fn trim_to(&mut self, seq: u64) -> Trimmed {
        let mut trimmed = Trimmed::default();
        while self.kept.front().is_some_and(|message| message.position.seq <= seq) {
            trimmed.add(self.trim_oldest());
        }
        trimmed
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

    fn trim_oldest(&mut self) -> Trimmed {
        let message = self.kept.pop_front().expect("only called while something is kept");
        self.base = message.position.seq;
        let bytes = message.cost_bytes();
        self.bytes -= bytes;
        Trimmed { messages: 1, bytes }
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
