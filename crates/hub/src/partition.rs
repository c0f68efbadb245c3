//! A partition log and its sequencer: the only place where messages take their order (delivery rule R1).
//!
//! Whoever owns a [`Partition`] calls it from one place at a time: behind a lock in memory mode. Each call places,
//! keeps and hands on one thing completely before the next begins.
//!
//! Sketch: a publish costs two hash look-ups, one `Arc` and one inbox entry per interested outlet; a kept message
//! costs its payload, about 180 bytes for itself and 32 in `order`.

mod follow;

use std::collections::{BTreeMap, BinaryHeap, HashMap};
use std::sync::Arc;

use crate::admit::{Admit, GapReason, Join, Loss, OutletId, Page, Subscribe, Transport};
use crate::barrier::Feeds;
use crate::bridge::{self, Bridge, Bridged};
use crate::broker::{ChannelInfo, Now, Totals};
use crate::channel::{Channel, ChannelSet};
use crate::deliver::{Command, Outlet};
use crate::grant::Grant;
use crate::history::{History, Trimmed};
use crate::keys::Keys;
use crate::limits::{Limits, PageLimit, Retentions};
use crate::lineage::Lineage;
use crate::message::{Message, Payload};
use crate::order::{Order, Placed};
use crate::position::{Gen, Position, Start};
use crate::presence::Attendance;
use crate::publish::{Publish, Receipt, Receivers};
use crate::reason::Reason;
use crate::resume::{Log, with_records};
use crate::revocation::{Revocation, Revocations};

pub use follow::{Entered, Hole, Need, Piece};

/// One partition log with its channels, its outlets and its idempotency keys.
pub struct Partition {
    lineage: Lineage,
    /// The seq of the newest message; of a log that is kept elsewhere, up to where it has been heard.
    seq: u64,
    /// The highest `last` of any channel whose record was given up (delivery rule R20).
    floor: u64,
    channels: HashMap<Channel, History>,
    /// Every kept message, so that age and memory are trimmed from the front.
    order: Order,
    /// While a barrier is up: the newest message of each channel that left `order`, so that its loss is announced.
    lost_while_held: HashMap<Channel, u64>,
    messages: usize,
    bytes: usize,
    keys: Keys,
    feeds: Feeds,
    bridge: Bridge,
    /// Rights that were taken back. Whoever joins is looked up here, in the joining step (delivery rule R12).
    revocations: Arc<Revocations>,
    /// Who is told of joins, where anybody is.
    attendance: Option<Arc<dyn Attendance>>,
    retentions: Retentions,
    bytes_max: usize,
    channels_max: usize,
    draining: bool,
    /// Whether the log is kept elsewhere, and this is what the node knows of it.
    follows: bool,
    /// Whether it has come into that log yet.
    has_entered: bool,
    /// Whether everybody is held, until what they missed has been read.
    is_closed: bool,
    /// The highest place that anybody joined at.
    joined_max: u64,
    /// When channels were last looked through for records to give up: looking costs a walk over all of them.
    looked_ms: Option<u64>,
}

impl Partition {
    /// An empty log of `generation`. Histories may take three quarters of the memory budget; queues have the rest.
    #[must_use]
    pub fn new(
        generation: Gen,
        limits: &Limits,
        retentions: Retentions,
        revocations: Arc<Revocations>,
    ) -> Partition {
        Partition {
            lineage: Lineage::new(generation),
            seq: 0,
            floor: 0,
            channels: HashMap::new(),
            order: Order::default(),
            lost_while_held: HashMap::new(),
            messages: 0,
            bytes: 0,
            keys: Keys::new(limits.keys_max, limits.key_ttl),
            feeds: Feeds::default(),
            bridge: Bridge::default(),
            revocations,
            attendance: None,
            retentions,
            bytes_max: limits.memory_budget / 4 * 3,
            channels_max: limits.channels_max,
            draining: false,
            follows: false,
            has_entered: false,
            is_closed: false,
            joined_max: 0,
            looked_ms: None,
        }
    }

    /// The same with these channels bridged: nothing is placed on them, and [`Partition::relay`] hands on what comes.
    #[must_use]
    pub fn bridging(self, bridged: Bridged) -> Partition {
        Partition { bridge: Bridge::new(bridged), ..self }
    }

