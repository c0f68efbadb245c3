//! Server-Sent Events (WHATWG HTML, section 9.2 "Server-sent events"; `docs/protocol.md`, "SSE").
//!
//! A stream is a head and then blocks. Each block is written whole, so that a connection cut between two of them
//! leaves the browser's `lastEventId` at a message that it has dispatched.
//!
//! ```text
//! event: trade          the publisher's name, or the channel where a stream has several
//! data: first line      one `data:` line for every line of the payload, the space always written
//! data: second line
//! id: 1a2b.3            commits at the blank line
//!
//! ```

use memchr::memchr2;
use tidewire_hub::admit::{Gap, HeadFields};
use tidewire_hub::channel::ChannelSet;
use tidewire_hub::message::{EventName, Message, Payload};
use tidewire_hub::position::Position;

use crate::{envelope, head};

/// How the end of a stream is told (RFC 9112 section 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// HTTP/1.1: `Transfer-Encoding: chunked`. Whatever one call appends is one chunk.
    Chunked,
    /// HTTP/1.0, nginx's default towards an upstream: the stream ends where the connection does.
    UntilClose,
}

/// Appends the head of a stream. Nothing in it may be cached, rewritten, buffered or sniffed (security rule S44).
///
/// `allow_origin` is an origin from the allow-list, never one merely asked for (security rule S7).
pub fn response_head(body: Body, allow_origin: Option<&str>, fields: &HeadFields, out: &mut Vec<u8>) {
    out.extend_from_slice(
        b"HTTP/1.1 200 OK\r\n\
        Content-Type: text/event-stream\r\n\
        Cache-Control: no-store, no-transform\r\n\
        X-Accel-Buffering: no\r\n\
        X-Content-Type-Options: nosniff\r\n",
    );
    out.extend_from_slice(match body {
        Body::Chunked => b"Transfer-Encoding: chunked\r\n",
        Body::UntilClose => b"Connection: close\r\n",
    });
    head::write_fields(allow_origin, fields, out);
    out.extend_from_slice(b"\r\n");
}

/// Appends advice to wait `ms` milliseconds before coming back.
pub fn retry(body: Body, ms: u64, out: &mut Vec<u8>) {
    let mut digits = itoa::Buffer::new();
    let digits = digits.format(ms).as_bytes();
    write_framed(body, b"retry: \n\n".len() + digits.len(), out, |out| {
        out.extend_from_slice(b"retry: ");
        out.extend_from_slice(digits);
        out.extend_from_slice(b"\n\n");
    });
}

/// Appends `$ready`: interest is confirmed, and the stream starts at `cursor`; nothing where it starts with `tail` or
/// `earliest` (delivery rule R6).
pub fn ready(body: Body, channels: &ChannelSet, cursor: Option<Position>, out: &mut Vec<u8>) {
    let mut json = vec![b'{'];
    envelope::write_ready_fields(channels, cursor, &mut json);
    json.push(b'}');
    Block { event: Some("$ready"), data: Data::Text(&json), id: cursor.map(Id::of) }.append(body, out);
}

/// Appends `$gap`: messages may be missing; its id is where what follows begins (delivery rule R5).
pub fn gap(body: Body, gap: &Gap, out: &mut Vec<u8>) {
    let mut json = Vec::new();
    envelope::write_gap(gap, &mut json);
    Block { event: Some("$gap"), data: Data::Text(&json), id: Some(Id::of(gap.cursor)) }.append(body, out);
}

/// Appends an id alone. It moves the browser's `lastEventId` and fires no event.
pub fn heartbeat(body: Body, position: Position, out: &mut Vec<u8>) {
    Block { event: None, data: Data::None, id: Some(Id::of(position)) }.append(body, out);
}

/// Appends an event of the server's own without an id: `$presence`, `$expired`, `$refused`.
///
/// The name is `'static` because a name from the network could break the line and with it the stream.
pub fn control(body: Body, event: &'static str, data: &str, out: &mut Vec<u8>) {
    Block { event: Some(event), data: Data::Text(data.as_bytes()), id: None }.append(body, out);
}

/// Appends the end of the stream: the last chunk, or nothing.
pub fn end(body: Body, out: &mut Vec<u8>) {
    if body == Body::Chunked {
        out.extend_from_slice(b"0\r\n\r\n");
    }
}

/// How a message names its event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// After the publisher's name for it; nothing where there is none.
    Single,
    /// After its channel.
    Multi,
    /// Not at all: the envelope in `data` says everything.
    Envelope,
}

