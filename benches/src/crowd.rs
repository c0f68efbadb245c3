//! A crowd over many channels and several nodes: it publishes at one, listens at others, and comes back when it is cut.
//!
//! Channels are heard in layers. A layer hears every channel once, at one node, over connections that have some channels
//! each; so every channel has as many readers as there are layers, and each has a ledger of its own.

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::net::SocketAddrV4;
use std::time::{Duration, Instant};

use tidewire_load::plan::Target;

use crate::generator::{Faults, PAYLOAD_BYTES};
use crate::latency::Latency;
use crate::ledger::Ledger;
use crate::payload::Payload;
use crate::publisher::{Publisher, Verdict};
use crate::request;
use crate::stream::Seen;
use crate::subscriber::{Subscriber, Turn};
use crate::sys::Epoll;

/// Connections that hear every channel once, at one node.
#[derive(Clone, Copy, Debug)]
pub struct Layer {
    /// The node.
    pub node: SocketAddrV4,
    /// Channels of one connection.
    pub channels_each: usize,
}

/// Publishers and listeners, driven by calls of [`Crowd::turn`].
pub struct Crowd {
    epoll: Epoll,
    /// Where it publishes.
    entrance: SocketAddrV4,
    listeners: Vec<Listener>,
    publishers: Vec<Publisher>,
    /// Publishers without an unanswered message, in turn.
    idle: VecDeque<usize>,
    /// Due times of messages that found every publisher busy, and their channels.
    late: VecDeque<(u64, usize)>,
    /// When listeners that were cut come back, and which.
    away: BTreeSet<(u64, usize)>,
    /// Whether they do.
    comes_back: bool,
    tally: Tally,
    /// Scratch for what is ready, and for one read.
    tokens: Vec<u64>,
    buffer: Vec<u8>,
}

/// What a run came to so far.
pub struct Tally {
    /// One for each channel.
    pub ledgers: Vec<Ledger>,
    /// Of all deliveries since the end of the warm-up.
    pub latency: Latency,
    /// Listeners whose stream is open and has told where it begins: from there on they miss nothing.
    pub joined: usize,
    /// Streams that ended and were to go on.
    pub cut: u64,
    /// Streams that ended and were taken up again.
    pub returns: u64,
    /// Publishes answered with anything but 200.
    pub refused: u64,
    /// Gap events.
    pub gaps: u64,
    /// Messages handed to a publisher.
    pub published: u64,
    /// Deliveries, each counted once.
    pub delivered: u64,
    layers: usize,
    corrupt: u64,
    clock: Instant,
    seen_ns: u64,
}

struct Listener {
    /// `None` while it is away.
    stream: Option<Subscriber>,
    seat: Seat,
}

/// What a listener is, whichever connection it has.
struct Seat {
    node: SocketAddrV4,
    layer: usize,
    /// Its channels: so many from the first one on.
    first: usize,
    count: usize,
    /// What it comes back with.
    cursor: Vec<u8>,
    joined: bool,
    /// Attempts since it last joined.
    attempts: u32,
}

/// Tokens from here on are publishers.
const PUBLISHERS: u64 = 1 << 32;
/// Channels take turns in this step, a prime, so that neighbours in time are not neighbours on one connection.
const STRIDE: u64 = 7_919;
/// Events of one turn.
const TURN_MAX: usize = 256;
/// Messages that leave between two turns, when late.
const BURST_MAX: usize = 16;
/// Connections that neither succeed nor fail for this long are a failure of the run.
const STALLED: Duration = Duration::from_secs(20);
/// Connects outstanding while the crowd gathers.
const GATHERING: usize = 64;
/// Who was turned away waits for at least half of this, and at most as much again.
const RETRY_NS: u64 = 1_000_000_000;

