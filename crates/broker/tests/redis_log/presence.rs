//! Who is connected to a channel of any node.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tidewire_broker::redis::{Address, PresenceTimes, Roster, Timeouts};
use tidewire_hub::channel::Channel;
use tidewire_hub::presence::{Change, LISTED_MAX, Members, News, Roster as _, Subject};
use tidewire_hub::reason::Reason;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use crate::node::PATIENT;
use crate::server::Server;

const PATIENCE: Duration = Duration::from_secs(10);

/// Short ones, since these tests wait for them.
const TIMES: PresenceTimes =
    PresenceTimes { lease: Duration::from_millis(1_500), renewal: Duration::from_millis(200) };

/// One node, as far as presence goes.
struct Node {
    roster: Roster,
    heard: mpsc::UnboundedReceiver<String>,
}

impl Node {
    async fn start(server: &Server) -> Node {
        Node::start_with(server, PATIENT).await
    }

    /// Starts one, and waits until it hears the others.
    async fn start_with(server: &Server, timeouts: Timeouts) -> Node {
        static RANDOM: AtomicU64 = AtomicU64::new(1);
        let (sender, heard) = mpsc::unbounded_channel();
        let hear = move |news: News| drop(sender.send(word(&news)));
        let random = || RANDOM.fetch_add(1, Ordering::Relaxed);
        let address = Address::parse(&server.url(), None).unwrap();
        let before = listeners(server).await;
        let roster = Roster::start(&address, "test", timeouts, TIMES, hear, random);
        let since = Instant::now();
        while listeners(server).await == before {
            assert!(since.elapsed() < PATIENCE, "it does not listen");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Node { roster, heard }
    }

    fn has(&self, subject: &str, sessions: u32) {
        self.roster.update(&chat(), &Subject::told(subject), Some(sessions));
    }

    fn has_not(&self, subject: &str) {
        self.roster.update(&chat(), &Subject::told(subject), None);
    }

    async fn members(&self) -> Result<Members, Reason> {
        let (done, answer) = oneshot::channel();
        self.roster.members(chat(), LISTED_MAX, Box::new(move |members| drop(done.send(members))));
        answer.await.unwrap()
    }

    async fn list(&self) -> BTreeMap<String, u32> {
        let members = self.members().await.unwrap();
        assert_eq!(members.count, members.listed.len());
        let row = |one: &tidewire_hub::presence::Member| (one.subject.as_str().to_owned(), one.sessions);
        members.listed.iter().map(row).collect()
    }

    /// Waits until the list is this, and says how long it took.
    async fn comes_to(&self, wanted: &[(&str, u32)]) -> Duration {
        let wanted: BTreeMap<String, u32> =
            wanted.iter().map(|(name, sessions)| ((*name).to_owned(), *sessions)).collect();
        let since = Instant::now();
        loop {
            let list = self.list().await;
            if list == wanted {
                return since.elapsed();
            }
            assert!(since.elapsed() < PATIENCE, "{list:?} does not come to {wanted:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn hears(&mut self, wanted: &str) {
        let heard = timeout(PATIENCE, self.heard.recv()).await;
        assert_eq!(heard.ok().flatten().as_deref(), Some(wanted));
    }

    /// All that it has heard and that nobody has asked for. `mark` joins, so that nothing is on its way any more.
    async fn heard_before(&mut self, mark: &str) -> Vec<String> {
        self.has(mark, 1);
        let mut heard = Vec::new();
        loop {
            let one = timeout(PATIENCE, self.heard.recv()).await.unwrap().unwrap();
            if one == format!("+{mark}") {
                return heard;
            }
            heard.push(one);
        }
    }
}

fn chat() -> Channel {
    Channel::parse("chat:1").unwrap()
}

fn word(news: &News) -> String {
    match &news.change {
        Change::Join(subject) => format!("+{}", subject.as_str()),
        Change::Leave(subject) => format!("-{}", subject.as_str()),
        Change::Missed => "?".into(),
    }
}

async fn listeners(server: &Server) -> String {
    let answer = server.ask(&["PUBSUB", "NUMSUB", TOLD]).await;
    format!("{answer:?}")
}

const TOLD: &str = "{test:aside}:p:0";
const NODES: &str = "{test:aside}:p:nodes";

#[tokio::test]
async fn a_subject_joins_with_its_first_session_of_all_nodes_and_leaves_with_its_last() {
    let server = Server::start(&[]).await;
    let (mut one, mut two) = (Node::start(&server).await, Node::start(&server).await);
    one.has("alice", 1);
    one.hears("+alice").await;
    two.has("alice", 1);
    two.has("alice", 2);
    two.has("bob", 1);
    two.hears("+alice").await;
    two.hears("+bob").await;
    assert_eq!(one.comes_to(&[("alice", 3), ("bob", 1)]).await.as_secs(), 0);
    two.has("bob", 0);
    one.has_not("alice");
    assert_eq!(two.comes_to(&[("alice", 2), ("bob", 0)]).await.as_secs(), 0);
    two.has_not("alice");
    two.hears("-alice").await;
    one.hears("+bob").await;
    one.hears("-alice").await;
    assert!(one.heard_before("mark").await.is_empty());
}

#[tokio::test]
async fn whoever_has_just_come_finds_themselves_in_the_list() {
    let server = Server::start(&[]).await;
    let node = Node::start(&server).await;
    for n in 1..=50 {
        node.has(&format!("{n}"), 1);
        assert_eq!(node.members().await.unwrap().count, n);
    }
}

#[tokio::test]
async fn i8_members_of_a_node_that_is_killed_are_gone_with_its_lease_and_each_is_told_once() {
    let server = Server::start(&[]).await;
    let (mut one, mut two) = (Node::start(&server).await, Node::start(&server).await);
    let three = Node::start(&server).await;
    let names: Vec<String> = (0..700).map(|n| format!("n{n:03}")).collect();
    names.iter().for_each(|name| three.has(name, 2));
    three.has("alice", 1);
    one.has("alice", 1);
    assert_eq!(three.members().await.unwrap().count, 701);
    for node in [&mut one, &mut two] {
        for _ in 0..701 {
            assert!(timeout(PATIENCE, node.heard.recv()).await.unwrap().unwrap().starts_with('+'));
        }
    }
    drop(three);
    let took = two.comes_to(&[("alice", 1)]).await;
    assert!((TIMES.lease - TIMES.renewal..TIMES.lease + Duration::from_secs(5)).contains(&took), "{took:?}");
    for node in [&mut one, &mut two] {
        let mut heard = node.heard_before("mark").await;
        node.has_not("mark");
        heard.retain(|word| !word.ends_with("mark"));
        heard.sort_unstable();
        assert_eq!(heard, names.iter().map(|name| format!("-{name}")).collect::<Vec<_>>());
        one_more(node).await;
    }
    assert_eq!(server.text(&["ZCARD", NODES]).await, "2", "nothing of it is left");
}

/// Waits until what it has just told is heard by itself.
async fn one_more(node: &mut Node) {
    node.hears("-mark").await;
}

#[tokio::test]
async fn f14_an_empty_store_is_filled_again_and_nobody_joins_anew() {
    let server = Server::start(&[]).await;
    let (mut one, mut two) = (Node::start(&server).await, Node::start(&server).await);
    one.has("alice", 1);
    two.has("bob", 2);
    one.comes_to(&[("alice", 1), ("bob", 2)]).await;
    server.ask(&["FLUSHALL"]).await;
    one.comes_to(&[("alice", 1), ("bob", 2)]).await;
    for node in [&mut one, &mut two] {
        let heard = node.heard_before("mark").await;
        let told = |what: &str| heard.iter().filter(|one| **one == what).count();
        assert_eq!((told("+alice"), told("+bob"), told("-alice"), told("-bob")), (1, 1, 0, 0), "{heard:?}");
        assert!(told("?") >= 1, "they are told to ask again: {heard:?}");
        node.has_not("mark");
        node.hears("-mark").await;
    }
}

#[tokio::test]
async fn a_node_that_slept_through_its_lease_comes_in_anew() {
    let server = Server::start(&[]).await;
    let (one, mut two) = (Node::start(&server).await, Node::start(&server).await);
    one.has("alice", 1);
    two.hears("+alice").await;
    // Both have slept: whoever wakes first takes the other out.
    for node in names(&server).await {
        server.ask(&["ZADD", NODES, "1", &node]).await;
    }
    two.comes_to(&[("alice", 1)]).await;
    tokio::time::sleep(TIMES.renewal * 4).await;
    assert_eq!(two.list().await.len(), 1);
    let heard = two.heard_before("mark").await;
    assert!(heard.is_empty() || heard == ["-alice", "+alice"], "{heard:?}");
    server.until(&["ZCARD", NODES], "2").await;
}

async fn names(server: &Server) -> Vec<String> {
    redis::from_redis_value(server.ask(&["ZRANGE", NODES, "0", "-1"]).await).unwrap()
}

#[tokio::test]
async fn f2_what_a_failover_lost_is_written_again() {
    let server = Server::start(&[]).await;
    let (one, mut two) = (Node::start(&server).await, Node::start(&server).await);
    one.has("alice", 1);
    one.comes_to(&[("alice", 1)]).await;
    one.has("bob", 1);
    one.comes_to(&[("alice", 1), ("bob", 1)]).await;
    // A replica that has all but the newest write.
    for name in names(&server).await {
        let members = format!("{{test:aside}}:p:n:{name}");
        if server.text(&["HDEL", &members, "chat:1 bob"]).await == "1" {
            server.ask(&["HINCRBY", &members, "", "-1"]).await;
        }
    }
    server.ask(&["ZREM", "{test:aside}:p:c:chat:1", "bob"]).await;
    two.comes_to(&[("alice", 1), ("bob", 1)]).await;
    let heard = two.heard_before("mark").await;
    assert!(!heard.iter().any(|one| one.starts_with('-')), "nobody was gone in between: {heard:?}");
    server.until(&["ZCARD", NODES], "2").await;
}

#[tokio::test]
async fn f15_scripts_that_redis_has_forgotten_are_sent_again() {
    let server = Server::start(&[]).await;
    let mut node = Node::start(&server).await;
    node.has("alice", 1);
    node.hears("+alice").await;
    server.ask(&["SCRIPT", "FLUSH"]).await;
    node.has("bob", 1);
    node.hears("+bob").await;
    node.comes_to(&[("alice", 1), ("bob", 1)]).await;
}

#[tokio::test]
async fn f33_junk_is_counted_and_ignored() {
    let server = Server::start(&[]).await;
    let mut node = Node::start(&server).await;
    for junk in ["", "+", "+chat:1", "!chat:1 x", "+no}channel x"] {
        server.ask(&["PUBLISH", TOLD, junk]).await;
    }
    node.has("alice", 1);
    node.hears("+alice").await;
    assert_eq!(node.roster.junk(), 5);
}

#[tokio::test]
async fn r18_a_connection_that_ends_is_dialled_again_and_what_it_missed_is_said_to_be_missed() {
    let server = Server::start(&[]).await;
    let mut node = Node::start(&server).await;
    node.has("alice", 1);
    node.hears("+alice").await;
    server.ask(&["CLIENT", "KILL", "TYPE", "pubsub"]).await;
    node.hears("?").await;
    node.has("bob", 1);
    node.hears("+bob").await;
}

#[tokio::test]
async fn while_redis_does_not_answer_nobody_knows_who_is_connected() {
    let server = Server::start(&[]).await;
    let quick = Timeouts { answer: Duration::from_millis(300), ..PATIENT };
    let mut node = Node::start_with(&server, quick).await;
    node.has("alice", 1);
    node.hears("+alice").await;
    server.signal("STOP");
    assert_eq!(node.members().await, Err(Reason::Overloaded));
    node.has("bob", 1);
    server.signal("CONT");
    let since = Instant::now();
    while node.members().await.map(|members| members.count) != Ok(2) {
        assert!(since.elapsed() < PATIENCE, "it does not come back");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Random comings, goings, deaths and losses of the store; afterwards the list is the truth.
#[tokio::test]
async fn i8_whatever_happens_the_list_comes_to_the_truth() {
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok());
    let seed: u64 = seed.unwrap_or_else(|| u64::from(std::process::id()) << 20 | 0x5eed);
    println!("SEED={seed}");
    let mut state = seed;
    let mut below = move |count: u64| {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        (state >> 33) % count
    };
    let server = Server::start(&[]).await;
    let mut nodes = Vec::new();
    let mut truth: Vec<BTreeMap<String, u32>> = Vec::new();
    for _ in 0..3 {
        nodes.push(Node::start(&server).await);
        truth.push(BTreeMap::new());
    }
    for _ in 0..400 {
        let at = usize::try_from(below(3)).unwrap();
        let name = format!("s{}", below(12));
        match below(60) {
            0 => {
                nodes[at] = Node::start(&server).await;
                truth[at].clear();
            }
            1 => drop(server.ask(&["FLUSHALL"]).await),
            2 => drop(server.ask(&["SCRIPT", "FLUSH"]).await),
            3 => tokio::time::sleep(Duration::from_millis(below(300))).await,
            4 => drop(server.ask(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]).await),
            5..30 => {
                nodes[at].has_not(&name);
                truth[at].remove(&name);
            }
            sessions => {
                let sessions = u32::try_from(sessions % 4).unwrap();
                nodes[at].has(&name, sessions);
                truth[at].insert(name, sessions);
            }
        }
    }
    let mut all: BTreeMap<&str, u32> = BTreeMap::new();
    for (name, sessions) in truth.iter().flatten() {
        *all.entry(name).or_default() += sessions;
    }
    let all: Vec<(&str, u32)> = all.into_iter().collect();
    let took = nodes[0].comes_to(&all).await;
    assert!(took < TIMES.lease + Duration::from_secs(5), "{took:?}");
    server.until(&["ZCARD", NODES], "3").await;
}