/// One message as one block, framed, in a buffer of exactly its size.
pub(crate) fn encode(message: &Message, style: Style, body: Body) -> Vec<u8> {
    let json;
    let (event, data) = match style {
        Style::Single => (message.event.as_ref().map(EventName::as_str), Data::of(&message.payload)),
        Style::Multi => (Some(message.channel.as_str()), Data::of(&message.payload)),
        Style::Envelope => {
            let mut line = Vec::with_capacity(envelope::capacity(message));
            envelope::write(message, &mut line);
            json = line;
            (None, Data::Text(&json))
        }
    };
    Block { event, data, id: message.id().map(Id::of) }.to_vec(body)
}

/// One block. Its length is known before it is written, because a chunk begins with it.
struct Block<'a> {
    event: Option<&'a str>,
    data: Data<'a>,
    id: Option<Id>,
}

enum Data<'a> {
    /// No `data:` line at all: the block fires no event.
    None,
    /// At least one `data:` line, so that an empty payload is dispatched too.
    Text(&'a [u8]),
    Base64(&'a [u8]),
}

impl<'a> Data<'a> {
    fn of(payload: &'a Payload) -> Data<'a> {
        if payload.is_binary() { Data::Base64(payload.as_bytes()) } else { Data::Text(payload.as_bytes()) }
    }
}

impl Block<'_> {
    /// Appends the block as one piece of a body.
    fn append(&self, body: Body, out: &mut Vec<u8>) {
        write_framed(body, self.len(), out, |out| self.write(out));
    }

    /// The block as one piece of a body, in a buffer of exactly its size.
    fn to_vec(&self, body: Body) -> Vec<u8> {
        let len = self.len();
        let framing = if body == Body::Chunked { hex_digits(len) + 4 } else { 0 };
        let mut out = Vec::with_capacity(len + framing);
        write_framed(body, len, &mut out, |out| self.write(out));
        out
    }

    fn len(&self) -> usize {
        let event = self.event.map_or(0, |event| b"event: \n".len() + event.len());
        let data = match self.data {
            Data::None => 0,
            Data::Text(text) => lines(text).map(|line| b"data: \n".len() + line.len()).sum(),
            Data::Base64(bytes) => b"data: \n".len() + envelope::base64_len(bytes.len()),
        };
        let id = self.id.as_ref().map_or(0, |id| b"id: \n".len() + id.as_bytes().len());
        event + data + id + 1
    }

    fn write(&self, out: &mut Vec<u8>) {
        let start = out.len();
        if let Some(event) = self.event {
            out.extend_from_slice(b"event: ");
            out.extend_from_slice(event.as_bytes());
            out.push(b'\n');
        }
        match self.data {
            Data::None => {}
            Data::Text(text) => {
                for line in lines(text) {
                    out.extend_from_slice(b"data: ");
                    out.extend_from_slice(line);
                    out.push(b'\n');
                }
            }
            Data::Base64(bytes) => {
                out.extend_from_slice(b"data: ");
                envelope::write_base64(bytes, out);
                out.push(b'\n');
            }
        }
        if let Some(id) = &self.id {
            out.extend_from_slice(b"id: ");
            out.extend_from_slice(id.as_bytes());
            out.push(b'\n');
        }
        out.push(b'\n');
        debug_assert_eq!(out.len() - start, self.len(), "a chunk's length is told before the chunk");
    }
}

/// The lines of `text`, broken as a browser breaks them: at CRLF, CR and LF (WHATWG HTML, section 9.2.5).
///
/// There is always one more line than there are breaks.
fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let Some(at) = memchr2(b'\r', b'\n', text) else {
            rest = None;
            return Some(text);
        };
        let break_len = if text[at..].starts_with(b"\r\n") { 2 } else { 1 };
        rest = Some(&text[at + break_len..]);
        Some(&text[..at])
    })
}

/// The text of a position, kept on the stack because it is measured before it is written.
struct Id {
    text: [u8; 24],
    len: u8,
}

impl Id {
    fn of(position: Position) -> Id {
        use std::io::Write as _;
        let mut text = [0; 24];
        let mut free = &mut text[..];
        write!(free, "{position}").expect("48 and 64 bits take at most 10 + 1 + 13 digits in base 36");
        let len = 24 - u8::try_from(free.len()).expect("what is free of 24 bytes fits");
        Id { text, len }
    }