impl Crowd {
    /// Nothing connected yet.
    pub fn new(entrance: SocketAddrV4, channels: usize, layers: &[Layer]) -> io::Result<Crowd> {
        let mut listeners = Vec::new();
        for (layer, &Layer { node, channels_each }) in layers.iter().enumerate() {
            for first in (0..channels).step_by(channels_each) {
                let count = channels_each.min(channels - first);
                let seat = Seat { node, layer, first, count, cursor: Vec::new(), joined: false, attempts: 0 };
                listeners.push(Listener { stream: None, seat });
            }
        }
        let mut ledgers = Vec::new();
        ledgers.resize_with(channels, || {
            let mut ledger = Ledger::default();
            ledger.expect_readers(layers.len());
            ledger
        });
        Ok(Crowd {
            epoll: Epoll::new(TURN_MAX)?,
            entrance,
            listeners,
            publishers: Vec::new(),
            idle: VecDeque::new(),
            late: VecDeque::new(),
            away: BTreeSet::new(),
            comes_back: false,
            tally: Tally::new(ledgers, layers.len()),
            tokens: Vec::new(),
            buffer: vec![0; 256 << 10],
        })
    }

    /// Has everybody join.
    pub fn gather(&mut self, publishers: usize) -> io::Result<()> {
        let (mut next, mut progress, mut at) = (0, Instant::now(), 0);
        while self.tally.joined < self.listeners.len() {
            while next < self.listeners.len().min(self.tally.joined + GATHERING) {
                self.connect(next)?;
                next += 1;
            }
            self.turn(Duration::from_millis(100))?;
            if self.tally.joined > at {
                (progress, at) = (Instant::now(), self.tally.joined);
            }
            if self.tally.cut > 0 || progress.elapsed() > STALLED {
                let (cut, count) = (self.tally.cut, self.listeners.len());
                return Err(io::Error::other(format!(
                    "{at} of {count} listeners joined, {cut} were turned away"
                )));
            }
        }
        for index in 0..publishers {
            let token = PUBLISHERS + index as u64;
            self.publishers.push(Publisher::connect(self.entrance.into(), &self.epoll, token)?);
            self.idle.push_back(index);
        }
        Ok(())
    }

    /// From now on whoever is cut comes back with a cursor: at once, and after half a second to one and a half where that
    /// was in vain.
    pub fn come_back(&mut self) {
        self.comes_back = true;
    }

    /// Resets every connection to `node` at once; whoever had one comes back at `to`.
    pub fn cut(&mut self, node: SocketAddrV4, to: SocketAddrV4) -> io::Result<()> {
        let now_ns = self.now_ns();
        for index in 0..self.listeners.len() {
            if self.listeners[index].seat.node != node {
                continue;
            }
            self.listeners[index].seat.node = to;
            if let Some(stream) = self.listeners[index].stream.take() {
                stream.reset()?;
                self.tally.returns += 1;
                self.is_away(index, now_ns);
            }
        }
        Ok(())
    }

    /// Whoever is cut at `node` from now on comes back at `to`.
    pub fn redirect(&mut self, node: SocketAddrV4, to: SocketAddrV4) {
        for listener in self.listeners.iter_mut().filter(|listener| listener.seat.node == node) {
            listener.seat.node = to;
        }
    }

    /// Publishes on a schedule that waits for nobody: `rate` messages a second over all channels in turn, from `from_ns` on,
    /// until the clock shows `until_ns` or `done` says so. Returns when the next message is due, to go on from there.
    pub fn publish_at(
        &mut self,
        rate: u64,
        from_ns: u64,
        until_ns: u64,
        mut done: impl FnMut(&Crowd) -> bool,
    ) -> io::Result<u64> {
        let start = self.tally.published + self.late.len() as u64;
        let mut sent = 0;
        loop {
            let due_ns = from_ns + sent * 1_000_000_000 / rate;
            if due_ns >= until_ns || done(self) {
                return Ok(due_ns);
            }
            let now_ns = self.now_ns();
            let mut burst = 0;
            while burst < BURST_MAX {
                let due_ns = from_ns + sent * 1_000_000_000 / rate;
                if due_ns > now_ns || due_ns >= until_ns {
                    break;
                }
                let channel = ((start + sent) * STRIDE) as usize % self.tally.ledgers.len();
                self.publish(due_ns, channel)?;
                (sent, burst) = (sent + 1, burst + 1);
            }
            let next_ns = (from_ns + sent * 1_000_000_000 / rate).min(until_ns);
            self.turn(Duration::from_nanos(next_ns.saturating_sub(self.now_ns())))?;
        }
    }

