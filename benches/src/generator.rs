//! The generator: one thread that publishes, subscribes and keeps the ledger.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddrV4;
use std::time::{Duration, Instant};

use tidewire_load::plan::{Target, Transport};
use tidewire_load::publisher::Socket as _;

use crate::latency::Latency;
use crate::ledger::{Ledger, Wrong};
use crate::listeners::Listeners;
use crate::payload::Payload;
use crate::publisher::{Publisher, Verdict};
use crate::request;
use crate::stream::Seen;
use crate::sys::{Epoll, Interest};
use crate::wire::{Way, Wire};

pub use tidewire_load::faults::Faults;

/// Subscribers and publishers of one server, driven by calls of [`Generator::turn`].
pub struct Generator {
    epoll: Epoll,
    target: SocketAddrV4,
    /// How publishers reach it.
    way: Way,
    /// The head of every publish.
    publish: Vec<u8>,
    listeners: Listeners,
    publishers: Vec<Publisher<Wire>>,
    /// Publishers without an unanswered message. They take turns, so that none is idle long enough to be closed.
    idle: VecDeque<usize>,
    /// Due times of messages that found every publisher busy.
    late: VecDeque<u64>,
    tally: Tally,
    /// Scratch for what is ready, and for one read.
    tokens: Vec<u64>,
    buffer: Vec<u8>,
}

/// What a run came to so far.
pub struct Tally {
    /// Who has seen what, since the last subscriber came.
    pub ledger: Ledger,
    /// What earlier ledgers found.
    before: Wrong,
    /// Of all deliveries since the end of the warm-up.
    pub latency: Latency,
    /// Subscribers whose request was accepted.
    pub accepted: usize,
    /// Subscribers that the server ended.
    pub cut: u64,
    /// Publishes answered with anything but 200.
    pub refused: u64,
    /// Gap events.
    pub gaps: u64,
    /// Reads that held something.
    pub reads: u64,
    clock: Instant,
    seen_ns: u64,
}

/// The channel of all runs.
const CHANNEL: &str = "bench";
/// Bytes of every payload.
pub const PAYLOAD_BYTES: usize = 128;
/// Tokens from here on are publishers.
const PUBLISHERS: u64 = 1 << 32;
/// Small enough that a saturating run refills between turns, large enough to share the cost of a wait.
const TURN_MAX: usize = 256;
/// Connections that neither succeed nor fail for this long are a failure of the run.
const STALLED: Duration = Duration::from_secs(20);

impl Generator {
    /// Nothing connected yet.
    pub fn new(target: SocketAddrV4, transport: Transport) -> io::Result<Generator> {
        Generator::with(target, Way::Plain, Listeners::single(target, transport, CHANNEL))
    }

    /// The same with event streams over HTTP/2, so many on each connection.
    pub fn multiplexed(target: SocketAddrV4, way: Way, streams_each: usize) -> io::Result<Generator> {
        let listeners = Listeners::multiplexed(target, way.clone(), streams_each, CHANNEL);
        Generator::with(target, way, listeners)
    }

    fn with(target: SocketAddrV4, way: Way, listeners: Listeners) -> io::Result<Generator> {
        Ok(Generator {
            epoll: Epoll::new(TURN_MAX)?,
            target,
            way,
            publish: request::publish(&Target::at(target.into()), CHANNEL, PAYLOAD_BYTES),
            listeners,
            publishers: Vec::new(),
            idle: VecDeque::new(),
            late: VecDeque::new(),
            tally: Tally::new(),
            tokens: Vec::new(),
            buffer: vec![0; 256 << 10],
        })
    }

