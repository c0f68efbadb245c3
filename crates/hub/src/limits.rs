//! Bounds: every queue, buffer and wait has one, and full has a name.

use std::collections::HashMap;
use std::time::Duration;

use crate::channel::Channel;

/// Every bound of a node. Defaults are those of `security.md` E; each field is a configuration key of its own name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The largest payload, in bytes. Beyond: `too_large`. Default 64 KiB (S30, S37).
    pub message_bytes_max: usize,
    /// Frames of one fragmented WebSocket message. Beyond: close 1009. Default 64 (S30).
    pub fragments_max: u32,
    /// Empty continuation frames of one WebSocket message. Beyond: close 1009. Default 16 (S30).
    pub empty_fragments_max: u32,
    /// Control frames a second from one client. Beyond: close 4429. Default 20 (S30).
    pub control_frames_per_second_max: u32,
    /// How long a message may stay incomplete. Beyond: close 4408. Default 10 s (S30).
    pub incomplete_message_max: Duration,
    /// The largest request head, in bytes. Beyond: 431. Default 16 KiB (S32).
    pub head_bytes_max: usize,
    /// Header fields of a request. Beyond: 431. Default 100 (S32).
    pub headers_max: usize,
    /// The longest request target, in bytes. Beyond: 414. Default 8 KiB (S32).
    pub target_bytes_max: usize,
    /// From accept to the first byte. Beyond: the connection is closed. Default 5 s (S33).
    pub first_byte_max: Duration,
    /// From accept to the end of the head. Beyond: 408. Default 10 s (S33).
    pub head_max: Duration,
    /// From the end of the head to the end of the body. Beyond: 408. Default 30 s (S33).
    pub body_max: Duration,
    /// Idle time of a kept-alive connection. Beyond: the connection is closed. Default 75 s (S33).
    pub keep_alive_max: Duration,
    /// Requests and streams at once on one HTTP/2 connection. Beyond: refused, to be tried again. Default 256 (S34).
    pub streams_per_connection_max: usize,
    /// Bytes queued for one subscriber. Beyond: `slow_consumer`. Default 1 MiB (S35).
    pub queue_bytes_max: usize,
    /// Messages queued for one subscriber. Beyond: `slow_consumer`. Default 1 000 (S35).
    pub queue_messages_max: usize,
    /// Age of the oldest message queued for one subscriber. Beyond: `slow_consumer`. Default 15 s (S35).
    pub queue_age_max: Duration,
    /// Channels of one connection. Beyond: `channel_count`. Default 100 (S36).
    pub channels_per_connection_max: usize,
    /// Joins and leaves a minute on one connection. Beyond: `rate_limited`. Default 1 000 (S36).
    pub joins_per_minute_max: u32,
    /// Messages in one batch. Beyond: `too_large`. Default 100 (S37).
    pub batch_messages_max: usize,
    /// Publishes being answered at once. Beyond: `overloaded`. Default 1 024 (S37).
    pub publishes_in_flight_max: usize,
    /// Messages a second on one channel. Beyond: `rate_limited`. Default 10 000 (S37).
    pub channel_publishes_per_second_max: u32,
    /// Connections of one address (/32, /64) at once. Beyond: `rate_limited`. Default 100 (S38).
    pub address_connections_max: usize,
    /// Streams and WebSockets that one address opens a second. Beyond: `rate_limited`. Default 20 (S38).
    pub address_arrivals_per_second_max: u32,
    /// Wrong credentials of one address a minute. Beyond: `rate_limited`. Default 10 (S38).
    pub address_failures_per_minute_max: u32,
    /// Channels that one subject listens to at once, over all its connections. Beyond: `rate_limited`. Default 1 000 (S36).
    pub subject_channels_max: usize,
    /// Messages that one subject publishes a second. Beyond: `rate_limited`. Default 1 000 (S37).
    pub subject_publishes_per_second_max: u32,
    /// Messages that are published with one API key a second. Beyond: `rate_limited`. Default 100 000 (S37).
    pub key_publishes_per_second_max: u32,
    /// Tickets that one subject gets a second. Beyond: `rate_limited`. Default 10 (S24).
    pub tickets_per_second_max: u32,
    /// Unspent tickets of one subject. Beyond: `rate_limited`. Default 20 (S24).
    pub tickets_outstanding_max: usize,
    /// Connections at once. Beyond: `overloaded`. Default: 90 % of the open files allowed, less 64 (S39).
    pub connections_max: usize,
    /// Streams, WebSockets and long polls let in a second by a node. Beyond: `overloaded`. Default 10 000 (F23).
    pub arrivals_per_second_max: u32,
    /// Bytes that histories and queues may take together. Default: 75 % of the machine's or cgroup's memory.
    pub memory_budget: usize,
    /// Channels that exist at once. Beyond: `channels_full`. Default 1 000 000.
    pub channels_max: usize,
    /// Idempotency keys remembered at once. Beyond: `keys_full`. Default 1 000 000 (R22).
    pub keys_max: usize,
    /// How long an idempotency key is remembered. Default 5 minutes.
    pub key_ttl: Duration,
    /// A quiet stream gets a heartbeat after this, give or take 20 %. Default 15 s.
    pub heartbeat: Duration,
    /// A WebSocket gets a ping after this. Default 20 s.
    pub ping: Duration,
    /// A WebSocket silent for this long is ended. Default 45 s.
    pub silence_max: Duration,
    /// How old a stream or WebSocket gets, give or take 10 %; then it is ended as in a drain, and comes back wherever it
    /// is sent. Default: no bound.
    pub connection_age_max: Duration,
    /// The longest wait of a long poll. Default 60 s.
    pub poll_wait_max: Duration,
    /// The `retry:` that streams advise, give or take 50 %. Default 2 s.
    pub retry: Duration,
    /// How long an orderly end may take after our last byte. Default 2 s (R29).
    pub linger_max: Duration,
    /// How long a member without a connection stays one, for those who come back at once. Then it leaves. Default 5 s.
    pub presence_grace: Duration,
    /// Namespaces whose slow readers skip to the newest message of each channel, with a gap in place of the others,
    /// rather than being ended: for tickers and cursors. A connection is spared only if all of its channels are in
    /// one. Default none.
    pub conflate: Vec<Box<str>>,
}

