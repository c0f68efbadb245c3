//! Framing: follows a kept-alive connection from head to body to head.
//!
//! The API server's HTTP library reads later requests of a connection by its own, more lenient rules. Whatever it reads
//! passes through here first, so that every head on a connection obeys the same strictness (security rule S42).
//!
//! ```text
//!          head without body                     last chunk
//!         +-----+        +--------+   chunk size +--------------+
//!         v     |        v        |              v              |
//!       Head ---+---> Body{left} -+   Head ---> ChunkSize <--> ChunkData --> ChunkEnd
//!         |                                      |
//!         +--> Switched (WebSocket)              +--> LastEnd --> Head
//! ```
//!
//! Sketch: a head that lies whole in one read is parsed in place; only one that was cut is kept, up to `head_bytes_max`.

use tidewire_hub::limits::Limits;
use tidewire_hub::reason::Reason;

use crate::http1::{self, Body};
use crate::refusal::Refusal;

/// Follows the requests of one connection.
#[derive(Clone, Debug, Default)]
pub struct Framing {
    state: State,
    /// The beginning of a head that was cut. Empty in every other state.
    head: Vec<u8>,
    /// Heads that came whole.
    heads: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// In a head, or before one.
    #[default]
    Head,
    /// In a body of known length.
    Body { left: u64 },
    /// In a chunk's size line: what its digits have said so far, and how many bytes the line has.
    ChunkSize { size: u64, line_bytes: usize, part: SizePart },
    /// In a chunk's data.
    ChunkData { left: u64 },
    /// In the line end that follows a chunk's data (`last` false) or the last chunk's size line (`last` true).
    LineEnd { last: bool, after_cr: bool },
    /// The connection has become a WebSocket: what follows is not HTTP.
    Switched,
    /// Something was refused; what follows has no meaning.
    Refused,
}

/// Where in a chunk's size line the next byte stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SizePart {
    Digits,
    Extension,
    AfterCr,
}

impl Framing {
    /// Stands before the first head of a connection.
    #[must_use]
    pub fn new() -> Framing {
        Framing::default()
    }

    /// Looks at the bytes that came next, in any pieces.
    ///
    /// # Errors
    /// The first offence, from [`http1::parse_head`] or in the chunks of a body. The connection must then be closed, and
    /// these bytes must not reach another reader. Every later call fails too.
    pub fn push(&mut self, bytes: &[u8], limits: &Limits) -> Result<(), Refusal> {
        let outcome = self.follow(bytes, limits);
        if outcome.is_err() {
            self.state = State::Refused;
            self.head = Vec::new();
        }
        outcome
    }

    /// Whether the last head asked for a WebSocket, so that what follows it is no longer looked at.
    ///
    /// Whoever answers such a head with anything but 101 must end the connection with that answer: otherwise requests
    /// would follow that nobody has looked at.
    #[must_use]
    pub fn is_switched(&self) -> bool {
        self.state == State::Switched
    }

    /// Whether the bytes so far end where a request ends, so that closing here cuts nothing.
    #[must_use]
    pub fn is_between_requests(&self) -> bool {
        self.state == State::Head && self.head.is_empty()
    }

    /// Whether the bytes so far end inside a head, or in the empty line that may stand before one.
    #[must_use]
    pub fn is_in_head(&self) -> bool {
        self.state == State::Head && !self.head.is_empty()
    }

    /// How many heads have come whole since the connection began.
    #[must_use]
    pub fn heads(&self) -> u64 {
        self.heads
    }

