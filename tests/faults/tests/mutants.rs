//! The ledger catches what a server, or a proxy in front of it, may do wrong: one honest stream, and what becomes of it.

#![allow(clippy::unwrap_used)] // A test's panic is its report.

use tidewire_faults::cause::Cause;
use tidewire_faults::heard::Heard;
use tidewire_faults::ledger::{Ledger, Violation};
use tidewire_faults::sse::{Blocks, Shape};

/// Messages on one channel; the subscriber is there from the first.
const MESSAGES: u64 = 6;

fn block(seq: u64) -> String {
    format!("data: k{seq} text\nid: a.{seq}\n\n")
}

fn honest() -> Vec<String> {
    let ready = "event: $ready\ndata: {\"channels\":[\"x\"],\"cursor\":\"a.0\"}\nid: a.0\n\n".to_owned();
    [ready].into_iter().chain((1..=MESSAGES).map(block)).collect()
}

fn gap(reason: &str, cursor: &str) -> String {
    format!(
        "event: $gap\ndata: {{\"channels\":[\"x\"],\"reason\":\"{reason}\",\"cursor\":\"{cursor}\"}}\nid: {cursor}\n\n"
    )
}

/// A ledger in which all messages are published and acknowledged after subscriber 0 has joined.
fn book() -> Ledger {
    let mut ledger = Ledger::default();
    ledger.keeps("", 1_000);
    ledger.joins("alice", &["x".into()]);
    ledger
}

fn publish(ledger: &mut Ledger) {
    for seq in 1..=MESSAGES {
        let uid = ledger.sends(&format!("k{seq}"), "x", &format!("k{seq} text"), 100 + seq);
        ledger.acked(uid, &format!("a.{seq}"), 150 + seq);
    }
}

fn hear(ledger: &mut Ledger, who: usize, blocks: &[String], now: u64) {
    let mut stream = Blocks::new(Shape::Single);
    for heard in stream.hear(blocks.concat().as_bytes()).unwrap() {
        match heard {
            Heard::Ready(cursor) => ledger.ready(who, cursor.as_deref(), now.min(50)),
            Heard::Message(seen) => ledger.hears(who, &seen, now),
            Heard::At(cursor) => ledger.reached(who, &cursor, now),
            Heard::Gap(gap) => ledger.gap(who, &gap, now),
            other => panic!("{other:?}"),
        }
    }
}

fn judged(blocks: &[String]) -> Vec<Violation> {
    let mut ledger = book();
    publish(&mut ledger);
    hear(&mut ledger, 0, blocks, 300);
    ledger.audit(10_000);
    ledger.violations
}

fn check(blocks: &[String], invariants: &[&str]) {
    let found = judged(blocks);
    let named: Vec<&str> = found.iter().map(|violation| violation.invariant).collect();
    assert_eq!(named, invariants, "{found:?}");
}

#[test]
fn an_honest_stream_passes() {
    check(&honest(), &[]);
}

#[test]
fn i1_an_event_that_was_dropped_is_missed() {
    for dropped in 1..=MESSAGES as usize {
        let mut stream = honest();
        stream.remove(dropped);
        check(&stream, &["I1"]);
    }
}

#[test]
fn i2_two_events_that_were_swapped_are_noticed() {
    for first in 1..MESSAGES as usize {
        let mut stream = honest();
        stream.swap(first, first + 1);
        check(&stream, &["I2"]);
    }
}

#[test]
fn i3_an_event_that_comes_twice_in_the_middle_is_noticed() {
    for twice in 1..=MESSAGES as usize {
        let mut stream = honest();
        stream.insert(twice, stream[twice].clone());
        check(&stream, &["I3"]);
    }
}

#[test]
fn i3_a_repetition_right_after_a_resume_is_none() {
    let mut ledger = book();
    publish(&mut ledger);
    hear(&mut ledger, 0, &honest()[..5], 300);
    ledger.ended(0, "cut", 400);
    ledger.opens(0, 1, 410);
    hear(&mut ledger, 0, &honest()[3..], 420);
    ledger.audit(10_000);
    assert!(ledger.violations.is_empty(), "{:?}", ledger.violations);
    assert_eq!(ledger.counts["duplicates"], 2);
}

