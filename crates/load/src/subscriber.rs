//! One subscriber's connection: connect, ask, read.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};

use crate::stream::{Seen, Stream};
use crate::sys::{self, Epoll, Interest};
use crate::websocket;

/// How a subscriber listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// Server-Sent Events over HTTP/1.1.
    Sse,
    /// A raw WebSocket: one frame a message.
    WebSocket,
}

impl Transport {
    /// As users write it.
    pub fn name(self) -> &'static str {
        match self {
            Transport::Sse => "sse",
            Transport::WebSocket => "ws",
        }
    }
}

/// One connection, closed when it is dropped.
pub struct Subscriber {
    socket: TcpStream,
    asked: bool,
    stream: Stream,
}

/// What one turn of a subscriber came to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// Nothing was read.
    Quiet,
    /// Bytes were read.
    Read,
    /// The server ended the stream, or the connection broke. Drop it: a socket at its end wakes every turn.
    Ended,
}

impl Subscriber {
    /// Begins the `index`-th connection.
    pub fn connect(index: usize, target: SocketAddrV4, epoll: &Epoll, token: u64) -> io::Result<Subscriber> {
        let socket = sys::connect_from(Some(source(index).into()), target.into())?;
        epoll.add(&socket, token, Interest::Writable)?;
        Ok(Subscriber { socket, asked: false, stream: Stream::default() })
    }

    /// Sends the request once the connect is through.
    pub fn ask(&mut self, request: &[u8], epoll: &Epoll, token: u64) -> io::Result<()> {
        write_whole(&mut self.socket, request)?;
        epoll.change(&self.socket, token, Interest::Arrivals)?;
        self.asked = true;
        Ok(())
    }

    /// Whether the request was sent.
    pub fn has_asked(&self) -> bool {
        self.asked
    }

    /// Resets the connection.
    pub fn reset(self) -> io::Result<()> {
        sys::reset_on_close(&self.socket)
    }

    /// Reads what there is, one `buffer` at a time, and answers pings. `tell` hears everything else that arrived.
    pub fn read(&mut self, buffer: &mut [u8], tell: &mut impl FnMut(Seen<'_>)) -> Turn {
        loop {
            match self.read_once(buffer, tell) {
                // More arrived than one buffer holds, and nobody will say so again.
                (Turn::Read, count) if count == buffer.len() => {}
                (turn, _) => return turn,
            }
        }
    }

    fn read_once(&mut self, buffer: &mut [u8], tell: &mut impl FnMut(Seen<'_>)) -> (Turn, usize) {
        let count = match self.socket.read(buffer) {
            Ok(0) => return (Turn::Ended, 0),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return (Turn::Quiet, 0),
            Err(_) => return (Turn::Ended, 0),
        };
        let (mut ended, mut pongs) = (false, Vec::new());
        self.stream.feed(&buffer[..count], &mut |seen| match seen {
            Seen::Ping(payload) => pongs.extend_from_slice(&websocket::pong(payload)),
            Seen::Ended => ended = true,
            other => tell(other),
        });
        if !pongs.is_empty() {
            ended |= write_whole(&mut self.socket, &pongs).is_err();
        }
        (if ended { Turn::Ended } else { Turn::Read }, count)
    }
}

/// The request that subscribes to the channel of all runs.
pub fn request(transport: Transport, target: SocketAddrV4) -> Vec<u8> {
    let asks = match transport {
        Transport::Sse => "Accept: text/event-stream\r\n",
        // The key is the example of RFC 6455, section 1.3: any will do, since the answer is not checked.
        Transport::WebSocket => {
            "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        }
    };
    format!("GET /c/bench HTTP/1.1\r\nHost: {target}\r\n{asks}\r\n").into_bytes()
}

/// Writes small requests, for which an empty socket always has room.
pub fn write_whole(socket: &mut TcpStream, bytes: &[u8]) -> io::Result<()> {
    match socket.write(bytes)? {
        count if count == bytes.len() => Ok(()),
        _ => Err(io::ErrorKind::WriteZero.into()),
    }
}

/// Spreads connections over 200 loopback addresses. One has ports for 28 000 at once, but a port that was closed a
/// moment ago is not free yet, and these runs close tens of thousands.
fn source(index: usize) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 0, 2 + (index % 200) as u8)
}
