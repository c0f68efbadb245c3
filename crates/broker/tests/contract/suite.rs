//! The facts: what every broker does, told with one bench. `main` says which of them hold for which backend, and why some do
//! not.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tidewire_hub::admit::{ConnId, GapReason, Join, OutletId, Transport};
use tidewire_hub::channel::{Channel, ChannelSet};
use tidewire_hub::deliver::Command;
use tidewire_hub::grant::Grant;
use tidewire_hub::limits::{Limits, POLL_PAGE, PageLimit, Retention, Retentions};
use tidewire_hub::message::Payload;
use tidewire_hub::position::{Cursor, Gen, Position, Start};
use tidewire_hub::presence::Attendance;
use tidewire_hub::publish::{Key, Publish};
use tidewire_hub::reason::Reason;
use tidewire_hub::trace::TraceParent;

use crate::bench::{Bench, Make, Setting, after, publish, texts, wait_for};

pub(crate) fn r1_subscribers_see_messages_in_the_order_of_their_ids(make: Make) {
    let bench = make(Setting::default());
    bench.stream("a,b", Start::Live);
    let ids: Vec<u64> = ["a", "b", "a"].iter().map(|name| bench.publish(name, name).seq).collect();
    assert!(ids.is_sorted());
    bench.delivers(&["a", "b", "a"]);
}

pub(crate) fn r8_a_message_names_the_one_before_it_on_its_channel(make: Make) {
    let bench = make(Setting::default());
    let first = bench.publish("a", "1");
    bench.publish("b", "2");
    bench.publish("a", "3");
    let page = bench.read("a", Start::Earliest);
    assert_eq!(page.messages[1].prev, first.seq);
}

pub(crate) fn r9_history_and_feed_meet_without_hole_or_repeat(make: Make) {
    let bench = make(Setting::default());
    let first = bench.publish("a", "1");
    bench.publish("b", "2");
    bench.publish("a", "3");
    let admit = bench.stream("a,b", after(first));
    assert!(admit.joined && admit.page.gap.is_none());
    assert_eq!(admit.page.start, Some(first));
    assert_eq!(texts(&admit.page), ["2", "3"]);
    bench.publish("a", "4");
    bench.delivers(&["4"]);
}

pub(crate) fn r10_who_is_far_behind_gets_pages_and_joins_with_the_last(make: Make) {
    let bench = make(Setting::default());
    let begin = bench.stream("a", Start::Live).page.cursor;
    bench.publish_all((0..600).map(|number| ("a", number.to_string())));
    bench.settles();
    bench.take();
    let (mut cursor, mut seen, mut pages) = (begin, Vec::new(), 0);
    loop {
        let admit = bench.stream("a", after(cursor));
        pages += 1;
        seen.extend(texts(&admit.page).iter().map(|text| text.parse::<usize>().unwrap()));
        assert_eq!(admit.joined, !admit.page.more);
        cursor = admit.page.cursor;
        if admit.joined {
            break;
        }
    }
    assert_eq!((pages, seen), (3, (0..600).collect::<Vec<_>>()));
}

pub(crate) fn a_page_is_bounded_by_bytes_too_and_never_empty(make: Make) {
    let bench = make(Setting::default());
    bench.publish_all((0..3).map(|_| ("a", "x".repeat(60_000))));
    let page = PageLimit { messages_max: 10, bytes_max: 130_000 };
    let admit = bench.subscribe("a", Start::Earliest, Join::WhenCaughtUp, page);
    assert_eq!((admit.page.messages.len(), admit.page.more, admit.joined), (2, true, false));
    let page = PageLimit { messages_max: 10, bytes_max: 1 };
    let admit = bench.subscribe("a", Start::Earliest, Join::WhenCaughtUp, page);
    assert_eq!(admit.page.messages.len(), 1);
}