#[test]
fn i1_a_gap_excuses_what_it_covers_and_stripped_of_it_the_loss_is_noticed() {
    let told = [&honest()[..3], &[gap("trimmed", "a.4")], &honest()[5..]].concat();
    let mut ledger = book();
    ledger.keeps("", 1);
    publish(&mut ledger);
    hear(&mut ledger, 0, &told, 300);
    ledger.audit(10_000);
    assert!(ledger.violations.is_empty(), "{:?}", ledger.violations);
    assert_eq!(ledger.counts["lost and announced"], 2);

    let stripped: Vec<String> = told.into_iter().filter(|block| !block.contains("$gap")).collect();
    check(&stripped, &["I1"]);
}

#[test]
fn i1_a_gap_excuses_nothing_before_its_reader_or_behind_what_follows() {
    // 2 was lost before the gap at 4, which was told after 3: it covers only 4.
    let before = [&honest()[..2], &honest()[3..4], &[gap("failover", "a.4")], &honest()[5..]].concat();
    // The gap ends with 4, which follows it, and 5 is missing.
    let behind = [&honest()[..3], &[gap("failover", "a.3")], &honest()[4..5], &honest()[6..]].concat();
    for stream in [before, behind] {
        let mut ledger = book();
        let cause = ledger.cause(Cause::TailLost, 200);
        ledger.cause_ends(cause, 300);
        publish(&mut ledger);
        hear(&mut ledger, 0, &stream, 310);
        ledger.audit(10_000);
        let named: Vec<&str> = ledger.violations.iter().map(|violation| violation.invariant).collect();
        assert_eq!(named, ["I1"], "{:?}", ledger.violations);
    }
}

#[test]
fn i5_a_gap_for_nothing_is_false() {
    for reason in ["trimmed", "failover", "epoch", "store_reset", "transient", "slow_consumer"] {
        let stream = [&honest()[..3], &[gap(reason, "a.2")], &honest()[3..]].concat();
        check(&stream, &["I5"]);
    }
}

#[test]
fn i4_what_nobody_published_and_what_was_changed_is_noticed() {
    let forged = [honest(), vec!["data: k99 text\nid: a.7\n\n".into()]].concat();
    check(&forged, &["I4"]);
    let mut changed = honest();
    changed[3] = changed[3].replace("text", "tent");
    // Whoever got it changed did not get it.
    check(&changed, &["I3", "I1"]);
}

#[test]
fn i3_an_id_that_is_used_again_is_noticed() {
    let mut ledger = book();
    publish(&mut ledger);
    let uid = ledger.sends("k7", "x", "k7 text", 200);
    ledger.acked(uid, "a.6", 210);
    assert_eq!(ledger.violations[0].invariant, "I3");
}

#[test]
fn i3_a_key_that_is_placed_twice_is_noticed_unless_the_tail_was_lost() {
    for (lost, violations) in [(false, 1), (true, 0)] {
        let mut ledger = book();
        publish(&mut ledger);
        if lost {
            let cause = ledger.cause(Cause::TailLost, 200);
            ledger.cause_ends(cause, 300);
        }
        ledger.acked(2, "b.9", 310);
        assert_eq!(ledger.violations.len(), violations, "{:?}", ledger.violations);
    }
}

#[test]
fn i3_a_message_that_has_moved_with_a_new_generation_is_noticed() {
    let mut ledger = book();
    publish(&mut ledger);
    let moved = |seq: u64, at: u64| format!("data: k{seq} text\nid: b.{at}\n\n");
    let order = [1, 2, 3, 4, 6, 5];
    let stream: Vec<String> = order.iter().zip(1..).map(|(seq, at)| moved(*seq, at)).collect();
    hear(&mut ledger, 0, &[honest()[..1].to_vec(), stream].concat(), 300);
    ledger.audit(10_000);
    let named: Vec<&str> = ledger.violations.iter().map(|violation| violation.invariant).collect();
    assert_eq!(named, ["I3", "I3"], "{:?}", ledger.violations);
}