    /// Whether messages of `channel` come over the bridge.
    #[must_use]
    pub fn bridges(&self, channel: &Channel) -> bool {
        self.bridge.holds(channel)
    }

    /// Makes an outlet known.
    pub fn attach(&mut self, outlet: Arc<dyn Outlet>) -> OutletId {
        let index = self.feeds.attach(outlet);
        if self.is_closed {
            self.feeds.hold_at(index, self.seq);
        }
        OutletId(u16::try_from(index).expect("a node has a handful of outlets"))
    }

    /// Has joins told from now on, each in its step (see [`crate::presence`]).
    pub fn attend(&mut self, attendance: Arc<dyn Attendance>) {
        self.attendance = Some(attendance);
    }

    /// Places a message, keeps it, and puts it into every interested inbox before the next one is looked at.
    ///
    /// # Errors
    /// `Draining`, `KeyReused`, `KeysFull` or `ChannelsFull`, and `Forbidden` on a bridged channel; then nothing has changed.
    pub fn publish(&mut self, publish: Publish, now: Now) -> Result<Receipt, Reason> {
        if self.bridge.holds(&publish.channel) {
            return Err(Reason::Forbidden);
        }
        self.keys.expire(now.monotonic_ms);
        if let Some(position) = self.keys.find(&publish)? {
            return Ok(Receipt { position: Some(position), receivers: Receivers::default() });
        }
        // A repetition is answered even now: its message was stored before the drain began (delivery rule R23).
        if self.draining {
            return Err(Reason::Draining);
        }
        self.make_room_for(&publish.channel, now)?;
        let position = self.at(self.seq + 1);
        self.keys.remember(&publish, position, now.monotonic_ms);
        self.seq = position.seq;
        let receivers = self.place(publish, position, now);
        self.trim_memory();
        Ok(Receipt { position: Some(position), receivers })
    }

    /// Reads what a subscriber missed, joins it if it is due, and puts both into its outlet's inbox in one step.
    pub fn subscribe(&mut self, subscribe: Subscribe, now: Now) {
        // Who joins an outlet that is held back joins at the place up to which it has been fed, and gets the rest with
        // everybody there. A page up to the head would name a cursor that its other channels have not reached.
        let fed = match subscribe.join {
            Join::Never => self.seq,
            Join::WhenCaughtUp | Join::WhenEmpty => self.feeds.fed(usize::from(subscribe.outlet.0), self.seq),
        };
        if let Err(refusal) = self.still_holds(&subscribe.grant, &subscribe.channels) {
            return self.refuse(subscribe, refusal);
        }
        let page = self.page(&subscribe.channels, fed, subscribe.start, subscribe.page);
        let joined = match subscribe.join {
            Join::WhenCaughtUp => !page.more,
            // A gap on bridged channels alone is told with the answer: every poll that comes back has one, and an answer
            // at once would be the end of waiting.
            Join::WhenEmpty => {
                let gap = page.gap.as_ref();
                let waits =
                    gap.is_none_or(|gap| gap.channels.iter().all(|channel| self.bridge.holds(channel)));
                page.messages.is_empty() && waits
            }
            Join::Never => false,
        };
        let Subscribe { outlet, conn, transport, grant, channels, cause, .. } = subscribe;
        self.joined_max = self.joined_max.max(if joined { page.cursor.seq } else { 0 });
        let refused = joined.then(|| self.join(outlet, transport, &channels, now)).and_then(Result::err);
        if let (Some(attendance), true) = (&self.attendance, joined && refused.is_none()) {
            attendance.joined(outlet, conn, &grant, &channels);
        }
        let command = match refused {
            None => Command::Admit(Box::new(Admit { conn, transport, grant, channels, page, joined, cause })),
            Some(reason) => Command::Refuse { conn, reason, detail: reason.hint().into(), cause },
        };
        // Only deliveries can find the inbox full.
        let _ = self.feeds.get(usize::from(outlet.0)).outlet.send(command);
    }

