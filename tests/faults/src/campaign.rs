//! The campaign: round after round, each a cluster of its own under load, and one fault after the other.
//!
//! Between two faults it waits until everybody hears new messages again (I6). At the end of a round publishers stop,
//! subscribers catch up, the ledger is audited (I1, I2), everybody leaves, and the nodes must hold nothing (I7).

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::cluster::{Cluster, Shape};
use crate::faults::{FAULTS, Fault, Stage};
use crate::ledger::{Ledger, Ms};
use crate::node::SHORT_KEEPS;
use crate::publisher::Publisher;
use crate::rng::Rng;
use crate::run::Run;
use crate::server::Durability;
use crate::subscriber::{Subscriber, WAYS};
use crate::tally::Tally;

/// What to do.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where all chance comes from.
    pub seed: u64,
    /// How long, all rounds together.
    pub seconds: u64,
    /// How many rounds, where that is given in place of a time.
    pub rounds: Option<u64>,
    /// How long one round is.
    pub round_seconds: u64,
    /// Only these faults; none means all.
    pub only: Vec<String>,
    /// Only this cluster.
    pub shape: Option<Shape>,
    /// The server under test.
    pub binary: PathBuf,
}

/// Nodes of a cluster with Redis.
const NODES: usize = 3;

/// Subscribers of a round.
const SUBSCRIBERS: usize = 24;

/// Publishers of a round.
const PUBLISHERS: usize = 6;

/// After a fault has healed, everybody hears something new within this (I6).
const LIVE_WITHIN: Ms = 3_000;

/// A round in which nothing flows for so long is given up.
const DEAD_AFTER: Ms = 20_000;

/// Clusters by turns; the first three are those that CI sees.
const SHAPES: [Shape; 5] = [
    Shape::Pair,
    Shape::Alone(Durability::EverySecond),
    Shape::Sentinels,
    Shape::Alone(Durability::None),
    Shape::Alone(Durability::Always),
];

/// Runs a plan.
pub async fn run(plan: &Plan) -> Tally {
    let (mut tally, mut rng, began) = (Tally::default(), Rng::new(plan.seed), Instant::now());
    let mut done = BTreeMap::new();
    for round in 0.. {
        let over = match plan.rounds {
            Some(rounds) => round >= rounds,
            None => began.elapsed().as_secs() + 5 >= plan.seconds,
        };
        if over {
            break;
        }
        let at = (round % SHAPES.len() as u64) as usize;
        let shape = plan.shape.unwrap_or(SHAPES[at]);
        let left = plan.seconds.saturating_sub(began.elapsed().as_secs());
        let seconds = if plan.rounds.is_some() { plan.round_seconds } else { plan.round_seconds.min(left) };
        let folder = std::env::temp_dir().join(format!("tidewire-faults-{}-{round}", std::process::id()));
        let mut round_of =
            Round { plan, shape, seconds, tally: &mut tally, rng: rng.fork(), done: &mut done };
        let before = round_of.tally.violations.len();
        match round_of.play(folder.clone()).await {
            Ok(()) => tally.rounds += 1,
            Err(error) => tally.broken.push(format!("round {round} on {shape:?}: {error}")),
        }
        let violations = &tally.violations[before..];
        if violations.is_empty() && tally.broken.is_empty() {
            let _ = std::fs::remove_dir_all(&folder);
        } else {
            // At once: a campaign may go on for hours.
            violations.iter().for_each(|(seed, violation)| eprintln!("seed {seed}: {violation}"));
            tally.broken.iter().for_each(|broken| eprintln!("{broken}"));
            eprintln!("round {round} on {shape:?}: logs in {}", folder.display());
        }
    }
    tally
}

/// Who promotes a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Promotion {
    ByHand,
    BySentinels,
}

struct Round<'p> {
    plan: &'p Plan,
    shape: Shape,
    seconds: u64,
    tally: &'p mut Tally,
    rng: Rng,
    /// How often each fault was done: by its number, and by the cluster where clusters differ in it.
    done: &'p mut BTreeMap<(&'static str, Option<Promotion>), u64>,
}

