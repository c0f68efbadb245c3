//! The bridge: channels whose messages come from elsewhere and go to whoever listens. Nothing keeps them, they have no id,
//! and what is lost of them cannot be read again, so that every loss is told (delivery rule R8).
//!
//! Sketch: a relayed message costs two hash look-ups, one `Arc` and one inbox entry for each interested outlet.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use crate::admit::{Gap, GapReason, Loss, Page};
use crate::barrier::Feeds;
use crate::broker::{Done, Figure, Now};
use crate::channel::{Channel, ChannelSet};
use crate::deliver::Command;
use crate::history::History;
use crate::message::{Message, Payload};
use crate::position::{Position, Start};
use crate::publish::{Publish, Receipt};
use crate::reason::Reason;

/// What a broker offers to whoever brings messages from elsewhere. One caller at a time keeps a channel's order.
pub trait Relay: Send + Sync {
    /// Hands a message to everybody who listens to `channel`, at most once. On a channel that is not bridged nothing
    /// happens.
    fn relay(&self, channel: &Channel, payload: Payload, now: Now);

    /// Tells everybody who listens to these channels that messages may be missing from here on: `gap(transient)`. Those
    /// that are not bridged are passed over.
    fn disturbed(&self, channels: &[Channel]);
}

/// The way out over the bridge: where publishes on bridged channels go.
pub trait Outward: Send + Sync {
    /// Which channels are bridged.
    fn bridged(&self) -> &Bridged;

    /// Hands the payload to the other side, which brings it back to everybody who listens. It gets no id. What may not
    /// be sent ([`Bridged::may_send`]) is refused; so is, with `overloaded` or `broker_unavailable`, what was certainly not
    /// sent. `outcome_unknown` where nobody knows.
    fn send(&self, publish: Publish, done: Done<Result<Receipt, Reason>>);

    /// What it counts and holds, for `/metrics`.
    fn figures(&self) -> Vec<Figure> {
        Vec::new()
    }
}

/// The channels that are bridged. Clones share the names.
#[derive(Clone, Debug, Default)]
pub struct Bridged {
    inward: Arc<HashSet<Channel>>,
    outward: Arc<HashSet<Channel>>,
}

impl Bridged {
    /// Messages come over the bridge on the channels of `inward`, and clients may publish to those of them that stand in
    /// `outward` too.
    #[must_use]
    pub fn new(inward: &[Channel], outward: &[Channel]) -> Bridged {
        let inward: HashSet<Channel> = inward.iter().cloned().collect();
        let outward = outward.iter().filter(|channel| inward.contains(*channel)).cloned().collect();
        Bridged { inward: Arc::new(inward), outward: Arc::new(outward) }
    }

    /// Whether messages of `channel` come over the bridge.
    #[must_use]
    pub fn holds(&self, channel: &Channel) -> bool {
        !self.inward.is_empty() && self.inward.contains(channel)
    }

    /// Every channel that is bridged, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Channel> {
        self.inward.iter()
    }

    /// Whether this publish, which is on a bridged channel, may go over the bridge.
    ///
    /// # Errors
    /// `forbidden` where its channel goes one way only, `bad_request` where it has an event name or a key, which nothing
    /// on the other side would keep.
    pub fn may_send(&self, publish: &Publish) -> Result<(), Reason> {
        if !self.outward.contains(&publish.channel) {
            return Err(Reason::Forbidden);
        }
        if publish.event.is_some() || publish.key.is_some() {
            return Err(Reason::BadRequest);
        }
        Ok(())
    }
}

/// The bridge as the sequencer sees it.
#[derive(Default)]
pub(crate) struct Bridge {
    bridged: Bridged,
    /// Outlets that are held back or full, and have been told so for these channels. Told again only once somebody has
    /// joined since, who has lost something that those before know of already.
    told: HashSet<(usize, Channel)>,
}

impl Bridge {
    pub(crate) fn new(bridged: Bridged) -> Bridge {
        Bridge { bridged, told: HashSet::new() }
    }

    pub(crate) fn holds(&self, channel: &Channel) -> bool {
        self.bridged.holds(channel)
    }

    /// These channels without those that are bridged, of which no log knows anything, and those alone.
    pub(crate) fn part(&self, channels: &ChannelSet) -> (ChannelSet, Vec<Channel>) {
        if !channels.iter().any(|channel| self.holds(channel)) {
            return (channels.clone(), Vec::new());
        }
        let (bridged, logged): (Vec<_>, Vec<_>) =
            channels.iter().cloned().partition(|channel| self.holds(channel));
        (ChannelSet::new(logged), bridged)
    }

