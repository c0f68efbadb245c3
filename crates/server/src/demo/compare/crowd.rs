//! The crowd: clients of this machine beside the browser's one, in every lane as many, so that what a client costs a node can
//! be told. One thread reads for all of them; the nodes are other processes, so it is not charged to them.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use serde::Serialize;
use tidewire_compare::Transport;
use tidewire_load::poller::{Polled, Poller};
use tidewire_load::stream::Seen as Heard;
use tidewire_load::subscriber::{Subscriber, Turn};
use tidewire_load::sys::Epoll;
use tidewire_load::{Target, request};

use super::lane::CHANNEL;

/// The head of a browser's request is longer than a request needs: what Chromium adds, without cookies.
const HEAD_BYTES: usize = 420;
/// What a long poll asks to wait, in seconds.
const WAIT_S: u64 = 25;
/// Connections of a lane that are on their way at the same time.
const JOINING_MAX: usize = 32;
const TURN_MAX: usize = 256;
/// The longest time between two looks at what is asked for.
const LOOK: Duration = Duration::from_millis(50);
/// A lane whose clients are turned away is not to be stormed.
const AGAIN: Duration = Duration::from_millis(500);

/// What is asked of the crowd.
#[derive(Debug, Default)]
pub(super) struct Asked {
    /// Clients of each lane.
    pub clients: AtomicUsize,
    /// From one short poll of a client to its next.
    pub poll_interval_ms: AtomicU64,
    over: AtomicBool,
}

/// What the crowd of one lane has come to, since it began.
#[derive(Debug, Default)]
pub(super) struct Counts {
    joined: AtomicUsize,
    requests: AtomicU64,
    empty: AtomicU64,
    deliveries: AtomicU64,
    gaps: AtomicU64,
    cut: AtomicU64,
}

/// The same at one moment.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct Seen {
    /// Clients that are there.
    pub joined: usize,
    requests: u64,
    empty: u64,
    deliveries: u64,
    gaps: u64,
    cut: u64,
}

impl Counts {
    pub(super) fn look(&self) -> Seen {
        Seen {
            joined: self.joined.load(Relaxed),
            requests: self.requests.load(Relaxed),
            empty: self.empty.load(Relaxed),
            deliveries: self.deliveries.load(Relaxed),
            gaps: self.gaps.load(Relaxed),
            cut: self.cut.load(Relaxed),
        }
    }
}

/// Where the crowd of a lane goes.
pub(super) struct Place {
    pub transport: Transport,
    pub address: SocketAddr,
    pub counts: Arc<Counts>,
}

/// The thread. Dropping it has it end.
pub(super) struct Crowd(Arc<Asked>);

impl Crowd {
    /// Starts with nobody in it.
    pub(super) fn start(places: Vec<Place>, asked: Arc<Asked>) -> io::Result<Crowd> {
        let mut readers = Readers::new(places, asked.clone())?;
        std::thread::Builder::new().name("compare-crowd".into()).spawn(move || {
            if let Err(error) = readers.run() {
                tracing::warn!("the comparison's crowd has left: {error}");
            }
        })?;
        Ok(Crowd(asked))
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.0.over.store(true, Relaxed);
    }
}

struct Readers {
    asked: Arc<Asked>,
    epoll: Epoll,
    /// One crowd after the other.
    lanes: Vec<Seats>,
    buffer: Vec<u8>,
}

struct Seats {
    place: Place,
    target: Target,
    seats: Vec<Seat>,
    /// After somebody was turned away: not before this.
    again: Option<Instant>,
}

struct Seat {
    link: Link,
    joined: bool,
    /// When a short poll is due.
    due: Option<Instant>,
}

enum Link {
    None,
    Stream(Subscriber),
    Poll(Poller),
}

/// A token is a lane and a seat of it.
const LANE_SHIFT: u32 = 32;

impl Readers {
    fn new(places: Vec<Place>, asked: Arc<Asked>) -> io::Result<Readers> {
        let head = format!("User-Agent: {}\r\n", "x".repeat(HEAD_BYTES - "User-Agent: \r\n".len()));
        let lane = |place: Place| Seats {
            target: Target { head: head.clone(), ..Target::at(place.address) },
            place,
            seats: Vec::new(),
            again: None,
        };
        let lanes = places.into_iter().map(lane).collect();
        Ok(Readers { asked, epoll: Epoll::new(TURN_MAX)?, lanes, buffer: vec![0; 256 << 10] })
    }

