//! Messages that came over the bridge, on every transport: no id, no cursor moved, and every loss said (delivery rule R8).

#![allow(clippy::unwrap_used, reason = "a test may unwrap: its panic is its report")]

mod rig;

use rig::{Client, Rig, websocket};
use tidewire_hub::limits::Limits;

fn get(path: &str, accept: &str) -> Vec<u8> {
    format!("GET /c/{path} HTTP/1.1\r\nHost: localhost\r\nAccept: {accept}\r\n\r\n").into_bytes()
}

fn stream(rig: &mut Rig, path: &str) -> Client {
    rig.client(&get(path, "text/event-stream"), usize::MAX)
}

fn poll(rig: &mut Rig, path: &str) -> Client {
    rig.client(&get(path, "*/*"), usize::MAX)
}

/// The request of a raw WebSocket.
fn raw(path: &str) -> Vec<u8> {
    let request = String::from_utf8(websocket(path)).unwrap();
    request.replace("Sec-WebSocket-Protocol: tidewire.v1\r\n", "").into_bytes()
}

/// What came behind the head, or behind `$ready`.
fn behind(client: &Client, mark: &str) -> String {
    let taken = client.taken();
    let (_, rest) = taken.split_once(mark).unwrap_or_else(|| panic!("no {mark:?} in {taken:?}"));
    let (_, rest) = rest.split_once("\n\n").unwrap();
    rest.to_owned()
}

/// The blocks of a stream behind `$ready`, without the framing of its chunks.
fn blocks(client: &Client) -> Vec<String> {
    let rest = behind(client, "event: $ready");
    let lines = rest.lines().filter(|line| u64::from_str_radix(line, 16).is_err());
    let text: Vec<&str> = lines.collect();
    let blocks = text.split(|line| line.is_empty()).filter(|block| !block.is_empty());
    blocks.map(|block| block.join(" | ")).collect()
}

/// The JSON of a poll's answer.
fn answer(client: &Client) -> String {
    client.taken().split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default()
}

#[test]
fn r8_a_stream_of_both_kinds_keeps_its_ids_for_those_that_have_one() {
    let mut rig = Rig::new(Limits::default());
    let both = stream(&mut rig, "bridged,a");
    rig.relay("one");
    rig.publish("a", 1, 1);
    rig.relay("two");
    let expected =
        ["event: bridged | data: one", "event: a | data: x | id: 7.1", "event: bridged | data: two"];
    assert_eq!(blocks(&both), expected);
}

#[test]
fn r6_a_heartbeat_behind_a_bridged_message_names_the_place_that_the_log_has_reached() {
    let mut rig = Rig::new(Limits::default());
    let both = stream(&mut rig, "bridged,a");
    rig.publish("a", 1, 1);
    rig.relay("one");
    rig.publish("elsewhere", 3, 1);
    rig.relay("two");
    rig.pass(20_000);
    let last = blocks(&both).pop().unwrap();
    assert_eq!(last, "id: 7.1", "nobody has told this shard of more");
    rig.tick();
    rig.pass(20_000);
    assert_eq!(blocks(&both).pop().unwrap(), "id: 7.4");
}