    /// Opens subscribers until there are `count`, `outstanding_max` of them at a time between connect and accepted, or those
    /// of one connection. Messages from before are not due to anybody any more.
    pub fn subscribe(&mut self, count: usize, outstanding_max: usize) -> io::Result<()> {
        self.tally.begin_ledger(count);
        let (mut progress, mut at) = (Instant::now(), 0);
        while self.tally.accepted < count {
            while self.listeners.begun() < count.min(self.tally.accepted + outstanding_max) {
                self.listeners.open(&self.epoll)?;
            }
            self.turn(Duration::from_millis(100))?;
            if self.tally.accepted > at {
                (progress, at) = (Instant::now(), self.tally.accepted);
            }
            if self.tally.cut > 0 || progress.elapsed() > STALLED {
                let (cut, accepted) = (self.tally.cut, self.tally.accepted);
                let what = format!("{accepted} of {count} subscribers were accepted, {cut} were turned away");
                return Err(io::Error::other(match self.listeners.broken() {
                    Some(why) => format!("{what}: {why}"),
                    None => what,
                }));
            }
        }
        Ok(())
    }

    /// Closes every connection. The ledger of this generator is of no more use.
    pub fn leave(&mut self) {
        self.listeners.leave();
        self.close_publishers();
    }

    /// Opens keep-alive connections to publish on.
    pub fn open_publishers(&mut self, count: usize) -> io::Result<()> {
        for index in 0..count {
            let token = PUBLISHERS + index as u64;
            let wire = Wire::connect(self.target, &self.way, b"http/1.1")?;
            wire.set_nonblocking(true)?;
            self.epoll.add(&wire, token, Interest::Readable)?;
            self.publishers.push(Publisher::over(wire));
            self.idle.push_back(index);
        }
        Ok(())
    }

    /// Closes them; each has its answer. Servers close those that are idle for long.
    pub fn close_publishers(&mut self) {
        self.publishers.clear();
        self.idle.clear();
    }

    /// Publishes a message that was due at `due_ns`: now, or as soon as a publisher is free.
    pub fn publish(&mut self, due_ns: u64) -> io::Result<()> {
        let Some(publisher) = self.idle.pop_front() else {
            self.late.push_back(due_ns);
            return Ok(());
        };
        let number = self.tally.ledger.publish(publisher);
        let payload = Payload { run: 0, number, due_ns }.encode(PAYLOAD_BYTES);
        self.publishers[publisher].publish(&self.publish, &payload)
    }

    /// Whether a publish would leave at once.
    pub fn has_idle_publisher(&self) -> bool {
        !self.idle.is_empty()
    }

    /// Messages that were due, and are not yet seen by every subscriber.
    pub fn outstanding(&self) -> usize {
        self.tally.ledger.outstanding() + self.late.len()
    }

    /// Nanoseconds on the clock that payloads carry.
    pub fn now_ns(&self) -> u64 {
        self.tally.now_ns()
    }

    /// What this run came to so far.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Forgets the latencies of the warm-up.
    pub fn end_warm_up(&mut self) {
        self.tally.latency.clear();
    }

    /// Takes turns until the clock shows `until_ns`, or `done` says so after a turn.
    pub fn run_until(&mut self, until_ns: u64, done: impl Fn(&Generator) -> bool) -> io::Result<()> {
        while !done(self) {
            let left = until_ns.saturating_sub(self.now_ns());
            if left == 0 {
                break;
            }
            self.turn(Duration::from_nanos(left))?;
        }
        Ok(())
    }

    /// Takes turns for a while, whatever happens.
    pub fn run_for(&mut self, time: Duration) -> io::Result<()> {
        self.run_until(self.now_ns() + time.as_nanos() as u64, |_| false)
    }

    /// Waits for something to happen and handles it: at most [`TURN_MAX`] sockets.
    pub fn turn(&mut self, timeout: Duration) -> io::Result<()> {
        let mut tokens = std::mem::take(&mut self.tokens);
        self.epoll.wait(&mut tokens, Some(timeout))?;
        for &token in &tokens {
            match token.checked_sub(PUBLISHERS) {
                None => self.turn_listener(token)?,
                Some(publisher) => self.turn_publisher(publisher as usize)?,
            }
        }
        self.tokens = tokens;
        Ok(())
    }

