//! What only several nodes over one Redis can show.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tidewire_hub::admit::GapReason;
use tidewire_hub::position::{Position, Start};
use tidewire_hub::publish::{Key, Publish};
use tidewire_hub::reason::Reason;

use crate::backends::Store;
use crate::bench::{Bench, Setting, after, publish, texts, wait_for};

fn pair(store: &Store) -> (Bench, Bench) {
    (store.node(Setting::default()), store.node(Setting::default()))
}

/// The texts that a node delivers from now on, until the last one has come.
fn delivers_until(bench: &Bench, last: &str) -> Vec<String> {
    let mut all = Vec::new();
    wait_for(&format!("message {last}"), || {
        all.extend(bench.told().into_iter().filter(|line| line != "fence" && !line.starts_with("position")));
        all.iter().any(|line| line == last).then_some(())
    });
    all
}

/// Publishes numbers, each with a key until its place is known, while `act` does something; gives how many there were.
fn under_load(bench: &Bench, act: impl FnOnce() + Send) -> usize {
    let is_over = Arc::new(AtomicBool::new(false));
    let told = is_over.clone();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            std::thread::sleep(Duration::from_millis(100));
            act();
            std::thread::sleep(Duration::from_millis(300));
            told.store(true, Ordering::Relaxed);
        });
        let mut count = 0;
        while !is_over.load(Ordering::Relaxed) {
            places(bench, count);
            count += 1;
        }
        count
    })
}

/// Publishes a number until its place is known.
fn places(bench: &Bench, number: usize) -> Position {
    let keyed = || Publish { key: Key::parse(&format!("k{number}")), ..publish("a", &number.to_string()) };
    wait_for("a place", || match bench.publish_as(keyed()) {
        Ok(receipt) => receipt.position,
        Err(Reason::BrokerUnavailable | Reason::OutcomeUnknown) => None,
        Err(reason) => panic!("{reason:?}"),
    })
}

fn numbers(count: usize) -> Vec<String> {
    (0..count).map(|number| number.to_string()).collect()
}

#[test]
fn a_message_that_is_published_on_one_node_is_delivered_on_the_other_under_the_same_id() {
    let store = Store::start(&[]);
    let (one, other) = pair(&store);
    other.stream("a", Start::Live);
    let ids: Vec<Position> = (0..10).map(|number| one.publish("a", &number.to_string())).collect();
    assert_eq!(delivers_until(&other, "9"), numbers(10));
    let page = other.read("a", Start::Earliest);
    assert_eq!(page.messages.iter().map(|message| message.position).collect::<Vec<_>>(), ids);
}

#[test]
fn a_subscriber_resumes_on_the_other_node() {
    let store = Store::start(&[]);
    let (one, other) = pair(&store);
    let cursor = one.stream("a", Start::Live).page.cursor;
    let last = (0..5).map(|number| one.publish("a", &number.to_string())).last().unwrap();
    let admit = other.stream("a", after(cursor));
    assert!(admit.page.gap.is_none() && admit.joined);
    assert_eq!((texts(&admit.page), admit.page.cursor), (vec!["0", "1", "2", "3", "4"], last));
}

#[test]
fn receivers_are_those_of_the_node_that_places() {
    let store = Store::start(&[]);
    let (one, other) = pair(&store);
    one.stream("a", Start::Live);
    let [here, there] = [&one, &other].map(|node| node.publish_as(publish("a", "1")).unwrap().receivers.sse);
    assert_eq!((here, there), (1, 0));
}

#[test]
fn r22_a_key_is_known_on_every_node() {
    let store = Store::start(&[]);
    let (one, other) = pair(&store);
    let keyed = |text: &str| Publish { key: Key::parse("k"), ..publish("a", text) };
    let first = one.publish_as(keyed("1")).unwrap();
    assert_eq!(other.publish_as(keyed("1")).unwrap().position, first.position);
    assert_eq!(other.publish_as(keyed("2")), Err(Reason::KeyReused));
}

