//! publish: as many publishes a second as the server takes, over many channels with one SSE subscriber each.
//!
//! A closed loop: each connection sends a POST, waits for its answer, and sends the next on another of its channels. A
//! channel belongs to one connection, so its messages have one order and their numbers have no hole. Requests are made
//! beforehand; a publish costs the generator one write, two reads and its share of a wait.

use std::collections::VecDeque;
use std::io::{self, Read as _};
use std::net::{SocketAddrV4, TcpStream};
use std::time::{Duration, Instant};

use crate::figure::delivery::SETTLE;
use crate::generator::{Faults, PAYLOAD_BYTES};
use crate::grid::Grid;
use crate::latency::Latency;
use crate::meter::Reading;
use crate::options::Plan;
use crate::payload::Payload;
use crate::report::{GENERATOR_BUSY_PERCENT, Round};
use crate::request;
use crate::server::{Kind, Server};
use crate::stream::Seen;
use crate::subscriber::{Subscriber, Turn, write_whole};
use crate::sys::{Epoll, Interest};
use tidewire_load::answer::Answer;
use tidewire_load::meter::times_scheduled;
use tidewire_load::plan::{Target, Transport};

const CHANNELS: usize = 1_000;
/// Enough that the server is never without work, and few enough for a server with a handful of backends.
const CONNECTIONS: [usize; 2] = [16, 64];
/// Publishes a second on one core.
const BUDGET_PER_SECOND: f64 = 60_000.0;

const PER_SECOND: &str = "publishes per second";
const GENERATOR_BUSY: &str = "generator's core busy, %";

/// Tokens from here on are publishers.
const PUBLISHERS: u64 = 1 << 32;
/// Events of one turn.
const TURN_MAX: usize = 256;
/// Subscribers outstanding while they gather.
const GATHERING: usize = 64;
/// What takes longer than this has failed.
const STALLED: Duration = Duration::from_secs(10);

/// One table. False if anything went wrong that must not.
pub fn measure(plan: &Plan) -> io::Result<bool> {
    let seconds = plan.seconds.unwrap_or(5);
    let cases = plan.connections.map_or(CONNECTIONS.to_vec(), |connections| vec![connections]);
    let mut grid = Grid::new(format!(
        "publish: {PAYLOAD_BYTES} bytes to {CHANNELS} channels of one SSE subscriber each, POSTs on kept-alive \
         connections, one unanswered on each, for {seconds} s"
    ));
    for _ in 0..plan.rounds {
        for &connections in &cases {
            let server = Server::start(Kind::Tidewire, &plan.tidewire, plan.show_server)?;
            grid.add(&name(connections), round(&server, connections, seconds)?);
        }
    }
    grid.print();
    for &connections in &cases {
        verdict(&grid, &name(connections));
    }
    Ok(grid.is_clean())
}

fn name(connections: usize) -> String {
    format!("{connections} connections")
}

fn verdict(grid: &Grid, case: &str) {
    let (Some(rate), Some(busy)) = (grid.median(case, PER_SECOND), grid.median(case, GENERATOR_BUSY)) else {
        return;
    };
    let judged = if rate >= BUDGET_PER_SECOND { "met" } else { "MISSED" };
    println!("  {case}: >= {BUDGET_PER_SECOND} publishes a second: {judged}");
    if busy > GENERATOR_BUSY_PERCENT {
        println!("    the generator was the bottleneck: publishes a second are its figure, not the server's");
    }
}