    /// Answers a subscription by a refusal.
    pub fn refuse(&self, subscribe: Subscribe, reason: Reason) {
        let Subscribe { outlet, conn, cause, .. } = subscribe;
        let command = Command::Refuse { conn, reason, detail: reason.hint().into(), cause };
        let _ = self.feeds.get(usize::from(outlet.0)).outlet.send(command);
    }

    /// Ends the connections whose rights `revocation` ends. It has been recorded already, so whoever comes after this
    /// finds it, and whoever came before is in an inbox before it: nobody slips through between the two.
    pub fn revoke(&mut self, revocation: &Arc<Revocation>) {
        for feed in self.feeds.iter() {
            let _ = feed.outlet.send(Command::Revoke(revocation.clone()));
        }
    }

    /// Takes back the interest that joining counted, and gives up records that never held a message.
    pub fn leave(&mut self, outlet: OutletId, transport: Transport, channels: &[Channel]) {
        for channel in channels {
            let history = self.channels.get_mut(channel).expect("a joined channel has a record (R12)");
            history.leave(outlet, transport);
            if !self.follows && history.is_idle() && history.last() <= self.floor {
                self.channels.remove(channel);
            }
        }
    }

    /// Reads one page of history without joining.
    #[must_use]
    pub fn read(&self, channels: &ChannelSet, start: Start, page: PageLimit) -> Page {
        self.page(channels, self.seq, start, page)
    }

    /// Hands a message that came over the bridge to everybody who listens.
    pub fn relay(&mut self, channel: &Channel, payload: Payload, now: Now) {
        let at = (&self.feeds, self.at(self.seq), self.is_closed);
        if let Some(listeners) = self.channels.get(channel).filter(|_| self.bridge.holds(channel)) {
            self.bridge.relay(channel, payload, listeners, at, now);
        }
    }

    /// Tells everybody who listens to these channels, as far as they are bridged, that messages may be missing.
    pub fn disturbed(&self, channels: &[Channel]) {
        self.bridge.disturbed(channels, &self.channels, (&self.feeds, self.at(self.seq)));
    }

    /// Lifts the barrier of an outlet that has emptied its inbox: a gap for what was trimmed meanwhile, then every
    /// held message in seq order. Raises it again where the inbox fills up once more.
    pub fn catch_up(&mut self, outlet: OutletId) {
        if self.is_closed {
            return;
        }
        let index = usize::from(outlet.0);
        let Some(after) = self.feeds.lift(index) else { return };
        let interested =
            |channel: &Channel| self.channels.get(channel).filter(|history| history.interests(outlet));
        let gone = self
            .lost_while_held
            .iter()
            .filter(|(channel, seq)| **seq > after && interested(channel).is_some());
        let mut lost: BTreeMap<Channel, u64> = gone.map(|(channel, seq)| (channel.clone(), *seq)).collect();
        let mut due = Vec::new();
        for placed in self.order.after(after) {
            match interested(&placed.channel).map(|history| history.at(placed.seq)) {
                Some(Some(message)) => due.push(message.clone()),
                Some(None) => {
                    let newest = lost.entry(placed.channel.clone()).or_default();
                    *newest = placed.seq.max(*newest);
                }
                None => {}
            }
        }
        if self.feeds.lowest_held().is_none() {
            self.lost_while_held.clear();
        }
        if !lost.is_empty() {
            let loss = Loss { reason: GapReason::Trimmed, channels: lost, cursor: self.at(after) };
            let _ = self.feeds.get(index).outlet.send(Command::Lost(Arc::new(loss)));
        }
        for message in due {
            let seq = message.position.seq;
            if self.feeds.get(index).outlet.send(Command::Deliver(message)).is_err() {
                self.feeds.hold(index, seq - 1);
                return;
            }
        }
    }

    /// Lets time pass: forgets expired keys and old messages, and tells every outlet how far it has been fed.
    pub fn tick(&mut self, now: Now) {
        self.keys.expire(now.monotonic_ms);
        self.trim_age(now);
        let head = self.at(self.seq);
        // One that is held back has not been fed up to here (delivery rule R6).
        for feed in self.feeds.iter().filter(|feed| feed.held_after.is_none()) {
            let _ = feed.outlet.send(Command::Position(head));
        }
    }

