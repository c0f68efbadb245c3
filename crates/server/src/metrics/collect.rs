//! Collecting: the parts of a node are asked for their numbers when somebody looks.

use std::fmt;
use std::sync::{Arc, OnceLock};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, text};
use prometheus_client::registry::Registry;
use tidewire_engine::Counters;
use tidewire_engine::counters::Counter;
use tidewire_hub::broker::{Figure, State};
use tidewire_hub::reason::Reason;

use super::exposition::{Exposition, Format, Number, seconds};
use super::families::*;
use crate::census::Census;
use crate::entrance::Entrance;
use crate::node::Node;
use crate::process::Process;
use crate::reload::Figures;
use crate::shared;
use crate::tls::Identities;

/// What `/metrics` shows.
pub struct Metrics {
    registry: Registry,
    door: Arc<Door>,
}

/// What a node has that faces the world, where it has it.
#[derive(Default)]
struct Door {
    entrance: OnceLock<Arc<Entrance>>,
    identities: OnceLock<Arc<Identities>>,
    surroundings: OnceLock<Figures>,
}

impl Metrics {
    /// Metrics of this node, whose event loops count in `outlets`.
    #[must_use]
    pub fn new(node: Arc<Node>, outlets: Vec<Arc<Counters>>, census: Arc<Census>) -> Metrics {
        let (mut registry, door) = (Registry::default(), Arc::<Door>::default());
        registry.register_collector(Box::new(Sources { node, outlets, census, door: door.clone() }));
        Metrics { registry, door }
    }

    /// Shows how keys are fetched for this entrance, too. Only the first counts.
    pub fn watch_entrance(&self, entrance: Arc<Entrance>) {
        let _ = self.door.entrance.set(entrance);
    }

    /// Shows when these certificates end, too. Only the first call counts.
    pub fn watch_identities(&self, identities: Arc<Identities>) {
        let _ = self.door.identities.set(identities);
    }

    /// Shows what the surroundings of a server count, too. Only the first call counts.
    pub fn watch_surroundings(&self, figures: Figures) {
        let _ = self.door.surroundings.set(figures);
    }

    /// The numbers of this moment.
    #[must_use]
    pub fn text(&self, format: Format) -> String {
        let mut out = String::with_capacity(32 << 10);
        // Writing into a string cannot fail, and every descriptor is ours.
        let _ = text::encode(&mut out, &self.registry);
        format.of(out)
    }
}

struct Sources {
    node: Arc<Node>,
    outlets: Vec<Arc<Counters>>,
    census: Arc<Census>,
    door: Arc<Door>,
}

impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sources").finish_non_exhaustive()
    }
}

impl Collector for Sources {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let out = &mut Exposition(encoder);
        self.node_itself(out)?;
        self.loops(out)?;
        self.clients(out)?;
        self.messages(out)?;
        self.history(out)?;
        self.broker(out)?;
        self.rights(out)?;
        each_of(out, self.door.surroundings.get().map(|figures| figures()).unwrap_or_default())?;
        process(out)
    }
}

impl Sources {
    /// One counter of all event loops.
    fn sum(&self, counter: impl Fn(&Counters) -> &Counter) -> u64 {
        self.outlets.iter().map(|outlet| counter(outlet).get()).sum()
    }

    fn node_itself(&self, out: &mut Exposition<'_>) -> fmt::Result {
        let (limits, totals) = (self.node.limits(), self.node.broker.totals());
        let queued = self.sum(|counters| &counters.queued_bytes);
        out.each(BUILD_INFO, [(env!("CARGO_PKG_VERSION"), 1)])?;
        out.one(READY, u64::from(self.node.readiness().0))?;
        out.one(CONNECTIONS_MAX, self.census.connections_max())?;
        out.one(MEMORY_BUDGET, limits.memory_budget)?;
        out.one(MEMORY_USED, queued.saturating_add(totals.bytes as u64))
    }

