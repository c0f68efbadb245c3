//! A channel that is followed, and for whose sake.

use std::collections::BTreeSet;

use tidewire_hub::admit::{Cause, Join, OutletId, Subscribe};
use tidewire_hub::broker::Now;
use tidewire_hub::channel::{Channel, ChannelSet};
use tidewire_hub::partition::Need;
use tidewire_hub::position::Start;
use tidewire_hub::reason::Reason;

use super::{AWAY_MAX, Asked, LINGER, PATIENCE, Sequencer, Standing, Waiting};

/// A channel that is followed.
#[derive(Debug)]
pub(super) struct Track {
    pub(super) ear: Ear,
    /// Who cannot be answered without it, by number.
    pub(super) waiters: BTreeSet<u64>,
    /// Whether it is being read, or about to be.
    pub(super) reading: bool,
    /// The lowest seq after which somebody wants to read it.
    pub(super) lowest: u64,
    /// When it was read last.
    pub(super) read_ms: Option<u64>,
    /// When somebody was found to be the last to want it. It then stands in the queue of the idle, once.
    idle_ms: Option<u64>,
}

/// Whether the link brings a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ear {
    /// The link has to be asked for it.
    Wanted,
    /// It was asked.
    Asked,
    /// It brings it whole.
    Confirmed,
}

impl Track {
    fn new() -> Track {
        Track {
            ear: Ear::Wanted,
            waiters: BTreeSet::new(),
            reading: false,
            lowest: u64::MAX,
            read_ms: None,
            idle_ms: None,
        }
    }
}

impl Sequencer {
    pub(super) fn wait_for(&mut self, asked: Asked, now: Now) {
        let away_ms = self.away_since_ms().map_or(0, |since| now.monotonic_ms.saturating_sub(since));
        if u128::from(away_ms) > AWAY_MAX.as_millis() {
            return self.refuse(asked, Reason::BrokerUnavailable);
        }
        let due_ms = now.monotonic_ms + u64::try_from(PATIENCE.as_millis()).unwrap_or(u64::MAX);
        let number = self.next;
        self.next += 1;
        self.waiting.insert(number, Waiting { asked, due_ms, after: None, tail_asked: false });
        self.look_at(number, now);
    }

    /// Answers one that waits, if everything is there, and sees to it that what is missing comes.
    pub(super) fn look_at(&mut self, number: u64, now: Now) {
        let Some(waiting) = self.waiting.get(&number) else { return };
        let (channels, start) = waiting.asked.wants();
        let channels = channels.clone();
        let mut missing = false;
        for channel in channels.iter() {
            match self.track(channel) {
                Some(track) if track.ear != Ear::Confirmed => {
                    track.waiters.insert(number);
                    missing = true;
                }
                Some(_) => {}
                None => return self.give_up(number, Reason::ChannelsFull, now),
            }
        }
        if missing || self.standing != Standing::Live {
            return;
        }
        let waiting = &self.waiting[&number];
        let need = match self.partition.need(start, waiting.asked.join(), waiting.asked.outlet()) {
            Need::Ahead(_) if number >= self.probed_to => {
                self.ahead.insert(number);
                self.wants_probe = true;
                return;
            }
            // It was given to nobody, and the page will say so.
            Need::Ahead(_) => Need::After(0),
            need => need,
        };
        let (found, tail_asked, hurries) = (waiting.after, waiting.tail_asked, waiting.asked.hurries());
        for channel in channels.iter() {
            if self.partition.has(channel, need) {
                continue;
            }
            let after = match (need, found) {
                (Need::After(after) | Need::All(after), _) => after,
                (_, Some(after)) if self.partition.holds(channel, after) => continue,
                (_, Some(after)) => after,
                (_, None) => {
                    if !tail_asked {
                        self.tails.push_back(number);
                        self.waiting.get_mut(&number).expect("it waits").tail_asked = true;
                    }
                    return;
                }
            };
            missing = true;
            let track = self.tracks.get_mut(channel).expect("every channel asked for is followed");
            track.waiters.insert(number);
            self.want_read(channel, after, hurries, now);
        }
        if !missing {
            self.answer(number, now);
        }
    }

