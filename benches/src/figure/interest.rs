//! interest: what a publish costs as more nodes want to hear it, and that those which do not cost nothing.

use std::io;

use crate::cluster::{Cluster, History};
use crate::crowd::Layer;
use crate::figure::open_loop::{OpenLoop, REDIS_CPU};
use crate::grid::Grid;
use crate::options::Plan;

/// Nodes, and how many of them have a subscriber of every channel.
const CASES: [(usize, usize); 8] = [(1, 0), (1, 1), (2, 2), (4, 4), (8, 8), (8, 4), (8, 1), (8, 0)];
const CHANNELS: usize = 100;
const CHANNELS_EACH: usize = 10;
/// Low enough for flushes of one message, so that they do not differ by what gathers.
const RATE: usize = 500;

/// One table. False if anything went wrong that must not.
pub fn measure(plan: &Plan) -> io::Result<bool> {
    let (rate, seconds) = (plan.rate.unwrap_or(RATE), plan.seconds.unwrap_or(5));
    let mut grid = Grid::new(format!(
        "interest: {rate} messages a second over {CHANNELS} channels, published at one node, for {seconds} s; \
         `4 of 8` are four nodes that hear every channel, and four that hear none"
    ));
    for _ in 0..plan.rounds {
        for (nodes, interested) in CASES {
            let cluster = Cluster::start(nodes, History::Kept, &plan.tidewire, plan.show_server)?;
            // From the last one on, so that the node that publishes hears only where all do.
            let hearing = cluster.nodes.iter().rev().take(interested);
            let layers: Vec<Layer> =
                hearing.map(|node| Layer { node: node.address, channels_each: CHANNELS_EACH }).collect();
            let open_loop = OpenLoop { rate: rate as u64, seconds: seconds as u64, channels: CHANNELS };
            let mut measured = open_loop.run(&cluster, &layers)?;
            let per_million = 1e6 / measured.messages;
            // The first node publishes, and has a row of its own.
            let others = &measured.costs.nodes_s[1..];
            let (deaf, hears) = others.split_at(others.len().saturating_sub(interested));
            let rows = [
                ("CPU s per million, each node that hears", hears),
                ("CPU s per million, each that does not", deaf),
            ];
            for (label, some) in rows.into_iter().filter(|(_, some)| !some.is_empty()) {
                measured.round.row(label, some.iter().sum::<f64>() * per_million / some.len() as f64);
            }
            grid.add(&case(nodes, interested), measured.into_round());
        }
    }
    grid.print();
    let of = |nodes, interested| grid.median(&case(nodes, interested), REDIS_CPU);
    if let (Some(alone), Some(deaf), Some(all)) = (of(1, 0), of(8, 0), of(8, 8)) {
        println!(
            "  Redis CPU: {deaf:.1} s per million with eight nodes that hear nothing, and {:.1} more for each that hears",
            (all - deaf) / 8.0
        );
        // What nodes do of themselves depends on time and not on publishes.
        println!(
            "  a node by itself: {:.2} ms of Redis CPU a second",
            (deaf - alone) / 7.0 * rate as f64 / 1e3
        );
    }
    Ok(grid.is_clean())
}

fn case(nodes: usize, interested: usize) -> String {
    format!("{interested} of {nodes}")
}
