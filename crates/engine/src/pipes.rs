//! Pipes in memory: the same shard for connections that the API server holds.
//!
//! A subscription may arrive on a connection that the API server already reads, over TLS, or on a system without epoll. It is
//! served through a pipe, so that there is one code path for streams: what a socket would carry, a pipe carries.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::{Buf as _, Bytes, BytesMut};
use tidewire_hub::admit::OutletId;
use tidewire_hub::limits::Limits;

use crate::counters::Counters;
use crate::event::{Control, Over};
use crate::inbox::Inbox;
use crate::kernel::{Kernel, Ready, Write};
use crate::shard::{Parts, Shard};
use crate::trunk::{Berth, Opened, Trunk};

/// Bytes that a pipe holds in each direction. Beyond: the writer waits. As with sockets: what waits in a shard's queue can
/// still be judged, and counts against the memory budget; what waits here does not.
pub(crate) const PIPE_BYTES_MAX: usize = 16 << 10;

/// What an event loop over pipes is made of.
pub struct Options {
    /// Its name towards the broker.
    pub outlet: OutletId,
    /// Where it is told things.
    pub inbox: Arc<Inbox>,
    /// Whom it tells.
    pub control: Arc<dyn Control>,
    /// Its bounds.
    pub limits: Arc<Limits>,
    /// What it counts.
    pub counters: Arc<Counters>,
    /// When the clock began that messages are stamped by.
    pub epoch: Instant,
    /// See [`Parts::explain`].
    pub explain: bool,
}

/// Starts an event loop over pipes. It ends after a [`tidewire_hub::Command::Drain`], with its last connection.
///
/// # Errors
/// The system has no thread for it.
pub fn spawn(options: Options) -> io::Result<Pipes> {
    let Options { outlet, inbox, control, limits, counters, epoch, explain } = options;
    let pipes = Pipes { desk: Arc::new(Desk::default()) };
    let (desk, bell) = (pipes.desk.clone(), pipes.desk.clone());
    inbox.wake_with(Box::new(move || bell.ring(|_| ())));
    let seed = crate::shard::seed();
    std::thread::Builder::new().name("tidewire-pipes".to_owned()).spawn(move || {
        let kernel = PipeKernel { desk, readers: Vec::new(), epoch };
        crate::shard::run(Shard::new(
            kernel,
            // Who opens a pipe knows already who the client is.
            Parts { outlet, inbox, control, limits, counters, seed, explain, proxies: None },
        ));
    })?;
    Ok(pipes)
}

/// Where connections to an event loop over pipes are opened.
#[derive(Clone)]
pub struct Pipes {
    desk: Arc<Desk>,
}

impl Pipes {
    /// Opens a connection for the client at `peer`. After a drain it has ended before it began.
    #[must_use]
    pub fn open(&self, peer: SocketAddr, over: Over) -> PipeEnd {
        let desk = self.desk.clone();
        let pipe = Arc::new(Pipe { peer, over, desk, mooring: OnceLock::new(), ends: Mutex::default() });
        let mut gone = false;
        self.desk.ring(|waiting| {
            gone = waiting.closed;
            if !gone {
                waiting.arrivals.push_back(pipe.clone());
            }
        });
        if gone {
            // Only then: one that arrived in time may have been closed by the drain already.
            pipe.lock().shard_gone = true;
        }
        PipeEnd { pipe }
    }
}

/// The client's end of a pipe. Dropping it resets the connection.
pub struct PipeEnd {
    pipe: Arc<Pipe>,
}

impl PipeEnd {
    /// Takes everything that the shard has written; nothing of it is its end.
    pub fn poll_take(&mut self, context: &mut Context<'_>) -> Poll<Bytes> {
        let mut ends = self.pipe.lock();
        if ends.outward.is_empty() {
            if ends.shard_finished || ends.shard_gone {
                return Poll::Ready(Bytes::new());
            }
            if !ends.reader.as_ref().is_some_and(|reader| reader.will_wake(context.waker())) {
                ends.reader = Some(context.waker().clone());
            }
            return Poll::Pending;
        }
        let taken = std::mem::take(&mut ends.outward);
        let (token, unblocked) = (ends.token, std::mem::take(&mut ends.shard_blocked));
        drop(ends);
        if unblocked {
            self.pipe.desk.changed(token);
        }
        Poll::Ready(taken.into())
    }

