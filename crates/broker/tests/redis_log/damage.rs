//! Stores that are emptied, damaged, restarted or evicted from.

use tidewire_broker::redis::{Error, Verdict};
use tidewire_hub::limits::POLL_PAGE;

use crate::node::{Node, channel, message, seqs};
use crate::server::Server;

#[tokio::test]
async fn f14_an_empty_store_and_a_damaged_one_begin_another_log() {
    let server = Server::start(&[]).await;
    let mut node = Node::at(&server).await;
    let fence = "{tidewire:0}:fence";
    for damage in [
        &["FLUSHALL"][..],
        &["DEL", fence],
        &["HDEL", fence, "seq"],
        &["HDEL", fence, "generation", "open"],
        // The counter is set back: the stream refuses what is smaller.
        &["HSET", fence, "seq", "1"],
    ] {
        for text in ["1", "2", "3"] {
            node.places("a", text).await;
        }
        let (seen, era) = (node.places("a", "4").await, node.fence.era);
        server.ask(damage).await;
        assert_eq!(node.publishes(&message("a", "5")).await, Err(Error::Fenced), "{damage:?}");
        let read = node.log.read(&node.fence, &[(channel("a"), 0)], POLL_PAGE).await;
        assert!(matches!(read, Err(Error::Fenced)), "{damage:?}");
        node.comes_to(&server).await.unwrap();
        assert_ne!(node.fence.era, era, "{damage:?}");
        assert_eq!(node.judges(seen), Verdict::Unknown);
        // Never "XADD id smaller" for ever, and nothing of before under the new ids.
        assert_eq!(node.places("a", "5").await.seq, 1);
        assert_eq!(node.slice("a", 0).await.messages.len(), 1);
    }
}

#[tokio::test]
async fn f14_a_second_node_after_a_flush_is_no_reason_for_another_gap() {
    let server = Server::start(&[]).await;
    let (mut first, mut second) = (Node::at(&server).await, Node::at(&server).await);
    first.places("a", "1").await;
    second.places("a", "2").await;
    server.ask(&["FLUSHALL"]).await;
    first.comes_to(&server).await.unwrap();
    let seen = first.places("a", "3").await;
    second.comes_to(&server).await.unwrap();
    assert_eq!(second.judges(seen), Verdict::Whole);
}

#[tokio::test]
async fn f14_a_lost_stream_is_a_gap_and_a_strange_key_is_no_loop() {
    let server = Server::start(&[]).await;
    let mut node = Node::at(&server).await;
    node.places("a", "1").await;
    let streams: Vec<String> = redis::from_redis_value(server.ask(&["KEYS", "*:s:a"]).await).unwrap();
    server.ask(&["DEL", &streams[0]]).await;
    node.places("a", "2").await;
    let slice = node.slice("a", 0).await;
    assert_eq!((slice.base, seqs(&slice)), (1, vec![(2, 1)]));
    server.ask(&["SET", &streams[0], "strange"]).await;
    assert_eq!(node.publishes(&message("a", "3")).await, Err(Error::Fenced));
    node.comes_to(&server).await.unwrap();
    node.places("a", "3").await;
}

#[tokio::test]
async fn r20_a_server_that_evicts_is_told_of() {
    let server = Server::start(&["--maxmemory-policy", "allkeys-lru"]).await;
    assert!(!Node::at(&server).await.fence.evicts);
    server.ask(&["CONFIG", "SET", "maxmemory", "100mb"]).await;
    assert!(Node::at(&server).await.fence.evicts);
}

#[tokio::test]
async fn f5_a_restart_with_its_data_goes_on_and_one_without_begins_anew() {
    let mut kept = Server::start(&["--appendonly", "yes", "--appendfsync", "always"]).await;
    let mut lost = Server::start(&[]).await;
    let (mut one, mut other) = (Node::at(&kept).await, Node::at(&lost).await);
    let (seen, gone) = (one.places("a", "1").await, other.places("a", "1").await);
    kept.crash_and_restart().await;
    lost.crash_and_restart().await;
    assert_eq!(one.publishes(&message("a", "2")).await, Err(Error::Broken));
    one.comes_to(&kept).await.unwrap();
    other.comes_to(&lost).await.unwrap();
    assert_eq!([one.judges(seen), other.judges(gone)], [Verdict::Whole, Verdict::Unknown]);
    assert_ne!(one.fence.generation, seen.generation);
    assert_eq!([one.places("a", "2").await.seq, other.places("a", "2").await.seq], [2, 1]);
}
