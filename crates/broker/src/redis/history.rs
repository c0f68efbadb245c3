//! What a read of history gives: per channel what is kept after a place, all of one instant.

use bytes::Bytes;
use redis::Value;
use tidewire_hub::channel::Channel;
use tidewire_hub::message::Message;
use tidewire_hub::position::{Gen, Position};
use tidewire_hub::trace::TraceParent;

use super::envelope::{Junk, decode_body};
use super::error::Error;
use super::reply::Parts;

/// The past of some channels as it was at one instant (delivery rule R19).
#[derive(Clone, Debug)]
pub struct History {
    /// The newest message of the partition at that instant. Who reads joins the feed once that has passed it.
    pub head: Position,
    /// In the order asked.
    pub slices: Vec<Slice>,
}

/// The past of one channel after a place.
#[derive(Clone, Debug)]
pub struct Slice {
    /// Which channel.
    pub channel: Channel,
    /// Whoever has seen less than this seq has lost something: lossless iff cursor ≥ base.
    pub base: u64,
    /// The seq of the channel's newest message; nothing where it has no record. Kept longer than the messages.
    pub last: Option<u64>,
    /// What is kept after the place that was asked for, in seq order.
    pub messages: Vec<Message>,
    /// Whether more is kept after the last of `messages`.
    pub more: bool,
    /// Entries that could not be read and were left out: a newer node wrote them, or a stranger.
    pub junk: usize,
    /// Up to where it is read.
    read_to: u64,
}

impl History {
    /// Up to where every channel is read: nothing that is kept at or below this seq is left out.
    #[must_use]
    pub fn horizon(&self) -> u64 {
        let unfinished = self.slices.iter().filter(|slice| slice.more);
        unfinished.map(|slice| slice.read_to).min().unwrap_or(self.head.seq)
    }

    /// The messages of all channels up to the horizon, in seq order (delivery rule R9).
    #[must_use]
    pub fn merged(self) -> Vec<Message> {
        let horizon = self.horizon();
        let messages = self.slices.into_iter().flat_map(|slice| slice.messages);
        let mut merged: Vec<Message> = messages.filter(|message| message.position.seq <= horizon).collect();
        merged.sort_unstable_by_key(|message| message.position.seq);
        merged
    }

    /// Reads the script's answer about `wanted`, a seq for every channel, in the log of `generation`.
    pub(super) fn read(value: Value, generation: Gen, wanted: &[(Channel, u64)]) -> Result<History, Error> {
        let mut parts = Parts::after(value, b"AT")?;
        let head = Position { generation, seq: parts.seq()? };
        let slices = wanted.iter().map(|(channel, after)| Slice::read(parts.parts()?, head, channel, *after));
        let slices = slices.collect::<Result<Vec<_>, _>>()?;
        Ok(History { head, slices })
    }
}

impl Slice {
    /// Up to where it is read.
    #[must_use]
    pub fn read_to(&self) -> u64 {
        self.read_to
    }

    /// What a stream gives that is read after `after`, in the log of `generation`: for whoever stands in for Redis, as the
    /// simulation does. `last` is the channel's record, and each entry has a seq, the one before it, and a body.
    #[must_use]
    pub fn new(
        (channel, after): (&Channel, u64),
        generation: Gen,
        (base, last): (u64, Option<u64>),
        entries: impl IntoIterator<Item = (u64, u64, Bytes)>,
        more: bool,
    ) -> Slice {
        let channel = channel.clone();
        let mut slice = Slice { channel, base, last, messages: Vec::new(), more, junk: 0, read_to: after };
        for (seq, prev, body) in entries {
            slice.take(Position { generation, seq }, prev, body);
        }
        // The record outlives the messages: where the stream ends before it, they are gone.
        if let Some(last) = slice.last.filter(|last| !slice.more && *last > slice.read_to) {
            slice.base = slice.base.max(last);
        }
        slice
    }

    fn read(mut parts: Parts, head: Position, channel: &Channel, after: u64) -> Result<Slice, Error> {
        let base = parts.seq()?;
        let last = Some(parts.bytes()?).filter(|last| !last.is_empty());
        let last = last.map(|last| super::envelope::decimal(&last).ok_or_else(|| Error::malformed("no seq")));
        let (last, more) = (last.transpose()?, parts.count()? != 0);
        let (mut entries, mut traces) = (Vec::new(), Vec::new());
        while !parts.is_empty() {
            let seq = parts.seq()?;
            entries.push((seq, parts.seq()?, parts.bytes()?));
            // Empty where there is none; whatever else is no trace was written by a stranger.
            traces.extend(TraceParent::parse(&parts.bytes()?).map(|trace| (seq, trace)));
        }
        let mut slice = Slice::new((channel, after), head.generation, (base, last), entries, more);
        let mut traces = traces.into_iter().peekable();
        for message in &mut slice.messages {
            while let Some((seq, trace)) = traces.next_if(|(seq, _)| *seq <= message.position.seq) {
                message.trace = (seq == message.position.seq).then_some(trace);
            }
        }
        Ok(slice)
    }

    fn take(&mut self, position: Position, prev: u64, body: Bytes) {
        // A hole: the stream was trimmed meanwhile, or somebody took an entry out of its middle.
        if prev > self.read_to {
            self.base = self.base.max(prev);
        }
        self.read_to = position.seq;
        match decode_body(self.channel.clone(), position, prev, body) {
            Ok(message) => self.messages.push(message),
            Err(Junk::Head | Junk::Body | Junk::Version | Junk::TooLong) => {
                self.junk += 1;
                self.base = self.base.max(position.seq);
            }
        }
    }
}
