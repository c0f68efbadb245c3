//! Speech: what clients send, as bytes.

use std::fmt::Write as _;

use crate::ear::KEY;
use crate::witness::Asked;

/// The head of a request for a subscription.
#[derive(Clone, Debug, Default)]
pub struct Head {
    /// The channels, joined by commas.
    pub channels: String,
    /// Parameters beside the start.
    pub query: Vec<String>,
    /// Header fields beside `Host`.
    pub fields: Vec<String>,
    /// HTTP/1.0 instead of HTTP/1.1.
    pub http10: bool,
}

impl Head {
    /// A request for these channels.
    #[must_use]
    pub fn new(channels: &[String]) -> Head {
        Head { channels: channels.join(","), ..Head::default() }
    }

    /// The same as a stream of events.
    #[must_use]
    pub fn sse(self) -> Head {
        self.field("Accept: text/event-stream")
    }

    /// The same as a WebSocket.
    #[must_use]
    pub fn websocket(self, v1: bool) -> Head {
        let head = self
            .field("Connection: Upgrade")
            .field("Upgrade: websocket")
            .field("Sec-WebSocket-Version: 13")
            .field(&format!("Sec-WebSocket-Key: {KEY}"));
        if v1 { head.field("Sec-WebSocket-Protocol: tidewire.v1") } else { head }
    }

    /// With one more header field.
    #[must_use]
    pub fn field(mut self, field: &str) -> Head {
        self.fields.push(field.to_owned());
        self
    }

    /// With one more parameter.
    #[must_use]
    pub fn query(mut self, parameter: &str) -> Head {
        self.query.push(parameter.to_owned());
        self
    }

    /// Beginning there; a cursor goes into the URL, or into the header where `by_header` says so.
    #[must_use]
    pub fn start(self, asked: &Asked, by_header: bool) -> Head {
        match asked {
            Asked::Live => self,
            Asked::After(cursor) if by_header => self.field(&format!("Last-Event-ID: {cursor}")),
            Asked::After(cursor) => self.query(&format!("cursor={cursor}")),
            Asked::Earliest => self.query("cursor=earliest"),
            Asked::Tail(count) => self.query(&format!("tail={count}")),
        }
    }

    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let mut text = format!("GET /c/{}", self.channels);
        for (index, parameter) in self.query.iter().enumerate() {
            text.push(if index == 0 { '?' } else { '&' });
            text.push_str(parameter);
        }
        let version = if self.http10 { "1.0" } else { "1.1" };
        // Writing into a string cannot fail.
        let _ = write!(text, " HTTP/{version}\r\nHost: localhost\r\n");
        for field in &self.fields {
            let _ = write!(text, "{field}\r\n");
        }
        text.push_str("\r\n");
        text.into_bytes()
    }
}

/// A masked frame, whole (RFC 6455 section 5.2).
#[must_use]
pub fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    fragment(true, opcode, payload)
}

/// A masked frame that may be one of several of its message.
#[must_use]
pub fn fragment(last: bool, opcode: u8, payload: &[u8]) -> Vec<u8> {
    const MASK: [u8; 4] = [0x12, 0x34, 0x56, 0x78];
    let mut bytes = vec![if last { 0x80 | opcode } else { opcode }];
    match payload.len() {
        length @ 0..=125 => bytes.push(0x80 | length as u8),
        length @ 126..=0xffff => {
            bytes.push(0x80 | 126);
            bytes.extend((length as u16).to_be_bytes());
        }
        length => {
            bytes.push(0x80 | 127);
            bytes.extend((length as u64).to_be_bytes());
        }
    }
    bytes.extend(MASK);
    bytes.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

/// A text frame's opcode.
pub const TEXT: u8 = 1;
/// A binary frame's opcode.
pub const BINARY: u8 = 2;
/// A close frame's opcode.
pub const CLOSE: u8 = 8;
/// A ping frame's opcode.
pub const PING: u8 = 9;
/// A pong frame's opcode.
pub const PONG: u8 = 10;
