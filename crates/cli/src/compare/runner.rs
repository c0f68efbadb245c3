//! Takes the measurements, one after the other, and hands out what follows from them.

use std::io::{IsTerminal as _, Write as _};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tidewire_load::{Measured, Phase, Plan, Progress};
use tidewire_server::private::Private;

use super::args::Compare;
use super::rounds::gathered;
use super::{report, table};
use crate::args::Server;
use crate::bench::load_target;
use crate::exit::Failure;
use crate::show::print;
use crate::target::Target;
use tidewire_compare::case::work_out;
use tidewire_compare::comparison::{Comparison, Setting};
use tidewire_compare::measurement::{Cost, Faults, Latency, Measurement, Transport};
use tidewire_compare::numbers::{count, per_second, plural};
use tidewire_compare::verdict::judge;

/// Before anything is measured, at the same rate.
const WARM_UP: Duration = Duration::from_secs(1);

pub(crate) fn run(args: &Compare) -> Result<(), Failure> {
    // A report that cannot be written is better known now than after minutes.
    if let Some(path) = &args.out {
        let opened = std::fs::OpenOptions::new().create(true).append(true).open(path);
        opened.map_err(|error| cannot_write(path, &error))?;
    }
    let began = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let comparison = Comparison { setting: setting(args, began.as_secs()), runs: measure(args)? };
    if let Some(path) = &args.out {
        std::fs::write(path, report::page(&comparison)).map_err(|error| cannot_write(path, &error))?;
    }
    if args.json {
        print(format!("{}\n", as_json(&comparison)).as_bytes())?;
    } else {
        print(table::draw(&comparison).as_bytes())?;
    }
    if let Some(path) = &args.out {
        eprintln!("report: {}", path.display());
    }
    if comparison.is_clean() {
        return Ok(());
    }
    Err(Failure::Runtime("something was lost, repeated, refused or cut off: see the tables".into()))
}

/// Every transport in turn, and that as often as there are rounds, so that what drifts on the machine drifts for all.
fn measure(args: &Compare) -> Result<Vec<Measurement>, Failure> {
    let all = args.rate.len() * args.clients.len() * args.transport.len() * args.rounds as usize;
    eprintln!("{}, about {} in all", plural(all as u64, "run"), minutes(args));
    let mut runs = Vec::new();
    let mut number = 0;
    for &rate in &args.rate {
        for &clients in &args.clients {
            let mut rounds = vec![Vec::new(); args.transport.len()];
            for _ in 0..args.rounds {
                for (&transport, measured) in args.transport.iter().zip(&mut rounds) {
                    number += 1;
                    let watch = Watch::new(format!(
                        "{number} of {all}: {}, {} clients, {}",
                        transport.name(),
                        count(f64::from(clients)),
                        per_second(rate)
                    ));
                    measured.push(measure_one(args, transport, clients, rate, watch)?);
                }
            }
            runs.extend(rounds.iter().filter_map(|measured| gathered(measured)));
        }
    }
    Ok(runs)
}

fn measure_one(
    args: &Compare,
    transport: Transport,
    clients: u32,
    rate: f64,
    mut watch: Watch,
) -> Result<Measurement, Failure> {
    let (private, server) = match &args.url {
        Some(url) => (None, Server { url: url.clone(), token: args.token.clone(), ..Server::default() }),
        None => {
            let private = Private::start(&[]).map_err(|error| cannot_start(&error))?;
            let server = Server { url: private.url.clone(), ..Server::default() };
            (Some(private), server)
        }
    };
    let target = load_target(&Target::of(&server)?)?;
    let target = tidewire_load::Target { head: head(args.head_bytes as usize), ..target };
    let plan = Plan {
        transport: of_load(transport),
        subscribers: clients as usize,
        channels: 1,
        prefix: "compare".into(),
        rate,
        payload_bytes: args.size as usize,
        warm_up: warm_up(args, transport),
        duration: Duration::from_secs(u64::from(args.seconds)),
        poll_interval: args.poll_interval,
        process: private.as_ref().map(|private| private.process),
        ..Plan::new(target)
    };
    let measured = tidewire_load::run(&plan, &mut |progress| watch.show(progress))?;
    Ok(taken(transport, rate, &measured))
}

/// How long it all takes.
fn minutes(args: &Compare) -> String {
    // To start a server, to join, and to wait for the last message.
    const AROUND: Duration = Duration::from_secs(1);
    let measured = Duration::from_secs(u64::from(args.seconds));
    let each: Duration = args.transport.iter().map(|&one| warm_up(args, one) + measured + AROUND).sum();
    let times = args.rate.len() * args.clients.len() * args.rounds as usize;
    let whole_s = each.as_secs_f64() * times as f64;
    if whole_s < 90.0 {
        plural(whole_s.ceil() as u64, "second")
    } else {
        plural((whole_s / 60.0).ceil() as u64, "minute")
    }
}

/// A poll brings what came since the last one. The first of a client to be measured must not bring less than any other.
fn warm_up(args: &Compare, transport: Transport) -> Duration {
    if transport == Transport::Poll { WARM_UP + args.poll_interval } else { WARM_UP }
}

