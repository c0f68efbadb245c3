//! Coming in, and coming in again: what everybody is told, and what they go on with.

use tidewire_hub::limits::Limits;
use tidewire_hub::position::{Gen, Start};

use super::rig::{FIRST, Node, after, after_in, channel, fence};
use crate::redis::fence::{Fence, Replication};
use crate::redis::link::Probe;
use crate::redis::sequencer::{Astray, Standing};

#[test]
fn a_node_becomes_live_once_its_link_has_been_looked_at() {
    let mut node = Node::new();
    assert_eq!(node.sequencer.standing(), Standing::Away);
    node.enters(fence(FIRST, 5, &[]));
    assert_eq!(node.sequencer.standing(), Standing::Entered);
    node.confirms(5);
    assert_eq!(node.sequencer.standing(), Standing::Live);
    assert!(node.sequencer.next_subscriptions().is_none(), "there is nothing more to ask for");
}

#[test]
fn r13_who_was_held_goes_on_with_what_it_missed_in_seq_order() {
    let mut node = Node::streaming("a,b", 5);
    node.comes_again(9);
    assert_eq!(node.sequencer.standing(), Standing::Behind);
    let (read, wanted) = node.orders().unwrap();
    let mut names: Vec<&str> = wanted.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    assert_eq!((names, wanted[0].1), (vec!["a", "b"], 5), "one read for both");
    let entries = |name: &str| match name {
        "a" => vec![(6, 4, "6"), (9, 6, "9")],
        _ => vec![(7, 3, "7")],
    };
    node.answers_all(&read, 9, entries);
    assert_eq!(node.sequencer.standing(), Standing::Live);
    assert_eq!(node.take(), ["6 @6", "7 @7", "9 @9"]);
    node.hears("b", (10, 7, "10")).unwrap();
    assert_eq!(node.take(), ["10 @10"]);
}

#[test]
fn r13_nothing_goes_out_while_the_node_is_behind_and_nothing_is_lost() {
    let mut node = Node::streaming("a", 5);
    node.comes_again(6);
    node.hears("a", (7, 6, "7")).unwrap();
    node.sequencer.tick(node.now());
    assert_eq!(node.take(), Vec::<String>::new(), "neither a message nor a position");
    node.reads("a", 5, 7, 4, &[(6, 4, "6"), (7, 6, "7")]);
    assert_eq!(node.take(), ["6 @6", "7 @7"]);
}

#[test]
fn r17_a_promotion_that_lost_nothing_passes_in_silence() {
    let mut node = Node::streaming("a", 5);
    node.loses();
    node.enters(fence(2, 6, &[(FIRST, 5, false)]));
    assert_eq!(node.take(), ["fence 5"]);
    node.confirms(6);
    node.reads("a", 5, 6, 4, &[(6, 4, "6")]);
    assert_eq!(node.take(), ["6 @6"]);
    node.streams("a", after(5));
    assert_eq!(node.take(), ["joined [6] 6"]);
    node.streams("a", after(6));
    assert_eq!(node.take(), ["joined gap failover [a] 5 [6] 6"], "that 6 was another message");
}

#[test]
fn r17_a_promotion_that_lost_the_tail_is_told_before_any_id_beyond_it() {
    let mut node = Node::streaming("a", 5);
    node.hears("a", (6, 4, "lost")).unwrap();
    assert_eq!(node.take(), ["lost @6"]);
    node.loses();
    node.enters(fence(2, 7, &[(FIRST, 5, true)]));
    assert_eq!(node.take(), ["lost failover [a] 5", "fence 5 survived 5"]);
    node.confirms(7);
    node.reads("a", 5, 7, 4, &[(6, 4, "new"), (7, 6, "7")]);
    assert_eq!(node.take(), ["new @6", "7 @7"]);
    assert_eq!(node.sequencer.tally().losses, 1);
}

#[test]
fn r17_a_loss_is_told_at_the_place_up_to_which_each_outlet_was_fed() {
    let mut node = Node::streaming("a", 5);
    node.has_room_for(Some(1));
    for seq in 6..=9 {
        node.hears("a", (seq, seq - 1, &seq.to_string())).unwrap();
    }
    assert_eq!(node.take(), ["6 @6"], "it is held at 6");
    node.has_room_for(None);
    node.loses();
    node.enters(fence(2, 8, &[(FIRST, 8, true)]));
    assert_eq!(node.take(), ["lost failover [a] 6", "fence 6 survived 8"]);
    node.confirms(8);
    node.reads("a", 6, 8, 5, &[(6, 5, "6"), (7, 6, "7"), (8, 7, "8")]);
    assert_eq!(node.take(), ["7 @7", "8 @8"]);
}

