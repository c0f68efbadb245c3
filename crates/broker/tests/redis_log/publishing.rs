//! Publishing: places, keys, full memory, a script that was forgotten, and a server that stands still.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tidewire_broker::redis::{Envelope, Error, Log, Placing, Timeouts};
use tidewire_hub::limits::POLL_PAGE;
use tidewire_hub::message::{EventName, Payload};
use tidewire_hub::position::Position;
use tidewire_hub::publish::Publish;

use crate::node::{LEASE, Node, PREFIX, channel, dial, endpoint, keyed, message, seqs};
use crate::server::{Server, pair};

#[tokio::test]
async fn r15_messages_take_the_next_place_and_the_prev_of_their_channel() {
    let server = Server::start(&[]).await;
    let mut node = Node::at(&server).await;
    let names = ["a", "b"].map(|name| node.log.names().told(&channel(name)));
    let mut heard = server.subscribe(&[&names[0], &names[1]]).await;
    let event = EventName::parse("trade").unwrap();
    let binary = Payload::binary(Bytes::from_static(b"\0\xff\r\n"));
    let binary = Publish { event: Some(event.clone()), payload: binary.clone(), ..message("a", "") };
    let all = [&message("a", "one"), &message("b", "two"), &binary, &message("a", "")];
    let placed = node.publish_all(&all).await;
    let generation = node.fence.generation;
    let place = |seq| Ok(Placing::Placed(Position { generation, seq }));
    assert_eq!(placed, [place(1), place(2), place(3), place(4)]);

    let told = [(1, 0, false), (2, 0, false), (3, 1, true), (4, 3, true)];
    for ((seq, prev, chained), publish) in told.into_iter().zip(all) {
        let (name, bytes) = heard.next().await;
        let channel = node.log.names().channel_of(&name).unwrap();
        let envelope = Envelope::decode(channel, bytes.into()).unwrap();
        let message = envelope.message;
        assert_eq!((message.position.seq, message.prev, envelope.chained), (seq, prev, chained));
        assert_eq!((&message.channel, &message.event), (&publish.channel, &publish.event));
        assert_eq!(message.payload, publish.payload);
        assert_eq!(message.time_ms, 1_700_000_000_000);
    }

    let history = node.reads(&[("a", 0), ("b", 0)], POLL_PAGE).await;
    assert_eq!(history.head, Position { generation, seq: 4 });
    assert_eq!(history.slices.iter().map(|slice| slice.last).collect::<Vec<_>>(), [Some(4), Some(2)]);
    let merged = history.merged();
    assert_eq!(merged.iter().map(|message| message.position.seq).collect::<Vec<_>>(), [1, 2, 3, 4]);
    assert_eq!((&merged[2].event, &merged[2].payload), (&Some(event), &binary.payload));
}

#[tokio::test]
async fn r22_a_repeated_key_happens_once_and_keeps_its_id() {
    let server = Server::start(&[]).await;
    let mut node = Node::at(&server).await;
    let first = keyed("a", "one", "k");
    let Ok(Placing::Placed(position)) = node.publishes(&first).await else { panic!() };
    assert_eq!(node.publishes(&first).await, Ok(Placing::Repeated(position)));
    assert_eq!(node.slice("a", 0).await.messages.len(), 1);

    let event = Some(EventName::parse("e").unwrap());
    let binary = Payload::binary(Bytes::from_static(b"one"));
    for other in [
        keyed("a", "two", "k"),
        Publish { event, ..first.clone() },
        Publish { payload: binary, ..first.clone() },
    ] {
        assert_eq!(node.publishes(&other).await, Ok(Placing::KeyReused));
    }
    for another in [
        keyed("a", "one", "k2"),
        keyed("b", "one", "k"),
        Publish { publisher: Arc::from("bob"), ..first.clone() },
    ] {
        assert!(matches!(node.publishes(&another).await, Ok(Placing::Placed(_))));
    }
    // Known to every node, for the time that was asked.
    let mut other = Node::at(&server).await;
    assert_eq!(other.publishes(&first).await, Ok(Placing::Repeated(position)));
    let keys: Vec<String> = redis::from_redis_value(server.ask(&["KEYS", "*:k:*"]).await).unwrap();
    for key in keys {
        let left: u64 = server.text(&["PTTL", &key]).await.parse().unwrap();
        assert!((3_500_000..=3_600_000).contains(&left), "{left}");
    }
}

#[tokio::test]
async fn r21_a_repeated_key_writes_so_that_a_wait_covers_it() {
    let (server, _replica) = pair().await;
    let mut node = Node::at(&server).await;
    node.publishes(&keyed("a", "one", "k")).await.unwrap();
    server.replicated().await;
    let offset = || async { server.text(&["INFO", "replication"]).await };
    let offset_of = |info: String| {
        info.lines().find_map(|line| line.strip_prefix("master_repl_offset:")?.parse::<u64>().ok()).unwrap()
    };
    let before = offset_of(offset().await);
    node.publishes(&keyed("a", "one", "k")).await.unwrap();
    let after = offset_of(offset().await);
    // A keep-alive has 14 bytes.
    assert!(after > before + 28, "{before} {after}");
}

