//! The sequencer of Redis mode: what a node does with one partition's log, as a machine without sockets, tasks or clocks.
//!
//! ```text
//! API ----- subscribe, read, leave, publish ---->             ----> subscriptions, reads, tails, flushes ----> link
//!                                                 Sequencer
//! outlets <---- Admit, Deliver, Lost, Fence ----              <---- entered, confirmed, heard, read, probed --- link
//! ```
//!
//! Whoever drives it ([`super::broker`], the simulation) takes orders out of it, carries them out, and reports what came
//! of them. Orders of a link that was given up since are recognised by their [`Session`] and change nothing.
//!
//! ```text
//! Away ──entered──> Entered ──confirmed──> Behind ──everything read──> Live
//!   ^                  |                     |                          |
//!   └──────────────────┴──── lost ───────────┴──────────────────────────┘       everybody is held outside Live
//! ```
//!
//! Sketch: a message that comes over the link costs three hash look-ups and one lock; a subscription of a channel that is
//! followed already, nothing but a page.

mod link;
mod publishing;
mod reading;
#[cfg(test)]
mod tests;
mod traces;
mod track;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tidewire_hub::admit::{OutletId, Page, Subscribe, Transport};
use tidewire_hub::bridge::Bridged;
use tidewire_hub::broker::{ChannelInfo, Done, Now, Totals};
use tidewire_hub::channel::{Channel, ChannelSet};
use tidewire_hub::deliver::Outlet;
use tidewire_hub::limits::{Limits, PageLimit, Retentions};
use tidewire_hub::message::Payload;
use tidewire_hub::partition::Partition;
use tidewire_hub::position::Start;
use tidewire_hub::presence::Attendance;
use tidewire_hub::reason::Reason;
use tidewire_hub::revocation::{Revocation, Revocations};

use super::fence::{Fence, NodeId, Past};
use traces::Traces;
use track::Track;

pub use link::{Look, Subscriptions};
pub use publishing::{Flush, PUBLISH_PATIENCE};
pub use reading::{Read, Tail};

/// How long a subscriber waits for the broker before it is sent away to come back, which keeps an `EventSource` open.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// How long the link may be away before newcomers are sent away at once.
const AWAY_MAX: Duration = Duration::from_secs(2);

/// How long a channel is followed that nobody listens to: short polls come back, and so do pages that are reloaded.
const LINGER: Duration = Duration::from_secs(10);

/// A link to the log, from one handshake to its end. Orders of another one are void.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Session(u64);

/// The link has to be given up, and the node to come in again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Astray {
    /// The log has another generation, or another server has it.
    Fenced,
    /// A message was lost on the way.
    Hole,
}

/// Where the node stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It has no link.
    Away,
    /// It is part of the log and can publish, but does not hear it yet.
    Entered,
    /// It hears the log, and reads what it missed.
    Behind,
    /// It hears the log, and everybody is fed.
    Live,
}

/// Counts since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Times that the node came in.
    pub entries: u64,
    /// Times that subscribers were told of a possible loss because of the log, rather than of their own slowness.
    pub losses: u64,
    /// Messages that said they follow one that never came.
    pub holes: u64,
    /// What came over the link and was no message of this log (fault F33).
    pub junk: u64,
    /// Reads of history.
    pub reads: u64,
    /// Flushes of publishes.
    pub flushes: u64,
    /// Messages placed by this node.
    pub placed: u64,
}

/// See the module.
pub struct Sequencer {
    partition: Partition,
    tracks: HashMap<Channel, Track>,
    /// By the order of their coming.
    waiting: BTreeMap<u64, Waiting>,
    next: u64,
    /// Waiting for the node's log to pass a seq.
    ahead: BTreeSet<u64>,
    /// Those of `waiting` that arrived before this one have been waited for by a whole probe.
    probed_to: u64,
    wants_probe: bool,
    subscribe: Vec<Channel>,
    unsubscribe: Vec<Channel>,
    to_read: VecDeque<Channel>,
    /// Reads that come too soon after one of the same channel, and when they are due.
    paced: VecDeque<(u64, Channel)>,
    tails: VecDeque<u64>,
    /// Those whose tail was refused: they ask again with the next moment.
    put_off: Vec<u64>,
    /// Channels of which a piece is set aside, and when it was read.
    aside: VecDeque<(u64, Channel)>,
    reads_in_flight: usize,
    /// Of the channels that were followed when the node came in, those that the link is yet to be asked for.
    of_entry: usize,
    /// Whether the link was asked for anything in this session.
    has_asked: bool,
    /// Orders to ask for channels that are under way.
    asked: usize,
    /// Channels to be read before everybody goes on.
    behind: HashSet<Channel>,
    /// Channels that nobody listens to, and since when.
    idle: VecDeque<(u64, Channel)>,
    publishing: publishing::Publishing,
    past: Past,
    fence: Option<Arc<Fence>>,
    session: Session,
    standing: Standing,
    away_since_ms: u64,
    retentions: Retentions,
    limits: Arc<Limits>,
    tally: Tally,
    traces: Traces,
    finished: Vec<Finished>,
}

/// An answer that is due: to be given once nothing is locked, since whoever gets it may ask the next thing at once.
pub type Finished = Box<dyn FnOnce() + Send>;

/// A subscription or a read that cannot be answered yet.
struct Waiting {
    asked: Asked,
    /// When it is given up.
    due_ms: u64,
    /// What a tail was found to begin after.
    after: Option<u64>,
    tail_asked: bool,
}

