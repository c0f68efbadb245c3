//! Ids and gaps: R5 to R8.

use std::time::Duration;

use crate::rig::{Rig, head};
use tidewire_sim::ear::Dialect;

fn keeping(messages_max: usize) -> Rig {
    Rig::with(|setup| setup.retention.messages_max = messages_max)
}

#[test]
fn r5_a_gap_comes_before_any_id_beyond_the_loss() {
    let mut rig = keeping(2);
    let first = rig.publish("a", "1");
    for number in 2..=5 {
        rig.publish("a", &number.to_string());
    }
    let peer = rig.sse_with("a", |head| head.field(&format!("Last-Event-ID: {first}")));
    assert_eq!(peer.hears(), ["gap trimmed [a] 3", "ready 3", "4 @4", "5 @5"]);
}

#[test]
fn r5_only_channels_that_lost_something_are_named_and_the_others_go_on_from_the_cursor() {
    let mut rig = keeping(2);
    let first = rig.publish("a", "1");
    rig.publish("b", "2");
    for number in 3..=5 {
        rig.publish("a", &number.to_string());
    }
    let peer = rig.sse_with("a,b", |head| head.query(&format!("cursor={first}")));
    assert_eq!(peer.hears(), ["gap trimmed [a] 1", "ready 1", "2 @2", "4 @4", "5 @5"]);
}

#[test]
fn r5_a_raw_gap_closes_with_a_cursor_that_resumes() {
    let mut rig = keeping(2);
    let first = rig.publish("a", "1");
    rig.publish("b", "2");
    for number in 3..=5 {
        rig.publish("a", &number.to_string());
    }
    let mut cursor = first.to_string();
    for _ in 0..3 {
        let from = head("a,b").websocket(false).query(&format!("cursor={cursor}"));
        let peer = rig.ask(Dialect::Raw, &from);
        let heard = peer.hears();
        match heard.first().and_then(|line| line.strip_prefix("closed 4410 ")) {
            Some(named) => cursor = named.to_owned(),
            None => return assert_eq!(heard.last().map(String::as_str), Some("5 @-")),
        }
    }
    panic!("whoever comes back with the cursor is sent away with it again");
}

#[test]
fn r6_a_heartbeat_enters_an_empty_queue_only() {
    let mut rig = Rig::new();
    let quiet = rig.sse("a");
    let full = rig.connect(0, Dialect::Sse(tidewire_sim::ear::SseStyle::Single), 16);
    rig.say(&full, &head("a").sse().bytes());
    quiet.hears();
    rig.publish("b", "elsewhere");
    rig.pass(Duration::from_secs(19));
    let heard = quiet.hears();
    assert!(heard.iter().all(|line| line == "heartbeat 1") && (1..=2).contains(&heard.len()), "{heard:?}");
    assert_eq!(full.hears_all(&mut rig), ["ready 0"], "what waits is not passed by an id");
}

#[test]
fn r6_a_heartbeat_names_what_was_queued_here_and_never_the_head() {
    let mut rig = Rig::with(|setup| setup.inboxes = vec![1]);
    let peer = rig.sse("a");
    peer.hears();
    // The inbox takes one message, so the barrier holds the others while the shard makes one turn.
    for number in 1..=3 {
        rig.publish_quietly("a", &number.to_string());
    }
    rig.node.tick();
    rig.node.turn(0);
    assert_eq!(peer.hears(), ["1 @1"]);
    rig.pass(Duration::from_secs(13));
    let heard = peer.hears();
    assert_eq!(heard[..2], ["2 @2", "3 @3"], "{heard:?}");
}

#[test]
fn r6_a_stream_that_starts_with_tail_or_earliest_is_ready_without_an_id() {
    let mut rig = Rig::new();
    for number in 1..=3 {
        rig.publish("a", &number.to_string());
    }
    assert_eq!(rig.sse_with("a", |head| head.query("tail=2")).hears(), ["ready -", "2 @2", "3 @3"]);
    let earliest = rig.sse_with("a", |head| head.query("cursor=earliest"));
    assert_eq!(earliest.hears(), ["ready -", "1 @1", "2 @2", "3 @3"]);
}

#[test]
fn r7_an_unreadable_cursor_is_a_gap_and_never_a_304() {
    let mut rig = Rig::new();
    let place = rig.publish("a", "1");
    let far = tidewire_hub::Position { seq: 99, ..place };
    for cursor in ["nonsense".to_owned(), "zz.1".to_owned(), far.to_string()] {
        let peer = rig.sse_with("a", |head| head.query(&format!("cursor={cursor}")));
        assert_eq!(peer.hears(), ["gap epoch [a] 0", "ready 0", "1 @1"], "{cursor}");
        let known = format!("If-None-Match: \"{place}-json1\"");
        let poll = head("a").query(&format!("cursor={cursor}")).field(&known);
        assert_eq!(rig.ask(Dialect::Poll, &poll).hears(), ["page [gap epoch [a] 0, 1 @1] 1"], "{cursor}");
    }
}

#[test]
fn r7_a_tag_holds_the_generation_and_a_poll_never_goes_back() {
    let mut rig = Rig::new();
    let first = rig.publish("a", "1");
    let second = rig.publish("b", "2");
    let poll = |cursor, tag: String| head("a").query(&format!("cursor={cursor}")).field(&tag);
    let known = poll(first, format!("If-None-Match: \"{first}-json1\""));
    assert_eq!(rig.ask(Dialect::Poll, &known).hears(), ["not modified"]);
    let stranger = poll(first, "If-None-Match: \"zz.1-json1\"".into());
    assert_eq!(rig.ask(Dialect::Poll, &stranger).hears(), ["page [] 2"]);
    let peer = rig.poll("a", &format!("cursor={second}&wait=1"));
    rig.pass(Duration::from_millis(1_100));
    assert_eq!(peer.hears(), ["page [] 2"]);
}

#[test]
fn r8_channels_without_history_show_ids_and_say_what_was_missed() {
    let mut rig = keeping(0);
    let live = rig.sse("a");
    let first = rig.publish("a", "1");
    rig.publish("a", "2");
    assert_eq!(live.hears(), ["ready 0", "1 @1", "2 @2"]);
    let back = rig.sse_with("a", |head| head.query(&format!("cursor={first}")));
    assert_eq!(back.hears(), ["gap trimmed [a] 2", "ready 2"]);
}
