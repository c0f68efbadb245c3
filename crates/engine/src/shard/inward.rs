//! Inward: accepting connections and reading what they send.

use std::borrow::Cow;
use std::io;
use std::time::Duration;

use tidewire_hub::admit::HeadFields;
use tidewire_hub::limits::Limits;
use tidewire_hub::reason::Reason;
use tidewire_transport::http1::{Head, begins_http2, parse_head};
use tidewire_transport::refusal::Refusal;
use tidewire_transport::request::{Protocol, Request, Route, route};

use crate::event::Event;
use crate::kernel::Kernel;

use super::deadlines::ANSWER_MAX;
use super::ending::Asker;
use super::slot::{Form, NEVER, Phase};
use super::time::{TICK_MS, ticks};
use super::turn::Shard;

/// Connections accepted in one turn.
const ACCEPTS: usize = 64;

/// Reads from one connection in one turn; then others have theirs (delivery rule R28).
const READS: usize = 4;

/// Read at once where a request head is expected, so that what is kept of requests sent ahead is small. A poll may wait
/// for a minute with it; what follows stays with the kernel, which makes the client wait (security rule S35).
const HEAD_READ_BYTES: usize = 4 << 10;

/// What the client of a stream may send behind its request, in bytes and altogether. It has nothing to say; some
/// clients end a request with more line ends than they should.
const STREAM_SAYS_MAX: u32 = 1 << 10;

/// How long accepting pauses when the process is out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

impl<K: Kernel> Shard<K> {
    pub(super) fn accept(&mut self) {
        for _ in 0..ACCEPTS {
            if self.slots.count() >= self.limits.connections_max {
                return self.pause_accepting();
            }
            match self.kernel.accept() {
                Ok(socket) => self.welcome(socket),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // The client gave up while it waited in the queue.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(_) => return self.pause_accepting(),
            }
        }
    }

    pub(super) fn resume_accepting(&mut self) {
        if self.accept_paused.is_some_and(|until| until <= self.now()) {
            self.accept_paused = None;
            if self.slots.count() < self.limits.connections_max {
                self.kernel.accepting(true);
            } else {
                self.pause_accepting();
            }
        }
    }

    pub(super) fn socket_changed(
        &mut self,
        token: u64,
        readable: bool,
        writable: bool,
        finished: bool,
        broken: bool,
    ) {
        let Some(index) = self.slots.find(token) else { return };
        if broken {
            return self.doom(index);
        }
        let slot = self.slots.at(index);
        slot.finished |= finished;
        if writable && slot.blocked {
            slot.blocked = false;
            self.soil(index);
        }
        self.client_finished(index);
        if readable || finished {
            self.read(index);
        }
    }

    /// A client that has ended its half may still want its poll's answer, or have gone: only an answer tells. So it waits
    /// for a moment and not for a minute, or those who are gone would fill this shard (security rule S39).
    pub(super) fn client_finished(&mut self, index: u32) {
        let slot = self.slots.at(index);
        if slot.finished && (slot.phase, slot.form) == (Phase::Live, Form::Poll) {
            let due = self.now() + ticks(self.limits.linger_max);
            self.due_sooner(index, due);
        }
    }

    /// Reads on where reading stopped short of the socket's end.
    pub(super) fn read_again(&mut self) {
        for _ in 0..self.unread.len() {
            let Some(token) = self.unread.pop_front() else { return };
            if let Some(index) = self.slots.find(token) {
                self.read(index);
            }
        }
    }

    /// Remembers to read this connection again, with what has already been read and waits in its story.
    pub(super) fn read_later(&mut self, index: u32) {
        let token = self.slots.token(index);
        self.unread.push_back(token);
    }

    /// Reads a connection whose phase allows it now; another one remembers that it must.
    pub(super) fn read(&mut self, index: u32) {
        let slot = self.slots.at(index);
        let reads = match (slot.phase, slot.form) {
            // One request after the other: the next is read when the answer before it has been taken, or a client
            // that asks and does not read would pile up answers (security rule S35).
            (Phase::Head, _) => slot.queue.is_empty(),
            (Phase::Unintroduced | Phase::Ending | Phase::Lingering, _) => true,
            (Phase::Paging | Phase::Live, Form::Sse(..)) => true,
            // Channels that it adds would be heard before the history of its first ones (delivery rule R4).
            (Phase::Paging, Form::Ws(Protocol::V1)) => false,
            (Phase::Paging | Phase::Live, Form::Ws(_)) => !slot.held,
            _ => false,
        };
        slot.unread = !reads;
        if !reads {
            return;
        }
        let mut buffer = std::mem::take(&mut self.inward);
        self.read_into(index, &mut buffer);
        self.inward = buffer;
    }

