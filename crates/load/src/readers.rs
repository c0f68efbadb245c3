//! A thread that reads: its share of the subscribers, and the ledgers of what they saw.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::atomic::Ordering::{Acquire, Relaxed};
use std::time::Duration;

use crate::error::{Error, Role};
use crate::latency::Latency;
use crate::ledger::Ledger;
use crate::payload::Payload;
use crate::plan::{Plan, Transport};
use crate::poller::{Polled, Poller};
use crate::refusal::Refusal;
use crate::request;
use crate::shared::{self, Shared, add};
use crate::stream::Seen;
use crate::subscriber::{Subscriber, Turn};
use crate::sys::Epoll;

/// The subscribers of one thread.
pub struct Readers<'r> {
    context: Context<'r>,
    epoll: Epoll,
    seats: Vec<Seat>,
    /// When a short poll is due, and whose.
    due: BinaryHeap<Reverse<(u64, usize)>>,
    ledgers: Vec<ChannelLedger>,
    buffer: Vec<u8>,
}

/// What this thread's subscribers saw of a channel.
pub struct ChannelLedger {
    /// Which.
    pub channel: usize,
    /// Its messages, numbered within the channel.
    pub ledger: Ledger,
}

#[derive(Clone, Copy)]
struct Context<'r> {
    plan: &'r Plan,
    shared: &'r Shared,
    counts: &'r shared::Readers,
    run: u32,
}

/// A subscriber, whichever connection it has.
struct Seat {
    /// Among all subscribers.
    index: usize,
    /// Its place among `ledgers`, and among the readers of that one.
    ledger: usize,
    reader: usize,
    link: Link,
    joined: bool,
    /// When its last short poll was due.
    due_ns: u64,
}

enum Link {
    /// Not connected yet, or no longer.
    None,
    Stream(Subscriber),
    Poll(Poller),
}

/// Tens of thousands of them fit into any machine; what a connection costs is in the kernel.
const _: () = assert!(size_of::<Seat>() <= 256);

const TURN_MAX: usize = 256;
/// Connections between connect and joined, of one thread.
const JOINING_MAX: usize = 64;
/// The longest time between two looks at whether to stop.
const LOOK: Duration = Duration::from_millis(100);

