//! What a fault may lay hands on.

use std::io;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::cause::Cause;
use crate::cluster::Cluster;
use crate::publisher::Publisher;
use crate::rng::Rng;
use crate::run::Run;

/// A cluster under load, and chance.
#[derive(Debug)]
pub struct Stage {
    /// The cluster.
    pub cluster: Cluster,
    /// The run.
    pub run: Run,
    /// Chance.
    pub rng: Rng,
    /// Channels that the load uses.
    pub channels: Vec<String>,
    /// What faults have seen of their own effect.
    pub seen: u64,
    floods: u64,
    /// A server that is to come back once the fault has healed.
    pub(super) dead: Option<usize>,
}

impl Stage {
    /// A stage over a cluster.
    #[must_use]
    pub fn new(cluster: Cluster, run: Run, rng: Rng, channels: Vec<String>) -> Stage {
        Stage { cluster, run, rng, channels, seen: 0, floods: 0, dead: None }
    }

    /// What is left to do when a fault has healed and everybody has felt that.
    ///
    /// # Errors
    /// It could not be done.
    pub async fn aftermath(&mut self) -> io::Result<()> {
        super::store::aftermath(self).await
    }

    /// Writes down what is done.
    pub(super) fn note(&self, what: impl Into<String>) {
        let now = self.run.now();
        self.run.ledger().note(now, what);
    }

    /// A cause begins.
    pub(super) fn cause(&self, cause: Cause) -> usize {
        let now = self.run.now();
        self.run.ledger().cause(cause, now)
    }

    /// A cause ends.
    pub(super) fn cause_ends(&self, number: usize) {
        let now = self.run.now();
        self.run.ledger().cause_ends(number, now);
    }

    /// Lets a random time pass.
    pub(super) async fn while_it_lasts(&mut self, low_ms: u64, high_ms: u64) {
        sleep(Duration::from_millis(self.rng.range(low_ms, high_ms))).await;
    }

    /// Some node, by number.
    pub(super) fn some_node(&mut self) -> usize {
        self.rng.below(self.cluster.nodes.len())
    }

    /// Publishes many long messages on some channel, four at a time, and waits until that is done.
    pub(super) async fn flood(&mut self, messages: u64, bytes_min: usize) {
        let channels = vec![self.rng.pick(&self.channels).clone()];
        self.note(format!("{messages} messages of {bytes_min} bytes and more on {}", channels[0]));
        let mut tasks = JoinSet::new();
        for _ in 0..4 {
            self.floods += 1;
            let flood = Publisher {
                name: format!("flood{}", self.floods),
                channels: channels.clone(),
                rest: Duration::ZERO,
                bytes_min,
                bytes_max: 62_000,
                most: Some(messages / 4),
            };
            tasks.spawn(flood.run(self.run.clone(), self.rng.fork()));
        }
        tasks.join_all().await;
    }
}
