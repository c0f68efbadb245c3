//! Random walks through promotions, lost tails, old masters and deaths, with a ledger: the scripts against the claims of
//! decision 13, on servers whose replication is a copy that the walk makes when it likes.
//!
//! Every walk ends settled: one master, everybody who lives has come to it, and whoever is awaited has been given up.
//! Then whatever was acknowledged was heard by the subscriber or lies in a gap that it was told of; no id names two
//! messages; and no gap came where nothing was lost.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use tidewire_broker::redis::{Error, Placing, Verdict};
use tidewire_hub::limits::POLL_PAGE;
use tidewire_hub::position::{Gen, Position};

use crate::node::{LEASE, Node, message};
use crate::server::Server;

const FENCE: &str = "{tidewire:0}:fence";
const NODES: usize = 3;

/// Walks, unless `TIDEWIRE_WALKS` says how many.
const WALKS: u64 = 60;

/// Steps of a walk.
const STEPS: usize = 30;

struct World {
    servers: [Server; 2],
    master: usize,
    /// Whether it takes writes. One that was replaced and does not know it does.
    writable: [bool; 2],
    /// How many promotions came before each server's.
    promoted: [usize; 2],
    /// With the server that it is linked to.
    nodes: Vec<Option<(Node, Option<usize>)>>,
    /// The newest promotion that each has come to. It does not go to one before: of the last, it knows by the id that a
    /// promoted server had before, which the copies of this walk do not carry.
    came: [usize; NODES],
    /// Nodes that have died: nobody renews their leases.
    dead: Vec<String>,
    acknowledged: BTreeMap<u64, Position>,
    named: HashMap<Position, u64>,
    reader: Reader,
}

/// The subscriber.
struct Reader {
    node: Option<usize>,
    cursor: Position,
    heard: BTreeSet<u64>,
    /// What was acknowledged when it was told of a gap: its cursor went over all of that.
    told: BTreeSet<u64>,
    /// What its gaps cover of that which is acknowledged later, by an old master: of each generation, everything above a
    /// seq.
    told_above: HashMap<Gen, u64>,
}

impl World {
    async fn new() -> World {
        let options = &["--enable-debug-command", "yes"][..];
        let servers = [Server::start(options).await, Server::start(options).await];
        let mut nodes = Vec::new();
        for _ in 0..NODES {
            nodes.push(Some((Node::at(&servers[0]).await, Some(0))));
        }
        servers[0].copy_to(&servers[1]).await;
        let fence = &nodes[0].as_ref().map(|(node, _)| node.fence.clone()).unwrap();
        let cursor = Position { generation: fence.generation, seq: fence.seq };
        let reader = Reader {
            node: Some(0),
            cursor,
            heard: BTreeSet::new(),
            told: BTreeSet::new(),
            told_above: HashMap::new(),
        };
        World {
            servers,
            master: 0,
            writable: [true, false],
            promoted: [0, 0],
            came: [0; NODES],
            nodes,
            dead: Vec::new(),
            acknowledged: BTreeMap::new(),
            named: HashMap::new(),
            reader,
        }
    }

    async fn take(&mut self, step: u64, node: usize, server: usize) {
        match step {
            0..12 => self.publish(node).await,
            12..20 => self.replicate().await,
            20 | 21 => self.fail_over().await,
            22 => self.fail_over_as_planned().await,
            23 => self.demote().await,
            24..31 => self.come(node, server).await,
            31..36 => self.resume(node).await,
            36 => self.die(node),
            37 => self.bear(node).await,
            _ => self.give_up(node).await,
        }
    }

    async fn replicate(&mut self) {
        if !self.writable[1 - self.master] {
            self.servers[self.master].copy_to(&self.servers[1 - self.master]).await;
        }
    }

    async fn fail_over(&mut self) {
        let replica = 1 - self.master;
        if !self.writable[replica] {
            self.servers[replica].ask(&["DEBUG", "CHANGE-REPL-ID"]).await;
            self.writable[replica] = true;
            self.promoted[replica] = self.promoted[self.master] + 1;
            self.master = replica;
        }
    }