impl<'r> Readers<'r> {
    /// The `thread`-th share of the subscribers, none of them connected.
    pub fn new(plan: &'r Plan, shared: &'r Shared, run: u32, thread: usize) -> Result<Readers<'r>, Error> {
        let threads = shared.readers.len();
        // Channels stay whole where there are enough of them, so that one ledger sees all of a channel.
        let is_mine = |index: usize| match plan.channels >= threads {
            true => plan.channel_of(index) % threads == thread,
            false => index % threads == thread,
        };
        let (mut seats, mut ledgers) = (Vec::new(), Vec::<ChannelLedger>::new());
        let mut ledger_of = vec![usize::MAX; plan.channels];
        let mut readers = Vec::new();
        for index in (0..plan.subscribers).filter(|index| is_mine(*index)) {
            let channel = plan.channel_of(index);
            if ledger_of[channel] == usize::MAX {
                ledger_of[channel] = ledgers.len();
                ledgers.push(ChannelLedger { channel, ledger: Ledger::default() });
                readers.push(0);
            }
            let ledger = ledger_of[channel];
            seats.push(Seat {
                index,
                ledger,
                reader: readers[ledger],
                link: Link::None,
                joined: false,
                due_ns: 0,
            });
            readers[ledger] += 1;
        }
        for (one, readers) in ledgers.iter_mut().zip(readers) {
            one.ledger.expect_readers(readers);
        }
        let context = Context { plan, shared, counts: &shared.readers[thread], run };
        let epoll = Epoll::new(TURN_MAX).map_err(|error| Error::system("watch sockets", error))?;
        Ok(Readers { context, epoll, seats, due: BinaryHeap::new(), ledgers, buffer: vec![0; 256 << 10] })
    }

    /// Has everybody join, then reads until the run stops, and gives what was seen.
    pub fn run(mut self) -> Result<Vec<ChannelLedger>, Error> {
        let (mut connected, mut tokens) = (0, Vec::new());
        let Context { plan, shared, counts, .. } = self.context;
        while !shared.is_stopped() {
            let joined = counts.joined.load(Relaxed) as usize;
            while connected < self.seats.len().min(joined + JOINING_MAX) {
                self.connect(connected)?;
                connected += 1;
            }
            self.poll_what_is_due()?;
            let next_ns = self.due.peek().map(|Reverse((due_ns, _))| due_ns.saturating_sub(shared.now_ns()));
            let wait = next_ns.map_or(LOOK, |next_ns| LOOK.min(Duration::from_nanos(next_ns)));
            self.epoll
                .wait(&mut tokens, Some(wait))
                .map_err(|error| Error::system("watch sockets", error))?;
            let mut latency = counts.latency();
            for &token in &tokens {
                let turned = match plan.transport {
                    Transport::Sse | Transport::WebSocket => self.turn_stream(token, &mut latency),
                    Transport::LongPoll | Transport::ShortPoll => self.turn_poll(token, &mut latency),
                };
                turned?;
            }
        }
        self.note_ends();
        Ok(self.ledgers)
    }

    fn connect(&mut self, at: usize) -> Result<(), Error> {
        let Context { plan, .. } = self.context;
        let (index, address, token) = (self.seats[at].index, plan.target.address, at as u64);
        let link = if plan.transport.polls() {
            Poller::connect(index, address, &self.epoll, token).map(Link::Poll)
        } else {
            Subscriber::connect(index, address, &self.epoll, token).map(Link::Stream)
        };
        self.seats[at].link = link.map_err(|error| Error::connect(&plan.target, error))?;
        Ok(())
    }

    fn turn_stream(&mut self, token: u64, latency: &mut Latency) -> Result<(), Error> {
        let Context { plan, counts, .. } = self.context;
        let seat = &mut self.seats[token as usize];
        let Link::Stream(stream) = &mut seat.link else { return Ok(()) };
        if !stream.has_asked() {
            let channel = plan.channel(plan.channel_of(seat.index));
            let request = request::subscribe(&plan.target, plan.transport, &channel);
            add(&counts.traffic.requests, 1);
            add(&counts.traffic.bytes_up, request.len() as u64);
            let asked = stream.ask(&request, &self.epoll, token);
            return asked.map_err(|error| Error::connect(&plan.target, error));
        }
        let (mut joined, mut refusal) = (seat.joined, None);
        let (context, one, reader) = (self.context, &mut self.ledgers[seat.ledger], seat.reader);
        let (turn, bytes) = stream.read(&mut self.buffer, &mut |seen| match seen {
            Seen::Message(data) => context.deliver(one, reader, data, latency),
            // A stream of ours says where it begins: from there on it misses nothing. A WebSocket begins with its head.
            Seen::Accepted => joined |= plan.transport == Transport::WebSocket,
            Seen::Cursor(_) => joined = true,
            Seen::Gap => add(&counts.gaps, 1),
            Seen::Refused(status, body) => refusal = Some(Refusal::of(status, body)),
            Seen::Ping(_) | Seen::Ended => {}
        });
        add(&counts.traffic.bytes_down, bytes as u64);
        if let Some(refusal) = refusal {
            return Err(Error::Refused { role: Role::Subscriber, refusal });
        }
        if joined && !seat.joined {
            seat.joined = true;
            add(&counts.joined, 1);
        }
        if turn == Turn::Ended {
            seat.link = Link::None;
            add(&counts.cut, 1);
            if !seat.joined {
                return Err(Error::TurnedAway);
            }
        }
        Ok(())
    }

    fn turn_poll(&mut self, token: u64, latency: &mut Latency) -> Result<(), Error> {
        let Context { plan, shared, counts, .. } = self.context;
        let at = token as usize;
        let seat = &mut self.seats[at];
        let Link::Poll(poller) = &mut seat.link else { return Ok(()) };
        let (context, one, reader) = (self.context, &mut self.ledgers[seat.ledger], seat.reader);
        let turn = poller.turn(&mut self.buffer, &self.epoll, token, &mut |data| {
            context.deliver(one, reader, data, latency);
        });
        let turn = turn.map_err(|error| {
            let failed = Error::connect(&plan.target, error);
            if seat.joined { failed.gone() } else { failed }
        });
        match turn? {
            Polled::Incomplete | Polled::Closed { unanswered: false } => Ok(()),
            Polled::Connected => self.ask(at),
            Polled::Answered { bytes, first, messages, gap, more } => {
                add(&counts.traffic.bytes_down, bytes as u64);
                add(&counts.traffic.without_news, u64::from(messages == 0 && !first));
                add(&counts.gaps, u64::from(gap));
                if !seat.joined {
                    seat.joined = true;
                    add(&counts.joined, 1);
                }
                if plan.transport == Transport::LongPoll || more {
                    return self.ask(at);
                }
                let (now_ns, interval_ns) = (shared.now_ns(), plan.poll_interval.as_nanos() as u64);
                // Its polls have a schedule too: a slow answer makes the next one no later than it has to be.
                seat.due_ns = match first {
                    true => now_ns + within(interval_ns, seat.index),
                    false => (seat.due_ns + interval_ns).max(now_ns),
                };
                self.due.push(Reverse((seat.due_ns, at)));
                Ok(())
            }
            Polled::Refused(status, body) => {
                Err(Error::Refused { role: Role::Subscriber, refusal: Refusal::of(status, &body) })
            }
            Polled::Closed { unanswered: true } => self.reopen(at),
            Polled::Broken => {
                add(&counts.cut, 1);
                self.reopen(at)
            }
        }
    }

    fn poll_what_is_due(&mut self) -> Result<(), Error> {
        for _ in 0..TURN_MAX {
            let Some(&Reverse((due_ns, at))) = self.due.peek() else { break };
            if due_ns > self.context.shared.now_ns() {
                break;
            }
            self.due.pop();
            self.ask(at)?;
        }
        Ok(())
    }

    fn ask(&mut self, at: usize) -> Result<(), Error> {
        let Context { plan, counts, .. } = self.context;
        let seat = &mut self.seats[at];
        let Link::Poll(poller) = &mut seat.link else { return Ok(()) };
        if !poller.is_connected() {
            return self.reopen(at);
        }
        let channel = plan.channel(plan.channel_of(seat.index));
        let wait_s = (plan.transport == Transport::LongPoll).then_some(plan.poll_wait.as_secs());
        let request = request::poll(&plan.target, &channel, wait_s, poller.cursor(), poller.etag());
        add(&counts.traffic.requests, 1);
        add(&counts.traffic.bytes_up, request.len() as u64);
        // A connection that broke meanwhile says so when it is read.
        let _ = poller.ask(&request);
        Ok(())
    }

    fn reopen(&mut self, at: usize) -> Result<(), Error> {
        let Context { plan, counts, .. } = self.context;
        let seat = &mut self.seats[at];
        let Link::Poll(poller) = &mut seat.link else { return Ok(()) };
        add(&counts.traffic.reopened, 1);
        let opened = poller.reconnect(seat.index, plan.target.address, &self.epoll, at as u64);
        opened.map_err(|error| Error::connect(&plan.target, error).gone())
    }

    /// An end that came together with the last bytes is not told again, so streams are looked at once more.
    fn note_ends(&mut self) {
        let Context { counts, .. } = self.context;
        for seat in &mut self.seats {
            let Link::Stream(stream) = &mut seat.link else { continue };
            let (turn, _) = stream.read(&mut self.buffer, &mut |_| ());
            add(&counts.cut, u64::from(turn == Turn::Ended));
        }
    }
}