    /// Takes turns until everything has arrived, or nothing has for as long as `patience`: a server that works off a queue
    /// has lost nothing.
    pub fn drain(&mut self, patience: Duration) -> io::Result<()> {
        let (mut at, mut since) = (u64::MAX, Instant::now());
        while self.outstanding() > 0 {
            if self.outstanding() != at {
                (at, since) = (self.outstanding(), Instant::now());
            }
            let left = patience.saturating_sub(since.elapsed());
            if left.is_zero() {
                break;
            }
            self.turn(left)?;
        }
        Ok(())
    }

    /// Whether every listener is joined.
    pub fn is_whole(&self) -> bool {
        self.tally.joined == self.listeners.len()
    }

    /// How many listeners there are.
    pub fn size(&self) -> usize {
        self.listeners.len()
    }

    /// Deliveries that are due, and messages that have not left.
    pub fn outstanding(&self) -> u64 {
        let Tally { published, delivered, layers, .. } = self.tally;
        (published * layers as u64).saturating_sub(delivered) + self.late.len() as u64
    }

    /// Nanoseconds on the clock that payloads carry.
    pub fn now_ns(&self) -> u64 {
        self.tally.clock.elapsed().as_nanos() as u64
    }

    /// What this run came to so far.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Forgets the latencies of the warm-up.
    pub fn end_warm_up(&mut self) {
        self.tally.latency.clear();
    }

    fn publish(&mut self, due_ns: u64, channel: usize) -> io::Result<()> {
        let Some(publisher) = self.idle.pop_front() else {
            self.late.push_back((due_ns, channel));
            return Ok(());
        };
        let local = self.tally.ledgers[channel].publish(publisher) as usize;
        self.tally.published += 1;
        let number = u32::try_from(local * self.tally.ledgers.len() + channel).map_err(io::Error::other)?;
        let head = request::publish(&Target::at(self.entrance.into()), &name(channel), PAYLOAD_BYTES);
        self.publishers[publisher].publish(&head, &Payload { run: 0, number, due_ns }.encode(PAYLOAD_BYTES))
    }

    fn connect(&mut self, index: usize) -> io::Result<()> {
        let node = self.listeners[index].seat.node;
        self.listeners[index].stream =
            Some(Subscriber::connect(index, node.into(), &self.epoll, index as u64)?);
        Ok(())
    }

    fn turn(&mut self, timeout: Duration) -> io::Result<()> {
        let next_ns = self.away.first().map(|(due_ns, _)| due_ns.saturating_sub(self.now_ns()));
        let timeout = next_ns.map_or(timeout, |next_ns| timeout.min(Duration::from_nanos(next_ns)));
        let mut tokens = std::mem::take(&mut self.tokens);
        self.epoll.wait(&mut tokens, Some(timeout))?;
        for &token in &tokens {
            match token.checked_sub(PUBLISHERS) {
                None => self.turn_listener(token)?,
                Some(publisher) => self.turn_publisher(publisher as usize)?,
            }
        }
        self.tokens = tokens;
        // After the events, none of which may be of the connection before.
        let now_ns = self.now_ns();
        for _ in 0..TURN_MAX {
            let Some(&(due_ns, index)) = self.away.first().filter(|(due_ns, _)| *due_ns <= now_ns) else {
                break;
            };
            self.away.remove(&(due_ns, index));
            self.connect(index)?;
        }
        Ok(())
    }

