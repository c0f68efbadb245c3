//! The call: once a second, over the link that nodes have beside the log.

use std::sync::Arc;
use std::time::Duration;

use redis::{Cmd, Value};
use tidewire_broker::redis::{Aside, Error};
use tokio::time::{MissedTickBehavior, interval};

use super::super::names::Names;
use super::meter::Meter;
use super::rounds::{Line, Rounds};
use super::share::{INTERVAL_MS, Told};
use crate::clock::Clock;

/// How long Redis remembers a key that nobody tells of: longer than a few rounds that failed.
const KEPT_MS: u64 = 10_000;

/// Nodes of which is read: what others there may be is left out.
const NODES_MAX: usize = 256;

/// The limits that nodes share.
#[derive(Clone, Debug)]
pub struct Rates {
    meter: Arc<Meter>,
}

impl Rates {
    /// Nothing has been used yet.
    #[must_use]
    pub fn new() -> Rates {
        Rates { meter: Arc::new(Meter::new()) }
    }

    pub(crate) fn meter(&self) -> Arc<Meter> {
        self.meter.clone()
    }

    /// Tells and asks once a second, as `node`, which no other node is called; never returns. A round that fails is passed
    /// over: what it would have told comes with the next one.
    pub async fn report(self, aside: Aside, names: Names, node: u64, clock: Clock) {
        let mut rounds = Rounds::default();
        let mut seconds = interval(Duration::from_millis(INTERVAL_MS));
        seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut failing = false;
        loop {
            seconds.tick().await;
            let outcome = self.round(&mut rounds, &aside, &names, node, &clock).await;
            match &outcome {
                Ok(()) if failing => tracing::info!("limits hold for all nodes together again"),
                Err(error) if !failing => tracing::warn!(%error, "limits hold for each node by itself"),
                _ => {}
            }
            failing = outcome.is_err();
        }
    }

    async fn round(
        &self,
        rounds: &mut Rounds,
        aside: &Aside,
        names: &Names,
        node: u64,
        clock: &Clock,
    ) -> Result<(), Error> {
        let lines = rounds.tell(&self.meter, clock.now());
        let commands: Vec<Cmd> = lines.iter().flat_map(|line| commands(line, names, node)).collect();
        let answers = aside.ask(&commands).await?;
        let now = clock.now();
        for (line, answers) in lines.iter().zip(answers.chunks_exact(COMMANDS)) {
            // Otherwise something else has this name: this key has the node's own limit.
            if let Value::Map(fields) = &answers[COMMANDS - 1] {
                rounds.hear(&self.meter, &line.key, others(fields, node), now);
            }
        }
        Ok(())
    }
}

impl Default for Rates {
    fn default() -> Rates {
        Rates::new()
    }
}

/// What is asked for one key.
const COMMANDS: usize = 4;

fn commands(line: &Line, names: &Names, node: u64) -> [Cmd; COMMANDS] {
    let name = names.rate(&line.key.digest());
    let command = |word: &str| {
        let mut command = redis::cmd(word);
        command.arg(&name);
        command
    };
    let [mut tell, mut forget, mut keep, ask] = ["HSET", "HDEL", "PEXPIRE", "HGETALL"].map(command);
    tell.arg(field(node)).arg(line.told.write());
    // At least one has to be named; no node is called by no name.
    forget.arg("");
    for node in &line.silent {
        forget.arg(field(*node));
    }
    keep.arg(KEPT_MS);
    [tell, forget, keep, ask]
}

fn field(node: u64) -> String {
    format!("{node:016x}")
}

/// What other nodes told, as far as it can be read (fault F33).
fn others(fields: &[(Value, Value)], own: u64) -> impl Iterator<Item = (u64, Told)> {
    let read = move |(node, told): &(Value, Value)| {
        let (Value::BulkString(node), Value::BulkString(told)) = (node, told) else { return None };
        let node = u64::from_str_radix(std::str::from_utf8(node).ok()?, 16).ok()?;
        (node != own).then_some((node, Told::read(told)?))
    };
    fields.iter().take(NODES_MAX).filter_map(read)
}
