//! The life of a node in four log lines, with the figures that matter: started, ready, draining, ended. Outside dev mode they are
//! written whatever `log` says.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::census::Census;
use crate::config::Settings;
use crate::drain::Ending;
use crate::node::Node;

/// The process has begun, and listens.
pub(crate) fn started(settings: &Settings, address: SocketAddr, admin: Option<SocketAddr>) {
    let (version, process) = (env!("CARGO_PKG_VERSION"), std::process::id());
    let admin = admin.unwrap_or(address);
    let broker = if settings.broker.url.is_some() { "redis" } else { "memory" };
    let (tls, dev) = (settings.tls.is_on(), settings.dev);
    tracing::info!(version, process, %address, %admin, broker, tls, dev, "started");
}

/// Everything runs.
pub(crate) fn ready(node: &Node, loops: usize, since: Instant) {
    let limits = node.limits();
    let (connections_max, memory_budget) = (limits.connections_max, limits.memory_budget);
    let after_ms = millis(since.elapsed());
    tracing::info!(after_ms, loops, connections_max, memory_budget, "ready");
}

/// It was told to end.
pub(crate) fn draining(node: &Node, census: &Census, within: Duration) {
    let (connections, within_ms) = (census.connections(), millis(within));
    let channels = node.broker.totals().channels;
    tracing::info!(connections, channels, within_ms, "draining");
}

/// It ends.
pub(crate) fn ended(node: &Node, census: &Census, ending: Ending, since: Instant) {
    let (how, left) = (ending.as_str(), census.connections());
    let (took_ms, published) = (millis(since.elapsed()), node.tally.publishes());
    let uptime_s = node.clock.now().monotonic_ms / 1_000;
    tracing::info!(how, took_ms, left, uptime_s, published, "ended");
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
