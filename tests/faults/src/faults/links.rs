//! The way between nodes and Redis.

use std::io;
use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::Stage;
use crate::cluster::PREFIX;
use crate::owner::Owner;
use crate::proxy::{Connection, Proxy, Whose};
use crate::weather::{Flow, Way, Weather};

/// F10: a node's subscribed links stay open and carry nothing; whatever is dialed anew works.
pub(super) async fn deaf(stage: &mut Stage) -> io::Result<()> {
    let node = stage.some_node();
    let deaf = |one: &Connection| one.owner == Owner::Node(node) && one.listens();
    let weather = Weather::down(Way::flowing(Flow::Swallow));
    let hit: u64 = stage.cluster.paths().map(|path| path.afflict(deaf, weather)).sum();
    stage.note(format!("F10: {hit} Pub/Sub links of node {node} are deaf"));
    // It is to be noticed with nobody's help.
    let (since, left) = (Instant::now(), |stage: &Stage| -> u64 {
        stage.cluster.paths().map(|path| path.count(|one| deaf(one) && one.is_swallowed())).sum()
    });
    while left(stage) > 0 && since.elapsed() < 3 * NOTICED_WITHIN {
        sleep(Duration::from_millis(10)).await;
    }
    if since.elapsed() > NOTICED_WITHIN {
        let (now, took) = (stage.run.now(), since.elapsed());
        stage.run.ledger().violated(
            "I6",
            now,
            format!("node {node} has kept a deaf Pub/Sub link for {took:.1?}"),
        );
    }
    stage.note(format!("noticed after {:.1?}", since.elapsed()));
    stage.cluster.paths().for_each(Proxy::clear);
    Ok(())
}

/// F11: a subscribed link that does not read, a small buffer in Redis, and a flood.
pub(super) async fn overflow(stage: &mut Stage) -> io::Result<()> {
    let node = stage.some_node();
    let limit = ["CONFIG", "SET", "client-output-buffer-limit", "pubsub 256kb 128kb 1"];
    let before = stage.cluster.master().log_says(OVERCOME);
    stage.cluster.master().text(&limit).await;
    let hears = |one: &Connection| one.owner == Owner::Node(node) && one.listens();
    let weather = Weather::down(Way::flowing(Flow::Hold));
    let hit: u64 = stage.cluster.paths().map(|path| path.afflict(hears, weather)).sum();
    stage.note(format!("F11: {hit} Pub/Sub links of node {node} do not read, at most 256 KiB wait in Redis"));
    // What the kernel holds for a closed window goes first. Junk on names that the node listens to is as heavy as messages
    // are, and costs subscribers nothing.
    let junk = "x".repeat(100_000);
    for _ in 0..200 {
        for channel in stage.channels.clone() {
            let name = format!("{{{PREFIX}:0}}:0:{channel}");
            stage.cluster.master().text(&["PUBLISH", &name, &junk]).await;
        }
        if stage.cluster.master().log_says(OVERCOME) > before {
            break;
        }
    }
    let killed = stage.cluster.master().log_says(OVERCOME).saturating_sub(before);
    stage.seen += killed;
    stage.cluster.paths().for_each(Proxy::clear);
    stage.cluster.master().text(&["CONFIG", "SET", "client-output-buffer-limit", "pubsub 32mb 8mb 60"]).await;
    stage.note(format!("the links read again; Redis has closed {killed}"));
    Ok(())
}

/// What Redis writes into its log when a client's buffer is over the limit.
const OVERCOME: &str = "overcoming of output buffer limits";

/// A deaf link is noticed within this (rule R18).
const NOTICED_WITHIN: Duration = Duration::from_secs(3);

/// F12: between one node and Redis, bytes pass one way only.
pub(super) async fn one_way(stage: &mut Stage) -> io::Result<()> {
    let node = stage.some_node();
    let flow = Way::flowing(*stage.rng.pick(&[Flow::Hold, Flow::Hoard, Flow::Swallow]));
    let up = stage.rng.chance(50);
    let weather = if up { Weather::up(flow) } else { Weather::down(flow) };
    stage.cluster.paths().for_each(|path| path.set(Whose::Of(Owner::Node(node)), weather));
    let way = if up { "to" } else { "from" };
    stage.note(format!("F12: nothing passes {way} Redis for node {node} ({:?})", flow.flow));
    stage.while_it_lasts(300, 6_000).await;
    stage.cluster.paths().for_each(Proxy::clear);
    stage.note(format!("node {node} reaches Redis again"));
    Ok(())
}

/// F13: Redis is far away, or behind a thin line.
pub(super) async fn slow(stage: &mut Stage) -> io::Result<()> {
    let way = if stage.rng.chance(50) {
        Way { latency_ms: stage.rng.range(50, 300), jitter_ms: stage.rng.range(0, 100), ..Way::default() }
    } else {
        Way { bytes_per_second: stage.rng.range(10_000, 60_000), ..Way::default() }
    };
    stage.cluster.paths().for_each(|path| path.set(Whose::Nodes, Weather::both(way)));
    stage.note(format!("F13: the way to Redis has {} ms, {} B/s", way.latency_ms, way.bytes_per_second));
    stage.while_it_lasts(1_000, 4_000).await;
    stage.cluster.paths().for_each(Proxy::clear);
    stage.note("the way to Redis is short again");
    Ok(())
}

/// F13b: answers come one byte at a time, and links are reset in the middle of one.
pub(super) async fn sliced(stage: &mut Stage) -> io::Result<()> {
    let reset_after = stage.rng.range(200, 100_000);
    let way = Way { sliced: true, reset_after, ..Way::default() };
    stage.cluster.paths().for_each(|path| path.set(Whose::Nodes, Weather::down(way)));
    stage.note(format!("F13b: links to Redis are sliced, and reset after {reset_after} bytes"));
    stage.while_it_lasts(1_000, 3_000).await;
    stage.cluster.paths().for_each(Proxy::clear);
    stage.note("links to Redis are whole again");
    Ok(())
}
