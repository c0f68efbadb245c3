//! Publishing: what a publisher is told, and what is placed again.

use tidewire_hub::position::{Gen, Position};
use tidewire_hub::reason::Reason;

use super::rig::{FIRST, Node, fence};
use crate::redis::error::Error;
use crate::redis::log::Placing;
use crate::redis::sequencer::{Astray, PUBLISH_PATIENCE};

fn at(generation: u64, seq: u64) -> Position {
    Position { generation: Gen::from_random(generation), seq }
}

fn placed(seq: u64) -> Result<Placing, Error> {
    Ok(Placing::Placed(at(FIRST, seq)))
}

/// What the node would tell of the first generation in a handshake.
fn witness(node: &Node) -> u64 {
    node.sequencer.past().witnesses().find(|one| one.generation == Gen::from_random(FIRST)).unwrap().seq
}

#[test]
fn r17_a_publisher_hears_of_a_place_after_the_node_has_seen_it() {
    let mut node = Node::live_at(5);
    node.publishes("6", None);
    let (flush, _) = node.flushes();
    node.sequencer.flush_done(flush, vec![placed(6)], node.now()).unwrap();
    assert_eq!(witness(&node), 6);
    assert_eq!(node.told(), [("6".to_owned(), Ok(6))]);
}

#[test]
fn r17_a_repeated_key_is_seen_too_since_who_placed_it_may_never_have_heard() {
    let mut node = Node::live_at(5);
    node.publishes("8", Some("k"));
    let (flush, _) = node.flushes();
    node.sequencer.flush_done(flush, vec![Ok(Placing::Repeated(at(FIRST, 8)))], node.now()).unwrap();
    assert_eq!((witness(&node), node.told()), (8, vec![("8".to_owned(), Ok(8))]));
}

#[test]
fn r17_an_answer_that_outlives_its_link_is_no_acknowledgement() {
    let mut node = Node::live_at(5);
    for (text, key) in [("6", None), ("7", Some("k"))] {
        node.publishes(text, key);
    }
    let (flush, _) = node.flushes();
    node.loses();
    // The new master was told that nothing above 5 was seen, and never had these.
    node.enters(fence(2, 5, &[(FIRST, 5, false)]));
    node.sequencer.flush_done(flush, vec![placed(6), placed(7)], node.now()).unwrap();
    assert_eq!(node.told(), [("6".to_owned(), Err(Reason::OutcomeUnknown))]);
    let (_, texts) = node.flushes();
    assert_eq!(texts, ["7"], "its key makes a repetition harmless");
}

#[test]
fn r16_what_was_fenced_is_placed_again_in_the_old_order() {
    let mut node = Node::live_at(5);
    node.publishes("1", None);
    let (first, _) = node.flushes();
    node.publishes("2", None);
    let (second, _) = node.flushes();
    node.publishes("3", None);
    assert!(node.sequencer.next_flush().is_none(), "two are under way at most");
    let fenced = || vec![Err(Error::Fenced)];
    assert_eq!(node.sequencer.flush_done(second, fenced(), node.now()), Err(Astray::Fenced));
    assert_eq!(node.sequencer.flush_done(first, fenced(), node.now()), Err(Astray::Fenced));
    node.loses();
    assert!(node.sequencer.next_flush().is_none(), "there is no link");
    node.enters(fence(2, 5, &[(FIRST, 5, false)]));
    assert_eq!(node.flushes().1, ["1", "2", "3"]);
    assert_eq!(node.told(), []);
}

#[test]
fn f6_an_unknown_outcome_is_told_unless_a_key_makes_a_repetition_harmless() {
    let mut node = Node::live_at(5);
    node.publishes("1", None);
    node.publishes("2", Some("k"));
    let (flush, _) = node.flushes();
    let broken = vec![Err(Error::Broken), Err(Error::Broken)];
    node.sequencer.flush_done(flush, broken, node.now()).unwrap();
    assert_eq!(node.told(), [("1".to_owned(), Err(Reason::OutcomeUnknown))]);
    let (flush, texts) = node.flushes();
    assert_eq!(texts, ["2"]);
    node.sequencer.flush_done(flush, vec![Err(Error::Broken)], node.now()).unwrap();
    node.passes(PUBLISH_PATIENCE.as_millis() as u64);
    assert_eq!(node.told(), [("2".to_owned(), Err(Reason::OutcomeUnknown))]);
}

#[test]
fn what_was_never_sent_is_certainly_not_placed() {
    let mut node = Node::live_at(5);
    node.loses();
    node.publishes("1", None);
    node.passes(PUBLISH_PATIENCE.as_millis() as u64);
    node.publishes("2", None);
    let unavailable = Err(Reason::BrokerUnavailable);
    assert_eq!(node.told(), [("1".to_owned(), unavailable), ("2".to_owned(), unavailable)]);
}

#[test]
fn refusals_name_their_cause() {
    let mut node = Node::live_at(5);
    for text in ["1", "2", "3"] {
        node.publishes(text, Some(text));
    }
    let (flush, _) = node.flushes();
    let outcomes = vec![Ok(Placing::KeyReused), Err(Error::NoSpace), Err(Error::Crowded)];
    node.sequencer.flush_done(flush, outcomes, node.now()).unwrap();
    let reasons: Vec<_> = node.told().into_iter().map(|(_, outcome)| outcome.unwrap_err()).collect();
    assert_eq!(reasons, [Reason::KeyReused, Reason::BrokerFull, Reason::BrokerUnavailable]);
}

#[test]
fn s37_what_waits_for_a_place_is_bounded_by_bytes() {
    let mut node = Node::live_at(5);
    let large = "x".repeat(8 << 20);
    for _ in 0..9 {
        node.publishes(&large, None);
    }
    let refused: Vec<_> = node.told().into_iter().map(|(_, outcome)| outcome).collect();
    assert_eq!(refused, [Err(Reason::Overloaded)]);
}
