//! Runs the simulation: many seeds, one seed, or the mutants.

use std::process::ExitCode;

use tidewire_sim::cluster::{self, world::Fault};
use tidewire_sim::mutant::Mutant;
use tidewire_sim::tally::Tally;
use tidewire_sim::world::{self, Failure};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        arguments.get(at + 1)?.parse::<u64>().ok()
    };
    let known = ["--seeds", "--seed", "--from", "--steps", "--mutants", "--redis"];
    if arguments.iter().any(|argument| argument.starts_with('-') && !known.contains(&argument.as_str())) {
        eprintln!("usage: tidewire-sim [--seeds N] [--from N] [--seed N] [--steps N] [--mutants] [--redis]");
        return ExitCode::from(2);
    }
    let steps = number("--steps").map_or(STEPS, |steps| usize::try_from(steps).unwrap_or(STEPS));
    // What panics inside a run is told with its seed, once.
    std::panic::set_hook(Box::new(|_| {}));
    let redis = arguments.iter().any(|argument| argument == "--redis");
    if arguments.iter().any(|argument| argument == "--mutants") {
        if redis {
            return faults(number("--seeds").unwrap_or(200), steps);
        }
        return mutants(number("--seeds").unwrap_or(200), steps);
    }
    let seeds = match number("--seed") {
        Some(seed) => seed..seed + 1,
        None => {
            let from = number("--from").unwrap_or(0);
            from..from + number("--seeds").unwrap_or(200)
        }
    };
    many(seeds, steps, redis)
}

/// Things that happen in one run.
const STEPS: usize = 3_000;

/// Failures that are told with their story; the rest are counted.
const STORIES: u64 = 3;

fn many(seeds: std::ops::Range<u64>, steps: usize, redis: bool) -> ExitCode {
    let tally = Tally::default();
    let (mut passed, mut failed) = (0, 0);
    for seed in seeds {
        let outcome = if redis {
            cluster::world::run(seed, steps, None, &tally)
        } else {
            world::run(seed, steps, None, &tally)
        };
        match outcome {
            Ok(()) => passed += 1,
            Err(Failure { seed, violation, story }) => {
                failed += 1;
                println!("seed {seed}: {violation}");
                if failed <= STORIES {
                    print!("{story}");
                }
            }
        }
    }
    print!("{tally}");
    println!("{passed} passed, {failed} failed");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn mutants(seeds: u64, steps: usize) -> ExitCode {
    let mut missed = 0;
    for mutant in Mutant::ALL {
        let caught =
            (0..seeds).find_map(|seed| world::run(seed, steps, Some(mutant), &Tally::default()).err());
        match caught {
            Some(Failure { seed, violation, .. }) => {
                let name = format!("{mutant:?}");
                println!("{name:16} caught after {:>3} seeds: invariant {violation}", seed + 1);
            }
            None => {
                missed += 1;
                println!("{mutant:?} was not caught by {seeds} seeds");
            }
        }
    }
    println!("{} passed, {missed} failed", Mutant::ALL.len() - missed);
    if missed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn faults(seeds: u64, steps: usize) -> ExitCode {
    let mut missed = 0;
    for fault in Fault::ALL {
        let run = |seed| cluster::world::run(seed, steps, Some(fault), &Tally::default()).err();
        match (0..seeds).find_map(run) {
            Some(Failure { seed, violation, .. }) => {
                println!(
                    "{:16} caught after {:>3} seeds: invariant {violation}",
                    format!("{fault:?}"),
                    seed + 1
                );
            }
            None => {
                missed += 1;
                println!("{fault:?} was not caught by {seeds} seeds");
            }
        }
    }
    println!("{} passed, {missed} failed", Fault::ALL.len() - missed);
    if missed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
