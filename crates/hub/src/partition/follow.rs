//! Following: the log is kept elsewhere. A link brings what is placed there, and what came before is read on demand.
//!
//! ```text
//! enter      the log's generation, and what is lost for who is connected   everybody is held
//! follow     a channel, once the link was asked for it
//! confirm    from which seq on the link brings it whole
//! take       what the link brings
//! extend     what was read further back
//! open       the held go on, in seq order, with what they missed           (delivery rule R13)
//! ```
//!
//! One way in for a node that starts, and for one whose link was lost: nothing that was kept before is trusted to
//! connect with what the link brings next, so a channel is forgotten, confirmed, and read as far back as is needed.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::admit::{GapReason, Join, Loss, OutletId};
use crate::broker::Now;
use crate::channel::Channel;
use crate::deliver::Command;
use crate::history::{History, Segment};
use crate::limits::{Limits, Retentions};
use crate::lineage::{Ancestor, Lineage, Verdict};
use crate::message::Message;
use crate::order::Placed;
use crate::position::{Cursor, Gen, Position, Start};
use crate::publish::Receivers;
use crate::revocation::Revocations;

use super::Partition;

/// What a node learns of the log when it comes in.
#[derive(Clone, Debug)]
pub struct Entered {
    /// The log's generation.
    pub generation: Gen,
    /// Those before it, newest first.
    pub ancestors: Vec<Ancestor>,
    /// The seq of its newest message.
    pub head: u64,
    /// Whether it is another log than the one that the node followed until now.
    pub store_lost: bool,
}

/// What has to be at hand before a page can be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Everything after this seq, or as much of it as makes a page.
    After(u64),
    /// Everything after this seq. Up to there its outlet has been fed, so it joins, and no page of its own follows.
    All(u64),
    /// The newest so many messages of every channel.
    Newest(usize),
    /// The node's own log has to come as far as this seq first (delivery rule R7).
    Ahead(u64),
}

/// A piece of one channel's log, as it was read where the log is kept.
#[derive(Clone, Debug)]
pub struct Piece {
    /// Which channel.
    pub channel: Channel,
    /// It begins after this seq.
    pub after: u64,
    /// It has everything up to this seq that is not gone.
    pub to: u64,
    /// Whoever has seen less than this seq has lost something.
    pub base: u64,
    /// Whether it goes up to the newest message of its instant.
    pub is_whole: bool,
    /// In seq order.
    pub messages: Vec<Arc<Message>>,
}

/// The link has lost something: a message says that it comes after one that never came (delivery rule R13).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hole;

impl Partition {
    /// The node's own log of one that is kept elsewhere. It knows nothing yet, and holds everybody.
    #[must_use]
    pub fn following(limits: &Limits, retentions: Retentions, revocations: Arc<Revocations>) -> Partition {
        let unknown = Gen::from_random(0);
        let mut partition = Partition::new(unknown, limits, retentions, revocations);
        (partition.follows, partition.is_closed) = (true, true);
        partition
    }

    /// Goes on in the log that the node has come into. Everybody is held at what is certain to have survived, and told
    /// where more than that may have been seen (delivery rule R17). Says why, where something may be lost.
    pub fn enter(&mut self, entered: Entered) -> Option<GapReason> {
        let Entered { generation, ancestors, head, store_lost } = entered;
        let first = !std::mem::replace(&mut self.has_entered, true);
        let before = self.lineage.clone();
        if store_lost && !first {
            self.lineage.lose_store();
        }
        self.lineage.go_on(generation, ancestors);
        let seen = Position { generation: before.generation, seq: self.seq.max(self.joined_max) };
        let (reason, survived) = match self.lineage.judge(seen, head) {
            _ if first => (None, u64::MAX),
            _ if store_lost => (Some(GapReason::StoreReset), 0),
            Verdict::Whole => (None, u64::MAX),
            Verdict::Lost => (Some(GapReason::Failover), self.lineage.survived(seen)),
            Verdict::Unknown => self.lose_generation(&before),
        };
        let lost = reason.map(|reason| (reason, survived));
        if first {
            self.seq = head;
            (0..self.feeds.iter().count()).for_each(|index| self.feeds.hold_at(index, head));
        }
        self.hold_all(lost, survived, before.generation != generation);
        self.forget_all();
        self.joined_max = self.joined_max.min(survived);
        self.seq = if reason.is_none() && !first { self.seq.max(head) } else { head };
        reason
    }

    /// Holds everybody: what the link brings from now on may not follow what it brought.
    pub fn close(&mut self) {
        if !std::mem::replace(&mut self.is_closed, true) {
            self.feeds.hold_all(self.seq);
        }
    }