    /// Writes what the client sends.
    ///
    /// # Errors
    /// `BrokenPipe` once the shard has closed the connection.
    pub fn poll_write(&mut self, context: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        self.pipe.poll_write(context, from)
    }

    /// Ends the client's half of the connection.
    pub fn finish(&mut self) {
        self.pipe.finish();
    }

    /// Has what the shard writes end up in `trunk` from now on, behind `rest`, which was taken and not used.
    #[must_use]
    pub fn moor(self, trunk: &Trunk, rest: &[u8]) -> Moored {
        let mut ends = self.pipe.lock();
        let written = std::mem::take(&mut ends.outward);
        let berth = trunk.enter(self.pipe.clone(), &[rest, &written]);
        let _ = self.pipe.mooring.set((trunk.clone(), berth));
        if ends.shard_finished || ends.shard_gone {
            trunk.end(berth);
        }
        let (token, unblocked) = (ends.token, std::mem::take(&mut ends.shard_blocked));
        drop(ends);
        if unblocked {
            self.pipe.desk.changed(token);
        }
        Moored { end: self, trunk: trunk.clone(), berth }
    }
}

impl Drop for PipeEnd {
    fn drop(&mut self) {
        let mut ends = self.pipe.lock();
        ends.client_gone = true;
        let token = ends.token;
        drop(ends);
        self.pipe.desk.broken(token);
    }
}

/// The client's end of a pipe whose bytes are taken out of a trunk. Dropping it resets the connection.
pub struct Moored {
    end: PipeEnd,
    trunk: Trunk,
    berth: Berth,
}

impl Moored {
    /// What its bytes are known by.
    #[must_use]
    pub fn berth(&self) -> Berth {
        self.berth
    }

    /// Where what its client sends goes in.
    #[must_use]
    pub fn inlet(&self) -> Inlet {
        Inlet { pipe: self.end.pipe.clone() }
    }
}

/// Where what a client sends goes into a pipe that is moored.
pub struct Inlet {
    pipe: Arc<Pipe>,
}

impl Inlet {
    /// Writes what the client sends.
    ///
    /// # Errors
    /// `BrokenPipe` once the shard has closed the connection.
    pub fn poll_write(&mut self, context: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        self.pipe.poll_write(context, from)
    }

    /// Ends the client's half of the connection.
    pub fn finish(self) {
        self.pipe.finish();
    }
}

impl Drop for Moored {
    fn drop(&mut self) {
        self.trunk.exit(self.berth);
    }
}

/// One connection.
pub(crate) struct Pipe {
    peer: SocketAddr,
    over: Over,
    desk: Arc<Desk>,
    /// The trunk that it ends in, once it does.
    mooring: OnceLock<(Trunk, Berth)>,
    ends: Mutex<Ends>,
}

#[derive(Default)]
struct Ends {
    /// How the shard calls it, once it does.
    token: Option<u64>,
    inward: BytesMut,
    /// Without room to spare: most pipes are empty most of the time, and are many.
    outward: Vec<u8>,
    reader: Option<Waker>,
    writer: Option<Waker>,
    shard_blocked: bool,
    shard_finished: bool,
    shard_gone: bool,
    client_finished: bool,
    client_gone: bool,
}