    fn welcome(&mut self, socket: K::Socket) {
        self.counters.accepted.add(1);
        let index = self.slots.insert(socket);
        // Now, and not at the end of the turn: others look at it to know whether there is room for more.
        self.counters.open.set(self.slots.count() as u64);
        let token = self.slots.token(index);
        let now = self.now();
        let slot = self.slots.at(index);
        (slot.heard, slot.beat) = (now, now);
        let watched = slot.socket.as_ref().is_some_and(|socket| self.kernel.watch(socket, token).is_ok());
        if !watched {
            return self.doom(index);
        }
        self.await_introduction(index);
        self.due(index, now + ticks(self.limits.first_byte_max));
        // Clients send their request with the last packet of the handshake or right after it.
        self.read(index);
    }

    fn pause_accepting(&mut self) {
        self.counters.accept_pauses.add(1);
        self.kernel.accepting(false);
        self.accept_paused = Some(self.now() + ticks(ACCEPT_PAUSE));
    }

    fn read_into(&mut self, index: u32, buffer: &mut [u8]) {
        if self.slots.at(index).story.as_ref().is_some_and(|story| !story.inbound.is_empty())
            && !self.take_leftover(index)
        {
            return;
        }
        for _ in 0..READS {
            let slot = self.slots.at(index);
            let Some(socket) = &slot.socket else { return };
            let room = match slot.phase {
                Phase::Unintroduced | Phase::Head => HEAD_READ_BYTES.min(buffer.len()),
                _ => buffer.len(),
            };
            match self.kernel.read(socket, &mut buffer[..room]) {
                Ok(0) => return self.peer_finished(index),
                Ok(count) => {
                    let more = count == room || slot.finished;
                    slot.heard = self.clock.tick();
                    self.arrived(index, &mut buffer[..count]);
                    let slot = self.slots.at(index);
                    if slot.phase == Phase::Doomed || slot.socket.is_none() {
                        return;
                    }
                    if !more {
                        return;
                    }
                    if !self.still_reads(index) {
                        self.slots.at(index).unread = true;
                        return;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return self.doom(index),
            }
        }
        self.read_later(index);
    }

    /// Whether reading goes on after what has just been dealt with. A head that was answered or asked about stops
    /// it; so does a `Received`.
    fn still_reads(&mut self, index: u32) -> bool {
        let slot = self.slots.at(index);
        match slot.phase {
            Phase::Unintroduced | Phase::Head | Phase::Ending | Phase::Lingering => true,
            Phase::Paging | Phase::Live => !slot.held && slot.form != Form::Poll,
            Phase::Asked | Phase::Free | Phase::Doomed => false,
        }
    }

    /// Deals with bytes that were read before their time. False where nothing more is to be read now.
    fn take_leftover(&mut self, index: u32) -> bool {
        let slot = self.slots.at(index);
        // Part of a head or of a publish waits for its rest.
        let waits = slot.phase == Phase::Head && matches!(slot.form, Form::Unknown | Form::Body);
        if slot.phase == Phase::Unintroduced || waits {
            return true;
        }
        let mut bytes = std::mem::take(&mut slot.story().inbound);
        if slot.phase == Phase::Head {
            slot.form = Form::Unknown;
            self.head_arrived(index, &bytes);
        } else {
            self.arrived(index, &mut bytes);
        }
        let alive =
            !matches!(self.slots.get(index).map(|slot| slot.phase), None | Some(Phase::Doomed | Phase::Free));
        alive && self.still_reads(index)
    }

    fn arrived(&mut self, index: u32, bytes: &mut [u8]) {
        let slot = self.slots.at(index);
        match (slot.phase, slot.form) {
            (Phase::Unintroduced, _) => {
                let bytes = self.joined(index, bytes);
                self.introduction_arrived(index, &bytes);
            }
            (Phase::Head, _) => {
                slot.form = Form::Unknown;
                let bytes = self.joined(index, bytes);
                self.head_arrived(index, &bytes);
            }
            (Phase::Paging | Phase::Live, Form::Ws(_)) => self.frames_arrived(index, bytes),
            (Phase::Paging | Phase::Live, Form::Sse(..)) => self.stream_spoke(index, bytes.len()),
            // What one says that is being ended no longer matters.
            _ => {}
        }
    }

    /// These bytes behind those that were not enough.
    fn joined<'b>(&mut self, index: u32, bytes: &'b [u8]) -> Cow<'b, [u8]> {
        match self.slots.at(index).story.as_mut().map(|story| std::mem::take(&mut story.inbound)) {
            Some(mut joint) if !joint.is_empty() => {
                joint.extend_from_slice(bytes);
                Cow::Owned(joint)
            }
            _ => Cow::Borrowed(bytes),
        }
    }

