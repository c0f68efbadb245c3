//! What a client that does not read may cost, and what it may not cost others (security rule S35, invariants 5 and 6).

#![allow(clippy::unwrap_used, reason = "a test may unwrap: its panic is its report")]

mod rig;

use std::panic::{AssertUnwindSafe, catch_unwind};

use rig::{Client, PANIC, Rig, frame, websocket};
use tidewire_hub::limits::Limits;
use tidewire_hub::reason::Reason;

const POLL: &str = "GET /c/a?cursor=earliest HTTP/1.1\r\nHost: localhost\r\n\r\n";

#[test]
fn s35_polls_sent_together_are_answered_one_after_the_other_as_the_client_reads() {
    let mut rig = Rig::new(Limits::default());
    rig.publish("a", 100, 1_000);
    let client = rig.client(POLL.repeat(500).as_bytes(), 0);
    assert!(rig.counters.queued_bytes.get() < 200_000, "one answer waits, not five hundred");
    client.take(usize::MAX);
    rig.turns();
    for _ in 0..500 {
        rig.turns();
    }
    assert_eq!(client.taken().matches("HTTP/1.1 200 OK").count(), 500, "and none is forgotten");
}

#[test]
fn s35_memory_held_by_unread_polls_is_not_taken_from_subscribers() {
    let mut rig = Rig::new(Limits { memory_budget: 4 << 20, ..Limits::default() });
    rig.publish("a", 100, 1_000);
    let stream = "GET /c/b HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n";
    let subscriber = rig.client(stream.as_bytes(), 2_000);
    let polls: Vec<_> = (0..20).map(|_| rig.client(POLL.as_bytes(), 0)).collect();
    rig.publish("b", 1, 5_000);
    rig.turns();
    assert!(rig.counters.queued_bytes.get() < 1 << 20, "who has waited longest was cut");
    assert!(polls.iter().any(Client::is_closed) && !subscriber.is_closed());
    subscriber.take(usize::MAX);
    rig.turns();
    assert!(subscriber.taken().ends_with("\n\n\r\n"), "its message comes as soon as it reads");
}

#[test]
fn s35_an_answer_that_ends_its_connection_may_be_read_as_slowly_as_another() {
    let mut rig = Rig::new(Limits::default());
    rig.publish("a", 100, 1_000);
    let closes = "GET /c/a?cursor=earliest HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let client = rig.client(closes.as_bytes(), 0);
    for _ in 0..12 {
        rig.pass(1_000);
        client.take(10_000);
    }
    rig.turns();
    assert!(client.taken().ends_with("\"gap\":null}") && client.is_finished());
    rig.pass(3_000);
    assert!(client.is_closed());
}