#[test]
fn i2_two_subscribers_who_disagree_are_noticed_though_each_alone_is_in_order() {
    let mut ledger = book();
    ledger.joins("bob", &["x".into()]);
    publish(&mut ledger);
    let uid = ledger.sends("k7", "x", "k7 text", 200);
    ledger.acked(uid, "b.1", 210);
    let after = "data: k7 text\nid: b.1\n\n".to_owned();
    hear(&mut ledger, 0, &[honest(), vec![after.clone()]].concat(), 300);
    hear(&mut ledger, 1, &[honest()[..1].to_vec(), vec![after], honest()[1..].to_vec()].concat(), 300);
    ledger.audit(10_000);
    let named: Vec<&str> = ledger.violations.iter().map(|violation| violation.invariant).collect();
    assert_eq!(named, ["I2"], "{:?}", ledger.violations);
}

#[test]
fn i1_of_several_channels_a_gap_ends_with_the_next_message_of_its_own() {
    let event = |channel: &str, seq: u64| format!("event: {channel}\ndata: k{seq} text\nid: a.{seq}\n\n");
    // 1 of x is heard; 3 of x is trimmed, and 5 of x follows. The cursor is that of y, which has lost nothing.
    let told = [
        "event: $ready\ndata: {}\nid: a.0\n\n".to_owned(),
        event("x", 1),
        event("y", 2),
        gap("trimmed", "a.2"),
        event("y", 4),
        event("x", 5),
        event("y", 6),
    ];
    for (lost, invariants) in [(None, &[][..]), (Some(4), &["I1"])] {
        let mut ledger = Ledger::default();
        ledger.keeps("", 1);
        ledger.joins("carol", &["x".into(), "y".into()]);
        for seq in 1..=MESSAGES {
            let channel = if seq % 2 == 1 { "x" } else { "y" };
            let uid = ledger.sends(&format!("k{seq}"), channel, &format!("k{seq} text"), 100 + seq);
            ledger.acked(uid, &format!("a.{seq}"), 150 + seq);
        }
        let kept =
            told.iter().enumerate().filter(|(at, _)| Some(*at) != lost).map(|(_, block)| block.clone());
        let mut stream = Blocks::new(Shape::Multi);
        for heard in stream.hear(kept.collect::<String>().as_bytes()).unwrap() {
            match heard {
                Heard::Ready(cursor) => ledger.ready(0, cursor.as_deref(), 50),
                Heard::Message(seen) => ledger.hears(0, &seen, 300),
                Heard::Gap(gap) => ledger.gap(0, &gap, 300),
                other => panic!("{other:?}"),
            }
        }
        ledger.audit(10_000);
        let named: Vec<&str> = ledger.violations.iter().map(|violation| violation.invariant).collect();
        assert_eq!(named, invariants, "{:?}", ledger.violations);
    }
}

#[test]
fn i6_who_hears_nothing_new_is_behind() {
    let mut ledger = book();
    publish(&mut ledger);
    hear(&mut ledger, 0, &honest(), 300);
    assert!(ledger.behind(106).is_empty());
    assert_eq!(ledger.behind(107), [(0, "x".to_owned())]);
}

#[test]
fn a_story_names_channel_message_cursors_and_what_was_done() {
    let mut ledger = book();
    publish(&mut ledger);
    ledger.note(200, "F1: node 2 is killed");
    let mut stream = honest();
    stream.remove(4);
    hear(&mut ledger, 0, &stream, 300);
    ledger.audit(10_000);
    let story = ledger.violations[0].to_string();
    for part in ["alice on x", "k4", "a.4", "a.3 k3", "! F1: node 2 is killed"] {
        assert!(story.contains(part), "{part} is not in\n{story}");
    }
}
