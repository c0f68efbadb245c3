//! Runs the fault campaign, and prints what came of it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use tidewire_faults::campaign::{self, Plan};
use tidewire_faults::cluster::Shape;
use tidewire_faults::faults::FAULTS;
use tidewire_faults::server::Durability;

const USAGE: &str = "usage: tidewire-faults [--seconds N | --rounds N] [--round-seconds N] [--seed N] [--only F5,F8] \
                     [--cluster memory|alone|pair|sentinels] [--binary PATH] [--list]";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|argument| argument == "--list") {
        FAULTS.iter().for_each(|fault| println!("{:5} {}", fault.number, fault.name));
        return ExitCode::SUCCESS;
    }
    let Some(plan) = plan(&arguments) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    println!("seed {}", plan.seed);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let tally = match runtime {
        Ok(runtime) => runtime.block_on(campaign::run(&plan)),
        Err(error) => {
            eprintln!("no runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    let mut told = BTreeMap::new();
    for (seed, violation) in &tally.violations {
        let count: &mut usize = told.entry(violation.invariant).or_default();
        *count += 1;
        if *count <= STORIES {
            println!("seed {seed}: {violation}");
        }
    }
    println!("{tally}");
    let failures = tally.failures();
    failures.iter().for_each(|failure| println!("FAILED: {failure}"));
    let failed = failures.len();
    println!("{} passed, {failed} failed", u64::from(failed == 0) * tally.injected().max(1));
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Violations of each invariant that are told with their story; the rest are counted.
const STORIES: usize = 4;

fn plan(arguments: &[String]) -> Option<Plan> {
    let binary =
        std::env::var_os("TIDEWIRE_BIN").map_or_else(|| "target/release/tidewire".into(), PathBuf::from);
    let seed = std::time::UNIX_EPOCH.elapsed().map_or(1, |since| since.as_secs());
    let mut plan =
        Plan { seed, seconds: 600, rounds: None, round_seconds: 60, only: Vec::new(), shape: None, binary };
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        let value = words.next()?;
        match word.as_str() {
            "--seconds" => plan.seconds = value.parse().ok()?,
            "--rounds" => plan.rounds = Some(value.parse().ok()?),
            "--round-seconds" => plan.round_seconds = value.parse().ok()?,
            "--seed" => plan.seed = value.parse().ok()?,
            "--binary" => plan.binary = value.into(),
            "--only" => plan.only = value.split(',').map(str::to_owned).collect(),
            "--cluster" => plan.shape = Some(shape(value)?),
            _ => return None,
        }
    }
    let known = |number: &String| FAULTS.iter().any(|fault| fault.number == number);
    plan.binary = std::path::absolute(&plan.binary).ok()?;
    plan.only.iter().all(known).then_some(plan)
}

fn shape(name: &str) -> Option<Shape> {
    Some(match name {
        "memory" => Shape::Memory,
        "alone" => Shape::Alone(Durability::EverySecond),
        "alone-always" => Shape::Alone(Durability::Always),
        "alone-none" => Shape::Alone(Durability::None),
        "pair" => Shape::Pair,
        "sentinels" => Shape::Sentinels,
        _ => return None,
    })
}
