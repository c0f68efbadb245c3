//! Clients that end their half of a connection (delivery rule R29, security rules S38 and S39).

#![allow(clippy::unwrap_used, reason = "a test may unwrap: its panic is its report")]

mod rig;

use rig::{Client, Rig};
use tidewire_hub::limits::Limits;

const WAIT: &[u8] = b"GET /c/a?wait=60 HTTP/1.1\r\nHost: localhost\r\n\r\n";
const WAIT_AND_CLOSE: &[u8] = b"GET /c/a?wait=60 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
const NOW: &[u8] = b"GET /c/a?cursor=earliest HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// How many answers a client has got, and whether nothing is left of it.
fn outcome(rig: &Rig, client: &Client) -> (usize, bool) {
    let answers = client.taken().matches("HTTP/1.1 200 OK").count();
    (answers, client.is_closed() && rig.counters.open.get() == 0 && rig.subscribers() == 0)
}

#[test]
fn r29_a_waiting_poll_whose_client_ends_its_half_is_answered_soon_and_frees_its_slot() {
    for request in [WAIT, WAIT_AND_CLOSE] {
        let mut rig = Rig::new(Limits::default());
        let client = rig.client(request, usize::MAX);
        rig.pass(1_000);
        assert_eq!((outcome(&rig, &client), rig.subscribers()), ((0, false), 1));
        client.finish();
        rig.turns();
        rig.pass(1_900);
        assert_eq!(outcome(&rig, &client), (0, false), "something may come yet");
        rig.pass(200);
        assert_eq!(outcome(&rig, &client), (1, true));
        assert!(client.taken().contains(r#"{"messages":[],"cursor":""#), "with the cursor to go on from");
        assert_eq!((rig.counters.timeouts.get(), rig.counters.open_poll.get()), (0, 0));
    }
}

#[test]
fn r29_every_poll_that_was_sent_before_the_end_is_answered() {
    let mut rig = Rig::new(Limits::default());
    rig.publish("a", 1, 1);
    let client = rig.client(&[WAIT, NOW, WAIT, NOW, WAIT_AND_CLOSE].concat(), usize::MAX);
    assert_eq!(outcome(&rig, &client).0, 0);
    client.finish();
    rig.pass(7_000);
    assert_eq!(outcome(&rig, &client), (5, true));
    assert_eq!(client.taken().matches(r#""data":"x""#).count(), 2);
}

#[test]
fn r29_an_end_that_comes_before_the_decision_is_remembered() {
    let mut rig = Rig::new(Limits::default());
    rig.plane.sleep();
    let client = rig.client(WAIT, usize::MAX);
    client.finish();
    rig.pass(1_000);
    assert_eq!(outcome(&rig, &client).0, 0);
    rig.plane.wake();
    rig.turns();
    rig.pass(2_100);
    assert_eq!(outcome(&rig, &client), (1, true));
}

#[test]
fn r29_what_comes_soon_behind_the_end_is_still_delivered() {
    let mut rig = Rig::new(Limits::default());
    let client = rig.client(WAIT, usize::MAX);
    client.finish();
    rig.pass(1_000);
    rig.publish("a", 1, 1);
    rig.turns();
    assert_eq!(outcome(&rig, &client), (1, true));
    assert!(client.taken().contains(r#""data":"x""#));
}

#[test]
fn r29_an_answer_may_be_read_slowly_behind_the_end() {
    let mut rig = Rig::new(Limits::default());
    rig.publish("a", 100, 1_000);
    let client = rig.client(NOW, 0);
    client.finish();
    for _ in 0..9 {
        client.take(10_000);
        rig.pass(1_000);
        assert!(!client.is_closed());
    }
    client.take(usize::MAX);
    rig.turns();
    assert!(client.taken().ends_with("\"gap\":null}"));
    assert_eq!(outcome(&rig, &client), (1, true));
}
