//! Pipes as the API server uses them.

#![allow(clippy::unwrap_used, reason = "a test may unwrap: its panic is its report")]

mod rig;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use tidewire_engine::pipes::{self, Moored, Pipes};
use tidewire_engine::trunk::{Load, Trunk};
use tidewire_engine::{Counters, Inbox, Over};
use tidewire_hub::limits::{Limits, Retentions};
use tidewire_hub::partition::Partition;
use tidewire_hub::position::Gen;

fn pipes() -> (Pipes, Arc<Counters>, Arc<Mutex<Partition>>) {
    let limits = Arc::new(Limits { linger_max: Duration::from_millis(10), ..Limits::default() });
    let inbox = Inbox::new(&limits);
    let mut partition = Partition::new(Gen::from_random(7), &limits, Retentions::default(), Arc::default());
    let outlet = partition.attach(inbox.clone());
    let partition = Arc::new(Mutex::new(partition));
    let control = Arc::new(rig::Plane::new(partition.clone(), inbox.clone()));
    let counters = Arc::<Counters>::default();
    let options = pipes::Options {
        outlet,
        inbox,
        control,
        limits,
        counters: counters.clone(),
        epoch: Instant::now(),
        explain: false,
    };
    (pipes::spawn(options).unwrap(), counters, partition)
}

/// Waits for what another thread is about to do.
fn until(what: impl Fn() -> bool) {
    let begun = Instant::now();
    while !what() {
        assert!(begun.elapsed() < Duration::from_secs(10), "it does not happen");
        std::thread::yield_now();
    }
}

#[test]
fn a_poll_that_waits_for_a_client_that_is_gone_ends_at_once() {
    let (pipes, counters, partition) = pipes();
    let mut end = pipes.open(SocketAddr::from(([127, 0, 0, 1], 1)), Over::default());
    let ask = b"GET /c/a?wait=60 HTTP/1.1\r\nHost: localhost\r\n\r\n";
    assert!(end.poll_write(&mut Context::from_waker(Waker::noop()), ask).is_ready());
    until(|| counters.open_poll.get() == 1);
    drop(end);
    until(|| partition.lock().unwrap().channels(1).is_empty());
    until(|| counters.open.get() == 0);
}

#[test]
fn r29_a_poll_that_waits_for_a_client_that_has_ended_its_half_is_answered_soon() {
    let (pipes, counters, partition) = pipes();
    // Also where it ended its half before anybody looked.
    for (asked, waits) in (1..).zip([true, false]) {
        let mut end = pipes.open(SocketAddr::from(([127, 0, 0, 1], 1)), Over::default());
        let ask = b"GET /c/a?wait=60 HTTP/1.1\r\nHost: localhost\r\n\r\n";
        assert!(end.poll_write(&mut Context::from_waker(Waker::noop()), ask).is_ready());
        if waits {
            until(|| counters.open_poll.get() == 1);
        }
        end.finish();
        until(|| counters.admitted.get() == asked && counters.open.get() == 0);
        let Poll::Ready(answer) = end.poll_take(&mut Context::from_waker(Waker::noop())) else {
            panic!("it has been answered");
        };
        assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n"));
        assert!(partition.lock().unwrap().channels(1).is_empty());
    }
}

const LISTEN: &[u8] = b"GET /c/a HTTP/1.0\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n";

fn moored(pipes: &Pipes, trunk: &Trunk, ask: &[u8]) -> Moored {
    let mut end = pipes.open(SocketAddr::from(([127, 0, 0, 1], 1)), Over::default());
    assert!(end.poll_write(&mut Context::from_waker(Waker::noop()), ask).is_ready());
    end.moor(trunk, b"rest")
}

/// Takes out of a trunk until what was taken is enough.
fn take(trunk: &Trunk, enough: impl Fn(&[Load]) -> bool) -> Vec<Load> {
    let mut loads = Vec::new();
    let begun = Instant::now();
    while !enough(&loads) {
        assert!(begun.elapsed() < Duration::from_secs(10), "it does not come");
        match trunk.poll_take(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(load) => loads.push(load),
            Poll::Pending => std::thread::yield_now(),
        }
    }
    loads
}

