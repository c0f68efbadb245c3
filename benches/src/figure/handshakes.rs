//! handshakes: what a TLS handshake costs the server, whole and resumed, beside nginx with the same key.
//!
//! A handshake counts once the server has closed the connection after our farewell: then it has worked on all of it, and the
//! tickets that it sent are here. Our end is reset afterwards, so that nobody keeps a port for the dead.

use std::io;
use std::net::SocketAddrV4;
use std::time::{Duration, Instant};

use rustls::HandshakeKind;

use crate::generator::Faults;
use crate::grid::Grid;
use crate::meter::{Reading, Spent};
use crate::nginx::Nginx;
use crate::options::Plan;
use crate::report::{GENERATOR_BUSY_PERCENT, Round};
use crate::server::{Kind, Server, free_address};
use crate::sys::{Epoll, Interest};
use crate::tls::{self, Identity, Sessions};
use crate::wire::{Way, Wire};

/// Handshakes outstanding, so that the server has work. No more than the tickets that the client keeps: where those of many
/// connections arrive before the next begins, none is lost that the next will need.
const OUTSTANDING: usize = 8;
/// Events of one turn.
const TURN_MAX: usize = 256;
/// With no handshake done for so long, there is no figure.
const STALLED: Duration = Duration::from_secs(10);

const CASES: [(&str, Sessions); 2] = [("whole", Sessions::None), ("resumed", Sessions::Kept)];
const SERVERS: [&str; 2] = ["nginx", "tidewire"];
const CPU: &str = "CPU us per handshake";
const GENERATOR_BUSY: &str = "generator's core busy, %";

/// One table. False if anything went wrong that must not.
pub fn measure(plan: &Plan) -> io::Result<bool> {
    let seconds = plan.seconds.unwrap_or(5);
    let mut grid = Grid::new(format!(
        "handshakes: TLS 1.3, X25519, ECDSA P-256, {OUTSTANDING} outstanding, for {seconds} s; each with its connect and its \
         end"
    ));
    for _ in 0..plan.rounds {
        for (case, sessions) in CASES {
            for server in SERVERS {
                // Sessions of one server are of no use at the next.
                let way = Way::Tls(tls::client(sessions));
                grid.add(&name(server, case), round(plan, server, &way, seconds)?);
            }
        }
    }
    grid.print();
    for (case, _) in CASES {
        let of = |server, row| grid.median(&name(server, case), row);
        if let [Some(nginx), Some(tidewire)] = SERVERS.map(|server| of(server, CPU)) {
            println!("  {case}: CPU of tidewire over that of nginx: x {:.2}", tidewire / nginx);
        }
        for server in SERVERS {
            if of(server, GENERATOR_BUSY).is_some_and(|busy| busy > GENERATOR_BUSY_PERCENT) {
                println!(
                    "  {}: the generator was the bottleneck; CPU still is the server's",
                    name(server, case)
                );
            }
        }
    }
    Ok(grid.is_clean())
}

fn name(server: &str, case: &str) -> String {
    format!("{server}, {case}")
}

fn round(plan: &Plan, server: &str, way: &Way, seconds: usize) -> io::Result<Round> {
    let identity = Identity::create()?;
    if server == SERVERS[0] {
        let nginx = Nginx::start(&identity, way, plan.show_server)?;
        return shake(nginx.address, nginx.process(), way, seconds);
    }
    let options = [
        "--set".to_owned(),
        format!("tls.cert={}", identity.certificate().display()),
        "--set".to_owned(),
        format!("tls.key={}", identity.key().display()),
    ];
    let (address, show) = (free_address()?, plan.show_server);
    let server = Server::start_over(way.clone(), Kind::Tidewire, &plan.tidewire, &options, address, show)?;
    shake(address, server.process(), way, seconds)
}

