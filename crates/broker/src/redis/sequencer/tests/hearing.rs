//! What the link brings, and what of it is believed.

use tidewire_hub::admit::Transport;
use tidewire_hub::position::Start;

use super::rig::{FIRST, Node, after, channel, fence};
use crate::redis::sequencer::{Astray, Standing};

#[test]
fn r13_a_hole_in_the_chain_holds_everybody_until_the_channel_is_read_again() {
    let mut node = Node::streaming("a,b", 5);
    node.hears("a", (6, 5, "6")).unwrap();
    node.hears("b", (8, 3, "8")).unwrap();
    assert_eq!(node.take(), ["6 @6", "8 @8"]);
    assert_eq!(node.hears("a", (9, 7, "9")), Err(Astray::Hole), "7 never came");
    assert_eq!(node.take(), ["fence 6 survived 6"]);
    node.hears("b", (10, 8, "10")).unwrap();
    assert_eq!(node.take(), Vec::<String>::new(), "everybody is held");
    node.comes_again(10);
    let (read, _) = node.orders().unwrap();
    node.answers_all(&read, 10, |name| match name {
        "a" => vec![(7, 6, "7"), (9, 7, "9")],
        _ => vec![(8, 3, "8"), (10, 8, "10")],
    });
    assert_eq!(
        node.take(),
        ["7 @7", "8 @8", "9 @9", "10 @10"],
        "the lost one first, and an id may step back"
    );
    assert_eq!(node.sequencer.tally().holes, 1);
}

#[test]
fn r20_a_message_without_a_record_is_no_hole() {
    let mut node = Node::streaming("a", 5);
    let generation = node.fence.generation;
    let mut bytes = format!("1 {generation} 20 17 -\n").into_bytes();
    bytes.extend_from_slice(&super::rig::body("20"));
    node.sequencer.heard(node.session, channel("a"), bytes.into(), node.now()).unwrap();
    assert_eq!(node.take(), ["20 @20"]);
}

#[test]
fn r19_what_came_before_the_confirmation_is_read_and_not_believed() {
    let mut node = Node::live_at(5);
    node.streams("a", after(5));
    let order = node.sequencer.next_subscriptions().unwrap();
    // The link brings 7 already, though 6 was placed before it was asked.
    node.hears("a", (7, 6, "7")).unwrap();
    let probe = node.probe(7);
    node.sequencer.confirmed(&order, &probe, node.now()).unwrap();
    node.hears("a", (8, 7, "8")).unwrap();
    node.reads("a", 5, 8, 0, &[(6, 0, "6"), (7, 6, "7"), (8, 7, "8")]);
    assert_eq!(node.take(), ["joined [6 7 8] 8"]);
}

#[test]
fn r19_a_confirmation_of_a_channel_that_was_let_go_serves_nobody() {
    let mut node = Node::live_at(5);
    node.streams("a", Start::Live);
    let first = node.sequencer.next_subscriptions().unwrap();
    node.passes(5_000);
    assert_eq!(node.take(), ["refused BrokerUnavailable"]);
    node.passes(10_000);
    assert!(node.sequencer.channels(9).is_empty(), "it was let go");
    node.streams("a", Start::Live);
    assert!(node.sequencer.next_subscriptions().is_none(), "one order at a time");
    let probe = node.probe(5);
    node.sequencer.confirmed(&first, &probe, node.now()).unwrap();
    assert_eq!(node.take(), Vec::<String>::new());
    let second = node.sequencer.next_subscriptions().unwrap();
    assert_eq!((second.unsubscribe.len(), second.subscribe.len()), (1, 1));
    let probe = node.probe(8);
    node.sequencer.confirmed(&second, &probe, node.now()).unwrap();
    assert_eq!(node.take(), ["joined [] 8"]);
}

#[test]
fn f33_junk_is_counted_and_another_generation_asks_for_a_look() {
    let mut node = Node::streaming("a", 5);
    let strange = ["", "junk", "1 zz 6 5 +\nx"].map(|text| text.as_bytes().to_vec());
    for bytes in strange {
        node.sequencer.heard(node.session, channel("a"), bytes.into(), node.now()).unwrap();
    }
    assert!(!node.sequencer.wants_probe());
    let mut bytes = b"1 zz 6 5 +\n".to_vec();
    bytes.extend_from_slice(&super::rig::body("6"));
    node.sequencer.heard(node.session, channel("a"), bytes.into(), node.now()).unwrap();
    assert_eq!((node.sequencer.tally().junk, node.sequencer.wants_probe()), (4, true));
    assert_eq!(node.take(), Vec::<String>::new());
}

#[test]
fn r7_a_node_behind_a_cursor_waits() {
    let mut node = Node::streaming("a", 5);
    node.streams("a", after(7));
    assert!(node.sequencer.wants_probe());
    assert_eq!(node.take(), Vec::<String>::new());
    node.hears("a", (6, 5, "6")).unwrap();
    assert_eq!(node.take(), ["6 @6"]);
    node.hears("a", (7, 6, "7")).unwrap();
    assert_eq!(node.take(), ["7 @7", "joined [] 7"]);
}

#[test]
fn r7_a_cursor_that_was_given_to_nobody_is_a_gap_once_a_whole_look_has_passed() {
    let mut node = Node::streaming("a", 5);
    // A look that began before the cursor came proves nothing.
    let look = node.sequencer.look();
    node.streams("a", after(1_000));
    let probe = node.probe(5);
    node.sequencer.probed(look, &probe, node.now()).unwrap();
    assert_eq!(node.take(), Vec::<String>::new());
    node.looks(5).unwrap();
    node.reads("a", 0, 5, 0, &[(5, 0, "5")]);
    assert_eq!(node.take(), ["joined gap epoch [a] 0 [5] 5"]);
}

#[test]
fn r6_a_position_is_told_up_to_where_the_link_has_brought_everything() {
    let mut node = Node::streaming("a", 5);
    node.looks(9).unwrap();
    node.sequencer.tick(node.now());
    assert_eq!(node.take(), ["position 9"]);
    node.loses();
    node.sequencer.tick(node.now());
    assert_eq!(node.take(), Vec::<String>::new());
}

#[test]
fn a_channel_is_let_go_a_while_after_the_last_one_has_left() {
    let mut node = Node::streaming("a", 5);
    node.sequencer.leave(node.outlet, Transport::Sse, &[channel("a")], node.now());
    node.passes(9_999);
    assert!(node.sequencer.next_subscriptions().is_none());
    node.passes(1);
    assert_eq!(node.sequencer.next_subscriptions().unwrap().unsubscribe, [channel("a")]);
    assert_eq!(node.sequencer.standing(), Standing::Live);
}

#[test]
fn r8_what_the_bridge_brings_while_the_log_is_away_is_delivered_and_moves_no_cursor() {
    let mut node = Node::streaming("a,bridged", 1);
    node.hears("a", (2, 1, "heard")).unwrap();
    node.loses();
    node.relays("meanwhile");
    assert_eq!(node.take(), ["heard @2", "meanwhile @2"]);
    node.enters(fence(FIRST, 5, &[]));
    node.relays("entered");
    assert_eq!(node.take().last().unwrap(), "entered @2", "the log still owes what follows 2");
}

#[test]
fn r8_what_does_not_fit_while_the_log_is_away_is_announced() {
    let mut node = Node::streaming("a,bridged", 1);
    node.loses();
    node.take();
    node.has_room_for(Some(0));
    node.relays("lost");
    assert_eq!(node.take(), ["lost transient [bridged] 1"]);
}
