//! `tidewire bench`: puts a load on a server, and says what came of it and what went wrong.
//!
//! The report goes to standard output, or with `--json` the same as one object; how it gets on goes to standard error.

mod live;
mod report;

use std::time::Duration;

use clap::{Args, ValueEnum};
use tidewire_load::{Error, Plan, Transport};

use crate::args::Server;
use crate::exit::Failure;
use crate::show::{print, print_line};
use crate::target::Target;

use live::Live;

#[derive(Clone, Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Bench {
    /// How subscribers receive
    #[arg(long, value_enum, default_value_t = Over::Sse)]
    pub transport: Over,
    /// How many subscribers
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub subscribers: usize,
    /// How many channels they are spread over, each hearing one
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub channels: usize,
    /// Messages a second, over all channels in turn
    #[arg(long, value_name = "N", default_value_t = 100.0)]
    pub rate: f64,
    /// Bytes of each message
    #[arg(long, value_name = "BYTES", default_value_t = 128)]
    pub size: usize,
    /// How long is measured: 500ms, 30s, 5m
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration)]
    pub duration: Duration,
    /// How long the same goes on before
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = duration)]
    pub warm_up: Duration,
    /// From one poll of a subscriber to its next, with `--transport poll`
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = duration)]
    pub poll_interval: Duration,
    /// What the channels are called, before `:0`, `:1` and so on
    #[arg(long, value_name = "PREFIX", default_value = "bench")]
    pub channel: String,
    /// Connections that publish [default: one for a hundred messages a second, 4 to 256]
    #[arg(long, value_name = "N")]
    pub publishers: Option<usize>,
    /// Threads that read [default: half of the cores]
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
    /// The server's process, whose CPU and memory are read [default: whoever listens there, if it is on this machine]
    #[arg(long, value_name = "PROCESS")]
    pub pid: Option<u32>,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub server: Server,
}

const AFTER_HELP: &str = "\
Messages leave on a fixed schedule, whether or not the server keeps up, and latency runs from when each should have left.
Exits with 1 when anything was lost, duplicated, out of order, corrupt, cut or refused, or a gap was announced; with 75
when nobody answers.";

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Over {
    Sse,
    Ws,
    Longpoll,
    Poll,
}

pub(crate) fn run(args: &Bench) -> Result<(), Failure> {
    let plan = plan(args)?;
    let mut live = Live::new(&plan);
    let measured = tidewire_load::run(&plan, &mut |progress| live.show(progress));
    live.end();
    let measured = measured?;
    if args.json {
        print(&report::json(&plan, &measured)?)?;
    } else {
        print_line(&report::text(&plan, &measured))?;
    }
    match report::wrong(&measured.faults) {
        None => Ok(()),
        Some(wrong) => Err(Failure::Runtime(wrong)),
    }
}

fn plan(args: &Bench) -> Result<Plan, Failure> {
    let plan = Plan {
        transport: args.transport.into(),
        subscribers: args.subscribers,
        channels: args.channels,
        prefix: args.channel.clone(),
        rate: args.rate,
        payload_bytes: args.size,
        warm_up: args.warm_up,
        duration: args.duration,
        poll_interval: args.poll_interval,
        publishers: args.publishers,
        threads: args.threads,
        process: args.pid,
        ..Plan::new(load_target(&Target::of(&args.server)?)?)
    };
    // Before anything is printed.
    plan.check()?;
    Ok(plan)
}

/// The target as the generator knows it.
pub(crate) fn load_target(target: &Target) -> Result<tidewire_load::Target, Failure> {
    if target.trust.is_some() {
        let what = "load is not made over TLS: measure the server without it, or what stands in front of it";
        return Err(Failure::Usage(what.into()));
    }
    let found =
        tidewire_load::Target::resolve(&target.host, target.port, &target.authority, &target.path("", &[]))?;
    Ok(tidewire_load::Target { token: target.token.clone(), ..found })
}

impl From<Over> for Transport {
    fn from(over: Over) -> Transport {
        match over {
            Over::Sse => Transport::Sse,
            Over::Ws => Transport::WebSocket,
            Over::Longpoll => Transport::LongPoll,
            Over::Poll => Transport::ShortPoll,
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        match &error {
            Error::Plan(what) => Failure::Usage(what.clone()),
            error if error.may_pass() => Failure::TryAgain(error.to_string()),
            error => Failure::Runtime(error.to_string()),
        }
    }
}

/// Reads `500ms`, `10s`, `5m`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let unit_at = text.find(|char: char| !char.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(unit_at);
    let factor_ms = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err("write a whole number with its unit: 500ms, 10s, 5m, 1h".to_owned()),
    };
    let number: u64 = number.parse().map_err(|_| "write a number before the unit, as in 10s".to_owned())?;
    let ms = number.checked_mul(factor_ms).filter(|ms| *ms <= DURATION_MAX_MS);
    ms.map(Duration::from_millis).ok_or_else(|| "this is longer than a day".to_owned())
}

const DURATION_MAX_MS: u64 = 86_400_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_has_a_number_and_a_unit() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        for wrong in ["", "10", "s", "1.5s", "-1s", "25h", "99999999999999999999s", "10 s"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }
}