    fn as_bytes(&self) -> &[u8] {
        &self.text[..usize::from(self.len)]
    }
}

/// Appends what `write` writes, `len` bytes, as one piece of a body.
fn write_framed(body: Body, len: usize, out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    match body {
        Body::UntilClose => write(out),
        Body::Chunked => {
            write_chunk_start(len, out);
            write(out);
            out.extend_from_slice(b"\r\n");
        }
    }
}

/// Appends the length that begins a chunk (RFC 9112 section 7.1).
fn write_chunk_start(len: usize, out: &mut Vec<u8>) {
    for place in (0..hex_digits(len)).rev() {
        // Four bits are below 16, so they fit.
        out.push(b"0123456789abcdef"[(len >> (4 * place)) & 0xf]);
    }
    out.extend_from_slice(b"\r\n");
}

/// How many hexadecimal digits `number` takes, without leading zeros.
fn hex_digits(number: usize) -> usize {
    (usize::BITS - (number | 1).leading_zeros()).div_ceil(4) as usize
}

#[cfg(test)]
pub(crate) mod tests {
    use super::whatwg::{Dispatched, EventSource};
    use super::*;
    use crate::envelope::tests::{bridged, message, position, text};
    use bytes::Bytes;
    use proptest::prelude::*;
    use tidewire_hub::admit::GapReason;
    use tidewire_hub::channel::Channel;

    fn read(stream: &[u8]) -> EventSource {
        let mut source = EventSource::default();
        source.read(stream);
        source
    }

    fn encoded(content: &str, style: Style) -> Vec<u8> {
        encode(&message(Some("trade"), text(content)), style, Body::UntilClose)
    }

    /// What a browser makes of any line break.
    fn normalised(text: &str) -> String {
        text.replace("\r\n", "\n").replace('\r', "\n")
    }

    /// Takes a chunked body apart (RFC 9112 section 7.1). Panics where it is not one.
    fn dechunk(mut body: &[u8]) -> Vec<Vec<u8>> {
        let mut chunks = Vec::new();
        while !body.is_empty() {
            let end = body.windows(2).position(|pair| pair == b"\r\n").unwrap();
            let len = usize::from_str_radix(std::str::from_utf8(&body[..end]).unwrap(), 16).unwrap();
            chunks.push(body[end + 2..end + 2 + len].to_vec());
            assert_eq!(&body[end + 2 + len..end + 4 + len], b"\r\n");
            body = &body[end + 4 + len..];
        }
        chunks
    }

    #[test]
    fn a_block_is_event_data_and_id() {
        assert_eq!(
            encoded("a\r\n b", Style::Single),
            b"event: trade\ndata: a\ndata:  b\nid: 73f80m6kc.1a\n\n"
        );
        assert_eq!(encoded("a", Style::Multi), b"event: orders:42\ndata: a\nid: 73f80m6kc.1a\n\n");
        let unnamed = encode(&message(None, text("a")), Style::Single, Body::Chunked);
        assert_eq!(unnamed, b"1a\r\ndata: a\nid: 73f80m6kc.1a\n\n\r\n");
    }

    #[test]
    fn an_empty_payload_is_dispatched_as_an_empty_event() {
        let source = read(&encoded("", Style::Single));
        assert_eq!(source.events, [Dispatched::new("trade", "", "73f80m6kc.1a")]);
    }

    #[test]
    fn r8_a_message_from_over_the_bridge_leaves_the_last_id_as_it_is() {
        let mut stream = encoded("a", Style::Single);
        stream.extend(encode(&bridged(text("b")), Style::Single, Body::UntilClose));
        assert!(stream.ends_with(b"data: b\n\n"));
        assert_eq!(read(&stream).events[1], Dispatched::new("message", "b", "73f80m6kc.1a"));
    }

    #[test]
    fn a_binary_payload_is_one_line_of_base64() {
        let payload = Payload::binary(Bytes::from_static(b"\n\r\0\xff"));
        let source = read(&encode(&message(None, payload), Style::Single, Body::UntilClose));
        assert_eq!(source.events, [Dispatched::new("message", "Cg0A/w==", "73f80m6kc.1a")]);
    }

    #[test]
    fn a_heartbeat_moves_the_id_and_fires_nothing() {
        let mut stream = Vec::new();
        retry(Body::UntilClose, 2_000, &mut stream);
        heartbeat(Body::UntilClose, position(7), &mut stream);
        assert_eq!(stream, b"retry: 2000\n\nid: 73f80m6kc.7\n\n");
        let source = read(&stream);
        assert_eq!((source.events.len(), source.last_event_id.as_str()), (0, "73f80m6kc.7"));
        assert_eq!(source.retry_ms, Some(2_000));
    }

