//! The envelope: one message as one line of JSON, the same on every transport (`docs/protocol.md`, "Envelope").
//!
//! ```text
//! {"channel":"prices","id":"1a2b.3","event":"trade","data":"42.10","time":1700000000000}
//! {"channel":"prices","id":"1a2b.4","event":null,"base64":"AAEC","time":1700000000001}
//! {"channel":"prices","id":"1a2b.5","event":null,"data":"42.20","time":1700000000002,"traceparent":"00-…-01"}
//! ```

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tidewire_hub::admit::Gap;
use tidewire_hub::channel::Channel;
use tidewire_hub::message::Message;
use tidewire_hub::position::Position;
use tidewire_hub::reason::Reason;

/// Appends `message` as an envelope.
///
/// `data` is a string that holds the exact text as published, never inlined JSON: a subscriber parses what the
/// publisher meant to be parsed, and no more. Binary payloads stand in `base64` instead (RFC 4648 section 4).
pub fn write(message: &Message, out: &mut Vec<u8>) {
    out.push(b'{');
    write_fields(message, out);
    out.push(b'}');
}

/// Appends the fields of an envelope without its braces, for frames that hold more than these.
pub(crate) fn write_fields(message: &Message, out: &mut Vec<u8>) {
    out.extend_from_slice(b"\"channel\":");
    write_channel(&message.channel, out);
    out.extend_from_slice(b",\"id\":");
    write_id(message.id(), out);
    out.extend_from_slice(b",\"event\":");
    match &message.event {
        Some(event) => write_string(event.as_str(), out),
        None => out.extend_from_slice(b"null"),
    }
    match message.payload.as_text() {
        Some(text) => {
            out.extend_from_slice(b",\"data\":");
            write_string(text, out);
        }
        None => {
            out.extend_from_slice(b",\"base64\":\"");
            write_base64(message.payload.as_bytes(), out);
            out.push(b'"');
        }
    }
    out.extend_from_slice(b",\"time\":");
    write_number(message.time_ms, out);
    if let Some(trace) = &message.trace {
        // Digits and dashes need no escaping.
        out.extend_from_slice(b",\"traceparent\":\"");
        out.extend_from_slice(trace.as_str().as_bytes());
        out.push(b'"');
    }
}

/// About how long an envelope of `message` gets, in bytes, so that writing one rarely grows its buffer.
pub(crate) fn capacity(message: &Message) -> usize {
    let payload = message.payload.as_bytes().len();
    let payload = if message.payload.is_binary() { base64_len(payload) } else { payload + payload / 8 };
    // 128: the names of the fields, an id of at most 24 bytes, a time of 13 digits, and a few escapes.
    payload
        + message.channel.as_str().len()
        + message.event.as_ref().map_or(0, |event| event.as_str().len())
        + message.trace.as_ref().map_or(0, |trace| trace.as_str().len() + 18)
        + 128
}

/// Appends a gap: which channels, why, and from where it is whole again.
pub(crate) fn write_gap(gap: &Gap, out: &mut Vec<u8>) {
    out.push(b'{');
    write_gap_fields(gap, out);
    out.push(b'}');
}

/// Appends the fields of a gap without their braces.
pub(crate) fn write_gap_fields(gap: &Gap, out: &mut Vec<u8>) {
    out.extend_from_slice(b"\"channels\":");
    write_channels(&gap.channels, out);
    out.extend_from_slice(b",\"reason\":\"");
    out.extend_from_slice(gap.reason.as_str().as_bytes());
    out.extend_from_slice(b"\",\"cursor\":\"");
    write_position(gap.cursor, out);
    out.push(b'"');
}

/// Appends the fields of a stream's beginning: its channels and where it starts, if that has an id (delivery rule R6).
pub(crate) fn write_ready_fields(channels: &[Channel], cursor: Option<Position>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"\"channels\":");
    write_channels(channels, out);
    out.extend_from_slice(b",\"cursor\":");
    write_id(cursor, out);
}

/// Why the rights of a stream ended, as the `data` of its `$expired`.
#[must_use]
pub fn reason(reason: Reason) -> String {
    format!("{{\"reason\":\"{}\"}}", reason.code())
}

/// Appends messages as an array of envelopes.
pub(crate) fn write_messages<'a>(messages: impl IntoIterator<Item = &'a Message>, out: &mut Vec<u8>) {
    out.push(b'[');
    for (index, message) in messages.into_iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write(message, out);
    }
    out.push(b']');
}

/// Appends a JSON string that holds exactly `text` (RFC 8259 section 7).
pub(crate) fn write_string(text: &str, out: &mut Vec<u8>) {
    serde_json::to_writer(out, text).expect("a Vec takes every write, and a str is always JSON");
}

