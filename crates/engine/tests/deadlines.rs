//! What a client has time for, and from when it counts (security rules S30 and S33).

#![allow(clippy::unwrap_used, reason = "a test may unwrap: its panic is its report")]

mod rig;

use std::time::Duration;

use rig::{Client, Rig, frame, websocket};
use tidewire_hub::limits::Limits;

/// The code of the close frame at the end of what a client has taken.
fn close_code(client: &Client) -> Option<u16> {
    let taken = client.taken_bytes();
    let at = taken.windows(9).rposition(|window| window[0] == 0x88 && &window[4..] == b"timeo")?;
    Some(u16::from_be_bytes([taken[at + 2], taken[at + 3]]))
}

#[test]
fn s30_a_client_whose_reads_never_end_with_a_frame_is_not_late() {
    let mut rig = Rig::new(Limits::default());
    let client = rig.client(&websocket(""), usize::MAX);
    let ping = frame(r#"{"type":"ping"}"#);
    let (first, rest) = ping.split_at(9);
    client.send(first);
    for _ in 0..25 {
        rig.pass(1_000);
        client.send(&[rest, first].concat());
        rig.turns();
    }
    assert_eq!((close_code(&client), rig.counters.timeouts.get()), (None, 0));
    rig.pass(9_500);
    assert_eq!(close_code(&client), None, "the last message has its own ten seconds");
    rig.pass(1_000);
    assert_eq!((close_code(&client), rig.counters.timeouts.get()), (Some(4408), 1));
}

#[test]
fn s30_a_fragmented_message_is_late_by_its_first_byte_whatever_comes_in_between() {
    let mut rig = Rig::new(Limits::default());
    let client = rig.client(&websocket(""), usize::MAX);
    client.send(&[0x01, 0x81, 0, 0, 0, 0, b'a']);
    for _ in 0..9 {
        rig.pass(1_000);
        client.send(&[&[0x89, 0x80, 0, 0, 0, 0][..], &[0x00, 0x81, 0, 0, 0, 0, b'b']].concat());
        rig.turns();
    }
    assert_eq!(close_code(&client), None);
    rig.pass(1_500);
    assert_eq!(close_code(&client), Some(4408));
}

#[test]
fn s33_a_request_that_nobody_decides_on_is_answered_and_a_late_answer_finds_nobody() {
    let stream = b"GET /c/a HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n";
    let poll = b"GET /c/a?wait=60 HTTP/1.1\r\nHost: localhost\r\n\r\n";
    for (request, status, advice) in [
        (&stream[..], "HTTP/1.1 200 ", "retry: "),
        (poll, "HTTP/1.1 503 ", "\"overloaded\""),
        (&websocket("a"), "HTTP/1.1 503 ", "\"overloaded\""),
    ] {
        let mut rig = Rig::new(Limits::default());
        rig.plane.sleep();
        let client = rig.client(request, usize::MAX);
        rig.pass(9_900);
        assert!(client.taken().is_empty());
        rig.pass(200);
        assert!(client.taken().starts_with(status) && client.taken().contains(advice), "{}", client.taken());
        assert!(client.is_finished());
        let taken = client.taken();
        rig.pass(1_000);
        rig.plane.wake();
        rig.turns();
        assert_eq!((client.taken(), rig.subscribers()), (taken, 0));
        rig.pass(1_500);
        assert_eq!((client.is_closed(), rig.counters.open.get()), (true, 0));
    }
}

#[test]
fn s33_a_late_answer_is_not_taken_for_that_of_whoever_has_the_slot_now() {
    let poll = b"GET /c/a?wait=60 HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let mut rig = Rig::new(Limits::default());
    rig.plane.sleep();
    rig.client(poll, usize::MAX);
    rig.pass(13_000);
    assert_eq!(rig.counters.open.get(), 0);
    let next = rig.client(&poll[..9], usize::MAX);
    rig.plane.wake();
    rig.turns();
    assert_eq!((next.taken().as_str(), rig.subscribers()), ("", 0));
    next.send(&poll[9..]);
    rig.turns();
    assert_eq!((next.taken().as_str(), rig.subscribers()), ("", 1));
    rig.publish("a", 1, 1);
    rig.turns();
    assert!(next.taken().starts_with("HTTP/1.1 200 OK\r\n"));
}

#[test]
fn a_connection_that_is_old_is_ended_as_in_a_drain_and_others_of_its_age_at_other_times() {
    let limits = Limits { connection_age_max: Duration::from_secs(100), ..Limits::default() };
    let mut rig = Rig::new(limits);
    let stream = b"GET /c/a HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n";
    let clients: Vec<_> = (0..10).map(|_| rig.client(stream, usize::MAX)).collect();
    rig.turns();
    let ended = || clients.iter().filter(|client| client.is_finished()).count();
    rig.pass(89_000);
    assert_eq!(ended(), 0);
    rig.pass(11_000);
    assert!((1..10).contains(&ended()), "{}", ended());
    rig.pass(11_000);
    assert_eq!(ended(), 10);
    let taken = clients[0].taken();
    let end = &taken[taken.rfind("retry: ").unwrap()..];
    assert!(end.ends_with("0\r\n\r\n"), "{end:?}");
}
