//! One fake connection: two byte queues, two ends, and everything that may befall them.

use std::collections::VecDeque;
use std::io;

use tidewire_engine::kernel::Ready;

/// A fake file descriptor. Never reused, so that using one after closing it is noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fd(usize);

impl Fd {
    pub(crate) fn new(index: usize) -> Fd {
        Fd(index)
    }

    pub(crate) fn index(self) -> usize {
        self.0
    }
}

/// Where the server's end is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Server {
    Queued,
    Open,
    /// Its half has ended; it still reads.
    Finished,
    Closed,
    /// It belongs to somebody else now.
    HandedOff,
}

/// One connection.
#[derive(Debug)]
pub struct Sock {
    /// How the shard calls it.
    pub(crate) token: Option<u64>,
    flight: VecDeque<u8>,
    inward: VecDeque<u8>,
    outward: VecDeque<u8>,
    outward_max: usize,
    server: Server,
    /// The server ended its half before it closed.
    orderly: bool,
    /// The client has ended its stream; the end follows what is in flight.
    client_finished: bool,
    finish_arrived: bool,
    /// The client has reset the connection, or the server's end was closed while bytes waited to be read.
    reset: bool,
    /// A write found no room, so the shard is to be told when there is some.
    starved: bool,
    /// The send buffer pretends to be full until then.
    refuses_until: Option<u64>,
    /// The shard is to be told that something changed.
    change: bool,
}

/// What a client finds at its end.
#[derive(Debug, PartialEq, Eq)]
pub enum Received {
    /// Bytes.
    Bytes(Vec<u8>),
    /// Nothing for now.
    Nothing,
    /// The server ended its stream in an orderly way.
    End,
    /// The server closed without having ended its stream first.
    Cut,
    /// The connection is broken.
    Reset,
}

/// The client's end.
impl Sock {
    /// Sends bytes. What a closed server end is sent is answered by a reset.
    pub fn send(&mut self, bytes: &[u8]) {
        assert!(!self.client_finished, "the simulated client writes after its end");
        if self.server == Server::Closed {
            self.break_up();
        } else {
            self.flight.extend(bytes);
        }
    }

    /// Ends the client's stream.
    pub fn finish(&mut self) {
        self.client_finished = true;
    }

    /// Breaks the connection.
    pub fn reset(&mut self) {
        self.break_up();
        self.change = true;
    }

    /// Takes up to `most` bytes.
    pub fn receive(&mut self, most: usize) -> Received {
        if self.reset {
            return Received::Reset;
        }
        if self.outward.is_empty() {
            return match self.server {
                Server::Finished | Server::Closed if self.orderly => Received::End,
                Server::Closed => Received::Cut,
                _ => Received::Nothing,
            };
        }
        let count = self.outward.len().min(most.max(1));
        let bytes = self.outward.drain(..count).collect();
        self.feed_writer();
        Received::Bytes(bytes)
    }

    /// Bytes that wait to be received.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.outward.len()
    }

    /// Whether the shard holds it.
    #[must_use]
    pub fn is_open(&self) -> bool {
        matches!(self.server, Server::Open | Server::Finished)
    }

    /// Whether the server's end was closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.server == Server::Closed
    }

    /// Whether the server has ended its half.
    #[must_use]
    pub fn has_finished(&self) -> bool {
        self.server == Server::Finished
    }

    fn break_up(&mut self) {
        self.reset = true;
        self.outward.clear();
        self.flight.clear();
    }
}

impl Sock {
    /// In a few words.
    pub(crate) fn describe(&self) -> String {
        let (inward, outward) = (self.inward.len() + self.flight.len(), self.outward.len());
        let (server, finish, reset, starved) = (self.server, self.finish_arrived, self.reset, self.starved);
        format!(
            "{server:?} inward {inward} outward {outward} finish {finish} reset {reset} starved {starved}"
        )
    }
}

/// The network between the ends.
impl Sock {
    /// Moves up to `slice` bytes, then the end of the client's stream, to the server.
    pub(crate) fn arrive(&mut self, slice: usize) {
        let count = self.flight.len().min(slice);
        if count > 0 && self.server == Server::Closed {
            return self.break_up();
        }
        self.inward.extend(self.flight.drain(..count));
        let finishes = self.client_finished && self.flight.is_empty() && !self.finish_arrived;
        self.finish_arrived |= finishes;
        self.change |= count > 0 || finishes;
    }