/// What came out for a pipe, and whether it has ended.
fn said(loads: &[Load], moored: &Moored) -> (Vec<u8>, bool) {
    let (mut bytes, mut ended) = (Vec::new(), false);
    for load in loads {
        let mut at = 0;
        for piece in &load.pieces {
            let count = piece.count as usize;
            if piece.berth == moored.berth() {
                assert!(!ended, "nothing comes after the end");
                bytes.extend_from_slice(&load.bytes[at..at + count]);
                ended |= count == 0;
            }
            at += count;
        }
        assert_eq!(at, load.bytes.len());
    }
    (bytes, ended)
}

#[test]
fn moored_pipes_say_in_one_place_what_each_has_to_say_behind_what_was_taken_before() {
    let (pipes, counters, partition) = pipes();
    let trunk = Trunk::default();
    let all: Vec<_> = (0..50).map(|_| moored(&pipes, &trunk, LISTEN)).collect();
    until(|| counters.open_sse.get() == 50);
    rig::publish(&partition, "a", b"hello");
    let everybody =
        |loads: &[Load]| all.iter().all(|one| said(loads, one).0.windows(5).any(|bytes| bytes == b"hello"));
    let loads = take(&trunk, everybody);
    for one in &all {
        let (bytes, ended) = said(&loads, one);
        assert!(bytes.starts_with(b"restHTTP/1.1 200 OK\r\n") && !ended);
    }
}

#[test]
fn a_pipe_that_leaves_its_trunk_is_gone_and_its_berth_is_another_ones() {
    let (pipes, counters, partition) = pipes();
    let trunk = Trunk::default();
    let first = moored(&pipes, &trunk, LISTEN);
    until(|| counters.open_sse.get() == 1);
    let berth = first.berth();
    drop(first);
    until(|| counters.open.get() == 0 && partition.lock().unwrap().channels(1).is_empty());
    let second = moored(&pipes, &trunk, LISTEN);
    assert_eq!(second.berth().index(), berth.index());
    assert_ne!(second.berth(), berth, "what is still on its way to the first is not the second's");
}

#[test]
fn a_moored_pipe_whose_shard_has_ended_says_so_once() {
    let (pipes, counters, _) = pipes();
    let trunk = Trunk::default();
    let poll = moored(&pipes, &trunk, b"GET /c/a?tail=1 HTTP/1.0\r\nHost: localhost\r\n\r\n");
    let loads = take(&trunk, |loads| said(loads, &poll).1);
    assert!(said(&loads, &poll).0.starts_with(b"restHTTP/1.1 200 OK\r\n"));
    until(|| counters.open.get() == 0);
}

#[test]
fn a_moored_pipe_holds_what_is_owed_and_goes_on_when_it_has_been_written_out() {
    let (pipes, counters, partition) = pipes();
    let trunk = Trunk::default();
    let one = moored(&pipes, &trunk, LISTEN);
    until(|| counters.open_sse.get() == 1);
    let large = [b'x'; 10_000];
    for _ in 0..5 {
        rig::publish(&partition, "a", &large);
    }
    let mut owed = Vec::new();
    let mut count = 0;
    let begun = Instant::now();
    while count < 50_000 {
        assert!(begun.elapsed() < Duration::from_secs(10), "the rest does not come");
        match trunk.poll_take(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(load) => {
                for piece in load.pieces {
                    assert_eq!(piece.berth, one.berth());
                    count += piece.count as usize;
                    owed.push((piece.count as usize, trunk.owe(piece)));
                }
                let held: usize = owed.iter().map(|(count, _)| count).sum();
                assert!(held <= (16 << 10) + 4, "{held} bytes are held at once");
            }
            Poll::Pending => owed.clear(),
        }
    }
}
