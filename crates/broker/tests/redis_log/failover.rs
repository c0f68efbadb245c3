//! Promotions: what survived, what was lost, and who can tell (decision 13).

use std::time::Duration;

use tidewire_broker::redis::{Error, Verdict};
use tidewire_hub::limits::POLL_PAGE;
use tidewire_hub::position::Position;

use crate::node::{LEASE, Node, channel, dial, fresh, message, seqs};
use crate::server::{Server, pair};

#[tokio::test]
async fn f8_a_lost_tail_that_a_node_saw_makes_a_lossy_generation_and_reuses_no_id() {
    let (old, new) = pair().await;
    let mut node = Node::at(&old).await;
    let early = node.places("a", "1").await;
    old.replicated().await;
    new.promote().await;
    // The old master does not know yet, and acknowledges what the new one will never have.
    let lost = node.places("a", "lost").await;
    node.comes_to(&new).await.unwrap();
    assert_ne!(node.fence.generation, lost.generation);
    assert_eq!(node.judges(lost), Verdict::Lost);
    // Even a cursor below: what was lost came after it, and nobody will send it.
    assert_eq!(node.judges(early), Verdict::Lost);
    let next = node.places("a", "2").await;
    assert_eq!(next.seq, lost.seq);
    assert_ne!(next, lost);
    // It is announced once.
    let generation = node.fence.generation;
    node.comes_to(&new).await.unwrap();
    assert_eq!(node.fence.generation, generation);
    assert_eq!(node.judges(next), Verdict::Whole);
}

#[tokio::test]
async fn f8_a_failover_that_lost_nothing_passes_in_silence() {
    let (old, new) = pair().await;
    let mut node = Node::at(&old).await;
    let seen = node.places("a", "1").await;
    old.replicated().await;
    new.promote().await;
    node.comes_to(&new).await.unwrap();
    assert_ne!(node.fence.generation, seen.generation);
    assert_eq!(node.judges(seen), Verdict::Whole);
    assert_eq!(node.judges(Position { seq: seen.seq + 1, ..seen }), Verdict::Lost);
    let next = node.places("a", "2").await;
    let slice = node.slice("a", seen.seq).await;
    assert_eq!((slice.base <= seen.seq, seqs(&slice)), (true, vec![(next.seq, seen.seq)]));
}

#[tokio::test]
async fn r17_a_witness_that_comes_late_still_makes_a_lossy_generation() {
    let (old, new) = pair().await;
    let (mut first, mut second) = (Node::at(&old).await, Node::at(&old).await);
    let early = first.places("a", "1").await;
    old.replicated().await;
    new.promote().await;
    second.places("a", "lost").await;
    first.comes_to(&new).await.unwrap();
    assert_eq!(first.judges(early), Verdict::Whole);
    let between = first.places("a", "2").await;
    second.comes_to(&new).await.unwrap();
    assert_eq!([second.judges(early), second.judges(between)], [Verdict::Lost; 2]);
    assert_eq!(first.publishes(&message("a", "3")).await, Err(Error::Fenced));
    first.comes_to(&new).await.unwrap();
    assert_eq!(first.fence.generation, second.fence.generation);
    assert_eq!(first.judges(early), Verdict::Lost);
}

#[tokio::test]
async fn f8_a_generation_that_did_not_survive_is_announced_once() {
    let (a, b, c) = (Server::start(&[]).await, Server::start(&[]).await, Server::start(&[]).await);
    b.follow(&a).await;
    c.follow(&a).await;
    let mut node = Node::at(&a).await;
    let early = node.places("a", "1").await;
    a.replicated().await;
    for server in [&b, &c] {
        server.promote().await;
    }
    node.comes_to(&b).await.unwrap();
    assert_eq!(node.judges(early), Verdict::Whole);
    let lost = node.places("a", "lost").await;
    // The server that knows of it is gone, and the next master never heard of its generation.
    node.comes_to(&c).await.unwrap();
    assert_eq!([node.judges(early), node.judges(lost)], [Verdict::Lost, Verdict::Unknown]);
    let generation = node.fence.generation;
    node.comes_to(&c).await.unwrap();
    assert_eq!(node.fence.generation, generation);
}

#[tokio::test]
async fn r17_the_dead_are_witnesses_after_a_promotion_and_not_without_one() {
    let (old, new) = pair().await;
    let (mut alive, dead) = (Node::at(&old).await, Node::at(&old).await);
    let early = alive.places("a", "1").await;
    // A death alone costs nothing. Time passes by the server's clock, so the lease is short.
    drop(dead);
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(alive.renews(Duration::from_millis(10)).await, Ok((1, 1, 0)));
    assert_eq!(alive.judges(early), Verdict::Whole);

    let dead = Node::at(&old).await;
    old.replicated().await;
    new.promote().await;
    drop(dead);
    alive.comes_to(&new).await.unwrap();
    assert_eq!(alive.judges(early), Verdict::Whole);
    assert_eq!(alive.renews(LEASE).await, Ok((1, 2, 1)));
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(alive.renews(Duration::from_millis(10)).await, Err(Error::Fenced));
    alive.comes_to(&new).await.unwrap();
    assert_eq!(alive.judges(early), Verdict::Lost);
    assert_eq!(alive.renews(LEASE).await, Ok((1, 1, 0)));
}

