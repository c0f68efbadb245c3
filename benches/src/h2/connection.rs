//! One connection and its streams: bytes in, what each stream saw, bytes out. No socket and no clock.

use std::fmt;

use tidewire_load::sse::Sse;
use tidewire_load::stream::Seen;

use crate::h2::frames::{
    ACK, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, Head, PADDED, PAYLOAD_BYTES_MAX, PING, PRIORITY,
    RST_STREAM, SETTINGS, status, write, write_update,
};

/// A client's connection. Streams are told apart by their place, beginning with 0.
pub struct Connection {
    streams: Vec<Stream>,
    /// The incomplete frame.
    rest: Vec<u8>,
    out: Vec<u8>,
    /// Bytes of DATA since the last update of the connection's window.
    unreturned: u32,
    /// How many streams the server allows at once, once it has said so.
    streams_max: Option<u32>,
}

struct Stream {
    stage: Stage,
    /// Bytes of DATA since the last update of its window.
    unreturned: u32,
}

enum Stage {
    Asked,
    Body(Sse),
    /// With this status; its words follow.
    Refused(u16, Vec<u8>),
    Ended,
}

/// The connection cannot go on, in words.
#[derive(Debug, PartialEq, Eq)]
pub struct Broken(String);

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// What browsers grant: 6 MiB a stream, 15 MiB the connection.
const STREAM_WINDOW: u32 = 6 << 20;
const CONNECTION_WINDOW: u32 = 15 << 20;
/// What everybody begins with (RFC 9113, section 6.9.2).
const FIRST_WINDOW: u32 = (1 << 16) - 1;
/// Where a server does not say: as many as there are numbers.
const STREAMS_MAX: u32 = 1 << 30;
/// What is kept of the words of a refusal.
const REFUSAL_BYTES_MAX: usize = 4 << 10;

const ENABLE_PUSH: u16 = 2;
const MAX_CONCURRENT_STREAMS: u16 = 3;
const INITIAL_WINDOW_SIZE: u16 = 4;

impl Connection {
    /// With its preface to be sent.
    pub fn new() -> Connection {
        let mut out = PREFACE.to_vec();
        let mut settings = Vec::new();
        for (name, value) in [(ENABLE_PUSH, 0), (INITIAL_WINDOW_SIZE, STREAM_WINDOW)] {
            settings.extend_from_slice(&name.to_be_bytes());
            settings.extend_from_slice(&value.to_be_bytes());
        }
        write(&mut out, SETTINGS, 0, 0, &settings);
        write_update(&mut out, 0, CONNECTION_WINDOW - FIRST_WINDOW);
        Connection { streams: Vec::new(), rest: Vec::new(), out, unreturned: 0, streams_max: None }
    }

    /// How many streams the server allows at once: nothing before it has said what it wants.
    pub fn streams_max(&self) -> Option<u32> {
        self.streams_max
    }

    /// Opens the next stream with this header block.
    pub fn ask(&mut self, block: &[u8]) {
        let id = id(self.streams.len());
        write(&mut self.out, HEADERS, END_HEADERS | END_STREAM, id, block);
        self.streams.push(Stream { stage: Stage::Asked, unreturned: 0 });
    }

    /// Streams that have not ended.
    pub fn live(&self) -> usize {
        self.streams.iter().filter(|stream| !matches!(stream.stage, Stage::Ended)).count()
    }

    /// What is to be sent, to be emptied by whoever sends it.
    pub fn out(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }

    /// Reads on. `tell` hears everything that is complete, with the place of its stream.
    pub fn feed(&mut self, bytes: &[u8], tell: &mut impl FnMut(usize, Seen<'_>)) -> Result<(), Broken> {
        let joined;
        let mut bytes = bytes;
        if !self.rest.is_empty() {
            joined = [&std::mem::take(&mut self.rest), bytes].concat();
            bytes = &joined;
        }
        while let Some((head, after)) = Head::read(bytes) {
            if head.length > PAYLOAD_BYTES_MAX {
                return broken(format!("a frame of {} bytes, which nobody allowed", head.length));
            }
            let Some((payload, after)) = after.split_at_checked(head.length) else { break };
            self.take(head, payload, tell)?;
            bytes = after;
        }
        self.rest.extend_from_slice(bytes);
        Ok(())
    }

    fn take(
        &mut self,
        head: Head,
        payload: &[u8],
        tell: &mut impl FnMut(usize, Seen<'_>),
    ) -> Result<(), Broken> {
        match head.kind {
            DATA => return self.take_data(head, payload, tell),
            HEADERS => {
                let block = unpad(head, payload)?;
                let index = self.place(head)?;
                self.take_headers(index, block, head.has(END_STREAM), tell);
            }
            RST_STREAM => {
                let index = self.place(head)?;
                self.end(index, tell);
            }
            SETTINGS if !head.has(ACK) => {
                self.streams_max.get_or_insert(STREAMS_MAX);
                for setting in payload.chunks_exact(6) {
                    let (name, value) = setting.split_at(2);
                    if name == MAX_CONCURRENT_STREAMS.to_be_bytes() {
                        self.streams_max = number(value);
                    }
                }
                write(&mut self.out, SETTINGS, ACK, 0, &[]);
            }
            PING if !head.has(ACK) => write(&mut self.out, PING, ACK, 0, payload),
            GOAWAY => match payload.get(4..8).and_then(number) {
                // A server that drains lets its streams end.
                Some(0) => {}
                Some(code) => {
                    let words = String::from_utf8_lossy(&payload[8..]);
                    return broken(format!("GOAWAY with error code {code} {words}"));
                }
                None => return broken("a GOAWAY without a code".to_owned()),
            },
            // Only requests have windows to wait for, and ours have no bodies. Header blocks are read as far as their first
            // frame goes.
            _ => {}
        }
        Ok(())
    }

    fn take_headers(
        &mut self,
        index: usize,
        block: &[u8],
        ends: bool,
        tell: &mut impl FnMut(usize, Seen<'_>),
    ) {
        let stream = &mut self.streams[index];
        if matches!(stream.stage, Stage::Asked) {
            stream.stage = match status(block) {
                200 => Stage::Body(Sse::new(false)),
                status => Stage::Refused(status, Vec::new()),
            };
            if matches!(stream.stage, Stage::Body(_)) {
                tell(index, Seen::Accepted);
            }
        }
        if ends {
            self.end(index, tell);
        }
    }

    fn take_data(
        &mut self,
        head: Head,
        payload: &[u8],
        tell: &mut impl FnMut(usize, Seen<'_>),
    ) -> Result<(), Broken> {
        let index = self.place(head)?;
        let bytes = unpad(head, payload)?;
        let length = payload.len() as u32;
        self.unreturned += length;
        // Half a window at a time, as browsers do: a frame for each would be a flood.
        if self.unreturned >= CONNECTION_WINDOW / 2 {
            write_update(&mut self.out, 0, std::mem::take(&mut self.unreturned));
        }
        let stream = &mut self.streams[index];
        stream.unreturned += length;
        if stream.unreturned >= STREAM_WINDOW / 2 && !head.has(END_STREAM) {
            write_update(&mut self.out, head.stream, std::mem::take(&mut stream.unreturned));
        }
        let mut over = head.has(END_STREAM);
        match &mut stream.stage {
            Stage::Body(sse) => over |= sse.feed(bytes, &mut |seen| tell(index, seen)).is_err(),
            Stage::Refused(_, words) if words.len() < REFUSAL_BYTES_MAX => words.extend_from_slice(bytes),
            Stage::Refused(..) | Stage::Ended => {}
            Stage::Asked => return broken("DATA before HEADERS".to_owned()),
        }
        if over {
            self.end(index, tell);
        }
        Ok(())
    }

    fn end(&mut self, index: usize, tell: &mut impl FnMut(usize, Seen<'_>)) {
        match std::mem::replace(&mut self.streams[index].stage, Stage::Ended) {
            Stage::Ended => return,
            Stage::Refused(status, words) => tell(index, Seen::Refused(status, &words)),
            Stage::Asked | Stage::Body(_) => {}
        }
        tell(index, Seen::Ended);
    }

    fn place(&self, head: Head) -> Result<usize, Broken> {
        let index = (head.stream / 2) as usize;
        if head.stream % 2 == 1 && index < self.streams.len() {
            Ok(index)
        } else {
            broken(format!("a frame on stream {}, which nobody opened", head.stream))
        }
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Broken {}

/// The number of the stream at a place: clients have the odd ones.
fn id(index: usize) -> u32 {
    2 * index as u32 + 1
}

fn number(bytes: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.try_into().ok()?))
}

/// What is left of a payload without its padding and its priority.
fn unpad(head: Head, payload: &[u8]) -> Result<&[u8], Broken> {
    let strip = || {
        let (mut payload, mut padding) = (payload, 0);
        if head.has(PADDED) {
            let (first, after) = payload.split_first()?;
            (payload, padding) = (after, usize::from(*first));
        }
        if head.kind == HEADERS && head.has(PRIORITY) {
            payload = payload.get(5..)?;
        }
        payload.get(..payload.len().checked_sub(padding)?)
    };
    strip().ok_or_else(|| Broken("a frame with more padding than payload".to_owned()))
}

fn broken<T>(words: String) -> Result<T, Broken> {
    Err(Broken(words))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::h2::frames::{CONTINUATION, WINDOW_UPDATE};

    fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        write(&mut out, kind, flags, stream, payload);
        out
    }

    /// A connection with two streams asked for, and nothing left to send.
    fn connection() -> Connection {
        let mut connection = Connection::new();
        connection.ask(b"one");
        connection.ask(b"two");
        connection.out().clear();
        connection
    }

    /// Feeds the frames whole, and cut in two at every place, and expects the same each time.
    fn check(frames: &[Vec<u8>], expected: &[&str]) -> Connection {
        let bytes = frames.concat();
        let mut last = None;
        for cut in 0..bytes.len() {
            let (mut connection, mut seen) = (connection(), Vec::new());
            let mut tell = |index: usize, what: Seen<'_>| {
                seen.push(match what {
                    Seen::Message(data) => format!("{index} message {}", String::from_utf8_lossy(data)),
                    Seen::Refused(status, words) => {
                        format!("{index} refused {status} {}", String::from_utf8_lossy(words))
                    }
                    other => format!("{index} {other:?}").to_lowercase(),
                });
            };
            connection.feed(&bytes[..cut], &mut tell).unwrap();
            connection.feed(&bytes[cut..], &mut tell).unwrap();
            assert_eq!(seen, expected, "cut at {cut}");
            last = Some(connection);
        }
        last.unwrap()
    }

    fn check_broken(frames: &[Vec<u8>], words: &str) {
        let error = connection().feed(&frames.concat(), &mut |_, _| ()).unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
    }

    #[test]
    fn streams_of_one_connection_are_told_apart_at_every_cut() {
        let connection = check(
            &[
                frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 100]),
                frame(HEADERS, END_HEADERS, 3, &[0x88, 1]),
                frame(HEADERS, PADDED | PRIORITY, 1, &[1, 0, 0, 0, 0, 9, 0x88, 0]),
                frame(CONTINUATION, END_HEADERS, 1, b"..."),
                frame(DATA, 0, 1, b"data: o"),
                frame(DATA, PADDED, 3, b"\x02data: two\n\n.."),
                frame(DATA, END_STREAM, 1, b"ne\n\n"),
            ],
            &["1 accepted", "0 accepted", "1 message two", "0 message one", "0 ended"],
        );
        assert_eq!((connection.streams_max(), connection.live()), (Some(100), 1));
    }

    #[test]
    fn settings_and_pings_are_acknowledged_once() {
        let mut connection = check(
            &[frame(SETTINGS, 0, 0, &[]), frame(SETTINGS, ACK, 0, &[]), frame(PING, 0, 0, b"8 bytes.")],
            &[],
        );
        let acknowledged = [frame(SETTINGS, ACK, 0, &[]), frame(PING, ACK, 0, b"8 bytes.")].concat();
        assert_eq!(*connection.out(), acknowledged);
    }

    #[test]
    fn windows_are_returned_half_at_a_time_padding_included() {
        let mut connection = connection();
        connection.feed(&frame(HEADERS, END_HEADERS, 1, &[0x88]), &mut |_, _| ()).unwrap();
        let full = frame(DATA, 0, 1, &[b':'; PAYLOAD_BYTES_MAX]);
        let mut updates = Vec::new();
        for _ in 0..CONNECTION_WINDOW / 2 / PAYLOAD_BYTES_MAX as u32 {
            connection.feed(&[&full[..], b""].concat(), &mut |_, _| ()).unwrap();
            // A comment of one line without end would be too long for the reader of lines.
            connection.feed(&frame(DATA, 0, 1, b"\n"), &mut |_, _| ()).unwrap();
            updates.extend(std::mem::take(connection.out()).chunks(13).map(|update| update[5..].to_vec()));
        }
        let update = |stream: u32| [stream, STREAM_WINDOW / 2].map(u32::to_be_bytes).concat();
        let streams: Vec<u8> = updates.iter().map(|update| update[3]).collect();
        assert_eq!(streams, [1, 1, 0], "two halves of a stream's window and one of the connection's");
        assert!(updates[0][4..] >= update(1)[4..], "at least the half");
        assert_eq!(frame(WINDOW_UPDATE, 0, 1, &[0; 4]).len(), 13);
    }

    #[test]
    fn a_refusal_is_told_with_its_words_and_a_reset_ends_a_stream() {
        let connection = check(
            &[
                frame(HEADERS, END_HEADERS, 1, &[0x8d]),
                frame(DATA, END_STREAM, 1, b"{}"),
                frame(RST_STREAM, 0, 3, &[0, 0, 0, 8]),
                frame(GOAWAY, 0, 0, &[0; 8]),
            ],
            &["0 refused 404 {}", "0 ended", "1 ended"],
        );
        assert_eq!(connection.live(), 0);
    }

    #[test]
    fn what_no_server_may_send_ends_the_connection_with_words() {
        check_broken(&[frame(DATA, 0, 5, b"x")], "stream 5");
        check_broken(&[frame(HEADERS, 0, 2, b"x")], "stream 2");
        check_broken(&[frame(DATA, 0, 1, b"x")], "before HEADERS");
        check_broken(&[frame(DATA, PADDED, 1, b"\x05x")], "padding");
        check_broken(&[frame(GOAWAY, 0, 0, b"\0\0\0\0\0\0\0\x0bcalm")], "code 11 calm");
        check_broken(&[frame(DATA, 0, 1, &[0; PAYLOAD_BYTES_MAX + 1])], "16385");
    }
}