    #[test]
    fn r6_ready_has_an_id_only_where_the_stream_has_a_start() {
        let channels = ChannelSet::parse("a,b", 2).unwrap();
        let (mut resumed, mut tail) = (Vec::new(), Vec::new());
        ready(Body::UntilClose, &channels, Some(position(9)), &mut resumed);
        ready(Body::UntilClose, &channels, None, &mut tail);
        let data = r#"{"channels":["a","b"],"cursor":"73f80m6kc.9"}"#;
        assert_eq!(read(&resumed).events, [Dispatched::new("$ready", data, "73f80m6kc.9")]);
        assert_eq!(tail, b"event: $ready\ndata: {\"channels\":[\"a\",\"b\"],\"cursor\":null}\n\n");
    }

    #[test]
    fn r5_a_gap_carries_the_id_of_where_it_is_whole_again() {
        let missing = Gap {
            channels: vec![Channel::parse("a").unwrap()],
            reason: GapReason::Trimmed,
            cursor: position(5),
        };
        let mut stream = Vec::new();
        gap(Body::UntilClose, &missing, &mut stream);
        let data = r#"{"channels":["a"],"reason":"trimmed","cursor":"73f80m6kc.5"}"#;
        assert_eq!(read(&stream).events, [Dispatched::new("$gap", data, "73f80m6kc.5")]);
    }

    #[test]
    fn a_control_event_keeps_the_id_that_was() {
        let mut stream = encoded("a", Style::Single);
        control(Body::UntilClose, "$expired", "{}", &mut stream);
        assert_eq!(read(&stream).events[1], Dispatched::new("$expired", "{}", "73f80m6kc.1a"));
    }

    #[test]
    fn s44_the_head_forbids_caching_sniffing_and_buffering() {
        let mut head = Vec::new();
        response_head(Body::Chunked, Some("https://a.example"), &HeadFields::default(), &mut head);
        assert_eq!(
            String::from_utf8(head).unwrap(),
            "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store, no-transform\r\n\
             X-Accel-Buffering: no\r\nX-Content-Type-Options: nosniff\r\nTransfer-Encoding: chunked\r\n\
             Access-Control-Allow-Origin: https://a.example\r\nVary: Origin\r\n\r\n"
        );
        let mut head = Vec::new();
        response_head(Body::UntilClose, None, &HeadFields::default(), &mut head);
        let head = String::from_utf8(head).unwrap();
        assert!(head.contains("\r\nConnection: close\r\n") && head.ends_with("\r\n\r\n"));
        assert!(!head.contains("chunked") && !head.contains("Access-Control"));
    }

    #[test]
    fn s7_what_is_no_origin_does_not_split_the_head() {
        let (mut without, mut with) = (Vec::new(), Vec::new());
        response_head(Body::Chunked, None, &HeadFields::default(), &mut without);
        response_head(Body::Chunked, Some("https://a\r\nSet-Cookie: x"), &HeadFields::default(), &mut with);
        assert_eq!(with, without);
    }

    #[test]
    fn every_call_is_one_chunk_and_the_end_is_the_last() {
        let mut stream = Vec::new();
        retry(Body::Chunked, 1, &mut stream);
        heartbeat(Body::Chunked, position(1), &mut stream);
        control(Body::Chunked, "$refused", "x", &mut stream);
        assert_eq!(dechunk(&stream).len(), 3);
        end(Body::Chunked, &mut stream);
        assert!(stream.ends_with(b"\r\n0\r\n\r\n"));
        let mut nothing = Vec::new();
        end(Body::UntilClose, &mut nothing);
        assert!(nothing.is_empty());
    }

    #[test]
    fn the_longest_id_has_room() {
        let generation = tidewire_hub::position::Gen::from_random(u64::MAX);
        let longest = Position { generation, seq: u64::MAX };
        assert_eq!(Id::of(longest).as_bytes(), longest.to_string().as_bytes());
        assert_eq!(Id::of(longest).as_bytes().len(), 24);
    }

    #[test]
    fn chunk_lengths_have_no_leading_zero() {
        for (number, digits) in [(0, 1), (1, 1), (0xf, 1), (0x10, 2), (0xff, 2), (0x100, 3), (0x10000, 5)] {
            assert_eq!(hex_digits(number), digits);
        }
    }