    fn loops(&self, out: &mut Exposition<'_>) -> fmt::Result {
        let uring = self.sum(|counters| &counters.loops_uring);
        out.each(LOOPS, [("uring", uring), ("epoll", self.sum(|counters| &counters.loops_epoll))])?;
        out.one(LOOP_TURNS, self.sum(|counters| &counters.turns))?;
        out.one(LOOP_BUSY, seconds(self.sum(|counters| &counters.busy_us)))?;
        out.one(LOOP_PANICS, self.sum(|counters| &counters.panics))
    }

    fn clients(&self, out: &mut Exposition<'_>) -> fmt::Result {
        let open = [
            ("sse", self.sum(|counters| &counters.open_sse)),
            ("ws", self.sum(|counters| &counters.open_ws)),
            ("longpoll", self.sum(|counters| &counters.open_poll)),
        ];
        out.each(CONNECTIONS, open)?;
        let (all, api) = (self.census.connections(), self.census.http());
        out.each(SOCKETS, [("engine", all.saturating_sub(api) as u64), ("api", api as u64)])?;
        out.one(ACCEPTED, self.census.accepted())?;
        let mut ends = vec![("client", self.sum(|counters| &counters.ends.by_client))];
        ends.extend(by_reason(self.outlets.iter().flat_map(|outlet| outlet.ends.by_reason())));
        out.each(CLOSED, ends)?;
        out.one(ADMITTED, self.sum(|counters| &counters.admitted))?;
        out.each(REFUSALS, by_reason(self.node.turned_away.counts()))?;
        out.one(HANDED_OVER, self.sum(|counters| &counters.handed_off))?;
        out.one(ACCEPT_PAUSES, self.sum(|counters| &counters.accept_pauses))?;
        out.one(TIMEOUTS, self.sum(|counters| &counters.timeouts))?;
        out.one(PROTOCOL_ERRORS, self.sum(|counters| &counters.protocol_errors))?;
        let (connections, streams) = self.census.http2();
        out.one(HTTP2_CONNECTIONS, connections)?;
        out.one(HTTP2_STREAMS, streams)
    }

    fn messages(&self, out: &mut Exposition<'_>) -> fmt::Result {
        let tally = &self.node.tally;
        out.one(PUBLISHED, tally.publishes())?;
        out.each(PUBLISH_FAILURES, by_reason(tally.failures()))?;
        out.one(PUBLISH, tally.publish.observed())?;
        let delivered = [
            ("sse", self.sum(|counters| &counters.delivered_sse)),
            ("ws", self.sum(|counters| &counters.delivered_ws)),
            ("poll", self.sum(|counters| &counters.delivered_poll)),
        ];
        out.each(DELIVERED, delivered)?;
        let delivery = self.outlets.iter().map(|outlet| outlet.delivery.observed());
        out.one(DELIVERY, delivery.reduce(|sum, more| sum.and(&more)).unwrap_or_default())?;
        out.one(RECEIVED, self.sum(|counters| &counters.received))?;
        out.one(POSTS, self.sum(|counters| &counters.posts))?;
        out.one(ENCODED, self.sum(|counters| &counters.encoded))?;
        let gaps = [
            ("trimmed", self.sum(|counters| &counters.gaps_trimmed)),
            ("epoch", self.sum(|counters| &counters.gaps_epoch)),
            ("failover", self.sum(|counters| &counters.gaps_failover)),
            ("store_reset", self.sum(|counters| &counters.gaps_store_reset)),
            ("slow_consumer", self.sum(|counters| &counters.gaps_slow_consumer)),
            ("transient", self.sum(|counters| &counters.gaps_transient)),
        ];
        out.each(GAPS, gaps)?;
        out.one(SLOW_CONSUMERS, self.sum(|counters| &counters.slow_consumers))?;
        out.one(QUEUED, self.sum(|counters| &counters.queued_bytes))?;
        out.one(BARRIERS, self.node.broker.totals().barriers)?;
        out.one(WRITTEN, self.sum(|counters| &counters.bytes_out))?;
        out.one(WRITES, self.sum(|counters| &counters.writes))?;
        out.one(WRITE_CALLS, self.sum(|counters| &counters.write_calls))?;
        out.one(WRITES_SHORT, self.sum(|counters| &counters.writes_short))?;
        out.one(HEARTBEATS, self.sum(|counters| &counters.heartbeats))
    }

