//! Frames from the client (RFC 6455 section 5): bytes in any pieces become whole messages, or a fault.
//!
//! ```text
//! bytes -> header (2–14 bytes, judged byte by byte) -> payload (unmasked in place) -> Item
//!          every limit that it breaks is a fault here,   text is judged as it comes,
//!          before a byte of the payload is kept          kept bytes grow with what arrived
//! ```
//!
//! The rules are those of security rule S30. Every check looks at a fixed prefix of the input, so any split of the same
//! bytes gives the same items and the same fault; the tests try every split.

use std::fmt;

use bytes::Bytes;
use tidewire_hub::limits::Limits;

use super::frame::{CONTROL_BYTES_MAX, Opcode};
use super::utf8::Utf8;

/// The longest header, in bytes: two, a 64-bit length, a mask.
const HEADER_BYTES_MAX: usize = 14;

/// What a client sent, whole.
#[derive(Clone, PartialEq, Eq)]
pub enum Item {
    /// A message of text, which is UTF-8.
    Text(Bytes),
    /// A message of bytes.
    Binary(Bytes),
    /// A question, to be answered by a pong with the same payload, at most 125 bytes.
    Ping(Vec<u8>),
    /// An answer.
    Pong,
    /// The end, with the code and reason if there was one (RFC 6455 section 7.1.5). Nothing comes after it.
    Close(Option<(u16, String)>),
}

impl fmt::Debug for Item {
    // Payloads belong to users and stay out of logs (security rule S49).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Item::Text(bytes) => write!(f, "Text({} bytes)", bytes.len()),
            Item::Binary(bytes) => write!(f, "Binary({} bytes)", bytes.len()),
            Item::Ping(payload) => write!(f, "Ping({} bytes)", payload.len()),
            Item::Pong => f.write_str("Pong"),
            Item::Close(None) => f.write_str("Close"),
            Item::Close(Some((code, reason))) => write!(f, "Close({code}, {} bytes)", reason.len()),
        }
    }
}

/// The client broke a rule, and the connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What to close with: 1002, 1007 or 1009 (RFC 6455 section 7.4.1).
    pub close_code: u16,
    /// Which rule, for people.
    pub detail: &'static str,
}

impl Fault {
    const fn protocol(detail: &'static str) -> Fault {
        Fault { close_code: 1002, detail }
    }

    const fn not_utf8(detail: &'static str) -> Fault {
        Fault { close_code: 1007, detail }
    }

    const fn too_large(detail: &'static str) -> Fault {
        Fault { close_code: 1009, detail }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.detail)
    }
}

impl std::error::Error for Fault {}

/// The reading side of one WebSocket. While it [is idle](Decoder::is_idle) a fresh one would do as well.
#[derive(Debug, Default)]
pub struct Decoder {
    state: State,
    /// The message whose last fragment has not come. Control frames may come in between.
    message: Option<Partial>,
    /// Everything before it had ended when what is partial now began, and that was in the last push.
    is_fresh: bool,
}

impl Decoder {
    /// Reads `input`, which is unmasked in place, and appends what it completes to `items`.
    ///
    /// # Errors
    /// The first rule that the client broke. What was whole before it is in `items`; after it, every call fails alike.
    pub fn push(&mut self, input: &mut [u8], limits: &Limits, items: &mut Vec<Item>) -> Result<(), Fault> {
        self.is_fresh = false;
        let outcome = self.advance(input, limits, items);
        if let Err(fault) = outcome {
            *self = Decoder { state: State::Failed(fault), ..Decoder::default() };
        }
        outcome
    }

