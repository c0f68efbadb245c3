//! A publisher: one message after the other, each with a key of its own, repeated with that key until its fate is known.

use std::io;
use std::time::Duration;

use serde_json::Value;
use tokio::time::sleep;

use crate::http::{Connection, wrong};
use crate::ledger::{Ms, Uid};
use crate::rng::Rng;
use crate::run::Run;

/// What one publisher does.
#[derive(Debug)]
pub struct Publisher {
    /// What its keys begin with.
    pub name: String,
    /// Where it publishes.
    pub channels: Vec<String>,
    /// How long it rests after each.
    pub rest: Duration,
    /// The shortest payload, give or take its key.
    pub bytes_min: usize,
    /// The longest.
    pub bytes_max: usize,
    /// How many messages; nothing without an end.
    pub most: Option<u64>,
}

/// What came of one try.
enum Outcome {
    Placed(String),
    Refused(u16, String),
    /// No answer, so nobody knows.
    Unknown(io::Error),
}

/// A message is given up after so many tries.
const TRIES_MAX: u32 = 40;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(3);

impl Publisher {
    /// Publishes until the run is quiet.
    pub async fn run(self, run: Run, mut rng: Rng) {
        let (mut connection, mut number) = (None, 0u64);
        while !run.is_quiet() && self.most.is_none_or(|most| number < most) {
            number += 1;
            let key = format!("{}-{number}", self.name);
            let channel = rng.pick(&self.channels).clone();
            let text =
                format!("{key} {}", "x".repeat(self.bytes_min + rng.below(self.bytes_max - self.bytes_min)));
            self.publish(&run, &mut rng, &mut connection, &key, &channel, &text).await;
            sleep(self.rest).await;
        }
    }

    async fn publish(
        &self,
        run: &Run,
        rng: &mut Rng,
        connection: &mut Option<Connection>,
        key: &str,
        channel: &str,
        text: &str,
    ) {
        let uid = run.ledger().sends(key, channel, text, run.now());
        let (mut refused, mut unknown, mut acked) = (false, false, 0);
        for _ in 0..TRIES_MAX {
            let asked = run.now();
            let outcome = attempt_once(run, rng, connection, key, channel, text).await;
            write_down(run, uid, asked, &outcome);
            match outcome {
                Outcome::Placed(_) if acked >= run.replays() => return,
                Outcome::Placed(_) => {
                    acked += 1;
                    run.ledger().count("repeated though acked");
                }
                Outcome::Refused(..) => refused = true,
                Outcome::Unknown(_) => unknown = true,
            }
            // A repetition often comes over another node: after a refusal, somebody else may know better.
            if rng.chance(60) {
                *connection = None;
            }
            if acked == 0 {
                sleep(Duration::from_millis(rng.range(50, 400))).await;
            }
        }
        if acked == 0 {
            run.ledger().gave_up(refused && !unknown);
        }
    }
}

fn write_down(run: &Run, uid: Uid, asked: Ms, outcome: &Outcome) {
    let now = run.now();
    let mut ledger = run.ledger();
    if now - asked >= SLOW_MS {
        ledger.count("slow publishes");
    }
    match outcome {
        Outcome::Placed(id) => ledger.acked(uid, id, now),
        Outcome::Refused(status, code) => {
            ledger.count("publish tries refused");
            ledger.count(&format!("refused: {status} {code}"));
            ledger.failed(now, &format!("{status} {code}"));
        }
        Outcome::Unknown(error) => {
            ledger.count("publish tries without answer");
            ledger.failed(now, &error.to_string());
        }
    }
}

/// An answer that took so long is a visible effect.
const SLOW_MS: u64 = 40;

async fn attempt_once(
    run: &Run,
    rng: &mut Rng,
    kept: &mut Option<Connection>,
    key: &str,
    channel: &str,
    text: &str,
) -> Outcome {
    let tried = async {
        let mut connection = match kept.take() {
            Some(connection) => connection,
            None => Connection::open(run.node(rng).1, PATIENCE).await?,
        };
        let fields = [("Idempotency-Key", key), ("Content-Type", "text/plain")];
        let head = connection.ask(&format!("POST /c/{channel}"), &fields, Some(text)).await?;
        let body = connection.body(&head).await?;
        if head.field("connection") != Some("close") {
            *kept = Some(connection);
        }
        let value: Value = serde_json::from_slice(&body).map_err(|_| wrong("an answer that is no JSON"))?;
        let word = |name: &str| value[name].as_str().map(str::to_owned);
        Ok(match (head.status, word("id"), word("code")) {
            (200, Some(id), _) => Outcome::Placed(id),
            (status, _, code) => Outcome::Refused(status, code.unwrap_or_default()),
        })
    };
    tried.await.unwrap_or_else(Outcome::Unknown)
}
