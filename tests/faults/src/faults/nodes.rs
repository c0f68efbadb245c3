//! Nodes that die and come back.

use std::io;
use std::time::Duration;

use super::Stage;
use crate::cause::Cause;
use crate::cluster::Shape;

const PATIENCE: Duration = Duration::from_secs(10);

/// F1: SIGKILL at a random microsecond, and a new process after a while.
pub(super) async fn killed(stage: &mut Stage) -> io::Result<()> {
    let node = stage.some_node();
    let memory = stage.cluster.shape == Shape::Memory;
    stage.note(format!("F1: node {node} is killed"));
    let cause = stage.cause(if memory { Cause::Restarted } else { Cause::NodeDied });
    stage.cluster.nodes[node].kill();
    stage.while_it_lasts(0, 1_500).await;
    stage.cluster.nodes[node].launch()?;
    stage.cluster.nodes[node].until_ready(PATIENCE).await?;
    stage.cause_ends(cause);
    stage.note(format!("node {node} is back"));
    Ok(())
}

/// F2: SIGTERM, a drain, and a new process on the same socket where that was handed over.
pub(super) async fn drained(stage: &mut Stage) -> io::Result<()> {
    let node = stage.some_node();
    let memory = stage.cluster.shape == Shape::Memory;
    stage.note(format!("F2: node {node} drains"));
    let cause = memory.then(|| stage.cause(Cause::Restarted));
    let status = stage.cluster.nodes[node].drain().await?;
    if !status.contains(": 0") {
        let story =
            format!("node {node} drained and ended with {status}:\n{}", stage.cluster.nodes[node].said());
        let now = stage.run.now();
        stage.run.ledger().violated("I6", now, story);
    }
    stage.cluster.nodes[node].launch()?;
    stage.cluster.nodes[node].until_ready(PATIENCE).await?;
    cause.into_iter().for_each(|cause| stage.cause_ends(cause));
    stage.note(format!("node {node} is back"));
    Ok(())
}