pub(crate) fn r5_a_trimmed_history_is_a_gap_that_says_where_it_is_whole_again(make: Make) {
    let retention = Retention { messages_max: 2, ..Retention::default() };
    let bench = make(Setting { retentions: retention.into(), ..Setting::default() });
    let first = bench.publish("a", "1");
    let second = bench.publish("a", "2");
    bench.publish_all((3..=4).map(|number| ("a", number.to_string())));
    let lossless = bench.read("a", after(second));
    assert!(lossless.gap.is_none(), "the last one trimmed was seen");
    let page = bench.read("a", after(first));
    let gap = page.gap.as_ref().unwrap();
    assert_eq!((gap.reason, gap.cursor), (GapReason::Trimmed, second));
    assert_eq!((page.start, texts(&page)), (Some(second), vec!["3", "4"]));
}

pub(crate) fn a_namespace_keeps_by_rules_of_its_own(make: Make) {
    let common = Retention { messages_max: 3, ttl: Duration::from_secs(60) };
    let brief = Retention { messages_max: 3, ttl: Duration::from_secs(10) };
    let few = Retention { messages_max: 1, ttl: Duration::from_secs(60) };
    let own = [("brief".into(), brief), ("few".into(), few)];
    let mut bench = make(Setting { retentions: Retentions::new(common, own), ..Setting::default() });
    let names = ["long", "brief:a", "few:a"];
    bench.publish_all(names.map(|name| (name, "1".to_owned())));
    bench.publish_all(names.map(|name| (name, "2".to_owned())));
    let kept = |bench: &Bench| names.map(|name| texts(&bench.read(name, Start::Earliest)).len());
    assert_eq!(kept(&bench), [2, 2, 1]);
    bench.pass(Duration::from_secs(10));
    assert_eq!(kept(&bench), [2, 0, 1]);
    bench.pass(Duration::from_secs(50));
    assert_eq!(kept(&bench), [0, 0, 0]);
}

pub(crate) fn other_retentions_hold_for_what_is_kept_already(make: Make) {
    let bench = make(Setting::default());
    let first = bench.publish("a", "1");
    bench.publish_all([("b:1", "2".to_owned()), ("a", "3".to_owned())]);
    let brief = Retention { messages_max: 1, ttl: Duration::from_secs(10) };
    bench.broker.retain(Retentions::new(Retention::default(), [("a".into(), brief)]));
    assert_eq!(texts(&bench.read("a", Start::Earliest)), ["1", "3"], "nothing goes before its time");
    bench.publish("a", "4");
    assert_eq!(texts(&bench.read("a", Start::Earliest)), ["4"]);
    assert!(bench.read("a", after(first)).gap.is_some(), "what went is announced");
}

pub(crate) fn another_ttl_holds_for_what_is_kept_already(make: Make) {
    let mut bench = make(Setting::default());
    bench.publish_all([("a", "1".to_owned()), ("b:1", "2".to_owned())]);
    let brief = Retention { ttl: Duration::from_secs(10), ..Retention::default() };
    bench.broker.retain(Retentions::new(Retention::default(), [("a".into(), brief)]));
    bench.pass(Duration::from_secs(10));
    assert_eq!(texts(&bench.read("a,b:1", Start::Earliest)), ["2"]);
}

pub(crate) fn a_namespace_keeps_as_many_as_its_own_rule_says(make: Make) {
    let few = Retention { messages_max: 1, ..Retention::default() };
    let none = Retention { messages_max: 0, ..Retention::default() };
    let own = [("few".into(), few), ("none".into(), none)];
    let bench =
        make(Setting { retentions: Retentions::new(Retention::default(), own), ..Setting::default() });
    for name in ["many", "few:a", "none:a"] {
        bench.publish_all(["1", "2"].map(|text| (name, text.to_owned())));
    }
    let kept = |name| texts(&bench.read(name, Start::Earliest)).len();
    assert_eq!(["many", "few:a", "none:a"].map(kept), [2, 1, 0]);
}

