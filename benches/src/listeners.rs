//! Those who listen to one server: each over a connection of its own, or many as streams of one connection.

use std::io;
use std::net::SocketAddrV4;

use tidewire_load::plan::{Target, Transport};

use crate::h2::{self, Connection};
use crate::request;
use crate::stream::Seen;
use crate::subscriber::{Subscriber, Turn};
use crate::sys::{Epoll, Interest};
use crate::wire::{Way, Wire};

/// Subscribers of one channel, numbered in the order in which they were begun.
pub struct Listeners {
    target: SocketAddrV4,
    kind: Kind,
}

enum Kind {
    /// HTTP/1.1, and WebSockets.
    Single {
        request: Vec<u8>,
        /// `None` once the server ended one.
        all: Vec<Option<Subscriber>>,
    },
    /// HTTP/2.
    Multiplexed {
        way: Way,
        /// The header block of every stream.
        block: Vec<u8>,
        streams_each: usize,
        /// As above.
        all: Vec<Option<Line>>,
        /// Why the last one broke, or a stream of it was refused.
        broken: Option<String>,
    },
}

/// A connection and its streams.
struct Line {
    wire: Wire,
    connection: Connection,
    stage: Stage,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Connecting,
    /// Until the server has said how many streams it allows.
    Greeting,
    Asked,
}

/// What a turn of one connection came to.
pub struct Heard {
    /// Whether bytes were read.
    pub read: bool,
    /// Subscribers that the server ended.
    pub ended: usize,
}

impl Listeners {
    /// Subscribers with a connection each.
    pub fn single(target: SocketAddrV4, transport: Transport, channel: &str) -> Listeners {
        let request = request::subscribe(&Target::at(target.into()), transport, channel);
        Listeners { target, kind: Kind::Single { request, all: Vec::new() } }
    }

    /// Subscribers that share connections, so many each, over SSE.
    pub fn multiplexed(target: SocketAddrV4, way: Way, streams_each: usize, channel: &str) -> Listeners {
        let block = h2::request(way.scheme(), &target.to_string(), &format!("/c/{channel}"));
        Listeners {
            target,
            kind: Kind::Multiplexed { way, block, streams_each, all: Vec::new(), broken: None },
        }
    }

    /// Subscribers that were begun.
    pub fn begun(&self) -> usize {
        match &self.kind {
            Kind::Single { all, .. } => all.len(),
            Kind::Multiplexed { all, streams_each, .. } => all.len() * streams_each,
        }
    }

    /// Begins the next connection, whose turns have its place as their token.
    pub fn open(&mut self, epoll: &Epoll) -> io::Result<()> {
        match &mut self.kind {
            Kind::Single { all, .. } => {
                let index = all.len();
                all.push(Some(Subscriber::connect(index, self.target.into(), epoll, index as u64)?));
            }
            Kind::Multiplexed { all, way, .. } => {
                let index = all.len();
                let wire = Wire::begin(index, self.target, way, b"h2")?;
                epoll.add(&wire, index as u64, Interest::Writable)?;
                all.push(Some(Line { wire, connection: Connection::new(), stage: Stage::Connecting }));
            }
        }
        Ok(())
    }

