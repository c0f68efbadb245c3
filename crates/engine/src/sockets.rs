//! Sockets over epoll, and io_uring where there is one: one thread, one listener and one shard each. Linux only.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tidewire_hub::admit::OutletId;
use tidewire_hub::limits::Limits;

use crate::counters::Counters;
use crate::event::Control;
use crate::inbox::Inbox;
use crate::kernel::{Kernel, Ready, Write};
use crate::proxies::Proxies;
use crate::shard::{Parts, Shard};
use crate::sys::epoll::{Bell, Epoll};
use crate::sys::listen;
use crate::sys::ring::{self, Ring};

/// What an event loop over sockets is made of.
pub struct Options {
    /// Its name towards the broker.
    pub outlet: OutletId,
    /// Where it is told things.
    pub inbox: Arc<Inbox>,
    /// Where connections come from, non-blocking.
    pub listener: TcpListener,
    /// Whether others hold the listener, too: a drain leaves them its queue.
    pub has_heir: bool,
    /// Whom it tells.
    pub control: Arc<dyn Control>,
    /// Its bounds.
    pub limits: Arc<Limits>,
    /// What it counts.
    pub counters: Arc<Counters>,
    /// When the clock began that messages are stamped by.
    pub epoch: Instant,
    /// How what it sends leaves.
    pub sends: Sends,
    /// See [`Parts::explain`].
    pub explain: bool,
    /// See [`Parts::proxies`].
    pub proxies: Option<Arc<dyn Proxies>>,
    /// Whether the node has room for one more connection. While it has none, those that come wait in the listener's
    /// queue (security rule S39): this loop knows of its own connections only.
    pub has_room: Box<dyn Fn() -> bool + Send>,
    /// Who takes connections that ask for something else. Called on the loop's thread: it must not block.
    pub hand_off: Box<dyn Fn(HandOff) + Send>,
}

/// How bytes leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sends {
    /// In batches through io_uring where the kernel has one and allows it, socket by socket where not.
    Auto,
    /// In batches through io_uring.
    Uring,
    /// Socket by socket.
    Write,
}

/// A connection that asked for something that is no subscription, with what has been read of it.
#[derive(Debug)]
pub struct HandOff {
    /// The connection, non-blocking.
    pub stream: TcpStream,
    /// Who is at the other end, or behind the proxy that is.
    pub client: SocketAddr,
    /// Every byte read from it so far: its first request, perhaps with more behind it.
    pub bytes: Vec<u8>,
    /// What is left of the time that its head may take.
    pub deadline: Duration,
}

/// Opens `count` listeners on one address; port 0 picks one for all of them.
///
/// # Errors
/// `AddrInUse` also where another process listens with a shared port, unless `reuse_port` invites that.
pub fn listen(address: SocketAddr, count: usize, reuse_port: bool) -> io::Result<Vec<TcpListener>> {
    if !reuse_port {
        // A port that is shared among our own loops could be joined by a second process unnoticed. Asking for the
        // whole port first tells whether it is taken. Without listening: who came just then would be taken in, and reset.
        drop(listen::bound(address, false)?);
    }
    let first = listen::listen(address, count > 1 || reuse_port)?;
    let address = first.local_addr()?;
    let mut listeners = vec![first];
    for _ in 1..count {
        listeners.push(listen::listen(address, true)?);
    }
    Ok(listeners)
}

/// Shares a listener that was handed to this process among `count` loops. Who closes it resets nobody in its queue as
/// long as somebody else holds it (delivery rule R30).
///
/// # Errors
/// The system has no descriptor for it, or it is no listener.
pub fn share(listener: TcpListener, count: usize) -> io::Result<Vec<TcpListener>> {
    listen::adopt(&listener)?;
    let mut listeners = (1..count).map(|_| listener.try_clone()).collect::<io::Result<Vec<_>>>()?;
    listeners.push(listener);
    Ok(listeners)
}

/// Starts an event loop. It ends after a [`tidewire_hub::Command::Drain`], with its last connection.
///
/// A panic cuts all of its connections, which resume elsewhere or here, and the loop goes on (delivery rule R23).
///
/// # Errors
/// The kernel has no descriptor or thread for it, or no io_uring where [`Sends::Uring`] demands one.
pub fn spawn(options: Options) -> io::Result<JoinHandle<()>> {
    let Options { outlet, inbox, listener, has_heir, control, limits, .. } = options;
    let Options { counters, epoch, sends, explain, proxies, has_room, hand_off, .. } = options;
    let ring = open_ring(sends)?;
    tracing::debug!(outlet = outlet.0, io_uring = ring.is_some(), "an event loop begins");
    let io = if ring.is_some() { &counters.loops_uring } else { &counters.loops_epoll };
    io.set(1);
    let kernel = Sockets::new(listener, counters.clone(), has_room, hand_off, epoch)?;
    let kernel = Sockets { has_heir, ring, ..kernel };
    let bell = kernel.bell.clone();
    inbox.wake_with(Box::new(move || bell.ring()));
    let seed = crate::shard::seed();
    std::thread::Builder::new().name(format!("tidewire-loop-{}", outlet.0)).spawn(move || {
        crate::shard::run(Shard::new(
            kernel,
            Parts { outlet, inbox, control, limits, counters, seed, explain, proxies },
        ));
    })
}