    fn run(&mut self) -> io::Result<()> {
        let mut tokens = Vec::new();
        while !self.asked.over.load(Relaxed) {
            let clients = self.asked.clients.load(Relaxed);
            let interval = Duration::from_millis(self.asked.poll_interval_ms.load(Relaxed).max(1));
            let now = Instant::now();
            let mut next = LOOK;
            for (number, lane) in self.lanes.iter_mut().enumerate() {
                let token = (number as u64) << LANE_SHIFT;
                lane.gather(clients, now, token, &self.epoll);
                next = next.min(lane.ask_what_is_due(now, interval, token, &self.epoll));
            }
            self.epoll.wait(&mut tokens, Some(next))?;
            for &token in &tokens {
                let Some(lane) = self.lanes.get_mut((token >> LANE_SHIFT) as usize) else { continue };
                lane.turn(token, interval, &self.epoll, &mut self.buffer);
            }
        }
        Ok(())
    }
}

impl Seats {
    /// Has as many there as are asked for, a few at a time.
    fn gather(&mut self, clients: usize, now: Instant, token: u64, epoll: &Epoll) {
        let counts = &self.place.counts;
        for seat in self.seats.drain(clients.min(self.seats.len())..) {
            counts.joined.fetch_sub(usize::from(seat.joined), Relaxed);
        }
        if self.again.is_some_and(|again| now < again) {
            return;
        }
        self.again = None;
        let joining = self.seats.iter().filter(|seat| !seat.joined && !matches!(seat.link, Link::None));
        let mut room = JOINING_MAX.saturating_sub(joining.count());
        for at in 0..clients {
            if room == 0 {
                return;
            }
            if at == self.seats.len() {
                self.seats.push(Seat { link: Link::None, joined: false, due: None });
            }
            if matches!(self.seats[at].link, Link::None) {
                room -= 1;
                self.connect(at, token | at as u64, epoll);
            }
        }
    }

    fn connect(&mut self, at: usize, token: u64, epoll: &Epoll) {
        let address = self.place.address;
        let link = if self.place.transport.is_stream() {
            Subscriber::connect(at, address, epoll, token).map(Link::Stream)
        } else {
            Poller::connect(at, address, epoll, token).map(Link::Poll)
        };
        match link {
            Ok(link) => self.seats[at].link = link,
            Err(_) => self.lose(at),
        }
    }

    /// A seat whose connection is gone is taken anew.
    fn lose(&mut self, at: usize) {
        let seat = &mut self.seats[at];
        self.place.counts.joined.fetch_sub(usize::from(seat.joined), Relaxed);
        self.place.counts.cut.fetch_add(1, Relaxed);
        *seat = Seat { link: Link::None, joined: false, due: None };
        self.again = Some(Instant::now() + AGAIN);
    }

    /// Sends the short polls that are due, and says how long until the next one is.
    fn ask_what_is_due(&mut self, now: Instant, interval: Duration, token: u64, epoll: &Epoll) -> Duration {
        let mut next = LOOK;
        for at in 0..self.seats.len() {
            let Some(due) = self.seats[at].due else { continue };
            // A shorter interval holds from now on, and not from after the next poll.
            let due = due.min(now + interval);
            self.seats[at].due = Some(due);
            if due <= now {
                self.seats[at].due = None;
                self.ask(at, token | at as u64, epoll);
            } else {
                next = next.min(due - now);
            }
        }
        next
    }

    fn ask(&mut self, at: usize, token: u64, epoll: &Epoll) {
        let transport = self.place.transport;
        let Link::Poll(poller) = &mut self.seats[at].link else { return };
        if !poller.is_connected() {
            if poller.reconnect(at, self.place.address, epoll, token).is_err() {
                self.lose(at);
            }
            return;
        }
        let wait_s = (transport == Transport::Longpoll).then_some(WAIT_S);
        let request = request::poll(&self.target, CHANNEL, wait_s, poller.cursor(), poller.etag());
        self.place.counts.requests.fetch_add(1, Relaxed);
        // A connection that broke meanwhile says so when it is read.
        let _ = poller.ask(&request);
    }