    /// Whether nothing partial is held, neither a header nor a payload nor a fragment.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        matches!(self.state, State::Header(Held { len: 0, .. })) && self.message.is_none()
    }

    /// Whether something has begun and not ended: its time is limited (`Limits::incomplete_message_max`).
    #[must_use]
    pub fn has_partial_message(&self) -> bool {
        !self.is_idle() && !matches!(self.state, State::Closed | State::Failed(_))
    }

    /// Whether what is partial began with the bytes pushed last, its first byte among them. A fragment that follows a
    /// control frame goes on with its message, and is none.
    #[must_use]
    pub fn has_fresh_message(&self) -> bool {
        self.has_partial_message() && self.is_fresh
    }

    fn advance(&mut self, mut input: &mut [u8], limits: &Limits, items: &mut Vec<Item>) -> Result<(), Fault> {
        loop {
            match &mut self.state {
                State::Closed => return Ok(()),
                State::Failed(fault) => return Err(*fault),
                State::Header(held) => {
                    if input.is_empty() {
                        return Ok(());
                    }
                    self.is_fresh |= held.len == 0 && self.message.is_none();
                    let before = held.take(input);
                    let Some((header, len)) = Header::parse(held.as_bytes(), self.message.as_ref(), limits)?
                    else {
                        // A header is never longer than what can be held, so all of the input is held now.
                        return Ok(());
                    };
                    input = &mut input[len - before..];
                    self.begin(header);
                }
                State::Payload(frame) => {
                    let len = frame.remaining.min(input.len());
                    let (piece, rest) = input.split_at_mut(len);
                    input = rest;
                    frame.take(piece, self.message.as_mut())?;
                    if frame.remaining > 0 {
                        return Ok(());
                    }
                    if let Some(item) = self.finish()? {
                        items.push(item);
                    }
                }
            }
        }
    }

    /// A frame begins: from its header on it belongs to a message, unless it is a control frame.
    fn begin(&mut self, header: Header) {
        if !header.opcode.is_control() {
            let message = self.message.get_or_insert_with(|| Partial::new(header.opcode));
            message.fragments += 1;
            message.empty_fragments += u32::from(header.is_empty_continuation());
        }
        self.state = State::Payload(Frame {
            opcode: header.opcode,
            fin: header.fin,
            remaining: header.payload_len,
            mask: header.mask,
            control: Vec::new(),
        });
    }

    /// A frame is whole: it is an item, or a fragment of one.
    fn finish(&mut self) -> Result<Option<Item>, Fault> {
        let State::Payload(frame) = std::mem::take(&mut self.state) else { return Ok(None) };
        match frame.opcode {
            Opcode::Ping => Ok(Some(Item::Ping(frame.control))),
            Opcode::Pong => Ok(Some(Item::Pong)),
            Opcode::Close => {
                let close = parse_close(&frame.control)?;
                *self = Decoder { state: State::Closed, ..Decoder::default() };
                Ok(Some(Item::Close(close)))
            }
            Opcode::Continuation | Opcode::Text | Opcode::Binary if frame.fin => {
                self.message.take().map(Partial::finish).transpose()
            }
            Opcode::Continuation | Opcode::Text | Opcode::Binary => Ok(None),
        }
    }
}

#[derive(Debug)]
enum State {
    /// Between frames, or inside a header.
    Header(Held),
    /// Inside a payload.
    Payload(Frame),
    /// After a Close.
    Closed,
    /// After a fault.
    Failed(Fault),
}

impl Default for State {
    fn default() -> State {
        State::Header(Held::default())
    }
}

/// The beginning of a header.
#[derive(Debug, Default)]
struct Held {
    bytes: [u8; HEADER_BYTES_MAX],
    len: u8,
}

impl Held {
    /// Takes what a header could need of `input`, and says how much was held before.
    fn take(&mut self, input: &[u8]) -> usize {
        let before = usize::from(self.len);
        let free = &mut self.bytes[before..];
        let len = free.len().min(input.len());
        free[..len].copy_from_slice(&input[..len]);
        self.len = u8::try_from(before + len).expect("a header has at most 14 bytes");
        before
    }

    fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

/// A frame's header that broke no rule (RFC 6455 section 5.2).
#[derive(Clone, Copy)]
struct Header {
    opcode: Opcode,
    fin: bool,
    payload_len: usize,
    mask: [u8; 4],
}

impl Header {
    /// Judges a header from its first byte on, and says how long it is; nothing yet if it may still become one.
    fn parse(
        bytes: &[u8],
        message: Option<&Partial>,
        limits: &Limits,
    ) -> Result<Option<(Header, usize)>, Fault> {
        let Some(&first) = bytes.first() else { return Ok(None) };
        if first & 0x70 != 0 {
            return Err(Fault::protocol("a reserved bit is set, and no extension was agreed on"));
        }
        let fin = first & 0x80 != 0;
        let opcode = match first & 0x0f {
            0x0 => Opcode::Continuation,
            0x1 => Opcode::Text,
            0x2 => Opcode::Binary,
            0x8 => Opcode::Close,
            0x9 => Opcode::Ping,
            0xA => Opcode::Pong,
            _ => return Err(Fault::protocol("the opcode is reserved")),
        };
        match (opcode, message) {
            _ if opcode.is_control() && !fin => return Err(Fault::protocol("a control frame is fragmented")),
            (Opcode::Continuation, None) => return Err(Fault::protocol("there is no message to continue")),
            (Opcode::Text | Opcode::Binary, Some(_)) => {
                return Err(Fault::protocol("the message before is not finished"));
            }
            _ => {}
        }
        let Some(&second) = bytes.get(1) else { return Ok(None) };
        if second & 0x80 == 0 {
            return Err(Fault::protocol("a client's frame is not masked"));
        }
        let len7 = second & 0x7f;
        if opcode.is_control() && usize::from(len7) > CONTROL_BYTES_MAX {
            return Err(Fault::protocol("a control frame has more than 125 bytes"));
        }
        let (payload_len, rest) = match (len7, &bytes[2..]) {
            (126, [a, b, rest @ ..]) => (u64::from(u16::from_be_bytes([*a, *b])), rest),
            (127, [a, b, c, d, e, f, g, h, rest @ ..]) => {
                (u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]), rest)
            }
            (126 | 127, _) => return Ok(None),
            (len, rest) => (u64::from(len), rest),
        };
        if payload_len >> 63 != 0 {
            return Err(Fault::protocol("the top bit of a length is set"));
        }
        if (len7 == 126 && payload_len < 126) || (len7 == 127 && payload_len <= 0xffff) {
            return Err(Fault::protocol("a length is not written in the fewest bytes"));
        }
        let payload_len = bounded(opcode, payload_len, message, limits)?;
        let &[a, b, c, d, ..] = rest else { return Ok(None) };
        let header = Header { opcode, fin, payload_len, mask: [a, b, c, d] };
        if let Some(message) = message.filter(|_| !opcode.is_control()) {
            header.bound_fragments(message, limits)?;
        }
        Ok(Some((header, bytes.len() - rest.len() + 4)))
    }

    fn bound_fragments(&self, message: &Partial, limits: &Limits) -> Result<(), Fault> {
        if message.fragments >= limits.fragments_max {
            return Err(Fault::too_large("a message has too many fragments"));
        }
        if self.is_empty_continuation() && message.empty_fragments >= limits.empty_fragments_max {
            return Err(Fault::too_large("a message has too many empty fragments"));
        }
        Ok(())
    }

    fn is_empty_continuation(&self) -> bool {
        self.opcode == Opcode::Continuation && self.payload_len == 0
    }
}

