//! An SSE body: chunk framing taken off, lines joined, events told at their blank line.

use memchr::memchr;

use crate::stream::{Over, PART_BYTES_MAX, Seen};

/// Reads one body.
pub struct Sse {
    /// `None` for a body that the end of the connection delimits.
    chunk: Option<Chunk>,
    lines: Lines,
}

/// Where in the chunked coding the next byte is (RFC 9112, section 7.1).
#[derive(Clone, Copy)]
enum Chunk {
    Size(usize),
    Extension(usize),
    Data(usize),
    AfterData,
}

/// The line that is incomplete and the event whose blank line has not come yet.
#[derive(Default)]
struct Lines {
    line: Vec<u8>,
    data: Vec<u8>,
    has_data: bool,
    id: Vec<u8>,
    control: Control,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Control {
    #[default]
    None,
    Gap,
    Refused,
    Other,
}

/// What a line's buffer may keep for the next event.
const KEPT_MAX: usize = 1 << 10;

impl Sse {
    /// Before the first byte of a body.
    pub fn new(chunked: bool) -> Sse {
        Sse { chunk: chunked.then_some(Chunk::Size(0)), lines: Lines::default() }
    }

    /// Reads on. Over at the last chunk, and where chunks or lines cannot be read.
    pub fn feed(&mut self, mut bytes: &[u8], tell: &mut impl FnMut(Seen<'_>)) -> Result<(), Over> {
        let Some(mut chunk) = self.chunk else { return self.lines.feed(bytes, tell) };
        while let Some(&byte) = bytes.first() {
            let used;
            (chunk, used) = match chunk {
                Chunk::Size(size) => match char::from(byte).to_digit(16) {
                    Some(digit) => {
                        let size = size.checked_mul(16).and_then(|size| size.checked_add(digit as usize));
                        (Chunk::Size(size.ok_or(Over)?), 1)
                    }
                    None if byte == b'\r' || byte == b';' => (Chunk::Extension(size), 1),
                    None => return Err(Over),
                },
                Chunk::Extension(size) => match memchr(b'\n', bytes) {
                    Some(_) if size == 0 => return Err(Over),
                    Some(end) => (Chunk::Data(size), end + 1),
                    None => (Chunk::Extension(size), bytes.len()),
                },
                Chunk::Data(left) => {
                    let take = left.min(bytes.len());
                    self.lines.feed(&bytes[..take], tell)?;
                    (if take == left { Chunk::AfterData } else { Chunk::Data(left - take) }, take)
                }
                Chunk::AfterData if byte == b'\n' => (Chunk::Size(0), 1),
                Chunk::AfterData => (Chunk::AfterData, 1),
            };
            bytes = &bytes[used..];
        }
        self.chunk = Some(chunk);
        Ok(())
    }
}

impl Lines {
    fn feed(&mut self, mut bytes: &[u8], tell: &mut impl FnMut(Seen<'_>)) -> Result<(), Over> {
        while let Some(end) = memchr(b'\n', bytes) {
            let (line, after) = bytes.split_at(end);
            bytes = &after[1..];
            if self.line.is_empty() {
                self.take(line, tell);
            } else {
                let mut joined = std::mem::take(&mut self.line);
                joined.extend_from_slice(line);
                self.take(&joined, tell);
            }
        }
        self.line.extend_from_slice(bytes);
        if self.line.len() > PART_BYTES_MAX { Err(Over) } else { Ok(()) }
    }

    fn take(&mut self, line: &[u8], tell: &mut impl FnMut(Seen<'_>)) {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            match self.control {
                Control::None if self.has_data => tell(Seen::Message(&self.data)),
                Control::Gap => tell(Seen::Gap),
                Control::Refused => tell(Seen::Refused(0, &self.data)),
                Control::None | Control::Other => {}
            }
            // A cursor counts once its block is whole.
            if !self.id.is_empty() {
                tell(Seen::Cursor(&self.id));
                self.id.clear();
            }
            self.data.clear();
            // Thousands of subscribers, each with room for a large message, would be more than the machine has.
            self.data.shrink_to(KEPT_MAX);
            self.has_data = false;
            self.control = Control::None;
        } else if let Some(data) = field(line, b"data:") {
            // Payloads have one line each; more would join into something that the ledger calls corrupt.
            self.data.extend_from_slice(data);
            self.has_data = true;
        } else if let Some(id) = field(line, b"id:") {
            self.id.clear();
            self.id.extend_from_slice(id);
        } else if let Some(event) = line.strip_prefix(b"event: $") {
            self.control = match event {
                b"gap" => Control::Gap,
                b"refused" => Control::Refused,
                _ => Control::Other,
            };
        }
    }
}

/// The value of a line that begins with `name`; one space after the colon is not part of it (WHATWG HTML, section 9.2.6).
fn field<'l>(line: &'l [u8], name: &[u8]) -> Option<&'l [u8]> {
    let value = line.strip_prefix(name)?;
    Some(value.strip_prefix(b" ").unwrap_or(value))
}