impl Pipe {
    fn lock(&self) -> MutexGuard<'_, Ends> {
        // Nothing panics while it holds this lock.
        self.ends.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn poll_write(&self, context: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        let mut ends = self.lock();
        if ends.shard_gone {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let count = from.len().min(PIPE_BYTES_MAX - ends.inward.len());
        if count == 0 && !from.is_empty() {
            ends.writer = Some(context.waker().clone());
            return Poll::Pending;
        }
        ends.inward.extend_from_slice(&from[..count]);
        let token = ends.token;
        drop(ends);
        self.desk.changed(token);
        Poll::Ready(Ok(count))
    }

    fn finish(&self) {
        let mut ends = self.lock();
        ends.client_finished = true;
        let token = ends.token;
        drop(ends);
        self.desk.finished(token);
    }

    /// Tells the shard that there is room again.
    pub(crate) fn unblocked(&self) {
        let token = self.lock().token;
        self.desk.changed(token);
    }

    /// Takes as much from the shard as there is room for. Whoever waits for it is given back, to be woken.
    fn put(&self, from: &[u8]) -> (io::Result<usize>, Option<Waker>) {
        let mut ends = self.lock();
        if ends.client_gone {
            return (Err(io::ErrorKind::BrokenPipe.into()), None);
        }
        if let Some((trunk, berth)) = self.mooring.get() {
            return trunk.open().put(*berth, from);
        }
        let count = from.len().min(PIPE_BYTES_MAX - ends.outward.len());
        if ends.outward.is_empty() {
            ends.outward.reserve_exact(count);
        }
        ends.outward.extend_from_slice(&from[..count]);
        ends.shard_blocked |= count < from.len();
        let none = count == 0 && !from.is_empty();
        let outcome = if none { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(count) };
        (outcome, ends.reader.take())
    }
}

/// Where arrivals and changes wait for the loop.
#[derive(Default)]
pub(crate) struct Desk {
    waiting: Mutex<Waiting>,
    bell: Condvar,
}

#[derive(Default)]
struct Waiting {
    arrivals: VecDeque<Arc<Pipe>>,
    changed: Vec<u64>,
    /// Clients that have ended their half or are gone are told of apart: who waits for an answer does not read.
    finished: Vec<u64>,
    broken: Vec<u64>,
    rung: bool,
    paused: bool,
    closed: bool,
}

impl Desk {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ring(&self, leave: impl FnOnce(&mut Waiting)) {
        let mut waiting = self.lock();
        leave(&mut waiting);
        waiting.rung = true;
        drop(waiting);
        self.bell.notify_one();
    }

    /// A pipe without a token has not been accepted yet: the shard looks at it when it is.
    fn changed(&self, token: Option<u64>) {
        if let Some(token) = token {
            self.ring(|waiting| waiting.changed.push(token));
        }
    }

    fn finished(&self, token: Option<u64>) {
        if let Some(token) = token {
            self.ring(|waiting| waiting.finished.push(token));
        }
    }

    fn broken(&self, token: Option<u64>) {
        if let Some(token) = token {
            self.ring(|waiting| waiting.broken.push(token));
        }
    }
}

/// The kernel of pipes in memory.
struct PipeKernel {
    desk: Arc<Desk>,
    /// Who is woken at the end of a batch.
    readers: Vec<Waker>,
    epoch: Instant,
}

impl Kernel for PipeKernel {
    type Socket = Arc<Pipe>;

