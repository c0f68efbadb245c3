//! Slow readers: R14 and S35.

use std::time::Duration;

use tidewire_sim::ear::{Dialect, SseStyle};

use crate::rig::{Peer, Rig, Setup, head};

/// A reader whose send buffer is nearly full of what it has not read.
fn slow(rig: &mut Rig, dialect: Dialect, room: usize) -> Peer {
    let request = match dialect {
        Dialect::Sse(_) => head("a").sse(),
        dialect => head("a").websocket(dialect == Dialect::V1),
    };
    let peer = rig.connect(0, dialect, room);
    rig.say(&peer, &request.bytes());
    peer
}

fn bounded(change: impl FnOnce(&mut Setup)) -> Rig {
    Rig::with(change)
}

#[test]
fn r14_a_slow_reader_is_closed_at_a_frame_boundary_with_a_cursor_that_resumes() {
    for dialect in [Dialect::V1, Dialect::Raw] {
        let mut rig = bounded(|setup| setup.limits.queue_messages_max = 5);
        let peer = slow(&mut rig, dialect, 300);
        for number in 1..=40 {
            rig.publish("a", &format!("{number:040}"));
        }
        let heard = peer.hears_all(&mut rig);
        let cursor = heard.last().and_then(|line| line.strip_prefix("closed 4408 ")).unwrap().to_owned();
        let seen = heard.iter().filter(|line| line.contains('@')).count();
        let back = rig.ask(Dialect::Raw, &head("a").websocket(false).query(&format!("cursor={cursor}")));
        let rest = back.hears();
        assert_eq!(rest.first(), Some(&format!("{:040} @-", seen + 1)), "{dialect:?} goes on where it ended");
        assert_eq!(rest.len(), 40 - seen);
    }
}

#[test]
fn r14_a_slow_stream_ends_cleanly_between_two_blocks() {
    let mut rig = bounded(|setup| setup.limits.queue_messages_max = 5);
    let peer = slow(&mut rig, Dialect::Sse(SseStyle::Single), 300);
    for number in 1..=40 {
        rig.publish("a", &number.to_string());
    }
    assert_eq!(peer.hears_all(&mut rig).last().map(String::as_str), Some("ended"));
    assert_eq!(rig.receivers("a"), 0);
}

#[test]
fn r14_a_stream_that_read_nothing_at_all_is_ended_behind_its_head() {
    let mut rig = bounded(|setup| setup.limits.queue_messages_max = 5);
    let sse = Dialect::Sse(SseStyle::Single);
    let peer = rig.connect(0, sse, 4_096);
    peer.refuse_writes(&rig, Duration::from_secs(1));
    rig.say(&peer, &head("a").sse().bytes());
    for number in 1..=40 {
        rig.publish("a", &number.to_string());
    }
    rig.pass(Duration::from_millis(1_100));
    assert_eq!(peer.hears_all(&mut rig), ["ready 0", "ended"]);
}

#[test]
fn r14_a_gap_that_was_not_sent_is_still_to_come_after_the_close() {
    let mut rig = bounded(|setup| {
        setup.inboxes = vec![1];
        setup.retention.messages_max = 4;
        setup.limits.queue_messages_max = 4;
    });
    let peer = slow(&mut rig, Dialect::V1, 300);
    rig.publish(
        "a",
        "fills the rest of the small send buffer, and more than that, so that everything else waits",
    );
    for number in 2..=20 {
        rig.publish_quietly("a", &number.to_string());
    }
    rig.settle();
    let heard = peer.hears_all(&mut rig);
    assert!(!heard.iter().any(|line| line.starts_with("gap")), "the gap waited with the rest: {heard:?}");
    let cursor = heard.last().and_then(|line| line.strip_prefix("closed 4408 ")).unwrap().to_owned();
    let back = rig.sse_with("a", |head| head.query(&format!("cursor={cursor}")));
    assert_eq!(back.hears()[0], "gap trimmed [a] 16");
}

#[test]
fn s35_too_many_bytes_end_a_slow_reader_and_nobody_else() {
    let mut rig = bounded(|setup| setup.limits.queue_bytes_max = 2_000);
    let fast = rig.sse("a");
    let peer = slow(&mut rig, Dialect::V1, 300);
    let text = "x".repeat(500);
    for _ in 0..8 {
        rig.publish("a", &text);
    }
    assert_eq!(fast.hears().len(), 9);
    assert_eq!(rig.counter("slow_consumers"), 1);
    assert!(peer.hears_all(&mut rig).last().unwrap().starts_with("closed 4408 "));
    assert_eq!(rig.receivers("a"), 1);
}

#[test]
fn s35_one_message_that_waits_too_long_ends_a_slow_reader() {
    let mut rig = Rig::new();
    let peer = slow(&mut rig, Dialect::V1, 300);
    for _ in 0..6 {
        rig.publish("a", &"x".repeat(100));
    }
    rig.pass(Duration::from_secs(14));
    assert_eq!(rig.counter("slow_consumers"), 0);
    rig.pass(Duration::from_secs(2));
    assert_eq!(rig.counter("slow_consumers"), 1);
    drop(peer);
}

#[test]
fn s35_queues_together_have_a_share_of_the_memory_and_the_longest_waiting_goes_first() {
    let mut rig = bounded(|setup| {
        setup.limits.memory_budget = 8 << 20;
        setup.limits.queue_bytes_max = usize::MAX;
    });
    let fast = rig.sse("a");
    let slow: Vec<Peer> = (0..4).map(|_| slow(&mut rig, Dialect::V1, 300)).collect();
    // More than the newest frames, which are remembered for whoever comes and count for nobody.
    for _ in 0..150 {
        rig.publish("a", &"x".repeat(60_000));
    }
    assert_eq!(rig.counter("slow_consumers"), 4, "frames are shared, so one of them holds what all hold");
    assert!(rig.counter("queued_bytes") <= 2 << 20);
    assert_eq!(fast.hears().len(), 151);
    drop(slow);
}