    /// `bytes` is everything that has arrived since the last request ended.
    pub(super) fn head_arrived(&mut self, index: u32, bytes: &[u8]) {
        let limits = self.limits.clone();
        if !self.slots.at(index).served {
            // A proxy that knows what we speak begins with it. Behind a request of HTTP/1.1 it is none.
            match begins_http2(bytes) {
                Some(true) => return self.hand_off(index, bytes),
                Some(false) => {}
                None => return self.head_continues(index, bytes, &limits),
            }
        }
        let head = match parse_head(bytes, &limits) {
            Err(refusal) => return self.refuse_unasked(index, &refusal, None),
            Ok(None) => return self.head_continues(index, bytes, &limits),
            Ok(Some(head)) => head,
        };
        match route(&head, &limits) {
            Err(refusal) => self.refuse_unasked(index, &refusal, Some(&head)),
            Ok(Route::Subscribe(request)) => {
                if head.len < bytes.len() {
                    self.slots.at(index).story().inbound = bytes[head.len..].to_vec();
                }
                self.ask(index, request);
            }
            Ok(Route::Publish { channel, body_bytes }) => {
                self.post_arrived(index, bytes, &head, &channel, body_bytes);
            }
            Ok(Route::Other) => self.hand_off(index, bytes),
        }
    }

    fn head_continues(&mut self, index: u32, bytes: &[u8], limits: &Limits) {
        let now = self.now();
        let slot = self.slots.at(index);
        slot.story().inbound = bytes.to_vec();
        if slot.beat == NEVER {
            slot.beat = now;
        }
        // From the beginning of the head, however often a byte of it arrives.
        let due = slot.beat + ticks(limits.head_max);
        self.due(index, due);
    }

    fn refuse_unasked(&mut self, index: u32, refusal: &Refusal, head: Option<&Head<'_>>) {
        if refusal.reason == Reason::MalformedRequest {
            self.counters.protocol_errors.add(1);
        }
        let asker = head.map_or(Asker::Nobody, Asker::Unread);
        self.refuse(index, refusal, asker, &HeadFields::default());
    }

    fn ask(&mut self, index: u32, request: Box<Request>) {
        let conn = self.slots.conn(index);
        if let Some(wave) = &mut self.wave {
            // It came on a connection that was open already: the wave looks at it once it has been answered.
            wave.push((self.clock.tick() + 1, conn.0));
        }
        self.slots.at(index).phase = Phase::Asked;
        let Some(peer) = self.client_of(index) else { return };
        let due = self.now() + ticks(ANSWER_MAX);
        self.due(index, due);
        let over = self.slots.at(index).socket.as_ref().map(|socket| self.kernel.over(socket));
        let over = over.unwrap_or_default();
        self.control.handle(Event::Arrived { outlet: self.outlet, conn, peer, over, request: &request });
        self.slots.at(index).story().request = Some(request);
    }

    /// Gives the connection to the API server: with an empty queue, and with whatever deadline is left (rule R27).
    pub(super) fn hand_off(&mut self, index: u32, bytes: &[u8]) {
        let client = self.client_of(index);
        let slot = self.slots.at(index);
        debug_assert!(slot.queue.is_empty(), "a head is read when the answer before it has left");
        // `NEVER` is later than now, so a kept-alive connection whose head came at once has waited for nothing.
        let waited = u64::from(self.clock.tick().saturating_sub(slot.beat)) * TICK_MS;
        let head_max_ms = u64::try_from(self.limits.head_max.as_millis()).unwrap_or(u64::MAX);
        if let Some((socket, client)) = slot.socket.take().zip(client) {
            self.counters.handed_off.add(1);
            self.kernel.hand_off(socket, client, bytes.to_vec(), head_max_ms.saturating_sub(waited).max(1));
        }
        self.doom(index);
    }

    /// The client of a stream sent something, which nobody reads: one that goes on costs more than it may.
    fn stream_spoke(&mut self, index: u32, bytes: usize) {
        let said = &mut self.slots.at(index).story().said;
        *said = said.saturating_add(u32::try_from(bytes).unwrap_or(u32::MAX));
        if *said > STREAM_SAYS_MAX {
            self.counters.protocol_errors.add(1);
            self.end(index, Reason::BadRequest);
        }
    }

    /// FIN ends a stream, not an answer that is still due (delivery rule R29).
    fn peer_finished(&mut self, index: u32) {
        let slot = self.slots.at(index);
        slot.finished = true;
        match slot.phase {
            Phase::Ending if !slot.queue.is_empty() => {}
            Phase::Head if slot.form == Form::Body => self.give_up_body(index),
            _ => self.doom(index),
        }
    }
}
