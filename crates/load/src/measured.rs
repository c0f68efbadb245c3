//! What a run came to.

use serde::{Serialize, Serializer};

use crate::faults::Faults;
use crate::refusal::Refusal;

/// One run. Counts and costs are those of the measured time alone, faults those of the whole run.
#[derive(Clone, Debug, Serialize)]
pub struct Measured {
    /// Seconds that were measured.
    pub wall_s: f64,
    /// Subscribers that had joined before it began.
    pub subscribers: usize,
    /// Messages that left.
    pub published: u64,
    /// Messages seen by a subscriber, each counted once for each.
    pub deliveries: u64,
    /// From when a message should have left to when a subscriber had it.
    pub latency: Quantiles,
    /// Of all subscribers.
    pub traffic: Traffic,
    /// Of all publishers.
    pub publishing: Traffic,
    /// Everything that must not happen.
    pub faults: Faults,
    /// The first publish that was refused.
    pub refusal: Option<Refusal>,
    /// How well the schedule was kept.
    pub punctuality: Punctuality,
    /// What the server spent, where it is on this machine.
    pub server: Option<Server>,
    /// What the generator spent.
    pub generator: Generator,
}

/// Milliseconds not exceeded by that share of all deliveries, lost ones included; infinite (`null` in JSON) where so many
/// were lost.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Quantiles {
    /// On average.
    #[serde(serialize_with = "finite")]
    pub mean_ms: f64,
    /// Half of them.
    #[serde(serialize_with = "finite")]
    pub p50_ms: f64,
    /// All but one in a hundred.
    #[serde(serialize_with = "finite")]
    pub p99_ms: f64,
    /// All but one in a thousand.
    #[serde(serialize_with = "finite")]
    pub p999_ms: f64,
    /// All.
    #[serde(serialize_with = "finite")]
    pub max_ms: f64,
}

/// Requests and bytes, as counted at the generator's sockets: heads, chunks and frames included, TCP and IP not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Traffic {
    /// Requests sent. A stream was asked for before anything was measured.
    pub requests: u64,
    /// Answers that brought nothing: an empty page, or a 304.
    pub without_news: u64,
    /// Bytes sent.
    pub bytes_up: u64,
    /// Bytes received.
    pub bytes_down: u64,
    /// Connections that had to be opened anew, because the server closes idle ones.
    pub reopened: u64,
}

/// Whether messages left when they were due.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Punctuality {
    /// Connections that publish.
    pub publishers: usize,
    /// Messages that were due in the measured time, whenever they left.
    pub due: u64,
    /// Messages that left more than a millisecond late because every publisher was waiting for an answer.
    pub late_for_answers: u64,
    /// Messages that left more than a millisecond late because the generator itself was.
    pub late_itself: u64,
    /// The latest.
    pub latest_ms: f64,
}

/// What a server spent.
#[derive(Clone, Debug, Serialize)]
pub struct Server {
    /// Its processes; their children are counted too.
    pub processes: Vec<u32>,
    /// What the first is called.
    pub name: String,
    /// CPU seconds, of all threads.
    pub cpu_s: f64,
    /// CPU seconds for a million deliveries.
    #[serde(serialize_with = "finite")]
    pub cpu_s_per_million: f64,
    /// Proportional set size before anybody connected, with everybody connected, and at the end; `None` where this user may
    /// not read it.
    pub memory: Option<Memory>,
}

/// Memory in KiB, shared pages split among those who share them.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Memory {
    /// Before anybody connected.
    pub before_kib: f64,
    /// With everybody connected, before the first message.
    pub connected_kib: f64,
    /// At the end of the measured time.
    pub end_kib: f64,
}

/// What the generator spent.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Generator {
    /// CPU seconds, of all threads.
    pub cpu_s: f64,
    /// How busy its busiest thread was.
    pub busiest_percent: f64,
}

impl Measured {
    /// Whether the figures may be those of the generator and not of the server.
    pub fn is_generators(&self) -> bool {
        self.was_busy() || self.was_late()
    }

    /// Whether a thread of the generator had no time left: then what was done a second is its own figure.
    pub fn was_busy(&self) -> bool {
        self.generator.busiest_percent > BUSY_PERCENT
    }

    /// Whether so many messages left late by the generator's own fault, or by that of whoever took its cores, that it shows in
    /// the latencies.
    pub fn was_late(&self) -> bool {
        self.punctuality.late_itself as f64 > LATE_SHARE * self.punctuality.due as f64
            && self.punctuality.latest_ms > LATE_PART * self.latency.p50_ms
    }

    /// Deliveries a second.
    pub fn deliveries_per_s(&self) -> f64 {
        self.deliveries as f64 / self.wall_s
    }
}

impl Memory {
    /// KiB that each of `subscribers` costs while nothing happens.
    pub fn per_subscriber_kib(&self, subscribers: usize) -> f64 {
        (self.connected_kib - self.before_kib) / subscribers as f64
    }
}

/// A thread busier than this may be what was measured.
const BUSY_PERCENT: f64 = 85.0;
/// So many late messages of all show in the 99th percentile.
const LATE_SHARE: f64 = 0.01;
/// What is less than this part of the usual latency does not.
const LATE_PART: f64 = 0.1;

fn finite<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    // JSON has no infinity.
    if value.is_finite() { serializer.serialize_some(value) } else { serializer.serialize_none() }
}
