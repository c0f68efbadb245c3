//! Hand-over and barriers: R9 to R13.

use std::time::Duration;

use tidewire_sim::ear::{Dialect, SseStyle};

use crate::rig::{Rig, head};

const SSE: Dialect = Dialect::Sse(SseStyle::Single);

#[test]
fn r9_history_and_the_live_feed_meet_without_a_hole_or_a_repetition() {
    let mut rig = Rig::new();
    let first = rig.publish("a", "1");
    rig.publish("b", "2");
    let peer = rig.connect(0, Dialect::Sse(SseStyle::Multi), 1 << 20);
    rig.publish("a", "3");
    rig.say(&peer, &head("b,a").sse().query(&format!("cursor={first}")).bytes());
    rig.publish("b", "4");
    assert_eq!(peer.hears(), ["ready 1", "2 @2", "3 @3", "4 @4"]);
}

#[test]
fn r10_who_is_far_behind_gets_page_after_page() {
    let mut rig = Rig::with(|setup| setup.limits.queue_messages_max = 3);
    let first = rig.publish("a", "1");
    for number in 2..=700 {
        rig.publish("a", &number.to_string());
    }
    let peer = rig.connect(0, SSE, 512);
    rig.say(&peer, &head("a").sse().query(&format!("cursor={first}")).bytes());
    assert_eq!(rig.receivers("a"), 0, "it joins with its last page");
    assert!(rig.counter("delivered_sse") <= 256, "history is asked for as the socket drains");
    let heard = peer.hears_all(&mut rig);
    let expected: Vec<String> = (2..=700).map(|number| format!("{number} @{number}")).collect();
    assert_eq!(heard[1..], expected[..]);
    assert_eq!(rig.receivers("a"), 1);
    rig.publish("a", "live");
    assert_eq!(peer.hears(), ["live @701"]);
    assert_eq!(rig.counter("slow_consumers"), 0, "history does not count against the bound");
}

#[test]
fn r11_a_subscribe_frame_is_answered_by_what_a_poll_would_answer() {
    let mut rig = Rig::new();
    let first = rig.publish("b", "1");
    rig.publish("b", "2");
    let peer = rig.v1("a");
    rig.speak(&peer, &format!(r#"{{"type":"subscribe","channels":["b","b"],"cursor":"{first}","id":1}}"#));
    rig.publish("b", "3");
    assert_eq!(peer.hears(), ["ready 2", "page [2 @2] 2", "3 @3"]);
    rig.speak(&peer, r#"{"type":"unsubscribe","channels":["b"],"id":2}"#);
    rig.publish("b", "4");
    assert_eq!(peer.hears(), ["ack"]);
    assert_eq!((rig.receivers("a"), rig.receivers("b")), (1, 0));
}

#[test]
fn r11_channels_that_are_added_wait_until_the_first_ones_have_caught_up() {
    let mut rig = Rig::new();
    let first = rig.publish("a", "1");
    for number in 2..=400 {
        rig.publish("a", &number.to_string());
    }
    let peer = rig.connect(0, Dialect::V1, 512);
    let from = head("a").websocket(true).query(&format!("cursor={first}"));
    rig.say(&peer, &from.bytes());
    rig.speak(&peer, r#"{"type":"subscribe","channels":["b"],"id":1}"#);
    let heard = peer.hears_all(&mut rig);
    let last = heard.iter().position(|line| line == "400 @400").unwrap();
    let ack = heard.iter().position(|line| line == "page [] 400").unwrap();
    assert!(last < ack, "an id says that everything before it was sent");
}

#[test]
fn r12_interest_is_given_back_when_the_slot_is_gone_before_the_admit() {
    let mut rig = Rig::new();
    let first = rig.publish("a", "1");
    for number in 2..=300 {
        rig.publish("a", &number.to_string());
    }
    let peer = rig.connect(0, SSE, 1 << 20);
    peer.send_quietly(&head("a").sse().query(&format!("cursor={first}")).bytes());
    rig.node.nets[0].arrive(None);
    // One turn sends the first page and asks for the second, which joins; the client breaks before it arrives.
    while rig.receivers("a") == 0 {
        rig.node.turn(0);
    }
    peer.reset_quietly();
    rig.settle();
    assert_eq!(rig.receivers("a"), 0);
    assert_eq!(rig.counter("open"), 0);
}

#[test]
fn r12_interest_is_counted_one_for_one_by_departures() {
    let mut rig = Rig::new();
    let peers = [rig.sse("a"), rig.v1("a"), rig.raw("a"), rig.poll("a", "wait=5")];
    assert_eq!(rig.receivers("a"), 4);
    peers[..3].iter().for_each(|peer| peer.finish(&mut rig));
    assert_eq!(rig.receivers("a"), 1, "an unanswered poll outlives the end of its client's stream (R29)");
    rig.pass(Duration::from_secs(6));
    assert_eq!(rig.receivers("a"), 0);
}

#[test]
fn r13_a_full_inbox_holds_and_rereads() {
    let mut rig = Rig::with(|setup| setup.inboxes = vec![3]);
    let peer = rig.sse("a");
    for number in 1..=50 {
        rig.publish_quietly("a", &number.to_string());
    }
    rig.settle();
    let expected: Vec<String> = (1..=50).map(|number| format!("{number} @{number}")).collect();
    assert_eq!(peer.hears()[1..], expected[..]);
}

#[test]
fn r13_what_a_barrier_held_and_history_lost_is_a_gap() {
    let mut rig = Rig::with(|setup| {
        setup.inboxes = vec![1];
        setup.retention.messages_max = 2;
    });
    let peer = rig.sse("a");
    for number in 1..=6 {
        rig.publish_quietly("a", &number.to_string());
    }
    rig.settle();
    assert_eq!(peer.hears(), ["ready 0", "1 @1", "gap trimmed [a] 1", "5 @5", "6 @6"]);
}

#[test]
fn r13_who_joins_during_a_barrier_joins_where_the_others_stand() {
    let mut rig = Rig::with(|setup| setup.inboxes = vec![1]);
    let peer = rig.v1("a");
    let heard = peer.hears();
    assert_eq!(heard, ["ready 0"]);
    for number in 1..=3 {
        rig.publish_quietly("a", &number.to_string());
    }
    rig.speak(&peer, r#"{"type":"subscribe","channels":["b"],"id":1}"#);
    let heard = peer.hears();
    let ack = heard.iter().position(|line| line.starts_with("page")).unwrap();
    let cursor: usize = heard[ack].rsplit(' ').next().unwrap().parse().unwrap();
    assert_eq!(cursor, ack, "the cursor of the answer passes no message that was not sent: {heard:?}");
    assert_eq!(heard.len(), 4);
}

#[test]
fn r13_who_joined_after_the_loss_is_told_of_none() {
    let mut rig = Rig::with(|setup| {
        setup.inboxes = vec![1, 16_384];
        setup.retention.messages_max = 2;
    });
    let behind = rig.sse("a");
    for number in 1..=6 {
        rig.publish_quietly("a", &number.to_string());
    }
    // It comes from the other shard, which is further, and has seen what this one still holds back.
    let ahead = rig.connect(0, SSE, 1 << 20);
    let newest = rig.publish_quietly("b", "elsewhere");
    rig.say(&ahead, &head("a").sse().query(&format!("cursor={newest}")).bytes());
    rig.publish("a", "8");
    assert_eq!(ahead.hears(), ["ready 7", "8 @8"]);
    assert_eq!(behind.hears(), ["ready 0", "1 @1", "gap trimmed [a] 1", "5 @5", "6 @6", "8 @8"]);
}