    /// Looks at everybody who waits for one of these channels.
    pub(super) fn look_at_waiters<'c>(&mut self, channels: impl Iterator<Item = &'c Channel>, now: Now) {
        let mut waiters = BTreeSet::new();
        for channel in channels {
            if let Some(track) = self.tracks.get_mut(channel) {
                waiters.append(&mut track.waiters);
            }
        }
        for number in waiters {
            self.look_at(number, now);
        }
    }

    pub(super) fn look_at_all(&mut self, now: Now) {
        let all: Vec<u64> = self.waiting.keys().copied().collect();
        for number in all {
            self.look_at(number, now);
        }
    }

    pub(super) fn give_up_waiting(&mut self, now: Now) {
        while let Some((number, waiting)) = self.waiting.first_key_value() {
            if waiting.due_ms > now.monotonic_ms {
                return;
            }
            let number = *number;
            self.give_up(number, Reason::BrokerUnavailable, now);
        }
    }

    /// Notes a channel that nobody listens to, so that it is let go after a while.
    pub(super) fn rest(&mut self, channel: &Channel, now: Now) {
        if self.partition.is_wanted(channel) {
            return;
        }
        if let Some(track) = self.tracks.get_mut(channel).filter(|track| track.waiters.is_empty())
            && track.idle_ms.replace(now.monotonic_ms).is_none()
        {
            self.idle.push_back((now.monotonic_ms, channel.clone()));
        }
    }

    pub(super) fn let_idle_go(&mut self, now: Now) {
        let linger_ms = u64::try_from(LINGER.as_millis()).unwrap_or(u64::MAX);
        while self.idle.front().is_some_and(|(since, _)| since + linger_ms <= now.monotonic_ms) {
            let Some((_, channel)) = self.idle.pop_front() else { return };
            let Some(track) = self.tracks.get_mut(&channel) else { continue };
            let Some(since) = track.idle_ms.take() else { continue };
            if !track.waiters.is_empty() || self.partition.is_wanted(&channel) {
                continue;
            }
            // Polled since it was queued, or being read: it stays, and is looked at again.
            let since = if track.reading { now.monotonic_ms } else { since };
            if since + linger_ms > now.monotonic_ms {
                track.idle_ms = Some(since);
                self.idle.push_back((since, channel));
                continue;
            }
            if track.ear != Ear::Wanted {
                self.unsubscribe.push(channel.clone());
            }
            self.tracks.remove(&channel);
            self.behind.remove(&channel);
            self.partition.unfollow(&channel);
        }
    }

    /// The track of a channel, which is followed from now on; nothing where as many are followed as may be.
    fn track(&mut self, channel: &Channel) -> Option<&mut Track> {
        if !self.tracks.contains_key(channel) {
            if self.tracks.len() >= self.limits.channels_max {
                return None;
            }
            self.partition.follow(channel);
            self.subscribe.push(channel.clone());
            self.tracks.insert(channel.clone(), Track::new());
        }
        self.tracks.get_mut(channel)
    }

    fn answer(&mut self, number: u64, now: Now) {
        let Some(waiting) = self.waiting.remove(&number) else { return };
        let channels = waiting.asked.wants().0.clone();
        match waiting.asked {
            Asked::Subscribe(subscribe) => self.partition.subscribe(*subscribe, now),
            Asked::Read { channels, start, page, done } => {
                let read = self.partition.read(&channels, start, page);
                self.finished.push(Box::new(move || done(Ok(read))));
            }
        }
        for channel in channels.iter() {
            self.rest(channel, now);
        }
    }

    fn give_up(&mut self, number: u64, reason: Reason, now: Now) {
        let Some(waiting) = self.waiting.remove(&number) else { return };
        self.ahead.remove(&number);
        let channels = waiting.asked.wants().0.clone();
        self.refuse(waiting.asked, reason);
        for channel in channels.iter() {
            if let Some(track) = self.tracks.get_mut(channel) {
                track.waiters.remove(&number);
            }
            self.rest(channel, now);
        }
    }

    fn refuse(&mut self, asked: Asked, reason: Reason) {
        match asked {
            Asked::Subscribe(subscribe) => self.partition.refuse(*subscribe, reason),
            Asked::Read { done, .. } => self.finished.push(Box::new(move || done(Err(reason)))),
        }
    }
}

impl Asked {
    pub(super) fn wants(&self) -> (&ChannelSet, Start) {
        match self {
            Asked::Subscribe(subscribe) => (&subscribe.channels, subscribe.start),
            Asked::Read { channels, start, .. } => (channels, *start),
        }
    }

    fn join(&self) -> Join {
        match self {
            Asked::Subscribe(subscribe) => subscribe.join,
            Asked::Read { .. } => Join::Never,
        }
    }

    fn outlet(&self) -> Option<OutletId> {
        match self {
            Asked::Subscribe(subscribe) => Some(subscribe.outlet),
            Asked::Read { .. } => None,
        }
    }

    /// Whether it goes on with a history whose pages it takes as fast as its socket does. Everybody else waits for a read
    /// that others share.
    fn hurries(&self) -> bool {
        matches!(self, Asked::Subscribe(subscribe)
            if matches!(**subscribe, Subscribe { cause: Cause::Page, .. }))
    }
}
