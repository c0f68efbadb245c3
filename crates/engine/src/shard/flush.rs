//! Flush: each socket is written once a turn, in slices, and slow readers are judged (delivery rules R3 and R14).

use tidewire_hub::admit::{Gap, GapReason};
use tidewire_hub::reason::Reason;
use tidewire_transport::request::Protocol;
use tidewire_transport::websocket::frame::{self, Opcode};
use tidewire_transport::{sse, v1};

use crate::event::Event;
use crate::kernel::Kernel;

use super::lanes::Lane;
use super::members::Seat;
use super::queue::Kind;
use super::send::BATCH;
use super::slot::{Form, Phase};
use super::turn::Shard;

/// Sockets written between two looks at what else has happened.
const SLICE: usize = 1024;

impl<K: Kernel> Shard<K> {
    /// Writes one slice of the sockets that have something to send.
    pub(super) fn flush(&mut self) {
        let mut left = SLICE;
        loop {
            let taken = self.pick(left.min(BATCH));
            self.send();
            left -= taken;
            if taken == 0 || left == 0 {
                break;
            }
        }
        if self.frames.bytes() > self.limits.memory_budget / 4 {
            self.shed();
        }
    }

    /// Takes up to so many sockets from the list, and picks those that are to be written. Returns how many it took.
    fn pick(&mut self, most: usize) -> usize {
        for taken in 0..most {
            let Some(index) = self.lanes.next() else { return taken };
            // The slot may have been freed since, or be another's now.
            if self.slots.get(index).is_some_and(|slot| slot.lane != Lane::None) {
                self.pick_one(index);
            }
        }
        most
    }

    /// Puts bytes for one connection only into its queue.
    pub(super) fn queue(&mut self, index: u32, bytes: Vec<u8>, kind: Kind) {
        let now = self.clock.tick();
        if !bytes.is_empty() {
            let frame = self.frames.control(bytes);
            self.slots.at(index).queue.push(frame, kind, now);
        }
        self.soil(index);
    }

    /// Tells one connection of a gap, in its place among the messages.
    pub(super) fn queue_gap(&mut self, index: u32, gap: &Gap, kind: Kind) {
        let now = self.clock.tick();
        let slot = self.slots.at(index);
        let frame = self.frames.gap(gap_bytes(slot.form, gap), gap.cursor);
        slot.queue.push(frame, kind, now);
        self.soil(index);
    }

    /// Has a connection written that has something of its own.
    pub(super) fn soil(&mut self, index: u32) {
        self.line_up(index, Lane::Narrow);
    }

    /// Has a connection written in its turn.
    pub(super) fn line_up(&mut self, index: u32, lane: Lane) {
        let slot = self.slots.at(index);
        slot.lane = self.lanes.put(index, slot.lane, lane);
    }

    /// Picks this socket, unless there is no use in writing it. For as long as it is picked it counts as standing in its
    /// lane: what is queued for it meanwhile leaves with the rest.
    fn pick_one(&mut self, index: u32) {
        let slot = self.slots.at(index);
        if slot.form == Form::Poll && slot.phase == Phase::Live {
            let story = slot.story();
            if story.caught.is_empty() && story.gap.is_none() {
                slot.lane = Lane::None;
                return;
            }
            self.answer_wait(index);
        }
        let is_over = self.is_over(index);
        let slot = self.slots.at(index);
        if matches!(slot.phase, Phase::Free | Phase::Doomed) {
            slot.lane = Lane::None;
        } else if slot.queue.is_empty() || (slot.blocked && !is_over) {
            // Asking a full socket again costs a system call for nothing, unless its queue is about to be judged.
            slot.lane = Lane::None;
            self.written(index);
        } else {
            self.batch.picked.push(index);
        }
    }

    /// Goes on with a connection once its socket has been written, or need not be.
    pub(super) fn written(&mut self, index: u32) {
        if self.slots.at(index).queue.is_empty() {
            return self.drained(index);
        }
        if self.is_over(index) {
            return self.slow(index);
        }
        if let Some(end) = self.patience_ends(index) {
            self.due_sooner(index, end);
        }
    }

    /// Everything queued has left.
    fn drained(&mut self, index: u32) {
        let slot = self.slots.at(index);
        match slot.phase {
            Phase::Ending => self.linger(index),
            // The next request may have come while the answer to the one before was being sent.
            Phase::Head => {
                let leftover = slot.story.as_ref().is_some_and(|story| !story.inbound.is_empty());
                if slot.unread || leftover {
                    self.read_later(index);
                }
            }
            Phase::Paging => self.ask_for_more(index),
            Phase::Live if matches!(slot.form, Form::Sse(..)) => slot.forget(),
            _ => {}
        }
    }

