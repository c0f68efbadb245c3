//! Server-Sent Events, read as browsers read them (WHATWG HTML, "Parsing an event stream").

use std::fmt;

/// What an unfinished event may hold. A page of a poll is as large at most, and an event holds less than a page.
const EVENT_BYTES_MAX: usize = 16 << 20;

/// Events out of bytes, in any pieces.
#[derive(Debug, Default)]
pub(crate) struct Events {
    line: Vec<u8>,
    /// The last byte was a CR, so an LF now belongs to it.
    after_cr: bool,
    kind: String,
    data: String,
    id: String,
    /// The id of the last block that ended.
    pub last_id: String,
    /// What `retry:` advised, in milliseconds.
    pub retry_ms: Option<u64>,
}

/// A dispatched event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    pub kind: String,
    pub data: String,
}

/// An event has grown beyond what any message takes, and has not ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Endless;

impl fmt::Display for Endless {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an event does not end within {} MiB", EVENT_BYTES_MAX >> 20)
    }
}

impl Events {
    /// Reads on.
    ///
    /// # Errors
    /// An event does not end. There is no reading on behind it.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<Vec<Event>, Endless> {
        let mut events = Vec::new();
        for byte in bytes {
            let after_cr = std::mem::replace(&mut self.after_cr, *byte == b'\r');
            match byte {
                b'\n' if after_cr => {}
                b'\r' | b'\n' => {
                    let line = std::mem::take(&mut self.line);
                    events.extend(self.end_of_line(&String::from_utf8_lossy(&line)));
                }
                _ if self.line.len() + self.data.len() >= EVENT_BYTES_MAX => return Err(Endless),
                _ => self.line.push(*byte),
            }
        }
        Ok(events)
    }

    fn end_of_line(&mut self, line: &str) -> Option<Event> {
        if line.is_empty() {
            return self.dispatch();
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.kind),
            "data" => {
                self.data.push_str(value);
                self.data.push('\n');
            }
            "id" if !value.contains('\0') => value.clone_into(&mut self.id),
            "retry" => self.retry_ms = value.parse().ok().or(self.retry_ms),
            _ => {}
        }
        None
    }

    fn dispatch(&mut self) -> Option<Event> {
        self.last_id.clone_from(&self.id);
        let (kind, mut data) = (std::mem::take(&mut self.kind), std::mem::take(&mut self.data));
        if data.is_empty() {
            return None;
        }
        data.pop();
        Some(Event { kind: if kind.is_empty() { "message".into() } else { kind }, data })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_split_of_a_stream_gives_the_same_events() {
        let stream = b": hi\r\nretry: 1500\n\nevent: $ready\ndata: {}\nid: 1.1\n\ndata: a\rdata:  b\r\rid: 1.2\r\n\r\ndata\n\n";
        let event = |kind: &str, data: &str| Event { kind: kind.into(), data: data.into() };
        let expected = [event("$ready", "{}"), event("message", "a\n b"), event("message", "")];
        for cut in 0..stream.len() {
            let mut events = Events::default();
            let mut seen = events.push(&stream[..cut]).unwrap();
            seen.extend(events.push(&stream[cut..]).unwrap());
            assert_eq!(seen, expected, "cut at {cut}");
            assert_eq!((events.last_id.as_str(), events.retry_ms), ("1.2", Some(1_500)));
        }
    }

    #[test]
    fn an_id_counts_only_once_its_block_has_ended() {
        let mut events = Events::default();
        events.push(b"id: 1.1\n\nid: 1.2\ndata: x").unwrap();
        assert_eq!(events.last_id, "1.1");
    }

    #[test]
    fn an_event_that_does_not_end_is_given_up() {
        for endless in [b"data: aaaaaaaaa".as_slice(), b"data: aaaaaaaa\n"] {
            let mut events = Events::default();
            let piece = endless.repeat(1 << 16);
            let pushed = (0..32).find_map(|_| events.push(&piece).err());
            assert_eq!(pushed, Some(Endless));
        }
        let mut events = Events::default();
        let whole = [b"data: ".as_slice(), &b"a".repeat(1 << 20), b"\n\n"].concat();
        assert!((0..18).all(|_| events.push(&whole).is_ok()), "what ends makes room for the next");
    }
}
