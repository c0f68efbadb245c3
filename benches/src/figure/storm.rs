//! storm: everybody is cut at once and comes back with a cursor, while publishing goes on.

use std::collections::HashMap;
use std::io;
use std::time::Duration;

use crate::cluster::{Cluster, History, Meters};
use crate::crowd::{Crowd, Layer};
use crate::figure::open_loop::{GENERATOR_BUSY, NODES_BUSY};
use crate::grid::Grid;
use crate::ledger::Ledger;
use crate::options::Plan;
use crate::redis::Redis;
use crate::report::{OTHERS, Round};

const CONNECTIONS: usize = 15_000;
const CHANNELS: usize = 100;
/// Messages a second, over all channels.
const RATE: usize = 100;
const PUBLISHERS: usize = 16;
/// Published before the cut.
const BEFORE_NS: u64 = 5_000_000_000;
/// Published after everybody is back, so that who was forgotten is found.
const AFTER_NS: u64 = 2_000_000_000;
/// Until all are back, at most.
const LIMIT_NS: u64 = 60_000_000_000;
/// Once nothing has arrived for this long, what is missing is lost.
const PATIENCE: Duration = Duration::from_secs(10);
/// Until all have resumed, in seconds.
const BUDGET_S: f64 = 10.0;

/// What happens to them.
const CASES: [&str; 3] = ["connections cut", "node killed, others", "node restarted"];
/// Published at the first node, which nothing happens to; heard at the second; the third has nobody.
const HEARD_AT: usize = 1;
const SPARE: usize = 2;

const RESUMED: &str = "all resumed, s";
const READS: &str = "reads of a channel in any second, most";

/// One table. False if anything went wrong that must not.
pub fn measure(plan: &Plan) -> io::Result<bool> {
    let connections = plan.connections.unwrap_or(CONNECTIONS);
    let mut grid = Grid::new(format!(
        "storm: {connections} SSE subscribers of {CHANNELS} channels cut at once, {} messages a second",
        plan.rate.unwrap_or(RATE)
    ));
    for _ in 0..plan.rounds {
        for case in CASES {
            grid.add(case, round(plan, case, connections)?);
        }
    }
    grid.print();
    for case in CASES {
        let (Some(resumed), Some(reads)) = (grid.median(case, RESUMED), grid.median(case, READS)) else {
            continue;
        };
        let judge = |holds| if holds { "met" } else { "MISSED" };
        println!(
            "  {case}: all resumed <= {BUDGET_S} s: {}; <= 1 read per channel, node and second: {}",
            judge(resumed <= BUDGET_S),
            judge(reads <= 1.0)
        );
    }
    Ok(grid.is_clean())
}

fn round(plan: &Plan, case: &str, connections: usize) -> io::Result<Round> {
    let rate = plan.rate.unwrap_or(RATE) as u64;
    let mut cluster = Cluster::start(3, History::Kept, &plan.tidewire, plan.show_server)?;
    let node = cluster.nodes[HEARD_AT].address;
    let layers = vec![Layer { node, channels_each: 1 }; connections.div_ceil(CHANNELS)];
    let mut crowd = Crowd::new(cluster.nodes[0].address, CHANNELS, &layers)?;
    crowd.gather(PUBLISHERS)?;
    let start_ns = crowd.now_ns() + 500_000_000;
    crowd.publish_at(rate, start_ns, start_ns + BEFORE_NS, |_| false)?;

    let redis = cluster.redis.as_ref().ok_or_else(|| io::Error::other("no Redis"))?;
    let (watch, calls_before) = (redis.watch_reads()?, redis.calls()?);
    crowd.come_back();
    let cut_ns = crowd.now_ns();
    let spare = cluster.nodes[SPARE].address;
    match case {
        "connections cut" => crowd.cut(node, node)?,
        "node killed, others" => {
            crowd.redirect(node, spare);
            cluster.kill(HEARD_AT);
        }
        _ => cluster.restart(HEARD_AT, &plan.tidewire, plan.show_server)?,
    }
    let before = Meters::read(&cluster)?;
    // Streams of a killed node are noticed to have ended first.
    let due_ns = crowd.publish_at(rate, cut_ns, cut_ns + LIMIT_NS, |crowd| {
        crowd.is_whole() && crowd.tally().returns >= crowd.size() as u64
    })?;
    let joined_ns = crowd.now_ns();
    let published: Vec<usize> = crowd.tally().ledgers.iter().map(Ledger::published).collect();
    let due_ns = crowd.publish_at(rate, due_ns, cut_ns + LIMIT_NS, |crowd| {
        let mut ledgers = crowd.tally().ledgers.iter().zip(&published);
        ledgers.all(|(ledger, count)| ledger.is_complete_to(*count))
    })?;
    let resumed_ns = crowd.now_ns();
    let after = Meters::read(&cluster)?;
    crowd.publish_at(rate, due_ns, due_ns + AFTER_NS, |_| false)?;
    crowd.drain(PATIENCE)?;

    let calls_after = cluster.redis.as_ref().map_or_else(|| Ok(HashMap::new()), Redis::calls)?;
    let calls = |name: &str| {
        let of = |calls: &HashMap<String, u64>| calls.get(name).copied().unwrap_or(0) as f64;
        of(&calls_after) - of(&calls_before)
    };
    let (reads, most_reads) = watch.end();
    let (tally, costs) = (crowd.tally(), before.spent_until(&after));
    let seconds = |ns: u64| ns.saturating_sub(cut_ns) as f64 / 1e9;
    let mut round = Round::new(tally.faults());
    round.row("all joined again, s", seconds(joined_ns));
    round.row(RESUMED, seconds(resumed_ns));
    round.row("attempts per subscriber", tally.returns as f64 / crowd.size() as f64);
    round.row("reads of history", reads as f64);
    round.row(READS, most_reads as f64);
    round.row(
        "latency ms, p99, those away included",
        tally.latency.quantile_ms(0.99, round.faults.wrong.lost),
    );
    round.row("XRANGE calls of Redis", calls("xrange"));
    round.row("SUBSCRIBE calls of Redis", calls("subscribe"));
    round.row("Redis CPU s", costs.redis_s);
    round.row("CPU s of the node that took them", costs.nodes_s[1]);
    round.row(NODES_BUSY, costs.nodes_percent());
    round.row(GENERATOR_BUSY, costs.others_core_percent());
    round.row(OTHERS, costs.others_percent());
    Ok(round)
}