    fn now_ms(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn now_us(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    fn wait(&mut self, timeout_ms: Option<u64>, ready: &mut Vec<Ready>) {
        let quiet = |waiting: &mut Waiting| !waiting.rung;
        let waiting = self.desk.lock();
        let mut waiting = match timeout_ms {
            None => self.desk.bell.wait_while(waiting, quiet).unwrap_or_else(PoisonError::into_inner),
            Some(ms) => {
                let timeout = Duration::from_millis(ms);
                let outcome = self.desk.bell.wait_timeout_while(waiting, timeout, quiet);
                outcome.unwrap_or_else(PoisonError::into_inner).0
            }
        };
        waiting.rung = false;
        if !waiting.arrivals.is_empty() && !waiting.paused {
            ready.push(Ready::Accept);
        }
        waiting.changed.sort_unstable();
        waiting.changed.dedup();
        let flags = |token, finished, broken| Ready::Socket {
            token,
            readable: true,
            writable: true,
            finished,
            broken,
        };
        ready.extend(waiting.changed.drain(..).map(|token| flags(token, false, false)));
        ready.extend(waiting.finished.drain(..).map(|token| flags(token, true, false)));
        ready.extend(waiting.broken.drain(..).map(|token| flags(token, false, true)));
    }

    fn accept(&mut self) -> io::Result<Arc<Pipe>> {
        let mut waiting = self.desk.lock();
        // More may wait than one turn accepts.
        waiting.rung |= waiting.arrivals.len() > 1;
        waiting.arrivals.pop_front().ok_or_else(|| io::ErrorKind::WouldBlock.into())
    }

    fn accepting(&mut self, on: bool) {
        self.desk.ring(|waiting| waiting.paused = !on);
    }

    fn stop_listening(&mut self) {
        let mut waiting = self.desk.lock();
        waiting.closed = true;
        let left = std::mem::take(&mut waiting.arrivals);
        drop(waiting);
        left.into_iter().for_each(|pipe| self.close(pipe));
    }

    fn watch(&mut self, socket: &Arc<Pipe>, token: u64) -> io::Result<()> {
        let mut ends = socket.lock();
        ends.token = Some(token);
        let finished = ends.client_finished;
        drop(ends);
        if finished {
            self.desk.finished(Some(token));
        }
        Ok(())
    }

    fn peer(&self, socket: &Arc<Pipe>) -> SocketAddr {
        socket.peer
    }

    fn over(&self, socket: &Arc<Pipe>) -> Over {
        socket.over
    }

    fn read(&mut self, socket: &Arc<Pipe>, into: &mut [u8]) -> io::Result<usize> {
        let mut ends = socket.lock();
        if ends.client_gone {
            // Also where it went before it had a token to be told of by.
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        if ends.inward.is_empty() {
            return if ends.client_finished { Ok(0) } else { Err(io::ErrorKind::WouldBlock.into()) };
        }
        let count = ends.inward.len().min(into.len());
        into[..count].copy_from_slice(&ends.inward[..count]);
        ends.inward.advance(count);
        if ends.inward.is_empty() {
            // A stream's client says nothing more.
            ends.inward = BytesMut::new();
        }
        // The end of the stream is read by the next call, and no change will announce it.
        if count == into.len() || ends.client_finished {
            let token = ends.token;
            self.desk.changed(token);
        }
        let writer = ends.writer.take();
        drop(ends);
        writer.into_iter().for_each(Waker::wake);
        Ok(count)
    }

    fn write(&mut self, socket: &Arc<Pipe>, from: &[u8]) -> io::Result<usize> {
        let (outcome, reader) = socket.put(from);
        reader.into_iter().for_each(Waker::wake);
        outcome
    }

    /// Readers are woken when everything is there: those of one HTTP/2 connection share a task, which would otherwise take
    /// a message from each pipe as it comes and write it out by itself.
    fn write_many(&mut self, writes: &[Write<'_, Arc<Pipe>>], outcomes: &mut Vec<io::Result<usize>>) -> u64 {
        let mut opened: Option<Opened<'_>> = None;
        for Write { socket, bytes } in writes {
            // The pipes of a trunk tend to stand side by side. Nothing else is locked while one is open.
            let mooring = socket.mooring.get();
            opened = opened.filter(|opened| mooring.is_some_and(|(trunk, _)| opened.is_of(trunk)));
            let (outcome, reader) = match mooring {
                Some((trunk, berth)) => opened.get_or_insert_with(|| trunk.open()).put(*berth, bytes),
                None => socket.put(bytes),
            };
            outcomes.push(outcome);
            self.readers.extend(reader);
        }
        drop(opened);
        self.readers.drain(..).for_each(Waker::wake);
        writes.len() as u64
    }

    fn finish(&mut self, socket: &Arc<Pipe>) {
        let mut ends = socket.lock();
        ends.shard_finished = true;
        if let Some((trunk, berth)) = socket.mooring.get() {
            trunk.end(*berth);
        }
        let reader = ends.reader.take();
        drop(ends);
        reader.into_iter().for_each(Waker::wake);
    }

    fn close(&mut self, socket: Arc<Pipe>) {
        let mut ends = socket.lock();
        (ends.shard_gone, ends.token) = (true, None);
        if let Some((trunk, berth)) = socket.mooring.get() {
            trunk.end(*berth);
        }
        let wakers = [ends.reader.take(), ends.writer.take()];
        drop(ends);
        wakers.into_iter().flatten().for_each(Waker::wake);
    }

    fn hand_off(&mut self, socket: Arc<Pipe>, _client: SocketAddr, _bytes: Vec<u8>, _deadline_ms: u64) {
        // The API server opens pipes for subscriptions only; anything else ends without an answer.
        self.close(socket);
    }
}
