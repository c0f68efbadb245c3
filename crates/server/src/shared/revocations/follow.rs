//! Following the stream: one round of questions after another, for as long as the node runs.
//!
//! A round is one write, whose last command waits for news. Those before it say whether the stream is still the one that was
//! read: another replication id is another server, or one that began anew; a newest id that went back, or a record that is
//! no longer there, is a stream that lost something. Then all of it is read again.

use std::sync::atomic::Ordering;
use std::time::Duration;

use redis::{Cmd, Value};
use tidewire_broker::redis::{Aside, Error};

use super::record::{Id, Record};
use super::reply::{self, Entry};
use super::{Ledger, Shared};

/// How long Redis holds an answer back while there are no news: shorter than a link waits for one.
const BLOCK: Duration = Duration::from_millis(500);

/// After a round that failed, or found that the stream has to be read anew.
const PAUSE: Duration = Duration::from_millis(200);

/// Entries that are read, written or deleted with one command or one write.
const BATCH: usize = 1_000;

impl Ledger {
    /// Follows the stream over `link`, which nobody else asks, and never returns. An answer over it may take longer than
    /// half a second, for which its time-out has to leave room.
    pub async fn follow(self, link: Aside) {
        let mut follower = Follower { shared: &self.shared, link, replication: None, is_current: false };
        let mut failing = false;
        loop {
            let round = follower.round().await;
            match &round {
                Ok(()) if failing => tracing::info!("revocations of other nodes arrive again"),
                Err(error) if !failing => {
                    tracing::warn!(%error, "revocations of other nodes do not arrive; trying again");
                }
                _ => {}
            }
            failing = round.is_err();
            follower.is_current &= !failing;
            // Also before all is read: two nodes whose clocks are minutes apart would write and delete in turns.
            if !follower.is_current {
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

struct Follower<'s> {
    shared: &'s Shared,
    link: Aside,
    /// The replication id of the server whose stream was read.
    replication: Option<String>,
    /// Whether what is known and what the stream holds are the same, up to the position.
    is_current: bool,
}

impl Follower<'_> {
    async fn round(&mut self) -> Result<(), Error> {
        let wall_ms = self.shared.clock.now().wall_ms;
        let (position, tip, obsolete) = {
            let mut known = self.shared.known();
            self.is_current &= !known.expire(wall_ms) && !known.is_in_doubt();
            (known.position(), known.tip(), known.take_obsolete(BATCH))
        };
        if !self.is_current {
            return self.read_all().await;
        }
        let key = &self.shared.key;
        let answers = self
            .link
            .ask(&[
                // Also when there is nothing to delete: a server that has become a replica says so to this one only.
                delete(key, &obsolete),
                command(&["INFO", "replication"]),
                command(&["XINFO", "STREAM", key]),
                between(key, tip.unwrap_or_default()),
                read(key, position, Some(BLOCK)),
            ])
            .await?;
        let [_, replication, info, held, news] = &answers[..] else { return Err(reply::malformed()) };
        let replication = reply::replication(replication)?;
        let newest = reply::newest(info)?;
        let holds_tip = !reply::entries(held)?.is_empty();
        let news = reply::news(news)?;
        let is_same = self.replication.as_ref() == Some(&replication);
        if !is_same || newest < position {
            self.is_current = false;
            return Ok(());
        }
        self.hear(news, true);
        // Somebody may have deleted it in favour of what has just been read.
        if tip.is_some() && !holds_tip && self.shared.known().tip() == tip {
            self.is_current = false;
        }
        Ok(())
    }

    /// Reads all of the stream, then writes what is missing in it. A link that breaks meanwhile is another server, perhaps.
    async fn read_all(&mut self) -> Result<(), Error> {
        let key = &self.shared.key;
        let is_first = !*self.shared.ready.borrow();
        let replication = self.replication_now().await?;
        self.shared.known().reread();
        loop {
            let position = self.shared.known().position();
            let mut answers = self.link.ask(&[read(key, position, None)]).await?;
            let news = reply::news(&answers.pop().ok_or_else(reply::malformed)?)?;
            let is_last = news.len() < BATCH;
            // Nobody is in yet before the first time.
            self.hear(news, !is_first);
            if is_last {
                break;
            }
        }
        let missing = self.shared.known().missing(self.shared.clock.now().wall_ms);
        for batch in missing.chunks(BATCH) {
            let commands: Vec<Cmd> = batch.iter().map(|record| add(key, record)).collect();
            let answers = self.link.ask(&commands).await?;
            if !answers.iter().all(|answer| matches!(answer, Value::BulkString(_))) {
                return Err(answers.iter().find_map(reply::refusal).unwrap_or_else(reply::malformed));
            }
            self.shared.known().figures.rewritten += batch.len() as u64;
        }
        if self.replication_now().await? == replication {
            self.replication = Some(replication);
            self.is_current = true;
            self.shared.ready.send_replace(true);
        }
        Ok(())
    }

    async fn replication_now(&self) -> Result<String, Error> {
        // A replica would answer the second as well, and lead nowhere.
        let commands = [delete(&self.shared.key, &[]), command(&["INFO", "replication"])];
        let mut answers = self.link.ask(&commands).await?;
        reply::replication(&answers.pop().ok_or_else(reply::malformed)?)
    }

    fn hear(&self, news: Vec<Entry>, ends_connections: bool) {
        let now = self.shared.clock.now();
        self.shared.heard_ms.store(now.monotonic_ms.max(1), Ordering::Relaxed);
        for (id, record) in news {
            let mut known = self.shared.known();
            if let Some(record) = known.heard(id, record, now.wall_ms) {
                self.shared.put_in_force(&known, &record, ends_connections);
            }
        }
    }
}

fn command(words: &[&str]) -> Cmd {
    let mut command = redis::cmd(words[0]);
    command.arg(&words[1..]);
    command
}

fn add(key: &str, record: &Record) -> Cmd {
    let mut add = command(&["XADD", key, "*"]);
    record.write(&mut add);
    add
}

fn between(key: &str, id: Id) -> Cmd {
    let id = id.to_string();
    command(&["XRANGE", key, &id, &id])
}

fn read(key: &str, position: Id, block: Option<Duration>) -> Cmd {
    let mut read = redis::cmd("XREAD");
    read.arg("COUNT").arg(BATCH);
    if let Some(block) = block {
        read.arg("BLOCK").arg(block.as_millis() as u64);
    }
    read.arg("STREAMS").arg(key).arg(position.to_string());
    read
}

/// Deletes one by one, rather than all before some id: a record that ends late would keep all that came after it, and ids
/// of one server must never cut the stream of another, whose clock may be behind.
fn delete(key: &str, ids: &[Id]) -> Cmd {
    let mut delete = redis::cmd("XDEL");
    delete.arg(key);
    if ids.is_empty() {
        // No entry ever has this id.
        delete.arg("0-0");
    }
    for id in ids {
        delete.arg(id.to_string());
    }
    delete
}
