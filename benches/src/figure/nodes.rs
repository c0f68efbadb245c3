//! nodes: what it takes to be heard at another node, beside the same node and a node that has no Redis.

use std::io;

use crate::cluster::{Cluster, History};
use crate::crowd::Layer;
use crate::figure::open_loop::{GENERATOR_BUSY, NODES_BUSY, OpenLoop, P99};
use crate::grid::Grid;
use crate::options::Plan;

/// Channels, and connections that hear one each.
const CHANNELS: usize = 100;
/// Where none was asked for: the rate of the budget, and what is left of it on a machine that cannot.
const RATES: [usize; 3] = [10_000, 5_000, 2_000];
/// Milliseconds that another node may add to the 99th percentile.
const BUDGET_MS: f64 = 1.0;
/// A core that is busier than this is what latency measures.
const SATURATED_PERCENT: f64 = 90.0;

const CASES: [&str; 3] = ["memory", "local", "across"];

/// One table for each rate. False if anything went wrong that must not.
pub fn measure(plan: &Plan) -> io::Result<bool> {
    let mut clean = true;
    let rates = plan.rate.map_or(RATES.to_vec(), |rate| vec![rate]);
    for rate in rates {
        let seconds = plan.seconds.unwrap_or(5);
        let open_loop = OpenLoop { rate: rate as u64, seconds: seconds as u64, channels: CHANNELS };
        let mut grid = Grid::new(format!(
            "nodes: {rate} messages a second of 128 bytes over {CHANNELS} channels, one SSE subscriber each, for {seconds} s"
        ));
        for _ in 0..plan.rounds {
            for case in CASES {
                grid.add(case, round(plan, open_loop, case)?);
            }
        }
        grid.print();
        verdict(&grid, rate);
        clean &= grid.is_clean();
    }
    Ok(clean)
}

fn round(plan: &Plan, open_loop: OpenLoop, case: &str) -> io::Result<crate::report::Round> {
    let cluster = match case {
        "memory" => Cluster::in_memory(&plan.tidewire, plan.show_server)?,
        "local" => Cluster::start(1, History::Kept, &plan.tidewire, plan.show_server)?,
        _ => Cluster::start(2, History::Kept, &plan.tidewire, plan.show_server)?,
    };
    // The last node: the only one, or the one where nobody publishes.
    let node = cluster.nodes[cluster.nodes.len() - 1].address;
    let mut measured = open_loop.run(&cluster, &[Layer { node, channels_each: 1 }])?;
    if let [_, hearing] = measured.costs.nodes_s[..] {
        let per_million = hearing * 1e6 / measured.messages;
        measured.round.row("CPU s per million, node that hears", per_million);
    }
    Ok(measured.into_round())
}

fn verdict(grid: &Grid, rate: usize) {
    let (Some(local), Some(across)) = (grid.median("local", P99), grid.median("across", P99)) else { return };
    let is_met = if across <= local + BUDGET_MS { "met" } else { "MISSED" };
    println!("  p99 across {across:.2} ms, local {local:.2} ms: <= local + {BUDGET_MS} ms: {is_met}");
    for (label, whose) in [(NODES_BUSY, "the nodes"), (GENERATOR_BUSY, "Redis and the generator")] {
        for case in CASES {
            if let Some(busy) = grid.median(case, label).filter(|busy| *busy > SATURATED_PERCENT) {
                println!(
                    "  {case}: {whose} kept a core {busy:.0} % busy at {rate}/s: its latency is a queue"
                );
            }
        }
    }
}
