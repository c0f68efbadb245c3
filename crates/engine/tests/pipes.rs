//! Pipes as the API server uses them.

#![allow(clippy::unwrap_used, reason = "a test may unwrap: its panic is its report")]

mod rig;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use tidewire_engine::pipes::{self, Pipes};
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
    let options =
        pipes::Options { outlet, inbox, control, limits, counters: counters.clone(), explain: false };
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