    async fn fail_over_as_planned(&mut self) {
        if !self.writable[1 - self.master] {
            self.replicate().await;
            self.fail_over().await;
            self.demote().await;
        }
    }

    /// The old master learns of the new one, takes its store, and cuts its links.
    async fn demote(&mut self) {
        let old = 1 - self.master;
        self.writable[old] = false;
        self.servers[self.master].copy_to(&self.servers[old]).await;
        for (_, link) in self.nodes.iter_mut().flatten() {
            *link = link.filter(|server| *server != old);
        }
    }

    async fn come(&mut self, at: usize, server: usize) {
        let Some((node, link)) = &mut self.nodes[at] else { return };
        if !self.writable[server] || self.promoted[server] < self.came[at] {
            return;
        }
        self.came[at] = self.promoted[server];
        match node.comes_to(&self.servers[server]).await {
            Ok(()) => *link = Some(server),
            Err(Error::Left) => panic!("no id is left and then dialled"),
            Err(error) => panic!("{error}"),
        }
        if self.reader.node == Some(at) {
            self.read(at).await;
        }
    }

    async fn publish(&mut self, at: usize) {
        let Some((node, Some(server))) = &mut self.nodes[at] else { return };
        if !self.writable[*server] {
            return;
        }
        let uid = self.acknowledged.len() as u64 + 1;
        match node.publishes(&message("a", &uid.to_string())).await {
            Ok(Placing::Placed(position)) => {
                self.acknowledged.insert(uid, position);
                let other = self.named.insert(position, uid);
                assert_eq!(other, None, "{position} names two messages");
            }
            Err(Error::Fenced) => {}
            other => panic!("{other:?}"),
        }
    }

    async fn resume(&mut self, at: usize) {
        if matches!(&self.nodes[at], Some((_, Some(_)))) {
            self.read(at).await;
        }
    }

    /// Hands the subscriber at this node what it missed, after a gap where one is due.
    async fn read(&mut self, at: usize) {
        let Some((node, Some(server))) = &mut self.nodes[at] else { return };
        let Ok(history) = node.log.read(&node.fence, &[(crate::node::channel("a"), 0)], POLL_PAGE).await
        else {
            return;
        };
        let (reader, head, slice) = (&mut self.reader, history.head, &history.slices[0]);
        let uid = |text: Option<&str>| text.and_then(|text| text.parse().ok()).unwrap();
        let kept: BTreeMap<u64, u64> =
            slice.messages.iter().map(|one| (uid(one.payload.as_text()), one.position.seq)).collect();
        let verdict = node.fence.judge(reader.cursor, head.seq);
        if verdict != Verdict::Whole {
            let lost = self.acknowledged.keys().chain(&reader.heard).any(|uid| !kept.contains_key(uid));
            // A cursor that this server never heard of speaks for itself, and the dead may have known anything.
            let deceived = verdict == Verdict::Lost && !lost && self.dead.is_empty();
            assert!(!deceived, "a gap where nothing was lost");
            reader.told.extend(self.acknowledged.keys());
            let ancestors = node.fence.lineage.iter().map(|ancestor| (ancestor.generation, ancestor.base));
            let unknown = (verdict == Verdict::Unknown).then_some((reader.cursor.generation, 0));
            let dead = self.servers[*server].ask(&["SMEMBERS", "{tidewire:0}:dead"]).await;
            let dead: Vec<String> = redis::from_redis_value(dead).unwrap();
            let dead = dead.iter().map(|text| (Gen::parse(text.as_bytes()).unwrap(), 0));
            let covered: Vec<_> = ancestors.chain(unknown).chain(dead).collect();
            for (generation, above) in covered {
                let told = reader.told_above.entry(generation).or_insert(above);
                *told = above.min(*told);
            }
        }
        let after = if verdict == Verdict::Whole { reader.cursor.seq } else { 0 };
        reader.heard.extend(kept.iter().filter(|(_, seq)| **seq > after).map(|(uid, _)| *uid));
        (reader.cursor, reader.node) = (head, Some(at));
        node.past.sees(head);
    }

