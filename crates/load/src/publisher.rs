//! One keep-alive connection that publishes: a POST, its answer, the next POST.

use std::io::{self, Read};
use std::net::{SocketAddrV4, TcpStream};

use memchr::memmem;

use crate::payload::{PAYLOAD_BYTES, Payload};
use crate::subscriber::write_whole;
use crate::sys::{Epoll, Interest};

/// A publisher. At most one message of it is unanswered, so its messages have an order.
pub struct Publisher {
    socket: TcpStream,
    /// The head of every POST; the payload goes behind it.
    head: Vec<u8>,
    answer: Vec<u8>,
}

/// What the server said to a publish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Not all of it is here yet.
    Incomplete,
    /// 200.
    Published,
    /// Any other status.
    Refused,
}

impl Publisher {
    /// Connects at once: the server is known to be ready.
    pub fn connect(target: SocketAddrV4, epoll: &Epoll, token: u64) -> io::Result<Publisher> {
        let socket = TcpStream::connect(target)?;
        socket.set_nodelay(true)?;
        socket.set_nonblocking(true)?;
        epoll.add(&socket, token, Interest::Readable)?;
        let head = head("bench", target);
        Ok(Publisher { socket, head, answer: Vec::new() })
    }

    /// Sends one message. The caller waits for its answer before the next.
    pub fn publish(&mut self, payload: Payload) -> io::Result<()> {
        write_whole(&mut self.socket, &[&self.head, &payload.encode()[..]].concat())
    }

    /// The same, on a channel that is given.
    pub fn publish_on(&mut self, channel: &str, target: SocketAddrV4, payload: Payload) -> io::Result<()> {
        let mut request = head(channel, target);
        request.extend_from_slice(&payload.encode());
        write_whole(&mut self.socket, &request)
    }

    /// Reads the answer to the last message.
    pub fn read(&mut self, buffer: &mut [u8]) -> io::Result<Answer> {
        match self.socket.read(buffer) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => self.answer.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Answer::Incomplete),
            Err(error) => return Err(error),
        }
        let answer = judge(&self.answer)?;
        if answer != Answer::Incomplete {
            self.answer.clear();
        }
        Ok(answer)
    }
}

fn head(channel: &str, target: SocketAddrV4) -> Vec<u8> {
    let head = format!(
        "POST /c/{channel} HTTP/1.1\r\nHost: {target}\r\nContent-Type: text/plain\r\n\
         Content-Length: {PAYLOAD_BYTES}\r\n\r\n"
    );
    head.into_bytes()
}

/// Judges an answer once its head and its `Content-Length` are complete.
fn judge(answer: &[u8]) -> io::Result<Answer> {
    let Some(end) = memmem::find(answer, b"\r\n\r\n") else { return Ok(Answer::Incomplete) };
    let (head, body) = answer.split_at(end + 4);
    let head = head.to_ascii_lowercase();
    let field = b"\r\ncontent-length: ";
    let length = memmem::find(&head, field).and_then(|at| {
        let mut digits = head[at + field.len()..].iter().take_while(|byte| byte.is_ascii_digit());
        digits.try_fold(0_usize, |sum, byte| sum.checked_mul(10)?.checked_add(usize::from(byte - b'0')))
    });
    let Some(length) = length else {
        return Err(io::Error::other("the answer to a publish has no Content-Length, which the bench needs"));
    };
    Ok(match (body.len() < length, head.get(9..12)) {
        (true, _) => Answer::Incomplete,
        (false, Some(b"200")) => Answer::Published,
        (false, _) => Answer::Refused,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_counts_once_its_body_is_complete() {
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";
        assert_eq!(judge(&answer[..answer.len() - 1]).unwrap(), Answer::Incomplete);
        assert_eq!(judge(answer).unwrap(), Answer::Published);
    }

    #[test]
    fn any_other_status_is_a_refusal() {
        let answer = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n";
        assert_eq!(judge(answer).unwrap(), Answer::Refused);
    }
}