/// As the generator calls it.
fn of_load(transport: Transport) -> tidewire_load::Transport {
    match transport {
        Transport::Poll => tidewire_load::Transport::ShortPoll,
        Transport::Longpoll => tidewire_load::Transport::LongPoll,
        Transport::Sse => tidewire_load::Transport::Sse,
        Transport::Ws => tidewire_load::Transport::WebSocket,
    }
}

/// One line of so many bytes; a length that no line can have is the next that one can.
fn head(bytes: usize) -> String {
    let frame = "User-Agent: \r\n".len();
    if bytes == 0 {
        return String::new();
    }
    format!("User-Agent: {}\r\n", "x".repeat(bytes.saturating_sub(frame).max(1)))
}

fn taken(transport: Transport, rate: f64, measured: &Measured) -> Measurement {
    let Measured { latency, traffic, faults, server, .. } = measured;
    let wrong = faults.wrong;
    Measurement {
        transport,
        clients: measured.subscribers as u64,
        rate,
        published: measured.published,
        wall_s: measured.wall_s,
        requests: traffic.requests,
        empty: traffic.without_news,
        bytes_up: traffic.bytes_up,
        bytes_down: traffic.bytes_down,
        deliveries: measured.deliveries,
        latency: (measured.deliveries > 0).then_some(Latency {
            mean_ms: latency.mean_ms,
            p50_ms: latency.p50_ms,
            p99_ms: latency.p99_ms,
        }),
        server: server.as_ref().map(|server| Cost {
            cpu_s: server.cpu_s,
            memory_per_client: server
                .memory
                .map(|memory| memory.per_subscriber_kib(measured.subscribers).max(0.0) * 1024.0),
        }),
        cpu_spread: None,
        generator_busy: measured.generator.busiest_percent / 100.0,
        late_itself: measured.punctuality.late_itself,
        faults: Faults {
            lost: wrong.lost,
            duplicated: wrong.duplicated,
            out_of_order: wrong.out_of_order,
            corrupt: wrong.corrupt,
            refused: faults.refused,
            cut: faults.cut,
            gaps: faults.gaps,
        },
    }
}

fn setting(args: &Compare, began_s: u64) -> Setting {
    Setting {
        url: args.url.clone(),
        size: args.size as usize,
        poll_interval_s: args.poll_interval.as_secs_f64(),
        seconds: u64::from(args.seconds),
        rounds: u64::from(args.rounds),
        crowd: u64::from(args.crowd),
        head_bytes: args.head_bytes as usize,
        machine: machine(),
        began_s,
        version: version(),
        command: args.command(),
    }
}

/// Everything: what was measured, and what was made of it.
fn as_json(comparison: &Comparison) -> Value {
    let rates = comparison.rates();
    let cases: Vec<_> = rates.iter().map(|&rate| work_out(comparison, rate)).collect();
    let verdicts: Vec<_> = rates.iter().map(|&rate| judge(comparison, rate)).collect();
    let runs: Vec<Value> = comparison
        .runs
        .iter()
        .map(|run| {
            let mut value = json!(run);
            value["per_message"] = json!({
                "bytes_up": run.up_per_message(),
                "bytes_down": run.down_per_message(),
                "server_cpu_us": run.cpu_us_per_message(),
            });
            value["judged"] = run.doubt().is_none().into();
            value["doubt"] = run.doubt().into();
            value
        })
        .collect();
    json!({ "setting": comparison.setting, "measured": runs, "worked_out": cases, "verdicts": verdicts })
}

fn cannot_write(path: &Path, error: &std::io::Error) -> Failure {
    Failure::Runtime(format!("cannot write {}: {error}", path.display()))
}

fn cannot_start(error: &std::io::Error) -> Failure {
    Failure::Runtime(format!("cannot start a server to measure: {error}"))
}

/// Of the generator, and of a server of our own.
fn version() -> String {
    let built =
        if cfg!(debug_assertions) { ", a debug build: its costs are not those of a release" } else { "" };
    format!("Tidewire {}{built}", env!("CARGO_PKG_VERSION"))
}

/// Enough to tell two machines apart.
fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpus = read("/proc/cpuinfo");
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = model.map_or("a processor without a name", |(_, name)| name);
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let kernel = read("/proc/sys/kernel/osrelease");
    format!("{model}, {cores} cores, Linux {}", kernel.trim())
}

/// One less than a terminal that nobody made wider.
const LINE_MAX: usize = 79;

/// Says on standard error how a run gets on: in place at a terminal, else one line a run.
struct Watch {
    title: String,
    in_place: bool,
}

impl Watch {
    fn new(title: String) -> Watch {
        let in_place = std::io::stderr().is_terminal();
        if !in_place {
            eprintln!("{title}");
        }
        Watch { title, in_place }
    }

    fn show(&mut self, progress: &Progress) {
        if !self.in_place {
            return;
        }
        let what = match progress.phase {
            Phase::Joining => format!("{} joined", count(progress.joined as f64)),
            Phase::WarmUp => "warming up".into(),
            Phase::Measuring => {
                format!("{} s, {} delivered", progress.elapsed.as_secs(), count(progress.deliveries as f64))
            }
            Phase::Draining => "waiting for what is on its way".into(),
        };
        // A line that wraps cannot be taken back.
        let line: String = format!("{}: {what}", self.title).chars().take(LINE_MAX).collect();
        eprint!("\r\x1b[K{line}");
        let _ = std::io::stderr().flush();
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if self.in_place {
            eprint!("\r\x1b[K");
        }
    }
}
