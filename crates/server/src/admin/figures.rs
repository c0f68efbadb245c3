//! Figures: what one node does, from what it counts at two moments.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tidewire_engine::Counters;
use tidewire_hub::broker::{Broker, Figure, Totals};
use tidewire_hub::channel::Channel;

use crate::census::Census;
use crate::process::Process;
use crate::turned_away::TurnedAway;

/// Where figures come from.
pub struct Sources {
    /// Who this node is, among others.
    pub name: Box<str>,
    /// The counters of its outlets.
    pub outlets: Vec<Arc<Counters>>,
    /// Its broker.
    pub broker: Arc<dyn Broker>,
    /// Whether that is a Redis.
    pub is_shared: bool,
    /// Its connections.
    pub census: Arc<Census>,
    /// Its refusals.
    pub turned_away: Arc<TurnedAway>,
}

/// What was counted at one moment.
#[derive(Clone, Debug, Default)]
pub(super) struct Sample {
    at_ms: u64,
    counters: BTreeMap<&'static str, u64>,
    totals: Totals,
    process: Option<Process>,
    /// Whether the server's own channel is among those that exist.
    is_told: bool,
}

/// What a node does, as the page reads it. Rates are a second's.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Figures {
    /// Which node: its address and a number that another life of it does not have.
    node: Box<str>,
    /// Which Tidewire it is.
    version: &'static str,
    /// Milliseconds since 1970.
    time: u64,
    uptime_ms: u64,
    phase: &'static str,
    connections: Connections,
    rates: BTreeMap<&'static str, f64>,
    queued_bytes: u64,
    slow_consumers: u64,
    gaps: BTreeMap<&'static str, u64>,
    refusals: BTreeMap<&'static str, u64>,
    channels: usize,
    history_messages: usize,
    history_bytes: usize,
    memory_bytes: Option<u64>,
    /// Of one core; a node with two busy ones has 200.
    cpu_percent: Option<f64>,
    broker: Redis,
    /// From handing a message to the broker until it was placed, in microseconds: the last probe's.
    placed_us: Option<u64>,
}

#[derive(Clone, Debug, Serialize)]
struct Connections {
    sse: u64,
    ws: u64,
    poll: u64,
    /// Connections of the API server: requests, pages, and what comes over TLS.
    http: usize,
    all: usize,
}

/// Where messages are kept.
#[derive(Clone, Debug, Serialize)]
struct Redis {
    kind: &'static str,
    state: &'static str,
    /// Since when nothing has been heard of it.
    lag_ms: Option<u64>,
    /// The round trip of the link's own probe.
    probe_us: Option<u64>,
    waiting: Option<u64>,
}

/// Counters whose rise is shown, with the name of its rate.
const RATES: [(&str, &str); 7] = [
    ("delivered", "delivered"),
    ("bytes_out", "bytes_out"),
    ("accepted", "accepted"),
    ("admitted", "admitted"),
    ("refused", "refused"),
    ("received", "received"),
    ("writes", "writes"),
];

/// What counters of gaps begin with; the rest is the reason.
const GAPS: &str = "gaps_";

impl Sources {
    /// Counts.
    pub(super) fn sample(&self, own: Option<&Channel>, at_ms: u64) -> Sample {
        let mut counters = BTreeMap::new();
        for (name, number) in self.outlets.iter().flat_map(|outlet| outlet.snapshot()) {
            // How a message went is not asked here.
            let name = if name.starts_with("delivered_") { "delivered" } else { name };
            *counters.entry(name).or_insert(0u64) += number;
        }
        let is_told = own.is_some_and(|own| self.broker.channel(own).is_some());
        Sample { at_ms, counters, totals: self.broker.totals(), process: Process::look(), is_told }
    }

