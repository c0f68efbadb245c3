//! Subscribers and publishers of one peer, over one channel or many: one thread, driven by calls of [`Audience::turn`].

use std::collections::VecDeque;
use std::io;
use std::time::{Duration, Instant};

use crate::generator::{Faults, PAYLOAD_BYTES};
use crate::latency::Latency;
use crate::ledger::Ledger;
use crate::payload::Payload;
use crate::peers::dialect::{Address, Dialect};
use crate::peers::socket_io::{self, Packet};
use crate::publisher::{Publisher, Verdict};
use crate::stream::Seen;
use crate::subscriber::{Subscriber, Turn};
use crate::sys::Epoll;

/// Everybody who speaks to one peer.
pub struct Audience {
    epoll: Epoll,
    address: Address,
    /// Listener `n` hears channel `n` modulo the channels. `None` once the peer ended it.
    listeners: Vec<Option<Subscriber>>,
    publishers: Vec<Publisher>,
    /// Publishers without an unanswered message, in turn.
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
    /// Of all deliveries since the end of the warm-up.
    pub latency: Latency,
    /// Deliveries, each counted once.
    pub delivered: u64,
    /// Publishes that were answered, whatever the answer.
    pub answered: u64,
    /// Reads that held something.
    pub reads: u64,
    /// One for each channel.
    ledgers: Vec<Ledger>,
    accepted: usize,
    published: usize,
    /// What the ledgers do not count.
    others: Faults,
    clock: Instant,
    seen_ns: u64,
}

/// What a packet asks of its listener.
enum Reply {
    Say(&'static str),
    Leave,
}

/// Tokens from here on are publishers.
const PUBLISHERS: u64 = 1 << 32;
/// Events of one turn.
const TURN_MAX: usize = 256;
/// Connections that neither succeed nor fail for this long are a failure of the run.
const STALLED: Duration = Duration::from_secs(10);
/// Once nothing has arrived for this long, what is missing is lost.
const PATIENCE_NS: u64 = 3_000_000_000;
/// So is what has not arrived this long after the last message was published.
const DRAIN_MAX_NS: u64 = 20_000_000_000;

impl Audience {
    /// Nothing connected yet.
    pub fn new(address: Address, channels: usize) -> io::Result<Audience> {
        Ok(Audience {
            epoll: Epoll::new(TURN_MAX)?,
            address,
            listeners: Vec::new(),
            publishers: Vec::new(),
            idle: VecDeque::new(),
            late: VecDeque::new(),
            tally: Tally::new(channels),
            tokens: Vec::new(),
            buffer: vec![0; 256 << 10],
        })
    }

    /// Opens `each` listeners of every channel, `outstanding_max` at a time between connect and accepted.
    pub fn gather(&mut self, each: usize, outstanding_max: usize) -> io::Result<()> {
        self.tally.ledgers.iter_mut().for_each(|ledger| ledger.expect_readers(each));
        let count = each * self.tally.ledgers.len();
        let (mut progress, mut at) = (Instant::now(), 0);
        while self.tally.accepted < count {
            while self.listeners.len() < count.min(self.tally.accepted + outstanding_max) {
                let index = self.listeners.len();
                let one =
                    Subscriber::connect(index, self.address.subscribe.into(), &self.epoll, index as u64)?;
                self.listeners.push(Some(one));
            }
            self.turn(Duration::from_millis(100))?;
            if self.tally.accepted > at {
                (progress, at) = (Instant::now(), self.tally.accepted);
            }
            if self.tally.others.cut > 0 || progress.elapsed() > STALLED {
                let cut = self.tally.others.cut;
                let what = format!("{at} of {count} subscribers were accepted, {cut} were turned away");
                return Err(io::Error::other(what));
            }
        }
        Ok(())
    }

    /// Closes every listener. Only what publishes is left.
    pub fn leave(&mut self) {
        self.listeners.clear();
    }