    fn turn_listener(&mut self, token: u64) -> io::Result<()> {
        let index = token as usize;
        let Some(Listener { stream: Some(stream), seat }) = self.listeners.get_mut(index) else {
            return Ok(());
        };
        if !stream.has_asked() {
            if stream.ask(&ask(seat), &self.epoll, token).is_err() {
                return self.ended(index);
            }
            return Ok(());
        }
        self.tally.seen_ns = self.tally.clock.elapsed().as_nanos() as u64;
        let tally = &mut self.tally;
        loop {
            match stream.read(&mut self.buffer, &mut |seen| tally.tell(seat, seen)).0 {
                Turn::Ended => return self.ended(index),
                // Where streams end, the end may have come together with bytes, and is not told again.
                Turn::Read if self.comes_back => {}
                Turn::Quiet | Turn::Read => return Ok(()),
            }
        }
    }

    fn ended(&mut self, index: usize) -> io::Result<()> {
        self.listeners[index].stream = None;
        if !self.comes_back {
            self.tally.cut += 1;
            return Ok(());
        }
        self.tally.returns += 1;
        self.is_away(index, self.now_ns());
        Ok(())
    }

    fn is_away(&mut self, index: usize, now_ns: u64) {
        let seat = &mut self.listeners[index].seat;
        self.tally.joined -= usize::from(std::mem::take(&mut seat.joined));
        // Spread by a multiplication instead of chance: the same in every run.
        let spread = (index as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) % RETRY_NS;
        let wait_ns = if seat.attempts == 0 { 0 } else { RETRY_NS / 2 + spread };
        seat.attempts += 1;
        self.away.insert((now_ns + wait_ns, index));
    }

    fn turn_publisher(&mut self, index: usize) -> io::Result<()> {
        match self.publishers[index].read(&mut self.buffer)? {
            Verdict::Incomplete => return Ok(()),
            Verdict::Published { .. } => {}
            Verdict::Refused { .. } => self.tally.refused += 1,
            Verdict::Ended => return Err(io::ErrorKind::UnexpectedEof.into()),
        }
        self.idle.push_back(index);
        match self.late.pop_front() {
            Some((due_ns, channel)) => self.publish(due_ns, channel),
            None => Ok(()),
        }
    }
}

impl Tally {
    fn new(ledgers: Vec<Ledger>, layers: usize) -> Tally {
        Tally {
            ledgers,
            latency: Latency::new(),
            joined: 0,
            cut: 0,
            returns: 0,
            refused: 0,
            gaps: 0,
            published: 0,
            delivered: 0,
            layers,
            corrupt: 0,
            clock: Instant::now(),
            seen_ns: 0,
        }
    }

    /// What went wrong, if nothing more arrives.
    pub fn faults(&self) -> Faults {
        let mut faults =
            Faults { cut: self.cut, refused: self.refused, gaps: self.gaps, ..Faults::default() };
        faults.wrong.corrupt = self.corrupt;
        for ledger in &self.ledgers {
            faults.add(Faults { wrong: ledger.wrong(), ..Faults::default() });
        }
        faults
    }

    fn tell(&mut self, seat: &mut Seat, seen: Seen<'_>) {
        match seen {
            Seen::Gap => self.gaps += 1,
            Seen::Cursor(cursor) => {
                if !std::mem::replace(&mut seat.joined, true) {
                    self.joined += 1;
                    seat.attempts = 0;
                }
                seat.cursor.clear();
                seat.cursor.extend_from_slice(cursor);
            }
            Seen::Message(data) => {
                let channels = self.ledgers.len();
                let Some(Payload { number, due_ns, .. }) = Payload::decode(data, PAYLOAD_BYTES) else {
                    self.corrupt += 1;
                    return;
                };
                let (local, channel) = (number as usize / channels, number as usize % channels);
                if !(seat.first..seat.first + seat.count).contains(&channel) {
                    self.corrupt += 1;
                    return;
                }
                self.latency.record(due_ns, self.seen_ns);
                self.delivered += u64::from(self.ledgers[channel].deliver(seat.layer, local as u32));
            }
            // Accepted is not joined; the subscriber reports its own end.
            Seen::Accepted | Seen::Ping(_) | Seen::Ended | Seen::Refused(..) => {}
        }
    }
}