    fn turn_listener(&mut self, token: u64) -> io::Result<()> {
        self.tally.seen_ns = self.tally.now_ns();
        let (tally, listeners) = (&mut self.tally, &mut self.listeners);
        let mut tell = |reader, seen: Seen<'_>| tally.tell(reader, seen);
        let heard = listeners.turn(token, &self.epoll, &mut self.buffer, &mut tell)?;
        self.tally.reads += u64::from(heard.read);
        self.tally.cut += heard.ended as u64;
        Ok(())
    }

    fn turn_publisher(&mut self, index: usize) -> io::Result<()> {
        let Some(publisher) = self.publishers.get_mut(index) else { return Ok(()) };
        match publisher.read(&mut self.buffer)? {
            Verdict::Incomplete => return Ok(()),
            Verdict::Published { .. } => {}
            Verdict::Refused { .. } => self.tally.refused += 1,
            Verdict::Ended => return Err(io::ErrorKind::UnexpectedEof.into()),
        }
        self.idle.push_back(index);
        match self.late.pop_front() {
            Some(due_ns) => self.publish(due_ns),
            None => Ok(()),
        }
    }
}

impl Tally {
    fn new() -> Tally {
        Tally {
            ledger: Ledger::default(),
            before: Wrong::default(),
            latency: Latency::new(),
            accepted: 0,
            cut: 0,
            refused: 0,
            gaps: 0,
            reads: 0,
            clock: Instant::now(),
            seen_ns: 0,
        }
    }

    /// What went wrong, if nothing more arrives.
    pub fn faults(&self) -> Faults {
        let mut faults =
            Faults { wrong: self.ledger.wrong(), cut: self.cut, refused: self.refused, gaps: self.gaps };
        faults.add(Faults { wrong: self.before, ..Faults::default() });
        faults
    }

    /// Whoever comes now is owed nothing from before.
    fn begin_ledger(&mut self, readers: usize) {
        let mut faults = Faults { wrong: self.before, ..Faults::default() };
        faults.add(Faults { wrong: self.ledger.wrong(), ..Faults::default() });
        (self.before, self.ledger) = (faults.wrong, Ledger::default());
        self.ledger.expect_readers(readers);
    }

    fn now_ns(&self) -> u64 {
        self.clock.elapsed().as_nanos() as u64
    }

    fn tell(&mut self, reader: usize, seen: Seen<'_>) {
        match seen {
            Seen::Accepted => self.accepted += 1,
            Seen::Gap => self.gaps += 1,
            Seen::Message(data) => match Payload::decode(data, PAYLOAD_BYTES) {
                Some(payload) => {
                    self.latency.record(payload.due_ns, self.seen_ns);
                    self.ledger.deliver(reader, payload.number);
                }
                None => self.ledger.corrupt(),
            },
            // The subscriber answers pings and reports its own end, and nobody comes back.
            Seen::Ping(_) | Seen::Ended | Seen::Cursor(_) | Seen::Refused(..) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{SocketAddr, TcpListener};

    use super::*;
    use crate::floor;

    /// Runs the generator against the floor, in this process.
    fn check(transport: Transport) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let SocketAddr::V4(target) = listener.local_addr().unwrap() else { panic!("bound to IPv4") };
        // It serves until the test process ends.
        std::thread::spawn(move || floor::run(&listener));
        let mut generator = Generator::new(target, transport).unwrap();
        generator.subscribe(20, 4).unwrap();
        generator.open_publishers(2).unwrap();
        for _ in 0..10 {
            generator.publish(generator.now_ns()).unwrap();
        }
        let limit = generator.now_ns() + 10_000_000_000;
        generator.run_until(limit, |generator| generator.outstanding() == 0).unwrap();
        assert_eq!(generator.tally().faults(), Faults::default());
        assert_eq!(generator.tally().ledger.delivered(), 200);
        assert!(generator.tally().latency.quantile_ms(1.0, 0).is_finite());
    }

    #[test]
    fn the_floor_delivers_everything_once_and_in_order_over_sse() {
        check(Transport::Sse);
    }

    #[test]
    fn the_floor_delivers_everything_once_and_in_order_over_websocket() {
        check(Transport::WebSocket);
    }
}