    /// Keeps by other rules from now on. What is kept already lasts as these have it; what is one too many by them goes
    /// with the next message of its channel.
    pub fn retain(&mut self, retentions: Retentions) {
        self.order = self.order.relaid(|channel| retentions.of(channel).ttl);
        self.retentions = retentions;
    }

    /// Refuses new publishes from now on.
    pub fn drain(&mut self) {
        self.draining = true;
    }

    /// The channels that exist, in name order.
    #[must_use]
    pub fn channels(&self, count_max: usize) -> Vec<ChannelInfo> {
        // Publishers wait meanwhile, so a million names are looked at and only those that are shown are sorted.
        let mut names: BinaryHeap<&Channel> = BinaryHeap::new();
        for name in self.channels.keys() {
            if names.len() < count_max {
                names.push(name);
            } else if let Some(mut last) = names.peek_mut().filter(|last| name < **last) {
                *last = name;
            }
        }
        let names = names.into_sorted_vec();
        names.into_iter().filter_map(|channel| self.channel(channel)).collect()
    }

    /// What the channel of this name holds; nothing where it does not exist.
    #[must_use]
    pub fn channel(&self, name: &Channel) -> Option<ChannelInfo> {
        let history = self.channels.get(name)?;
        let (messages, bytes, placed) = (history.count(), history.bytes(), history.placed());
        Some(ChannelInfo { channel: name.clone(), receivers: history.receivers(), messages, bytes, placed })
    }

    /// What the partition holds as a whole.
    #[must_use]
    pub fn totals(&self) -> Totals {
        Totals {
            channels: self.channels.len(),
            messages: self.messages,
            bytes: self.bytes,
            keys: self.keys.count(),
            published: self.seq,
            barriers: self.feeds.barriers,
        }
    }

    fn page(&self, channels: &ChannelSet, end: u64, start: Start, limit: PageLimit) -> Page {
        let (logged, bridged) = self.bridge.part(channels);
        let mut page = self.log(&logged, end).page(start, limit);
        bridge::complete(&mut page, start, bridged);
        page
    }

    /// A still picture of these channels as they were at `end`.
    fn log<'p>(&'p self, channels: &'p ChannelSet, end: u64) -> Log<'p> {
        let channels = with_records(channels, |channel| self.channels.get(channel));
        Log { lineage: &self.lineage, head: self.seq, end, floor: self.floor, channels }
    }

    fn place(&mut self, publish: Publish, position: Position, now: Now) -> Receivers {
        let Publish { channel, event, payload, trace, .. } = publish;
        let floor = self.floor;
        let history = self.channels.entry(channel.clone()).or_insert_with(|| History::new(floor));
        let prev = history.last();
        let (time_ms, taken_us) = (now.wall_ms, now.monotonic_us());
        let message =
            Message { channel, position, prev, event, payload, time_ms, taken_us, bridged: false, trace };
        self.keep(&Arc::new(message), position.seq - 1, now)
    }

    /// Keeps a message of a channel that has a record, and puts it into every interested inbox. `before` is the place up
    /// to which those have been fed.
    fn keep(&mut self, message: &Arc<Message>, before: u64, now: Now) -> Receivers {
        let Some(history) = self.channels.get_mut(&message.channel) else { return Receivers::default() };
        self.messages += 1;
        self.bytes += message.cost_bytes();
        let seq = message.position.seq;
        let placed = Placed { seq, placed_ms: now.monotonic_ms, channel: message.channel.clone() };
        let retention = self.retentions.of(&message.channel);
        self.order.push(placed, retention.ttl);
        let trimmed = history.append(message.clone(), retention);
        let receivers = history.receivers();
        for index in history.interested() {
            let feed = self.feeds.get(index);
            if feed.held_after.is_none() && feed.outlet.send(Command::Deliver(message.clone())).is_err() {
                self.feeds.hold(index, before);
            }
        }
        self.give_back(trimmed);
        receivers
    }

    fn still_holds(&self, grant: &Grant, channels: &ChannelSet) -> Result<(), Reason> {
        if self.revocations.ends(grant)
            || channels.iter().any(|channel| self.revocations.bars(grant, channel))
        {
            return Err(Reason::Revoked);
        }
        Ok(())
    }