/// A moment within an interval, so that those who came together do not poll together: spread evenly by a multiplication
/// instead of chance, the same in every run.
fn within(interval_ns: u64, index: usize) -> u64 {
    let spread = (index as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
    ((u128::from(spread) * u128::from(interval_ns)) >> 32) as u64
}

impl Context<'_> {
    /// Holds one message to the ledger of its channel.
    fn deliver(&self, one: &mut ChannelLedger, reader: usize, data: &[u8], latency: &mut Latency) {
        let seen_ns = self.shared.now_ns();
        let numbered = self.shared.publishing.numbered.load(Acquire);
        let payload = Payload::decode(data, self.plan.payload_bytes).filter(|payload| {
            let channel = payload.number as usize % self.plan.channels;
            payload.run == self.run && u64::from(payload.number) < numbered && channel == one.channel
        });
        let Some(Payload { number, due_ns, .. }) = payload else { return one.ledger.corrupt() };
        let local = number / self.plan.channels as u32;
        one.ledger.publish_to(local as usize + 1);
        if !one.ledger.deliver(reader, local) {
            return;
        }
        add(&self.counts.delivered, 1);
        let (from_ns, to_ns) = (self.shared.from_ns.load(Relaxed), self.shared.to_ns.load(Relaxed));
        if (from_ns..to_ns).contains(&due_ns) {
            latency.record(due_ns, seen_ns);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn polls_of_any_crowd_are_spread_over_the_whole_interval() {
        for count in [2, 20, 1_000] {
            let mut due: Vec<u64> = (0..count).map(|index| within(1_000_000, index)).collect();
            due.sort_unstable();
            let pauses = due.windows(2).map(|pair| pair[1] - pair[0]).chain([1_000_000 - due[count - 1]]);
            let longest = pauses.max().unwrap();
            assert!(longest <= 3_000_000 / count as u64, "{count}: {longest}");
        }
    }
}
