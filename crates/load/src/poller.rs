//! A subscriber that polls: a request, its answer, the next request, over one kept-alive connection.

use std::borrow::Cow;
use std::io::{self, Read as _};
use std::net::{SocketAddr, TcpStream};

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::answer::Answer;
use crate::subscriber::{source, write_whole};
use crate::sys::{self, Epoll, Interest};

/// One that polls. Between polls it holds a socket, a cursor and an entity tag.
pub struct Poller {
    socket: Option<TcpStream>,
    stage: Stage,
    /// Where it goes on from; empty before the first answer.
    cursor: String,
    /// The answer that it knows, where its cursor has not moved since.
    etag: String,
    /// The incomplete answer.
    rest: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Connecting,
    Idle,
    Asked,
}

/// What a turn came to.
#[derive(Debug, PartialEq, Eq)]
pub enum Polled {
    /// Nothing yet.
    Incomplete,
    /// The connection stands: ask.
    Connected,
    /// An answer.
    Answered {
        /// Bytes of it.
        bytes: usize,
        /// Whether it was the first.
        first: bool,
        /// Messages in it.
        messages: usize,
        /// Whether something is missing before them.
        gap: bool,
        /// Whether there is more to be had at once.
        more: bool,
    },
    /// The server refuses.
    Refused(u16, Vec<u8>),
    /// The connection ended while nothing was asked, or before the first byte of an answer, as servers do with idle ones: open
    /// another, and ask again.
    Closed {
        /// Whether a question was left open.
        unanswered: bool,
    },
    /// The connection ended in the middle of an answer, or cannot be read.
    Broken,
}

#[derive(Deserialize)]
struct Page<'a> {
    #[serde(borrow)]
    messages: Vec<Message<'a>>,
    #[serde(borrow)]
    cursor: Cow<'a, str>,
    #[serde(default)]
    more: bool,
    gap: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow, default)]
    data: Cow<'a, str>,
}

/// A page has at most 1 MiB of payload, which JSON may write six times as long.
const ANSWER_BYTES_MAX: usize = 16 << 20;

impl Poller {
    /// Begins the `index`-th connection.
    pub fn connect(index: usize, target: SocketAddr, epoll: &Epoll, token: u64) -> io::Result<Poller> {
        let mut poller = Poller {
            socket: None,
            stage: Stage::Connecting,
            cursor: String::new(),
            etag: String::new(),
            rest: Vec::new(),
        };
        poller.reconnect(index, target, epoll, token)?;
        Ok(poller)
    }

    /// Begins another connection, to go on where the last one was.
    pub fn reconnect(
        &mut self,
        index: usize,
        target: SocketAddr,
        epoll: &Epoll,
        token: u64,
    ) -> io::Result<()> {
        let socket = sys::connect_from(source(index, target), target)?;
        epoll.add(&socket, token, Interest::Writable)?;
        (self.socket, self.stage, self.rest) = (Some(socket), Stage::Connecting, Vec::new());
        Ok(())
    }

    /// Whether there is a connection, or one on its way.
    pub fn is_connected(&self) -> bool {
        self.socket.is_some()
    }

    /// Where the next question goes on from.
    pub fn cursor(&self) -> &str {
        &self.cursor
    }

    /// The answer that is known.
    pub fn etag(&self) -> &str {
        &self.etag
    }

    /// Sends a question.
    pub fn ask(&mut self, request: &[u8]) -> io::Result<()> {
        let socket = self.socket.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        self.stage = Stage::Asked;
        write_whole(socket, request)
    }