impl Limits {
    /// The limits of one of `count` outlets, which have the memory of queues between them.
    #[must_use]
    pub fn shared_by(&self, count: usize) -> Limits {
        Limits { memory_budget: self.memory_budget / count.max(1), ..self.clone() }
    }

    /// Whether slow readers of `channel` skip to its newest message.
    #[must_use]
    pub fn conflates(&self, channel: &Channel) -> bool {
        self.conflate.iter().any(|namespace| **namespace == *channel.namespace())
    }
}

/// The age that no connection reaches.
pub const NO_AGE: Duration = Duration::from_secs(365 * 24 * 3_600);

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            message_bytes_max: 64 << 10,
            fragments_max: 64,
            empty_fragments_max: 16,
            control_frames_per_second_max: 20,
            incomplete_message_max: Duration::from_secs(10),
            head_bytes_max: 16 << 10,
            headers_max: 100,
            target_bytes_max: 8 << 10,
            first_byte_max: Duration::from_secs(5),
            head_max: Duration::from_secs(10),
            body_max: Duration::from_secs(30),
            keep_alive_max: Duration::from_secs(75),
            streams_per_connection_max: 256,
            queue_bytes_max: 1 << 20,
            queue_messages_max: 1_000,
            queue_age_max: Duration::from_secs(15),
            channels_per_connection_max: 100,
            joins_per_minute_max: 1_000,
            batch_messages_max: 100,
            publishes_in_flight_max: 1_024,
            channel_publishes_per_second_max: 10_000,
            address_connections_max: 100,
            address_arrivals_per_second_max: 20,
            address_failures_per_minute_max: 10,
            subject_channels_max: 1_000,
            subject_publishes_per_second_max: 1_000,
            key_publishes_per_second_max: 100_000,
            tickets_per_second_max: 10,
            tickets_outstanding_max: 20,
            connections_max: 17_936,
            arrivals_per_second_max: 10_000,
            memory_budget: 1 << 30,
            channels_max: 1_000_000,
            keys_max: 1_000_000,
            key_ttl: Duration::from_secs(300),
            heartbeat: Duration::from_secs(15),
            ping: Duration::from_secs(20),
            silence_max: Duration::from_secs(45),
            connection_age_max: NO_AGE,
            poll_wait_max: Duration::from_secs(60),
            retry: Duration::from_secs(2),
            linger_max: Duration::from_secs(2),
            presence_grace: Duration::from_secs(5),
            conflate: Vec::new(),
        }
    }
}

/// What a channel keeps of its past. Beyond: the oldest is trimmed, and a cursor before it is a `gap(trimmed)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Messages kept. Default 1 000; 0 keeps none.
    pub messages_max: usize,
    /// How long a message is kept. Default 1 hour.
    pub ttl: Duration,
}

impl Default for Retention {
    fn default() -> Retention {
        Retention { messages_max: 1_000, ttl: Duration::from_secs(3_600) }
    }
}

/// What channels keep: most what is common, those of some namespaces something of their own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Retentions {
    common: Retention,
    own: HashMap<Box<str>, Retention>,
}

impl Retentions {
    /// `own` holds for the channels of these namespaces, `common` for all others.
    #[must_use]
    pub fn new(common: Retention, own: impl IntoIterator<Item = (Box<str>, Retention)>) -> Retentions {
        Retentions { common, own: own.into_iter().collect() }
    }

    /// What `channel` keeps.
    #[must_use]
    pub fn of(&self, channel: &Channel) -> Retention {
        // Most servers have no namespaces, and this is on the way of every publish.
        if self.own.is_empty() {
            return self.common;
        }
        self.own.get(channel.namespace()).copied().unwrap_or(self.common)
    }

    /// What channels keep that no namespace has anything else for.
    #[must_use]
    pub fn common(&self) -> Retention {
        self.common
    }
}

impl From<Retention> for Retentions {
    fn from(common: Retention) -> Retentions {
        Retentions::new(common, [])
    }
}

/// A page of history handed to a stream at once (delivery rule R10).
pub const STREAM_PAGE: PageLimit = PageLimit { messages_max: 256, bytes_max: 256 << 10 };

/// A page that answers a poll (`docs/protocol.md`, "Polling").
pub const POLL_PAGE: PageLimit = PageLimit { messages_max: 1_000, bytes_max: 1 << 20 };

/// How much one page holds. A page holds at least one message, however large.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageLimit {
    /// Messages in a page.
    pub messages_max: usize,
    /// Payload bytes in a page.
    pub bytes_max: usize,
}
