//! Publishes that the loop reads itself, and those that it leaves to the API server.

#![allow(clippy::unwrap_used, reason = "a test may unwrap: its panic is its report")]

mod rig;

use std::time::Duration;

use rig::Rig;
use tidewire_hub::limits::Limits;

fn post(channel: &str, fields: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    let head = format!("POST /c/{channel} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n");
    format!("{head}{fields}\r\n{body}").into_bytes()
}

fn posted(rig: &Rig) -> Vec<String> {
    std::mem::take(&mut *rig.plane.posted.lock().unwrap())
}

#[test]
fn a_kept_alive_connection_publishes_again_and_again() {
    let mut rig = Rig::new(Limits::default());
    let client = rig.client(&post("a", "", "one"), usize::MAX);
    for body in ["two", ""] {
        client.send(&post("b", "", body));
        rig.turns();
    }
    assert_eq!(posted(&rig), ["a one*", "b two", "b "]);
    assert_eq!(client.taken(), "answer to one;answer to two;answer to ;");
    assert!(rig.handed_off.borrow().is_empty() && !client.is_closed());
}

#[test]
fn a_publish_is_read_however_it_was_cut() {
    let whole = post("a", "Content-Type: text/plain\r\n", "hello");
    for cut in 1..whole.len() {
        let mut rig = Rig::new(Limits::default());
        let client = rig.client(&whole[..cut], usize::MAX);
        client.send(&whole[cut..]);
        rig.turns();
        assert_eq!(posted(&rig).len(), 1, "cut at {cut}");
        assert_eq!(client.taken(), "answer to hello;", "cut at {cut}");
    }
}

#[test]
fn publishes_sent_ahead_are_answered_one_by_one_and_in_order() {
    let mut rig = Rig::new(Limits::default());
    rig.plane.sleep();
    let poll = b"GET /c/a HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec();
    let client = rig.client(&[post("a", "", "one"), post("a", "", "two"), poll].concat(), usize::MAX);
    assert_eq!(posted(&rig), ["a one*"], "the next is read when this one is answered");
    assert_eq!(client.taken(), "");
    rig.plane.wake();
    rig.turns();
    assert_eq!(posted(&rig), ["a two"]);
    assert!(client.taken().starts_with("answer to one;answer to two;HTTP/1.1 200 OK\r\n"));
}

#[test]
fn an_answer_that_says_so_ends_the_connection() {
    let mut rig = Rig::new(Limits::default());
    let client = rig.client(&post("a", "Connection: close\r\n", "last"), usize::MAX);
    assert_eq!(client.taken(), "answer to last;");
    assert!(client.is_finished());
    client.finish();
    rig.turns();
    assert!(client.is_closed());
}

#[test]
fn r29_a_client_that_has_ended_its_half_is_still_answered() {
    let mut rig = Rig::new(Limits::default());
    rig.plane.sleep();
    let client = rig.client(&post("a", "", "one"), usize::MAX);
    client.finish();
    rig.pass(60_000);
    assert!(!client.is_closed(), "the outcome is unknown, and whoever publishes may wait for it");
    rig.plane.wake();
    rig.turns();
    assert_eq!(client.taken(), "answer to one;");
    assert!(client.is_closed());
}

#[test]
fn s33_an_idle_connection_is_kept_for_so_long() {
    let limits = Limits { keep_alive_max: Duration::from_secs(5), ..Limits::default() };
    let mut rig = Rig::new(limits);
    let client = rig.client(&post("a", "", "one"), usize::MAX);
    rig.pass(4_000);
    client.send(&post("a", "", "two"));
    rig.pass(4_000);
    assert!(!client.is_closed());
    rig.pass(2_000);
    assert!(client.is_closed());
}

#[test]
fn s33_a_body_that_does_not_come_soon_is_the_api_servers_to_wait_for() {
    let whole = post("a", "", "hello");
    let mut rig = Rig::new(Limits::default());
    let slow = rig.client(&whole[..whole.len() - 4], usize::MAX);
    // Another byte of it buys no more time.
    rig.pass(800);
    slow.send(b"e");
    rig.pass(100);
    assert!(rig.handed_off.borrow().is_empty());
    rig.pass(300);
    assert_eq!(rig.handed_off.borrow()[0].1, whole[..whole.len() - 3]);
    let cut_off = rig.client(&whole[..whole.len() - 1], usize::MAX);
    cut_off.finish();
    rig.turns();
    assert_eq!(rig.handed_off.borrow()[1].1, whole[..whole.len() - 1]);
    assert!(posted(&rig).is_empty());
}

#[test]
fn whatever_is_unusual_goes_to_the_api_server_with_every_byte() {
    let large = "x".repeat(20_000);
    for request in [
        post("a,b", "", "x"),
        post("a%41", "", "x"),
        post("a?ticket=t", "", "x"),
        post("$a", "", "x"),
        post("", "", "x"),
        post("a/b", "", "x"),
        post("a", "Expect: 100-continue\r\n", "x"),
        post("a", "Connection: upgrade\r\nUpgrade: websocket\r\n", "x"),
        b"POST /c/a HTTP/1.0\r\nContent-Length: 1\r\n\r\nx".to_vec(),
        b"POST http://localhost/c/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nx".to_vec(),
        b"POST /c/a HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n"
            .to_vec(),
        post("a", "", &large)[..1_000].to_vec(),
    ] {
        let mut rig = Rig::new(Limits::default());
        // What comes first makes no difference.
        let _client = rig.client(&[post("a", "", "one"), request.clone()].concat(), usize::MAX);
        assert_eq!(posted(&rig), ["a one*"]);
        assert_eq!(rig.handed_off.borrow()[0].1, request);
    }
}

#[test]
fn s35_a_client_that_does_not_read_its_answers_is_not_read_either() {
    let mut rig = Rig::new(Limits::default());
    let client = rig.client(&post("a", "", "one"), 3);
    client.send(&post("a", "", "two"));
    rig.turns();
    assert_eq!((posted(&rig), client.taken().as_str()), (vec!["a one*".to_owned()], "ans"));
    client.take(usize::MAX - 3);
    rig.turns();
    assert_eq!(client.taken(), "answer to one;answer to two;");
}

#[test]
fn s42_what_could_be_read_in_two_ways_is_refused_on_every_request() {
    let wrong = b"POST /c/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxy";
    for before in [&b""[..], &post("a", "", "one")] {
        let mut rig = Rig::new(Limits::default());
        let client = rig.client(&[before, wrong].concat(), usize::MAX);
        assert!(client.taken().contains("malformed_request") && client.is_finished());
        assert!(rig.handed_off.borrow().is_empty());
    }
}
