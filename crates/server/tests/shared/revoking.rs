//! Revocations that every node hears of, whatever becomes of Redis (security rule S26).

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tidewire_broker::memory::{Memory, Options};
use tidewire_broker::redis::{Address, Aside, Timeouts};
use tidewire_hub::broker::Broker as _;
use tidewire_hub::deliver::{Command, Full, Outlet};
use tidewire_hub::grant::{Grant, Holder, Token};
use tidewire_hub::limits::{Limits, Retentions};
use tidewire_hub::position::Gen;
use tidewire_hub::revocation::{Revocation, Revocations, Revoked};
use tidewire_server::clock::Clock;
use tidewire_server::shared::{Ledger, Names, Unwritten};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::relay::Relay;
use crate::server::{Server, pair};

const KEY: &str = "{tidewire:aside}:revocations";

/// How soon everybody knows.
pub(crate) const KICK: Duration = Duration::from_secs(1);
const HEALED: Duration = Duration::from_secs(5);

/// As a node has them.
const TIMEOUTS: Timeouts = Timeouts { dial: Duration::from_secs(1), answer: Duration::from_secs(1) };

pub(crate) struct Node {
    ledger: Ledger,
    revocations: Arc<Revocations>,
    ended: Arc<Ended>,
    clock: Clock,
    task: JoinHandle<()>,
}

/// What the connections of a node were told.
#[derive(Default)]
struct Ended(Mutex<Vec<Revoked>>);

impl Outlet for Ended {
    fn send(&self, command: Command) -> Result<(), Full> {
        if let Command::Revoke(revocation) = command {
            self.0.lock().unwrap().push(revocation.what.clone());
        }
        Ok(())
    }
}

impl Node {
    fn start(url: &str) -> Node {
        let revocations = Arc::new(Revocations::default());
        let options = Options {
            limits: Arc::new(Limits::default()),
            retentions: Retentions::default(),
            generation: Gen::from_random(1),
            revocations: revocations.clone(),
        };
        let (broker, ended) = (Arc::new(Memory::new(&options)), Arc::new(Ended::default()));
        broker.attach(ended.clone());
        let link = || Aside::new(Address::parse(url, None).unwrap(), TIMEOUTS);
        let clock = Clock::start();
        let names = Names::new("tidewire");
        let ledger =
            Ledger::new(link(), &names, revocations.clone(), broker, clock.clone(), Handle::current());
        let task = tokio::spawn(ledger.clone().follow(link()));
        Node { ledger, revocations, ended, clock, task }
    }

    pub(crate) async fn ready(url: &str) -> Node {
        let node = Node::start(url);
        tokio::time::timeout(HEALED, node.ledger.ready()).await.unwrap();
        node
    }

    async fn revoke_for(&self, subject: &str, ttl: Duration) -> Result<(), Unwritten> {
        let now = self.clock.now();
        let until_ms = now.monotonic_ms + ttl.as_millis() as u64;
        let what = Revoked::Subject(subject.into());
        let (done, outcome) = oneshot::channel();
        let revocation = Revocation { what, at_s: now.wall_ms / 1_000, until_ms };
        self.ledger.revoke(revocation, Box::new(move |outcome| done.send(outcome).unwrap()));
        outcome.await.unwrap()
    }

    pub(crate) async fn revoke(&self, subject: &str) -> Result<(), Unwritten> {
        self.revoke_for(subject, Duration::from_secs(3_600)).await
    }

    /// Whether whoever comes now as `subject` is turned away.
    pub(crate) fn bars(&self, subject: &str) -> bool {
        let token = Token { subject: subject.into(), id: None, issued_at_s: 0 };
        self.revocations.ends(&Grant { holder: Holder::Token(Arc::new(token)), ..Grant::everything() })
    }

