//! The fake kernel: time that is turned by hand, sockets that are pairs of byte queues, and readiness as epoll tells
//! it (edge-triggered for sockets, level-triggered for the listener).
//!
//! ```text
//! client ──send──▶ flight ──arrive──▶ inward ──read──▶ shard
//!        ◀─receive────────────────── outward ◀─write──
//! ```
//!
//! A change puts a socket into the list of the changed; [`Kernel::wait`] reports it once, with everything that holds
//! of it at that moment, and forgets it. A shard that drops a report on the floor never hears of it again.

use std::cell::{RefCell, RefMut};
use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tidewire_engine::kernel::{Kernel, Ready, Write};

use crate::rng::Rng;
use crate::socket::{Fd, Sock};
use crate::tally::Tally;

/// Virtual milliseconds, shared by everything in a run.
#[derive(Clone, Debug, Default)]
pub struct Time(Arc<AtomicU64>);

impl Time {
    /// Milliseconds since the run began.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Turns the clock.
    pub fn pass(&self, ms: u64) {
        self.0.fetch_add(ms, Ordering::Relaxed);
    }
}

/// How often the kernel misbehaves, in permille of the occasions.
#[derive(Clone, Copy, Debug, Default)]
pub struct Mischief {
    /// A write takes less than there is room for.
    pub short_write: u32,
    /// A write takes nothing although there is room, and the writable edge comes later.
    pub would_block: u32,
    /// A write of several that leave together is cancelled before anything was tried.
    pub cancelled: u32,
    /// A change is reported later than it could be, perhaps together with the next.
    pub postponed: u32,
    /// A socket is reported ready that is not.
    pub spurious: u32,
    /// A report names a connection that is gone.
    pub stale: u32,
    /// There is no file descriptor left to accept with.
    pub emfile: u32,
}

/// One shard's kernel as the rest of the run sees it. Cloning shares it.
#[derive(Clone)]
pub struct Net(Rc<RefCell<State>>);

/// Connections that were handed off: the bytes read of each, and what is left of its deadline in milliseconds.
pub type HandedOff = Vec<(Fd, Vec<u8>, u64)>;

struct State {
    time: Time,
    rng: Rng,
    mischief: Mischief,
    tally: Tally,
    sockets: Vec<Sock>,
    backlog: VecDeque<Fd>,
    listening: bool,
    accepting: bool,
    changed: Vec<Fd>,
    /// Tokens of connections that were closed, some of which are reported once more.
    gone: Vec<u64>,
    injected: Vec<Ready>,
    handed_off: HandedOff,
    /// When the shard wants to be woken if nothing happens; nothing: never.
    wake_at: Option<u64>,
    /// The last wait found nothing and was allowed to block.
    blocked: bool,
    accept_errors: u64,
}

impl Net {
    /// A kernel without connections.
    #[must_use]
    pub fn new(time: Time, rng: Rng, mischief: Mischief, tally: Tally) -> Net {
        Net(Rc::new(RefCell::new(State {
            time,
            rng,
            mischief,
            tally,
            sockets: Vec::new(),
            backlog: VecDeque::new(),
            listening: true,
            accepting: true,
            changed: Vec::new(),
            gone: Vec::new(),
            injected: Vec::new(),
            handed_off: Vec::new(),
            wake_at: Some(0),
            blocked: false,
            accept_errors: 0,
        })))
    }

    /// Opens a connection with `room` bytes of send buffer on the server's side; nothing once the listener is closed.
    #[must_use]
    pub fn connect(&self, room: usize) -> Option<Fd> {
        let mut state = self.state();
        if !state.listening {
            return None;
        }
        let fd = Fd::new(state.sockets.len());
        state.sockets.push(Sock::new(room));
        state.backlog.push_back(fd);
        Some(fd)
    }

    /// The client's end of a connection.
    pub fn client<T>(&self, fd: Fd, act: impl FnOnce(&mut Sock) -> T) -> T {
        let mut state = self.state();
        let now_ms = state.time.now_ms();
        let socket = &mut state.sockets[fd.index()];
        let outcome = act(socket);
        let changed = socket.take_change(now_ms);
        if changed {
            state.note(fd);
        }
        outcome
    }

    /// Moves what is on its way to the shard: everything at once, or a slice of at most `slice_max` bytes of each.
    pub fn arrive(&self, slice_max: Option<usize>) {
        let mut state = self.state();
        let now_ms = state.time.now_ms();
        for index in 0..state.sockets.len() {
            let slice = match slice_max {
                Some(most) => 1 + state.rng.below(most),
                None => usize::MAX,
            };
            let socket = &mut state.sockets[index];
            socket.arrive(slice);
            if socket.take_change(now_ms) {
                state.note(Fd::new(index));
            }
        }
    }

