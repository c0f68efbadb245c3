//! The link: coming in, what it brings, and losing it.

use std::sync::Arc;

use bytes::Bytes;
use tidewire_hub::broker::Now;
use tidewire_hub::channel::Channel;
use tidewire_hub::partition::Entered;
use tidewire_hub::position::Position;

use super::track::Ear;
use super::{Astray, Sequencer, Session, Standing};
use crate::redis::envelope::Envelope;
use crate::redis::fence::{Fence, Past};
use crate::redis::link::Probe;
use crate::redis::log::Lease;

/// Channels that the link is asked for at once.
const SUBSCRIBE_MAX: usize = 1_000;

/// An order to ask the link for channels, and to look at the fence right behind: what it tells is where they begin.
#[derive(Clone, Debug)]
pub struct Subscriptions {
    session: Session,
    /// To be given up, first.
    pub unsubscribe: Vec<Channel>,
    /// To be asked for.
    pub subscribe: Vec<Channel>,
}

/// An order to look at the fence over the link that brings messages.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    session: Session,
    /// Who came before this one has been waited for once it is answered.
    number: u64,
}

impl Sequencer {
    /// What the node tells in its handshake.
    #[must_use]
    pub fn past(&self) -> Past {
        self.past.clone()
    }

    /// The node has shaken hands. From now on it publishes; it hears once its subscriptions are confirmed.
    pub fn entered(&mut self, fence: Fence) -> Session {
        let before = self.fence.as_ref();
        let store_lost = before.is_some_and(|before| before.era != fence.era);
        self.past.enter(&fence);
        let Fence { generation, seq: head, ref lineage, .. } = fence;
        let entered = Entered { generation, ancestors: lineage.clone(), head, store_lost };
        if self.partition.enter(entered).is_some() {
            self.tally.losses += 1;
        }
        self.fence = Some(Arc::new(fence));
        self.session.0 += 1;
        self.standing = Standing::Entered;
        self.tally.entries += 1;
        self.forget_the_unwanted();
        self.subscribe = self.tracks.keys().cloned().collect();
        // In an order that does not change from run to run: the simulation repeats what it found.
        self.subscribe.sort_unstable();
        self.of_entry = self.subscribe.len();
        self.has_asked = false;
        self.session
    }

    /// The next channels to ask for. The first order of a session may be of none: there is a fence to look at.
    pub fn next_subscriptions(&mut self) -> Option<Subscriptions> {
        let idle = self.subscribe.is_empty() && self.unsubscribe.is_empty();
        // One at a time: a confirmation must not pass for that of a later order for the same channel (delivery rule R19).
        if self.standing == Standing::Away || self.asked > 0 || (idle && self.has_asked) {
            return None;
        }
        self.has_asked = true;
        let unsubscribe = std::mem::take(&mut self.unsubscribe);
        let count = self.subscribe.len().min(SUBSCRIBE_MAX);
        self.of_entry -= count.min(self.of_entry);
        let mut subscribe: Vec<Channel> = self.subscribe.drain(..count).collect();
        subscribe.retain(|channel| match self.tracks.get_mut(channel) {
            Some(track) if track.ear == Ear::Wanted => {
                track.ear = Ear::Asked;
                true
            }
            _ => false,
        });
        self.asked += 1;
        Some(Subscriptions { session: self.session, unsubscribe, subscribe })
    }

    /// The link has confirmed an order, and `probe` came right behind.
    ///
    /// # Errors
    /// The link has to be given up.
    pub fn confirmed(&mut self, order: &Subscriptions, probe: &Probe, now: Now) -> Result<(), Astray> {
        if order.session != self.session || self.standing == Standing::Away {
            return Ok(());
        }
        let head = self.head_of(probe)?;
        self.asked -= 1;
        let mut confirmed = Vec::with_capacity(order.subscribe.len());
        for channel in &order.subscribe {
            // One that was let go meanwhile, and is wanted again, has an order of its own.
            if let Some(track) = self.tracks.get_mut(channel).filter(|track| track.ear == Ear::Asked) {
                track.ear = Ear::Confirmed;
                confirmed.push(channel.clone());
            }
        }
        self.past.sees(head);
        self.partition.confirm(&confirmed, head.seq);
        if self.standing == Standing::Entered && self.of_entry == 0 && self.asked == 0 {
            self.standing = Standing::Behind;
            let fed = self.partition.fed();
            let wanted = self
                .tracks
                .keys()
                .filter(|channel| self.partition.is_wanted(channel) && !self.partition.holds(channel, fed));
            self.behind = wanted.cloned().collect();
            let mut behind: Vec<Channel> = self.behind.iter().cloned().collect();
            behind.sort_unstable();
            self.catch_up_with(&behind, now);
        } else {
            self.look_at_waiters(confirmed.iter(), now);
        }
        Ok(())
    }

