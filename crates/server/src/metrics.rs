//! Metrics: plain counters, summed when somebody looks. A shared counter would cost more than a delivery.

use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _, text};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use tidewire_engine::Counters;
use tidewire_hub::broker::{Broker, Figure};

use crate::census::Census;
use crate::clock::Clock;
use crate::presence::Keeper;
use crate::shared::{Figures, Ledger};

/// What `/metrics` shows.
pub struct Metrics {
    registry: Registry,
}

impl Metrics {
    /// Metrics over these sources.
    #[must_use]
    pub fn new(
        outlets: Vec<Arc<Counters>>,
        broker: Arc<dyn Broker>,
        census: Arc<Census>,
        presence: Arc<Keeper>,
    ) -> Metrics {
        let mut registry = Registry::with_prefix("tidewire");
        registry.register_collector(Box::new(Sources { outlets, broker, census, presence }));
        Metrics { registry }
    }

    /// The same, with what this node hears of the revocations of others.
    #[must_use]
    pub fn watching(mut self, ledger: Ledger, clock: Clock) -> Metrics {
        self.registry.register_collector(Box::new(Revoked { ledger, clock }));
        self
    }

    /// The OpenMetrics text of this moment.
    #[must_use]
    pub fn text(&self) -> String {
        let mut out = String::with_capacity(4096);
        // Writing into a string cannot fail, and every descriptor is ours.
        let _ = text::encode(&mut out, &self.registry);
        out
    }
}

struct Sources {
    outlets: Vec<Arc<Counters>>,
    broker: Arc<dyn Broker>,
    census: Arc<Census>,
    presence: Arc<Keeper>,
}

impl std::fmt::Debug for Sources {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sources").finish_non_exhaustive()
    }
}

impl Collector for Sources {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> std::fmt::Result {
        let mut sums: Vec<(&'static str, u64)> = Vec::new();
        for outlet in &self.outlets {
            for (at, (name, number)) in outlet.snapshot().enumerate() {
                match sums.get_mut(at) {
                    Some(sum) => sum.1 = sum.1.wrapping_add(number),
                    None => sums.push((name, number)),
                }
            }
        }
        let (gaps, sums): (Vec<_>, Vec<_>) = sums.into_iter().partition(|(name, _)| name.starts_with(GAPS));
        by_reason(&mut encoder, &gaps)?;
        let (loops, sums): (Vec<_>, Vec<_>) = sums.into_iter().partition(|(name, _)| name.starts_with(LOOPS));
        by_io(&mut encoder, &loops)?;
        for (name, number) in sums {
            let help = format!("Of all outlets: {}", name.replace('_', " "));
            if name.starts_with("open") || name.starts_with("queued") {
                gauge(&mut encoder, name, &help, number)?;
            } else {
                counter(&mut encoder, name, &help, number)?;
            }
        }
        let totals = self.broker.totals();
        counter(&mut encoder, "published", "Messages placed", totals.published)?;
        counter(&mut encoder, "barriers", "Barriers raised", totals.barriers)?;
        gauge(&mut encoder, "channels", "Channels known", totals.channels as u64)?;
        gauge(&mut encoder, "history_messages", "Messages kept", totals.messages as u64)?;
        gauge(&mut encoder, "history_bytes", "Bytes kept, overhead included", totals.bytes as u64)?;
        gauge(&mut encoder, "idempotency_keys", "Idempotency keys remembered", totals.keys as u64)?;
        for figure in self.broker.figures() {
            let Figure { name, help, number, rises } = figure;
            if rises {
                counter(&mut encoder, name, help, number)?;
            } else {
                gauge(&mut encoder, name, help, number)?;
            }
        }
        gauge(
            &mut encoder,
            "presence_members",
            "Members of this node's channels",
            self.presence.count() as u64,
        )?;
        counter(&mut encoder, "presence_untold", "Joins and leaves told as missed", self.presence.untold())?;
        gauge(&mut encoder, "http_connections", "Connections of the API server", self.census.http() as u64)?;
        gauge(&mut encoder, "connections", "Connections of the node", self.census.connections() as u64)
    }
}

/// What the counters of gaps begin with; the rest is the reason.
const GAPS: &str = "gaps_";

fn by_reason(encoder: &mut DescriptorEncoder<'_>, gaps: &[(&'static str, u64)]) -> std::fmt::Result {
    let kind = ConstCounter::new(0u64).metric_type();
    let mut family = encoder.encode_descriptor("gaps", "Gaps told to subscribers", None, kind)?;
    for (name, number) in gaps {
        let labels = [("reason", name.trim_start_matches(GAPS))];
        ConstCounter::new(*number).encode(family.encode_family(&labels)?)?;
    }
    Ok(())
}

/// What the numbers of event loops begin with; the rest is what they write through.
const LOOPS: &str = "loops_";

fn by_io(encoder: &mut DescriptorEncoder<'_>, loops: &[(&'static str, u64)]) -> std::fmt::Result {
    let kind = ConstGauge::new(0i64).metric_type();
    let help = "Event loops over sockets, by what they write through";
    let mut family = encoder.encode_descriptor("loops", help, None, kind)?;
    for (name, number) in loops {
        let labels = [("io", name.trim_start_matches(LOOPS))];
        ConstGauge::new(i64::try_from(*number).unwrap_or(i64::MAX)).encode(family.encode_family(&labels)?)?;
    }
    Ok(())
}

#[derive(Debug)]
struct Revoked {
    ledger: Ledger,
    clock: Clock,
}

impl Collector for Revoked {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> std::fmt::Result {
        let Figures { records, malformed, dropped, reread, rewritten } = self.ledger.figures();
        let encoder = &mut encoder;
        gauge(encoder, "revocations", "Revocations in force", records as u64)?;
        counter(encoder, "revocations_malformed", "Revocations in Redis that could not be read", malformed)?;
        counter(encoder, "revocations_dropped", "Revocations for which there was no room", dropped)?;
        counter(encoder, "revocations_reread", "Times that all revocations were read", reread)?;
        counter(encoder, "revocations_rewritten", "Revocations that Redis had lost", rewritten)?;
        let Some(silent_ms) = self.ledger.silent_ms(self.clock.now()) else { return Ok(()) };
        let help = "Milliseconds since Redis was last heard of revocations";
        gauge(encoder, "revocations_silent_ms", help, silent_ms)
    }
}

fn counter(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, number: u64) -> std::fmt::Result {
    let metric = ConstCounter::new(number);
    metric.encode(encoder.encode_descriptor(name, help, None, metric.metric_type())?)
}

fn gauge(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, number: u64) -> std::fmt::Result {
    let metric = ConstGauge::new(i64::try_from(number).unwrap_or(i64::MAX));
    metric.encode(encoder.encode_descriptor(name, help, None, metric.metric_type())?)
}