    /// The page before has left, so the next one may come (delivery rule R10).
    fn ask_for_more(&mut self, index: u32) {
        let conn = self.slots.conn(index);
        let slot = self.slots.at(index);
        let Some(transport) = slot.form.transport() else { return };
        let grant = slot.grant.clone();
        let (Some(grant), Some(pager)) = (grant, &mut slot.story().pager) else { return };
        if !std::mem::replace(&mut pager.asked, true) {
            let (channels, cursor) = (pager.channels.clone(), pager.cursor);
            let (outlet, grant, channels) = (self.outlet, &grant, &channels);
            self.control.handle(Event::Drained { outlet, conn, grant, transport, channels, cursor });
        }
    }

    /// Whether more waits for this connection than one may have waiting.
    fn is_over(&mut self, index: u32) -> bool {
        let (bytes_max, count_max) = (self.limits.queue_bytes_max, self.limits.queue_messages_max);
        let slot = self.slots.at(index);
        let bounded = matches!(slot.phase, Phase::Paging | Phase::Live);
        bounded && (slot.queue.live_bytes() > bytes_max || slot.queue.live_count() > count_max)
    }

    /// Deals with a subscriber that reads too slowly: it skips to the newest messages where its channels allow that,
    /// and is ended otherwise. It costs only itself (invariant 6).
    pub(super) fn slow(&mut self, index: u32) {
        self.counters.slow_consumers.add(1);
        let skipped = self.skip_to_newest(index) && !self.is_over(index);
        let now = self.clock.tick();
        match self.patience_ends(index) {
            // One that takes nothing at all is ended either way.
            Some(end) if skipped && end > now => self.due_sooner(index, end),
            _ => self.end(index, Reason::SlowConsumer),
        }
    }

    /// Skips to the newest message of each channel, with a gap in place of the others. False where the connection's
    /// channels do not all allow it, its format cannot say it, or there is nothing to skip.
    fn skip_to_newest(&mut self, index: u32) -> bool {
        let now = self.clock.tick();
        let slot = self.slots.at(index);
        let form = slot.form;
        let tells = matches!(form, Form::Sse(..) | Form::Ws(Protocol::V1)) && slot.phase == Phase::Live;
        let allowed = |seat: &Seat| self.limits.conflates(self.members.channel(*seat));
        if !tells || slot.seats.is_empty() || !slot.seats.iter().all(allowed) {
            return false;
        }
        let frames = &self.frames;
        let skipped = slot.queue.conflate(now, |cursor, channels| {
            let gap = Gap { channels, reason: GapReason::SlowConsumer, cursor };
            frames.gap(gap_bytes(form, &gap), cursor)
        });
        if skipped {
            self.counters.gap(GapReason::SlowConsumer);
        }
        skipped
    }

    /// Queues take more than their share of the memory budget: those who have waited longest go first (rule S35).
    fn shed(&mut self) {
        let mut waiting: Vec<(u32, u32)> = Vec::new();
        for index in self.slots.indices() {
            let slot = self.slots.at(index);
            if !matches!(slot.phase, Phase::Free | Phase::Doomed) {
                waiting.extend(slot.queue.oldest().map(|since| (since, index)));
            }
        }
        waiting.sort_unstable();
        for (_, index) in waiting {
            if self.frames.bytes() <= self.limits.memory_budget / 5 {
                return;
            }
            if matches!(self.slots.at(index).phase, Phase::Paging | Phase::Live) {
                self.slow(index);
            } else {
                // An answer to a poll, or last words: there is nothing shorter to say instead.
                self.counters.slow_consumers.add(1);
                self.doom(index);
            }
        }
    }
}

/// A gap as a stream or a `tidewire.v1` WebSocket is told it; nothing for the formats that cannot be told inside.
fn gap_bytes(form: Form, gap: &Gap) -> Vec<u8> {
    let mut bytes = Vec::new();
    match form {
        Form::Sse(_, body) => sse::gap(body, gap, &mut bytes),
        Form::Ws(Protocol::V1) => frame::write(Opcode::Text, v1::gap(gap).as_bytes(), &mut bytes),
        Form::Ws(Protocol::Raw) | Form::Poll | Form::Post | Form::Body | Form::Unknown => {}
    }
    bytes
}
