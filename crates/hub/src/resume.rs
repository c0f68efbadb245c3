//! Resume: what a subscriber missed, as one page merged by seq, with a gap first where one is due.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use crate::admit::{Gap, GapReason, Page};
use crate::channel::{Channel, ChannelSet};
use crate::history::History;
use crate::limits::PageLimit;
use crate::lineage::{Lineage, Verdict};
use crate::message::Message;
use crate::position::{Cursor, Position, Start};

/// A still picture of a partition, as far as a resume needs it.
pub(crate) struct Log<'p> {
    pub(crate) lineage: &'p Lineage,
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
        let aside = self.end_of_segments(from.after);
        let end = aside.map_or(self.end, |end| end.min(self.end));
        let (messages, full) = self.merge(from.after, end, limit);
        // Above what is set aside something is yet to be read, also where the outlet has not been fed as far as that: who
        // joined there would have nobody to give it what lies between.
        let more = full || aside.is_some();
        let newest = self.channels.iter().map(|(_, history)| self.last(*history)).max().unwrap_or(self.head);
        let end = match messages.last() {
            Some(message) if full => message.position.seq,
            // A cursor may be ahead of the outlet, and is never answered by one below it (delivery rule R7).
            _ => end.max(from.after),
        };
        Page {
            gap: from.gap,
            start: from.start.map(|seq| self.at(seq)),
            messages,
            cursor: self.at(end),
            more,
            whole: Some(self.at(self.highest_gone().max(from.start.unwrap_or(from.after)))),
            newest: self.at(newest),
        }
    }

    fn resolve(&self, start: Start) -> From {
        match start {
            Start::Live => From { gap: None, start: Some(self.end), after: self.end },
            Start::Earliest => From { gap: None, start: None, after: 0 },
            Start::Tail(count) => From { gap: None, start: None, after: self.before_newest(count as usize) },
            Start::After(Cursor::At(position)) => match self.lineage.judge(position, self.head) {
                Verdict::Whole => self.resume(position.seq),
                Verdict::Lost => self.anew(GapReason::Failover, self.lineage.survived(position)),
                Verdict::Unknown if self.lineage.was_lost(position.generation) => {
                    self.anew(GapReason::StoreReset, 0)
                }
                Verdict::Unknown => self.anew(GapReason::Epoch, 0),
            },
            Start::After(Cursor::Unreadable) => self.anew(GapReason::Epoch, 0),
        }
    }

    /// A gap on every channel, never an error and never "nothing new" (delivery rule R7). What the log still keeps above
    /// `after` was published after whatever the client saw, so the stream goes on with all of it.
    fn anew(&self, reason: GapReason, after: u64) -> From {
        let begins = self.lowest_gone(|_| true).unwrap_or(self.head).max(after);
        self.with_gap(self.names(|_| true), reason, begins, after)
    }

    /// Lossless iff nothing is gone above the cursor on any channel.
    fn resume(&self, cursor: u64) -> From {
        let lost = |gone: u64| cursor < gone;
        let channels = self.names(lost);
        if channels.is_empty() {
            return From { gap: None, start: Some(cursor), after: cursor };
        }
        let all_lost = channels.len() == self.channels.len();
        // The lowest over the channels: one that lost nothing goes on from the cursor itself (delivery rule R5).
        let begins = if all_lost { self.lowest_gone(lost).unwrap_or(cursor) } else { cursor };
        self.with_gap(channels, GapReason::Trimmed, begins, cursor)
    }

    fn with_gap(&self, channels: Vec<Channel>, reason: GapReason, begins: u64, after: u64) -> From {
        let gap = Gap { channels, reason, cursor: self.at(begins) };
        // Without channels nothing can be missing.
        let gap = (!self.channels.is_empty()).then_some(gap);
        From { gap, start: Some(begins), after }
    }

    /// Up to where all that there is after `after` is at hand, over all channels; nothing where that is the end of the log.
    fn end_of_segments(&self, after: u64) -> Option<u64> {
        self.channels.iter().filter_map(|(_, history)| history.and_then(|one| one.follow(after).1)).min()
    }

    /// The messages of all channels after `after` and up to `end`, merged by seq, as many as a page holds; and whether
    /// there are more.
    fn merge(&self, after: u64, end: u64, limit: PageLimit) -> (Vec<Arc<Message>>, bool) {
        let mut feeds: Vec<_> = self
            .channels
            .iter()
            .filter_map(|(_, history)| *history)
            .map(|history| history.follow(after).0.take_while(move |message| message.position.seq <= end))
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

    fn names(&self, wanted: impl Fn(u64) -> bool) -> Vec<Channel> {
        let wanted = |(_, history): &&(&Channel, Option<&History>)| wanted(self.gone(*history));
        self.channels.iter().filter(wanted).map(|(channel, _)| (*channel).clone()).collect()
    }

    fn lowest_gone(&self, wanted: impl Fn(u64) -> bool) -> Option<u64> {
        self.channels.iter().map(|(_, history)| self.gone(*history)).filter(|gone| wanted(*gone)).min()
    }

    fn highest_gone(&self) -> u64 {
        self.channels.iter().map(|(_, history)| self.gone(*history)).max().unwrap_or(0)
    }

    fn gone(&self, history: Option<&History>) -> u64 {
        history.map_or(self.floor, History::gone)
    }

    fn last(&self, history: Option<&History>) -> u64 {
        history.map_or(self.floor, History::last)
    }

    fn at(&self, seq: u64) -> Position {
        Position { generation: self.lineage.generation, seq }
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
