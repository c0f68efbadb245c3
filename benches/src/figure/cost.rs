//! cost: CPU of Redis and of the nodes per million publishes, with and without history, by rate.

use std::io;
use std::process::Command;

use crate::cluster::{Cluster, History};
use crate::crowd::Layer;
use crate::figure::open_loop::OpenLoop;
use crate::grid::Grid;
use crate::options::Plan;
use crate::redis::Redis;

const CHANNELS: usize = 1_000;
/// Channels of one connection.
const CHANNELS_EACH: usize = 10;
const RATES: [usize; 3] = [1_000, 5_000, 10_000];

/// Two tables, and the bare script. False if anything went wrong that must not.
pub fn measure(plan: &Plan) -> io::Result<bool> {
    let mut clean = true;
    let seconds = plan.seconds.unwrap_or(5);
    let rates = plan.rate.map_or(RATES.to_vec(), |rate| vec![rate]);
    for (history, what) in [(History::Kept, "with history"), (History::None, "without history")] {
        let mut grid = Grid::new(format!(
            "cost {what}: published at one node, heard at another, over {CHANNELS} channels, for {seconds} s"
        ));
        for _ in 0..plan.rounds {
            for &rate in &rates {
                let cluster = Cluster::start(2, history, &plan.tidewire, plan.show_server)?;
                let layer = Layer { node: cluster.nodes[1].address, channels_each: CHANNELS_EACH };
                let open_loop = OpenLoop { rate: rate as u64, seconds: seconds as u64, channels: CHANNELS };
                let mut measured = open_loop.run(&cluster, &[layer])?;
                let hearing = measured.costs.nodes_s[1] * 1e6 / measured.messages;
                measured.round.row("CPU s per million, node that hears", hearing);
                grid.add(&format!("{rate}/s"), measured.into_round());
            }
        }
        grid.print();
        clean &= grid.is_clean();
    }
    print_bare(plan)?;
    Ok(clean)
}

/// What the script costs by itself, published from one connection in flushes of a given size: the least that Redis can
/// take, since nobody hears it.
fn print_bare(plan: &Plan) -> io::Result<()> {
    let example = plan.tidewire.with_file_name("examples").join("log_cost");
    if !example.exists() {
        println!(
            "\n  the bare script: `cargo build --release -p tidewire-broker --example log_cost`, then again"
        );
        return Ok(());
    }
    let redis = Redis::start()?;
    let output = Command::new(example).arg(redis.url()).output()?;
    println!("\nthe bare script (log_cost; us a message is CPU s per million)\n");
    print!("{}", String::from_utf8_lossy(&output.stdout));
    Ok(())
}
