//! Frames: encoded once per encoding and shared by every subscriber of the shard (invariant 3).

use std::cell::Cell;
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;

use tidewire_hub::channel::Channel;
use tidewire_hub::message::Message;
use tidewire_hub::position::Position;
use tidewire_transport::encoding::{Encoding, encode};

/// Encoded bytes that the cache keeps for the next subscriber that comes back.
const CACHE_BYTES_MAX: usize = 4 << 20;

/// Frames that it keeps at most: small ones cost more by being remembered than by their bytes.
const CACHE_COUNT_MAX: usize = 16_384;

/// Bytes on their way to one or more sockets. Cloning shares them; the last clone gives their memory back.
#[derive(Clone)]
pub(super) struct Frame(Rc<Inner>);

struct Inner {
    bytes: Box<[u8]>,
    position: Option<Position>,
    before: Option<Position>,
    channel: Option<Channel>,
    meter: Meter,
}

impl Frame {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.0.bytes
    }

    /// Where its bytes live: the same for all of its clones, and for no other frame that lives.
    pub(super) fn identity(&self) -> *const u8 {
        Rc::as_ptr(&self.0).cast()
    }

    /// The position of the message or gap in it, if it is one. Of a message without an id it is the newest one before.
    pub(super) fn position(&self) -> Option<Position> {
        self.0.position
    }

    /// From where one goes on that did not get it, if it is a message or gap.
    pub(super) fn before(&self) -> Option<Position> {
        self.0.before
    }

    /// The channel of the message in it, if it is one.
    pub(super) fn channel(&self) -> Option<&Channel> {
        self.0.channel.as_ref()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.meter.0.set(self.meter.0.get() - self.bytes.len());
    }
}

/// Counts the bytes of all living frames of a shard, each once, however many sockets they wait for.
#[derive(Clone, Default)]
struct Meter(Rc<Cell<usize>>);

/// Makes frames and remembers the newest ones.
#[derive(Default)]
pub(super) struct Frames {
    meter: Meter,
    cached: HashMap<Position, [Option<Frame>; Encoding::COUNT]>,
    /// What `cached` holds, oldest first, with its bytes.
    ages: VecDeque<(Position, usize)>,
    cached_bytes: usize,
    encoded: u64,
}

impl Frames {
    /// The frame of `message` in `encoding`, encoded now if it is not remembered. One without an id is never asked for
    /// again, and is not remembered.
    pub(super) fn of(&mut self, message: &Arc<Message>, encoding: Encoding) -> Frame {
        let Some(id) = message.id() else { return self.encode(message, encoding) };
        let cached = self.cached.get(&id).and_then(|frames| frames[encoding.index()].as_ref());
        if let Some(frame) = cached {
            return frame.clone();
        }
        let frame = self.encode(message, encoding);
        let cost = frame.bytes().len();
        self.cached.entry(id).or_default()[encoding.index()] = Some(frame.clone());
        self.ages.push_back((id, cost));
        self.cached_bytes += cost;
        while self.ages.len() > 1
            && (self.cached_bytes > CACHE_BYTES_MAX || self.ages.len() > CACHE_COUNT_MAX)
        {
            if let Some((position, cost)) = self.ages.pop_front() {
                self.cached.remove(&position);
                self.cached_bytes -= cost;
            }
        }
        frame
    }

    /// A frame for one connection only.
    pub(super) fn control(&self, bytes: Vec<u8>) -> Frame {
        self.seal(bytes, None, None, None)
    }

    /// A frame that tells one connection of a gap, after which it goes on at `cursor`.
    pub(super) fn gap(&self, bytes: Vec<u8>, cursor: Position) -> Frame {
        let before = Position { seq: cursor.seq.saturating_sub(1), ..cursor };
        self.seal(bytes, Some(cursor), Some(before), None)
    }

    /// Bytes of all living frames but those that only the cache holds on to, at least.
    pub(super) fn bytes(&self) -> usize {
        self.meter.0.get().saturating_sub(self.cached_bytes)
    }

    /// Messages encoded so far.
    pub(super) fn encoded(&self) -> u64 {
        self.encoded
    }

    fn encode(&mut self, message: &Message, encoding: Encoding) -> Frame {
        let bytes = encode(message, encoding);
        self.encoded += 1;
        self.seal(bytes, Some(message.position), Some(message.before()), Some(message.channel.clone()))
    }

    fn seal(
        &self,
        bytes: Vec<u8>,
        position: Option<Position>,
        before: Option<Position>,
        channel: Option<Channel>,
    ) -> Frame {
        let (bytes, meter) = (bytes.into_boxed_slice(), self.meter.clone());
        meter.0.set(meter.0.get() + bytes.len());
        Frame(Rc::new(Inner { bytes, position, before, channel, meter }))
    }
}