pub(crate) fn r5_a_gap_on_one_channel_begins_at_the_cursor_of_the_others(make: Make) {
    let retention = Retention { messages_max: 1, ..Retention::default() };
    let bench = make(Setting { retentions: retention.into(), ..Setting::default() });
    let first = bench.publish("a", "1");
    bench.publish("b", "2");
    bench.publish("a", "3");
    bench.publish("a", "4");
    let page = bench.read("a,b", after(first));
    let gap = page.gap.as_ref().unwrap();
    assert_eq!(gap.channels, [Channel::parse("a").unwrap()]);
    assert_eq!((gap.cursor, texts(&page)), (first, vec!["2", "4"]));
}

pub(crate) fn r7_a_cursor_of_another_log_is_a_gap_and_everything_that_is_kept(make: Make) {
    let bench = make(Setting::default());
    let known = bench.publish("a", "1");
    let foreign = Position { generation: Gen::from_random(12_345), seq: 1 };
    let beyond = Position { seq: known.seq + 1, ..known };
    for start in [after(foreign), after(beyond), Start::After(Cursor::Unreadable)] {
        let page = bench.read("a", start);
        let gap = page.gap.as_ref().unwrap();
        assert_eq!(gap.reason, GapReason::Epoch);
        assert!(gap.cursor.seq < known.seq);
        assert_eq!(texts(&page), ["1"]);
    }
}

pub(crate) fn r6_a_start_with_tail_or_earliest_has_no_position(make: Make) {
    let bench = make(Setting::default());
    bench.publish_all(["a", "b", "a"].map(|name| (name, name.to_owned())));
    let page = bench.read("a,b", Start::Tail(2));
    assert_eq!((page.start, texts(&page)), (None, vec!["b", "a"]));
    assert_eq!(bench.read("a,b", Start::Earliest).start, None);
    assert!(bench.read("c", Start::Tail(5)).messages.is_empty());
}

pub(crate) fn a_long_poll_joins_only_when_nothing_waits_for_it(make: Make) {
    let bench = make(Setting::default());
    let first = bench.publish("a", "1");
    let waits = bench.subscribe("a", after(first), Join::WhenEmpty, POLL_PAGE);
    assert!(waits.joined && waits.page.messages.is_empty());
    bench.publish("a", "2");
    bench.delivers(&["2"]);
    let answered = bench.subscribe("a", after(first), Join::WhenEmpty, POLL_PAGE);
    assert!(!answered.joined);
    assert_eq!(texts(&answered.page), ["2"]);
}

pub(crate) fn r12_interest_ends_when_as_many_have_left_as_joined(make: Make) {
    let bench = make(Setting::default());
    let channel = Channel::parse("a").unwrap();
    for _ in 0..2 {
        bench.stream("a", Start::Live);
    }
    let leave =
        || bench.broker.leave(bench.outlet, Transport::Sse, std::slice::from_ref(&channel), bench.now());
    leave();
    let receipt = bench.publish_as(publish("a", "1")).unwrap();
    assert_eq!(receipt.receivers.sse, 1);
    bench.delivers(&["1"]);
    leave();
    bench.publish("a", "2");
    bench.delivers(&[]);
}

pub(crate) fn s6_only_who_joins_is_told_of_and_before_the_admit_is_there(make: Make) {
    #[derive(Default)]
    struct Notes(Mutex<Vec<String>>);
    impl Attendance for Notes {
        fn joined(&self, _: OutletId, conn: ConnId, _: &Grant, channels: &ChannelSet) {
            let names: Vec<_> = channels.iter().map(Channel::as_str).collect();
            self.0.lock().unwrap().push(format!("{} {}", conn.0, names.join(",")));
        }
    }
    let notes = Arc::new(Notes::default());
    let told = || std::mem::take(&mut *notes.0.lock().unwrap());
    let bench = make(Setting { attendance: Some(notes.clone()), ..Setting::default() });
    bench.stream("a,b", Start::Live);
    assert_eq!(told(), ["7 a,b"]);
    bench.publish("a", "1");
    bench.publish("a", "2");
    bench.read("a", Start::Earliest);
    let page = PageLimit { messages_max: 1, ..POLL_PAGE };
    bench.subscribe("a", Start::Earliest, Join::WhenCaughtUp, page);
    bench.subscribe("a", Start::Earliest, Join::WhenEmpty, POLL_PAGE);
    assert!(told().is_empty(), "short polls, pages and polls with news do not join");
}

