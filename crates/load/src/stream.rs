//! What a subscriber's bytes say: the head of an answer, then SSE or WebSocket frames, cut anywhere.
//!
//! Enough of both formats to hold a server to its word, and no more. The bytes come from a server under test: what
//! cannot be read ends the stream and never panics.

use memchr::memmem;

use crate::answer::{self, Answer};
use crate::sse::Sse;
use crate::websocket;

/// What was found in the bytes, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen<'a> {
    /// The head of the answer, whole; what follows is the stream.
    Accepted,
    /// The data of one message.
    Message(&'a [u8]),
    /// A WebSocket ping, to be answered with the same bytes.
    Ping(&'a [u8]),
    /// Where this stream begins, or where it is after the message just told: what the client comes back with. SSE alone.
    Cursor(&'a [u8]),
    /// The server says that something may be missing. In these runs that is a loss.
    Gap,
    /// The server refuses, with this status and this body; 0 where it says so inside a stream. The end follows.
    Refused(u16, &'a [u8]),
    /// The stream has ended, or cannot be read any further. Nothing comes after it.
    Ended,
}

/// Reads one answer and its stream. Holds only what is incomplete, so a thousand idle ones cost little.
#[derive(Default)]
pub struct Stream {
    stage: Stage,
    /// The incomplete head or WebSocket frame.
    rest: Vec<u8>,
}

#[derive(Default)]
enum Stage {
    #[default]
    Head,
    Sse(Sse),
    WebSocket,
    Ended,
}

/// The stream cannot go on: it said so, or it cannot be read.
#[derive(Debug)]
pub struct Over;

/// Longer heads, lines and frames than this are the server's fault.
pub const PART_BYTES_MAX: usize = 1 << 20;

impl Stream {
    /// Reads on. `tell` hears everything that is complete.
    pub fn feed(&mut self, bytes: &[u8], tell: &mut impl FnMut(Seen<'_>)) {
        let joined;
        let mut bytes = bytes;
        if !self.rest.is_empty() {
            joined = [&std::mem::take(&mut self.rest), bytes].concat();
            bytes = &joined;
        }
        match self.advance(bytes, tell) {
            Ok(rest) if rest.len() <= PART_BYTES_MAX => self.rest.extend_from_slice(rest),
            Ok(_) | Err(Over) => {
                self.stage = Stage::Ended;
                tell(Seen::Ended);
            }
        }
    }

    /// Consumes what is complete and returns the bytes that are not.
    fn advance<'b>(
        &mut self,
        mut bytes: &'b [u8],
        tell: &mut impl FnMut(Seen<'_>),
    ) -> Result<&'b [u8], Over> {
        if matches!(self.stage, Stage::Head) {
            let Some(end) = memmem::find(bytes, b"\r\n\r\n") else { return Ok(bytes) };
            let (head, body) = bytes.split_at(end + 4);
            let Some(stage) = begin(head) else { return refuse(bytes, tell) };
            self.stage = stage;
            tell(Seen::Accepted);
            bytes = body;
        }
        match &mut self.stage {
            Stage::Sse(sse) => sse.feed(bytes, tell).map(|()| &[][..]),
            Stage::WebSocket => websocket::feed(bytes, tell),
            Stage::Head | Stage::Ended => Ok(&[]),
        }
    }
}

/// Tells a refusal once its words are here. One without a length is told without words.
fn refuse<'b>(bytes: &'b [u8], tell: &mut impl FnMut(Seen<'_>)) -> Result<&'b [u8], Over> {
    match Answer::read(bytes) {
        Ok(None) => return Ok(bytes),
        Ok(Some(answer)) => tell(Seen::Refused(answer.status, answer.body)),
        Err(_) => tell(Seen::Refused(answer::status(bytes).unwrap_or(0), b"")),
    }
    Err(Over)
}

/// What kind of stream a head begins, if it accepts at all.
fn begin(head: &[u8]) -> Option<Stage> {
    let head = head.to_ascii_lowercase();
    let has = |field: &[u8]| memmem::find(&head, field).is_some();
    match head.get(9..12)? {
        b"101" => Some(Stage::WebSocket),
        b"200" if has(b"\r\ncontent-type: text/event-stream") => {
            Some(Stage::Sse(Sse::new(has(b"\r\ntransfer-encoding: chunked"))))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds the bytes whole, and cut in two at every place, and expects the same each time.
    fn check(bytes: &[u8], expected: &[&str]) {
        for cut in 0..bytes.len() {
            let (mut stream, mut seen) = (Stream::default(), Vec::new());
            let mut tell = |what: Seen<'_>| {
                seen.push(match what {
                    Seen::Accepted => "accepted".to_owned(),
                    Seen::Message(data) => format!("message {}", String::from_utf8_lossy(data)),
                    Seen::Ping(data) => format!("ping {}", String::from_utf8_lossy(data)),
                    Seen::Cursor(id) => format!("cursor {}", String::from_utf8_lossy(id)),
                    Seen::Gap => "gap".to_owned(),
                    Seen::Refused(status, body) => {
                        format!("refused {status} {}", String::from_utf8_lossy(body))
                    }
                    Seen::Ended => "ended".to_owned(),
                });
            };
            stream.feed(&bytes[..cut], &mut tell);
            stream.feed(&bytes[cut..], &mut tell);
            assert_eq!(seen, expected, "cut at {cut}");
        }
    }

    #[test]
    fn an_sse_stream_delimited_by_its_end_is_read_at_every_cut() {
        check(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\nretry: 2000\n\ndata: one\n\ndata: two\n\n",
            &["accepted", "message one", "message two"],
        );
    }

    #[test]
    fn a_chunked_sse_stream_is_read_at_every_cut_even_inside_a_line() {
        check(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n\
              12\r\nid: a.1\r\ndata: one\r\na;x=y\r\n\r\n\r\ndata: \r\n5\r\ntwo\n\n\r\n0\r\n\r\n",
            &["accepted", "message one", "cursor a.1", "message two", "ended"],
        );
    }

    #[test]
    fn the_space_after_a_colon_is_optional() {
        check(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata:one\nid:a.1\n\n",
            &["accepted", "message one", "cursor a.1"],
        );
    }

    #[test]
    fn control_events_are_no_messages_and_a_gap_is_told() {
        check(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n\
              event: $ready\ndata: {}\n\nevent: $gap\ndata: {}\n\nid: a.9\n\nevent: tick\ndata: one\n\n",
            &["accepted", "gap", "cursor a.9", "message one"],
        );
    }

    #[test]
    fn an_event_without_its_blank_line_is_not_delivered() {
        check(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: one\n", &["accepted"]);
    }

    #[test]
    fn websocket_frames_are_read_at_every_cut() {
        let mut bytes =
            b"HTTP/1.1 101 Switching Protocols\r\n\r\n\x81\x03one\x89\x02hi\x82\x7e\x00\x80".to_vec();
        bytes.extend_from_slice(&[b'x'; 128]);
        bytes.extend_from_slice(b"\x88\x02\x03\xe8");
        let long = format!("message {}", "x".repeat(128));
        check(&bytes, &["accepted", "message one", "ping hi", &long, "ended"]);
    }

    #[test]
    fn a_refusal_is_told_with_its_words() {
        check(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\n{}", &["refused 403 {}", "ended"]);
        check(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\nevent: $refused\ndata: {}\n\n",
            &["accepted", "refused 0 {}"],
        );
    }

    #[test]
    fn a_chunk_size_that_is_none_or_overflows_ends_the_stream() {
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
        check(format!("{head}xyz\r\n").as_bytes(), &["accepted", "ended"]);
        check(format!("{head}fffffffffffffffff\r\n").as_bytes(), &["accepted", "ended"]);
    }

    #[test]
    fn fragments_and_masked_frames_from_a_server_end_the_stream() {
        let head = b"HTTP/1.1 101 Switching Protocols\r\n\r\n".to_vec();
        check(&[&head[..], b"\x01\x01a"].concat(), &["accepted", "ended"]);
        check(&[&head[..], b"\x81\x81a"].concat(), &["accepted", "ended"]);
    }
}
