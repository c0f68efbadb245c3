//! One keep-alive connection that publishes: a POST, its answer, the next POST.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};

use crate::answer::Answer;
use crate::refusal::Refusal;
use crate::sys::{Epoll, Interest};

/// A publisher. At most one message of it is unanswered, so its messages have an order.
pub struct Publisher<S = TcpStream> {
    socket: S,
    /// The incomplete answer.
    rest: Vec<u8>,
}

/// What a publisher writes to and reads from: a socket, or one with encryption on top.
pub trait Socket: Read + Write {
    /// Whether a call returns at once where it would have to wait.
    fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()>;
}

impl Socket for TcpStream {
    fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        TcpStream::set_nonblocking(self, nonblocking)
    }
}

/// What the server said to a publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Not all of it is here yet.
    Incomplete,
    /// A success: 200, or another 2xx of other servers. The next may be sent, unless the connection ends here.
    Published {
        /// Bytes of the answer.
        bytes: usize,
        /// Whether the connection ends here.
        closes: bool,
    },
    /// Any other status.
    Refused {
        /// Bytes of the answer.
        bytes: usize,
        /// Whether the connection ends here.
        closes: bool,
        /// What the server says.
        refusal: Refusal,
    },
    /// The connection is at its end, and nobody knows what became of a message that was unanswered.
    Ended,
}

impl Publisher {
    /// Connects at once, and waits for it.
    pub fn connect(target: SocketAddr, epoll: &Epoll, token: u64) -> io::Result<Publisher> {
        let socket = TcpStream::connect(target)?;
        socket.set_nodelay(true)?;
        socket.set_nonblocking(true)?;
        epoll.add(&socket, token, Interest::Readable)?;
        Ok(Publisher::over(socket))
    }

    /// No longer wakes a turn.
    pub fn leave(&self, epoll: &Epoll) -> io::Result<()> {
        epoll.remove(&self.socket)
    }
}

impl<S: Socket> Publisher<S> {
    /// Over a socket that is connected, does not block, and wakes the turns of its publisher.
    pub fn over(socket: S) -> Publisher<S> {
        Publisher { socket, rest: Vec::new() }
    }

    /// Sends one message: the head of its request and the payload. The caller waits for its answer before the next.
    pub fn publish(&mut self, head: &[u8], payload: &[u8]) -> io::Result<()> {
        let request = [head, payload].concat();
        match self.socket.write(&request)? {
            sent if sent == request.len() => Ok(()),
            sent => self.write_rest(&request[sent..]),
        }
    }

    /// Reads the answer to the last message.
    pub fn read(&mut self, buffer: &mut [u8]) -> io::Result<Verdict> {
        match self.socket.read(buffer) {
            Ok(0) => return Ok(Verdict::Ended),
            Ok(count) => self.rest.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Verdict::Incomplete),
            Err(_) => return Ok(Verdict::Ended),
        }
        let verdict = judge(&self.rest)?;
        if verdict != Verdict::Incomplete {
            self.rest.clear();
        }
        Ok(verdict)
    }

    /// A payload larger than the socket's buffer: the server takes it before it answers, so waiting for it is short.
    fn write_rest(&mut self, rest: &[u8]) -> io::Result<()> {
        self.socket.set_nonblocking(false)?;
        self.socket.write_all(rest)?;
        self.socket.set_nonblocking(true)
    }
}

fn judge(bytes: &[u8]) -> io::Result<Verdict> {
    let answer = Answer::read(bytes).map_err(|_| {
        io::Error::other("the answer to a publish has no Content-Length, which the generator needs")
    })?;
    let Some(answer) = answer else { return Ok(Verdict::Incomplete) };
    let (bytes, closes) = (answer.head.len() + answer.body.len(), answer.closes());
    Ok(match answer.status {
        200..=299 => Verdict::Published { bytes, closes },
        status => Verdict::Refused { bytes, closes, refusal: Refusal::of(status, answer.body) },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_counts_once_its_body_is_complete() {
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";
        assert_eq!(judge(&answer[..answer.len() - 1]).unwrap(), Verdict::Incomplete);
        assert_eq!(judge(answer).unwrap(), Verdict::Published { bytes: answer.len(), closes: false });
    }

    #[test]
    fn any_other_status_is_a_refusal() {
        let answer = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
        let refusal = Refusal { status: 503, ..Refusal::default() };
        assert_eq!(judge(answer).unwrap(), Verdict::Refused { bytes: answer.len(), closes: true, refusal });
    }
}