    /// Puts a message into the inboxes of those who listen. `head` is the newest position of the log. An outlet that is
    /// held back takes none before it has caught up, or a flood would keep its inbox from ever being empty; one that is
    /// held because the log is away (`log_is_away`) has nothing to catch up with, and takes it.
    pub(crate) fn relay(
        &mut self,
        channel: &Channel,
        payload: Payload,
        listeners: &History,
        (feeds, head, log_is_away): (&Feeds, Position, bool),
        now: Now,
    ) {
        let message = Message {
            channel: channel.clone(),
            position: head,
            prev: head.seq,
            event: None,
            payload,
            time_ms: now.wall_ms,
            taken_us: now.monotonic_us(),
            bridged: true,
            trace: None,
        };
        // Behind everything that has entered the inbox, and nothing else.
        let placed_at = |seq| {
            let position = Position { seq, ..head };
            Arc::new(Message { position, prev: seq, ..message.clone() })
        };
        let live = placed_at(head.seq);
        for index in listeners.interested() {
            let feed = feeds.get(index);
            let message = match feed.held_after {
                None => Some(live.clone()),
                Some(after) => log_is_away.then(|| placed_at(after)),
            };
            if message.is_some_and(|message| feed.outlet.send(Command::Deliver(message)).is_ok()) {
                if !self.told.is_empty() {
                    self.told.remove(&(index, channel.clone()));
                }
            } else if self.told.insert((index, channel.clone())) {
                tell(std::slice::from_ref(channel), index, (feeds, head));
            }
        }
    }

    /// Tells those who listen to these channels that something may be missing.
    pub(crate) fn disturbed(
        &self,
        channels: &[Channel],
        records: &HashMap<Channel, History>,
        at: (&Feeds, Position),
    ) {
        let mut lost: BTreeMap<usize, Vec<Channel>> = BTreeMap::new();
        for channel in channels.iter().filter(|channel| self.holds(channel)) {
            for index in records.get(channel).into_iter().flat_map(History::interested) {
                lost.entry(index).or_default().push(channel.clone());
            }
        }
        for (index, channels) in lost {
            tell(&channels, index, at);
        }
    }

    /// Somebody who joins knows nothing of what was lost before.
    pub(crate) fn joined(&mut self, index: usize, channel: &Channel) {
        if !self.told.is_empty() {
            self.told.remove(&(index, channel.clone()));
        }
    }
}

/// Whoever listens now has lost something, whenever it joined. The cursor is as far as the outlet has been fed, so that it
/// passes nothing that the log still owes.
fn tell(channels: &[Channel], index: usize, (feeds, head): (&Feeds, Position)) {
    let cursor = Position { seq: feeds.fed(index, head.seq), ..head };
    let channels = channels.iter().map(|channel| (channel.clone(), Loss::EVERYBODY)).collect();
    let loss = Loss { reason: GapReason::Transient, channels, cursor };
    // Only deliveries can find the inbox full.
    let _ = feeds.get(index).outlet.send(Command::Lost(Arc::new(loss)));
}

/// Says in a page what it cannot hold: whatever came over the bridge since the cursor. It is said with the page that
/// leaves nothing more to read, which is the one that joins; until then more may be missed.
pub(crate) fn complete(page: &mut Page, start: Start, bridged: Vec<Channel>) {
    if bridged.is_empty() {
        return;
    }
    page.whole = None;
    if page.more || !matches!(start, Start::After(_)) {
        return;
    }
    match &mut page.gap {
        Some(gap) => gap.channels.extend(bridged),
        None => {
            let cursor = page.start.unwrap_or(page.cursor);
            page.gap = Some(Gap { channels: bridged, reason: GapReason::Transient, cursor });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::EventName;
    use crate::publish::Key;

    #[test]
    fn only_a_bare_payload_goes_out_and_only_where_the_bridge_goes_both_ways() {
        let [events, jobs, orders] = ["events", "jobs", "orders"].map(|name| Channel::parse(name).unwrap());
        let bridged = Bridged::new(&[events.clone(), jobs.clone()], &[jobs.clone(), orders.clone()]);
        assert_eq!([&events, &jobs, &orders].map(|channel| bridged.holds(channel)), [true, true, false]);
        let bare = |channel: &Channel| Publish {
            channel: channel.clone(),
            event: None,
            payload: Payload::binary(vec![1].into()),
            key: None,
            publisher: "test".into(),
            trace: None,
        };
        assert_eq!(bridged.may_send(&bare(&jobs)), Ok(()));
        for one_way in [&events, &orders] {
            assert_eq!(bridged.may_send(&bare(one_way)), Err(Reason::Forbidden));
        }
        let named = Publish { event: EventName::parse("trade").ok(), ..bare(&jobs) };
        let keyed = Publish { key: Key::parse("k"), ..bare(&jobs) };
        assert_eq!([named, keyed].map(|publish| bridged.may_send(&publish)), [Err(Reason::BadRequest); 2]);
    }
}
