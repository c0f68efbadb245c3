//! A run: every peer in turn, every round, each as a fresh process; then the document.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::peers::document;
use crate::peers::facts;
use crate::peers::figure::{OTHERS, OTHERS_PERCENT, SCENARIOS};
use crate::peers::options::{self, Asked, Plan, USAGE};
use crate::peers::results::{Case, Results};
use crate::peers::roster::{PEERS, Peer};
use crate::peers::scenario::{Outcome, Rows, Stage};
use crate::peers::start::{self, Started};
use crate::report::{figure, median};
use crate::server::GENERATOR_CORE;
use crate::sys;
use tidewire_load::plan::Transport;

/// Does what the arguments after `peers` ask for.
pub fn run(arguments: impl Iterator<Item = String>) -> io::Result<()> {
    match options::parse(arguments) {
        Ok(Asked::Help) => print!("{USAGE}"),
        Ok(Asked::List) => PEERS.iter().for_each(|peer| println!("{:16} {}", peer.name, peer.setup)),
        Ok(Asked::Write { from, out }) => {
            let results = Results::from_tsv(&fs::read_to_string(from)?).map_err(io::Error::other)?;
            publish(&results, &out.unwrap_or_else(docs))?;
        }
        Ok(Asked::Measure(plan)) => {
            let results = measure(&plan)?;
            let partial = || start::target().join("report");
            let out = plan.out.clone().unwrap_or_else(|| if plan.is_whole { docs() } else { partial() });
            publish(&results, &out)?;
        }
        Err(mistake) => return Err(io::Error::new(io::ErrorKind::InvalidInput, mistake)),
    }
    Ok(())
}

fn measure(plan: &Plan) -> io::Result<Results> {
    sys::raise_open_files()?;
    sys::pin_to_core(GENERATOR_CORE)?;
    let mut results = Results::default();
    results.facts = facts::gather(plan);
    for stage in [Stage::Delivery, Stage::Idle] {
        let scenarios: Vec<_> = plan.scenarios.iter().filter(|scenario| stage.has(scenario)).collect();
        if scenarios.is_empty() {
            continue;
        }
        for round in 1..=plan.rounds {
            for peer in &plan.peers {
                for transport in peer.transports.iter().filter(|one| plan.transports.contains(one)) {
                    let case = |scenario: &str| Case::new(scenario, peer.name, transport.name());
                    println!("round {round} of {}  {} {}", plan.rounds, peer.name, transport.name());
                    for (scenario, outcome) in take(stage, peer, *transport, plan, &scenarios) {
                        note(&mut results, &case(scenario), round, outcome);
                    }
                }
            }
        }
    }
    Ok(results)
}

fn take(
    stage: Stage,
    peer: &Peer,
    transport: Transport,
    plan: &Plan,
    scenarios: &[&&'static str],
) -> Vec<Outcome> {
    match Started::start(peer, transport, &plan.tidewire) {
        Ok(started) => stage.measure(peer, &started, plan),
        Err(error) => {
            let failure = |scenario: &&&'static str| {
                (**scenario, Err(io::Error::other(format!("does not start: {error}"))))
            };
            scenarios.iter().map(failure).collect()
        }
    }
}

/// Writes an outcome down, and says it.
fn note(results: &mut Results, case: &Case, round: usize, outcome: io::Result<Rows>) {
    match outcome {
        Ok(rows) => {
            for (name, value) in &rows {
                results.add(case, round, name, *value);
            }
            println!("  {:12}{}", case.scenario, sentence(&case.scenario, &rows));
        }
        Err(error) => {
            // Where a thing lies on this machine says nothing to others.
            let root = start::source().join("..");
            let root = root.canonicalize().unwrap_or(root).display().to_string();
            let reason = error.to_string().replace(&root, ".");
            println!("  {:12}{reason}", case.scenario);
            results.fail(case, &reason);
        }
    }
}

/// The figures that a table has, in one line.
fn sentence(scenario: &str, rows: &Rows) -> String {
    let figures = SCENARIOS.iter().filter(|one| one.name == scenario).flat_map(|one| one.figures);
    let mut parts: Vec<String> = figures
        .filter_map(|column| {
            let (_, value) = rows.iter().find(|(name, _)| *name == column.name)?;
            Some(format!("{} {}", column.name, figure(*value)))
        })
        .collect();
    let taken: Vec<f64> = rows.iter().filter(|(name, _)| *name == OTHERS).map(|(_, value)| *value).collect();
    if median(&taken).is_some_and(|taken| taken > OTHERS_PERCENT) {
        parts.push("(a core was taken by others)".to_owned());
    }
    parts.join("  ")
}

/// Writes the document, its charts and the raw figures.
fn publish(results: &Results, out: &Path) -> io::Result<()> {
    let charts = out.join("benchmarks");
    fs::create_dir_all(&charts)?;
    let document = out.join("benchmarks.md");
    let remarks = document::remarks(&fs::read_to_string(&document).unwrap_or_default());
    fs::write(&document, document::write(results, &remarks))?;
    fs::write(out.join("benchmarks.tsv"), results.to_tsv())?;
    for (name, picture) in document::charts(results) {
        fs::write(charts.join(name), picture)?;
    }
    println!("\nwritten: {}", document.display());
    Ok(())
}

fn docs() -> PathBuf {
    start::source().join("../docs")
}