    /// What was done between two moments.
    pub(super) fn figures(
        &self,
        (before, now): (&Sample, &Sample),
        wall_ms: u64,
        phase: &'static str,
        placed: Option<Duration>,
    ) -> Figures {
        let elapsed_s = now.at_ms.saturating_sub(before.at_ms).max(1) as f64 / 1_000.0;
        let per_second = |now: u64, before: u64| tenths(now.saturating_sub(before) as f64 / elapsed_s);
        let count = |name: &str| now.counters.get(name).copied().unwrap_or(0);
        let before_then = |name: &str| before.counters.get(name).copied().unwrap_or(0);
        let mut rates: BTreeMap<&'static str, f64> =
            RATES.iter().map(|(name, rate)| (*rate, per_second(count(name), before_then(name)))).collect();
        rates.insert("published", per_second(now.totals.published, before.totals.published));
        let gaps = now.counters.iter().filter_map(|(name, number)| Some((name.strip_prefix(GAPS)?, *number)));
        let cpu = now
            .process
            .zip(before.process)
            .map(|(now, before)| tenths(now.cpu_ms.saturating_sub(before.cpu_ms) as f64 / elapsed_s / 10.0));
        Figures {
            node: self.name.clone(),
            version: env!("CARGO_PKG_VERSION"),
            time: wall_ms,
            uptime_ms: now.at_ms,
            phase,
            connections: Connections {
                sse: count("open_sse"),
                ws: count("open_ws"),
                poll: count("open_poll"),
                http: self.census.http(),
                all: self.census.connections(),
            },
            rates,
            queued_bytes: count("queued_bytes"),
            slow_consumers: count("slow_consumers"),
            gaps: gaps.filter(|(_, number)| *number > 0).collect(),
            refusals: self.turned_away.counts().map(|(reason, number)| (reason.code(), number)).collect(),
            channels: now.totals.channels.saturating_sub(usize::from(now.is_told)),
            history_messages: now.totals.messages,
            history_bytes: now.totals.bytes,
            memory_bytes: now.process.map(|process| process.memory_bytes),
            cpu_percent: cpu,
            broker: self.redis(),
            placed_us: placed.map(|placed| u64::try_from(placed.as_micros()).unwrap_or(u64::MAX)),
        }
    }

    fn redis(&self) -> Redis {
        let figures = self.broker.figures();
        let find = |name: &str| {
            let figure = figures.iter().find(|figure| figure.name == name);
            figure.and_then(Figure::number).filter(|_| self.is_shared)
        };
        Redis {
            kind: if self.is_shared { "redis" } else { "memory" },
            state: self.broker.state().as_str(),
            lag_ms: find("broker_silence").map(|micros| micros / 1_000),
            probe_us: find("broker_probe"),
            waiting: find("broker_waiting"),
        }
    }
}

fn tenths(number: f64) -> f64 {
    (number * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidewire_broker::memory::{Memory, Options};
    use tidewire_hub::limits::{Limits, Retentions};
    use tidewire_hub::position::Gen;

    fn sources() -> Sources {
        let broker = Memory::new(&Options {
            limits: Arc::new(Limits::default()),
            retentions: Retentions::default(),
            generation: Gen::from_random(1),
            revocations: Arc::default(),
        });
        Sources {
            name: "127.0.0.1:1-abc".into(),
            outlets: vec![Arc::default()],
            broker: Arc::new(broker),
            is_shared: false,
            census: Census::new(Vec::new(), 1),
            turned_away: Arc::default(),
        }
    }

    #[test]
    fn a_rate_is_what_was_counted_over_the_time_that_passed() {
        let sources = sources();
        let sample = |at_ms, delivered, cpu_ms| Sample {
            at_ms,
            counters: BTreeMap::from([("delivered", delivered), ("gaps_trimmed", 2), ("gaps_epoch", 0)]),
            process: Some(Process { memory_bytes: 7, cpu_ms }),
            ..Sample::default()
        };
        let (before, now) = (sample(1_000, 100, 50), sample(3_000, 400, 1_050));
        let figures = sources.figures((&before, &now), 5, "ready", Some(Duration::from_micros(90)));
        assert_eq!((figures.rates["delivered"], figures.rates["published"]), (150.0, 0.0));
        assert_eq!((figures.cpu_percent, figures.memory_bytes), (Some(50.0), Some(7)));
        assert_eq!(
            figures.gaps,
            BTreeMap::from([("trimmed", 2)]),
            "a reason that was never given is not shown"
        );
        assert_eq!((figures.placed_us, figures.broker.probe_us), (Some(90), None));
    }

    #[test]
    fn two_looks_at_the_same_moment_are_no_rate_without_bound() {
        let sources = sources();
        let (before, mut now) = (Sample::default(), Sample::default());
        now.counters.insert("delivered", 1);
        let figures = sources.figures((&before, &now), 0, "ready", None);
        assert!(figures.rates["delivered"].is_finite());
        assert!(serde_json::to_string(&figures).unwrap().contains("\"kind\":\"memory\""));
    }
}
