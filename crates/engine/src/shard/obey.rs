//! Obey: commands, in inbox order, onto the queues of connections (delivery rules R2 and R3).

use std::sync::Arc;
use std::time::Duration;

use tidewire_hub::admit::{Cause, ConnId, Gap, Loss, Transport};
use tidewire_hub::channel::{Channel, ChannelSet};
use tidewire_hub::deliver::Command;
use tidewire_hub::limits::Limits;
use tidewire_hub::message::Message;
use tidewire_hub::position::Position;
use tidewire_hub::reason::Reason;
use tidewire_transport::encoding::Encoding;
use tidewire_transport::refusal::Refusal;
use tidewire_transport::request::Protocol;
use tidewire_transport::v1;
use tidewire_transport::websocket::frame::{self, Opcode};

use crate::kernel::Kernel;

use super::ending::Asker;
use super::frames::Frame;
use super::lanes::Lane;
use super::queue::Kind;
use super::slot::{Form, Phase};
use super::time::ticks;
use super::turn::{Shard, json_limits};

/// How long a connection that has asked for nothing is left open in a drain, if there is so much time.
const ASKS_WITHIN: Duration = Duration::from_secs(1);

impl<K: Kernel> Shard<K> {
    pub(super) fn obey(&mut self) {
        while self.lanes.may_queue() {
            let Some(command) = self.commands.pop_front() else { return };
            match command {
                Command::Deliver(message) => self.deliver(&message),
                Command::Admit(admit) => {
                    // A thousand pages asked for at once must not hold up everybody's next write either.
                    self.lanes.queued(admit.page.messages.len(), 1);
                    self.admit(*admit);
                }
                Command::Position(position) => self.position = Some(position),
                Command::Fence { position, survived } => self.fence(position, survived),
                Command::Refuse { conn, reason, detail, cause } => {
                    self.refuse_asked(conn, &Refusal { reason, detail }, cause);
                }
                Command::Lost(loss) => self.tell_loss(&loss),
                Command::Presence(news) => self.tell_presence(&news),
                Command::Answer { conn, answer, ends } => self.answer_post(conn, answer, ends),
                Command::Reply { conn, text } => self.reply(conn, &text),
                Command::Leave { conn, channels } => self.leave(conn, &channels),
                Command::Continue { conn } => self.go_on(conn),
                Command::Close { conn, reason } => self.close(conn, reason),
                Command::Renew { conn, grant, lasts, tag } => self.renew(conn, grant, lasts, tag.as_deref()),
                Command::Revoke(revocation) => self.revoke(&revocation),
                Command::Survey(survey) => self.survey(&survey),
                Command::Limit(limits) => self.limit(limits),
                Command::Drain { within } => self.drain(within),
            }
        }
    }

    /// Queues a message on all its subscribers before the next command is looked at (delivery rule R3).
    fn deliver(&mut self, message: &Arc<Message>) {
        // What came over the bridge has no place in the log, and moves nobody's cursor (delivery rule R8).
        let id = message.id();
        self.position = id.or(self.position);
        let now = self.clock.tick();
        let mut frames: [Option<Frame>; Encoding::COUNT] = [const { None }; Encoding::COUNT];
        let mut counts = [0u64; Encoding::COUNT];
        let members = self.members.of(&message.channel);
        let lane = Lane::of(members.len());
        for index in members {
            let slot = self.slots.at(*index);
            if id.is_some_and(|id| id.seq <= slot.joined_at) {
                continue;
            }
            slot.messages = slot.messages.wrapping_add(1);
            match slot.form.encoding() {
                Some(encoding) => {
                    counts[encoding.index()] += 1;
                    let frame =
                        frames[encoding.index()].get_or_insert_with(|| self.frames.of(message, encoding));
                    slot.queue.push(frame.clone(), Kind::Live, now);
                }
                None => slot.story().caught.push(message.clone()),
            }
            slot.lane = self.lanes.put(*index, slot.lane, lane);
        }
        self.lanes.queued(1, members.len());
        if !members.is_empty() {
            let websockets = counts[Encoding::WsRaw.index()] + counts[Encoding::WsV1.index()];
            // What waits for a poll counts when it is answered: it may be too much for one answer.
            self.counters.deliver(Transport::Ws, websockets);
            self.counters.deliver(Transport::Sse, counts.iter().sum::<u64>() - websockets);
            self.latency.queued(message.taken_us, &self.lanes);
        }
    }

    /// Something is missing for everybody on these channels who had joined before it was published.
    fn tell_loss(&mut self, loss: &Loss) {
        let mut told: Vec<u32> =
            loss.channels.keys().flat_map(|channel| self.members.of(channel)).copied().collect();
        told.sort_unstable();
        told.dedup();
        for index in told {
            let slot = self.slots.at(index);
            let joined_at = slot.joined_at;
            let lost =
                |channel: &&Channel| loss.channels.get(*channel).is_some_and(|newest| *newest > joined_at);
            // Its own channels only: the others are none of its business.
            let channels = slot.seats.iter().map(|seat| self.members.channel(*seat));
            let channels: Vec<Channel> = channels.filter(lost).cloned().collect();
            if channels.is_empty() {
                continue;
            }
            self.counters.gap(loss.reason);
            // One that came with a cursor ahead of this shard goes on from there, unless that is of another log.
            let is_same_log = self.generation == Some(loss.cursor.generation);
            let seq = if is_same_log { loss.cursor.seq.max(joined_at) } else { loss.cursor.seq };
            let cursor = Position { seq, ..loss.cursor };
            let gap = Gap { channels, reason: loss.reason, cursor };
            match slot.form {
                Form::Sse(..) | Form::Ws(Protocol::V1) => self.queue_gap(index, &gap, Kind::Live),
                Form::Ws(Protocol::Raw) => {
                    // Whoever came back to a bridged channel with a cursor would be sent away again.
                    self.end_at(index, Reason::Gap, Some(gap.cursor).filter(|_| loss.leads_back()));
                }
                Form::Poll | Form::Post | Form::Body | Form::Unknown => {
                    // An earlier loss that has not been told yet is part of this one.
                    let told = &mut slot.story().gap;
                    *told = Some(match told.take() {
                        Some(earlier) => joint(earlier, gap),
                        None => gap,
                    });
                    self.soil(index);
                }
            }
        }
    }