#[test]
fn r8_envelopes_say_that_there_is_no_id() {
    let mut rig = Rig::new(Limits::default());
    let envelope = r#"{"channel":"bridged","id":null,"event":null,"data":"hi","time":0}"#;
    let (json, v1, raw) = (
        stream(&mut rig, "bridged?format=json"),
        rig.client(&websocket("bridged"), usize::MAX),
        rig.client(&raw("bridged"), usize::MAX),
    );
    rig.relay("hi");
    assert_eq!(blocks(&json), [format!("data: {envelope}")]);
    let frame = envelope.replacen('{', r#"{"type":"message","#, 1);
    assert!(v1.taken().ends_with(&frame), "{}", v1.taken());
    assert!(raw.taken_bytes().ends_with(b"\r\n\r\n\x81\x02hi"));
}

#[test]
fn a_waiting_poll_is_answered_by_a_bridged_message_and_the_cursor_of_now() {
    let mut rig = Rig::new(Limits::default());
    rig.publish("a", 2, 1);
    let waits = poll(&mut rig, "bridged,a?wait=60");
    rig.relay("hi");
    let message = r#"{"channel":"bridged","id":null,"event":null,"data":"hi","time":0}"#;
    assert_eq!(
        answer(&waits),
        format!(r#"{{"messages":[{message}],"cursor":"7.2","more":false,"gap":null}}"#)
    );
}

#[test]
fn r8_a_poll_that_comes_back_waits_and_its_answer_says_what_nobody_can_know() {
    let mut rig = Rig::new(Limits::default());
    rig.publish("a", 2, 1);
    let gap = r#""gap":{"channels":["bridged"],"reason":"transient","cursor":"7.2"}}"#;
    let (first, second) =
        (poll(&mut rig, "bridged,a?wait=60&cursor=7.2"), poll(&mut rig, "bridged?wait=5&cursor=7.2"));
    rig.pass(1_000);
    assert_eq!([answer(&first), answer(&second)], ["", ""], "a gap at once would be a poll without a wait");
    rig.relay("hi");
    for client in [&first, &second] {
        assert!(answer(client).contains(r#""data":"hi""#) && answer(client).ends_with(gap));
    }
    let third = poll(&mut rig, "bridged?wait=5&cursor=7.2");
    rig.pass(6_000);
    assert_eq!(answer(&third), format!(r#"{{"messages":[],"cursor":"7.2","more":false,{gap}"#));
    let fourth = poll(&mut rig, "bridged?wait=5");
    rig.pass(6_000);
    assert!(answer(&fourth).ends_with(r#""gap":null}"#), "who begins anew has missed nothing");
}

#[test]
fn r8_a_disturbance_is_said_on_every_transport() {
    let mut rig = Rig::new(Limits::default());
    rig.publish("a", 1, 1);
    let (sse, v1) = (stream(&mut rig, "bridged,a"), rig.client(&websocket("bridged"), usize::MAX));
    let (waits, elsewhere) = (poll(&mut rig, "bridged?wait=60"), stream(&mut rig, "a"));
    let raw = rig.client(&raw("bridged"), usize::MAX);
    rig.disturb();
    let gap = r#"{"channels":["bridged"],"reason":"transient","cursor":"7.1"}"#;
    assert_eq!(blocks(&sse), [format!("event: $gap | data: {gap} | id: 7.1")]);
    assert!(v1.taken().ends_with(&gap.replacen('{', r#"{"type":"gap","#, 1)));
    assert_eq!(answer(&waits), format!(r#"{{"messages":[],"cursor":"7.1","more":false,"gap":{gap}}}"#));
    // 4410 and the code in place of a cursor, with which it would only be sent away once more.
    assert!(raw.taken_bytes().ends_with(b"\x88\x05\x11\x3agap"));
    assert!(blocks(&elsewhere).is_empty() && !elsewhere.is_finished());
    rig.relay("on it goes");
    assert_eq!(blocks(&sse).last().unwrap(), "event: bridged | data: on it goes");
}

#[test]
fn r8_a_raw_websocket_that_comes_back_to_a_bridged_channel_is_told_to_begin_anew() {
    let mut rig = Rig::new(Limits::default());
    rig.publish("a", 1, 1);
    let back = rig.client(&raw("bridged?cursor=7.1"), usize::MAX);
    assert!(back.taken_bytes().ends_with(b"\x88\x05\x11\x3agap"));
    let anew = rig.client(&raw("bridged"), usize::MAX);
    assert!(anew.taken_bytes().ends_with(b"\r\n\r\n"), "and then it stays");
    assert_eq!(rig.subscribers(), 1);
}

#[test]
fn r7_a_poll_of_more_than_a_page_never_goes_back_behind_the_cursor_it_came_with() {
    let mut rig = Rig::new(Limits::default());
    rig.publish("a", 2, 1);
    let waits = poll(&mut rig, "bridged?wait=60&cursor=7.2");
    rig.relay_all(&vec![&*"x".repeat(8 << 10); 200]);
    assert_eq!(answer(&waits).matches(r#""id":null"#).count(), 128, "a page is 1 MiB");
    assert!(answer(&waits).contains(r#""cursor":"7.2","more":true"#), "and the next poll is told of a gap");
}
