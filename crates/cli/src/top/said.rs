//! What a console says, read leniently: during a rolling upgrade its nodes are of two versions, and a field that one of
//! them does not have is nothing to fail on. All text is [`Plain`].

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::plain::Plain;

/// What a login is answered with.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct About {
    /// The node that was asked, as it calls itself among others.
    pub node: Plain,
    pub version: Plain,
    pub csrf: String,
}

/// What one node did in one second, as `GET /admin/feed` tells it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Figures {
    pub node: Plain,
    pub version: Plain,
    /// Milliseconds since 1970, by the node's clock.
    pub time: u64,
    pub uptime_ms: u64,
    pub phase: Plain,
    pub connections: Connected,
    /// What happened in a second, by its name.
    pub rates: BTreeMap<Plain, f64>,
    /// Bytes that subscribers have not read yet.
    pub queued_bytes: u64,
    /// Connections that were ended for reading too slowly, since the node started.
    pub slow_consumers: u64,
    pub gaps: BTreeMap<Plain, u64>,
    pub refusals: BTreeMap<Plain, u64>,
    pub channels: u64,
    pub history_messages: u64,
    pub history_bytes: u64,
    pub memory_bytes: Option<u64>,
    /// Of one core.
    pub cpu_percent: Option<f64>,
    pub broker: Broker,
    /// Microseconds until the console's own message was placed.
    pub placed_us: Option<u64>,
}

impl Figures {
    /// The rate of this name, a second.
    pub(super) fn rate(&self, name: &str) -> f64 {
        let found = self.rates.iter().find(|(known, _)| ***known == *name);
        found.map_or(0.0, |(_, rate)| *rate)
    }
}

/// Connections by transport.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Connected {
    pub sse: u64,
    pub ws: u64,
    pub poll: u64,
    /// Those of the API server.
    pub http: u64,
    pub all: u64,
}

/// Where messages are kept.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Broker {
    pub kind: Plain,
    pub state: Plain,
    pub lag_ms: Option<u64>,
    pub probe_us: Option<u64>,
    pub waiting: Option<u64>,
}

impl Broker {
    /// Whether nodes share it.
    pub(super) fn is_shared(&self) -> bool {
        &*self.kind == "redis"
    }
}

/// `GET /admin/channels`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Channels {
    pub channels: Vec<Channel>,
    /// Whether there are more, or may be.
    pub more: bool,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Channel {
    pub channel: Plain,
    pub receivers: Receivers,
    pub messages: u64,
    pub bytes: u64,
    /// Messages that came since the node knows the channel.
    pub placed: u64,
    /// The same a second; known from the second look on.
    #[serde(skip_deserializing)]
    pub rate: Option<f64>,
}

#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Receivers {
    pub sse: u64,
    pub ws: u64,
    pub poll: u64,
}

impl Receivers {
    pub(super) fn all(self) -> u64 {
        self.sse.saturating_add(self.ws).saturating_add(self.poll)
    }
}

/// `GET /admin/connections`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Connections {
    pub connections: Vec<Connection>,
    /// How many match, those that are not among `connections` included.
    pub matching: u64,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Connection {
    pub id: Plain,
    pub transport: Plain,
    pub who: Who,
    pub address: Plain,
    pub channels: Vec<Plain>,
    pub channel_count: u64,
    pub age_ms: u64,
    pub messages: u64,
    pub backlog_bytes: u64,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Who {
    pub kind: Plain,
    pub name: Option<Plain>,
}

impl Who {
    /// A subject, a key's name, or what else it is.
    pub(super) fn shown(&self) -> &str {
        self.name.as_deref().unwrap_or(&self.kind)
    }
}

/// `GET /admin/refusals`, newest first.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Refusals {
    pub refusals: Vec<Refusal>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Refusal {
    /// Milliseconds since 1970, by the node's clock.
    pub time: u64,
    pub status: u16,
    pub code: Plain,
    pub detail: Plain,
    pub client: Option<Plain>,
    pub origin: Option<Plain>,
    pub asked: Plain,
    pub path: Plain,
}