fn round(server: &Server, connections: usize, seconds: usize) -> io::Result<Round> {
    let mut press = Press::new(server.address, connections)?;
    press.gather()?;
    press.run_for(SETTLE)?;
    press.begin()?;
    press.run_for(Duration::from_secs(1))?;
    press.latency.clear();
    let (from, published, runs) =
        (Reading::take(server.process())?, press.answered, times_scheduled(server.process())?);
    press.run_for(Duration::from_secs(seconds as u64))?;
    let spent = from.spent_until(Reading::take(server.process())?);
    let runs = (times_scheduled(server.process())? - runs) as f64;
    let published = (press.answered - published) as f64;
    press.drain()?;
    let faults = press.faults();
    let mut round = Round::new(faults);
    round.row(PER_SECOND, published / spent.wall_s);
    round.row("CPU us per publish", spent.server_s * 1e6 / published);
    round.row("generator CPU us per publish", spent.generator_s * 1e6 / published);
    let quantile = |share| press.latency.quantile_ms(share, faults.wrong.lost);
    round.row("POST to delivery ms, p50", quantile(0.5));
    round.row("POST to delivery ms, p99", quantile(0.99));
    round.row("POST to delivery ms, max", quantile(1.0));
    round.row("threads scheduled per publish", runs / published);
    if let Some(writes) = server.counter("tidewire_writes_total") {
        // The answers of an API server that is no outlet are not among them.
        round.row("writes of outlets per publish", writes / press.answered as f64);
    }
    round.busy(spent);
    Ok(round)
}

/// Connections that publish, streams that hear, and what both have seen.
struct Press {
    epoll: Epoll,
    target: SocketAddrV4,
    listeners: Vec<Listener>,
    publishers: Vec<Publisher>,
    /// Whether an answer is followed by the next POST.
    goes_on: bool,
    joined: usize,
    answered: u64,
    latency: Latency,
    faults: Faults,
    clock: Instant,
    tokens: Vec<u64>,
    buffer: Vec<u8>,
}

/// One stream, and where its channel stands.
struct Listener {
    stream: Option<Subscriber>,
    joined: bool,
    /// Messages published on its channel.
    sent: u32,
    /// The number of the next one that it must hear.
    next: u32,
}

/// One kept-alive connection.
struct Publisher {
    socket: TcpStream,
    /// Its channels, each with a request that lacks nothing but its payload, in turn.
    turns: VecDeque<(usize, Vec<u8>)>,
    answer: Vec<u8>,
    waits: bool,
}

impl Press {
    fn new(target: SocketAddrV4, connections: usize) -> io::Result<Press> {
        let epoll = Epoll::new(TURN_MAX)?;
        let mut publishers = Vec::new();
        for index in 0..connections {
            let socket = TcpStream::connect(target)?;
            socket.set_nodelay(true)?;
            socket.set_nonblocking(true)?;
            epoll.add(&socket, PUBLISHERS + index as u64, Interest::Readable)?;
            let of = |channel| {
                (
                    channel,
                    request::publish(&Target::at(target.into()), &format!("bench:{channel}"), PAYLOAD_BYTES),
                )
            };
            let turns = (index..CHANNELS).step_by(connections).map(of).collect();
            publishers.push(Publisher { socket, turns, answer: Vec::new(), waits: false });
        }
        let listener = |_| Listener { stream: None, joined: false, sent: 0, next: 0 };
        Ok(Press {
            epoll,
            target,
            listeners: (0..CHANNELS).map(listener).collect(),
            publishers,
            goes_on: false,
            joined: 0,
            answered: 0,
            latency: Latency::new(),
            faults: Faults::default(),
            clock: Instant::now(),
            tokens: Vec::new(),
            buffer: vec![0; 64 << 10],
        })
    }

    /// Has every channel heard.
    fn gather(&mut self) -> io::Result<()> {
        let (began, mut opened) = (Instant::now(), 0);
        while self.joined < CHANNELS {
            while opened < CHANNELS.min(self.joined + GATHERING) {
                let stream = Subscriber::connect(opened, self.target.into(), &self.epoll, opened as u64)?;
                self.listeners[opened].stream = Some(stream);
                opened += 1;
            }
            self.turn(Duration::from_millis(100))?;
            if self.faults.cut > 0 || began.elapsed() > STALLED {
                return Err(io::Error::other(format!("{} of {CHANNELS} subscribers joined", self.joined)));
            }
        }
        Ok(())
    }

    /// Every connection sends its first POST.
    fn begin(&mut self) -> io::Result<()> {
        self.goes_on = true;
        (0..self.publishers.len()).try_for_each(|index| self.publish(index))
    }

