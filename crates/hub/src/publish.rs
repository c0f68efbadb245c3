//! Publishing: what was asked, and what a publisher is told.

use std::fmt;
use std::sync::Arc;

use crate::channel::Channel;
use crate::message::{EventName, Payload};
use crate::position::Position;
use crate::trace::TraceParent;

/// The longest idempotency key, in bytes.
pub const KEY_BYTES_MAX: usize = 256;

/// A publish that is allowed and in bounds, on its way to the broker.
#[derive(Clone, Debug)]
pub struct Publish {
    /// Where to.
    pub channel: Channel,
    /// What the publisher calls it.
    pub event: Option<EventName>,
    /// What it holds.
    pub payload: Payload,
    /// The trace that it is part of, kept with the message. A repetition keeps the first one's.
    pub trace: Option<TraceParent>,
    /// Makes a repetition harmless.
    pub key: Option<Key>,
    /// Who publishes; a key belongs to publisher and channel (delivery rule R22).
    pub publisher: Arc<str>,
}

/// An idempotency key: 1 to 256 bytes of visible ASCII.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Key(Arc<str>);

impl Key {
    /// Accepts `key` if it is in bounds; nothing otherwise.
    #[must_use]
    pub fn parse(key: &str) -> Option<Key> {
        let in_bounds =
            (1..=KEY_BYTES_MAX).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic());
        in_bounds.then(|| Key(key.into()))
    }

    /// The key as it was given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// What a publisher is told once its message is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The id of the message; of the first one, when a key is repeated. Nothing on a bridged channel.
    pub position: Option<Position>,
    /// Subscribers of the channel on this node when it was placed. Advisory; zero for a repetition.
    pub receivers: Receivers,
}

/// Subscribers by transport.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Receivers {
    /// Server-Sent Events.
    pub sse: u32,
    /// WebSockets.
    pub ws: u32,
    /// Long polls that wait.
    pub poll: u32,
}
