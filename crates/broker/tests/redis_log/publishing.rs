//! Publishing: places, keys, full memory, a script that was forgotten, and a server that stands still.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tidewire_broker::redis::{Envelope, Error, Log, Placing, Timeouts};
use tidewire_hub::limits::POLL_PAGE;
use tidewire_hub::message::{EventName, Payload};
use tidewire_hub::position::Position;
use tidewire_hub::publish::Publish;

use crate::node::{HOUR, LEASE, Node, PREFIX, channel, dial, endpoint, keyed, message, seqs};
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
    // What is stored already makes no room for what comes behind it.
    let repeated = keyed("a", "2", "k");
    let [three, other, with_key] = [message("a", "3"), message("b", "3"), keyed("a", "3", "k3")];
    let mut outcomes = node.publish_all(&[&three, &repeated, &other, &with_key]).await;
    assert!(matches!(outcomes.remove(1), Ok(Placing::Repeated(_))));
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
async fn f14_what_fails_is_one_message_and_not_those_around_it() {
    let server = Server::start(&[]).await;
    let mut node = Node::at(&server).await;
    node.places("b", "1").await;
    let records: Vec<String> = redis::from_redis_value(server.ask(&["KEYS", "*:r:b"]).await).unwrap();
    server.ask(&["DEL", &records[0]]).await;
    server.ask(&["LPUSH", &records[0], "strange"]).await;
    let all = [&message("a", "2"), &message("b", "3"), &keyed("a", "4", "k"), &keyed("a", "5", "k")];
    let outcomes = node.publish_all(&all).await;
    let [Ok(Placing::Placed(first)), Err(Error::Malformed { .. }), Ok(Placing::Placed(third)), fourth] =
        &outcomes[..]
    else {
        panic!("{outcomes:?}")
    };
    assert_eq!(fourth, &Ok(Placing::KeyReused));
    // The place of what failed is nobody's, and the chain of the others is whole.
    assert_eq!(seqs(&node.slice("a", 0).await), [(first.seq, 0), (third.seq, first.seq)]);
    assert_eq!(server.text(&["HGET", "{tidewire:0}:fence", "seq"]).await, third.seq.to_string());
    assert_eq!(node.places("a", "6").await.seq, third.seq + 1);
}

#[tokio::test]
async fn r20_expiries_are_set_again_once_a_sixteenth_of_them_has_passed_or_they_change() {
    const HOUR_MS: u64 = 3_600_000;
    const RECORD_MS: u64 = HOUR_MS + 8 * 24 * HOUR_MS;
    let server = Server::start(&[]).await;
    let mut node = Node::at(&server).await;
    node.retention.ttl = HOUR;
    node.places("a", "1").await;
    let key = async |what: &str| {
        let keys: Vec<String> = redis::from_redis_value(server.ask(&["KEYS", what]).await).unwrap();
        keys[0].clone()
    };
    let [stream, record] = [key("*:s:a").await, key("*:r:a").await];
    let left = async || {
        let left = async |key| server.text(&["PTTL", key]).await.parse::<i64>().unwrap();
        (left(&stream).await, left(&record).await)
    };
    let is_fresh = |(stream, record): (i64, i64), ttl_ms: u64| {
        let near = |left: i64, whole: u64| {
            let whole = i64::try_from(whole + ttl_ms / 16).unwrap();
            (whole - 10_000..=whole).contains(&left)
        };
        near(stream, ttl_ms) && near(record, ttl_ms + (RECORD_MS - HOUR_MS))
    };
    assert!(is_fresh(left().await, HOUR_MS), "{:?}", left().await);
    // Still as long as asked: left alone.
    for (key, whole) in [(&stream, HOUR_MS), (&record, RECORD_MS)] {
        server.ask(&["PEXPIRE", key, &(whole + 60_000).to_string()]).await;
    }
    node.places("a", "2").await;
    assert!(left().await.0 <= i64::try_from(HOUR_MS + 60_000).unwrap(), "{:?}", left().await);
    // No longer.
    for (key, whole) in [(&stream, HOUR_MS), (&record, RECORD_MS)] {
        server.ask(&["PEXPIRE", key, &(whole - 1).to_string()]).await;
    }
    node.places("a", "3").await;
    assert!(is_fresh(left().await, HOUR_MS), "{:?}", left().await);
    // A stream that is gone, or comes anew, never lives for ever.
    server.ask(&["DEL", &stream]).await;
    node.places("a", "4").await;
    assert!(is_fresh(left().await, HOUR_MS), "{:?}", left().await);
    server.ask(&["PERSIST", &record]).await;
    node.places("a", "5").await;
    assert!(is_fresh(left().await, HOUR_MS), "{:?}", left().await);
    // Another retention, shorter or longer.
    for hours in [1_u32, 3, 2] {
        node.retention.ttl = HOUR * hours;
        node.places("a", "6").await;
        assert!(is_fresh(left().await, HOUR_MS * u64::from(hours)), "{hours}: {:?}", left().await);
    }
}

#[tokio::test]
async fn r15_a_flush_of_many_calls_has_an_outcome_for_each_message_in_its_order() {
    let server = Server::start(&[]).await;
    let mut node = Node::at(&server).await;
    // Large ones end a call early, and the largest is one by itself.
    let length = |at: usize| match at % 31 {
        0 => 100_000,
        7 | 14 | 21 => 20_000,
        _ => 10,
    };
    let messages: Vec<Publish> = (0..300).map(|at| message("a", &"x".repeat(length(at)))).collect();
    server.ask(&["SCRIPT", "FLUSH"]).await;
    let outcomes = node.publish_all(&messages.iter().collect::<Vec<_>>()).await;
    let place = |seq| Placing::Placed(Position { generation: node.fence.generation, seq });
    assert_eq!(outcomes, (1..=300).map(|seq| Ok(place(seq))).collect::<Vec<_>>());
    assert_eq!(node.publish_all(&[]).await, []);
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
