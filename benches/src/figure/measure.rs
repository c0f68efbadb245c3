//! Rounds in turn (A B A B), each with a fresh server, gathered into one table a figure.

use std::fs;
use std::io;

use crate::figure::{
    channels, connect, cost, fan, handshakes, idle, interest, multiplex, nodes, publish, saturate, slow,
    stall, storm, streams,
};
use crate::options::{Figure, Plan};
use crate::report::{Round, Table};
use crate::server::{GENERATOR_CORE, Kind, SERVER_CORE, Server};
use crate::sys;
use tidewire_load::plan::Transport;

/// Measures everything that was asked and prints it. False if anything went wrong that must not.
pub fn measure(plan: &Plan) -> io::Result<bool> {
    let files = sys::raise_open_files()?;
    sys::pin_to_core(GENERATOR_CORE)?;
    if plan.servers.contains(&Kind::Tidewire) && !plan.tidewire.exists() {
        return Err(io::Error::other(format!(
            "there is no {}; build it with `cargo build --release -p tidewire-cli`, name another with --binary, or \
             measure the floor alone with --server floor",
            plan.tidewire.display()
        )));
    }
    println!(
        "{}; servers on core {SERVER_CORE}, generator on core {GENERATOR_CORE}; {files} open files",
        machine()
    );
    let mut clean = true;
    for &figure in &plan.figures {
        clean &= take_by_itself(plan, figure)?;
    }
    for &transport in &plan.transports {
        for &figure in &plan.figures {
            for variant in variants(plan, figure) {
                clean &= take(plan, transport, &variant);
            }
        }
    }
    Ok(clean)
}

/// Takes a figure that goes over SSE alone, or has no floor.
fn take_by_itself(plan: &Plan, figure: Figure) -> io::Result<bool> {
    match figure {
        Figure::Nodes => nodes::measure(plan),
        Figure::Cost => cost::measure(plan),
        Figure::Storm => storm::measure(plan),
        Figure::Channels => channels::measure(plan),
        Figure::Interest => interest::measure(plan),
        Figure::Slow => slow::measure(plan),
        Figure::Stall => stall::measure(plan),
        Figure::Publish => publish::measure(plan),
        Figure::Multiplex => multiplex::measure(plan),
        Figure::Streams => streams::measure(plan),
        Figure::Handshakes => handshakes::measure(plan),
        Figure::Fan | Figure::Saturate | Figure::Idle | Figure::Connect => Ok(true),
    }
}

/// One table: a figure with everything that it depends on.
enum Variant {
    Fan(fan::Fan),
    Saturate(saturate::Saturate),
    Idle(idle::Idle),
    Connect(connect::Connect),
}

fn variants(plan: &Plan, figure: Figure) -> Vec<Variant> {
    let subscribers = plan.subscribers;
    match figure {
        Figure::Fan => {
            let seconds = plan.seconds.unwrap_or(10);
            vec![Variant::Fan(fan::Fan { subscribers, rate: plan.rate.unwrap_or(50), seconds })]
        }
        Figure::Saturate => {
            let seconds = plan.seconds.unwrap_or(5);
            let of =
                |&outstanding| Variant::Saturate(saturate::Saturate { subscribers, outstanding, seconds });
            plan.outstanding.iter().map(of).collect()
        }
        Figure::Idle => {
            let connections = plan.connections.unwrap_or(15_000);
            vec![Variant::Idle(idle::Idle { connections, cycles: plan.cycles })]
        }
        Figure::Connect => {
            let connections = plan.connections.unwrap_or(10_000);
            vec![Variant::Connect(connect::Connect { connections })]
        }
        Figure::Slow
        | Figure::Stall
        | Figure::Publish
        | Figure::Multiplex
        | Figure::Streams
        | Figure::Handshakes
        | Figure::Nodes
        | Figure::Cost
        | Figure::Storm
        | Figure::Channels
        | Figure::Interest => Vec::new(),
    }
}

impl Variant {
    fn title(&self) -> String {
        match self {
            Variant::Fan(fan) => fan.title(),
            Variant::Saturate(saturate) => saturate.title(),
            Variant::Idle(idle) => idle.title(),
            Variant::Connect(connect) => connect.title(),
        }
    }

    fn round(&self, server: &Server, transport: Transport) -> io::Result<Round> {
        match self {
            Variant::Fan(fan) => fan.round(server, transport),
            Variant::Saturate(saturate) => saturate.round(server, transport),
            Variant::Idle(idle) => idle.round(server, transport),
            Variant::Connect(connect) => connect.round(server, transport),
        }
    }
}

/// Takes all rounds of one table and prints it. A round that fails ends its table, not the others.
fn take(plan: &Plan, transport: Transport, variant: &Variant) -> bool {
    let title = format!("{} {}", transport.name(), variant.title());
    let mut table = Table::new(title);
    for number in 1..=plan.rounds {
        for &kind in &plan.servers {
            let round = Server::start(kind, &plan.tidewire, plan.show_server)
                .and_then(|server| variant.round(&server, transport));
            match round {
                Ok(round) => table.add(kind, round),
                Err(error) => {
                    table.print();
                    println!("  round {number} of {} failed: {error}", kind.name());
                    return false;
                }
            }
        }
    }
    table.print();
    table.is_clean()
}

/// Enough to tell two machines apart.
fn machine() -> String {
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = model.map_or("unknown CPU", |(_, name)| name);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("{model}, Linux {}", kernel.trim())
}