    fn history(&self, out: &mut Exposition<'_>) -> fmt::Result {
        let totals = self.node.broker.totals();
        out.one(CHANNELS, totals.channels)?;
        out.one(HISTORY_MESSAGES, totals.messages)?;
        out.one(HISTORY_BYTES, totals.bytes)?;
        out.one(KEYS, totals.keys)?;
        out.one(LOG_MESSAGES, totals.published)
    }

    fn broker(&self, out: &mut Exposition<'_>) -> fmt::Result {
        let (figures, now) = (self.node.broker.figures(), self.node.broker.state());
        if figures.is_empty() {
            out.one(BROKER_UP, 1u64)?;
        }
        let states = [State::Starting, State::Ready, State::Away, State::Deaf];
        out.each(BROKER_STATE, states.map(|state| (state.as_str(), u64::from(state == now))))?;
        let bridge = self.node.bridge.as_ref().map(|bridge| bridge.figures());
        out.one(PRESENCE_MEMBERS, self.node.presence.count())?;
        out.one(PRESENCE_UNTOLD, self.node.presence.untold())?;
        let beside = bridge.into_iter().flatten().chain(self.node.presence.figures());
        each_of(out, figures.into_iter().chain(beside))
    }

    fn rights(&self, out: &mut Exposition<'_>) -> fmt::Result {
        let now = self.node.clock.now();
        out.one(TICKETS, self.node.tally.tickets())?;
        out.one(REVOKED, self.sum(|counters| &counters.revoked))?;
        if let Some(ledger) = &self.node.ledger {
            let shared::Figures { records, malformed, dropped, reread, rewritten } = ledger.figures();
            out.one(REVOCATIONS, records)?;
            out.one(REVOCATIONS_MALFORMED, malformed)?;
            out.one(REVOCATIONS_DROPPED, dropped)?;
            out.one(REVOCATIONS_REREAD, reread)?;
            out.one(REVOCATIONS_REWRITTEN, rewritten)?;
            if let Some(silent_ms) = ledger.silent_ms(now) {
                out.one(REVOCATIONS_SILENCE, seconds(silent_ms.saturating_mul(1_000)))?;
            }
        }
        if let Some(fetching) = self.door.entrance.get().and_then(|entrance| entrance.fetching(now)) {
            if let Some(age) = fetching.age {
                out.one(JWKS_AGE, age.as_secs_f64())?;
            }
            out.one(JWKS_FETCHES, fetching.fetches)?;
            out.one(JWKS_FAILURES, fetching.failures)?;
        }
        match self.door.identities.get().and_then(|identities| identities.ends_at_s()) {
            Some(ends_at_s) => out.one(CERTIFICATE_EXPIRY, ends_at_s),
            None => Ok(()),
        }
    }
}

/// What somebody counts who knows of no table.
fn each_of(out: &mut Exposition<'_>, figures: impl IntoIterator<Item = Figure>) -> fmt::Result {
    for Figure { name, value } in figures {
        let family = of(name);
        debug_assert!(family.is_some(), "`{name}` is in no row of the table");
        if let Some(family) = family {
            out.one(family, Number::from(value))?;
        }
    }
    Ok(())
}

fn process(out: &mut Exposition<'_>) -> fmt::Result {
    let Some(process) = Process::look() else { return Ok(()) };
    out.one(PROCESS_CPU, process.cpu_ms as f64 / 1e3)?;
    out.one(PROCESS_MEMORY, process.memory_bytes)?;
    if let Some((open, most)) = crate::process::files() {
        out.one(PROCESS_FDS, open)?;
        out.one(PROCESS_MAX_FDS, most)?;
    }
    match crate::process::started_s() {
        Some(started_s) => out.one(PROCESS_START, started_s),
        None => Ok(()),
    }
}

/// Every reason with its number, those that never were included: a rate needs the zero before the first one.
fn by_reason(counts: impl Iterator<Item = (Reason, u64)>) -> Vec<(&'static str, u64)> {
    let mut sums = vec![0u64; Reason::ALL.len()];
    counts.for_each(|(reason, number)| sums[reason as usize] += number);
    Reason::ALL.iter().map(|reason| reason.code()).zip(sums).collect()
}
