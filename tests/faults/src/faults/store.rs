//! Redis itself: killed, stopped, promoted, emptied, littered.

use std::io;
use std::time::Duration;

use rustix::process::Signal;
use tokio::time::sleep;

use super::Stage;
use crate::cause::Cause;
use crate::cluster::{PREFIX, Shape};
use crate::owner::Owner;
use crate::proxy::{Proxy, Whose};
use crate::redis;
use crate::server::Durability;
use crate::weather::{Flow, Way, Weather};

const PATIENCE: Duration = Duration::from_secs(20);

/// F5: SIGKILL, and a new process with what is on disk.
pub(super) async fn killed(stage: &mut Stage) -> io::Result<()> {
    let durability = stage.cluster.master().durability();
    let cause = stage.cause(match durability {
        Durability::Always => Cause::NothingLost,
        Durability::EverySecond => Cause::TailLost,
        Durability::None => Cause::StoreLost,
    });
    stage.note(format!("F5: Redis is killed; on disk is {durability:?}"));
    let master = stage.cluster.master;
    stage.cluster.servers[master].kill();
    stage.while_it_lasts(100, 5_000).await;
    stage.cluster.servers[master].restart().await?;
    stage.cause_ends(cause);
    stage.note("Redis is back");
    Ok(())
}

/// F6: SIGSTOP, and SIGCONT.
pub(super) async fn stopped(stage: &mut Stage) -> io::Result<()> {
    stage.note("F6: Redis stands still");
    stage.cluster.master().signal(Signal::STOP);
    stage.while_it_lasts(500, 6_000).await;
    stage.cluster.master().signal(Signal::CONT);
    stage.note("Redis goes on");
    Ok(())
}

/// F7: `FAILOVER`: the master waits for its replica and changes places with it. The address follows a little later, so
/// nodes meet a demoted server on links that are still open.
pub(super) async fn planned_failover(stage: &mut Stage) -> io::Result<()> {
    let (old, new) = (stage.cluster.master, 1 - stage.cluster.master);
    stage.cluster.servers[new].until(&["INFO", "replication"], "master_link_status:up", PATIENCE).await?;
    let cause = stage.cause(Cause::NothingLost);
    stage.note(format!("F7: redis {old} hands over to redis {new}"));
    let port = stage.cluster.servers[new].proxy.port.to_string();
    let answer =
        stage.cluster.servers[old].text(&["FAILOVER", "TO", "127.0.0.1", &port, "TIMEOUT", "8000"]).await;
    if answer != "OK" {
        return Err(io::Error::other(format!("FAILOVER: {answer}")));
    }
    stage.cluster.servers[new].until(&["INFO", "replication"], "role:master", PATIENCE).await?;
    stage.while_it_lasts(0, 800).await;
    stage.cluster.lead_to(new);
    stage.cluster.servers[old].until(&["INFO", "replication"], "master_link_status:up", PATIENCE).await?;
    stage.cause_ends(cause);
    stage.note(format!("redis {new} is the master, and has the address"));
    Ok(())
}

/// F8: the replica hears nothing more, the master goes on acknowledging, dies, and the replica is promoted.
pub(super) async fn lost_tail(stage: &mut Stage) -> io::Result<()> {
    failover(stage, 0).await
}

/// F9: the same, and then the first dials are refused.
pub(super) async fn refused_dials(stage: &mut Stage) -> io::Result<()> {
    let dials = stage.rng.range(1, 20);
    failover(stage, dials).await
}

