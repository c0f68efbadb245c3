//! Time: R30, S30 and S33.

use std::time::Duration;

use tidewire_sim::ear::Dialect;
use tidewire_sim::speech;

use crate::rig::{ROOMY, Rig, head};

const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn r30_deadlines_are_looked_at_after_reads() {
    let mut rig = Rig::new();
    let peer = rig.connect(0, Dialect::Poll, ROOMY);
    rig.settle();
    // What it sent arrives while the loop is busy for longer than a head may take.
    rig.stall(s(60));
    rig.say(&peer, &head("a").bytes());
    assert_eq!(peer.hears(), ["page [] 0"]);
}

#[test]
fn r30_deadlines_grow_by_the_time_the_loop_was_late() {
    let mut rig = Rig::new();
    let peer = rig.raw("a");
    rig.stall(s(300));
    rig.settle();
    rig.pass(s(1));
    assert!(!peer.is_ended(), "nobody was silent while nobody listened");
}

#[test]
fn s33_a_connection_without_a_first_byte_is_closed_after_five_seconds() {
    let mut rig = Rig::new();
    let peer = rig.connect(0, Dialect::Poll, ROOMY);
    rig.settle();
    rig.pass(Duration::from_millis(4_900));
    assert!(!peer.is_closed());
    rig.pass(Duration::from_millis(200));
    assert!(peer.is_closed());
}

#[test]
fn s33_a_head_that_trickles_is_refused_after_ten_seconds() {
    let mut rig = Rig::new();
    let peer = rig.connect(0, Dialect::Poll, ROOMY);
    for byte in head("a").bytes().iter().take(9) {
        rig.say(&peer, &[*byte]);
        rig.pass(s(1));
    }
    assert!(peer.bytes().is_empty());
    rig.pass(Duration::from_millis(1_200));
    assert_eq!(peer.hears(), ["refused 408 timeout"]);
}

#[test]
fn s33_an_idle_connection_is_kept_alive_for_75_seconds() {
    let mut rig = Rig::new();
    let peer = rig.poll("a", "x=1");
    rig.pass(s(70));
    rig.say(&peer, &head("a").bytes());
    assert_eq!(peer.hears().len(), 2);
    rig.pass(s(74));
    assert!(!peer.is_ended());
    rig.pass(s(2));
    assert!(peer.is_closed());
}

#[test]
fn s30_more_than_twenty_control_frames_a_second_are_too_many() {
    let mut rig = Rig::new();
    let peer = rig.raw("a");
    let pings: Vec<u8> = (0..20).flat_map(|_| speech::frame(speech::PING, b"")).collect();
    for _ in 0..3 {
        rig.say(&peer, &pings);
        rig.pass(Duration::from_millis(1_050));
    }
    assert_eq!(peer.hears(), Vec::<String>::new(), "twenty a second are allowed");
    rig.say(&peer, &pings);
    rig.say(&peer, &speech::frame(speech::PING, b""));
    assert_eq!(peer.hears().last().map(String::as_str), Some("closed 4429 rate_limited"));
}

#[test]
fn s30_a_message_that_stays_incomplete_for_ten_seconds_ends_its_connection() {
    let mut rig = Rig::new();
    let peer = rig.raw("a");
    rig.say(&peer, &speech::fragment(false, speech::TEXT, b"half"));
    rig.pass(s(9));
    assert!(!peer.is_ended());
    rig.pass(Duration::from_millis(1_200));
    assert_eq!(peer.hears().last().map(String::as_str), Some("closed 4408 timeout"));
}

#[test]
fn a_websocket_is_asked_after_20_seconds_and_ended_after_45_of_silence() {
    let mut rig = Rig::new();
    let (answers, silent) = (rig.raw("a"), rig.raw("a"));
    rig.pass(Duration::from_millis(20_100));
    assert_eq!((answers.hears(), silent.hears()), (vec!["ping".to_owned()], vec!["ping".to_owned()]));
    rig.say(&answers, &speech::frame(speech::PONG, b""));
    rig.pass(s(25));
    assert!(silent.hears().last().unwrap().starts_with("closed 4408 "));
    assert!(!answers.is_ended());
}
