//! What stands in a stream entry and goes out over Pub/Sub.
//!
//! ```text
//! envelope   1 <generation> <seq> <prev> <+|->\n<body>        the script writes the head, so that it needs no binary
//! entry      p <prev> m <body> [t <traceparent>], with the id <seq>-0
//! trace      1 <generation> <seq> <traceparent>                under a name of its own, just before its envelope
//! body       01 <flags> <time, 8 bytes> [<length> <event>] <payload>
//! ```
//!
//! Both begin with a version. A node that meets one it does not know says so, and drops what it cannot read: whatever
//! arrives here may have been written by anybody who can reach Redis (fault F33).

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tidewire_hub::channel::Channel;
use tidewire_hub::message::{EventName, Message, Payload};
use tidewire_hub::position::{Gen, Position};

/// The longest payload that is read, in bytes. Publishers are held to `Limits::message_bytes_max`, which is smaller; this
/// keeps a stranger's envelope out of a node's memory whatever its own limit is.
pub const PAYLOAD_BYTES_MAX: usize = 16 << 20;

const VERSION: u8 = 1;
const BINARY: u8 = 1;
const EVENT: u8 = 2;

/// Version, flags and time.
const FIXED_BYTES: usize = 10;

/// The longest head: three numbers of 20 digits at most, what is between them, and the version.
const HEAD_BYTES_MAX: usize = 80;

/// A message as it came over Pub/Sub.
#[derive(Clone, Debug)]
pub struct Envelope {
    /// The message, in its place.
    pub message: Message,
    /// Whether its `prev` is the message before it. Otherwise its channel had no record and `prev` is the floor, which
    /// the chain check skips (delivery rule R20).
    pub chained: bool,
}

impl Envelope {
    /// Reads what came on the Pub/Sub name of `channel`. The payload shares `bytes`.
    ///
    /// # Errors
    /// Names what it is instead.
    pub fn decode(channel: Channel, mut bytes: Bytes) -> Result<Envelope, Junk> {
        let head = bytes.iter().take(HEAD_BYTES_MAX).position(|byte| *byte == b'\n').ok_or(Junk::Head)?;
        let head = bytes.split_to(head);
        bytes.advance(1);
        let mut words = head.split(|byte| *byte == b' ');
        let mut word = || words.next().ok_or(Junk::Head);
        if word()? != b"1" {
            return Err(Junk::Version);
        }
        let generation = Gen::parse(word()?).ok_or(Junk::Head)?;
        let seq = decimal(word()?).ok_or(Junk::Head)?;
        let prev = decimal(word()?).ok_or(Junk::Head)?;
        let chained = match word()? {
            b"+" => true,
            b"-" => false,
            _ => return Err(Junk::Head),
        };
        if words.next().is_some() {
            return Err(Junk::Head);
        }
        let message = decode_body(channel, Position { generation, seq }, prev, bytes)?;
        Ok(Envelope { message, chained })
    }
}

/// Writes what the publish script keeps and tells.
#[must_use]
pub fn encode_body(event: Option<&EventName>, payload: &Payload, time_ms: u64) -> Bytes {
    let event = event.map(EventName::as_str);
    let length = FIXED_BYTES + event.map_or(0, |event| 1 + event.len()) + payload.as_bytes().len();
    let mut body = BytesMut::with_capacity(length);
    let flags = if payload.is_binary() { BINARY } else { 0 } | if event.is_some() { EVENT } else { 0 };
    body.put_slice(&[VERSION, flags]);
    body.put_u64_le(time_ms);
    if let Some(event) = event {
        body.put_u8(u8::try_from(event.len()).expect("an event name has at most 128 bytes"));
        body.put_slice(event.as_bytes());
    }
    body.put_slice(payload.as_bytes());
    body.freeze()
}

/// Reads a body into the message that stands at `position`. The payload shares `body`.
///
/// # Errors
/// Names what it is instead.
pub fn decode_body(
    channel: Channel,
    position: Position,
    prev: u64,
    mut body: Bytes,
) -> Result<Message, Junk> {
    if prev >= position.seq {
        return Err(Junk::Head);
    }
    match body.first() {
        Some(&VERSION) if body.len() >= FIXED_BYTES => {}
        Some(&VERSION) | None => return Err(Junk::Body),
        Some(_) => return Err(Junk::Version),
    }
    let flags = body[1];
    if flags & !(BINARY | EVENT) != 0 {
        return Err(Junk::Version);
    }
    body.advance(2);
    let time_ms = body.get_u64_le();
    let event = if flags & EVENT == 0 { None } else { Some(decode_event(&mut body)?) };
    if body.len() > PAYLOAD_BYTES_MAX {
        return Err(Junk::TooLong);
    }
    let payload = if flags & BINARY == 0 {
        Payload::text(body).map_err(|_| Junk::Body)?
    } else {
        Payload::binary(body)
    };
    Ok(Message { channel, position, prev, event, payload, time_ms, taken_us: 0, bridged: false, trace: None })
}

fn decode_event(body: &mut Bytes) -> Result<EventName, Junk> {
    let length = usize::from(*body.first().ok_or(Junk::Body)?);
    if body.len() <= length {
        return Err(Junk::Body);
    }
    body.advance(1);
    let name = body.split_to(length);
    let name = std::str::from_utf8(&name).map_err(|_| Junk::Body)?;
    // What no publisher of ours can have called it must not reach a browser either (security rules S45, S46).
    EventName::parse(name).map_err(|_| Junk::Body)
}

