//! channels: whether a publish costs more where there are more channels.

use std::io;

use crate::cluster::{Cluster, History};
use crate::crowd::Layer;
use crate::figure::open_loop::{OpenLoop, REDIS_CPU};
use crate::grid::Grid;
use crate::options::Plan;

const CHANNELS: [usize; 4] = [1, 100, 10_000, 100_000];
/// Channels of one connection, at most: the server's own bound.
const CHANNELS_EACH: usize = 100;
/// Low enough for flushes of one message, so that they do not differ by what gathers.
const RATE: usize = 1_000;

/// One table. False if anything went wrong that must not.
pub fn measure(plan: &Plan) -> io::Result<bool> {
    let (rate, seconds) = (plan.rate.unwrap_or(RATE), plan.seconds.unwrap_or(5));
    let mut grid = Grid::new(format!(
        "channels: {rate} messages a second over as many channels, each heard once at another node, for {seconds} s; \
         every channel was published to before"
    ));
    for _ in 0..plan.rounds {
        for channels in CHANNELS {
            let cluster = Cluster::start(2, History::Kept, &plan.tidewire, plan.show_server)?;
            let hearing = &cluster.nodes[1];
            let layer = Layer { node: hearing.address, channels_each: CHANNELS_EACH };
            let open_loop = OpenLoop { rate: rate as u64, seconds: seconds as u64, channels };
            let mut measured = open_loop.run(&cluster, &[layer])?;
            let cpu = measured.costs.nodes_s[1] * 1e6 / measured.messages;
            measured.round.row("CPU s per million, node that hears", cpu);
            // Few connections have their messages coalesced, many do not: that is what the row above differs by.
            let per = |name| hearing.counter(name).unwrap_or(f64::NAN);
            let writes = per("tidewire_writes_total") / per("tidewire_messages_delivered_total");
            measured.round.row("its writes per delivery", writes);
            grid.add(&format!("{channels} channels"), measured.into_round());
        }
    }
    grid.print();
    let of = |channels: usize| grid.median(&format!("{channels} channels"), REDIS_CPU);
    if let (Some(few), Some(many)) = (of(100), of(100_000)) {
        println!("  Redis CPU, 100 000 channels over 100: x {:.2}", many / few);
    }
    Ok(grid.is_clean())
}
