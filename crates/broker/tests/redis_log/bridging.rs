//! The bridge to plain channels, on a real Redis and with clients of it that are not ours.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use redis::Value;
use tidewire_broker::memory::{Memory, Options};
use tidewire_broker::redis::{Address, Bridge, Crossing, Timeouts};
use tidewire_hub::admit::{Cause, ConnId, Join, OutletId, Subscribe, Transport};
use tidewire_hub::bridge::{Bridged, Outward as _};
use tidewire_hub::broker::{Broker as _, Now};
use tidewire_hub::channel::ChannelSet;
use tidewire_hub::deliver::{Command, Full, Outlet};
use tidewire_hub::grant::Grant;
use tidewire_hub::limits::{Limits, STREAM_PAGE};
use tidewire_hub::position::{Gen, Start};
use tidewire_hub::publish::{Publish, Receipt};
use tidewire_hub::reason::Reason;

use crate::node::{channel, message};
use crate::server::Server;

const NOW: Now = Now { monotonic_ms: 1_000, wall_ms: 1_700_000_000_000, micros: 0 };

/// How soon a link that hears nothing any more has been noticed.
const NOTICED: Duration = Duration::from_secs(3);

/// A node with one outlet that bridges `events` one way and `jobs` both.
struct Node {
    broker: Arc<Memory>,
    outlet: OutletId,
    inbox: Arc<Inbox>,
    bridge: Bridge,
}

#[derive(Default)]
struct Inbox(Mutex<Vec<String>>);

impl Outlet for Inbox {
    fn send(&self, command: Command) -> Result<(), Full> {
        let word = match command {
            Command::Deliver(message) => {
                assert_eq!((message.id(), message.time_ms), (None, NOW.wall_ms));
                let text = message.payload.as_text().map(ToOwned::to_owned);
                let shown = text.unwrap_or_else(|| format!("{:?}", &message.payload.as_bytes()[..]));
                format!("{} {shown}", message.channel)
            }
            Command::Lost(loss) => {
                let names: Vec<_> = loss.channels.keys().map(ToString::to_string).collect();
                format!("{} {}", loss.reason.as_str(), names.join(","))
            }
            _ => return Ok(()),
        };
        self.0.lock().unwrap().push(word);
        Ok(())
    }
}

impl Node {
    fn on(server: &Server) -> Node {
        Node::bridging(server, &["events", "jobs"])
    }

    fn bridging(server: &Server, names: &[&str]) -> Node {
        let names: Vec<_> = names.iter().map(|name| channel(name)).collect();
        let bridged = Bridged::new(&names, &[channel("jobs")]);
        let options = Options {
            limits: Arc::new(Limits::default()),
            retentions: tidewire_hub::limits::Retentions::default(),
            generation: Gen::from_random(0x5eed),
            revocations: Arc::default(),
        };
        let broker = Arc::new(Memory::new(&options).bridging(bridged.clone()));
        let inbox = Arc::new(Inbox::default());
        let outlet = broker.attach(inbox.clone());
        let address = Address::parse(&server.url(), None).unwrap();
        let crossing = Crossing { address, bridged, payload_bytes_max: 1_000, timeouts: Timeouts::default() };
        let bridge = Bridge::start(crossing, broker.clone(), Arc::new(|| NOW));
        Node { broker, outlet, inbox, bridge }
    }

    async fn is_up(&self) {
        self.until("is up", || self.bridge.crossed().is_up).await;
    }

    fn listens(&self, names: &str) {
        let subscribe = Subscribe {
            outlet: self.outlet,
            conn: ConnId(7),
            transport: Transport::Sse,
            grant: Arc::new(Grant::everything()),
            channels: ChannelSet::parse(names, 100).unwrap(),
            start: Start::Live,
            page: STREAM_PAGE,
            join: Join::WhenCaughtUp,
            cause: Cause::Arrival(Box::default()),
        };
        self.broker.subscribe(subscribe, NOW);
    }