    /// Tells of room once a third of the buffer is free, as Linux does (`sk_stream_write_space`).
    fn feed_writer(&mut self) {
        if self.starved && self.refuses_until.is_none() && self.outward.len() * 3 <= self.outward_max * 2 {
            self.starved = false;
            self.change = true;
        }
    }

    /// The network gets fast.
    pub(crate) fn widen(&mut self) {
        self.outward_max = 4 << 20;
        self.feed_writer();
    }

    /// When the next edge comes by itself.
    pub(crate) fn edge_at(&self) -> Option<u64> {
        self.refuses_until.filter(|_| self.is_open())
    }

    /// Whether the shard is to be told now. Asking clears it.
    pub(crate) fn take_change(&mut self, now_ms: u64) -> bool {
        if self.refuses_until.is_some_and(|until| until <= now_ms) {
            self.refuses_until = None;
            self.feed_writer();
        }
        std::mem::take(&mut self.change) && self.is_open()
    }
}

/// The server's end.
impl Sock {
    pub(crate) fn new(outward_max: usize) -> Sock {
        Sock {
            token: None,
            flight: VecDeque::new(),
            inward: VecDeque::new(),
            outward: VecDeque::new(),
            outward_max,
            server: Server::Queued,
            orderly: false,
            client_finished: false,
            finish_arrived: false,
            reset: false,
            starved: false,
            refuses_until: None,
            change: false,
        }
    }

    pub(crate) fn accepted(&mut self) {
        assert_eq!(self.server, Server::Queued, "a connection is accepted once");
        self.server = Server::Open;
    }

    /// The socket, which the shard must not have closed or given away.
    pub(crate) fn alive(&mut self) -> &mut Sock {
        assert!(self.is_open(), "a socket is used after it was closed or handed off");
        self
    }

    pub(crate) fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.reset {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        if self.inward.is_empty() {
            return if self.finish_arrived { Ok(0) } else { Err(io::ErrorKind::WouldBlock.into()) };
        }
        let count = self.inward.len().min(into.len());
        for (place, byte) in into.iter_mut().zip(self.inward.drain(..count)) {
            *place = byte;
        }
        Ok(count)
    }

    pub(crate) fn room(&self) -> usize {
        if self.refuses_until.is_some() { 0 } else { self.outward_max.saturating_sub(self.outward.len()) }
    }

    /// The send buffer takes nothing before then.
    pub fn refuse_until(&mut self, until_ms: u64) {
        self.refuses_until = Some(until_ms);
        self.starved = true;
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        assert_ne!(self.server, Server::Finished, "the shard writes after its end");
        if self.reset {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let count = bytes.len().min(self.room());
        self.starved |= count < bytes.len();
        if count == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.outward.extend(&bytes[..count]);
        Ok(count)
    }

    pub(crate) fn finish_server(&mut self) {
        assert_eq!(self.server, Server::Open, "a half is ended once");
        self.server = Server::Finished;
        self.orderly = true;
    }

    /// Closes; the token it had. What the client sent and nobody read makes it a reset, which takes what the client
    /// has not read with it (the reason for delivery rule R29).
    pub(crate) fn close_server(&mut self) -> Option<u64> {
        self.server = Server::Closed;
        if !self.inward.is_empty() {
            self.break_up();
        }
        self.token.take()
    }

    pub(crate) fn hand_off(&mut self) {
        assert!(self.outward.is_empty() || !self.starved, "a hand-off finds nothing half sent (R27)");
        self.server = Server::HandedOff;
        self.token = None;
    }

    /// What holds of it at this moment.
    pub(crate) fn now(&self) -> Option<Ready> {
        let token = self.token.filter(|_| self.is_open())?;
        Some(Ready::Socket {
            token,
            readable: !self.inward.is_empty() || self.finish_arrived || self.reset,
            writable: self.room() > 0 && !self.starved,
            finished: self.finish_arrived,
            broken: self.reset,
        })
    }

    pub(crate) fn crash(&mut self) {
        self.server = Server::Closed;
        self.token = None;
        self.break_up();
    }
}