    /// The log has another generation. A connection's own place is cut back to what it has in common with the one before,
    /// so that nothing that was placed there since passes for delivered.
    fn fence(&mut self, position: Position, survived: u64) {
        (self.generation, self.position) = (Some(position.generation), Some(position));
        for index in self.slots.indices() {
            let slot = self.slots.at(index);
            slot.joined_at = slot.joined_at.min(survived);
        }
    }

    fn refuse_asked(&mut self, conn: ConnId, refusal: &Refusal, cause: Cause) {
        let Some(index) = self.slots.find(conn.0) else { return };
        match cause {
            Cause::Addition(tag) => self.reply(conn, &v1::error(Some(&tag), refusal.reason, &refusal.detail)),
            Cause::Page => self.end(index, refusal.reason),
            Cause::Arrival(terms) => {
                let slot = self.slots.at(index);
                if slot.phase != Phase::Asked {
                    return;
                }
                let request = slot.story().request.take();
                let asker = request.as_deref().map_or(Asker::Nobody, Asker::Request);
                self.refuse(index, refusal, asker, &terms.head);
            }
        }
    }

    fn reply(&mut self, conn: ConnId, text: &str) {
        let Some(index) = self.slots.find(conn.0) else { return };
        let slot = self.slots.at(index);
        if matches!(slot.phase, Phase::Live | Phase::Paging) && slot.form == Form::Ws(Protocol::V1) {
            let mut bytes = Vec::with_capacity(text.len() + 10);
            frame::write(Opcode::Text, text.as_bytes(), &mut bytes);
            self.queue(index, bytes, Kind::Live);
        }
    }

    fn leave(&mut self, conn: ConnId, channels: &ChannelSet) {
        if let Some(index) = self.slots.find(conn.0) {
            self.depart_from(index, |channel| channels.contains(channel));
        }
    }

    fn go_on(&mut self, conn: ConnId) {
        let Some(index) = self.slots.find(conn.0) else { return };
        let slot = self.slots.at(index);
        slot.held = false;
        if let Some(last) = slot.story.as_mut().and_then(|story| story.parting.take()) {
            return self.end_after(index, last);
        }
        let leftover = slot.story.as_ref().is_some_and(|story| !story.inbound.is_empty());
        if slot.unread || leftover {
            self.read_later(index);
        }
    }

    fn close(&mut self, conn: ConnId, reason: Reason) {
        if let Some(index) = self.slots.find(conn.0) {
            self.end(index, reason);
        }
    }

    /// Holds to other bounds. A deadline that is set already stays; the next one is by the new bounds.
    fn limit(&mut self, limits: Arc<Limits>) {
        self.json_limits = json_limits(&limits);
        self.limits = limits;
    }

    /// Stops accepting once everybody in the listener's queue is in, unless a successor takes them, and spreads the ends
    /// over the time given.
    fn drain(&mut self, within: Duration) {
        while !self.kernel.has_heir() && self.slots.count() < self.limits.connections_max {
            let before = self.slots.count();
            self.accept();
            if self.slots.count() == before {
                break;
            }
        }
        self.kernel.stop_listening();
        let (now, span) = (self.now(), u64::from(ticks(within)) + 1);
        let mut wave = Vec::new();
        for index in self.slots.indices() {
            let delay = self.jitter.below(span);
            // Who has asked for nothing yet is about to, and would take an end without an answer for a failure.
            let asks_soon = matches!(self.slots.at(index).phase, Phase::Head | Phase::Unintroduced);
            let delay =
                if asks_soon { delay.max(u64::from(ticks(ASKS_WITHIN)).min(span - 1)) } else { delay };
            let tick = now + u32::try_from(delay).unwrap_or(u32::MAX / 2);
            wave.push((tick, self.slots.token(index)));
        }
        wave.sort_unstable_by_key(|(tick, _)| std::cmp::Reverse(*tick));
        self.wave = Some(wave);
    }

    /// The position before which everything has been queued to this connection (delivery rule R14).
    pub(super) fn cursor_of(&mut self, index: u32) -> Option<Position> {
        let slot = self.slots.at(index);
        if let Some(pager) = slot.story.as_ref().and_then(|story| story.pager.as_ref()) {
            return Some(pager.cursor);
        }
        let generation = self.generation?;
        let fed = self
            .position
            .filter(|position| position.generation == generation)
            .map_or(0, |position| position.seq);
        Some(Position { generation, seq: fed.max(slot.joined_at) })
    }
}

/// Two gaps of one poll as one: the channels of both, from where the earlier one begins.
pub(super) fn joint(mut earlier: Gap, later: Gap) -> Gap {
    let new = later.channels.into_iter().filter(|channel| !earlier.channels.contains(channel));
    let new: Vec<Channel> = new.collect();
    earlier.channels.extend(new);
    earlier
}