#[test]
fn r9_who_subscribes_while_a_publisher_runs_loses_nothing_and_hears_nothing_twice() {
    let store = Store::start(&[]);
    let (one, other) = pair(&store);
    let mut cursor = one.stream("b", Start::Live).page.cursor;
    let mut heard: Vec<String> = Vec::new();
    let count = under_load(&one, || {
        loop {
            let admit = other.stream("a", after(cursor));
            assert_eq!(admit.page.gap, None);
            heard.extend(texts(&admit.page).iter().map(ToString::to_string));
            cursor = admit.page.cursor;
            if admit.joined {
                break;
            }
        }
    });
    assert!(heard.len() < count, "it joined while there was more to come");
    heard.extend(delivers_until(&other, &(count - 1).to_string()));
    assert_eq!(heard, numbers(count));
}

#[test]
fn r13_a_killed_link_under_load_loses_nothing_and_repeats_nothing() {
    let store = Store::start(&[]);
    let (one, other) = pair(&store);
    other.stream("a", Start::Live);
    let count = under_load(&one, || {
        for _ in 0..3 {
            store.ask(&["CLIENT", "KILL", "TYPE", "pubsub"]);
            std::thread::sleep(Duration::from_millis(200));
        }
    });
    assert_eq!(delivers_until(&other, &(count - 1).to_string()), numbers(count));
}

#[test]
fn f6_a_redis_that_stops_for_a_while_loses_nothing() {
    let store = Store::start(&[]);
    let (one, other) = pair(&store);
    other.stream("a", Start::Live);
    let count = under_load(&one, || {
        store.server.signal("STOP");
        std::thread::sleep(Duration::from_millis(2_500));
        store.server.signal("CONT");
    });
    assert_eq!(delivers_until(&other, &(count - 1).to_string()), numbers(count));
}

#[test]
fn f5_a_redis_that_is_killed_and_has_everything_on_disk_passes_in_silence() {
    let mut store = Store::start(&["--appendonly", "yes", "--appendfsync", "always"]);
    let (one, other) = pair(&store);
    other.stream("a", Start::Live);
    (0..5).for_each(|number| {
        places(&one, number);
    });
    let runtime = store.runtime.clone();
    runtime.block_on(store.server.crash_and_restart());
    (5..10).for_each(|number| {
        places(&one, number);
    });
    assert_eq!(delivers_until(&other, "9"), numbers(10));
}

#[test]
fn f5_a_redis_that_is_killed_and_has_nothing_on_disk_is_a_store_reset() {
    let mut store = Store::start(&[]);
    let (one, other) = pair(&store);
    let cursor = other.stream("a", Start::Live).page.cursor;
    places(&one, 0);
    delivers_until(&other, "0");
    let runtime = store.runtime.clone();
    runtime.block_on(store.server.crash_and_restart());
    places(&one, 1);
    let told = delivers_until(&other, "1");
    assert!(told[0].starts_with("lost store_reset") && told.len() == 2, "{told:?}");
    let admit = other.stream("a", after(cursor));
    assert_eq!(admit.page.gap.unwrap().reason, GapReason::StoreReset);
}

#[test]
fn f14_a_flushed_store_and_a_deleted_fence_are_store_resets_and_nothing_hangs() {
    for words in [&["FLUSHALL"][..], &["DEL", "{tidewire:0}:fence"]] {
        let store = Store::start(&[]);
        let (one, other) = pair(&store);
        other.stream("a", Start::Live);
        places(&one, 0);
        delivers_until(&other, "0");
        store.ask(words);
        places(&one, 1);
        let told = delivers_until(&other, "1");
        assert!(told[0].starts_with("lost store_reset") && told.len() == 2, "{words:?}: {told:?}");
    }
}

#[test]
fn f15_forgotten_scripts_cost_nothing() {
    let store = Store::start(&[]);
    let (one, other) = pair(&store);
    other.stream("a", Start::Live);
    let count = under_load(&one, || store.ask(&["SCRIPT", "FLUSH"]));
    assert_eq!(delivers_until(&other, &(count - 1).to_string()), numbers(count));
}