    /// Whether the shard would be woken now.
    #[must_use]
    pub fn is_due(&self) -> bool {
        self.has_news() || self.state().is_awake()
    }

    /// Whether something has happened that the shard has not been told.
    #[must_use]
    pub fn has_news(&self) -> bool {
        let state = self.state();
        let waiting = state.accepting && state.listening && !state.backlog.is_empty();
        !state.changed.is_empty() || !state.injected.is_empty() || waiting
    }

    /// When the shard is due if nothing happens before.
    #[must_use]
    pub fn wake_at(&self) -> Option<u64> {
        let state = self.state();
        let edges = state.sockets.iter().filter_map(Sock::edge_at).min();
        [state.wake_at, edges].into_iter().flatten().min()
    }

    /// From now on the kernel misbehaves like this.
    pub fn behave(&self, mischief: Mischief) {
        self.state().mischief = mischief;
    }

    /// From now on the kernel does nothing wrong and has room for everything.
    pub fn calm(&self) {
        let mut state = self.state();
        state.mischief = Mischief::default();
        state.sockets.iter_mut().for_each(Sock::widen);
    }

    /// Sockets that the shard has accepted and not closed.
    #[must_use]
    pub fn open(&self) -> usize {
        self.state().sockets.iter().filter(|socket| socket.is_open()).count()
    }

    /// Those that are open, for the story of a failure.
    #[must_use]
    pub fn describe_open(&self) -> String {
        let state = self.state();
        let open: Vec<String> =
            state.sockets.iter().filter(|socket| socket.is_open()).map(Sock::describe).collect();
        open.join("; ")
    }

    /// What was handed off so far.
    #[must_use]
    pub fn handed_off(&self) -> HandedOff {
        std::mem::take(&mut self.state().handed_off)
    }

    /// Times that accepting failed.
    #[must_use]
    pub fn accept_errors(&self) -> u64 {
        self.state().accept_errors
    }

    /// Puts a report before the shard, whatever it names.
    pub fn report(&self, ready: Ready) {
        self.state().injected.push(ready);
    }

    /// The token that the shard gave a connection.
    #[must_use]
    pub fn token(&self, fd: Fd) -> Option<u64> {
        self.state().sockets[fd.index()].token
    }

    /// Ends the process that this kernel served: every connection is reset, and nobody listens.
    pub fn crash(&self) {
        let mut state = self.state();
        state.listening = false;
        state.backlog.clear();
        for socket in &mut state.sockets {
            socket.crash();
        }
    }

    fn state(&self) -> RefMut<'_, State> {
        self.0.borrow_mut()
    }
}

impl State {
    fn note(&mut self, fd: Fd) {
        if !self.changed.contains(&fd) {
            self.changed.push(fd);
        }
    }

    /// Whether the shard goes on by itself: after a turn with something to do comes another, until one blocks.
    fn is_awake(&self) -> bool {
        !self.blocked || self.wake_at.is_some_and(|at| at <= self.time.now_ms())
    }

    fn roll(&mut self, permille: u32, name: &'static str) -> bool {
        let happens = permille > 0 && self.rng.chance(permille);
        if happens {
            self.tally.count(name);
        }
        happens
    }

    fn report(&mut self, ready: &mut Vec<Ready>) {
        for fd in std::mem::take(&mut self.changed) {
            let Some(now) = self.sockets[fd.index()].now() else { continue };
            if self.roll(self.mischief.postponed, "fault: readiness postponed") {
                self.changed.push(fd);
            } else {
                ready.push(now);
            }
        }
        if self.roll(self.mischief.spurious, "fault: spurious readiness") {
            let tokens: Vec<u64> = self.sockets.iter().filter_map(|socket| socket.token).collect();
            if !tokens.is_empty() {
                let token = *self.rng.pick(&tokens);
                let (readable, writable) = (true, true);
                ready.push(Ready::Socket { token, readable, writable, finished: false, broken: false });
            }
        }
        if !self.gone.is_empty() && self.roll(self.mischief.stale, "fault: stale readiness") {
            let token = *self.rng.pick(&self.gone);
            let (readable, writable) = (true, true);
            ready.push(Ready::Socket { token, readable, writable, finished: true, broken: true });
        }
    }
}

