//! Tidewire beside the floor, measured in one run: `cargo run --release -p tidewire-benches -- all`.
//!
//! ```text
//!   core 0                            core 1
//!   +-------------------+   POST      +----------------------------------------+
//!   | floor | tidewire  | <---------- | generator: publishers                  |
//!   | (fresh process    | ----------> |            subscribers -> stream       |
//!   |  for each round)  |  deliveries |              -> payload -> ledger      |
//!   +-------------------+             +----------------------------------------+
//!          ^ /proc/PID: CPU, memory, open files                | what went wrong, latency
//!          +------------------ meter --------------------------+----> report
//! ```
//!
//! What each figure means and how noise is tamed stands in `benches/README.md`.

#![forbid(unsafe_code)]

mod cluster;
mod crowd;
mod figure;
mod floor;
mod generator;
mod grid;
mod h2;
mod listeners;
mod meter;
mod mute;
mod nginx;
mod options;
mod peers;
mod redis;
mod report;
mod server;
mod tls;
mod wire;

use std::process::ExitCode;

use tidewire_load::{latency, ledger, payload, publisher, request, stream, subscriber, sys};

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1).peekable();
    if arguments.next_if(|command| command == "peers").is_some() {
        return match peers::run(arguments) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("error: {error}");
                ExitCode::FAILURE
            }
        };
    }
    let outcome = match options::parse(arguments) {
        Ok(options::Asked::Help) => {
            print!("{}", options::USAGE);
            return ExitCode::SUCCESS;
        }
        Ok(options::Asked::Floor { listen }) => floor::serve(listen).map(|()| true),
        Ok(options::Asked::Measure(plan)) => figure::measure(&plan),
        Err(mistake) => {
            eprintln!("{mistake}\n\n{}", options::USAGE);
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