    /// Takes the turn of one connection. `tell` is told what each subscriber saw.
    pub fn turn(
        &mut self,
        token: u64,
        epoll: &Epoll,
        buffer: &mut [u8],
        tell: &mut impl FnMut(usize, Seen<'_>),
    ) -> io::Result<Heard> {
        let index = token as usize;
        match &mut self.kind {
            Kind::Single { request, all } => {
                let Some(one) = all.get_mut(index).and_then(Option::as_mut) else {
                    return Ok(Heard::NOTHING);
                };
                if !one.has_asked() {
                    one.ask(request, epoll, token)?;
                    return Ok(Heard::NOTHING);
                }
                let (turn, _) = one.read(buffer, &mut |seen| tell(index, seen));
                if turn == Turn::Ended {
                    all[index] = None;
                }
                Ok(Heard { read: turn == Turn::Read, ended: usize::from(turn == Turn::Ended) })
            }
            Kind::Multiplexed { block, streams_each, all, broken, .. } => {
                let Some(line) = all.get_mut(index).and_then(Option::as_mut) else {
                    return Ok(Heard::NOTHING);
                };
                let first = index * *streams_each;
                let mut ended = 0;
                let mut tell = |stream, seen: Seen<'_>| {
                    ended += usize::from(seen == Seen::Ended);
                    if let Seen::Refused(status, words) = seen {
                        *broken = Some(format!("refused with {status}: {}", String::from_utf8_lossy(words)));
                    }
                    tell(first + stream, seen);
                };
                match line.turn(token, epoll, buffer, block, *streams_each, &mut tell) {
                    Ok(read) => Ok(Heard { read, ended }),
                    Err(error) => {
                        let left = line.left(*streams_each);
                        *broken = Some(error.to_string());
                        all[index] = None;
                        Ok(Heard { read: false, ended: ended + left })
                    }
                }
            }
        }
    }

    /// Why the last of them came to nothing, where that is known.
    pub fn broken(&self) -> Option<&str> {
        match &self.kind {
            Kind::Single { .. } => None,
            Kind::Multiplexed { broken, .. } => broken.as_deref(),
        }
    }

    /// Closes every connection.
    pub fn leave(&mut self) {
        match &mut self.kind {
            Kind::Single { all, .. } => all.clear(),
            Kind::Multiplexed { all, .. } => all.clear(),
        }
    }
}

impl Heard {
    const NOTHING: Heard = Heard { read: false, ended: 0 };
}

