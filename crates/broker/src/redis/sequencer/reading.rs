//! Reads: what channels keep further back, shared by everybody who wants it (delivery rule R19).

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tidewire_hub::broker::Now;
use tidewire_hub::channel::Channel;
use tidewire_hub::limits::{POLL_PAGE, PageLimit};
use tidewire_hub::partition::Piece;
use tidewire_hub::position::Start;

use super::{Astray, Sequencer, Session, Standing};
use crate::redis::error::Error;
use crate::redis::history::{History, Slice};
use crate::redis::log::{READ_CHANNELS_MAX, TAIL_MESSAGES_MAX};

/// Reads that are on their way at once. Each has a bound of [`READ_PAGE`].
const READS_MAX: usize = 4;

/// What one read brings, at most, over all of its channels.
const READ_PAGE: PageLimit = POLL_PAGE;

/// How long a channel is not read again for newcomers: they share the next read. They wait for it, so it is no longer than
/// needed, even if Redis sees two orders a little closer to each other than they were given.
const PACE: Duration = Duration::from_secs(1);

/// Pieces that are set aside at once: with the bound of [`READ_PAGE`], 64 MiB.
const ASIDES_MAX: usize = 64;

/// How long a piece is set aside for whoever had it read.
const ASIDE_MAX_MS: u64 = 2_000;

/// An order to read history.
#[derive(Clone, Debug)]
pub struct Read {
    session: Session,
    /// A seq for every channel, after which it is read.
    pub wanted: Vec<(Channel, u64)>,
    /// How much, at most.
    pub page: PageLimit,
}

/// An order to find where the newest messages begin.
#[derive(Clone, Debug)]
pub struct Tail {
    session: Session,
    number: u64,
    /// Over these channels.
    pub channels: Vec<Channel>,
    /// How many messages.
    pub count: usize,
}

impl Sequencer {
    /// The next read, if there is one and few enough are on their way.
    pub fn next_read(&mut self, now: Now) -> Option<Read> {
        if self.reads_in_flight >= READS_MAX || !matches!(self.standing, Standing::Live | Standing::Behind) {
            return None;
        }
        let mut wanted = Vec::new();
        while wanted.len() < READ_CHANNELS_MAX
            && let Some(channel) = self.to_read.pop_front()
        {
            let Some(track) = self.tracks.get_mut(&channel) else { continue };
            let lowest = std::mem::replace(&mut track.lowest, u64::MAX);
            if lowest == u64::MAX {
                track.reading = false;
                continue;
            }
            track.read_ms = Some(now.monotonic_ms);
            // What was read before, on the way up to what is kept, is gone on with.
            let after = self.partition.set_aside(&channel, lowest).unwrap_or(lowest);
            wanted.push((channel, after));
        }
        if wanted.is_empty() {
            return None;
        }
        self.reads_in_flight += 1;
        self.tally.reads += 1;
        Some(Read { session: self.session, wanted, page: READ_PAGE })
    }

    /// A read has been answered.
    ///
    /// # Errors
    /// The link has to be given up.
    pub fn read_done(
        &mut self,
        read: &Read,
        outcome: Result<History, Error>,
        now: Now,
    ) -> Result<(), Astray> {
        if read.session != self.session {
            return Ok(());
        }
        self.reads_in_flight -= 1;
        let channels: Vec<Channel> = read.wanted.iter().map(|(channel, _)| channel.clone()).collect();
        let failed = outcome.as_ref().err().cloned();
        if let Ok(history) = outcome {
            let head = history.head.seq;
            for (slice, (_, after)) in history.slices.into_iter().zip(&read.wanted) {
                let piece = piece(slice, *after, head);
                self.partition.extend(piece, now);
            }
        }
        for channel in &channels {
            if let Some(track) = self.tracks.get_mut(channel) {
                track.reading = false;
            }
        }
        match failed {
            Some(Error::Fenced | Error::ReadOnly | Error::Left) => return Err(Astray::Fenced),
            // The others say nothing about the log: whoever waits asks again, until its patience ends.
            Some(_) => {
                for (channel, after) in &read.wanted {
                    self.want_read(channel, *after, false, now);
                }
                return Ok(());
            }
            None => {}
        }
        if self.standing == Standing::Behind {
            self.catch_up_with(&channels, now);
        }
        self.look_at_waiters(channels.iter(), now);
        for channel in channels {
            if self.partition.has_aside(&channel) {
                self.aside.push_back((now.monotonic_ms, channel));
            }
        }
        self.let_aside_go(now);
        Ok(())
    }

