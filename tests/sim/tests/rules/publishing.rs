//! Publishing: R22 and R23.

use std::time::Duration;

use tidewire_hub::reason::Reason;
use tidewire_sim::speech;

use crate::rig::Rig;

#[test]
fn r22_a_key_makes_a_repetition_harmless_until_it_is_forgotten() {
    let mut rig = Rig::new();
    let peer = rig.sse("a");
    let first = rig.try_publish("a", "one", Some("k"));
    assert_eq!(rig.try_publish("a", "one", Some("k")), first);
    assert_eq!(rig.try_publish("a", "other", Some("k")), Err(Reason::KeyReused));
    assert!(rig.try_publish("b", "other", Some("k")).is_ok(), "a key belongs to its channel");
    rig.settle();
    assert_eq!(peer.hears(), ["ready 0", "one @1"]);
    rig.pass(Duration::from_secs(301));
    assert_ne!(rig.try_publish("a", "one", Some("k")), first);
}

#[test]
fn r22_a_full_table_of_keys_refuses_and_never_forgets_early() {
    let rig = Rig::with(|setup| setup.limits.keys_max = 2);
    let first = rig.try_publish("a", "one", Some("k1"));
    assert!(rig.try_publish("a", "two", Some("k2")).is_ok());
    assert_eq!(rig.try_publish("a", "three", Some("k3")), Err(Reason::KeysFull));
    assert_eq!(rig.try_publish("a", "one", Some("k1")), first);
    assert!(rig.try_publish("a", "three", None).is_ok());
}

#[test]
fn r22_the_messages_of_one_connection_are_published_in_its_order() {
    let mut rig = Rig::new();
    let peer = rig.raw("a");
    let frames: Vec<u8> =
        (0..50).flat_map(|number| speech::frame(speech::TEXT, number.to_string().as_bytes())).collect();
    rig.say(&peer, &frames);
    let expected: Vec<String> = (0..50).map(|number| format!("{number} @-")).collect();
    assert_eq!(peer.hears(), expected);
}

#[test]
fn r23_a_draining_node_takes_nothing_new_and_repeats_what_it_took() {
    let mut rig = Rig::new();
    let first = rig.try_publish("a", "one", Some("k"));
    rig.node.drain(Duration::from_secs(1));
    rig.settle();
    assert_eq!(rig.try_publish("a", "two", None), Err(Reason::Draining));
    assert_eq!(rig.try_publish("a", "one", Some("k")), first);
}

#[test]
fn r23_a_drain_ends_every_connection_in_its_own_way_and_then_the_shard() {
    let mut rig = Rig::new();
    let (sse, v1, poll) = (rig.sse("a"), rig.v1("a"), rig.poll("a", "wait=60"));
    let place = rig.publish("b", "elsewhere");
    rig.node.drain(Duration::from_secs(1));
    rig.settle();
    rig.pass(Duration::from_millis(1_200));
    assert_eq!(sse.hears(), ["ready 0", "ended"]);
    assert_eq!(v1.hears(), ["ready 0".to_owned(), format!("closed 1012 {}", at(&place, 0))]);
    assert_eq!(poll.hears(), ["page [] 0"]);
    rig.pass(Duration::from_secs(3));
    assert!(rig.node.is_over());
}

/// The place `seq` of the same life: nothing on these channels came, and nobody told the shard of what came elsewhere.
fn at(place: &tidewire_hub::Position, seq: u64) -> tidewire_hub::Position {
    tidewire_hub::Position { seq, ..*place }
}
