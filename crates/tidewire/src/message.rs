//! What is heard: messages, and gaps where some may be missing.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use tidewire_hub::admit::{self, GapReason};
use tidewire_hub::channel::Channel;
use tidewire_hub::message;
use tidewire_hub::position::{self, Position};
use tidewire_hub::trace::TraceParent;

/// What a subscriber is handed, in the order of each channel.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Delivery {
    /// A message.
    Message(Message),
    /// Messages may be missing here. What was built from them is to be read anew.
    Gap(Gap),
}

/// A message. Clones share it.
#[derive(Clone)]
pub struct Message(pub(crate) Arc<message::Message>);

impl Message {
    /// The channel that it was published to.
    #[must_use]
    pub fn channel(&self) -> &str {
        self.0.channel.as_str()
    }

    /// Its id, which is the cursor to go on behind it; nothing where it came over the bridge, whose messages have no place
    /// in any log.
    #[must_use]
    pub fn id(&self) -> Option<Cursor> {
        self.0.id().map(Cursor::at)
    }

    /// The event name that its publisher gave it.
    #[must_use]
    pub fn event(&self) -> Option<&str> {
        self.0.event.as_ref().map(message::EventName::as_str)
    }

    /// The payload, where it was published as text.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        self.0.payload.as_text()
    }

    /// The payload, text or binary.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        self.0.payload.as_bytes()
    }

    /// When it was placed, by the clock of the node or of Redis. For people: order is told by ids alone.
    #[must_use]
    pub fn time(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(self.0.time_ms)
    }

    /// The `traceparent` of its publish, where that had one.
    #[must_use]
    pub fn traceparent(&self) -> Option<&str> {
        self.0.trace.as_ref().map(TraceParent::as_str)
    }
}

impl fmt::Debug for Message {
    // Payloads stay out of logs (security rule S49).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("channel", &self.0.channel)
            .field("id", &self.id())
            .field("event", &self.0.event)
            .finish_non_exhaustive()
    }
}

/// Messages may be missing.
#[derive(Clone, Debug)]
pub struct Gap(pub(crate) admit::Gap);

impl Gap {
    /// On which channels.
    pub fn channels(&self) -> impl Iterator<Item = &str> {
        self.0.channels.iter().map(Channel::as_str)
    }

    /// Why.
    #[must_use]
    pub fn reason(&self) -> GapCause {
        match self.0.reason {
            GapReason::Trimmed => GapCause::Trimmed,
            GapReason::Epoch => GapCause::Epoch,
            GapReason::Failover => GapCause::Failover,
            GapReason::StoreReset => GapCause::StoreReset,
            GapReason::SlowConsumer => GapCause::SlowConsumer,
            GapReason::Transient => GapCause::Transient,
        }
    }

    /// Where what follows begins.
    #[must_use]
    pub fn cursor(&self) -> Cursor {
        Cursor::at(self.0.cursor)
    }
}

/// Why messages may be missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum GapCause {
    /// History no longer holds them: by size, age or memory.
    Trimmed,
    /// The cursor is of another log, as after a restart without Redis, or cannot be read.
    Epoch,
    /// Redis failed over and may have lost its newest messages.
    Failover,
    /// Redis lost its store.
    StoreReset,
    /// They were not awaited in time, and no history keeps them.
    SlowConsumer,
    /// A disturbance that history cannot bridge.
    Transient,
}

/// A place in the log: where a subscriber goes on. Written as text it is what browsers know as the id of an event, and good on
/// every transport and every node.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Cursor(pub(crate) position::Cursor);

impl Cursor {
    /// Reads what [`Display`](fmt::Display) writes. Anything else is a cursor all the same: whoever goes on from it hears of
    /// a gap first, and then all that is kept.
    #[must_use]
    pub fn parse(text: &str) -> Cursor {
        Cursor(position::Cursor::parse(text.as_bytes()))
    }

    pub(crate) fn at(position: Position) -> Cursor {
        Cursor(position::Cursor::At(position))
    }
}

impl From<&str> for Cursor {
    fn from(text: &str) -> Cursor {
        Cursor::parse(text)
    }
}

impl fmt::Debug for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cursor({self})")
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            position::Cursor::At(position) => position.fmt(f),
            position::Cursor::Unreadable => f.write_str("unreadable"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_survives_being_written_and_read() {
        let cursor = Cursor::parse("abc.12");
        assert_eq!(Cursor::from(cursor.to_string().as_str()), cursor);
        let unreadable = Cursor::parse("what?");
        assert_eq!(Cursor::parse(&unreadable.to_string()), unreadable);
    }
}
