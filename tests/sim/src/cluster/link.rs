//! Links: what is on its way to a server and back, in order, and what breaks.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use tidewire_broker::redis::sequencer::{Look, Read, Subscriptions, Tail};
use tidewire_broker::redis::{Error, Fence, History, Lease, NodeId, Past, Placing, Probe};
use tidewire_hub::channel::Channel;
use tidewire_hub::position::Gen;

use super::store::Write;

/// What a node asks of a server.
pub(super) enum Call {
    Handshake(Box<Past>, [Gen; 2]),
    Flush {
        number: u64,
        fence: Arc<Fence>,
        node: NodeId,
        writes: Vec<Write>,
    },
    Read(Read, Arc<Fence>),
    Tail(Tail, Arc<Fence>),
    Renew(Arc<Fence>, NodeId, Gen),
    /// Changes what is heard, first channels to give up.
    Listen(Vec<Channel>, Vec<Channel>),
    Confirm(Subscriptions),
    Probe(Look),
}

/// What comes back.
pub(super) enum Answer {
    Entered(Result<Fence, Error>),
    Flushed(u64, Vec<Result<Placing, Error>>),
    Read(Read, Result<History, Error>),
    Tail(Tail, Result<u64, Error>),
    Renewed(Result<Lease, Error>),
    Confirmed(Subscriptions, Probe),
    Probed(Look, Probe),
    Heard(Channel, Bytes),
    /// The link has ended.
    Ended,
}

/// A link from a node to a server.
pub(super) struct Link {
    pub(super) server: usize,
    pub(super) out: VecDeque<Call>,
    pub(super) back: VecDeque<Answer>,
    /// What the server tells over it.
    pub(super) heard: BTreeSet<Channel>,
    /// The server's end is gone: nothing that is under way arrives, and nothing more comes.
    pub(super) cut: bool,
    /// When each call without an answer was made.
    pub(super) since: VecDeque<u64>,
}

impl Link {
    pub(super) fn to(server: usize) -> Link {
        let (out, back, since) = (VecDeque::new(), VecDeque::new(), VecDeque::new());
        Link { server, out, back, heard: BTreeSet::new(), cut: false, since }
    }

    pub(super) fn call(&mut self, call: Call, now_ms: u64) {
        if !matches!(call, Call::Listen(..)) {
            self.since.push_back(now_ms);
        }
        self.out.push_back(call);
    }

    /// Breaks it: of what is on its way back only so much still arrives.
    pub(super) fn cut(&mut self, arrives: usize) {
        if self.cut {
            return;
        }
        self.cut = true;
        self.out.clear();
        self.back.truncate(arrives);
        self.back.push_back(Answer::Ended);
    }

    pub(super) fn next_answer(&mut self) -> Option<Answer> {
        let answer = self.back.pop_front()?;
        if !matches!(answer, Answer::Heard(..) | Answer::Ended) {
            self.since.pop_front();
        }
        Some(answer)
    }

    /// Whether an answer has been awaited for too long.
    pub(super) fn is_late(&self, now_ms: u64) -> bool {
        self.since.front().is_some_and(|since| since + ANSWER_MS < now_ms)
    }
}

/// How long an answer may take.
pub(super) const ANSWER_MS: u64 = 1_000;