    /// Waits until the outlet has been told as many things as are expected, and compares.
    async fn is_told(&self, expected: &[&str]) {
        self.until(&format!("is told {expected:?}"), || self.told().len() >= expected.len()).await;
        assert_eq!(std::mem::take(&mut *self.inbox.0.lock().unwrap()), expected);
    }

    fn told(&self) -> Vec<String> {
        self.inbox.0.lock().unwrap().clone()
    }

    async fn until(&self, what: &str, mut is_so: impl FnMut() -> bool) {
        let since = Instant::now();
        while !is_so() {
            assert!(since.elapsed() < Duration::from_secs(10), "{what}: {:?} {:?}", self.told(), self.bridge);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn send(&self, publish: Publish) -> Result<Receipt, Reason> {
        let (done, outcome) = tokio::sync::oneshot::channel();
        self.bridge.send(publish, Box::new(move |result| done.send(result).unwrap()));
        outcome.await.unwrap()
    }
}

#[tokio::test]
async fn what_anybody_publishes_on_a_bridged_channel_is_relayed_in_its_order_and_nothing_else_is() {
    let server = Server::start(&[]).await;
    let node = Node::on(&server);
    node.is_up().await;
    node.listens("events,jobs,orders");
    for (name, payload) in [("events", "one"), ("orders", "no"), ("jobs", "two"), ("event", "no")] {
        server.ask(&["PUBLISH", name, payload]).await;
    }
    let mut binary = redis::cmd("PUBLISH");
    binary.arg("events").arg(&[0xff_u8, 0][..]);
    server.command(binary).await;
    server.ask(&["PUBLISH", "events", ""]).await;
    node.is_told(&["events one", "jobs two", "events [255, 0]", "events "]).await;
}

#[tokio::test]
async fn f11_a_lost_link_is_said_at_once_and_again_where_it_hears_again() {
    let server = Server::start(&[]).await;
    let node = Node::on(&server);
    node.is_up().await;
    node.listens("events");
    server.ask(&["CLIENT", "KILL", "TYPE", "pubsub"]).await;
    node.is_told(&["transient events", "transient events"]).await;
    node.is_up().await;
    server.ask(&["PUBLISH", "events", "on it goes"]).await;
    node.is_told(&["events on it goes"]).await;
    assert_eq!(node.bridge.crossed().disturbances, 1);
}

#[tokio::test]
async fn f10_a_deaf_link_is_noticed_and_nothing_comes_twice_over_it() {
    let server = Server::start(&[]).await;
    let node = Node::on(&server);
    node.is_up().await;
    node.listens("events");
    server.signal("STOP");
    let since = Instant::now();
    node.is_told(&["transient events"]).await;
    assert!(since.elapsed() < NOTICED, "{:?}", since.elapsed());
    // Who comes meanwhile is told where the link hears again.
    node.listens("jobs");
    server.signal("CONT");
    node.is_up().await;
    server.ask(&["PUBLISH", "events", "once"]).await;
    node.until("hears", || node.told().contains(&"events once".into())).await;
    let mut told = node.told();
    told.sort();
    assert_eq!(told, ["events once", "transient events", "transient jobs"]);
}

#[tokio::test]
async fn a_restarted_redis_is_bridged_again_by_itself() {
    let mut server = Server::start(&[]).await;
    let node = Node::on(&server);
    node.is_up().await;
    node.listens("jobs");
    server.crash_and_restart().await;
    node.is_told(&["transient jobs", "transient jobs"]).await;
    node.is_up().await;
    assert_eq!(node.send(message("jobs", "hi")).await.unwrap().position, None);
    node.is_told(&["jobs hi"]).await;
}

#[tokio::test]
async fn a_service_hears_what_a_client_sends_and_everybody_hears_its_answer() {
    let server = Server::start(&[]).await;
    let (near, far) = (Node::on(&server), Node::on(&server));
    for node in [&near, &far] {
        node.is_up().await;
        node.listens("jobs");
    }
    let mut service = server.subscribe(&["jobs"]).await;
    assert_eq!(near.send(message("jobs", "2+2")).await.unwrap().position, None);
    assert_eq!(service.next().await, ("jobs".to_owned(), b"2+2".to_vec()));
    server.ask(&["PUBLISH", "jobs", "4"]).await;
    for node in [&near, &far] {
        node.is_told(&["jobs 2+2", "jobs 4"]).await;
    }
    assert_eq!(near.bridge.crossed().sent, 1);
}

#[tokio::test]
async fn a_message_that_is_too_large_is_lost_and_said_to_be_in_its_place() {
    let server = Server::start(&[]).await;
    let node = Node::on(&server);
    node.is_up().await;
    node.listens("events,jobs");
    server.ask(&["PUBLISH", "events", &"x".repeat(1_000)]).await;
    server.ask(&["PUBLISH", "events", &"x".repeat(1_001)]).await;
    server.ask(&["PUBLISH", "events", "small"]).await;
    node.is_told(&[&format!("events {}", "x".repeat(1_000)), "transient events", "events small"]).await;
    assert_eq!(node.bridge.crossed().too_large, 1);
}

#[tokio::test]
async fn what_may_not_go_out_is_refused_and_what_may_have_gone_is_unknown() {
    let server = Server::start(&[]).await;
    let node = Node::on(&server);
    node.is_up().await;
    assert_eq!(node.send(message("events", "x")).await, Err(Reason::Forbidden));
    let mut service = server.subscribe(&["events", "jobs"]).await;
    node.send(message("jobs", "first")).await.unwrap();
    assert_eq!(service.next().await.1, b"first", "and what was refused has not come");
    server.signal("STOP");
    let since = Instant::now();
    assert_eq!(node.send(message("jobs", "x")).await, Err(Reason::OutcomeUnknown));
    assert!(since.elapsed() < Duration::from_secs(2));
    server.signal("CONT");
}

#[tokio::test]
async fn f8_a_master_that_was_demoted_is_left_and_the_loss_is_said() {
    let (server, other) = (Server::start(&[]).await, Server::start(&[]).await);
    let node = Node::on(&server);
    node.is_up().await;
    node.listens("events");
    let since = Instant::now();
    server.follow(&other).await;
    node.until("is told", || !node.told().is_empty()).await;
    assert!(since.elapsed() < NOTICED, "{:?}", since.elapsed());
    node.until("hears the replica", || node.told().len() >= 2 && node.bridge.crossed().is_up).await;
    other.ask(&["PUBLISH", "events", "through the replica"]).await;
    node.until("hears", || node.told().contains(&"events through the replica".into())).await;
}

#[tokio::test]
async fn a_thousand_channels_are_one_subscription() {
    let server = Server::start(&[]).await;
    let names: Vec<String> = (0..1_000).map(|number| format!("{number:0>128}")).collect();
    let node = Node::bridging(&server, &names.iter().map(String::as_str).collect::<Vec<_>>());
    node.is_up().await;
    node.listens(&names[999]);
    server.ask(&["PUBLISH", &names[999], "x"]).await;
    node.is_told(&[&format!("{} x", names[999])]).await;
    let Value::Array(channels) = server.ask(&["PUBSUB", "CHANNELS"]).await else { panic!() };
    assert_eq!(channels.len(), 1_000);
}

#[tokio::test]
async fn a_bridge_that_is_dropped_hears_nothing_any_more() {
    let server = Server::start(&[]).await;
    let node = Node::on(&server);
    node.is_up().await;
    node.listens("events");
    let Node { bridge, inbox, .. } = node;
    drop(bridge);
    server.ask(&["PUBLISH", "events", "x"]).await;
    server.until(&["INFO", "stats"], "pubsub_channels:0").await;
    assert!(inbox.0.lock().unwrap().is_empty());
}