    /// Takes a turn: something is ready. `tell` hears the data of every message.
    pub fn turn(
        &mut self,
        buffer: &mut [u8],
        epoll: &Epoll,
        token: u64,
        tell: &mut impl FnMut(&[u8]),
    ) -> io::Result<Polled> {
        let Some(socket) = self.socket.as_mut() else { return Ok(Polled::Incomplete) };
        if self.stage == Stage::Connecting {
            if let Some(error) = socket.take_error()? {
                return Err(error);
            }
            epoll.change(socket, token, Interest::Readable)?;
            self.stage = Stage::Idle;
            return Ok(Polled::Connected);
        }
        let count = match socket.read(buffer) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Polled::Incomplete),
            Err(_) => 0,
        };
        if count == 0 {
            self.socket = None;
            let unanswered = self.stage == Stage::Asked;
            return Ok(if self.rest.is_empty() { Polled::Closed { unanswered } } else { Polled::Broken });
        }
        // Most answers come whole, and are read where they are.
        let bytes = &buffer[..count];
        if self.rest.is_empty() {
            return Ok(self.take(bytes, tell));
        }
        let joined = [&std::mem::take(&mut self.rest), bytes].concat();
        Ok(self.take(&joined, tell))
    }

    fn take(&mut self, bytes: &[u8], tell: &mut impl FnMut(&[u8])) -> Polled {
        let answer = match Answer::read(bytes) {
            Ok(Some(answer)) => answer,
            Ok(None) if bytes.len() <= ANSWER_BYTES_MAX => {
                self.rest = bytes.to_vec();
                return Polled::Incomplete;
            }
            Ok(None) | Err(_) => return self.broken(),
        };
        self.stage = Stage::Idle;
        let polled = match answer.status {
            200 => match serde_json::from_slice::<Page<'_>>(answer.body) {
                Ok(page) => self.turn_page(&page, &answer, tell),
                Err(_) => return self.broken(),
            },
            304 => {
                let bytes = answer.head.len();
                Polled::Answered { bytes, first: false, messages: 0, gap: false, more: false }
            }
            status => Polled::Refused(status, answer.body.to_vec()),
        };
        if answer.closes() {
            self.socket = None;
        }
        polled
    }

    fn turn_page(&mut self, page: &Page<'_>, answer: &Answer<'_>, tell: &mut impl FnMut(&[u8])) -> Polled {
        page.messages.iter().for_each(|message| tell(message.data.as_bytes()));
        let first = self.cursor.is_empty();
        // A tag belongs to the question with this cursor. With another one it is another question.
        let is_same = *page.cursor == *self.cursor;
        self.etag.clear();
        if let Some(etag) = answer.field(b"etag").filter(|_| is_same) {
            self.etag.push_str(&String::from_utf8_lossy(etag));
        }
        if !is_same {
            self.cursor.clear();
            self.cursor.push_str(&page.cursor);
        }
        Polled::Answered {
            bytes: answer.head.len() + answer.body.len(),
            first,
            messages: page.messages.len(),
            gap: page.gap.is_some(),
            more: page.more,
        }
    }

    fn broken(&mut self) -> Polled {
        self.socket = None;
        Polled::Broken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn poller() -> Poller {
        Poller {
            socket: None,
            stage: Stage::Asked,
            cursor: String::new(),
            etag: String::new(),
            rest: Vec::new(),
        }
    }

    fn page(cursor: &str, messages: &str) -> Vec<u8> {
        let body =
            format!("{{\"messages\":[{messages}],\"cursor\":\"{cursor}\",\"more\":false,\"gap\":null}}");
        format!("HTTP/1.1 200 OK\r\nETag: \"e\"\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
    }

    /// Reads `bytes` cut in two at every place, and gives what was heard, the same each time.
    fn check(bytes: &[u8]) -> (Vec<String>, Poller) {
        let mut all = Vec::new();
        for cut in 0..bytes.len() {
            let (mut poller, mut heard) = (poller(), Vec::new());
            let mut tell = |data: &[u8]| heard.push(String::from_utf8_lossy(data).into_owned());
            assert_eq!(poller.take(&bytes[..cut], &mut tell), Polled::Incomplete, "cut at {cut}");
            assert!(matches!(poller.take(bytes, &mut tell), Polled::Answered { .. }), "cut at {cut}");
            all.push((heard, poller));
        }
        all.pop().unwrap()
    }

    #[test]
    fn a_page_is_read_at_every_cut_and_moves_the_cursor() {
        let messages = r#"{"channel":"a","id":"g.1","data":"one"},{"channel":"a","id":"g.2","data":"t\"wo"}"#;
        let (heard, poller) = check(&page("g.2", messages));
        assert_eq!(heard, ["one", "t\"wo"]);
        assert_eq!((poller.cursor(), poller.etag()), ("g.2", ""));
    }

    #[test]
    fn the_tag_of_an_answer_is_kept_once_its_question_would_be_asked_again() {
        let mut poller = poller();
        poller.take(&page("g.2", ""), &mut |_| ());
        assert_eq!(poller.etag(), "", "the first question had no cursor");
        poller.take(&page("g.2", ""), &mut |_| ());
        assert_eq!(poller.etag(), "\"e\"");
        let known = poller.take(b"HTTP/1.1 304 Not Modified\r\n\r\n", &mut |_| ());
        assert!(matches!(known, Polled::Answered { messages: 0, first: false, .. }));
        assert_eq!((poller.cursor(), poller.etag()), ("g.2", "\"e\""));
    }

    #[test]
    fn a_refusal_keeps_its_words_and_nonsense_is_broken() {
        let refused = b"HTTP/1.1 429 Too Many Requests\r\nContent-Length: 2\r\n\r\n{}";
        assert_eq!(poller().take(refused, &mut |_| ()), Polled::Refused(429, b"{}".to_vec()));
        let nonsense = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]";
        assert_eq!(poller().take(nonsense, &mut |_| ()), Polled::Broken);
    }
}
