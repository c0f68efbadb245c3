//! Who is connected, for whoever runs the server; and who was refused.

#![allow(clippy::unwrap_used, reason = "a test may unwrap: its panic is its report")]

mod rig;

use rig::{Rig, websocket};
use tidewire_hub::admit::Transport;
use tidewire_hub::channel::Channel;
use tidewire_hub::limits::Limits;
use tidewire_hub::reason::Reason;
use tidewire_hub::survey::LOOKED_AT_MAX;

fn stream(channels: &str) -> Vec<u8> {
    format!("GET /c/{channels} HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n").into_bytes()
}

#[test]
fn a_survey_tells_who_hears_what_since_when_and_how_far_behind() {
    let mut rig = Rig::new(Limits::default());
    let _stream = rig.client(&stream("a,b"), 300);
    rig.pass(2_000);
    let _socket = rig.client(&websocket("b"), usize::MAX);
    rig.publish("b", 3, 1_000);
    rig.turns();
    let surveyed = rig.survey(0, None);
    assert!(surveyed.next.is_none());
    let [stream, socket] = &surveyed.found[..] else { panic!("{surveyed:?}") };
    let names: Vec<&str> = stream.channels.iter().map(Channel::as_str).collect();
    assert_eq!((names, stream.channel_count, stream.transport), (vec!["a", "b"], 2, Transport::Sse));
    assert_eq!((stream.messages, socket.messages, socket.transport), (3, 3, Transport::Ws));
    assert!(stream.age_ms >= 1_900 && socket.age_ms < 500, "{stream:?}");
    assert!(stream.backlog_bytes > 3_000 && socket.backlog_bytes == 0, "{stream:?}");
}

#[test]
fn a_survey_of_a_channel_tells_of_nobody_else_and_of_no_one_who_only_asks() {
    let mut rig = Rig::new(Limits::default());
    let _clients = [rig.client(&stream("a"), usize::MAX), rig.client(&stream("b"), usize::MAX)];
    let _silent = rig.client(b"", usize::MAX);
    let _half = rig.client(b"GET /c/a HTT", usize::MAX);
    assert_eq!(rig.survey(0, Some("a")).found.len(), 1);
    assert_eq!((rig.survey(0, Some("c")).found.len(), rig.survey(0, None).found.len()), (0, 2));
}

#[test]
fn a_survey_looks_at_a_bounded_number_of_places_and_says_where_to_go_on() {
    let mut rig = Rig::new(Limits::default());
    rig.pause();
    let clients: Vec<_> = (0..LOOKED_AT_MAX + 10).map(|_| rig.client(&stream("a"), usize::MAX)).collect();
    rig.go_on();
    rig.turns();
    let first = rig.survey(0, None);
    assert_eq!((first.found.len(), first.next), (LOOKED_AT_MAX, Some(LOOKED_AT_MAX)));
    let rest = rig.survey(LOOKED_AT_MAX, None);
    assert_eq!((rest.found.len(), rest.next), (10, None));
    assert!(rig.survey(usize::MAX, None).found.is_empty());
    drop(clients);
}

#[test]
fn r24_a_connection_that_is_ended_by_what_it_was_seen_as_is_that_one_and_no_successor() {
    let mut rig = Rig::new(Limits::default());
    let client = rig.client(&stream("a"), usize::MAX);
    let seen = rig.survey(0, None).found[0].conn;
    rig.close(seen, Reason::Forbidden);
    assert!(client.is_finished() && client.taken().matches("retry:").count() == 2, "{}", client.taken());
    rig.pass(3_000);
    let successor = rig.client(&stream("a"), usize::MAX);
    rig.close(seen, Reason::Forbidden);
    assert!(!successor.is_finished());
    assert_eq!(rig.survey(0, None).found.len(), 1);
}

#[test]
fn who_is_refused_is_told_of_with_what_it_asked_for() {
    let mut rig = Rig::new(Limits::default());
    rig.client(b"GET /c/$own?ticket=x HTTP/1.1\r\nHost: localhost\r\n\r\n", usize::MAX);
    rig.client(b"nonsense\r\n\r\n", usize::MAX);
    assert_eq!(*rig.plane.refused.lock().unwrap(), ["channel_invalid /c/$own", "malformed_request -"]);
}
