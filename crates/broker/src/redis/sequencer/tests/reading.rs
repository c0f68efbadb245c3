//! Reads: pages, tails, shared reads, and what is told of what is gone.

use tidewire_hub::admit::{Cause, Join, Transport};
use tidewire_hub::position::Start;

use super::rig::{Node, after, channel};
use crate::redis::error::Error;

#[test]
fn f23_a_thousand_resumes_of_one_channel_are_one_read() {
    let mut node = Node::streaming("a", 9);
    for _ in 0..1_000 {
        node.streams("a", after(5));
    }
    node.reads("a", 5, 9, 5, &[(6, 5, "6"), (9, 6, "9")]);
    assert!(node.orders().is_none());
    let told = node.take();
    assert_eq!((told.len(), told[0].as_str()), (1_000, "joined [6 9] 9"));
    assert!(told.iter().all(|line| *line == told[0]));
}

#[test]
fn f23_newcomers_that_reach_further_back_share_a_read_a_second() {
    let mut node = Node::streaming("a", 9);
    node.streams("a", after(8));
    node.reads("a", 8, 9, 3, &[(9, 8, "9")]);
    for seq in [7, 3, 5] {
        node.streams("a", after(seq));
    }
    assert!(node.orders().is_none(), "it was read this second");
    node.passes(1_000);
    node.take();
    node.reads("a", 3, 9, 3, &[(4, 3, "4"), (8, 4, "8"), (9, 8, "9")]);
    assert_eq!(node.take(), ["joined [8 9] 9", "joined [4 8 9] 9", "joined [8 9] 9"]);
}

#[test]
fn f23_a_full_channel_is_not_read_again_for_every_message_that_comes_while_another_is_read() {
    let mut node = Node::streaming_few("a,b", 9, 2);
    for seq in 10..=12 {
        node.hears("a", (seq, seq - 1, "a")).unwrap();
    }
    node.take();
    node.streams("a,b", after(5));
    let (read, wanted) = node.orders().unwrap();
    assert_eq!(wanted, [("b".to_owned(), 5)], "a is full: what it has let go of is gone");
    node.hears("a", (13, 12, "a13")).unwrap();
    node.take();
    node.answers(&read, 13, 3, &[(8, 3, "b8")], false);
    assert_eq!(node.take(), ["joined gap trimmed [a] 5 [b8 a a13] 13"]);
}

#[test]
fn a_cursor_that_the_node_reaches_itself_costs_no_read() {
    let mut node = Node::streaming("a", 5);
    node.hears("a", (6, 5, "6")).unwrap();
    node.hears("a", (7, 6, "7")).unwrap();
    node.take();
    node.streams("a", after(6));
    assert!(node.orders().is_none());
    assert_eq!(node.take(), ["joined [7] 7"]);
}

#[test]
fn r10_who_is_far_behind_gets_page_after_page_and_joins_with_the_last() {
    let mut node = Node::streaming("a", 9);
    node.streams("a", after(1));
    let (read, _) = node.orders().unwrap();
    node.answers(&read, 9, 1, &[(2, 1, "2"), (4, 2, "4")], true);
    assert_eq!(node.take(), ["page [2 4] 4"]);
    node.goes_on("a", after(4));
    let (read, wanted) = node.orders().expect("one that goes on waits for nobody");
    assert_eq!(wanted, [("a".to_owned(), 4)]);
    node.answers(&read, 9, 1, &[(6, 4, "6"), (9, 6, "9")], false);
    assert_eq!(node.take(), ["joined [6 9] 9"]);
    node.streams("a", after(1));
    assert!(node.orders().is_none(), "all of it is at hand now");
    assert_eq!(node.take(), ["joined [2 4 6 9] 9"]);
}

#[test]
fn r9_channels_are_merged_as_far_as_each_is_read() {
    let mut node = Node::streaming("a,b", 9);
    node.streams("a,b", after(1));
    let (read, _) = node.orders().unwrap();
    node.answers_cut(&read, 9, |name| match name {
        "a" => (vec![(2, 1, "a2"), (4, 2, "a4")], true),
        _ => (vec![(3, 1, "b3"), (5, 3, "b5")], false),
    });
    assert_eq!(node.take(), ["page [a2 b3 a4] 4"], "b is not shown beyond what a is read to");
    node.goes_on("a,b", after(4));
    let (read, wanted) = node.orders().unwrap();
    assert_eq!(wanted, [("a".to_owned(), 4)], "b is whole");
    node.answers(&read, 9, 1, &[(8, 4, "a8")], false);
    assert_eq!(node.take(), ["joined [b5 a8] 9"]);
}

#[test]
fn r5_what_is_gone_from_the_store_is_a_gap() {
    let mut node = Node::streaming("a", 9);
    node.streams("a", after(2));
    node.reads("a", 2, 9, 6, &[(7, 6, "7"), (9, 7, "9")]);
    assert_eq!(node.take(), ["joined gap trimmed [a] 6 [7 9] 9"]);
}

#[test]
fn a_channel_without_history_says_what_was_missed_by_its_record() {
    let mut node = Node::streaming("a", 9);
    node.streams("a", after(2));
    node.reads("a", 2, 9, 7, &[]);
    assert_eq!(node.take(), ["joined gap trimmed [a] 7 [] 9"]);
    node.streams("a", after(7));
    assert_eq!(node.take(), ["joined [] 9"]);
}