/// What came instead of a message. It is counted and dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Junk {
    /// It does not begin like an envelope of ours, or its places contradict each other.
    Head,
    /// Its body is cut off, or is not what it says.
    Body,
    /// A newer node wrote it.
    Version,
    /// It has more than [`PAYLOAD_BYTES_MAX`] bytes.
    TooLong,
}

/// Reads a seq: decimal, one spelling a number, and no more than Lua counts exactly.
pub(super) fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() || text.len() > 16 || (text[0] == b'0' && text.len() > 1) {
        return None;
    }
    let number = text
        .iter()
        .try_fold(0u64, |number, byte| byte.is_ascii_digit().then(|| number * 10 + u64::from(byte - b'0')))?;
    (number <= SEQ_MAX).then_some(number)
}

/// The highest seq: Lua's numbers are doubles. At a million messages a second it lasts for 285 years.
pub(super) const SEQ_MAX: u64 = 1 << 53;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn channel() -> Channel {
        Channel::parse("prices").unwrap()
    }

    /// As the script writes it.
    fn envelope(position: Position, prev: u64, chained: bool, body: &[u8]) -> Bytes {
        let Position { generation, seq } = position;
        let mut bytes =
            format!("1 {generation} {seq} {prev} {}\n", if chained { '+' } else { '-' }).into_bytes();
        bytes.extend_from_slice(body);
        bytes.into()
    }

    prop_compose! {
        fn payloads()(text in ".{0,64}", bytes in prop::collection::vec(any::<u8>(), 0..64), binary: bool) -> Payload {
            if binary { Payload::binary(bytes.into()) } else { Payload::text(text.into_bytes().into()).unwrap() }
        }
    }

    proptest! {
        #[test]
        fn f33_what_was_written_is_read(
            payload in payloads(), name in prop::option::of("[a-z€]{1,40}"),
            time_ms: u64, random: u64, seq in 1..SEQ_MAX, back in 1u64.., chained: bool,
        ) {
            let event = name.and_then(|name| EventName::parse(&name).ok());
            let position = Position { generation: Gen::from_random(random), seq };
            let prev = seq.saturating_sub(back);
            let bytes = envelope(position, prev, chained, &encode_body(event.as_ref(), &payload, time_ms));
            let read = Envelope::decode(channel(), bytes).unwrap();
            prop_assert_eq!(read.chained, chained);
            let message = read.message;
            prop_assert_eq!((message.position, message.prev, message.time_ms), (position, prev, time_ms));
            prop_assert_eq!((message.event, message.payload), (event, payload));
        }

        #[test]
        fn f33_junk_is_never_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..256)) {
            let _ = Envelope::decode(channel(), bytes.into());
        }

        #[test]
        fn f33_a_damaged_envelope_is_junk_or_another_message_and_never_a_panic(
            at in 0usize..64, byte: u8, cut in 0usize..64, event: bool,
        ) {
            let event = event.then(|| EventName::parse("trade").unwrap());
            let payload = Payload::text(Bytes::from_static("prix €".as_bytes())).unwrap();
            let position = Position { generation: Gen::from_random(7), seq: 9 };
            let mut bytes = envelope(position, 8, true, &encode_body(event.as_ref(), &payload, 5)).to_vec();
            let whole = bytes.len();
            bytes[at % whole] = byte;
            bytes.truncate(whole.saturating_sub(cut));
            if let Ok(read) = Envelope::decode(channel(), bytes.into()) {
                prop_assert!(read.message.prev < read.message.position.seq);
            }
        }
    }

    #[test]
    fn f33_what_is_not_ours_is_named() {
        let decode =
            |bytes: &'static [u8]| Envelope::decode(channel(), Bytes::from_static(bytes)).unwrap_err();
        assert_eq!(decode(b""), Junk::Head);
        assert_eq!(decode(b"{\"hello\":1}\n"), Junk::Version);
        assert_eq!(decode(b"2 a 5 4 +\n\x01\0aaaaaaaa"), Junk::Version);
        assert_eq!(decode(b"1 a 5 4 +\n\x02"), Junk::Version);
        assert_eq!(decode(b"1 a 5 4 +\n\x01\x04aaaaaaaa"), Junk::Version);
        assert_eq!(decode(b"1 a 5 5 +\n\x01\0aaaaaaaa"), Junk::Head);
        assert_eq!(decode(b"1 a 5 4 +\n"), Junk::Body);
        assert_eq!(decode(b"1 a 5 4 +\n\x01\0aaaaaaa"), Junk::Body);
        assert_eq!(decode(b"1 a 5 4 +\n\x01\0aaaaaaaa\xff"), Junk::Body);
        assert_eq!(decode(b"1 a 5 4 +\n\x01\x02aaaaaaaa\x05open"), Junk::Body);
        assert_eq!(decode(b"1 a 5 4 +\n\x01\x02aaaaaaaa\x04open"), Junk::Body);
    }

    #[test]
    fn s49_what_is_shown_of_an_envelope_is_no_payload() {
        let payload = Payload::text(Bytes::from_static(b"canary")).unwrap();
        let position = Position { generation: Gen::from_random(7), seq: 9 };
        let read = Envelope::decode(channel(), envelope(position, 8, true, &encode_body(None, &payload, 5)));
        assert!(!format!("{read:?}").contains("canary"));
    }
}
