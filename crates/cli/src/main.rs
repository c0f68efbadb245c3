//! The binary `tidewire`: a server, and what one types to talk to it.

#![deny(unsafe_code)]

#[cfg(not(target_env = "msvc"))]
mod allocator;
mod args;
mod backoff;
#[cfg(target_os = "linux")]
mod bench;
mod check;
#[cfg(target_os = "linux")]
mod compare;
mod completions;
mod config;
mod doctor;
mod exit;
mod get;
mod healthcheck;
mod history;
mod http;
mod init;
mod keygen;
mod log;
mod man;
mod presence;
mod proxy_config;
mod publish;
#[cfg(all(test, target_os = "linux"))]
mod reference;
mod serve;
mod show;
mod sse;
mod subscribe;
mod target;
mod ticket;
mod tls;
mod token;
mod top;
mod traces;
mod ws;

use clap::Parser as _;

use args::{Cli, Command};

fn main() -> std::process::ExitCode {
    let Cli { command, serve } = Cli::parse();
    let outcome = match command {
        None => serve::run(&serve),
        Some(Command::Serve(serve)) => serve::run(&serve),
        Some(Command::Pub(publish)) => exit::block_on(publish::run(publish)),
        Some(Command::Sub(subscribe)) => exit::block_on(subscribe::run(subscribe)),
        Some(Command::History(history)) => exit::block_on(history::run(history)),
        Some(Command::Presence(presence)) => exit::block_on(presence::run(presence)),
        #[cfg(target_os = "linux")]
        Some(Command::Bench(bench)) => bench::run(&bench),
        Some(Command::Keygen(keygen)) => keygen::run(&keygen),
        Some(Command::Token(token)) => token::run(token),
        Some(Command::Ticket(ticket)) => exit::block_on(ticket::run(ticket)),
        Some(Command::Top(top)) => exit::block_on(top::run(top)),
        Some(Command::Init(init)) => init::run(&init),
        Some(Command::Check(check)) => check::run(&check),
        Some(Command::Config(config)) => config::run(&config),
        #[cfg(target_os = "linux")]
        Some(Command::Compare(asked)) => compare::run(&asked),
        Some(Command::Doctor(asked)) => exit::block_on(doctor::run(asked)),
        Some(Command::ProxyConfig(asked)) => proxy_config::run(&asked),
        Some(Command::Healthcheck(asked)) => healthcheck::run(&asked),
        Some(Command::Completions(asked)) => completions::run(&asked),
        Some(Command::Man(asked)) => man::run(&asked),
    };
    exit::code(outcome)
}