#[test]
fn a_tail_is_found_and_read() {
    let mut node = Node::streaming("a", 9);
    node.streams("a", Start::Tail(2));
    assert!(node.orders().is_none());
    let tail = node.sequencer.next_tail().unwrap();
    assert_eq!((tail.channels.len(), tail.count), (1, 2));
    node.sequencer.tail_done(&tail, Ok(5), node.now()).unwrap();
    node.reads("a", 5, 9, 3, &[(6, 5, "6"), (9, 6, "9")]);
    assert_eq!(node.take(), ["joined [6 9] 9"]);
    node.streams("a", Start::Tail(1));
    assert_eq!(node.take(), ["joined [9] 9"], "it is at hand");
}

#[test]
fn a_tail_that_is_refused_is_asked_again_with_the_next_moment_and_not_before() {
    let mut node = Node::streaming("a", 9);
    node.streams("a", Start::Tail(2));
    let tail = node.sequencer.next_tail().unwrap();
    let refused = Error::Refused { code: "BUSY".into() };
    node.sequencer.tail_done(&tail, Err(&refused), node.now()).unwrap();
    assert!(node.sequencer.next_tail().is_none());
    node.sequencer.pass(node.now());
    assert!(node.sequencer.next_tail().is_some());
}

#[test]
fn a_channel_that_is_polled_all_the_time_stands_among_the_idle_once_and_goes_after_the_last() {
    let mut node = Node::live_at(9);
    let polls = |node: &mut Node| {
        node.subscribes("a", Start::Live, Join::Never, Cause::Arrival(Box::default()));
    };
    polls(&mut node);
    node.confirms(9);
    for _ in 0..1_000 {
        node.passes(11);
        polls(&mut node);
        assert!(node.sequencer.idle.len() <= 1);
    }
    assert_eq!(node.take().len(), 1_001, "each was answered");
    node.passes(9_900);
    assert_eq!(node.sequencer.channels(9).len(), 1, "it was polled a moment ago");
    node.passes(200);
    assert!(node.sequencer.channels(9).is_empty() && node.sequencer.idle.is_empty());
}

#[test]
fn a_tail_of_more_than_one_read_is_read_on_at_once() {
    let mut node = Node::streaming("a", 9);
    node.streams("a", Start::Tail(3));
    let tail = node.sequencer.next_tail().unwrap();
    node.sequencer.tail_done(&tail, Ok(5), node.now()).unwrap();
    let (read, _) = node.orders().unwrap();
    node.answers(&read, 9, 3, &[(6, 5, "6"), (7, 6, "7")], true);
    let (read, wanted) = node.orders().expect("it goes on where that ended");
    assert_eq!(wanted, [("a".to_owned(), 7)]);
    node.answers(&read, 9, 3, &[(9, 7, "9")], false);
    assert_eq!(node.take(), ["joined [6 7 9] 9"]);
}

#[test]
fn r9_who_joins_an_outlet_that_is_held_has_all_read_that_it_will_be_caught_up_with() {
    let mut node = Node::streaming("a", 5);
    node.has_room_for(Some(0));
    node.hears("a", (6, 5, "6")).unwrap();
    node.looks(19).unwrap();
    node.streams("b", Start::Live);
    node.confirms(19);
    let (read, wanted) = node.orders().unwrap();
    assert_eq!(wanted, [("b".to_owned(), 5)], "the outlet has been fed up to there");
    node.answers(&read, 19, 1, &[(7, 1, "b7"), (9, 7, "b9")], true);
    assert_eq!(node.take(), Vec::<String>::new(), "what comes after b9 would be given to it by nobody");
    let (read, _) = node.orders().expect("it is read on");
    node.answers(&read, 19, 1, &[(15, 9, "b15")], false);
    assert_eq!(node.take(), ["joined [] 5"]);
    node.has_room_for(None);
    node.sequencer.catch_up(node.outlet);
    assert_eq!(node.take(), ["6 @6", "b7 @7", "b9 @9", "b15 @15"]);
}

#[test]
fn a_read_that_fails_is_asked_again_until_patience_ends() {
    let mut node = Node::streaming("a", 9);
    node.streams("a", after(5));
    let (read, _) = node.orders().unwrap();
    let error = Error::Refused { code: "LOADING".into() };
    node.sequencer.read_done(&read, Err(error), node.now()).unwrap();
    assert!(node.orders().is_none(), "not at once");
    node.passes(1_000);
    node.reads("a", 5, 9, 5, &[(9, 5, "9")]);
    assert_eq!(node.take(), ["joined [9] 9"]);
}

#[test]
fn a_long_poll_joins_only_when_nothing_waits_for_it() {
    let mut node = Node::streaming("a", 9);
    let poll = |node: &mut Node, seq| {
        let cause = Cause::Arrival(Box::default());
        node.subscribes("a", after(seq), Join::WhenEmpty, cause);
    };
    poll(&mut node, 9);
    assert_eq!(node.take(), ["joined [] 9"]);
    poll(&mut node, 5);
    node.reads("a", 5, 9, 5, &[(9, 5, "9")]);
    assert_eq!(node.take(), ["page [9] 9"]);
    node.sequencer.leave(node.outlet, Transport::Sse, &[channel("a")], node.now());
}

#[test]
fn reads_of_a_link_that_is_gone_serve_nobody() {
    let mut node = Node::streaming("a", 9);
    node.streams("a", after(5));
    let (read, _) = node.orders().unwrap();
    node.comes_again(12);
    node.answers(&read, 9, 5, &[(9, 5, "9")], false);
    assert_eq!(node.take(), Vec::<String>::new());
    node.reads("a", 9, 12, 5, &[(12, 9, "12")]);
    assert_eq!(node.take(), ["12 @12"], "first those who were there");
    node.passes(1_000);
    node.reads("a", 5, 12, 5, &[(9, 5, "9"), (12, 9, "12")]);
    assert_eq!(node.take(), ["joined [9 12] 12"]);
}