#[tokio::test]
async fn r16_a_flush_looks_once_and_a_changed_replication_id_shuts_it_out_whole() {
    let server = Server::start(&["--enable-debug-command", "yes"]).await;
    let mut node = Node::at(&server).await;
    let messages: Vec<Publish> = (0..1_000).map(|at| message("a", &at.to_string())).collect();
    let all: Vec<&Publish> = messages.iter().collect();
    node.publish_all(&all).await;
    server.ask(&["CONFIG", "RESETSTAT"]).await;
    let since = Instant::now();
    for _ in 0..10 {
        assert!(node.publish_all(&all).await.iter().all(Result::is_ok));
    }
    let wall = since.elapsed();
    let stats = server.text(&["INFO", "commandstats"]).await;
    let script = stats.lines().find(|line| line.contains("cmdstat_evalsha:")).unwrap();
    println!("10 000 publishes in flushes of 1 000: {:.1} µs each; {script}", wall.as_secs_f64() * 100.0);
    assert!(stats.contains("cmdstat_info:calls=10,"), "{stats}");

    let before = server.text(&["HGET", "{tidewire:0}:fence", "seq"]).await;
    server.ask(&["DEBUG", "CHANGE-REPL-ID"]).await;
    let outcomes = node.publish_all(&all[..5]).await;
    assert!(outcomes.iter().all(|outcome| *outcome == Err(Error::Fenced)), "{outcomes:?}");
    assert_eq!(server.text(&["HGET", "{tidewire:0}:fence", "seq"]).await, before);
    node.comes_to(&server).await.unwrap();
    assert_eq!(node.publish_all(&all[..5]).await.iter().filter(|outcome| outcome.is_ok()).count(), 5);
}

#[tokio::test]
async fn f15_a_script_that_redis_forgot_is_loaded_again() {
    let server = Server::start(&[]).await;
    let mut node = Node::at(&server).await;
    for text in ["1", "2"] {
        server.ask(&["SCRIPT", "FLUSH"]).await;
        let all = [&message("a", text), &message("a", "x"), &message("a", "y")];
        let placed = node.publish_all(&all).await;
        assert!(placed.iter().all(|outcome| matches!(outcome, Ok(Placing::Placed(_)))), "{placed:?}");
        server.ask(&["SCRIPT", "FLUSH"]).await;
        let slice = node.slice("a", 0).await;
        let texts: Vec<_> = slice.messages.iter().filter_map(|message| message.payload.as_text()).collect();
        assert_eq!(texts[texts.len() - 3..], [text, "x", "y"]);
        server.ask(&["SCRIPT", "FLUSH"]).await;
        assert_eq!(node.log.probe().await.unwrap().head.unwrap().seq, slice.last.unwrap());
        server.ask(&["SCRIPT", "FLUSH"]).await;
        node.renews(LEASE).await.unwrap();
    }
}

#[tokio::test]
async fn r15_full_memory_refuses_the_whole_script_and_consumes_no_place() {
    let server = Server::start(&["--maxmemory-policy", "noeviction"]).await;
    let mut node = Node::at(&server).await;
    let seen = node.places("a", "1").await;
    node.publishes(&keyed("a", "2", "k")).await.unwrap();
    server.ask(&["CONFIG", "SET", "maxmemory", "1"]).await;
    let outcomes = node.publish_all(&[&message("a", "3"), &message("b", "3"), &keyed("a", "3", "k3")]).await;
    assert_eq!(outcomes, vec![Err(Error::NoSpace); 3]);
    assert_eq!(server.text(&["HGET", "{tidewire:0}:fence", "seq"]).await, "2");
    assert_eq!(node.slice("b", 0).await.last, None);
    // What is stored is told and read, and nodes stay in.
    assert!(matches!(node.publishes(&keyed("a", "2", "k")).await, Ok(Placing::Repeated(_))));
    assert_eq!(seqs(&node.slice("a", seen.seq).await), [(2, 1)]);
    node.renews(LEASE).await.unwrap();
    node.comes_to(&server).await.unwrap();
    server.ask(&["CONFIG", "SET", "maxmemory", "0"]).await;
    assert_eq!(node.places("a", "3").await.seq, 3);
}

#[tokio::test]
async fn f6_a_redis_that_stands_still_leaves_the_outcome_unknown_and_a_key_settles_it() {
    let server = Server::start(&[]).await;
    let timeouts = Timeouts { answer: Duration::from_millis(100), ..Timeouts::default() };
    let mut node = Node::at(&server).await;
    node.log = Log::dial(&endpoint(&server.url()).await, PREFIX, 0, timeouts).await.unwrap();
    server.signal("STOP");
    let publish = keyed("a", "1", "k");
    assert_eq!(node.publishes(&publish).await, Err(Error::Broken));
    server.signal("CONT");
    // The late answer is not taken for the next one's.
    node.log = dial(&server.url()).await.unwrap();
    let outcome = node.publishes(&publish).await.unwrap();
    let (Placing::Placed(position) | Placing::Repeated(position)) = outcome else { panic!("{outcome:?}") };
    assert_eq!(seqs(&node.slice("a", 0).await), [(position.seq, 0)]);
}