    fn run_for(&mut self, time: Duration) -> io::Result<()> {
        let until = Instant::now() + time;
        while Instant::now() < until {
            self.turn(Duration::from_millis(10))?;
        }
        Ok(())
    }

    /// Waits for what is on its way.
    fn drain(&mut self) -> io::Result<()> {
        self.goes_on = false;
        let began = Instant::now();
        let on_its_way = |press: &Press| {
            press.publishers.iter().any(|publisher| publisher.waits)
                || press.listeners.iter().any(|listener| listener.next < listener.sent)
        };
        while on_its_way(self) && began.elapsed() < STALLED {
            self.turn(Duration::from_millis(10))?;
        }
        Ok(())
    }

    fn faults(&self) -> Faults {
        let mut faults = self.faults;
        let missing = self.listeners.iter().map(|listener| u64::from(listener.sent - listener.next));
        faults.wrong.lost += missing.sum::<u64>();
        faults
    }

    fn turn(&mut self, timeout: Duration) -> io::Result<()> {
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

    fn publish(&mut self, index: usize) -> io::Result<()> {
        let due_ns = self.clock.elapsed().as_nanos() as u64;
        let publisher = &mut self.publishers[index];
        let Some((channel, mut request)) = publisher.turns.pop_front() else { return Ok(()) };
        let listener = &mut self.listeners[channel];
        let head_bytes = request.len();
        request.extend_from_slice(&Payload { run: 0, number: listener.sent, due_ns }.encode(PAYLOAD_BYTES));
        listener.sent += 1;
        write_whole(&mut publisher.socket, &request)?;
        request.truncate(head_bytes);
        publisher.turns.push_back((channel, request));
        publisher.waits = true;
        Ok(())
    }

    fn turn_publisher(&mut self, index: usize) -> io::Result<()> {
        let publisher = &mut self.publishers[index];
        match publisher.socket.read(&mut self.buffer) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => publisher.answer.extend_from_slice(&self.buffer[..count]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        }
        let answer = Answer::read(&publisher.answer)
            .map_err(|_| io::Error::other("the answer to a publish has no Content-Length"))?;
        let Some(answer) = answer else { return Ok(()) };
        self.faults.refused += u64::from(answer.status != 200);
        publisher.answer.clear();
        publisher.waits = false;
        self.answered += 1;
        if self.goes_on { self.publish(index) } else { Ok(()) }
    }

    fn turn_listener(&mut self, token: u64) -> io::Result<()> {
        let channel = token as usize;
        let listener = &mut self.listeners[channel];
        let Some(stream) = &mut listener.stream else { return Ok(()) };
        if !stream.has_asked() {
            let target = Target::at(self.target.into());
            let request = request::subscribe(&target, Transport::Sse, &format!("bench:{channel}"));
            return stream.ask(&request, &self.epoll, token);
        }
        let now_ns = self.clock.elapsed().as_nanos() as u64;
        let (latency, faults, joined, next) =
            (&mut self.latency, &mut self.faults, &mut listener.joined, &mut listener.next);
        let turn = stream.read(&mut self.buffer, &mut |seen| match seen {
            Seen::Message(data) => match Payload::decode(data, PAYLOAD_BYTES) {
                Some(payload) if payload.number < *next => faults.wrong.duplicated += 1,
                Some(payload) if payload.number < listener.sent => {
                    latency.record(payload.due_ns, now_ns);
                    faults.wrong.lost += u64::from(payload.number - *next);
                    *next = payload.number + 1;
                }
                _ => faults.wrong.corrupt += 1,
            },
            Seen::Cursor(_) if !std::mem::replace(joined, true) => self.joined += 1,
            Seen::Gap => faults.gaps += 1,
            Seen::Cursor(_) | Seen::Accepted | Seen::Ping(_) | Seen::Ended | Seen::Refused(..) => {}
        });
        if turn.0 == Turn::Ended {
            listener.stream = None;
            self.faults.cut += 1;
        }
        Ok(())
    }
}
