//! Resume: what a subscriber missed, as one page merged by seq, with a gap first where one is due.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use crate::admit::{Gap, GapReason, Page};
use crate::channel::{Channel, ChannelSet};
use crate::history::History;
use crate::limits::PageLimit;
use crate::message::Message;
use crate::position::{Cursor, Gen, Position, Start};

/// A still picture of a partition, as far as a resume needs it.
pub(crate) struct Log<'p> {
    pub(crate) generation: Gen,
    /// The seq of the newest message of the partition.
    pub(crate) head: u64,
    /// What lies above this seq is not looked at: the outlet that reads has not been fed further.
    pub(crate) end: u64,
    /// Nothing is known of unrecorded channels up to here (delivery rule R20).
    pub(crate) floor: u64,
    /// The channels asked for, with their records where they have one.
    pub(crate) channels: Vec<(&'p Channel, Option<&'p History>)>,
}

impl<'p> Log<'p> {
    /// Reads one page from `start` on.
    pub(crate) fn page(&self, start: Start, limit: PageLimit) -> Page {
        let from = self.resolve(start);
        let (messages, more) = self.merge(from.after, limit);
        let newest = self.channels.iter().map(|(_, history)| self.last(*history)).max().unwrap_or(self.head);
        let end = match messages.last() {
            Some(message) if more => message.position.seq,
            // A cursor may be ahead of the outlet, and is never answered by one below it (delivery rule R7).
            _ => self.end.max(from.after),
        };
        Page {
            gap: from.gap,
            start: from.start.map(|seq| self.at(seq)),
            messages,
            cursor: self.at(end),
            more,
            whole: self.at(self.highest_base().max(from.start.unwrap_or(from.after))),
            newest: self.at(newest),
        }
    }

    fn resolve(&self, start: Start) -> From {
        match start {
            Start::Live => From { gap: None, start: Some(self.end), after: self.end },
            Start::Earliest => From { gap: None, start: None, after: 0 },
            Start::Tail(count) => From { gap: None, start: None, after: self.before_newest(count as usize) },
            Start::After(Cursor::At(position)) if self.knows(position) => self.resume(position.seq),
            // A gap, never an error and never "nothing new" (delivery rule R7). What the log still keeps was
            // published after whatever the client saw, so the stream goes on with all of it.
            Start::After(_) => {
                let begins = self.lowest_base(|_| true).unwrap_or(self.head);
                self.with_gap(self.names(|_| true), GapReason::Epoch, begins, 0)
            }
        }
    }

    /// Lossless iff the cursor is not below the base of any channel.
    fn resume(&self, cursor: u64) -> From {
        let lost = |base: u64| cursor < base;
        let channels = self.names(lost);
        if channels.is_empty() {
            return From { gap: None, start: Some(cursor), after: cursor };
        }
        let all_lost = channels.len() == self.channels.len();
        // The lowest over the channels: one that lost nothing goes on from the cursor itself (delivery rule R5).
        let begins = if all_lost { self.lowest_base(lost).unwrap_or(cursor) } else { cursor };
        self.with_gap(channels, GapReason::Trimmed, begins, cursor)
    }

    fn with_gap(&self, channels: Vec<Channel>, reason: GapReason, begins: u64, after: u64) -> From {
        let gap = Gap { channels, reason, cursor: self.at(begins) };
        // Without channels nothing can be missing.
        let gap = (!self.channels.is_empty()).then_some(gap);
        From { gap, start: Some(begins), after }
    }

    /// The messages of all channels after `after`, merged by seq, as many as a page holds; and whether more is kept.
    fn merge(&self, after: u64, limit: PageLimit) -> (Vec<Arc<Message>>, bool) {
        let mut feeds: Vec<_> = self
            .channels
            .iter()
            .filter_map(|(_, history)| *history)
            .map(|history| history.after(after).take_while(|message| message.position.seq <= self.end))
            .collect();
        let mut next: BinaryHeap<Reverse<(u64, usize)>> = BinaryHeap::with_capacity(feeds.len());
        let mut heads: Vec<Option<&Arc<Message>>> = feeds.iter_mut().map(Iterator::next).collect();
        for (index, head) in heads.iter().enumerate() {
            next.extend(head.map(|message| Reverse((message.position.seq, index))));
        }
        let (mut messages, mut bytes) = (Vec::new(), 0);
        while let Some(Reverse((_, index))) = next.pop() {
            let message = heads[index].take().expect("the heap holds only feeds with a head");
            bytes += message.payload.as_bytes().len();
            if !messages.is_empty() && (messages.len() >= limit.messages_max || bytes > limit.bytes_max) {
                return (messages, true);
            }
            messages.push(message.clone());
            heads[index] = feeds[index].next();
            next.extend(heads[index].map(|message| Reverse((message.position.seq, index))));
        }
        (messages, false)
    }

    /// The seq before the newest `count` messages over all channels, which are merged as far as that: many channels
    /// with long histories must not hold up the sequencer.
    fn before_newest(&self, count: usize) -> u64 {
        let histories = self.channels.iter().filter_map(|(_, history)| *history);
        let seqs = |history: &'p History| {
            let seqs = history.newest_first().map(|message| message.position.seq);
            seqs.skip_while(|seq| *seq > self.end)
        };
        let mut feeds: Vec<_> = histories.map(seqs).collect();
        let mut next: BinaryHeap<(u64, usize)> = BinaryHeap::with_capacity(feeds.len());
        for (index, feed) in feeds.iter_mut().enumerate() {
            next.extend(feed.next().map(|seq| (seq, index)));
        }
        let mut before = self.end;
        for _ in 0..count {
            let Some((seq, index)) = next.pop() else { break };
            before = seq - 1;
            next.extend(feeds[index].next().map(|seq| (seq, index)));
        }
        before
    }

    fn knows(&self, position: Position) -> bool {
        position.generation == self.generation && position.seq <= self.head
    }

    fn names(&self, wanted: impl Fn(u64) -> bool) -> Vec<Channel> {
        let wanted = |(_, history): &&(&Channel, Option<&History>)| wanted(self.base(*history));
        self.channels.iter().filter(wanted).map(|(channel, _)| (*channel).clone()).collect()
    }

    fn lowest_base(&self, wanted: impl Fn(u64) -> bool) -> Option<u64> {
        self.channels.iter().map(|(_, history)| self.base(*history)).filter(|base| wanted(*base)).min()
    }

    fn highest_base(&self) -> u64 {
        self.channels.iter().map(|(_, history)| self.base(*history)).max().unwrap_or(0)
    }

    fn base(&self, history: Option<&History>) -> u64 {
        history.map_or(self.floor, History::base)
    }

    fn last(&self, history: Option<&History>) -> u64 {
        history.map_or(self.floor, History::last)
    }

    fn at(&self, seq: u64) -> Position {
        Position { generation: self.generation, seq }
    }
}

/// A start, resolved: every kept message above `after` follows, since a base hides nothing that is kept.
struct From {
    gap: Option<Gap>,
    start: Option<u64>,
    after: u64,
}

/// Pairs every channel with its record.
pub(crate) fn with_records<'p>(
    channels: &'p ChannelSet,
    record: impl Fn(&Channel) -> Option<&'p History>,
) -> Vec<(&'p Channel, Option<&'p History>)> {
    channels.iter().map(|channel| (channel, record(channel))).collect()
}