    /// Opens connections to publish on, until there are `count`.
    pub fn open_publishers(&mut self, count: usize) -> io::Result<()> {
        for index in self.publishers.len()..count {
            self.publishers.push(self.publisher(index)?);
            self.idle.push_back(index);
        }
        Ok(())
    }

    /// Publishes a message that should have left at `due_ns`, to the next channel in turn.
    pub fn publish(&mut self, due_ns: u64) -> io::Result<()> {
        let Some(publisher) = self.idle.pop_front() else {
            self.late.push_back(due_ns);
            return Ok(());
        };
        let channels = self.tally.ledgers.len();
        let channel = self.tally.published % channels;
        let local = self.tally.ledgers[channel].publish(publisher) as usize;
        self.tally.published += 1;
        let number = u32::try_from(local * channels + channel).map_err(io::Error::other)?;
        let payload = Payload { run: 0, number, due_ns };
        self.publishers[publisher].publish(&self.address.post(channel, payload), &[])
    }

    /// Whether a publish would leave at once.
    pub fn has_idle_publisher(&self) -> bool {
        !self.idle.is_empty()
    }

    /// Messages that were due, and are not yet seen by everybody.
    pub fn outstanding(&self) -> usize {
        self.tally.ledgers.iter().map(Ledger::outstanding).sum::<usize>() + self.late.len()
    }

    /// Nanoseconds on the clock that payloads carry.
    pub fn now_ns(&self) -> u64 {
        self.tally.now_ns()
    }

    /// What this run came to so far.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Forgets the latencies so far.
    pub fn forget_latency(&mut self) {
        self.tally.latency.clear();
    }