    fn turn(&mut self, token: u64, interval: Duration, epoll: &Epoll, buffer: &mut [u8]) {
        let at = (token & u64::from(u32::MAX)) as usize;
        match self.seats.get(at).map(|seat| &seat.link) {
            Some(Link::Stream(_)) => self.turn_stream(at, token, epoll, buffer),
            Some(Link::Poll(_)) => self.turn_poll(at, token, interval, epoll, buffer),
            // Somebody left in the same turn.
            Some(Link::None) | None => {}
        }
    }

    fn turn_stream(&mut self, at: usize, token: u64, epoll: &Epoll, buffer: &mut [u8]) {
        let counts = &self.place.counts;
        let seat = &mut self.seats[at];
        let Link::Stream(stream) = &mut seat.link else { return };
        if !stream.has_asked() {
            let transport = match self.place.transport {
                Transport::Ws => tidewire_load::Transport::WebSocket,
                _ => tidewire_load::Transport::Sse,
            };
            let request = request::subscribe(&self.target, transport, CHANNEL);
            counts.requests.fetch_add(1, Relaxed);
            if stream.ask(&request, epoll, token).is_err() {
                self.lose(at);
            }
            return;
        }
        let (mut joined, mut refused) = (false, false);
        let (turn, _) = stream.read(buffer, &mut |heard| match heard {
            Heard::Accepted => joined = true,
            Heard::Message(_) => drop(counts.deliveries.fetch_add(1, Relaxed)),
            Heard::Gap => drop(counts.gaps.fetch_add(1, Relaxed)),
            Heard::Refused(..) => refused = true,
            Heard::Cursor(_) | Heard::Ping(_) | Heard::Ended => {}
        });
        if joined && !seat.joined {
            seat.joined = true;
            counts.joined.fetch_add(1, Relaxed);
        }
        if refused || turn == Turn::Ended {
            self.lose(at);
        }
    }

    fn turn_poll(&mut self, at: usize, token: u64, interval: Duration, epoll: &Epoll, buffer: &mut [u8]) {
        let counts = &self.place.counts;
        let seat = &mut self.seats[at];
        let Link::Poll(poller) = &mut seat.link else { return };
        let polled = poller.turn(buffer, epoll, token, &mut |_| {
            counts.deliveries.fetch_add(1, Relaxed);
        });
        match polled {
            Ok(Polled::Incomplete | Polled::Closed { unanswered: false }) => {}
            Ok(Polled::Connected) => self.ask(at, token, epoll),
            Ok(Polled::Answered { first, messages, gap, more, .. }) => {
                counts.empty.fetch_add(u64::from(messages == 0 && !first), Relaxed);
                counts.gaps.fetch_add(u64::from(gap), Relaxed);
                if !seat.joined {
                    seat.joined = true;
                    counts.joined.fetch_add(1, Relaxed);
                }
                if more || self.place.transport == Transport::Longpoll {
                    self.ask(at, token, epoll);
                } else {
                    // Those who came together are not to poll together.
                    let wait = if first { spread(interval, at) } else { interval };
                    seat.due = Some(Instant::now() + wait);
                }
            }
            Ok(Polled::Refused(..) | Polled::Closed { unanswered: true } | Polled::Broken) | Err(_) => {
                self.lose(at);
            }
        }
    }
}

/// A moment within an interval, by a multiplication instead of chance: the same for a seat every time.
fn spread(interval: Duration, at: usize) -> Duration {
    let share = (at as u32).wrapping_mul(0x9E37_79B9);
    interval.mul_f64(f64::from(share) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_who_came_together_poll_all_over_the_interval() {
        let interval = Duration::from_secs(1);
        let mut due: Vec<Duration> = (0..100).map(|at| spread(interval, at)).collect();
        due.sort_unstable();
        assert!(due.windows(2).all(|pair| pair[1] - pair[0] < Duration::from_millis(30)), "{due:?}");
        assert!(due[99] <= interval);
    }
}