impl Line {
    /// True if bytes were read. An error ends the line.
    fn turn(
        &mut self,
        token: u64,
        epoll: &Epoll,
        buffer: &mut [u8],
        block: &[u8],
        streams: usize,
        tell: &mut impl FnMut(usize, Seen<'_>),
    ) -> io::Result<bool> {
        if self.stage == Stage::Connecting {
            self.stage = Stage::Greeting;
            self.send()?;
            epoll.change(&self.wire, token, Interest::Arrivals)?;
            return Ok(false);
        }
        let connection = &mut self.connection;
        let taken =
            self.wire.read_on(buffer, &mut |bytes| connection.feed(bytes, tell).map_err(io::Error::other))?;
        if self.stage == Stage::Greeting && self.begin(block, streams)? {
            self.stage = Stage::Asked;
        }
        self.send()?;
        if taken.ended {
            return Err(io::Error::other("the server closed the connection"));
        }
        Ok(taken.bytes > 0)
    }

    /// Asks for all streams once the server has said that it allows so many.
    fn begin(&mut self, block: &[u8], streams: usize) -> io::Result<bool> {
        match self.connection.streams_max() {
            None => Ok(false),
            Some(most) if (most as usize) < streams => {
                Err(io::Error::other(format!("the server allows {most} streams a connection, not {streams}")))
            }
            Some(_) => {
                (0..streams).for_each(|_| self.connection.ask(block));
                Ok(true)
            }
        }
    }

    fn send(&mut self) -> io::Result<()> {
        let out = self.connection.out();
        if out.is_empty() {
            return Ok(());
        }
        let said = self.wire.say(out);
        out.clear();
        // Thousands of connections, each with room for its first requests, would be more than they need.
        out.shrink_to(64);
        said
    }

    /// Streams that have not ended, those included that were never asked for.
    fn left(&self, streams: usize) -> usize {
        if self.stage == Stage::Asked { self.connection.live() } else { streams }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::io::{Read as _, Write as _};
    use std::net::{SocketAddr, TcpListener, TcpStream};
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::generator::{Faults, Generator};
    use crate::h2::frames::{self, Head};

    /// Sockets, each with its streams.
    type Crowd = Arc<Mutex<BTreeMap<u16, (TcpStream, Vec<u32>)>>>;

    /// A server that knows one channel: over HTTP/2 it is heard, over HTTP/1.1 published to.
    fn serve() -> SocketAddrV4 {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let SocketAddr::V4(address) = listener.local_addr().unwrap() else { panic!("bound to IPv4") };
        let crowd = Crowd::default();
        std::thread::spawn(move || {
            for (number, socket) in (0..).zip(listener.incoming()) {
                let crowd = crowd.clone();
                std::thread::spawn(move || converse(number, socket.unwrap(), &crowd));
            }
        });
        address
    }

    fn converse(number: u16, mut socket: TcpStream, crowd: &Crowd) {
        let (mut bytes, mut buffer) = (Vec::new(), [0; 4_096]);
        loop {
            match socket.read(&mut buffer) {
                Ok(count) if count > 0 => bytes.extend_from_slice(&buffer[..count]),
                _ => return,
            }
            if bytes.starts_with(b"POST") {
                let Some(head) = memchr::memmem::find(&bytes, b"\r\n\r\n") else { continue };
                // A payload comes with its head.
                publish(&bytes[head + 4..], crowd);
                socket.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").unwrap();
                bytes.clear();
                continue;
            }
            if bytes.starts_with(b"PRI") {
                if bytes.len() < 24 {
                    continue;
                }
                bytes.drain(..24);
                let mut greeting = Vec::new();
                frames::write(&mut greeting, frames::SETTINGS, 0, 0, &[]);
                socket.write_all(&greeting).unwrap();
                crowd.lock().unwrap().insert(number, (socket.try_clone().unwrap(), Vec::new()));
            }
            while let Some((head, after)) = Head::read(&bytes) {
                if after.len() < head.length {
                    break;
                }
                if head.kind == frames::HEADERS {
                    let mut answer = Vec::new();
                    frames::write(&mut answer, frames::HEADERS, frames::END_HEADERS, head.stream, &[0x88]);
                    let mut crowd = crowd.lock().unwrap();
                    crowd.get_mut(&number).unwrap().1.push(head.stream);
                    socket.write_all(&answer).unwrap();
                }
                bytes.drain(..frames::HEAD_BYTES + head.length);
            }
        }
    }

    fn publish(payload: &[u8], crowd: &Crowd) {
        for (socket, streams) in crowd.lock().unwrap().values_mut() {
            let mut out = Vec::new();
            let event = [b"data: ", payload, b"\n\n"].concat();
            streams.iter().for_each(|stream| frames::write(&mut out, frames::DATA, 0, *stream, &event));
            let _ = socket.write_all(&out);
        }
    }

    #[test]
    fn streams_that_share_connections_are_held_to_one_ledger_also_as_they_become_more() {
        let mut generator = Generator::multiplexed(serve(), Way::Plain, 5).unwrap();
        generator.subscribe(10, 4).unwrap();
        generator.open_publishers(2).unwrap();
        for subscribers in [10, 30] {
            generator.subscribe(subscribers, 4).unwrap();
            for _ in 0..10 {
                generator.publish(generator.now_ns()).unwrap();
            }
            let limit = generator.now_ns() + 10_000_000_000;
            generator.run_until(limit, |generator| generator.outstanding() == 0).unwrap();
            assert_eq!(generator.tally().faults(), Faults::default());
            assert_eq!(generator.tally().ledger.delivered(), 10 * subscribers as u64);
        }
    }

    #[test]
    fn a_server_that_closes_is_told_of_with_all_of_its_streams() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let SocketAddr::V4(address) = listener.local_addr().unwrap() else { panic!("bound to IPv4") };
        std::thread::spawn(move || listener.accept().unwrap().0.read(&mut [0; 24]).unwrap());
        let error = Generator::multiplexed(address, Way::Plain, 5).unwrap().subscribe(5, 4).unwrap_err();
        let told = error.to_string();
        assert!(told.starts_with("0 of 5") && told.contains("5 were turned away"), "{told}");
    }
}
