//! slow: what those who read notice of a tenth that has stopped reading.

use std::io;

use crate::figure::delivery::Delivery;
use crate::grid::Grid;
use crate::mute;
use crate::options::Plan;
use crate::report::Round;
use crate::server::{Kind, Server, free_address};
use tidewire_load::plan::Transport;

/// The cases: how many in a hundred have stopped reading.
const CASES: [(&str, usize); 2] = [("all read", 0), ("a tenth has stopped", 10)];
/// What the 99th percentile of the others may become.
const BUDGET: f64 = 1.1;
/// Bytes that a subscriber takes without reading them, besides what the server's kernel keeps for it.
const RECEIVE_BYTES: usize = 4 << 10;
const PUBLISHERS: usize = 16;

/// One table. False if anything went wrong that must not.
pub fn measure(plan: &Plan) -> io::Result<bool> {
    let (subscribers, rate) = (plan.subscribers, plan.rate.unwrap_or(200));
    let seconds = plan.seconds.unwrap_or(10);
    let mut grid = Grid::new(format!(
        "slow: 1 to {subscribers} SSE subscribers, {rate} messages a second of 128 bytes for {seconds} s; figures of those who read"
    ));
    for _ in 0..plan.rounds {
        for (case, percent) in CASES {
            grid.add(case, round(plan, percent, rate, seconds)?);
        }
    }
    grid.print();
    let p99 = |case| grid.median(case, "latency ms, p99");
    if let [Some(whole), Some(beside)] = CASES.map(|(case, _)| p99(case)) {
        let is_met = if beside <= BUDGET * whole { "met" } else { "MISSED" };
        println!("  p99 beside those who stopped: {:.2} x, <= {BUDGET} x: {is_met}", beside / whole);
    }
    Ok(grid.is_clean())
}

fn round(plan: &Plan, percent: usize, rate: usize, seconds: usize) -> io::Result<Round> {
    let server = Server::start_with(Kind::Tidewire, &plan.tidewire, &[], free_address()?, plan.show_server)?;
    let stopped = plan.subscribers * percent / 100;
    // As many readers in both cases, so that they compare.
    let readers = plan.subscribers - plan.subscribers / 10;
    let _mute = mute::subscribe(server.address, "bench", stopped, Some(RECEIVE_BYTES))?;
    let mut delivery = Delivery::gather(&server, Transport::Sse, readers, PUBLISHERS)?;
    delivery.publish_on_schedule(rate, seconds)?;
    delivery.drain()?;
    let end = delivery.mark()?;
    let mut round = delivery.into_round(end);
    let count = |name| server.counter(name).unwrap_or(f64::NAN);
    round.row("ended as slow consumers", count("tidewire_slow_consumers_total"));
    round.row("writes that were not taken whole", count("tidewire_writes_short_total"));
    Ok(round)
}