    proptest! {
        #[test]
        fn s45_any_text_arrives_with_its_line_breaks_normalised(
            parts in prop::collection::vec(
                prop_oneof![
                    Just("\r".to_owned()), Just("\n".to_owned()), Just("\r\n".to_owned()), Just(" ".to_owned()),
                    Just("\0".to_owned()), Just("\u{feff}".to_owned()), Just(":".to_owned()),
                    Just("id: x".to_owned()), Just("\n\nevent: $gap\ndata: forged\n\n".to_owned()), any::<String>(),
                ],
                0..12,
            ),
            style in prop_oneof![Just(Style::Single), Just(Style::Multi)],
        ) {
            let content = parts.concat();
            let mut stream = Vec::new();
            retry(Body::UntilClose, 1, &mut stream);
            stream.extend_from_slice(&encoded(&content, style));
            let name = if style == Style::Single { "trade" } else { "orders:42" };
            let expected = [Dispatched::new(name, &normalised(&content), "73f80m6kc.1a")];
            prop_assert_eq!(&read(&stream).events[..], &expected[..]);
        }

        #[test]
        fn s45_an_envelope_brings_any_text_back_exactly(content in any::<String>()) {
            let source = read(&encoded(&content, Style::Envelope));
            prop_assert_eq!(source.events.len(), 1);
            prop_assert_eq!(&source.events[0].kind, "message");
            let json: serde_json::Value = serde_json::from_str(&source.events[0].data).unwrap();
            prop_assert_eq!(json["data"].as_str(), Some(content.as_str()));
        }

        #[test]
        fn a_chunk_holds_exactly_the_block(content in any::<String>()) {
            let chunked = encode(&message(None, text(&content)), Style::Single, Body::Chunked);
            let plain = encode(&message(None, text(&content)), Style::Single, Body::UntilClose);
            prop_assert_eq!(dechunk(&chunked), [plain]);
        }
    }
}

/// A small reader of event streams, written from WHATWG HTML section 9.2.6, as an opponent for the writer above.
#[cfg(test)]
mod whatwg {
    #[derive(Debug, PartialEq, Eq)]
    pub(crate) struct Dispatched {
        pub(crate) kind: String,
        pub(crate) data: String,
        pub(crate) last_event_id: String,
    }

    impl Dispatched {
        pub(crate) fn new(kind: &str, data: &str, last_event_id: &str) -> Dispatched {
            Dispatched { kind: kind.into(), data: data.into(), last_event_id: last_event_id.into() }
        }
    }

    #[derive(Default)]
    pub(crate) struct EventSource {
        pub(crate) events: Vec<Dispatched>,
        pub(crate) last_event_id: String,
        pub(crate) retry_ms: Option<u64>,
        id_buffer: String,
        type_buffer: String,
        data_buffer: String,
    }

    impl EventSource {
        pub(crate) fn read(&mut self, stream: &[u8]) {
            let text = String::from_utf8_lossy(stream);
            let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
            // The last piece was not ended by a line break, so it is discarded, as the standard says.
            let text = text.replace("\r\n", "\n").replace('\r', "\n");
            let mut lines: Vec<&str> = text.split('\n').collect();
            lines.pop();
            for line in lines {
                match line.split_once(':') {
                    _ if line.is_empty() => self.dispatch(),
                    Some(("", _)) => {}
                    Some((name, value)) => self.field(name, value.strip_prefix(' ').unwrap_or(value)),
                    None => self.field(line, ""),
                }
            }
        }

        fn field(&mut self, name: &str, value: &str) {
            match name {
                "event" => self.type_buffer = value.into(),
                "data" => {
                    self.data_buffer.push_str(value);
                    self.data_buffer.push('\n');
                }
                "id" if !value.contains('\0') => self.id_buffer = value.into(),
                "retry" if value.bytes().all(|byte| byte.is_ascii_digit()) => {
                    self.retry_ms = value.parse().ok();
                }
                _ => {}
            }
        }

        fn dispatch(&mut self) {
            self.last_event_id.clone_from(&self.id_buffer);
            let (mut data, kind) =
                (std::mem::take(&mut self.data_buffer), std::mem::take(&mut self.type_buffer));
            if data.is_empty() {
                return;
            }
            data.pop();
            let kind = if kind.is_empty() { "message".into() } else { kind };
            self.events.push(Dispatched { kind, data, last_event_id: self.last_event_id.clone() });
        }
    }
}