    /// Lets go of pieces that nobody has come for, or that are too many: whoever wanted one has it read again.
    pub(super) fn let_aside_go(&mut self, now: Now) {
        let is_over = |aside: &VecDeque<(u64, Channel)>| {
            let is_old = |(read_ms, _): &(u64, Channel)| read_ms + ASIDE_MAX_MS <= now.monotonic_ms;
            aside.len() > ASIDES_MAX || aside.front().is_some_and(is_old)
        };
        while is_over(&self.aside)
            && let Some((read_ms, channel)) = self.aside.pop_front()
        {
            if !self.behind.contains(&channel) {
                self.partition.drop_aside(&channel, read_ms + 1);
            }
        }
    }

    /// The next search for a tail.
    pub fn next_tail(&mut self) -> Option<Tail> {
        if self.standing != Standing::Live {
            return None;
        }
        while let Some(number) = self.tails.pop_front() {
            let Some(waiting) = self.waiting.get(&number) else { continue };
            let (channels, Start::Tail(count)) = waiting.asked.wants() else { continue };
            let count = (count as usize).min(TAIL_MESSAGES_MAX);
            return Some(Tail { session: self.session, number, channels: channels.to_vec(), count });
        }
        None
    }

    /// A search for a tail has been answered by the seq before it.
    ///
    /// # Errors
    /// The link has to be given up.
    pub fn tail_done(&mut self, tail: &Tail, outcome: Result<u64, &Error>, now: Now) -> Result<(), Astray> {
        if tail.session != self.session {
            return Ok(());
        }
        let Some(waiting) = self.waiting.get_mut(&tail.number) else { return Ok(()) };
        match outcome {
            Ok(before) => waiting.after = Some(before),
            Err(Error::Fenced | Error::ReadOnly | Error::Left) => return Err(Astray::Fenced),
            // Not at once: what is refused now would be refused as fast as it can be asked.
            Err(_) => {
                waiting.tail_asked = false;
                self.put_off.push(tail.number);
                return Ok(());
            }
        }
        self.look_at(tail.number, now);
        Ok(())
    }

    /// Has a channel read after `after`: at once where somebody hurries or it was not read lately, and else together with
    /// whoever comes until then.
    pub(super) fn want_read(&mut self, channel: &Channel, after: u64, hurries: bool, now: Now) {
        let Some(track) = self.tracks.get_mut(channel) else { return };
        track.lowest = track.lowest.min(after);
        if std::mem::replace(&mut track.reading, true) {
            return;
        }
        // A read that goes on is part of the one before it.
        let hurries = hurries || self.partition.set_aside(channel, after).is_some();
        let pace_ms = u64::try_from(PACE.as_millis()).unwrap_or(u64::MAX);
        match track.read_ms.map(|read_ms| read_ms + pace_ms) {
            Some(due_ms) if !hurries && due_ms > now.monotonic_ms => {
                self.paced.push_back((due_ms, channel.clone()));
            }
            _ => self.to_read.push_back(channel.clone()),
        }
    }

    pub(super) fn take_up_paced(&mut self, now: Now) {
        while self.paced.front().is_some_and(|(due_ms, _)| *due_ms <= now.monotonic_ms) {
            self.to_read.extend(self.paced.pop_front().map(|(_, channel)| channel));
        }
    }

    /// Reads on where a channel is not read far enough, and lets everybody go on once none is left.
    pub(super) fn catch_up_with(&mut self, channels: &[Channel], now: Now) {
        let fed = self.partition.fed();
        for channel in channels {
            if self.partition.has_caught_up(channel, fed) {
                self.partition.drop_aside(channel, u64::MAX);
                self.behind.remove(channel);
            } else if self.behind.contains(channel) {
                self.want_read(channel, fed, true, now);
            }
        }
        if self.behind.is_empty() && self.standing == Standing::Behind {
            self.standing = Standing::Live;
            self.partition.open();
            self.look_at_all(now);
        }
    }
}

fn piece(slice: Slice, after: u64, head: u64) -> Piece {
    let to = if slice.more { slice.read_to() } else { head };
    let Slice { channel, base, messages, more, .. } = slice;
    let messages = messages.into_iter().map(Arc::new).collect();
    Piece { channel, after, to, base, is_whole: !more, messages }
}
