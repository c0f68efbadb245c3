//! Clients whose network breaks, who read too slowly, or who say everything twice.

use std::io;

use super::Stage;
use crate::proxy::Whose;
use crate::weather::{Flow, Way, Weather};

/// F18: some connections of a node stand still for a while, and are then reset or go on.
pub(super) async fn stalled(stage: &mut Stage) -> io::Result<()> {
    let node = stage.some_node();
    let flow = *stage.rng.pick(&[Flow::Hold, Flow::Hoard]);
    let percent = stage.rng.range(20, 100);
    let mut dice = stage.rng.fork();
    let proxy = &stage.cluster.nodes[node].proxy;
    let hit = proxy.afflict(|_| dice.chance(percent), Weather::both(Way::flowing(flow)));
    stage.note(format!("F18: {hit} connections of node {node} stand still ({flow:?})"));
    stage.while_it_lasts(300, 5_000).await;
    let mut dice = stage.rng.fork();
    let proxy = &stage.cluster.nodes[node].proxy;
    let reset = proxy.reset(|_| dice.chance(50));
    proxy.clear();
    stage.note(format!("{reset} of node {node} are reset, the others go on"));
    Ok(())
}

/// F18b: every connection of a node is reset after some more bytes, in the middle of whatever is written.
pub(super) async fn cut(stage: &mut Stage) -> io::Result<()> {
    let node = stage.some_node();
    let reset_after = stage.rng.range(1, 20_000);
    stage.note(format!("F18b: connections of node {node} are reset after {reset_after} bytes"));
    let way = Way { reset_after, ..Way::default() };
    stage.cluster.nodes[node].proxy.set(Whose::All, Weather::down(way));
    stage.while_it_lasts(500, 3_000).await;
    stage.cluster.nodes[node].proxy.clear();
    stage.note("no more");
    Ok(())
}

/// F18c: late, jittery, and one byte at a time.
pub(super) async fn sliced(stage: &mut Stage) -> io::Result<()> {
    let node = stage.some_node();
    let (latency_ms, jitter_ms) = (stage.rng.range(20, 60), stage.rng.range(0, 80));
    stage
        .note(format!("F18c: connections of node {node} are {latency_ms}+{jitter_ms} ms late, byte by byte"));
    let way = Way { sliced: true, latency_ms, jitter_ms, ..Way::default() };
    stage.cluster.nodes[node].proxy.set(Whose::All, Weather::both(way));
    stage.while_it_lasts(500, 2_000).await;
    stage.cluster.nodes[node].proxy.clear();
    stage.note("no more");
    Ok(())
}

/// F19: the network forgets some connections; neither side is told.
pub(super) async fn half_open(stage: &mut Stage) -> io::Result<()> {
    let node = stage.some_node();
    let percent = stage.rng.range(20, 100);
    let weather = *stage.rng.pick(&[
        Weather::both(Way::flowing(Flow::Swallow)),
        Weather::up(Way::flowing(Flow::Swallow)),
        Weather::down(Way::flowing(Flow::Swallow)),
    ]);
    let mut dice = stage.rng.fork();
    let hit = stage.cluster.nodes[node].proxy.afflict(|_| dice.chance(percent), weather);
    stage.note(format!("F19: {hit} connections of node {node} are half-open"));
    // A client's own patience is 3.5 s.
    stage.while_it_lasts(3_800, 5_000).await;
    stage.cluster.nodes[node].proxy.clear();
    stage.note("what is left of them is reset");
    Ok(())
}

/// F20: some connections read next to nothing while a flood comes; they may cost only themselves.
pub(super) async fn slow(stage: &mut Stage) -> io::Result<()> {
    let node = stage.some_node();
    let mut dice = stage.rng.fork();
    let way = Way { bytes_per_second: 1_000, ..Way::default() };
    let hit = stage.cluster.nodes[node].proxy.afflict(|_| dice.chance(50), Weather::down(way));
    stage.note(format!("F20: {hit} connections of node {node} read 1 kB/s"));
    let messages = stage.rng.range(40, 80);
    stage.flood(messages, 10_000).await;
    stage.while_it_lasts(500, 3_000).await;
    // Whoever is still behind comes back elsewhere.
    let mut dice = stage.rng.fork();
    let proxy = &stage.cluster.nodes[node].proxy;
    proxy.reset(|_| dice.chance(30));
    proxy.clear();
    stage.note("they read again");
    Ok(())
}

/// F23: every connection of a node is reset in one moment.
pub(super) async fn herd(stage: &mut Stage) -> io::Result<()> {
    let node = stage.some_node();
    let times = stage.rng.range(1, 3);
    for _ in 0..times {
        let hit = stage.cluster.nodes[node].proxy.reset(|_| true);
        stage.note(format!("F23: all {hit} connections of node {node} are reset"));
        stage.while_it_lasts(50, 400).await;
    }
    Ok(())
}

/// F30: every publish is sent one to three times more after it was acknowledged, often over another node.
pub(super) async fn replays(stage: &mut Stage) -> io::Result<()> {
    let times = stage.rng.range(1, 3);
    stage.note(format!("F30: every publish comes {times} times more"));
    stage.run.replay(times);
    stage.while_it_lasts(500, 2_000).await;
    stage.run.replay(0);
    stage.note("every publish comes once");
    Ok(())
}