    fn join(
        &mut self,
        outlet: OutletId,
        transport: Transport,
        channels: &ChannelSet,
        now: Now,
    ) -> Result<(), Reason> {
        for channel in channels.iter() {
            self.make_room_for(channel, now)?;
        }
        let missing = channels.iter().filter(|channel| !self.channels.contains_key(*channel)).count();
        if self.channels.len() + missing > self.channels_max {
            return Err(Reason::ChannelsFull);
        }
        let floor = self.floor;
        for channel in channels.iter() {
            let history = self.channels.entry(channel.clone()).or_insert_with(|| History::new(floor));
            history.join(outlet, transport);
            self.bridge.joined(usize::from(outlet.0), channel);
        }
        Ok(())
    }

    /// Makes sure that one more record fits, by giving up idle ones if need be.
    fn make_room_for(&mut self, channel: &Channel, now: Now) -> Result<(), Reason> {
        if self.channels.len() < self.channels_max || self.channels.contains_key(channel) {
            return Ok(());
        }
        if self.looked_ms.is_some_and(|looked_ms| now.monotonic_ms < looked_ms + LOOK_INTERVAL_MS) {
            return Err(Reason::ChannelsFull);
        }
        self.looked_ms = Some(now.monotonic_ms);
        self.give_up_idle_channels();
        if self.channels.len() < self.channels_max { Ok(()) } else { Err(Reason::ChannelsFull) }
    }

    /// Gives up the eighth of the records that were quiet for longest. The floor rises to the newest `last` among
    /// them, so a cursor older than that is told of a gap on any channel without a record.
    fn give_up_idle_channels(&mut self) {
        let mut idle: Vec<(u64, Channel)> = self
            .channels
            .iter()
            .filter(|(_, history)| history.is_idle())
            .map(|(channel, history)| (history.last(), channel.clone()))
            .collect();
        idle.sort_unstable();
        idle.truncate((self.channels_max / 8).max(1));
        for (last, channel) in idle {
            self.floor = self.floor.max(last);
            self.channels.remove(&channel);
        }
    }

    fn trim_memory(&mut self) {
        while self.bytes > self.bytes_max
            && let Some(placed) = self.order.pop_oldest()
        {
            self.trim(&placed, History::trim_to);
        }
        self.drop_stale_order();
    }

    fn trim_age(&mut self, now: Now) {
        while let Some(placed) = self.order.pop_expired(now.monotonic_ms) {
            self.trim(&placed, History::outlive);
        }
        self.drop_stale_order();
    }

    fn trim(&mut self, placed: &Placed, trim: fn(&mut History, u64) -> Trimmed) {
        let Some(history) = self.channels.get_mut(&placed.channel) else { return };
        let trimmed = trim(history, placed.seq);
        self.give_back(trimmed);
        self.lose_while_held(&placed.channel, placed.seq);
    }

    /// Has it told to who is held below `seq` that what they miss of a channel up to there is gone.
    fn lose_while_held(&mut self, channel: &Channel, seq: u64) {
        if self.feeds.lowest_held().is_some_and(|held| seq > held) {
            let newest = self.lost_while_held.entry(channel.clone()).or_default();
            *newest = seq.max(*newest);
        }
    }

    fn give_back(&mut self, trimmed: Trimmed) {
        self.messages -= trimmed.messages;
        self.bytes -= trimmed.bytes;
    }

    /// Messages trimmed by size leave their entry behind; when those outnumber the living, all are looked through.
    fn drop_stale_order(&mut self) {
        if self.order.len() <= 2 * self.messages + 1024 || self.feeds.lowest_held().is_some() {
            return;
        }
        let channels = &self.channels;
        self.order.retain(|placed| {
            channels.get(&placed.channel).is_some_and(|history| placed.seq > history.base())
        });
    }

    fn at(&self, seq: u64) -> Position {
        Position { generation: self.lineage.generation, seq }
    }
}

/// How often, at most, all channels are looked through for records to give up.
const LOOK_INTERVAL_MS: u64 = 1_000;
