//! The referee on trial: servers that misbehave on purpose, and a run that has to notice.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test may unwrap: its panic is its report")]

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tidewire_load::faults::Faults;
use tidewire_load::ledger::Wrong;
use tidewire_load::{Error, Measured, Phase, Plan, Target};

/// What a server does with its `number`-th message, counted from 0, for its `reader`-th subscriber.
type Conduct = fn(number: usize, reader: usize) -> Deed;

enum Deed {
    Deliver,
    Drop,
    Repeat,
    /// Keep it until after the next one.
    Hold,
    Corrupt,
    Stall(Duration),
}

struct State {
    conduct: Conduct,
    published: usize,
    subscribers: Vec<(TcpStream, Option<String>)>,
}

/// Serves one channel over SSE until the test process ends.
fn serve(conduct: Conduct) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let state = Arc::new(Mutex::new(State { conduct, published: 0, subscribers: Vec::new() }));
    std::thread::spawn(move || {
        for socket in listener.incoming() {
            let (socket, state) = (socket.unwrap(), Arc::clone(&state));
            std::thread::spawn(move || answer(socket, &state));
        }
    });
    address
}

fn answer(mut socket: TcpStream, state: &Mutex<State>) {
    let mut buffer = [0; 4_096];
    while let Ok(count @ 1..) = socket.read(&mut buffer) {
        // The generator sends a request in one write, and nothing behind it.
        let text = String::from_utf8_lossy(&buffer[..count]);
        if text.starts_with("GET ") {
            let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\nid: a.0\nevent: $ready\ndata: {}\n\n";
            socket.write_all(head.as_bytes()).unwrap();
            state.lock().unwrap().subscribers.push((socket.try_clone().unwrap(), None));
        } else {
            let payload = text.split_once("\r\n\r\n").unwrap().1;
            publish(&mut state.lock().unwrap(), payload);
            socket.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}").unwrap();
        }
    }
}

fn publish(state: &mut State, payload: &str) {
    let (conduct, number) = (state.conduct, state.published);
    state.published += 1;
    for (reader, (socket, held)) in state.subscribers.iter_mut().enumerate() {
        let block = format!("data: {payload}\n\n");
        let bytes = match conduct(number, reader) {
            Deed::Deliver => block,
            Deed::Drop => String::new(),
            Deed::Repeat => block.repeat(2),
            Deed::Corrupt => block.replace("..", ".,"),
            Deed::Hold => {
                *held = Some(block);
                continue;
            }
            Deed::Stall(time) => {
                std::thread::sleep(time);
                block
            }
        };
        socket.write_all((bytes + &held.take().unwrap_or_default()).as_bytes()).unwrap();
    }
}

/// Three subscribers, two hundred messages a second for half a second.
fn measure(address: SocketAddr) -> Measured {
    let plan = Plan {
        subscribers: 3,
        rate: 200.0,
        warm_up: Duration::ZERO,
        duration: Duration::from_millis(500),
        ..Plan::new(Target::at(address))
    };
    tidewire_load::run(&plan, &mut |_| ()).unwrap()
}

/// Whatever it takes to tell exactly this.
fn check(conduct: Conduct, expected: Wrong) {
    let measured = measure(serve(conduct));
    assert_eq!(measured.faults, Faults { wrong: expected, ..Faults::default() });
    assert_eq!(measured.latency.max_ms.is_infinite(), expected.lost > 0);
}

#[test]
fn a_server_without_fault_has_none() {
    check(|_, _| Deed::Deliver, Wrong::default());
}

#[test]
fn a_message_that_one_subscriber_never_sees_is_lost_and_took_for_ever() {
    check(
        |number, reader| if number == 50 && reader == 1 { Deed::Drop } else { Deed::Deliver },
        Wrong { lost: 1, ..Wrong::default() },
    );
}

#[test]
fn a_message_that_nobody_sees_is_lost_to_all() {
    check(
        |number, _| if number == 99 { Deed::Drop } else { Deed::Deliver },
        Wrong { lost: 3, ..Wrong::default() },
    );
}

#[test]
fn a_message_seen_twice_is_a_duplicate() {
    check(
        |number, reader| if number == 7 && reader == 0 { Deed::Repeat } else { Deed::Deliver },
        Wrong { duplicated: 1, ..Wrong::default() },
    );
}

#[test]
fn a_subscriber_that_sees_another_order_is_told() {
    check(
        |number, reader| if number == 20 && reader == 2 { Deed::Hold } else { Deed::Deliver },
        Wrong { out_of_order: 1, ..Wrong::default() },
    );
}

#[test]
fn a_changed_byte_is_corrupt_and_its_message_lost() {
    check(
        |number, reader| if number == 3 && reader == 0 { Deed::Corrupt } else { Deed::Deliver },
        Wrong { lost: 1, corrupt: 1, ..Wrong::default() },
    );
}

#[test]
fn a_stall_is_charged_with_everything_that_was_due_meanwhile() {
    let stall = |number, reader| match (number, reader) {
        (40, 0) => Deed::Stall(Duration::from_millis(250)),
        _ => Deed::Deliver,
    };
    let measured = measure(serve(stall));
    assert!(measured.faults.is_clean(), "{:?}", measured.faults);
    // Fifty of a hundred messages were due during the stall, the first of them 250 ms before its end. A closed loop
    // would have sent, and charged, four.
    assert!(measured.latency.max_ms >= 250.0, "{:?}", measured.latency);
    assert!(measured.latency.p99_ms >= 200.0, "{:?}", measured.latency);
    assert!(measured.punctuality.late_for_answers > 0, "{:?}", measured.punctuality);
}

#[test]
fn a_run_passes_through_its_phases_and_ends_with_the_failure_that_it_met() {
    let plan = Plan {
        subscribers: 2,
        warm_up: Duration::from_millis(300),
        duration: Duration::from_millis(300),
        ..Plan::new(Target::at(serve(|_, _| Deed::Deliver)))
    };
    let mut phases = Vec::new();
    tidewire_load::run(&plan, &mut |progress| phases.push(progress.phase)).unwrap();
    phases.dedup();
    let expected = [Phase::Joining, Phase::WarmUp, Phase::Measuring, Phase::Draining];
    // What takes no time may pass unseen.
    assert!(expected.iter().filter(|phase| phases.contains(phase)).eq(&phases), "{phases:?}");
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let plan = Plan { target: Target::at(nobody), ..plan };
    assert!(matches!(tidewire_load::run(&plan, &mut |_| ()), Err(Error::Unreachable { .. })));
}