    /// How often its connections were told to end those of `subject`.
    fn ended(&self, subject: &str) -> usize {
        let subject = Revoked::Subject(subject.into());
        self.ended.0.lock().unwrap().iter().filter(|what| **what == subject).count()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Waits until `holds`, `within` from now.
pub(crate) async fn until(within: Duration, what: &str, mut holds: impl FnMut() -> bool) {
    let since = Instant::now();
    while !holds() {
        assert!(since.elapsed() < within, "{what}: not within {within:?}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

async fn entries(server: &Server) -> usize {
    server.text(&["XLEN", KEY]).await.parse().unwrap()
}

pub(crate) async fn holds(server: &Server, count: usize) {
    let since = Instant::now();
    while entries(server).await != count {
        assert!(since.elapsed() < HEALED, "{} entries, not {count}", entries(server).await);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn three(url: &str) -> [Node; 3] {
    [Node::ready(url).await, Node::ready(url).await, Node::ready(url).await]
}

#[tokio::test]
async fn s26_rights_taken_back_at_one_node_end_on_all_three_within_a_second() {
    let server = Server::start(&[]).await;
    let nodes = three(&server.url()).await;
    let mut slowest = Duration::ZERO;
    for round in 0..30 {
        let subject = format!("user{round}");
        let since = Instant::now();
        nodes[round % 3].revoke(&subject).await.unwrap();
        let everywhere = || nodes.iter().all(|node| node.bars(&subject) && node.ended(&subject) > 0);
        until(KICK, "the kick", everywhere).await;
        slowest = slowest.max(since.elapsed());
    }
    println!("slowest of 30 kicks: {slowest:?}");
    assert!(!nodes[0].bars("somebody else"));
}

#[tokio::test]
async fn s26_a_node_that_begins_is_ready_once_it_knows_all_that_was_revoked() {
    let server = Server::start(&[]).await;
    let node = Node::ready(&server.url()).await;
    let many: Vec<String> = (0..2_500).map(|number| format!("user{number}")).collect();
    for subject in &many {
        node.revoke(subject).await.unwrap();
    }
    drop(node);
    let successor = Node::ready(&server.url()).await;
    assert!(many.iter().all(|subject| successor.bars(subject)));
    assert_eq!(successor.ledger.figures().records, 2_500);
}

#[tokio::test]
async fn s26_a_node_is_not_ready_while_redis_is_away() {
    let server = Server::start(&[]).await;
    let relay = Relay::to(&server.port()).await;
    relay.cut();
    let node = Node::start(&relay.url());
    assert!(tokio::time::timeout(Duration::from_millis(500), node.ledger.ready()).await.is_err());
    relay.lead_to(&server.port());
    tokio::time::timeout(HEALED, node.ledger.ready()).await.unwrap();
}

#[tokio::test]
async fn s26_a_node_that_was_cut_off_knows_within_five_seconds_of_its_return() {
    let server = Server::start(&[]).await;
    let relay = Relay::to(&server.port()).await;
    let (near, far) = (Node::ready(&server.url()).await, Node::ready(&relay.url()).await);
    relay.cut();
    for subject in ["a", "b"] {
        near.revoke(subject).await.unwrap();
    }
    // Long enough for its pauses to have grown.
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(!far.bars("a"));
    relay.lead_to(&server.port());
    until(HEALED, "healing", || far.ended("a") == 1 && far.ended("b") == 1).await;
    assert_eq!(far.ledger.figures().rewritten, 0);
}

#[tokio::test]
async fn s26_connections_that_redis_kills_lose_nothing() {
    let server = Server::start(&[]).await;
    let nodes = three(&server.url()).await;
    for round in 0..5 {
        server.ask(&["CLIENT", "KILL", "TYPE", "normal"]).await;
        let subject = format!("user{round}");
        // Answered or not, it is in force here, and written in the end.
        let _ = nodes[0].revoke(&subject).await;
        until(HEALED, "the kill", || nodes.iter().all(|node| node.bars(&subject))).await;
    }
    holds(&server, 5).await;
}

#[tokio::test]
async fn s26_what_was_revoked_while_redis_was_away_is_in_force_here_and_written_later() {
    let server = Server::start(&[]).await;
    let relay = Relay::to(&server.port()).await;
    let (near, far) = (Node::ready(&server.url()).await, Node::ready(&relay.url()).await);
    relay.cut();
    assert_eq!(far.revoke("a").await, Err(Unwritten::Unanswered));
    assert!(far.bars("a") && far.ended("a") == 1 && !near.bars("a"));
    relay.lead_to(&server.port());
    until(HEALED, "healing", || near.ended("a") == 1).await;
    holds(&server, 1).await;
}

#[tokio::test]
async fn s26_a_failover_that_lost_its_tail_brings_no_rights_back() {
    let (old, new) = pair().await;
    let relay = Relay::to(&old.port()).await;
    let nodes = three(&relay.url()).await;
    nodes[0].revoke("kept").await.unwrap();
    old.replicated().await;
    // From here on it gets nothing more, and the nodes do not know yet.
    new.promote().await;
    nodes[1].revoke("lost").await.unwrap();
    until(KICK, "the kick", || nodes.iter().all(|node| node.bars("lost"))).await;
    relay.cut();
    assert_eq!(entries(&new).await, 1, "its tail is lost");
    relay.lead_to(&new.port());
    until(HEALED, "rewriting", || nodes.iter().any(|node| node.ledger.figures().rewritten > 0)).await;
    // One for each, however many wrote it.
    tokio::time::sleep(Duration::from_secs(2)).await;
    holds(&new, 2).await;
    let fresh = Node::ready(&relay.url()).await;
    assert!(fresh.bars("kept") && fresh.bars("lost"));
    assert!(nodes.iter().all(|node| node.ended("lost") == 1), "nobody is kicked twice for it");
}

#[tokio::test]
async fn f14_a_store_that_was_emptied_is_filled_again() {
    let server = Server::start(&[]).await;
    let nodes = three(&server.url()).await;
    for subject in ["a", "b", "c"] {
        nodes[0].revoke(subject).await.unwrap();
    }
    until(KICK, "the kick", || nodes.iter().all(|node| node.bars("c"))).await;
    for _ in 0..2 {
        server.ask(&["FLUSHALL"]).await;
        until(HEALED, "filling", || nodes.iter().all(|node| node.ledger.figures().reread > 1)).await;
        holds(&server, 3).await;
    }
    nodes[2].revoke("d").await.unwrap();
    until(KICK, "the kick", || nodes.iter().all(|node| node.bars("d"))).await;
}

#[tokio::test]
async fn s26_an_entry_goes_when_a_later_one_says_the_same() {
    let server = Server::start(&[]).await;
    let nodes = three(&server.url()).await;
    for round in 0..20 {
        nodes[round % 3].revoke("a").await.unwrap();
    }
    holds(&server, 1).await;
    let fresh = Node::ready(&server.url()).await;
    assert!(fresh.bars("a"));
}

#[tokio::test]
async fn s26_what_has_ended_leaves_the_stream() {
    let server = Server::start(&[]).await;
    let long_ago = ["XADD", KEY, "*", "sub", "a", "at", "1", "until", "1000"];
    server.ask(&long_ago).await;
    let node = Node::ready(&server.url()).await;
    assert!(!node.bars("a"));
    holds(&server, 0).await;
}

#[tokio::test]
async fn f33_junk_in_the_stream_is_counted_and_hides_nothing_behind_it() {
    let server = Server::start(&[]).await;
    server.ask(&["XADD", KEY, "*", "junk", "\u{1b}[31m"]).await;
    let node = Node::ready(&server.url()).await;
    server.ask(&["XADD", KEY, "*", "sub", "a", "at", "x", "until", "9"]).await;
    server.ask(&["XADD", KEY, "*", "sub", "a", "at", "1", "until", "99999999999999"]).await;
    until(KICK, "the kick", || node.bars("a")).await;
    assert_eq!(node.ledger.figures().malformed, 2);
}

#[tokio::test]
async fn f33_something_else_under_its_name_keeps_a_node_from_starting() {
    let server = Server::start(&[]).await;
    server.ask(&["SET", KEY, "x"]).await;
    let node = Node::start(&server.url());
    assert!(tokio::time::timeout(Duration::from_millis(500), node.ledger.ready()).await.is_err());
    server.ask(&["DEL", KEY]).await;
    tokio::time::timeout(HEALED, node.ledger.ready()).await.unwrap();
}

#[tokio::test]
async fn a_full_redis_refuses_and_nothing_has_changed() {
    let server = Server::start(&[]).await;
    let node = Node::ready(&server.url()).await;
    server.ask(&["CONFIG", "SET", "maxmemory", "1"]).await;
    assert_eq!(node.revoke("a").await, Err(Unwritten::Refused));
    assert!(!node.bars("a"));
}