fn shake(address: SocketAddrV4, process: u32, way: &Way, seconds: usize) -> io::Result<Round> {
    let mut hands = Hands::new(address, way)?;
    hands.run_for(Duration::from_secs(1))?;
    let (from, done, resumed) = (Reading::take(process)?, hands.done, hands.resumed);
    hands.run_for(Duration::from_secs(seconds as u64))?;
    let spent: Spent = from.spent_until(Reading::take(process)?);
    let (done, resumed) = ((hands.done - done) as f64, (hands.resumed - resumed) as f64);
    let mut round = Round::new(Faults { cut: hands.failed, ..Faults::default() });
    round.row("handshakes per second", done / spent.wall_s);
    round.row(CPU, spent.server_s * 1e6 / done);
    round.row("generator CPU us per handshake", spent.generator_s * 1e6 / done);
    round.row("resumed, %", 100.0 * resumed / done);
    round.busy(spent);
    Ok(round)
}

/// Connections that begin again as soon as they have ended.
struct Hands {
    epoll: Epoll,
    address: SocketAddrV4,
    way: Way,
    hands: Vec<Option<Hand>>,
    /// Connections that were begun.
    begun: usize,
    done: u64,
    /// Of these.
    resumed: u64,
    failed: u64,
    tokens: Vec<u64>,
    buffer: Vec<u8>,
}

struct Hand {
    wire: Wire,
    asked: bool,
    handshake: Option<HandshakeKind>,
}

impl Hands {
    fn new(address: SocketAddrV4, way: &Way) -> io::Result<Hands> {
        let mut hands = Hands {
            epoll: Epoll::new(TURN_MAX)?,
            address,
            way: way.clone(),
            hands: (0..OUTSTANDING).map(|_| None).collect(),
            begun: 0,
            done: 0,
            resumed: 0,
            failed: 0,
            tokens: Vec::new(),
            buffer: vec![0; 16 << 10],
        };
        (0..OUTSTANDING).try_for_each(|index| hands.begin(index))?;
        Ok(hands)
    }

    fn begin(&mut self, index: usize) -> io::Result<()> {
        let wire = Wire::begin(self.begun, self.address, &self.way, b"http/1.1")?;
        self.epoll.add(&wire, index as u64, Interest::Writable)?;
        self.begun += 1;
        self.hands[index] = Some(Hand { wire, asked: false, handshake: None });
        Ok(())
    }

    fn run_for(&mut self, time: Duration) -> io::Result<()> {
        let until = Instant::now() + time;
        let (mut progress, mut at) = (Instant::now(), self.done);
        while Instant::now() < until {
            self.turn()?;
            if self.done > at {
                (progress, at) = (Instant::now(), self.done);
            }
            if progress.elapsed() > STALLED {
                return Err(io::Error::other(format!("no handshake for {} s", STALLED.as_secs())));
            }
        }
        Ok(())
    }

    fn turn(&mut self) -> io::Result<()> {
        let mut tokens = std::mem::take(&mut self.tokens);
        self.epoll.wait(&mut tokens, Some(Duration::from_millis(10)))?;
        for &token in &tokens {
            self.turn_hand(token as usize)?;
        }
        self.tokens = tokens;
        Ok(())
    }

    fn turn_hand(&mut self, index: usize) -> io::Result<()> {
        let Some(hand) = self.hands.get_mut(index).and_then(Option::as_mut) else { return Ok(()) };
        // What is cut after a whole handshake was handled all the same.
        let ended = hand.turn(&self.epoll, index as u64, &mut self.buffer).unwrap_or(true);
        if !ended {
            return Ok(());
        }
        if let Some(hand) = self.hands[index].take() {
            match hand.handshake {
                Some(kind) => {
                    self.done += 1;
                    self.resumed += u64::from(kind == HandshakeKind::Resumed);
                }
                None => self.failed += 1,
            }
            hand.wire.reset()?;
        }
        self.begin(index)
    }
}

impl Hand {
    /// True once the server has closed the connection.
    fn turn(&mut self, epoll: &Epoll, token: u64, buffer: &mut [u8]) -> io::Result<bool> {
        if !self.asked {
            self.asked = true;
            self.wire.say(&[])?;
            epoll.change(&self.wire, token, Interest::Readable)?;
            return Ok(false);
        }
        let taken = self.wire.read_on(buffer, &mut |_| Ok(()))?;
        if self.handshake.is_none() {
            self.handshake = self.wire.handshake();
            if self.handshake.is_some() {
                self.wire.bid_farewell()?;
            }
        }
        Ok(taken.ended)
    }
}