impl Kernel for Net {
    type Socket = Fd;

    fn now_ms(&self) -> u64 {
        self.state().time.now_ms()
    }

    /// Never blocks: a shard that has nothing to do makes an empty turn and is left alone until it is due.
    fn wait(&mut self, timeout_ms: Option<u64>, ready: &mut Vec<Ready>) {
        let mut state = self.state();
        let now_ms = state.time.now_ms();
        state.wake_at = timeout_ms.map(|timeout_ms| now_ms + timeout_ms);
        for index in 0..state.sockets.len() {
            if state.sockets[index].take_change(now_ms) {
                state.note(Fd::new(index));
            }
        }
        if state.accepting && state.listening && !state.backlog.is_empty() {
            ready.push(Ready::Accept);
        }
        ready.append(&mut state.injected);
        state.report(ready);
        state.blocked = ready.is_empty() && timeout_ms != Some(0);
    }

    fn accept(&mut self) -> io::Result<Fd> {
        let mut state = self.state();
        if state.backlog.is_empty() || !state.listening {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let emfile = state.mischief.emfile;
        if state.roll(emfile, "fault: EMFILE") {
            state.accept_errors += 1;
            const EMFILE: i32 = 24;
            return Err(io::Error::from_raw_os_error(EMFILE));
        }
        let fd = state.backlog.pop_front().ok_or(io::ErrorKind::WouldBlock)?;
        state.sockets[fd.index()].accepted();
        Ok(fd)
    }

    fn accepting(&mut self, on: bool) {
        self.state().accepting = on;
    }

    fn stop_listening(&mut self) {
        let mut state = self.state();
        state.listening = false;
        while let Some(fd) = state.backlog.pop_front() {
            state.sockets[fd.index()].crash();
        }
    }

    fn watch(&mut self, socket: &Fd, token: u64) -> io::Result<()> {
        let mut state = self.state();
        state.sockets[socket.index()].alive().token = Some(token);
        // Adding a watch reports what holds already, as epoll does.
        state.note(*socket);
        Ok(())
    }

    fn peer(&self, socket: &Fd) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], 1_024 + (socket.index() % 60_000) as u16))
    }

    fn read(&mut self, socket: &Fd, into: &mut [u8]) -> io::Result<usize> {
        self.state().sockets[socket.index()].alive().read(into)
    }

    fn write(&mut self, socket: &Fd, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.state();
        let now_ms = state.time.now_ms();
        let room = state.sockets[socket.index()].alive().room();
        let Mischief { would_block, short_write, .. } = state.mischief;
        if room > 0 && state.roll(would_block, "fault: WouldBlock with room") {
            let later = now_ms + state.rng.range(1, 200);
            state.sockets[socket.index()].refuse_until(later);
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let cut = room > 0 && bytes.len() > 1 && state.roll(short_write, "fault: short write");
        let most = if cut { 1 + state.rng.below(bytes.len() - 1) } else { bytes.len() };
        let outcome = state.sockets[socket.index()].write(&bytes[..most]);
        if cut {
            let later = now_ms + state.rng.range(0, 50);
            state.sockets[socket.index()].refuse_until(later);
        }
        if matches!(&outcome, Ok(count) if *count < bytes.len()) {
            state.tally.count("seen: short write");
        }
        outcome
    }

    fn write_many(&mut self, writes: &[Write<'_, Fd>], outcomes: &mut Vec<io::Result<usize>>) -> u64 {
        let cancelled = self.state().mischief.cancelled;
        for write in writes {
            let outcome = if self.state().roll(cancelled, "fault: cancelled write") {
                Err(io::ErrorKind::Interrupted.into())
            } else {
                self.write(write.socket, write.bytes)
            };
            outcomes.push(outcome);
        }
        1
    }

    fn finish(&mut self, socket: &Fd) {
        self.state().sockets[socket.index()].alive().finish_server();
    }

    fn close(&mut self, socket: Fd) {
        let mut state = self.state();
        let token = state.sockets[socket.index()].alive().close_server();
        state.gone.extend(token);
        state.changed.retain(|changed| *changed != socket);
    }

    fn hand_off(&mut self, socket: Fd, _client: SocketAddr, bytes: Vec<u8>, deadline_ms: u64) {
        let mut state = self.state();
        state.sockets[socket.index()].alive().hand_off();
        state.changed.retain(|changed| *changed != socket);
        state.handed_off.push((socket, bytes, deadline_ms));
    }
}
