//! What the figures of a cluster share: messages on a schedule that waits for nobody, and what they cost everybody.

use std::io;
use std::time::Duration;

use crate::cluster::{Cluster, Costs, Meters};
use crate::crowd::{Crowd, Layer};
use crate::report::{OTHERS, Round};

/// The schedule.
#[derive(Clone, Copy, Debug)]
pub struct OpenLoop {
    /// Messages a second, over all channels in turn.
    pub rate: u64,
    /// How long it is measured.
    pub seconds: u64,
    /// Channels.
    pub channels: usize,
}

/// What it came to.
pub struct Measured {
    /// Its rows begin with costs; latencies and faults are in it.
    pub round: Round,
    /// What was spent.
    pub costs: Costs,
    /// Messages published while it was measured.
    pub messages: f64,
}

/// Rows that verdicts are made of.
pub const P99: &str = "latency ms, p99";
/// As above.
pub const NODES_BUSY: &str = "nodes' core busy, %";
/// As above.
pub const GENERATOR_BUSY: &str = "core of Redis and generator busy, %";
/// As above.
pub const REDIS_CPU: &str = "Redis CPU s per million publishes";

/// More than can be unanswered at a healthy node; with none idle a message leaves late, and its latency says so.
const PUBLISHERS: usize = 64;
/// Once nothing has arrived for this long, what is missing is lost.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between joining and the first message.
const SETTLE_NS: u64 = 300_000_000;
/// At the rate that is measured.
const WARM_UP_NS: u64 = 1_000_000_000;
/// Messages a second, where there are more channels than that: each has been published to before anything is measured.
const WARM_UP_RATE: u64 = 5_000;

impl OpenLoop {
    /// Publishes at the first node, for `layers` of listeners.
    pub fn run(&self, cluster: &Cluster, layers: &[Layer]) -> io::Result<Measured> {
        let entrance =
            cluster.nodes.first().ok_or_else(|| io::Error::other("a cluster without nodes"))?.address;
        let mut crowd = Crowd::new(entrance, self.channels, layers)?;
        crowd.gather(PUBLISHERS)?;
        let mut due_ns = crowd.now_ns() + SETTLE_NS;
        let channels = self.channels as u64;
        if channels > self.rate {
            let until_ns = due_ns + channels * 1_000_000_000 / WARM_UP_RATE.max(self.rate);
            due_ns = crowd.publish_at(WARM_UP_RATE.max(self.rate), due_ns, until_ns, |_| false)?;
        }
        due_ns = crowd.publish_at(self.rate, due_ns, due_ns + WARM_UP_NS, |_| false)?;
        crowd.end_warm_up();
        let (before, flushed) = (Meters::read(cluster)?, flushes(cluster));
        let published = crowd.tally().published;
        crowd.publish_at(self.rate, due_ns, due_ns + self.seconds * 1_000_000_000, |_| false)?;
        let (after, messages) = (Meters::read(cluster)?, (crowd.tally().published - published) as f64);
        let flushes = flushes(cluster) - flushed;
        crowd.drain(PATIENCE)?;
        let tally = crowd.tally();
        let costs = before.spent_until(&after);
        let mut round = Round::new(tally.faults());
        let quantile = |share| tally.latency.quantile_ms(share, round.faults.wrong.lost);
        let latencies = if layers.is_empty() {
            Vec::new()
        } else {
            vec![quantile(0.5), quantile(0.99), quantile(0.999), quantile(1.0)]
        };
        for (label, value) in
            ["latency ms, p50", P99, "latency ms, p99.9", "latency ms, max"].iter().zip(latencies)
        {
            round.row(label, value);
        }
        if cluster.redis.is_some() {
            round.row("messages per flush", messages / flushes);
            round.row(REDIS_CPU, costs.redis_s * 1e6 / messages);
        }
        round.row("CPU s per million, node that publishes", costs.nodes_s[0] * 1e6 / messages);
        Ok(Measured { round, costs, messages })
    }
}

impl Measured {
    /// Adds the rows that tell how busy the cores were, and gives the whole round.
    pub fn into_round(mut self) -> Round {
        self.round.row("messages per second", self.messages / self.costs.wall_s);
        self.round.row(NODES_BUSY, self.costs.nodes_percent());
        self.round.row(GENERATOR_BUSY, self.costs.others_core_percent());
        self.round.row(OTHERS, self.costs.others_percent());
        self.round
    }
}

fn flushes(cluster: &Cluster) -> f64 {
    cluster.nodes.first().and_then(|node| node.counter("tidewire_broker_flushes_total")).unwrap_or(f64::NAN)
}
