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

#![deny(unsafe_code)]

mod cluster;
mod crowd;
mod figure;
mod floor;
mod generator;
mod grid;
mod latency;
mod ledger;
mod meter;
mod options;
mod payload;
mod publisher;
mod redis;
mod report;
mod server;
mod sse;
mod stream;
mod subscriber;
#[allow(unsafe_code)]
mod sys;
mod websocket;

use std::process::ExitCode;

fn main() -> ExitCode {
    let outcome = match options::parse(std::env::args().skip(1)) {
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