    fn die(&mut self, at: usize) {
        // One is left, since somebody has to tell.
        if self.nodes.iter().flatten().count() > 1
            && let Some((node, _)) = self.nodes[at].take()
        {
            self.dead.push(node.past.node().to_string());
            self.reader.node = self.reader.node.filter(|node| *node != at);
        }
    }

    /// A new node, whose registration is replicated at once: decision 13 says what is not covered otherwise.
    async fn bear(&mut self, at: usize) {
        if self.nodes[at].is_none() && !self.writable[1 - self.master] {
            self.nodes[at] = Some((Node::at(&self.servers[self.master]).await, Some(self.master)));
            self.came[at] = self.promoted[self.master];
            self.replicate().await;
        }
    }

    /// The leases of the dead run out, and this node renews its own.
    async fn give_up(&mut self, at: usize) {
        let Some((node, Some(server))) = &mut self.nodes[at] else { return };
        if !self.writable[*server] {
            return;
        }
        for dead in &self.dead {
            let field = format!("n:{dead}");
            if self.servers[*server].text(&["HEXISTS", FENCE, &field]).await == "1" {
                self.servers[*server].ask(&["HSET", FENCE, &field, "0"]).await;
            }
        }
        match node.renews(LEASE).await {
            Ok(_) | Err(Error::Fenced) => {}
            Err(error) => panic!("{error}"),
        }
    }

    /// Lets everything come to rest, and looks at the ledger.
    async fn settle(&mut self) {
        if self.writable[1 - self.master] {
            self.demote().await;
        }
        for _ in 0..4 {
            for at in 0..NODES {
                self.come(at, self.master).await;
                self.give_up(at).await;
            }
        }
        let generations: BTreeSet<String> =
            self.nodes.iter().flatten().map(|(node, _)| node.fence.generation.to_string()).collect();
        assert_eq!(generations.len(), 1, "everybody goes by one generation");
        assert_eq!(self.servers[self.master].text(&["SCARD", "{tidewire:0}:awaited"]).await, "0");
        let alive = self.nodes.iter().position(Option::is_some).unwrap();
        self.resume(alive).await;
        let Reader { heard, told, told_above, .. } = &self.reader;
        for (uid, id) in &self.acknowledged {
            let announced = told_above.get(&id.generation).is_some_and(|above| id.seq > *above);
            assert!(
                heard.contains(uid) || told.contains(uid) || announced,
                "message {uid} at {id} is lost in silence"
            );
        }
    }
}

#[tokio::test]
async fn r17_no_walk_loses_anything_in_silence_or_names_two_messages_alike() {
    let (mut messages, mut promotions, mut gaps, mut silent) = (0, 0, 0, 0);
    let walks = std::env::var("TIDEWIRE_WALKS").map_or(WALKS, |walks| walks.parse().unwrap());
    for seed in 0..walks {
        let mut random = Random(seed);
        let mut world = World::new().await;
        let (mut trail, mut promoted) = (Vec::new(), false);
        for _ in 0..STEPS {
            let step = (random.below(40), random.below(NODES as u64) as usize, random.below(2) as usize);
            trail.push(step);
            let before = world.master;
            // What a panic leaves on the screen: enough to walk the same way again.
            TRAIL.with_borrow_mut(|shown| *shown = format!("seed {seed}: {trail:?}"));
            world.take(step.0, step.1, step.2).await;
            promotions += usize::from(world.master != before);
            promoted |= world.master != before;
        }
        world.settle().await;
        messages += world.acknowledged.len();
        let gap = !world.reader.told_above.is_empty();
        gaps += usize::from(gap);
        silent += usize::from(promoted && !gap);
    }
    println!(
        "{messages} messages, {promotions} promotions; {gaps} of {walks} walks had a gap, {silent} passed one in silence"
    );
    assert!(messages > 200 && promotions > 50 && gaps > 10 && silent > 2);
}

std::thread_local! {
    static TRAIL: std::cell::RefCell<String> = const { std::cell::RefCell::new(String::new()) };
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            TRAIL.with_borrow(|trail| eprintln!("{trail}"));
        }
    }
}

/// SplitMix64: small, and the same everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}
