//! The command line of `peers`.

use std::path::PathBuf;
use std::time::Duration;

use crate::peers::figure::SCENARIOS;
use crate::peers::roster::{PEERS, Peer};
use tidewire_load::plan::Transport;

/// What `peers --help` prints.
pub const USAGE: &str = "\
Tidewire beside its peers, measured in one run. `cargo xtask bench peers` installs what it needs first.

usage: tidewire-benches peers [OPTIONS]

options
  --only NAME,…          these peers; --list names them
  --scenario NAME,…      fan, saturate (four and sixteen outstanding), channels, idle; all
  --transport sse|ws     both
  --rounds N             3: each round measures every peer once, in turn
  --seconds N            for every scenario; without it 3 for fan, 1.2 for saturate and channels
  --subscribers N        1000, for fan and saturate
  --connections N        15000, for idle
  --quick                one round, 1 second, 2000 connections: whether everything works
  --binary PATH          tidewire beside this binary
  --out FOLDER           where benchmarks.md, benchmarks.tsv and the charts go: docs after a whole run,
                         target/peers/report after any other
  --from FILE            measure nothing; write the document again from the raw figures of a run
  --list                 names the peers

A peer that does not start, or cannot do a scenario, is a row that says so.
";

/// What was asked.
#[derive(Debug)]
pub enum Asked {
    /// Print the usage.
    Help,
    /// Name the peers.
    List,
    /// Write the document from raw figures.
    Write {
        /// The raw figures.
        from: PathBuf,
        /// Where the document goes.
        out: Option<PathBuf>,
    },
    /// Measure.
    Measure(Plan),
}

/// What to measure.
#[derive(Debug)]
pub struct Plan {
    /// In the order of a round.
    pub peers: Vec<&'static Peer>,
    /// By name, in the order of the document.
    pub scenarios: Vec<&'static str>,
    /// In this order.
    pub transports: Vec<Transport>,
    /// How often everything is measured.
    pub rounds: usize,
    /// How long fan takes.
    pub fan: Duration,
    /// How long saturate and channels take.
    pub press: Duration,
    /// Of fan and saturate.
    pub subscribers: usize,
    /// Of idle.
    pub connections: usize,
    /// The server under test.
    pub tidewire: PathBuf,
    /// Where the document goes.
    pub out: Option<PathBuf>,
    /// Whether it is a run to publish: everybody and everything, at full length.
    pub is_whole: bool,
}

/// Reads the arguments after `peers`. The error is a sentence for the user.
pub fn parse(arguments: impl Iterator<Item = String>) -> Result<Asked, String> {
    let mut arguments = arguments;
    let mut plan = Plan::default();
    let mut from = None;
    while let Some(name) = arguments.next() {
        match name.as_str() {
            "-h" | "--help" => return Ok(Asked::Help),
            "--list" => return Ok(Asked::List),
            "--quick" => {
                plan.narrow(|plan| {
                    plan.rounds = 1;
                    (plan.fan, plan.press) = (Duration::from_secs(1), Duration::from_secs(1));
                    plan.connections = 2_000;
                });
                continue;
            }
            _ => {}
        }
        let value = arguments.next().ok_or_else(|| format!("{name} needs a value"))?;
        match name.as_str() {
            "--binary" => plan.tidewire = PathBuf::from(value),
            "--out" => plan.out = Some(PathBuf::from(value)),
            "--from" => from = Some(PathBuf::from(value)),
            "--only" => {
                let peers = value.split(',').map(peer_named).collect::<Result<_, _>>()?;
                plan.narrow(|plan| plan.peers = peers);
            }
            "--scenario" => {
                let scenarios = scenarios(&value)?;
                plan.narrow(|plan| plan.scenarios = scenarios);
            }
            "--transport" => {
                let one = [Transport::Sse, Transport::WebSocket].into_iter().find(|one| one.name() == value);
                let one = one.ok_or_else(|| format!("--transport does not know {value:?}"))?;
                plan.narrow(|plan| plan.transports = vec![one]);
            }
            // More rounds are as good as three.
            "--rounds" => {
                plan.rounds = count(&name, &value)?;
                plan.is_whole &= plan.rounds >= 3;
            }
            "--seconds" => {
                let seconds = Duration::from_secs(count(&name, &value)? as u64);
                plan.is_whole &= seconds >= plan.fan;
                (plan.fan, plan.press) = (seconds, seconds);
            }
            "--subscribers" => {
                let subscribers = count(&name, &value)?;
                plan.narrow(|plan| plan.subscribers = subscribers);
            }
            "--connections" => {
                let connections = count(&name, &value)?;
                plan.narrow(|plan| plan.connections = connections);
            }
            _ => return Err(format!("there is no option {name}")),
        }
    }
    Ok(match from {
        Some(from) => Asked::Write { from, out: plan.out },
        None => Asked::Measure(plan),
    })
}