fn open_ring(sends: Sends) -> io::Result<Option<Ring>> {
    match sends {
        Sends::Write => Ok(None),
        Sends::Uring => Ring::new()
            .map(Some)
            .map_err(|error| io::Error::new(error.kind(), format!("io_uring is not to be had: {error}"))),
        Sends::Auto => Ok(Ring::new()
            .inspect_err(|error| {
                tracing::info!("io_uring is not to be had ({error}); sends leave socket by socket");
            })
            .ok()),
    }
}

/// The kernel of sockets over epoll.
struct Sockets {
    epoll: Epoll,
    ring: Option<Ring>,
    counters: Arc<Counters>,
    bell: Arc<Bell>,
    listener: Option<TcpListener>,
    has_heir: bool,
    listening: bool,
    has_room: Box<dyn Fn() -> bool + Send>,
    hand_off: Box<dyn Fn(HandOff) + Send>,
    epoch: Instant,
}

/// Tokens that no connection has: a slot's index never has all bits set.
const LISTENER: u64 = u64::MAX;
const BELL: u64 = u64::MAX - 1;

impl Sockets {
    fn new(
        listener: TcpListener,
        counters: Arc<Counters>,
        has_room: Box<dyn Fn() -> bool + Send>,
        hand_off: Box<dyn Fn(HandOff) + Send>,
        epoch: Instant,
    ) -> io::Result<Sockets> {
        let (epoll, bell) = (Epoll::new()?, Arc::new(Bell::new()?));
        epoll.watch_level(&*bell, BELL)?;
        // Level-triggered: an edge that was met with EMFILE would never come again (delivery rule R28).
        epoll.watch_level(&listener, LISTENER)?;
        let listener = Some(listener);
        let (ring, has_heir) = (None, false);
        Ok(Sockets {
            epoll,
            ring,
            counters,
            bell,
            listener,
            has_heir,
            listening: true,
            has_room,
            hand_off,
            epoch,
        })
    }
}

impl Kernel for Sockets {
    type Socket = TcpStream;

    fn now_ms(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn now_us(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    fn wait(&mut self, timeout_ms: Option<u64>, ready: &mut Vec<Ready>) {
        for change in self.epoll.wait(timeout_ms) {
            match change.token {
                LISTENER => ready.push(Ready::Accept),
                BELL => self.bell.silence(),
                token => ready.push(Ready::Socket {
                    token,
                    readable: change.readable(),
                    writable: change.writable(),
                    finished: change.finished(),
                    broken: change.broken(),
                }),
            }
        }
    }

    fn accept(&mut self) -> io::Result<TcpStream> {
        if !(self.has_room)() {
            // What is accepted below the bound leaves descriptors for everything else.
            return Err(io::ErrorKind::QuotaExceeded.into());
        }
        listen::accept(self.listener.as_ref().ok_or(io::ErrorKind::WouldBlock)?)
    }

    fn accepting(&mut self, on: bool) {
        let Some(listener) = self.listener.as_ref().filter(|_| self.listening != on) else { return };
        let done = if on { self.epoll.watch_level(listener, LISTENER) } else { self.epoll.forget(listener) };
        // Without memory for a watch it stays as it was, and is tried again.
        self.listening = if done.is_ok() { on } else { !on };
    }

    fn has_heir(&self) -> bool {
        self.has_heir
    }

    fn stop_listening(&mut self) {
        self.listener = None;
    }

    fn watch(&mut self, socket: &TcpStream, token: u64) -> io::Result<()> {
        self.epoll.watch_edges(socket, token)
    }

    fn peer(&self, socket: &TcpStream) -> SocketAddr {
        // A connection that broke meanwhile has no peer; nothing is granted to the unspecified address.
        socket.peer_addr().unwrap_or_else(|_| SocketAddr::from(([0, 0, 0, 0], 0)))
    }

    fn read(&mut self, mut socket: &TcpStream, into: &mut [u8]) -> io::Result<usize> {
        socket.read(into)
    }

    fn write(&mut self, mut socket: &TcpStream, from: &[u8]) -> io::Result<usize> {
        socket.write(from)
    }

    fn write_many(&mut self, writes: &[Write<'_, TcpStream>], outcomes: &mut Vec<io::Result<usize>>) -> u64 {
        // One alone leaves sooner by itself.
        if let Some(ring) = self.ring.as_mut().filter(|_| writes.len() > 1) {
            let sends =
                writes.iter().map(|write| ring::Send { fd: write.socket.as_fd(), bytes: write.bytes });
            return ring.send(sends, outcomes).unwrap_or_else(|ring::Refused| {
                tracing::warn!("io_uring takes nothing any more; sends leave socket by socket");
                self.ring = None;
                self.counters.loops_uring.set(0);
                self.counters.loops_epoll.set(1);
                writes.len() as u64
            });
        }
        outcomes.extend(writes.iter().map(|write| self.write(write.socket, write.bytes)));
        writes.len() as u64
    }

    fn finish(&mut self, socket: &TcpStream) {
        // It fails where the connection is broken, which the next event tells.
        let _ = socket.shutdown(Shutdown::Write);
    }

    fn close(&mut self, socket: TcpStream) {
        drop(socket);
    }

    fn hand_off(&mut self, socket: TcpStream, client: SocketAddr, bytes: Vec<u8>, deadline_ms: u64) {
        // Before it lives on elsewhere: epoll would go on reporting it under a number that others reuse (R27).
        if self.epoll.forget(&socket).is_ok() {
            (self.hand_off)(HandOff {
                stream: socket,
                client,
                bytes,
                deadline: Duration::from_millis(deadline_ms),
            });
        }
    }
}
