//! Rates that hold for all nodes together. What shares come to is settled in memory, where time is turned by hand; here it is
//! that nodes hear of each other through Redis.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tidewire_hub::grant::Holder;
use tidewire_hub::limits::Limits;
use tidewire_server::clock::Clock;
use tidewire_server::crowd::Crowd;
use tidewire_server::shared::{Names, Rates};
use tokio::task::JoinHandle;

use crate::server::Server;
use crate::{PATIENT, aside};

const PER_SECOND: u32 = 40;

struct Node {
    crowd: Crowd,
    task: JoinHandle<()>,
}

impl Node {
    fn start(server: &Server, number: u64) -> Node {
        let limits = Limits { key_publishes_per_second_max: PER_SECOND, ..Limits::default() };
        let rates = Rates::new();
        let crowd = Crowd::new(Arc::new(limits)).sharing(&rates);
        let names = Names::new("tidewire");
        let task = tokio::spawn(rates.report(aside(server, PATIENT), names, number, Clock::start()));
        Node { crowd, task }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What passes while every node is asked three times as often as the limit has it.
async fn hammer(nodes: &[Node], lasts: Duration) -> (u32, Duration) {
    let holder = Holder::Key("shop".into());
    let (since, mut passed) = (Instant::now(), 0);
    while since.elapsed() < lasts {
        for node in nodes {
            passed += u32::from(node.crowd.may_publish(&holder, &holder.publisher()).is_ok());
        }
        tokio::time::sleep(Duration::from_millis(8)).await;
    }
    (passed, since.elapsed())
}

#[tokio::test]
async fn s37_a_key_that_publishes_at_three_nodes_gets_its_limit_once() {
    let server = Server::start(&[]).await;
    let nodes: Vec<Node> = (1..=3).map(|number| Node::start(&server, number)).collect();
    let (passed, lasted) = hammer(&nodes, Duration::from_secs(12)).await;
    let due = f64::from(PER_SECOND) * (lasted.as_secs_f64() + 1.0);
    // A bucket and two seconds of inflow at each node, until they know of each other.
    let overshoot = f64::from(9 * PER_SECOND);
    println!("{passed} passed in {lasted:?}; one node lets {due:.0} through");
    assert!(f64::from(passed) <= due + overshoot, "{passed}");
    assert!(f64::from(passed) >= due * 0.7, "{passed}");

    let keys: Vec<String> = redis::from_redis_value(server.ask(&["KEYS", "*"]).await).unwrap();
    let [key] = &keys[..] else { panic!("{keys:?}") };
    assert!(key.starts_with("{tidewire:aside}:r:") && !key.contains("shop"));
    let left: i64 = server.text(&["PTTL", key]).await.parse().unwrap();
    assert!((1..=10_000).contains(&left), "{left}");
    assert_eq!(server.text(&["HLEN", key]).await, "3");
}

#[tokio::test]
async fn f33_junk_beside_what_nodes_tell_is_passed_over() {
    let server = Server::start(&[]).await;
    let node = Node::start(&server, 1);
    hammer(std::slice::from_ref(&node), Duration::from_millis(1_500)).await;
    let keys: Vec<String> = redis::from_redis_value(server.ask(&["KEYS", "*"]).await).unwrap();
    for (field, junk) in [("zz", "1 2 3 4"), ("00000000000000ff", "junk"), ("00000000000000fe", "\u{1}")] {
        server.ask(&["HSET", &keys[0], field, junk]).await;
    }
    let (passed, lasted) = hammer(std::slice::from_ref(&node), Duration::from_secs(3)).await;
    assert!(f64::from(passed) >= f64::from(PER_SECOND) * (lasted.as_secs_f64() - 1.0) * 0.7, "{passed}");
}