/// Refuses a payload as soon as its header declares it, before any byte of it is kept.
fn bounded(opcode: Opcode, len: u64, message: Option<&Partial>, limits: &Limits) -> Result<usize, Fault> {
    let kept = message.filter(|_| !opcode.is_control()).map_or(0, |message| message.bytes.len());
    match usize::try_from(len) {
        Ok(len) if opcode.is_control() || len <= limits.message_bytes_max.saturating_sub(kept) => Ok(len),
        _ => Err(Fault::too_large("the message is larger than allowed")),
    }
}

/// A frame whose payload is arriving.
#[derive(Debug)]
struct Frame {
    opcode: Opcode,
    fin: bool,
    /// Payload bytes that have not arrived.
    remaining: usize,
    /// Turned so that its first byte is for the next byte of the payload.
    mask: [u8; 4],
    /// The payload of a control frame; that of a data frame belongs to its message.
    control: Vec<u8>,
}

impl Frame {
    fn take(&mut self, piece: &mut [u8], message: Option<&mut Partial>) -> Result<(), Fault> {
        unmask(piece, self.mask);
        self.mask.rotate_left(piece.len() % 4);
        self.remaining -= piece.len();
        match message {
            Some(message) if !self.opcode.is_control() => message.take(piece),
            _ => {
                self.control.extend_from_slice(piece);
                Ok(())
            }
        }
    }
}

/// A message of which not everything has arrived.
#[derive(Debug)]
struct Partial {
    /// What is known of its text; nothing for a binary message.
    utf8: Option<Utf8>,
    /// Grows as bytes arrive, never by a declared length.
    bytes: Vec<u8>,
    fragments: u32,
    empty_fragments: u32,
}

impl Partial {
    fn new(opcode: Opcode) -> Partial {
        let utf8 = (opcode == Opcode::Text).then(Utf8::default);
        Partial { utf8, bytes: Vec::new(), fragments: 0, empty_fragments: 0 }
    }

    fn take(&mut self, piece: &[u8]) -> Result<(), Fault> {
        if let Some(utf8) = &mut self.utf8 {
            utf8.push(piece).map_err(|_| Fault::not_utf8("a text message is not UTF-8"))?;
        }
        self.bytes.extend_from_slice(piece);
        Ok(())
    }

    fn finish(self) -> Result<Item, Fault> {
        // Boxing gives back the room that growing took: the bytes may be kept as history for an hour.
        let bytes = Bytes::from(self.bytes.into_boxed_slice());
        match self.utf8 {
            Some(utf8) if !utf8.is_complete() => {
                Err(Fault::not_utf8("a text message ends inside a character"))
            }
            Some(_) => Ok(Item::Text(bytes)),
            None => Ok(Item::Binary(bytes)),
        }
    }
}

/// Reads the payload of a Close (RFC 6455 sections 5.5.1 and 7.4).
fn parse_close(payload: &[u8]) -> Result<Option<(u16, String)>, Fault> {
    let (code, reason) = match payload {
        [] => return Ok(None),
        [_] => return Err(Fault::protocol("a close code has two bytes")),
        [a, b, reason @ ..] => (u16::from_be_bytes([*a, *b]), reason),
    };
    // 1004 to 1006 and 1015 never go over the wire; 1012 to 1014 were registered with IANA after the RFC.
    if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
        return Err(Fault::protocol("the close code is not one that may be sent"));
    }
    match std::str::from_utf8(reason) {
        Ok(reason) => Ok(Some((code, reason.to_owned()))),
        Err(_) => Err(Fault::not_utf8("a close reason is not UTF-8")),
    }
}

/// Takes the mask off (RFC 6455 section 5.3), eight bytes at a time, which the compiler makes into vectors.
fn unmask(payload: &mut [u8], mask: [u8; 4]) {
    let [a, b, c, d] = mask;
    let word = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (words, rest) = payload.as_chunks_mut::<8>();
    for bytes in words {
        *bytes = (u64::from_ne_bytes(*bytes) ^ word).to_ne_bytes();
    }
    // Eight is a multiple of four, so what is left begins with the mask's first byte again.
    for (byte, key) in rest.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= key;
    }
}

#[cfg(test)]
mod tests;
