//! Messages that count as placed once a replica has them: with one, with one that stands still, and with none.

use std::time::Duration;

use tidewire_broker::redis::{Error, Placing};
use tidewire_hub::publish::Publish;

use crate::node::{Node, dial, fresh, keyed, message, seqs};
use crate::server::{Server, pair};

const LONG: Duration = Duration::from_secs(4);
const SHORT: Duration = Duration::from_millis(50);

#[tokio::test]
async fn f12_what_counts_as_placed_is_on_the_replica() {
    let (master, replica) = pair().await;
    let mut node = Node::at(&master).await;
    node.waits_for_a_replica(LONG);
    for round in 1..=20 {
        let placed = node.places("a", "x").await;
        assert_eq!(placed.seq, round);
        assert_eq!(replica.text(&["HGET", "{tidewire:0}:fence", "seq"]).await, round.to_string());
    }
}

#[tokio::test]
async fn f12_one_wait_goes_out_for_a_flush_and_none_inside_the_script() {
    let (master, _replica) = pair().await;
    let mut node = Node::at(&master).await;
    node.waits_for_a_replica(LONG);
    node.places("a", "x").await;
    let messages: Vec<Publish> = (0..500).map(|at| message("a", &at.to_string())).collect();
    master.ask(&["CONFIG", "RESETSTAT"]).await;
    assert!(node.publish_all(&messages.iter().collect::<Vec<_>>()).await.iter().all(Result::is_ok));
    let stats = master.text(&["INFO", "commandstats"]).await;
    assert!(stats.contains("cmdstat_wait:calls=1,"), "{stats}");
}

#[tokio::test]
async fn r21_a_replica_that_stands_still_leaves_the_outcome_unknown_and_a_key_settles_it() {
    let (master, replica) = pair().await;
    let mut node = Node::at(&master).await;
    node.waits_for_a_replica(LONG);
    node.publishes(&keyed("a", "0", "k0")).await.unwrap();
    replica.signal("STOP");
    node.waits_for_a_replica(SHORT);
    let (first, second) = (keyed("a", "1", "k1"), message("b", "2"));
    let reused = keyed("a", "other", "k0");
    let outcomes = node.publish_all(&[&first, &second, &reused]).await;
    // What was refused was refused, whoever has it.
    assert_eq!(outcomes, [Err(Error::Unreplicated), Err(Error::Unreplicated), Ok(Placing::KeyReused)]);
    // It stands, and another repetition does not make it stand twice.
    assert_eq!(node.publishes(&first).await, Err(Error::Unreplicated));
    assert_eq!(seqs(&node.slice("a", 1).await), [(2, 1)]);
    replica.signal("CONT");
    node.waits_for_a_replica(LONG);
    let Ok(Placing::Repeated(position)) = node.publishes(&first).await else { panic!() };
    assert_eq!(position.seq, 2);
    assert_eq!(replica.text(&["HGET", "{tidewire:0}:fence", "seq"]).await, "3");
}

#[tokio::test]
async fn f12_without_a_replica_nothing_counts_as_placed_and_what_was_forgotten_neither() {
    let server = Server::start(&[]).await;
    let mut node = Node::at(&server).await;
    node.waits_for_a_replica(SHORT);
    server.ask(&["SCRIPT", "FLUSH"]).await;
    assert_eq!(node.publishes(&message("a", "1")).await, Err(Error::Unreplicated));
    assert_eq!(node.slice("a", 0).await.messages.len(), 1);
    // A node that need not wait for one is in the same log.
    assert_eq!(Node::at(&server).await.places("a", "2").await.seq, 2);
}

#[tokio::test]
async fn s53_a_user_who_may_not_wait_for_replicas_is_told_before_anything_is_published() {
    let server = Server::start(&[]).await;
    server.ask(&["ACL", "SETUSER", "some", "on", ">pw", "~*", "&*", "+@all", "-wait"]).await;
    let mut node = Node::at_url(&server.url_as("some", "pw")).await;
    node.waits_for_a_replica(SHORT);
    assert_eq!(node.log.handshake(&node.past, fresh()).await, Err(Error::Auth));
}

#[tokio::test]
async fn f10_a_replica_takes_nobody_in_who_waits_for_replicas() {
    let (master, replica) = pair().await;
    let mut node = Node::at(&master).await;
    node.log = dial(&replica.url()).await.unwrap();
    node.waits_for_a_replica(SHORT);
    assert_eq!(node.log.handshake(&node.past, fresh()).await, Err(Error::ReadOnly));
}