#[test]
fn a_generation_that_died_with_its_server_is_a_loss_up_to_what_it_came_of() {
    let mut node = Node::streaming("a", 5);
    node.loses();
    node.enters(fence(2, 5, &[(FIRST, 5, false)]));
    node.confirms(5);
    node.hears("a", (6, 4, "dead")).unwrap();
    node.take();
    node.loses();
    node.enters(fence(3, 5, &[(FIRST, 5, true)]));
    assert_eq!(node.take(), ["lost failover [a] 5", "fence 5 survived 5"]);
}

#[test]
fn a_store_that_was_lost_is_told_and_the_new_one_begins_from_its_first_message() {
    let mut node = Node::streaming("a", 5);
    node.loses();
    let other = Fence { era: Gen::from_random(9), ..fence(9, 1, &[]) };
    node.enters(other);
    assert_eq!(node.take(), ["lost store_reset [a] 0", "fence 0 survived 0"]);
    node.confirms(1);
    node.reads("a", 0, 1, 0, &[(1, 0, "new")]);
    assert_eq!(node.take(), ["new @1"]);
    node.streams("a", after(5));
    assert_eq!(node.take(), ["joined gap store_reset [a] 0 [new] 1"]);
    node.streams("a", after_in(77, 5));
    assert_eq!(node.take(), ["joined gap epoch [a] 0 [new] 1"]);
}

#[test]
fn r18_a_look_that_finds_another_server_generation_or_role_gives_the_link_up() {
    let other = Replication::parse(&"f".repeat(40)).unwrap();
    let node = || Node::streaming("a", 5);
    let strange: [fn(Probe, Replication) -> Probe; 4] = [
        |probe, _| Probe { is_master: false, ..probe },
        |probe, replication| Probe { replication, ..probe },
        |probe, _| Probe { head: None, ..probe },
        |probe, _| Probe {
            head: probe
                .head
                .map(|head| tidewire_hub::position::Position { generation: Gen::from_random(99), ..head }),
            ..probe
        },
    ];
    for change in strange {
        let mut node = node();
        let (look, probe) = (node.sequencer.look(), change(node.probe(5), other.clone()));
        assert_eq!(node.sequencer.probed(look, &probe, node.now()), Err(Astray::Fenced));
    }
}

#[test]
fn what_a_given_up_link_still_brings_changes_nothing() {
    let mut node = Node::streaming("a", 5);
    let look = node.sequencer.look();
    node.loses();
    let probe = node.probe(9);
    node.sequencer.probed(look, &probe, node.now()).unwrap();
    node.hears("a", (6, 4, "6")).unwrap();
    assert_eq!(node.take(), Vec::<String>::new());
    assert_eq!(node.sequencer.standing(), Standing::Away);
}

#[test]
fn who_comes_while_the_link_is_away_waits_for_it_and_later_ones_are_sent_away_at_once() {
    let mut node = Node::streaming("a", 5);
    node.loses();
    node.streams("b", Start::Live);
    assert_eq!(node.take(), Vec::<String>::new());
    node.passes(5_000);
    assert_eq!(node.take(), ["refused BrokerUnavailable"], "patience has an end");
    node.streams("b", Start::Live);
    assert_eq!(node.take(), ["refused BrokerUnavailable"]);
    assert_eq!(node.sequencer.waiting(), 0);
}

#[test]
fn r13_what_has_no_room_is_announced_and_everybody_goes_on() {
    let limits = Limits { memory_budget: 20_000, ..Limits::default() };
    let mut node = Node::with(limits);
    node.enters(fence(FIRST, 5, &[]));
    node.confirms(5);
    node.streams("a", Start::Live);
    node.confirms(5);
    node.take();
    let large = "x".repeat(9_000);
    node.comes_again(7);
    node.reads("a", 5, 7, 4, &[(6, 4, &large), (7, 6, &large)]);
    assert_eq!(node.sequencer.standing(), Standing::Live, "or it would read without an end");
    assert_eq!(node.take(), ["lost trimmed [a] 5".to_owned(), format!("{large} @7")]);
}

#[test]
fn channels_that_nobody_wants_are_not_asked_for_again() {
    let mut node = Node::streaming("a,b", 5);
    node.sequencer.leave(
        node.outlet,
        tidewire_hub::admit::Transport::Sse,
        &[channel("a"), channel("b")],
        node.now(),
    );
    node.streams("b", Start::Live);
    node.loses();
    node.enters(Fence { seq: 5, ..node.fence.clone() });
    assert_eq!(node.confirms(5), [channel("b")]);
}

#[test]
fn r13_what_a_full_channel_lets_go_of_before_it_was_read_is_told_as_lost() {
    let mut node = Node::streaming_few("a", 9, 2);
    node.comes_again(20);
    // Of what came between 9 and 20 nothing has been read yet.
    for seq in 21..=23 {
        node.hears("a", (seq, seq - 1, "a")).unwrap();
    }
    let (read, _) = node.orders().expect("what they missed is read");
    node.answers(&read, 23, 21, &[(22, 21, "a"), (23, 22, "a")], false);
    assert_eq!(node.take(), ["lost trimmed [a] 9".to_owned(), "a @22".into(), "a @23".into()]);
}