    /// Takes turns until the clock shows `until_ns`, or `done` says so after a turn.
    pub fn run_until(&mut self, until_ns: u64, done: impl Fn(&Audience) -> bool) -> io::Result<()> {
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

    /// Waits until everybody has everything, or is not going to: a peer that works off a queue has lost nothing.
    pub fn drain(&mut self) -> io::Result<()> {
        let limit_ns = self.now_ns() + DRAIN_MAX_NS;
        let mut delivered = u64::MAX;
        while self.outstanding() > 0 && self.tally.delivered != delivered && self.now_ns() < limit_ns {
            delivered = self.tally.delivered;
            self.run_until(self.now_ns() + PATIENCE_NS, |audience| audience.outstanding() == 0)?;
        }
        Ok(())
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

    fn publisher(&self, index: usize) -> io::Result<Publisher> {
        Publisher::connect(self.address.publish.into(), &self.epoll, PUBLISHERS + index as u64)
    }

    fn turn_listener(&mut self, token: u64) -> io::Result<()> {
        let index = token as usize;
        let Some(one) = self.listeners.get_mut(index).and_then(Option::as_mut) else { return Ok(()) };
        if !one.has_asked() {
            let request = self.address.request(index % self.tally.ledgers.len());
            return one.ask(&request, &self.epoll, token);
        }
        self.tally.seen_ns = self.tally.now_ns();
        let (dialect, mut replies) = (self.address.dialect, Vec::new());
        let (turn, _) = one.read(&mut self.buffer, &mut |seen| match dialect {
            Dialect::Plain | Dialect::Pushpin => self.tally.tell(index, seen),
            Dialect::SocketIo => replies.extend(self.tally.tell_packet(index, seen)),
        });
        let is_over = replies.iter().any(|reply| match reply {
            Reply::Say(packet) => one.say(&socket_io::frame(packet)).is_err(),
            Reply::Leave => true,
        });
        match turn {
            Turn::Quiet | Turn::Ended => {}
            Turn::Read => self.tally.reads += 1,
        }
        if turn == Turn::Ended || is_over {
            self.listeners[index] = None;
            self.tally.others.cut += 1;
        }
        Ok(())
    }

    fn turn_publisher(&mut self, index: usize) -> io::Result<()> {
        match self.publishers[index].read(&mut self.buffer)? {
            Verdict::Incomplete => return Ok(()),
            Verdict::Published { .. } => {}
            Verdict::Refused { .. } => self.tally.others.refused += 1,
            Verdict::Ended => return Err(io::Error::other("a connection that publishes was ended")),
        }
        if !self.address.dialect.keeps_publishers() {
            self.publishers[index] = self.publisher(index)?;
        }
        self.tally.answered += 1;
        self.idle.push_back(index);
        match self.late.pop_front() {
            Some(due_ns) => self.publish(due_ns),
            None => Ok(()),
        }
    }
}

impl Tally {
    fn new(channels: usize) -> Tally {
        let mut ledgers = Vec::new();
        ledgers.resize_with(channels, Ledger::default);
        Tally {
            latency: Latency::new(),
            delivered: 0,
            answered: 0,
            reads: 0,
            ledgers,
            accepted: 0,
            published: 0,
            others: Faults::default(),
            clock: Instant::now(),
            seen_ns: 0,
        }
    }

    /// What went wrong, if nothing more arrives.
    pub fn faults(&self) -> Faults {
        let mut faults = self.others;
        for ledger in &self.ledgers {
            faults.add(Faults { wrong: ledger.wrong(), ..Faults::default() });
        }
        faults
    }

    fn now_ns(&self) -> u64 {
        self.clock.elapsed().as_nanos() as u64
    }

    fn tell(&mut self, listener: usize, seen: Seen<'_>) {
        match seen {
            Seen::Accepted => self.accepted += 1,
            Seen::Gap => self.others.gaps += 1,
            Seen::Message(data) => self.deliver(listener, data),
            Seen::Ping(_) | Seen::Ended | Seen::Cursor(_) | Seen::Refused(..) => {}
        }
    }

    /// The same for Socket.IO, with what the listener has to do about it.
    fn tell_packet(&mut self, listener: usize, seen: Seen<'_>) -> Option<Reply> {
        // The WebSocket is open long before the session is.
        let Seen::Message(packet) = seen else { return None };
        match socket_io::read(packet) {
            Packet::Answer(answer) => return Some(Reply::Say(answer)),
            Packet::Over => return Some(Reply::Leave),
            Packet::Connected => self.accepted += 1,
            Packet::Message(data) => self.deliver(listener, data),
        }
        None
    }

    fn deliver(&mut self, listener: usize, data: &[u8]) {
        let channels = self.ledgers.len();
        let (channel, reader) = (listener % channels, listener / channels);
        match Payload::decode(data, PAYLOAD_BYTES) {
            Some(Payload { number, due_ns, .. }) if number as usize % channels == channel => {
                self.latency.record(due_ns, self.seen_ns);
                let local = number / channels as u32;
                self.delivered += u64::from(self.ledgers[channel].deliver(reader, local));
            }
            _ => self.others.wrong.corrupt += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{SocketAddr, TcpListener};

    use super::*;
    use crate::floor;
    use tidewire_load::plan::Transport;

    #[test]
    fn the_floor_delivers_everything_once_and_in_order() {
        for transport in [Transport::Sse, Transport::WebSocket] {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let SocketAddr::V4(here) = listener.local_addr().unwrap() else { panic!("bound to IPv4") };
            // It serves until the test process ends.
            std::thread::spawn(move || floor::run(&listener));
            let address = Address { dialect: Dialect::Plain, transport, subscribe: here, publish: here };
            let mut audience = Audience::new(address, 1).unwrap();
            audience.gather(20, 4).unwrap();
            audience.open_publishers(2).unwrap();
            for _ in 0..10 {
                audience.publish(audience.now_ns()).unwrap();
            }
            audience.drain().unwrap();
            // The answer to the last message comes after its deliveries.
            let limit_ns = audience.now_ns() + PATIENCE_NS;
            audience.run_until(limit_ns, |audience| audience.tally().answered == 10).unwrap();
            assert_eq!(audience.tally().faults(), Faults::default());
            assert_eq!((audience.tally().delivered, audience.tally().answered), (200, 10));
        }
    }
}
