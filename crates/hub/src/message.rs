//! Messages: a publisher's bytes once they are in bounds, and once they have a place.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use crate::channel::Channel;
use crate::position::Position;
use crate::trace::TraceParent;

/// The longest event name, in bytes.
pub const EVENT_NAME_BYTES_MAX: usize = 128;

/// What a publisher sent: text that is UTF-8, or bytes. Cloning shares the bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Payload {
    bytes: Bytes,
    binary: bool,
}

impl Payload {
    /// Text, exactly as published.
    ///
    /// # Errors
    /// When the bytes are not UTF-8 (security rule S45).
    pub fn text(bytes: Bytes) -> Result<Payload, NotUtf8> {
        match simdutf8::basic::from_utf8(&bytes) {
            Ok(_) => Ok(Payload { bytes, binary: false }),
            Err(_) => Err(NotUtf8),
        }
    }

    /// Bytes of any kind.
    #[must_use]
    pub fn binary(bytes: Bytes) -> Payload {
        Payload { bytes, binary: true }
    }

    /// The text, or nothing where the payload is binary.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        if self.binary {
            return None;
        }
        // The check costs a few nanoseconds per encoding and saves this crate an unsafe block.
        simdutf8::basic::from_utf8(&self.bytes).ok()
    }

    /// The bytes of either kind.
    #[must_use]
    pub fn as_bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Whether it was published as binary.
    #[must_use]
    pub fn is_binary(&self) -> bool {
        self.binary
    }
}

impl fmt::Debug for Payload {
    // Payloads belong to users and stay out of logs (security rule S49).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.binary { "binary" } else { "text" };
        write!(f, "Payload({kind}, {} bytes)", self.bytes.len())
    }
}

/// The bytes were meant as text and are not UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotUtf8;

/// The name of an event, as `EventSource` dispatches it: 1 to 128 bytes without control, format or bidi characters.
///
/// `open` and `error` would be mistaken for the browser's own events, and `$…` for the server's (security rule S46).
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct EventName(Arc<str>);

impl EventName {
    /// Accepts `name` if browsers can dispatch it without harm (security rule S45).
    ///
    /// # Errors
    /// Names what is wrong with it.
    pub fn parse(name: &str) -> Result<EventName, EventNameError> {
        if name.is_empty() {
            return Err(EventNameError::Empty);
        }
        if name.len() > EVENT_NAME_BYTES_MAX {
            return Err(EventNameError::TooLong { bytes: name.len() });
        }
        if is_reserved_event_name(name) {
            return Err(EventNameError::Reserved);
        }
        match name.chars().find(|char| is_hidden(*char)) {
            Some(char) => Err(EventNameError::Hidden { char }),
            None => Ok(EventName(name.into())),
        }
    }

    /// The name as it was given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for EventName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// Whether a browser or the server itself uses this event name, so that nobody else may.
#[must_use]
pub fn is_reserved_event_name(name: &str) -> bool {
    name == "open" || name == "error" || name.starts_with('$')
}

/// Why a name is not an event name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventNameError {
    /// There is no name.
    Empty,
    /// It is `open`, `error`, or begins with `$`.
    Reserved,
    /// It has more than [`EVENT_NAME_BYTES_MAX`] bytes.
    TooLong {
        /// How many it has.
        bytes: usize,
    },
    /// It holds a control, line-breaking, bidi or format character.
    Hidden {
        /// The first such character.
        char: char,
    },
}

impl fmt::Display for EventNameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EventNameError::Empty => write!(f, "the event name is empty"),
            EventNameError::Reserved => {
                write!(f, "`open`, `error` and names beginning with `$` are not for publishers")
            }
            EventNameError::TooLong { bytes } => {
                write!(f, "the event name has {bytes} bytes; {EVENT_NAME_BYTES_MAX} is the most")
            }
            EventNameError::Hidden { char } => {
                write!(f, "the event name holds U+{:04X}, which is not shown", u32::from(*char))
            }
        }
    }
}

impl std::error::Error for EventNameError {}

/// A message with its place: what every subscriber of its channel sees, in this order.
#[derive(Clone, Debug)]
pub struct Message {
    /// Where it was published.
    pub channel: Channel,
    /// Its place in the partition log, and its id. One that came over the bridge stands right behind this place, whose
    /// message is another.
    pub position: Position,
    /// The seq of the message before it on its channel; where there is none, the floor (delivery rule R20).
    pub prev: u64,
    /// What the publisher called it.
    pub event: Option<EventName>,
    /// What the publisher sent.
    pub payload: Payload,
    /// When it was placed, in milliseconds since 1970.
    pub time_ms: u64,
    /// The trace that its publish was part of.
    pub trace: Option<TraceParent>,
    /// When this node took it, in microseconds on its own steady clock ([`Now::monotonic_us`](crate::broker::Now)); 0 where
    /// it was read from a log that is kept elsewhere. How long its delivery takes is measured from here.
    pub taken_us: u64,
    /// It came over the bridge: no log keeps it, and it has no id (delivery rule R8).
    pub bridged: bool,
}

impl Message {
    /// What names it, for every subscriber; nothing where it came over the bridge.
    #[must_use]
    pub fn id(&self) -> Option<Position> {
        (!self.bridged).then_some(self.position)
    }

    /// The place before it: whoever knows all up to here, and goes on from here, misses none of what a log keeps.
    #[must_use]
    pub fn before(&self) -> Position {
        let seq = if self.bridged { self.position.seq } else { self.position.seq.saturating_sub(1) };
        Position { seq, ..self.position }
    }

    /// What keeping this message costs, in bytes: its payload and about what surrounds it.
    #[must_use]
    pub fn cost_bytes(&self) -> usize {
        let trace = self.trace.as_ref().map_or(0, |_| 64);
        self.payload.as_bytes().len() + size_of::<Message>() + 64 + trace
    }
}

/// Characters that a reader does not see or that break lines: C0, C1, separators, bidi and format characters.
fn is_hidden(char: char) -> bool {
    char.is_control()
        || matches!(char,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s45_an_event_name_hides_nothing() {
        assert_eq!(EventName::parse("trade").unwrap().as_str(), "trade");
        assert_eq!(EventName::parse("prix €").unwrap().as_str(), "prix €");
        for bad in ["a\nb", "a\rb", "a\0", "\u{85}", "\u{2028}", "\u{202e}", "\u{feff}", "\u{7f}"] {
            assert!(matches!(EventName::parse(bad), Err(EventNameError::Hidden { .. })), "{bad:?}");
        }
        assert!(matches!(EventName::parse(&"x".repeat(129)), Err(EventNameError::TooLong { bytes: 129 })));
    }

    #[test]
    fn s46_the_names_of_browser_and_server_are_reserved() {
        for bad in ["open", "error", "$ready", "$"] {
            assert_eq!(EventName::parse(bad), Err(EventNameError::Reserved), "{bad:?}");
        }
    }

    #[test]
    fn s45_text_must_be_utf_8_and_binary_need_not() {
        assert_eq!(Payload::text(Bytes::from_static(b"\xff")), Err(NotUtf8));
        assert_eq!(Payload::text(Bytes::from_static("é".as_bytes())).unwrap().as_text(), Some("é"));
        assert_eq!(Payload::binary(Bytes::from_static(b"\xff")).as_text(), None);
    }

    #[test]
    fn s49_debug_output_shows_no_payload() {
        let payload = Payload::text(Bytes::from_static(b"canary")).unwrap();
        assert!(!format!("{payload:?}").contains("canary"));
    }
}