pub(crate) fn r13_an_outlet_that_was_full_catches_up_in_order(make: Make) {
    let bench = make(Setting::default());
    bench.stream("a,b", Start::Live);
    bench.has_room_for(Some(1));
    bench.publish_all(["a", "b", "c", "a"].map(|name| (name, name.to_owned())));
    bench.ticks();
    bench.delivers(&["a"]); // No position is told while a barrier is up.
    bench.has_room_for(Some(1));
    bench.catches_up();
    bench.delivers(&["b"]); // It fills up again, and waits again.
    bench.has_room_for(None);
    bench.catches_up();
    bench.publish("b", "later");
    bench.delivers(&["a", "later"]);
}

pub(crate) fn r13_what_was_trimmed_behind_a_barrier_is_announced(make: Make) {
    let retention = Retention { messages_max: 1, ..Retention::default() };
    let bench = make(Setting { retentions: retention.into(), ..Setting::default() });
    bench.stream("a,b", Start::Live);
    bench.has_room_for(Some(0));
    bench.publish_all(["1", "2", "3"].map(|text| ("a", text.to_owned())));
    bench.publish("b", "4");
    bench.settles();
    bench.has_room_for(None);
    bench.catches_up();
    bench.delivers(&["lost trimmed {\"a\": 2}", "3", "4"]);
}

pub(crate) fn r6_an_outlet_is_told_how_far_it_has_been_fed(make: Make) {
    let mut bench = make(Setting::default());
    let position = bench.publish("elsewhere", "1");
    bench.pass(Duration::from_secs(1));
    bench.delivers(&[&format!("position {}", position.seq)]);
}

pub(crate) fn messages_older_than_the_ttl_are_trimmed(make: Make) {
    let mut bench = make(Setting::default());
    let first = bench.publish("a", "1");
    bench.pass(Duration::from_secs(3_599));
    assert_eq!(bench.read("a", Start::Earliest).messages.len(), 1);
    let second = bench.publish("a", "2");
    bench.pass(Duration::from_secs(2));
    assert_eq!(texts(&bench.read("a", Start::Earliest)), ["2"]);
    assert!(bench.read("a", after(first)).gap.is_none());
    let before = Position { seq: 0, ..second };
    assert_eq!(bench.read("a", after(before)).gap.unwrap().reason, GapReason::Trimmed);
}

pub(crate) fn s37_histories_keep_to_the_memory_budget_and_say_so(make: Make) {
    let limits = Limits { memory_budget: 400_000, ..Limits::default() };
    let bench = make(Setting { limits, ..Setting::default() });
    let first = bench.publish("a", "first");
    bench.publish_all((0..20).map(|_| ("b", "x".repeat(50_000))));
    assert!(bench.broker.totals().bytes <= 300_000);
    let before = Position { seq: first.seq - 1, ..first };
    assert_eq!(bench.read("a", after(before)).gap.unwrap().reason, GapReason::Trimmed);
}