async fn failover(stage: &mut Stage, refused: u64) -> io::Result<()> {
    let (old, new) = (stage.cluster.master, 1 - stage.cluster.master);
    stage.cluster.servers[new].until(&["INFO", "replication"], "master_link_status:up", PATIENCE).await?;
    has_what_its_master_has(stage, new).await?;
    let cause = stage.cause(Cause::TailLost);
    stage.note(format!("F8: redis {new}, the replica, hears nothing more"));
    let silence = Weather::both(Way::flowing(Flow::Hold));
    stage.cluster.servers[old].proxy.set(Whose::Of(Owner::Redis(new)), silence);
    stage.while_it_lasts(200, 2_500).await;
    stage.note(format!("redis {old}, the master, is killed"));
    stage.cluster.servers[old].kill();
    let refusals = |stage: &Stage| stage.cluster.paths().map(Proxy::harmed).sum::<u64>();
    if stage.cluster.shape == Shape::Pair {
        stage.while_it_lasts(0, 1_000).await;
        stage.cluster.servers[new].text(&["REPLICAOF", "NO", "ONE"]).await;
        stage.cluster.paths().for_each(|path| path.refuse(refused));
        let before = refusals(stage);
        stage.cluster.lead_to(new);
        stage.note(format!("redis {new} is promoted, and has the address; {refused} dials are refused"));
        stage.while_it_lasts(200, 1_000).await;
        stage.seen += refusals(stage) - before;
    } else {
        let before = refusals(stage);
        stage.cluster.servers[new].proxy.refuse(refused);
        let since = tokio::time::Instant::now();
        while !(stage.cluster.find_master().await && stage.cluster.master == new) {
            if since.elapsed() > PATIENCE {
                return Err(io::Error::other("the sentinels promote nobody"));
            }
            sleep(Duration::from_millis(50)).await;
        }
        stage.while_it_lasts(200, 1_000).await;
        stage.seen += refusals(stage) - before;
        stage.note(format!("redis {new} is promoted by the sentinels; {refused} dials are refused"));
    }
    stage.cluster.clear();
    stage.cause_ends(cause);
    stage.dead = Some(old);
    Ok(())
}