#[tokio::test]
async fn r17_a_node_that_was_given_up_cannot_publish_before_it_comes_in_again() {
    let server = Server::start(&[]).await;
    let (mut slow, mut other) = (Node::at(&server).await, Node::at(&server).await);
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(other.renews(Duration::from_millis(10)).await, Ok((0, 1, 0)));
    assert_eq!(slow.publishes(&message("a", "1")).await, Err(Error::Fenced));
    assert_eq!(slow.renews(LEASE).await, Err(Error::Fenced));
    other.places("a", "1").await;
    slow.comes_to(&server).await.unwrap();
    assert_eq!(slow.fence.generation, other.fence.generation);
    slow.places("a", "2").await;
}

#[tokio::test]
async fn r17_there_is_no_way_back_to_a_server_that_was_left() {
    let (old, new) = pair().await;
    let mut node = Node::at(&old).await;
    old.replicated().await;
    new.promote().await;
    node.comes_to(&new).await.unwrap();
    let fence = old.ask(&["HGETALL", "{tidewire:0}:fence"]).await;
    assert_eq!(node.comes_to(&old).await, Err(Error::Left));
    assert_eq!(old.ask(&["HGETALL", "{tidewire:0}:fence"]).await, fence);
}

#[tokio::test]
async fn r17_there_is_no_way_to_a_server_that_was_replaced_by_the_one_a_node_is_at() {
    let (first, second) = pair().await;
    let mut node = Node::at(&first).await;
    first.replicated().await;
    second.promote().await;
    // Nobody comes to the second one before it is replaced in turn.
    let third = Server::start(&[]).await;
    third.follow(&second).await;
    third.promote().await;
    node.comes_to(&third).await.unwrap();
    assert_eq!(node.comes_to(&second).await, Err(Error::Left));
    assert_eq!(node.comes_to(&first).await, Err(Error::Left));
    node.comes_to(&third).await.unwrap();
}

#[tokio::test]
async fn f7_a_planned_failover_passes_in_silence() {
    let (old, new) = pair().await;
    let mut node = Node::at(&old).await;
    let seen = node.places("a", "1").await;
    old.replicated().await;
    old.ask(&["FAILOVER", "TO", "127.0.0.1", &new.port()]).await;
    new.until(&["INFO", "replication"], "role:master").await;
    old.until(&["INFO", "replication"], "role:slave").await;
    // The kept link still stands, at what is a replica now.
    assert_eq!(node.publishes(&message("a", "2")).await, Err(Error::ReadOnly));
    let probe = node.log.probe().await.unwrap();
    assert!(!probe.is_master && probe.replication != node.fence.replication);
    node.comes_to(&new).await.unwrap();
    assert_eq!(node.judges(seen), Verdict::Whole);
    assert_eq!(node.places("a", "2").await.seq, 2);
}

#[tokio::test]
async fn f10_a_replica_takes_nobody_in_and_no_message() {
    let (master, replica) = pair().await;
    let mut node = Node::at(&master).await;
    master.replicated().await;
    node.log = dial(&replica.url()).await.unwrap();
    assert_eq!(node.log.handshake(&node.past, fresh()).await, Err(Error::ReadOnly));
    assert_eq!(node.publishes(&message("a", "1")).await, Err(Error::ReadOnly));
    assert_eq!(node.renews(LEASE).await, Err(Error::ReadOnly));
    let read = node.log.read(&node.fence, &[(channel("a"), 0)], POLL_PAGE).await;
    assert!(matches!(read, Err(Error::Fenced)));
    assert!(!node.log.probe().await.unwrap().is_master);
}

#[tokio::test]
async fn f12_a_master_without_its_replicas_refuses_and_writes_nothing() {
    let (master, replica) = pair().await;
    let mut node = Node::at(&master).await;
    master.ask(&["CONFIG", "SET", "min-replicas-to-write", "1"]).await;
    node.places("a", "1").await;
    drop(replica);
    master.until(&["INFO", "replication"], "min_slaves_good_slaves:0").await;
    let refused = Error::Refused { code: "NOREPLICAS".into() };
    assert_eq!(node.publishes(&message("a", "2")).await, Err(refused.clone()));
    assert_eq!(node.renews(LEASE).await, Err(refused));
    assert_eq!(master.text(&["HGET", "{tidewire:0}:fence", "seq"]).await, "1");
    // What is kept is read.
    assert_eq!(node.slice("a", 0).await.messages.len(), 1);
}
