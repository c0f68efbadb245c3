//! One subscriber's connection: connect, ask, read.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};

use crate::stream::{Seen, Stream};
use crate::sys::{self, Epoll, Interest};
use crate::websocket;

/// One connection, closed when it is dropped.
pub struct Subscriber {
    socket: TcpStream,
    asked: bool,
    stream: Stream,
}

/// What one turn of a subscriber came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    pub fn connect(index: usize, target: SocketAddr, epoll: &Epoll, token: u64) -> io::Result<Subscriber> {
        let socket = sys::connect_from(source(index, target), target)?;
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

    /// Sends more after the request, for protocols in which subscribers answer.
    pub fn say(&mut self, bytes: &[u8]) -> io::Result<()> {
        write_whole(&mut self.socket, bytes)
    }

    /// Whether the request was sent.
    pub fn has_asked(&self) -> bool {
        self.asked
    }

    /// Resets the connection.
    pub fn reset(self) -> io::Result<()> {
        sys::reset_on_close(&self.socket)
    }

    /// Reads what there is, one `buffer` at a time, and answers pings. `tell` hears everything else that arrived. The count
    /// is of the bytes read.
    pub fn read(&mut self, buffer: &mut [u8], tell: &mut impl FnMut(Seen<'_>)) -> (Turn, usize) {
        let mut bytes = 0;
        loop {
            let (turn, count) = self.read_once(buffer, tell);
            bytes += count;
            // A full buffer means that more arrived than it holds, and nobody will say so again.
            if turn != Turn::Read || count < buffer.len() {
                let read_some = turn == Turn::Quiet && bytes > 0;
                return (if read_some { Turn::Read } else { turn }, bytes);
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

/// Writes small requests, for which an empty socket always has room.
pub fn write_whole(socket: &mut TcpStream, bytes: &[u8]) -> io::Result<()> {
    match socket.write(bytes)? {
        count if count == bytes.len() => Ok(()),
        _ => Err(io::ErrorKind::WriteZero.into()),
    }
}

/// Spreads connections to this machine over 200 loopback addresses. One has ports for 28 000 at once, but a port that was
/// closed a moment ago is not free yet, and these runs close tens of thousands.
pub fn source(index: usize, target: SocketAddr) -> Option<IpAddr> {
    match target.ip() {
        IpAddr::V4(address) if address.is_loopback() => {
            Some(Ipv4Addr::new(127, 0, 0, 2 + (index % 200) as u8).into())
        }
        _ => None,
    }
}