/// Appends a name between quotes. Its alphabet needs no escaping (security rule S47).
pub(crate) fn write_channel(channel: &Channel, out: &mut Vec<u8>) {
    out.push(b'"');
    out.extend_from_slice(channel.as_str().as_bytes());
    out.push(b'"');
}

/// Appends an id as a JSON value: `null` where there is none.
pub(crate) fn write_id(id: Option<Position>, out: &mut Vec<u8>) {
    match id {
        Some(position) => {
            out.push(b'"');
            write_position(position, out);
            out.push(b'"');
        }
        None => out.extend_from_slice(b"null"),
    }
}

/// Appends the id of a position, bare.
pub(crate) fn write_position(position: Position, out: &mut Vec<u8>) {
    use std::io::Write as _;
    write!(out, "{position}").expect("a Vec takes every write");
}

/// Appends a number in decimal.
pub(crate) fn write_number(number: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// How many bytes `bytes_len` bytes take in base64.
pub(crate) fn base64_len(bytes_len: usize) -> usize {
    bytes_len.div_ceil(3) * 4
}

/// Appends `bytes` in padded base64 (RFC 4648 section 4).
pub(crate) fn write_base64(bytes: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    out.resize(start + base64_len(bytes.len()), 0);
    STANDARD.encode_slice(bytes, &mut out[start..]).expect("the room is exactly what base64 takes");
}

pub(crate) fn write_channels(channels: &[Channel], out: &mut Vec<u8>) {
    out.push(b'[');
    for (index, channel) in channels.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write_channel(channel, out);
    }
    out.push(b']');
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use bytes::Bytes;
    use proptest::prelude::*;
    use tidewire_hub::message::{EventName, Payload};
    use tidewire_hub::position::Gen;
    use tidewire_hub::trace::TraceParent;

    pub(crate) fn message(event: Option<&str>, payload: Payload) -> Message {
        Message {
            channel: Channel::parse("orders:42").unwrap(),
            position: position(46),
            prev: 0,
            event: event.map(|event| EventName::parse(event).unwrap()),
            payload,
            time_ms: 1_700_000_000_000,
            taken_us: 0,
            bridged: false,
            trace: None,
        }
    }

    pub(crate) fn bridged(payload: Payload) -> Message {
        Message { bridged: true, ..message(None, payload) }
    }

    #[test]
    fn a_trace_is_told_where_there_is_one() {
        let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let plain = message(None, text("hi"));
        let traced = Message { trace: TraceParent::parse(trace.as_bytes()), ..plain.clone() };
        let written = |message: &Message| {
            let mut out = Vec::new();
            write(message, &mut out);
            assert!(out.len() <= capacity(message));
            String::from_utf8(out).unwrap()
        };
        let (plain, traced) = (written(&plain), written(&traced));
        assert_eq!(traced, format!("{},\"traceparent\":\"{trace}\"}}", &plain[..plain.len() - 1]));
    }

    pub(crate) fn position(seq: u64) -> Position {
        Position { generation: Gen::from_random(0x1234_5678_9abc), seq }
    }

    pub(crate) fn text(text: &str) -> Payload {
        Payload::text(Bytes::copy_from_slice(text.as_bytes())).unwrap()
    }

    fn written(message: &Message) -> String {
        let mut out = Vec::new();
        write(message, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_text_stays_a_string_even_when_it_is_json() {
        assert_eq!(
            written(&message(Some("trade"), text("{\"a\": 1}"))),
            r#"{"channel":"orders:42","id":"73f80m6kc.1a","event":"trade","data":"{\"a\": 1}","time":1700000000000}"#
        );
    }

    #[test]
    fn r8_a_message_from_over_the_bridge_has_no_id() {
        assert_eq!(
            written(&bridged(text("hi"))),
            r#"{"channel":"orders:42","id":null,"event":null,"data":"hi","time":1700000000000}"#
        );
    }

    #[test]
    fn a_binary_payload_stands_in_base64() {
        let payload = Payload::binary(Bytes::from_static(&[0, 1, 254, 255]));
        let json: serde_json::Value = serde_json::from_str(&written(&message(None, payload))).unwrap();
        assert_eq!(json["base64"], "AAH+/w==");
        assert_eq!(json["event"], serde_json::Value::Null);
        assert!(json.get("data").is_none());
    }

    proptest! {
        #[test]
        fn the_exact_text_comes_back_from_one_line(content in any::<String>()) {
            let line = written(&message(None, text(&content)));
            prop_assert!(!line.contains(['\n', '\r', '\0']));
            let json: serde_json::Value = serde_json::from_str(&line).unwrap();
            prop_assert_eq!(json["data"].as_str(), Some(content.as_str()));
        }

        #[test]
        fn the_exact_bytes_come_back_from_base64(content in any::<Vec<u8>>()) {
            let mut out = Vec::new();
            write_base64(&content, &mut out);
            prop_assert_eq!(STANDARD.decode(&out).unwrap(), content);
        }
    }
}