impl Plan {
    fn narrow(&mut self, change: impl FnOnce(&mut Plan)) {
        change(self);
        self.is_whole = false;
    }
}

impl Default for Plan {
    fn default() -> Plan {
        // Cargo puts both binaries into one directory.
        let beside = std::env::current_exe().ok().and_then(|path| Some(path.parent()?.join("tidewire")));
        Plan {
            peers: PEERS.iter().filter(|peer| peer.is_default).collect(),
            scenarios: SCENARIOS.iter().map(|scenario| scenario.name).collect(),
            transports: vec![Transport::Sse, Transport::WebSocket],
            rounds: 3,
            fan: Duration::from_secs(3),
            press: Duration::from_millis(1_200),
            subscribers: 1_000,
            connections: 15_000,
            tidewire: beside.unwrap_or_else(|| PathBuf::from("tidewire")),
            out: None,
            is_whole: true,
        }
    }
}

fn peer_named(name: &str) -> Result<&'static Peer, String> {
    let known = || PEERS.iter().map(|peer| peer.name).collect::<Vec<_>>().join(", ");
    PEERS
        .iter()
        .find(|peer| peer.name == name)
        .ok_or_else(|| format!("there is no peer {name:?}, only {}", known()))
}

fn scenarios(value: &str) -> Result<Vec<&'static str>, String> {
    let asked: Vec<&str> = value.split(',').collect();
    let begins = |name: &str, word: &str| name == word || name.starts_with(&format!("{word}-"));
    for word in &asked {
        if !SCENARIOS.iter().any(|scenario| begins(scenario.name, word)) {
            return Err(format!("there is no scenario {word:?}"));
        }
    }
    let names = SCENARIOS.iter().map(|scenario| scenario.name);
    Ok(names.filter(|name| asked.iter().any(|word| begins(name, word))).collect())
}

fn count(name: &str, value: &str) -> Result<usize, String> {
    match value.parse() {
        Ok(0) | Err(_) => Err(format!("{name} cannot be {value:?}")),
        Ok(count) => Ok(count),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(line: &str) -> Plan {
        match parse(line.split_ascii_whitespace().map(str::to_owned)) {
            Ok(Asked::Measure(plan)) => plan,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn only_everybody_and_everything_at_full_length_is_a_run_to_publish() {
        assert!(plan("").is_whole && plan("--rounds 5").is_whole);
        for line in ["--quick", "--rounds 1", "--only ws", "--scenario fan", "--transport ws", "--seconds 1"]
        {
            assert!(!plan(line).is_whole, "{line}");
        }
    }

    #[test]
    fn saturate_means_four_and_sixteen_outstanding() {
        assert_eq!(plan("--scenario saturate,idle").scenarios, ["saturate-4", "saturate-16", "idle"]);
        assert_eq!(plan("--scenario saturate-16").scenarios, ["saturate-16"]);
    }

    #[test]
    fn what_is_unknown_missing_or_zero_is_refused() {
        for line in ["--fast", "--only", "--only caddy", "--scenario sat", "--rounds 0", "--transport tcp"] {
            assert!(parse(line.split_ascii_whitespace().map(str::to_owned)).is_err(), "{line}");
        }
    }
}