    fn follow(&mut self, mut bytes: &[u8], limits: &Limits) -> Result<(), Refusal> {
        while let Some((byte, rest)) = bytes.split_first() {
            bytes = match &mut self.state {
                State::Head => match self.follow_head(bytes, limits)? {
                    Some(rest) => rest,
                    None => return Ok(()),
                },
                State::Body { left } | State::ChunkData { left } => {
                    let taken = usize::try_from(*left).map_or(bytes.len(), |left| left.min(bytes.len()));
                    *left -= taken as u64;
                    if *left == 0 {
                        self.state = match self.state {
                            State::ChunkData { .. } => State::LineEnd { last: false, after_cr: false },
                            _ => State::Head,
                        };
                    }
                    &bytes[taken..]
                }
                State::ChunkSize { size, line_bytes, part } => {
                    self.state = follow_size_line(*size, *line_bytes, *part, *byte)?;
                    rest
                }
                State::LineEnd { last, after_cr } => {
                    self.state = match (*byte, *after_cr, *last) {
                        (b'\r', false, last) => State::LineEnd { last, after_cr: true },
                        (b'\n', true, true) => State::Head,
                        (b'\n', true, false) => CHUNK_SIZE,
                        (_, _, true) => {
                            // Trailer fields could pass for header fields downstream; no client of ours sends any.
                            return Err(Refusal::new(
                                Reason::Unsupported,
                                "trailer fields are not supported",
                            ));
                        }
                        (_, _, false) => return Err(malformed("a chunk is longer than its size")),
                    };
                    rest
                }
                State::Switched => return Ok(()),
                State::Refused => return Err(malformed("the connection was already refused")),
            };
        }
        Ok(())
    }

    /// Takes a head from the front of what is kept and what came; gives what follows it, or nothing while it is cut.
    fn follow_head<'b>(&mut self, bytes: &'b [u8], limits: &Limits) -> Result<Option<&'b [u8]>, Refusal> {
        let kept = self.head.len();
        let whole = if kept == 0 {
            bytes
        } else {
            // A head beyond its limit is refused, so more than that need not be kept.
            let room = limits.head_bytes_max.saturating_sub(kept).min(bytes.len());
            self.head.extend_from_slice(&bytes[..room]);
            &self.head
        };
        let Some(head) = http1::parse_head(whole, limits)? else {
            if kept == 0 {
                self.head.extend_from_slice(bytes);
            }
            return Ok(None);
        };
        self.state = match head.body {
            _ if head.asks_for_websocket() => State::Switched,
            Body::None => State::Head,
            Body::Length(left) => State::Body { left },
            Body::Chunked => CHUNK_SIZE,
        };
        self.heads += 1;
        // What was kept had no whole head in it, so the head ends in the new bytes.
        let rest = &bytes[head.len - kept..];
        self.head = Vec::new();
        Ok(Some(rest))
    }
}

/// One byte of `1*HEXDIG [ ";" extension ] CRLF` (RFC 9112 section 7.1), without white space around the size.
fn follow_size_line(size: u64, line_bytes: usize, part: SizePart, byte: u8) -> Result<State, Refusal> {
    if line_bytes >= SIZE_LINE_BYTES_MAX {
        return Err(malformed("the size line of a chunk is too long"));
    }
    let next = |size, part| Ok(State::ChunkSize { size, line_bytes: line_bytes + 1, part });
    match (part, byte) {
        (SizePart::Digits, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') if line_bytes < SIZE_DIGITS_MAX => {
            let digit = char::from(byte).to_digit(16).map_or(0, u64::from);
            next(size << 4 | digit, SizePart::Digits)
        }
        (SizePart::Digits, b';') if line_bytes > 0 => next(size, SizePart::Extension),
        (SizePart::Digits, b'\r') if line_bytes > 0 => next(size, SizePart::AfterCr),
        (SizePart::Extension, b'\r') => next(size, SizePart::AfterCr),
        (SizePart::Extension, b'\t' | b' '..=b'~') => next(size, SizePart::Extension),
        (SizePart::AfterCr, b'\n') if size == 0 => Ok(State::LineEnd { last: true, after_cr: false }),
        (SizePart::AfterCr, b'\n') => Ok(State::ChunkData { left: size }),
        _ => Err(malformed("the size line of a chunk is not 1 to 16 hexadecimal digits and a line end")),
    }
}

const CHUNK_SIZE: State = State::ChunkSize { size: 0, line_bytes: 0, part: SizePart::Digits };

/// The most digits of a chunk's size: 64 bits. Readers differ in what they make of more, even of zeros.
const SIZE_DIGITS_MAX: usize = 16;

/// The longest size line, its extension included. Extensions mean nothing to us and may be skipped, not piled up.
const SIZE_LINE_BYTES_MAX: usize = 256;

fn malformed(detail: &str) -> Refusal {
    Refusal::new(Reason::MalformedRequest, detail)
}