    /// Lets everybody go on with what they missed, in seq order.
    pub fn open(&mut self) {
        self.is_closed = false;
        for index in 0..self.feeds.iter().count() {
            self.catch_up(OutletId(u16::try_from(index).expect("a node has a handful of outlets")));
        }
    }

    /// The seq up to which everybody has been fed.
    #[must_use]
    pub fn fed(&self) -> u64 {
        self.feeds.lowest_held().unwrap_or(self.seq)
    }

    /// Makes a record for a channel that the link is about to be asked for.
    pub fn follow(&mut self, channel: &Channel) {
        self.channels.entry(channel.clone()).or_insert_with(History::followed);
    }

    /// Gives up the record of a channel that nobody listens to and the link no longer brings.
    pub fn unfollow(&mut self, channel: &Channel) {
        if let Some(history) =
            self.channels.get(channel).filter(|one| one.receivers() == Receivers::default())
        {
            (self.messages, self.bytes) = (self.messages - history.count(), self.bytes - history.bytes());
            self.channels.remove(channel);
        }
    }

    /// Everything above `seq` on these channels has been brought by the link since it was asked, and will be.
    pub fn confirm<'c>(&mut self, channels: impl IntoIterator<Item = &'c Channel>, seq: u64) {
        self.advance(seq);
        for channel in channels {
            let trimmed = self.channels.get_mut(channel).map(|history| history.confirm(seq));
            self.give_back(trimmed.unwrap_or_default());
        }
    }

    /// Everything up to `seq` has been brought by the link, on every channel that is confirmed.
    pub fn advance(&mut self, seq: u64) {
        self.seq = self.seq.max(seq);
    }

    /// Takes what the link brings, and hands it on. What is known already, or on no channel that is followed, changes
    /// nothing. `chained` says whether the message's `prev` is the one before it on its channel (delivery rule R20).
    ///
    /// # Errors
    /// A message before this one never came. It is kept all the same, and handed to nobody.
    pub fn take(&mut self, mut message: Message, chained: bool, now: Now) -> Result<(), Hole> {
        message.taken_us = now.monotonic_us();
        let seq = message.position.seq;
        let Some(history) = self.channels.get(&message.channel) else { return Ok(()) };
        if seq <= history.last() {
            return Ok(());
        }
        let is_late = seq <= self.seq;
        let last = history.last();
        let hole = history.is_confirmed() && (is_late || chained && message.prev > last);
        if hole {
            self.close();
            self.fall_back(&message.channel, last);
        }
        let outcome = if hole { Err(Hole) } else { Ok(()) };
        let before = self.seq;
        self.advance(seq);
        self.keep(&Arc::new(message), before, now);
        self.trim_memory();
        outcome
    }

    /// What has to be at hand before this start can be answered.
    #[must_use]
    pub fn need(&self, start: Start, join: Join, outlet: Option<OutletId>) -> Need {
        let fed = match (join, outlet) {
            (Join::Never, _) | (_, None) => self.seq,
            (_, Some(outlet)) => self.feeds.fed(usize::from(outlet.0), self.seq),
        };
        match start {
            Start::Live => Need::All(fed),
            Start::Earliest | Start::After(Cursor::Unreadable) => Need::After(0),
            Start::Tail(count) => Need::Newest(count as usize),
            Start::After(Cursor::At(cursor)) => match self.lineage.judge(cursor, self.seq) {
                Verdict::Whole if cursor.seq < fed => Need::After(cursor.seq),
                Verdict::Whole => Need::All(fed),
                Verdict::Lost => Need::After(self.lineage.survived(cursor).min(fed)),
                Verdict::Unknown if cursor.generation == self.lineage.generation => Need::Ahead(cursor.seq),
                Verdict::Unknown => Need::After(0),
            },
        }
    }

    /// Whether what is needed of `channel` is at hand.
    #[must_use]
    pub fn has(&self, channel: &Channel, need: Need) -> bool {
        self.channels.get(channel).is_some_and(|history| match need {
            Need::After(seq) => history.reaches(seq),
            Need::All(seq) => history.holds(seq),
            Need::Newest(count) => history.holds_newest(count),
            Need::Ahead(_) => false,
        })
    }

    /// Whether everything after `seq` on this channel is at hand, up to now.
    #[must_use]
    pub fn holds(&self, channel: &Channel, seq: u64) -> bool {
        self.channels.get(channel).is_some_and(|history| history.holds(seq))
    }

    /// Whether everything after `seq` on this channel is at hand, or is about to be announced as lost: there was no room
    /// for it, and there would be none the next time (delivery rule R13).
    #[must_use]
    pub fn has_caught_up(&self, channel: &Channel, seq: u64) -> bool {
        let is_lost = |base: u64| self.lost_while_held.get(channel).is_some_and(|newest| *newest >= base);
        let history = self.channels.get(channel).filter(|history| history.is_confirmed());
        history.is_some_and(|history| history.holds(seq) || is_lost(history.base()))
    }

    /// Where a read goes on that is to have everything after `seq`, if a piece that begins there was set aside.
    #[must_use]
    pub fn set_aside(&self, channel: &Channel, seq: u64) -> Option<u64> {
        self.channels.get(channel)?.end_of_segment(seq)
    }

    /// Whether a piece of this channel is set aside.
    #[must_use]
    pub fn has_aside(&self, channel: &Channel) -> bool {
        self.channels.get(channel).is_some_and(|history| history.segment_read_ms().is_some())
    }

    /// Lets go of what was set aside before `read_ms`.
    pub fn drop_aside(&mut self, channel: &Channel, read_ms: u64) {
        let Some(history) = self.channels.get_mut(channel) else { return };
        if history.segment_read_ms().is_some_and(|at| at < read_ms) {
            history.drop_segment();
        }
    }

    /// Takes in what was read further back.
    pub fn extend(&mut self, piece: Piece, now: Now) {
        let Piece { channel, after, to, base, is_whole, messages } = piece;
        let Some(history) = self.channels.get_mut(&channel) else { return };
        let segment = Segment { after, to, base, is_whole, messages, read_ms: now.monotonic_ms };
        let late = history.extend(segment);
        let gone = history.gone();
        let ttl = self.retentions.of(&channel).ttl;
        for message in late {
            let placed =
                Placed { seq: message.position.seq, placed_ms: now.monotonic_ms, channel: channel.clone() };
            self.order.insert(placed, ttl);
            self.messages += 1;
            self.bytes += message.cost_bytes();
        }
        self.lose_while_held(&channel, gone);
        self.trim_memory();
    }

    /// Whether anybody listens to this channel here.
    #[must_use]
    pub fn is_wanted(&self, channel: &Channel) -> bool {
        self.channels.get(channel).is_some_and(|history| history.receivers() != Receivers::default())
    }

    /// Who listens to this channel here.
    #[must_use]
    pub fn receivers(&self, channel: &Channel) -> Receivers {
        self.channels.get(channel).map(History::receivers).unwrap_or_default()
    }

    /// The generation that the node was part of is known to nobody: it began on a server that was lost. What it came of
    /// may be known.
    fn lose_generation(&mut self, before: &Lineage) -> (Option<GapReason>, u64) {
        match self.lineage.in_common(before) {
            Some(shared) => (Some(GapReason::Failover), self.lineage.survived(shared)),
            None => (Some(GapReason::StoreReset), 0),
        }
    }

    /// Holds every outlet at what survived of what it was fed, and tells its subscribers what they may have lost: before
    /// any id of what follows (delivery rule R5).
    fn hold_all(&mut self, lost: Option<(GapReason, u64)>, survived: u64, is_other: bool) {
        self.is_closed = true;
        for index in 0..self.feeds.iter().count() {
            let fed = self.feeds.fed(index, self.seq).min(survived);
            self.feeds.hold_at(index, fed);
            let cursor = self.at(fed);
            let outlet = OutletId(u16::try_from(index).expect("a node has a handful of outlets"));
            if let Some((reason, _)) = lost {
                let kept = |channel: &Channel| !self.bridge.holds(channel);
                let interested = self.channels.iter();
                let interested =
                    interested.filter(|(channel, history)| history.interests(outlet) && kept(channel));
                let channels: BTreeMap<Channel, u64> =
                    interested.map(|(channel, _)| (channel.clone(), u64::MAX)).collect();
                if !channels.is_empty() {
                    let loss = Loss { reason, channels, cursor };
                    let _ = self.feeds.get(index).outlet.send(Command::Lost(Arc::new(loss)));
                }
            }
            if is_other {
                let _ = self.feeds.get(index).outlet.send(Command::Fence { position: cursor, survived });
            }
        }
    }

    /// Something after `last` on this channel never came. Whoever listens is fed from there once more, those who joined
    /// since included: an id may step back, and a repetition is told by it (delivery rule R4).
    fn fall_back(&mut self, channel: &Channel, last: u64) {
        let interested: Vec<usize> =
            self.channels.get(channel).map(|history| history.interested().collect()).unwrap_or_default();
        for index in interested {
            let fed = self.feeds.fed(index, self.seq).min(last);
            self.feeds.hold_at(index, fed);
            let fence = Command::Fence { position: self.at(fed), survived: fed };
            let _ = self.feeds.get(index).outlet.send(fence);
        }
    }

    fn forget_all(&mut self) {
        for history in self.channels.values_mut() {
            history.forget();
        }
        self.order = crate::order::Order::default();
        self.lost_while_held.clear();
        (self.messages, self.bytes) = (0, 0);
    }
}