fn name(channel: usize) -> String {
    format!("bench:{channel}")
}

fn ask(seat: &Seat) -> Vec<u8> {
    let names: Vec<String> = (seat.first..seat.first + seat.count).map(name).collect();
    let mut request = format!(
        "GET /c/{} HTTP/1.1\r\nHost: {}\r\nAccept: text/event-stream\r\n",
        names.join(","),
        seat.node
    )
    .into_bytes();
    if !seat.cursor.is_empty() {
        request.extend([b"Last-Event-ID: ", &seat.cursor[..], b"\r\n"].concat());
    }
    request.extend(b"\r\n");
    request
}

#[cfg(test)]
mod tests {
    use std::net::{SocketAddr, TcpListener};

    use super::*;
    use crate::floor;

    #[test]
    fn whoever_hears_a_channel_that_is_not_its_own_is_told() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let SocketAddr::V4(node) = listener.local_addr().unwrap() else { panic!("bound to IPv4") };
        // The floor knows no channels: everybody hears everything. It tells no cursor either, so nobody joins.
        std::thread::spawn(move || floor::run(&listener));
        let mut crowd = Crowd::new(node, 2, &[Layer { node, channels_each: 1 }]).unwrap();
        crowd.connect(0).unwrap();
        crowd.connect(1).unwrap();
        crowd.publishers.push(Publisher::connect(node.into(), &crowd.epoll, PUBLISHERS).unwrap());
        crowd.idle.push_back(0);
        for _ in 0..20 {
            crowd.turn(Duration::from_millis(10)).unwrap();
        }
        let now_ns = crowd.now_ns();
        crowd.publish_at(10, now_ns, now_ns + 200_000_000, |_| false).unwrap();
        crowd.drain(Duration::from_secs(5)).unwrap();
        let faults = crowd.tally().faults();
        assert_eq!((crowd.tally().delivered, faults.wrong.lost, faults.wrong.corrupt), (2, 0, 2));
    }

    #[test]
    fn every_layer_hears_every_channel_once() {
        let node: SocketAddrV4 = "127.0.0.1:1".parse().unwrap();
        let crowd = Crowd::new(node, 10, &[Layer { node, channels_each: 4 }; 2]).unwrap();
        let seats: Vec<_> =
            crowd.listeners.iter().map(|one| (one.seat.layer, one.seat.first, one.seat.count)).collect();
        assert_eq!(seats, [(0, 0, 4), (0, 4, 4), (0, 8, 2), (1, 0, 4), (1, 4, 4), (1, 8, 2)]);
    }

    #[test]
    fn a_listener_comes_back_with_its_cursor() {
        let node: SocketAddrV4 = "127.0.0.1:1".parse().unwrap();
        let mut crowd = Crowd::new(node, 2, &[Layer { node, channels_each: 2 }]).unwrap();
        let (tally, seat) = (&mut crowd.tally, &mut crowd.listeners[0].seat);
        tally.tell(seat, Seen::Cursor(b"a.7"));
        tally.tell(seat, Seen::Cursor(b"a.8"));
        assert_eq!(tally.joined, 1);
        let request = String::from_utf8(ask(seat)).unwrap();
        assert!(request.starts_with("GET /c/bench:0,bench:1 HTTP/1.1\r\n"), "{request}");
        assert!(request.ends_with("Last-Event-ID: a.8\r\n\r\n"), "{request}");
    }
}