enum Asked {
    Subscribe(Box<Subscribe>),
    Read { channels: ChannelSet, start: Start, page: PageLimit, done: Done<Result<Page, Reason>> },
}

impl Sequencer {
    /// A node that is part of no log yet.
    #[must_use]
    pub fn new(
        node: NodeId,
        limits: &Arc<Limits>,
        retentions: Retentions,
        revocations: Arc<Revocations>,
        now: Now,
    ) -> Sequencer {
        Sequencer {
            partition: Partition::following(limits, retentions.clone(), revocations),
            tracks: HashMap::new(),
            waiting: BTreeMap::new(),
            next: 0,
            ahead: BTreeSet::new(),
            probed_to: 0,
            wants_probe: false,
            subscribe: Vec::new(),
            unsubscribe: Vec::new(),
            to_read: VecDeque::new(),
            paced: VecDeque::new(),
            tails: VecDeque::new(),
            put_off: Vec::new(),
            aside: VecDeque::new(),
            reads_in_flight: 0,
            of_entry: 0,
            has_asked: false,
            asked: 0,
            behind: HashSet::new(),
            idle: VecDeque::new(),
            publishing: publishing::Publishing::default(),
            past: Past::new(node),
            fence: None,
            session: Session::default(),
            standing: Standing::Away,
            away_since_ms: now.monotonic_ms,
            retentions,
            limits: limits.clone(),
            tally: Tally::default(),
            traces: Traces::default(),
            finished: Vec::new(),
        }
    }

    /// The same with these channels bridged.
    #[must_use]
    pub fn bridging(self, bridged: Bridged) -> Sequencer {
        Sequencer { partition: self.partition.bridging(bridged), ..self }
    }

    /// See [`Partition::attend`].
    pub fn attend(&mut self, attendance: Arc<dyn Attendance>) {
        self.partition.attend(attendance);
    }

    /// Makes an outlet known.
    pub fn attach(&mut self, outlet: Arc<dyn Outlet>) -> OutletId {
        self.partition.attach(outlet)
    }

    /// Answers a subscription once its channels are heard and what it missed is at hand.
    pub fn subscribe(&mut self, subscribe: Subscribe, now: Now) {
        self.wait_for(Asked::Subscribe(Box::new(subscribe)), now);
    }

    /// Answers a read likewise.
    pub fn read(
        &mut self,
        channels: ChannelSet,
        start: Start,
        page: PageLimit,
        now: Now,
        done: Done<Result<Page, Reason>>,
    ) {
        self.wait_for(Asked::Read { channels, start, page, done }, now);
    }

    /// Takes back the interest that joining counted.
    pub fn leave(&mut self, outlet: OutletId, transport: Transport, channels: &[Channel], now: Now) {
        self.partition.leave(outlet, transport, channels);
        for channel in channels {
            self.rest(channel, now);
        }
    }

    /// See [`Partition::catch_up`].
    pub fn catch_up(&mut self, outlet: OutletId) {
        self.partition.catch_up(outlet);
    }

    /// See [`Partition::revoke`].
    pub fn revoke(&mut self, revocation: &Arc<Revocation>) {
        self.partition.revoke(revocation);
    }

    /// See [`Partition::relay`].
    pub fn relay(&mut self, channel: &Channel, payload: Payload, now: Now) {
        self.partition.relay(channel, payload, now);
    }

    /// See [`Partition::disturbed`].
    pub fn disturbed(&mut self, channels: &[Channel]) {
        self.partition.disturbed(channels);
    }

    /// See [`Partition::retain`].
    pub fn retain(&mut self, retentions: Retentions) {
        self.retentions = retentions.clone();
        self.partition.retain(retentions);
    }

    /// Answers that are due since the last call.
    #[must_use]
    pub fn take_finished(&mut self) -> Vec<Finished> {
        std::mem::take(&mut self.finished)
    }

    /// Lets a second pass: trims what is too old, and tells every outlet its position.
    pub fn tick(&mut self, now: Now) {
        self.partition.tick(now);
    }

    /// Lets a moment pass: sends away who has waited for too long, and takes up what was put off. To be called some
    /// twenty times a second.
    pub fn pass(&mut self, now: Now) {
        self.give_up_waiting(now);
        self.give_up_publishing(now);
        self.take_up_paced(now);
        for number in std::mem::take(&mut self.put_off) {
            self.look_at(number, now);
        }
        self.let_idle_go(now);
        self.let_aside_go(now);
    }

    /// The channels that are followed.
    #[must_use]
    pub fn channels(&self, count_max: usize) -> Vec<ChannelInfo> {
        self.partition.channels(count_max)
    }

    /// What the channel of this name holds here; nothing where it is not followed.
    #[must_use]
    pub fn channel(&self, name: &Channel) -> Option<ChannelInfo> {
        self.partition.channel(name)
    }

    /// What it holds as a whole.
    #[must_use]
    pub fn totals(&self) -> Totals {
        self.partition.totals()
    }

    /// Where it stands.
    #[must_use]
    pub fn standing(&self) -> Standing {
        self.standing
    }

    /// Since when it stands nowhere; nothing unless it does.
    #[must_use]
    pub fn away_since_ms(&self) -> Option<u64> {
        (self.standing == Standing::Away).then_some(self.away_since_ms)
    }

    /// What it counted.
    #[must_use]
    pub fn tally(&self) -> Tally {
        self.tally
    }

    /// Subscriptions and reads that wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }
}