impl Round<'_> {
    async fn play(&mut self, folder: PathBuf) -> io::Result<()> {
        let mut cluster = Cluster::start(self.shape, NODES, &self.plan.binary, &folder).await?;
        cluster.find_master().await;
        let vitals: Vec<_> = cluster.nodes.iter().map(|node| node.vitals().unwrap_or_default()).collect();
        let ports: Vec<u16> = cluster.nodes.iter().map(|node| node.proxy.port).collect();
        let mut ledger = Ledger::default();
        ledger.keeps("", 1_000);
        ledger.keeps("short:", SHORT_KEEPS);
        let run = Run::new(ledger, &ports);
        let channels: Vec<String> =
            ["prices", "chat", "orders:42", "news", "short:a", "short:b"].map(str::to_owned).into();
        let subscribers = self.subscribers(&run, &channels);
        let publishers = self.publishers(&run, &channels);
        let mut stage = Stage::new(cluster, run.clone(), self.rng.fork(), channels);
        let outcome = self.faults(&mut stage).await;
        run.replay(0);
        stage.cluster.clear();
        run.be_quiet();
        finish(publishers, Duration::from_secs(20)).await;
        self.settle(&run).await;
        run.end();
        finish(subscribers, Duration::from_secs(6)).await;
        self.left_behind(&mut stage, &vitals).await;
        let ledger = run.ledger();
        for (name, count) in &ledger.counts {
            *self.tally.counts.entry(name.clone()).or_default() += count;
        }
        let seed = self.plan.seed;
        self.tally.violations.extend(ledger.violations.iter().map(|violation| (seed, violation.clone())));
        outcome
    }

    fn subscribers(&mut self, run: &Run, channels: &[String]) -> JoinSet<()> {
        let mut tasks = JoinSet::new();
        for number in 0..SUBSCRIBERS {
            let way = WAYS[number % WAYS.len()];
            let several =
                way != crate::subscriber::Way::Sse(crate::sse::Shape::Single) && self.rng.chance(50);
            let count =
                if several || way == crate::subscriber::Way::Sse(crate::sse::Shape::Multi) { 3 } else { 1 };
            let mut wanted = channels.to_vec();
            self.rng.shuffle(&mut wanted);
            wanted.truncate(count);
            let who = run
                .ledger()
                .joins(&format!("subscriber {number} ({way:?} of {})", wanted.join(",")), &wanted);
            tasks.spawn(Subscriber { who, way, channels: wanted }.run(run.clone(), self.rng.fork()));
        }
        tasks
    }

    fn publishers(&mut self, run: &Run, channels: &[String]) -> JoinSet<()> {
        let mut tasks = JoinSet::new();
        for number in 0..PUBLISHERS {
            let publisher = Publisher {
                name: format!("p{number}"),
                channels: channels.to_vec(),
                rest: Duration::from_millis(40),
                bytes_min: 0,
                bytes_max: 400,
                most: None,
            };
            tasks.spawn(publisher.run(run.clone(), self.rng.fork()));
        }
        tasks
    }

    /// One fault after the other, until the time is over.
    async fn faults(&mut self, stage: &mut Stage) -> io::Result<()> {
        let began = Instant::now();
        // Everybody has joined and hears something before anything is done.
        self.is_live(stage, 0, "the start").await?;
        while began.elapsed().as_secs() < self.seconds {
            let Some(fault) = self.next_fault() else { break };
            let before = felt(stage, &fault);
            (fault.inject)(stage)
                .await
                .map_err(|error| io::Error::other(format!("{}: {error}", fault.number)))?;
            let healed = stage.run.now();
            let row = self.tally.faults.entry(fault.number).or_default();
            (row.name, row.injected) = (fault.name, row.injected + 1);
            let live = self.is_live(stage, healed, fault.number).await;
            let row = self.tally.faults.entry(fault.number).or_default();
            row.slowest_ms = row.slowest_ms.max(stage.run.now() - healed);
            row.felt += u64::from(felt(stage, &fault) > before);
            live?;
            stage.aftermath().await?;
            sleep(Duration::from_millis(self.rng.range(50, 500))).await;
        }
        Ok(())
    }

    /// Of those that fit, one that was done least often, so that a short campaign has seen them all.
    fn next_fault(&mut self) -> Option<Fault> {
        let only = &self.plan.only;
        let fits = |fault: &&Fault| {
            (fault.fits)(self.shape) && (only.is_empty() || only.iter().any(|one| one == fault.number))
        };
        let mut choices: Vec<Fault> = FAULTS.iter().filter(fits).copied().collect();
        self.rng.shuffle(&mut choices);
        let promotion = match self.shape {
            Shape::Memory | Shape::Alone(_) => None,
            Shape::Pair => Some(Promotion::ByHand),
            Shape::Sentinels => Some(Promotion::BySentinels),
        };
        let key = |fault: &Fault| (fault.number, promotion.filter(|_| fault.promotes()));
        // What few clusters can suffer comes first where it can be.
        let clusters = |fault: &Fault| SHAPES.iter().filter(|shape| (fault.fits)(**shape)).count();
        let rank = |fault: &Fault| (self.done.get(&key(fault)).copied(), clusters(fault));
        let fault = choices.into_iter().min_by_key(rank)?;
        *self.done.entry(key(&fault)).or_default() += 1;
        Some(fault)
    }

    /// Waits until what was sent after `since` has reached everybody and every node is ready; too late is a violation,
    /// never ends the round.
    async fn is_live(&self, stage: &mut Stage, since: Ms, after: &str) -> io::Result<()> {
        let mut late = false;
        loop {
            sleep(Duration::from_millis(50)).await;
            stage.cluster.find_master().await;
            let behind = stage.run.ledger().behind(since);
            let mut unready = Vec::new();
            // Nodes are asked once nobody waits for them, or when it is too late.
            let asks = behind.is_empty() || !late && stage.run.now() - since > LIVE_WITHIN;
            for node in stage.cluster.nodes.iter_mut().filter(|_| asks) {
                let ready = node.readyz().await;
                let ok = |(status, body): &(u16, String)| *status == 200 && body.contains("\"ready\"");
                if !ready.as_ref().is_some_and(ok) {
                    let ended = node.has_ended();
                    unready.push(format!("node {}: {ready:?} {ended:?}", node.number));
                }
            }
            if behind.is_empty() && unready.is_empty() {
                return Ok(());
            }
            let now = stage.run.now();
            if now - since > LIVE_WITHIN && !late {
                late = true;
                let mut ledger = stage.run.ledger();
                for (who, channel) in behind.iter().take(3) {
                    let story =
                        format!("nothing new for 3 s after {after} had healed ({} are behind)", behind.len());
                    ledger.violated_on(*who, channel, "I6", now, story);
                }
                if !unready.is_empty() {
                    ledger.violated(
                        "I6",
                        now,
                        format!("not ready 3 s after {after} had healed: {unready:?}"),
                    );
                }
            }
            if now - since > DEAD_AFTER {
                return Err(io::Error::other(format!(
                    "nothing flows any more after {after}: {unready:?}, {} are behind",
                    behind.len()
                )));
            }
        }
    }

    /// Waits until everything has arrived, within reason, and has the ledger audited.
    async fn settle(&self, run: &Run) {
        let since = Instant::now();
        while run.ledger().missing() > 0 && since.elapsed() < Duration::from_secs(8) {
            sleep(Duration::from_millis(100)).await;
        }
        let now = run.now();
        run.ledger().audit(now);
    }

    /// When everybody has left, descriptors and memory are what they were (I7).
    async fn left_behind(&self, stage: &mut Stage, before: &[(usize, u64)]) {
        let since = Instant::now();
        loop {
            let mut held = Vec::new();
            for (node, (descriptors, resident)) in stage.cluster.nodes.iter().zip(before) {
                let Some((now, now_resident)) = node.vitals() else { continue };
                let connections = node.metric("sockets").await;
                let swollen = now_resident > resident + RESIDENT_KIB_MORE;
                if now > descriptors + DESCRIPTORS_MORE
                    || connections.is_some_and(|count| count > 1)
                    || swollen
                {
                    held.push(format!(
                        "node {} has {now} descriptors ({descriptors} before), {now_resident} KiB ({resident} before), {connections:?} connections",
                        node.number
                    ));
                }
            }
            if held.is_empty() {
                return;
            }
            if since.elapsed() > Duration::from_secs(15) {
                let now = stage.run.now();
                return stage.run.ledger().violated("I7", now, held.join("; "));
            }
            sleep(Duration::from_millis(200)).await;
        }
    }
}

/// Links to Redis come and go by a few, and so does a look at `/metrics`.
const DESCRIPTORS_MORE: usize = 6;

/// Histories and caches fill up once.
const RESIDENT_KIB_MORE: u64 = 64 * 1024;

/// The sum of the counters by which a fault is felt.
fn felt(stage: &Stage, fault: &Fault) -> u64 {
    let count = |name: &&'static str| match *name {
        "broker dials" => stage.cluster.paths().map(crate::proxy::Proxy::accepted).sum(),
        "seen by the fault" => stage.seen,
        name => stage.run.ledger().counts.get(name).copied().unwrap_or(0),
    };
    fault.felt.iter().map(count).sum()
}

/// Waits for tasks to end by themselves, and ends those that do not.
async fn finish(mut tasks: JoinSet<()>, patience: Duration) {
    let ended = async { while tasks.join_next().await.is_some() {} };
    if tokio::time::timeout(patience, ended).await.is_err() {
        tasks.shutdown().await;
    }
}