#[test]
fn s35_history_asked_for_again_and_again_is_not_piled_up() {
    let mut rig = Rig::new(Limits { queue_bytes_max: 200_000, ..Limits::default() });
    rig.publish("a", 100, 1_000);
    let subscribe = frame(r#"{"type":"subscribe","channels":["a"],"cursor":"earliest"}"#);
    let client = rig.client(&[websocket(""), subscribe.repeat(500)].concat(), 0);
    assert!(rig.counters.queued_bytes.get() < 500_000, "{}", rig.counters.queued_bytes.get());
    client.take(usize::MAX);
    rig.turns();
    assert!(client.taken().contains(r#""code":"overloaded""#));
}

#[test]
fn r4_a_channel_that_is_added_waits_until_the_first_ones_have_caught_up() {
    let mut rig = Rig::new(Limits::default());
    rig.publish("a", 1_000, 1_000);
    let subscribe = frame(r#"{"type":"subscribe","channels":["b"]}"#);
    let client = rig.client(&websocket("a?cursor=earliest"), 10_000);
    client.send(&subscribe);
    rig.turns();
    rig.publish("b", 1, 1);
    rig.turns();
    client.take(usize::MAX);
    for _ in 0..8 {
        rig.turns();
    }
    let taken = client.taken();
    let (history, after) = taken.split_once(r#""type":"ack""#).expect("the subscribe is answered");
    assert_eq!(history.matches(r#""channel":"a""#).count(), 1_000);
    assert!(!history.contains(r#""channel":"b""#) && !after.contains(r#""channel":"a""#));
}

#[test]
fn r23_a_loop_that_panicked_serves_whoever_comes_next() {
    let mut rig = Rig::new(Limits::default());
    let before = rig.client(&websocket("a"), usize::MAX);
    let ask = format!("GET /c/{PANIC} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert!(catch_unwind(AssertUnwindSafe(|| rig.client(ask.as_bytes(), usize::MAX))).is_err());
    rig.cut();
    assert!(before.is_closed());
    let ends = &rig.counters.ends;
    let ours: Vec<_> = ends.by_reason().filter(|(_, count)| *count > 0).collect();
    assert_eq!((ends.by_client.get(), ours), (0, vec![(Reason::Internal, 1)]), "no client did this");
    let after = rig.client(POLL.as_bytes(), usize::MAX);
    assert!(after.taken().starts_with("HTTP/1.1 200 OK\r\n"));
    assert_eq!((rig.counters.panics.get(), rig.counters.open.get()), (1, 1));
}

#[test]
fn r3_many_pages_asked_for_at_once_are_written_in_several_passes() {
    let mut rig = Rig::new(Limits::default());
    rig.publish("a", 300, 10);
    rig.pause();
    let clients: Vec<_> = (0..50).map(|_| rig.client(POLL.as_bytes(), usize::MAX)).collect();
    rig.go_on();
    rig.turn();
    rig.turn();
    let answered = clients.iter().filter(|client| !client.taken().is_empty()).count();
    assert!((1..5).contains(&answered), "{answered} were answered in two turns");
    rig.turns();
    assert!(clients.iter().all(|client| client.taken().starts_with("HTTP/1.1 200 OK\r\n")));
}

const STREAM: &str = "GET /c/a HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n";

#[test]
fn s35_the_client_of_a_stream_has_little_to_say() {
    let mut rig = Rig::new(Limits::default());
    let client = rig.client(format!("{STREAM}\r\n").as_bytes(), usize::MAX);
    let other = rig.client(STREAM.as_bytes(), usize::MAX);
    for _ in 0..511 {
        client.send(b"\r\n");
        rig.turns();
        rig.publish("a", 1, 1);
        rig.turns();
    }
    assert!(!client.is_finished());
    assert_eq!(client.taken().matches("data: x\n").count(), 511);
    client.send(b"\r");
    rig.turns();
    assert!(client.is_finished() && client.taken().ends_with("\r\n0\r\n\r\n"), "it ends, in an orderly way");
    rig.pass(2_100);
    assert!(client.is_closed() && !other.is_finished());
    assert_eq!((rig.counters.protocol_errors.get(), rig.counters.open.get(), rig.subscribers()), (1, 1, 1));
}

#[test]
fn s35_what_a_client_sends_with_the_request_of_a_stream_counts() {
    let mut rig = Rig::new(Limits::default());
    let client = rig.client(format!("{STREAM}{}", "x".repeat(1_025)).as_bytes(), usize::MAX);
    assert!(client.is_finished());
    rig.pass(2_100);
    assert_eq!((rig.counters.open.get(), rig.subscribers()), (0, 0));
}

#[test]
fn s35_what_is_sent_behind_a_waiting_poll_stays_with_the_kernel() {
    let mut rig = Rig::new(Limits::default());
    let poll = "GET /c/a?wait=60 HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let polls = 2_000;
    let sent = poll.repeat(polls);
    let client = rig.client(sent.as_bytes(), usize::MAX);
    assert!(sent.len() - client.unread() <= 4 << 10, "one read, and no more until it is answered");
    for _ in 0..polls {
        rig.publish("a", 1, 1);
        rig.turns();
    }
    assert_eq!(client.taken().matches("HTTP/1.1 200 OK").count(), polls, "and none is forgotten");
    assert_eq!(client.unread(), 0);
}

#[test]
fn s32_a_head_is_as_long_as_it_may_be_however_little_is_read_at_once() {
    let mut rig = Rig::new(Limits::default());
    let fill =
        |bytes: usize| format!("GET /c/a HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n", "x".repeat(bytes));
    let most = (16 << 10) - fill(0).len();
    let longest = rig.client([fill(most), fill(most)].concat().as_bytes(), usize::MAX);
    rig.turns();
    assert_eq!(longest.taken().matches("HTTP/1.1 200 OK").count(), 2);
    let longer = rig.client(fill(most + 1).as_bytes(), usize::MAX);
    assert!(longer.taken().starts_with("HTTP/1.1 431 "));
}

#[test]
fn r3_a_channel_with_many_subscribers_holds_up_another_one_for_a_few_writes() {
    let mut rig = Rig::new(Limits::default());
    rig.pause();
    let many: Vec<_> = (0..5_000).map(|_| rig.client(STREAM.as_bytes(), usize::MAX)).collect();
    let other = rig.client(STREAM.replace("/c/a", "/c/b").as_bytes(), usize::MAX);
    rig.go_on();
    while rig.subscribers() < 5_001 {
        rig.turns();
    }
    let has = |client: &Client| client.taken().contains("data: x\n");
    rig.publish("a", 1, 1);
    rig.turn();
    rig.publish("b", 1, 1);
    rig.turn();
    assert!(has(&other), "its turn comes among the many");
    let served = many.iter().filter(|client| has(client)).count();
    assert!((1_024..=2_048).contains(&served), "{served} of 5000 in two slices");
    rig.turns();
    assert!(many.iter().all(has));
}