    /// The link has brought something on the name of a channel.
    ///
    /// # Errors
    /// The link has to be given up.
    pub fn heard(
        &mut self,
        session: Session,
        channel: Channel,
        bytes: Bytes,
        now: Now,
    ) -> Result<(), Astray> {
        let Some(fence) = self.fence.as_ref().filter(|_| session == self.session) else { return Ok(()) };
        let Ok(Envelope { mut message, chained }) = Envelope::decode(channel, bytes) else {
            self.tally.junk += 1;
            return Ok(());
        };
        let position = message.position;
        if position.generation != fence.generation {
            // Another node has come into a newer generation, or somebody plays tricks. A look at the fence tells.
            self.tally.junk += 1;
            self.wants_probe = true;
            return Ok(());
        }
        message.trace = self.traces.of(position);
        // Before anybody hears of it (delivery rule R17).
        self.past.sees(position);
        if self.partition.take(message, chained, now).is_err() {
            self.tally.holes += 1;
            return Err(Astray::Hole);
        }
        self.look_at_ahead(now);
        Ok(())
    }

    /// Takes the trace of a message that is about to come. One that cannot be read is counted, and the message has none.
    pub fn heard_trace(&mut self, session: Session, bytes: &[u8]) {
        if session == self.session && self.traces.take(bytes).is_none() {
            self.tally.junk += 1;
        }
    }

    /// Whether somebody wants to know where the log is, before the next regular look.
    #[must_use]
    pub fn wants_probe(&self) -> bool {
        self.wants_probe
    }

    /// A look at the fence begins.
    pub fn look(&mut self) -> Look {
        self.wants_probe = false;
        Look { session: self.session, number: self.next }
    }

    /// A look at the fence has been answered, over the link that brings messages: all up to there has come.
    ///
    /// # Errors
    /// The link has to be given up.
    pub fn probed(&mut self, look: Look, probe: &Probe, now: Now) -> Result<(), Astray> {
        if look.session != self.session || self.standing == Standing::Away {
            return Ok(());
        }
        let head = self.head_of(probe)?;
        self.past.sees(head);
        self.partition.advance(head.seq);
        self.probed_to = self.probed_to.max(look.number);
        self.look_at_ahead(now);
        Ok(())
    }

    /// The node's lease was renewed.
    pub fn renewed(&mut self, session: Session, lease: &Lease) {
        if let Some(fence) = self.fence.as_ref().filter(|_| session == self.session) {
            self.past.sees(Position { generation: fence.generation, seq: lease.seq });
        }
    }

    /// The link is gone, or in doubt. Everybody is held where they are.
    pub fn lost(&mut self, session: Session, now: Now) {
        if session != self.session || self.standing == Standing::Away {
            return;
        }
        self.session.0 += 1;
        self.standing = Standing::Away;
        self.away_since_ms = now.monotonic_ms;
        self.partition.close();
        for track in self.tracks.values_mut() {
            (track.ear, track.reading, track.lowest) = (Ear::Wanted, false, u64::MAX);
        }
        for waiting in self.waiting.values_mut() {
            (waiting.after, waiting.tail_asked) = (None, false);
        }
        self.subscribe.clear();
        self.unsubscribe.clear();
        self.to_read.clear();
        self.paced.clear();
        self.tails.clear();
        self.put_off.clear();
        self.behind.clear();
        self.ahead.clear();
        (self.reads_in_flight, self.asked, self.wants_probe) = (0, 0, false);
    }

    /// What the node came in by, last.
    #[must_use]
    pub fn fence(&self) -> Option<Arc<Fence>> {
        self.fence.clone()
    }

    /// The session that is open, if one is.
    #[must_use]
    pub fn session(&self) -> Option<Session> {
        (self.standing != Standing::Away).then_some(self.session)
    }

    /// Where the log is, if it is the one that the node came into.
    fn head_of(&self, probe: &Probe) -> Result<Position, Astray> {
        let fence = self.fence.as_ref().ok_or(Astray::Fenced)?;
        let is_same = probe.is_master && probe.replication == fence.replication;
        let head = probe.head.filter(|head| is_same && head.generation == fence.generation);
        head.ok_or(Astray::Fenced)
    }

    fn look_at_ahead(&mut self, now: Now) {
        if self.ahead.is_empty() {
            return;
        }
        for number in std::mem::take(&mut self.ahead) {
            self.look_at(number, now);
        }
    }

    /// Channels that nobody wants are not asked for again.
    fn forget_the_unwanted(&mut self) {
        let unwanted = self
            .tracks
            .iter()
            .filter(|(channel, track)| track.waiters.is_empty() && !self.partition.is_wanted(channel));
        let unwanted: Vec<Channel> = unwanted.map(|(channel, _)| channel.clone()).collect();
        for channel in unwanted {
            self.tracks.remove(&channel);
            self.partition.unfollow(&channel);
        }
    }
}