/// Waits until a replica has come as far as its master is now. For a second after a full copy the master keeps back what
/// follows, and a replica that is promoted then has lost the log and not its tail.
async fn has_what_its_master_has(stage: &Stage, replica: usize) -> io::Result<()> {
    let offset = |info: String, name: &str| {
        let found = info
            .lines()
            .find_map(|line| line.trim().strip_prefix(name)?.strip_prefix(':')?.parse::<u64>().ok());
        found.unwrap_or_default()
    };
    let sent = offset(stage.cluster.master().text(&["INFO", "replication"]).await, "master_repl_offset");
    let since = tokio::time::Instant::now();
    while offset(stage.cluster.servers[replica].text(&["INFO", "replication"]).await, "slave_repl_offset")
        < sent
    {
        if since.elapsed() > PATIENCE {
            return Err(io::Error::other("the replica does not come as far as its master"));
        }
        sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

/// What is left to do when a fault has healed: a master that died comes back, as a replica.
pub(super) async fn aftermath(stage: &mut Stage) -> io::Result<()> {
    let Some(old) = stage.dead.take() else { return Ok(()) };
    let master = stage.cluster.master().proxy.port;
    let server = &mut stage.cluster.servers[old];
    server.restart_behind(Some(master)).await?;
    server.until(&["INFO", "replication"], "role:slave", PATIENCE).await?;
    server.until(&["INFO", "replication"], "master_link_status:up", PATIENCE).await?;
    stage.note(format!("redis {old} is back, as a replica"));
    Ok(())
}

/// F14: everything is gone in one moment.
pub(super) async fn flushed(stage: &mut Stage) -> io::Result<()> {
    let cause = stage.cause(Cause::StoreLost);
    stage.note("F14: FLUSHALL");
    stage.cluster.master().text(&["FLUSHALL"]).await;
    settle(stage, cause).await
}

/// F14b: the fence alone is gone.
pub(super) async fn fence_deleted(stage: &mut Stage) -> io::Result<()> {
    let cause = stage.cause(Cause::StoreLost);
    stage.note("F14b: DEL of the fence");
    stage.cluster.master().text(&["DEL", &format!("{{{PREFIX}:0}}:fence")]).await;
    settle(stage, cause).await
}

/// F14c: the records alone are gone.
pub(super) async fn records_deleted(stage: &mut Stage) -> io::Result<()> {
    let cause = stage.cause(Cause::HistoryDamaged);
    stage.seen += delete(stage, &format!("{{{PREFIX}:0}}:*:r:*")).await;
    stage.note("F14c: DEL of the records");
    settle(stage, cause).await
}

/// F14d: the streams alone are gone.
pub(super) async fn streams_deleted(stage: &mut Stage) -> io::Result<()> {
    let cause = stage.cause(Cause::HistoryDamaged);
    stage.seen += delete(stage, &format!("{{{PREFIX}:0}}:*:s:*")).await;
    stage.note("F14d: DEL of the streams");
    settle(stage, cause).await
}

/// F15: the server forgets every script.
pub(super) async fn scripts_flushed(stage: &mut Stage) -> io::Result<()> {
    let scripts = |info: String| {
        let line = info.lines().find_map(|line| line.strip_prefix("number_of_cached_scripts:"));
        line.and_then(|number| number.trim().parse::<u64>().ok()).unwrap_or_default()
    };
    let before = scripts(stage.cluster.master().text(&["INFO", "memory"]).await);
    stage.note(format!("F15: SCRIPT FLUSH of {before} scripts"));
    stage.cluster.master().text(&["SCRIPT", "FLUSH"]).await;
    sleep(Duration::from_millis(500)).await;
    // That they are there again shows that they were missed.
    stage.seen += before.min(scripts(stage.cluster.master().text(&["INFO", "memory"]).await));
    Ok(())
}

/// F33: somebody else publishes on our names.
pub(super) async fn junk_told(stage: &mut Stage) -> io::Result<()> {
    stage.note("F33: junk on Pub/Sub names");
    for _ in 0..40 {
        let channel = stage.rng.pick(&stage.channels).clone();
        let junk = some_junk(stage);
        let name = format!("{{{PREFIX}:0}}:0:{channel}");
        let heard = stage.cluster.master().text(&["PUBLISH", &name, &junk]).await;
        stage.seen += heard.parse::<u64>().unwrap_or_default();
    }
    Ok(())
}

/// F33b: somebody else adds to our streams, behind the newest message.
pub(super) async fn junk_kept(stage: &mut Stage) -> io::Result<()> {
    let cause = stage.cause(Cause::HistoryDamaged);
    let streams = format!("{{{PREFIX}:0}}:*:s:*");
    for stream in keys(stage, &streams).await {
        let newest = stage.cluster.master().text(&["XREVRANGE", &stream, "+", "-", "COUNT", "1"]).await;
        let Some((seq, _)) = newest.lines().next().and_then(|id| id.split_once('-')) else { continue };
        let (id, junk) = (format!("{seq}-1"), some_junk(stage));
        let added = stage.cluster.master().text(&["XADD", &stream, &id, "m", &junk]).await;
        stage.seen += u64::from(added == id);
    }
    stage.note("F33b: junk in the streams");
    settle(stage, cause).await
}

fn some_junk(stage: &mut Stage) -> String {
    let number = stage.rng.number();
    let junk = ["", "hello", "{\"type\":\"message\"}", "1 zz 5 4 +\n", "2 a 5 4 +\n\u{1}\0", "9 9 9 9 9"];
    format!(
        "{}{}",
        stage.rng.pick(&junk),
        if number.is_multiple_of(2) { number.to_string() } else { String::new() }
    )
}

async fn keys(stage: &Stage, pattern: &str) -> Vec<String> {
    let answer = redis::ask(stage.cluster.master().port, &["KEYS", pattern]).await;
    answer.map(|answer| answer.texts().iter().map(ToString::to_string).collect()).unwrap_or_default()
}

async fn delete(stage: &Stage, pattern: &str) -> u64 {
    let keys = keys(stage, pattern).await;
    let mut words = vec!["DEL"];
    words.extend(keys.iter().map(String::as_str));
    if words.len() == 1 {
        return 0;
    }
    stage.cluster.master().text(&words).await.parse().unwrap_or_default()
}

/// What was damaged is met by the next publish, or the next read.
async fn settle(stage: &mut Stage, cause: usize) -> io::Result<()> {
    stage.while_it_lasts(200, 800).await;
    stage.cause_ends(cause);
    Ok(())
}
