//! Order: R1 to R4.

use std::time::Duration;

use tidewire_sim::ear::{Dialect, SseStyle};
use tidewire_sim::speech;

use crate::rig::{ROOMY, Rig, head};

#[test]
fn r1_every_shard_hears_what_is_published_in_one_order() {
    let mut rig = Rig::with(|setup| setup.inboxes = vec![16_384, 16_384]);
    let sse = Dialect::Sse(SseStyle::Multi);
    let peers = [0, 1].map(|shard| rig.connect(shard, sse, ROOMY));
    peers.iter().for_each(|peer| rig.say(peer, &head("a,b").sse().bytes()));
    for number in 0..20 {
        rig.publish_quietly(if number % 3 == 0 { "a" } else { "b" }, &number.to_string());
    }
    rig.node.turn(1);
    rig.settle();
    let [one, other] = peers.map(|peer| peer.hears());
    assert_eq!(one, other);
    assert_eq!(one.len(), 21, "{one:?}");
}

#[test]
fn r2_the_inbox_is_obeyed_in_its_order() {
    let mut rig = Rig::new();
    let peer = rig.sse("a");
    rig.publish_quietly("a", "before");
    rig.node.drain(Duration::ZERO);
    rig.settle();
    rig.pass(Duration::from_millis(64));
    assert_eq!(peer.hears(), ["ready 0", "before @1", "ended"]);
}

#[test]
fn r3_nobody_is_a_pass_ahead_of_the_others() {
    let mut rig = Rig::new();
    let peers = [rig.sse("a"), rig.sse("a"), rig.sse("a")];
    for peer in &peers {
        peer.hears();
    }
    for number in 0..600 {
        rig.publish_quietly("a", &number.to_string());
    }
    let mut told = 0;
    while told < 600 {
        rig.node.turn(0);
        let counts = peers.each_ref().map(|peer| peer.hears().len());
        assert!(counts.iter().all(|count| *count == counts[0]), "{counts:?}");
        told += counts[0];
    }
    assert_eq!(told, 600);
}

#[test]
fn r4_a_pong_keeps_its_place_among_messages() {
    let mut rig = Rig::new();
    let peer = rig.raw("a");
    peer.hears();
    rig.publish("a", "one");
    rig.say(&peer, &speech::frame(speech::PING, b"?"));
    rig.publish("a", "two");
    assert_eq!(peer.bytes(), b"\x81\x03one\x8a\x01?\x81\x03two");
}

#[test]
fn r4_an_id_may_step_back_and_what_follows_is_a_repetition() {
    let mut rig = Rig::new();
    let first = rig.publish("a", "one");
    rig.publish("a", "two");
    let peer = rig.v1("a");
    rig.publish("a", "three");
    let again = format!(r#"{{"type":"subscribe","channels":["a"],"cursor":"{first}","id":1}}"#);
    rig.speak(&peer, &again);
    rig.publish("a", "four");
    assert_eq!(peer.hears(), ["ready 2", "three @3", "page [two @2, three @3] 3", "four @4"]);
    assert_eq!(rig.receivers("a"), 1, "its channels are a set");
}