pub(crate) fn r22_a_repeated_key_happens_once_and_another_payload_conflicts(make: Make) {
    let bench = make(Setting::default());
    bench.stream("a,b", Start::Live);
    let keyed = |text: &str| Publish { key: Key::parse("k1"), ..publish("a", text) };
    let first = bench.publish_as(keyed("1")).unwrap();
    assert_eq!(bench.publish_as(keyed("1")).unwrap().position, first.position);
    assert_eq!(bench.publish_as(keyed("2")), Err(Reason::KeyReused));
    let binary = Publish { payload: Payload::binary("1".into()), ..keyed("1") };
    assert_eq!(bench.publish_as(binary), Err(Reason::KeyReused));
    let elsewhere = Publish { channel: Channel::parse("b").unwrap(), ..keyed("2") };
    assert!(bench.publish_as(elsewhere).is_ok(), "a key belongs to its channel");
    let other = Publish { publisher: "other".into(), ..keyed("2") };
    assert!(bench.publish_as(other).is_ok(), "a key belongs to its publisher");
    bench.delivers(&["1", "2", "2"]);
}

pub(crate) fn a_message_keeps_the_trace_of_its_publish(make: Make) {
    let bench = make(Setting::default());
    bench.stream("a", Start::Live);
    let trace = TraceParent::parse(b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
    bench.publish("a", "1");
    bench.publish_as(Publish { trace: trace.clone(), ..publish("a", "2") }).unwrap();
    bench.publish("a", "3");
    let mut live = Vec::new();
    wait_for("three messages", || {
        live.extend(bench.take().into_iter().filter_map(|command| match command {
            Command::Deliver(message) => Some(message.trace.clone()),
            _ => None,
        }));
        (live.len() == 3).then_some(())
    });
    let page = bench.read("a", Start::Earliest);
    let kept: Vec<_> = page.messages.iter().map(|message| message.trace.clone()).collect();
    assert_eq!((&live, &kept), (&vec![None, trace.clone(), None], &vec![None, trace, None]));
}

pub(crate) fn r22_a_key_is_forgotten_after_its_time(make: Make) {
    let mut bench = make(Setting::default());
    let keyed = || Publish { key: Key::parse("k1"), ..publish("a", "1") };
    let first = bench.publish_as(keyed()).unwrap();
    bench.pass(Duration::from_secs(299));
    assert_eq!(bench.publish_as(keyed()).unwrap().position, first.position);
    bench.pass(Duration::from_secs(2));
    assert_ne!(bench.publish_as(keyed()).unwrap().position, first.position);
}

pub(crate) fn r22_a_full_key_table_refuses_and_never_forgets_early(make: Make) {
    let limits = Limits { keys_max: 1, ..Limits::default() };
    let bench = make(Setting { limits, ..Setting::default() });
    let keyed = |key: &str| Publish { key: Key::parse(key), ..publish("a", "1") };
    let first = bench.publish_as(keyed("k1")).unwrap();
    assert_eq!(bench.publish_as(keyed("k2")), Err(Reason::KeysFull));
    assert_eq!(bench.publish_as(keyed("k1")).unwrap().position, first.position);
}

pub(crate) fn r23_a_drain_refuses_new_publishes_and_repeats_old_answers(make: Make) {
    let bench = make(Setting::default());
    let keyed = |key: &str| Publish { key: Key::parse(key), ..publish("a", "1") };
    let first = bench.publish_as(keyed("k1")).unwrap();
    bench.broker.drain();
    assert_eq!(bench.publish_as(keyed("k2")), Err(Reason::Draining));
    assert_eq!(bench.publish_as(keyed("k1")).unwrap().position, first.position);
}

pub(crate) fn channels_are_bounded_and_idle_ones_make_room(make: Make) {
    let limits = Limits { channels_max: 2, ..Limits::default() };
    let mut bench = make(Setting { limits, ..Setting::default() });
    let old = bench.publish("a", "1");
    bench.stream("b", Start::Live);
    assert_eq!(bench.publish_as(publish("c", "2")), Err(Reason::ChannelsFull));
    bench.pass(Duration::from_secs(3_601));
    bench.publish("c", "3");
    // Channel `a` was forgotten, and with it what it held: whoever comes from before that is told.
    let before = Position { seq: old.seq - 1, ..old };
    assert_eq!(bench.read("a", after(before)).gap.unwrap().reason, GapReason::Trimmed);
    assert!(bench.read("a", after(old)).gap.is_none());
}
