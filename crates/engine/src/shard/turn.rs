//! The turn of the loop, and what a shard is made of.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tidewire_hub::admit::OutletId;
use tidewire_hub::deliver::Command;
use tidewire_hub::limits::Limits;
use tidewire_hub::position::{Gen, Position};
use tidewire_hub::reason::Reason;

use crate::counters::Counters;
use crate::event::{Control, Event};
use crate::inbox::Inbox;
use crate::kernel::{Kernel, Ready};
use crate::proxies::Proxies;

use super::frames::Frames;
use super::lanes::Lanes;
use super::latency::Latency;
use super::members::Members;
use super::send::Batch;
use super::slot::Slots;
use super::time::{Clock, TICK_MS, Tick, Wheel, ticks};

/// What a shard is given.
pub struct Parts {
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
    /// Seeds the jitter of heartbeats, `retry:` and drains.
    pub seed: u64,
    /// Whether a refused `EventSource` is told why inside a stream, since it cannot read a refusal: dev mode.
    pub explain: bool,
    /// Who introduces clients before they speak; nothing where nobody is believed to.
    pub proxies: Option<Arc<dyn Proxies>>,
}

/// One event loop with its connections. Not `Send`: it lives and dies on one thread.
pub struct Shard<K: Kernel> {
    pub(super) kernel: K,
    pub(super) outlet: OutletId,
    pub(super) inbox: Arc<Inbox>,
    pub(super) control: Arc<dyn Control>,
    pub(super) limits: Arc<Limits>,
    /// The same for `tidewire.v1`, whose frames hold a payload and the JSON around it.
    pub(super) json_limits: Arc<Limits>,
    pub(super) counters: Arc<Counters>,
    pub(super) jitter: Jitter,
    pub(super) explain: bool,
    pub(super) proxies: Option<Arc<dyn Proxies>>,
    pub(super) clock: Clock,
    pub(super) wheel: Wheel,
    pub(super) slots: Slots<K::Socket>,
    pub(super) members: Members,
    pub(super) frames: Frames,
    /// The last position queued to everyone here (delivery rule R6).
    pub(super) position: Option<Position>,
    /// The generation that positions here belong to.
    pub(super) generation: Option<Gen>,
    /// Commands taken from the inbox and not obeyed yet.
    pub(super) commands: VecDeque<Command>,
    /// Messages were turned away by the inbox since it was last emptied.
    pub(super) overflowed: bool,
    /// Sockets to write.
    pub(super) lanes: Lanes,
    pub(super) latency: Latency,
    /// When this turn's wait was over, by the kernel's clock in microseconds.
    woke_us: u64,
    /// Why the connection ends that is ended now; nothing where its client did it.
    pub(super) ends_for: Option<Reason>,
    /// Connections that wait to be read again, by token.
    pub(super) unread: VecDeque<u64>,
    /// Connections to close at the end of the turn, by slot (delivery rule R24).
    pub(super) doomed: Vec<u32>,
    /// Connections to end while draining, by tick, soonest last.
    pub(super) wave: Option<Vec<(Tick, u64)>>,
    /// Accepting is paused until this tick, or until there is room.
    pub(super) accept_paused: Option<Tick>,
    /// The sockets that are written next.
    pub(super) batch: Batch,
    /// What is read passes through here.
    pub(super) inward: Vec<u8>,
    slim_at: Tick,
    ready: Vec<Ready>,
    taken: Vec<Command>,
    expired: Vec<(u64, Tick)>,
}

impl<K: Kernel> Shard<K> {
    /// A shard without connections.
    #[must_use]
    pub fn new(kernel: K, parts: Parts) -> Shard<K> {
        let clock = Clock::starting_at(kernel.now_ms());
        let json_limits = json_limits(&parts.limits);
        Shard {
            kernel,
            outlet: parts.outlet,
            inbox: parts.inbox,
            control: parts.control,
            limits: parts.limits,
            json_limits,
            counters: parts.counters,
            jitter: Jitter(parts.seed | 1),
            explain: parts.explain,
            proxies: parts.proxies,
            clock,
            wheel: Wheel::default(),
            slots: Slots::default(),
            members: Members::default(),
            frames: Frames::default(),
            position: None,
            generation: None,
            commands: VecDeque::new(),
            overflowed: false,
            lanes: Lanes::default(),
            latency: Latency::default(),
            woke_us: 0,
            ends_for: None,
            unread: VecDeque::new(),
            doomed: Vec::new(),
            wave: None,
            accept_paused: None,
            batch: Batch::default(),
            inward: vec![0; INWARD_BYTES],
            slim_at: 0,
            ready: Vec::new(),
            taken: Vec::new(),
            expired: Vec::new(),
        }
    }

    /// One turn. False when the shard has drained and nothing is left to do.
    pub fn turn(&mut self) -> bool {
        self.wait();
        let mut ready = std::mem::take(&mut self.ready);
        for ready in ready.drain(..) {
            match ready {
                Ready::Accept => self.accept(),
                Ready::Socket { token, readable, writable, finished, broken } => {
                    self.socket_changed(token, readable, writable, finished, broken);
                }
            }
        }
        self.ready = ready;
        self.read_again();
        self.take_inbox();
        self.obey();
        self.flush();
        self.pass_time();
        self.bury();
        self.settle()
    }

    /// The kernel under this shard.
    pub fn kernel(&mut self) -> &mut K {
        &mut self.kernel
    }

    /// Cuts every connection, after a panic has left them in doubt (delivery rule R23). The interest they had ends.
    pub fn cut(&mut self) {
        self.counters.panics.add(1);
        // No client did this, whatever the connection in hand was about to end for.
        self.ends_for = Some(Reason::Internal);
        for index in self.slots.indices() {
            self.doom(index);
        }
        self.ends_for = None;
        // The panic may have come while these were in somebody's hands.
        self.doomed = self.slots.indices();
        self.inward.resize(INWARD_BYTES, 0);
        self.bury();
        self.lanes.clear();
        self.latency.clear();
        self.unread.clear();
    }

    /// What a user can quote of a refusal, and the log has. It names nothing and need not be secret, only rare.
    pub(super) fn trace_id(&mut self, reason: Reason) -> String {
        let trace_id = format!("{:016x}", self.jitter.next());
        tracing::debug!(trace_id, code = reason.code(), "refused");
        trace_id
    }

    /// The tick that it is.
    pub(super) fn now(&self) -> Tick {
        self.clock.tick()
    }

    fn wait(&mut self) {
        let busy =
            !self.lanes.is_empty() || !self.unread.is_empty() || !self.commands.is_empty() || self.overflowed;
        let timeout_ms = if busy || !self.inbox.may_sleep() { Some(0) } else { self.until_deadline_ms() };
        self.kernel.wait(timeout_ms, &mut self.ready);
        self.woke_us = self.kernel.now_us();
        self.clock.advance(self.woke_us / 1_000, timeout_ms.unwrap_or(u64::MAX));
        self.counters.turns.add(1);
    }

    fn until_deadline_ms(&self) -> Option<u64> {
        let wave = self.wave.as_ref().and_then(|wave| wave.last()).map(|(tick, _)| *tick);
        let soonest = [self.wheel.next(), wave, self.accept_paused].into_iter().flatten().min()?;
        Some(self.clock.until_ms(soonest))
    }

    fn take_inbox(&mut self) {
        // What was taken before is obeyed first; meanwhile the inbox is the queue, and it is bounded.
        if self.commands.is_empty() {
            self.overflowed |= self.inbox.take(&mut self.taken);
            self.commands.extend(self.taken.drain(..));
        }
    }

    fn pass_time(&mut self) {
        let now = self.now();
        let mut expired = std::mem::take(&mut self.expired);
        self.wheel.expire(now, &mut expired);
        for (token, at) in expired.drain(..) {
            self.look_at(token, at);
        }
        self.expired = expired;
        while let Some((_, token)) = self.wave.as_mut().and_then(|wave| wave.pop_if(|(tick, _)| *tick <= now))
        {
            self.drain_one(token);
        }
        self.resume_accepting();
        if now >= self.slim_at {
            self.slim_at = now + ticks(Duration::from_secs(1));
            self.slim();
        }
    }

    /// Gives back the room that a storm of connections or messages needed in the loop's own lists.
    fn slim(&mut self) {
        self.commands.shrink_to(IDLE_ROOM);
        self.taken.shrink_to(IDLE_ROOM);
        self.lanes.shrink_to(IDLE_ROOM);
        self.latency.shrink_to(IDLE_ROOM);
        self.unread.shrink_to(IDLE_ROOM);
        self.expired.shrink_to(IDLE_ROOM);
        self.ready.shrink_to(IDLE_ROOM);
        self.batch.slim();
    }

    fn bury(&mut self) {
        for index in std::mem::take(&mut self.doomed) {
            if let Some(socket) = self.slots.remove(index) {
                self.kernel.close(socket);
            }
        }
    }

    fn settle(&mut self) -> bool {
        if self.overflowed && self.commands.is_empty() {
            self.overflowed = false;
            self.control.handle(Event::Emptied { outlet: self.outlet });
        }
        let now_us = self.kernel.now_us();
        self.latency.settle(now_us, &self.lanes, &self.counters.delivery);
        self.counters.busy_us.add(now_us.saturating_sub(self.woke_us));
        self.counters.open.set(self.slots.count() as u64);
        self.counters.encoded.set(self.frames.encoded());
        self.counters.queued_bytes.set(self.frames.bytes() as u64);
        self.wave.is_none() || self.slots.count() > 0
    }
}

/// Entries that the loop's own lists keep room for.
const IDLE_ROOM: usize = 1_024;

/// Read at once at most.
const INWARD_BYTES: usize = 64 << 10;

/// A small generator for jitter, which needs to be spread and not secret (xorshift64*, Vigna 2016).
pub(super) struct Jitter(u64);

impl Jitter {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `bound`; 0 where the bound is.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.next().checked_rem(bound).unwrap_or(0)
    }

    /// `middle`, give or take `percent` of it.
    pub(super) fn around(&mut self, middle: u64, percent: u64) -> u64 {
        let reach = middle * percent / 100;
        middle - reach + self.below(2 * reach + 1)
    }
}

const _: () = assert!(TICK_MS < 1_000, "heartbeats and deadlines are told in seconds");

/// The same with room for a payload in base64 or with escapes; the payload itself is bounded when the frame is read.
pub(super) fn json_limits(limits: &Limits) -> Arc<Limits> {
    let message_bytes_max = limits.message_bytes_max.saturating_mul(2).saturating_add(4 << 10);
    Arc::new(Limits { message_bytes_max, ..limits.clone() })
}
