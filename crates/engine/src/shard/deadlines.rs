//! Deadlines: what must have happened by now, and heartbeats (delivery rules R6 and R30).

use std::time::Duration;

use tidewire_hub::admit::HeadFields;
use tidewire_hub::reason::Reason;
use tidewire_transport::refusal::Refusal;
use tidewire_transport::sse;
use tidewire_transport::websocket::frame::{self, Opcode};

use crate::kernel::Kernel;

use super::ending::Asker;
use super::queue::Kind;
use super::slot::{Form, NEVER, Phase};
use super::time::{Tick, ticks};
use super::turn::Shard;

/// A reader that catches up may take this much longer to take anything than one that is live, since history does
/// not count against it (delivery rule R10); but not for ever.
const HISTORY_PATIENCE: Tick = 4;

/// How long the control plane may take to answer. It may ask an issuer for keys or a vault for a ticket, and both have
/// less time than this.
pub(super) const ANSWER_MAX: Duration = Duration::from_secs(10);

impl<K: Kernel> Shard<K> {
    /// Sets when this connection is looked at next.
    pub(super) fn due(&mut self, index: u32, due: Tick) {
        let token = self.slots.token(index);
        let slot = self.slots.at(index);
        slot.due = due;
        // Later than when it is looked at anyway costs nothing: it is then put back.
        if due < slot.looked_at {
            let looked_at = self.wheel.insert(token, due);
            self.slots.at(index).looked_at = looked_at;
        }
    }

    /// The same, unless it is looked at sooner.
    pub(super) fn due_sooner(&mut self, index: u32, due: Tick) {
        if due < self.slots.at(index).due {
            self.due(index, due);
        }
    }

    /// The wheel has come to where this connection stood.
    pub(super) fn look_at(&mut self, token: u64, at: Tick) {
        let Some(index) = self.slots.find(token) else { return };
        let now = self.now();
        let slot = self.slots.at(index);
        if slot.looked_at != at {
            return;
        }
        slot.looked_at = NEVER;
        match slot.due {
            NEVER => {}
            due if due > now => self.due(index, due),
            _ => self.deadline(index),
        }
    }

    fn deadline(&mut self, index: u32) {
        let slot = self.slots.at(index);
        match (slot.phase, slot.form) {
            (Phase::Paging | Phase::Live, Form::Sse(..) | Form::Ws(_)) => return self.pulse(index),
            (Phase::Live, Form::Poll) => return self.answer_wait(index),
            (Phase::Asked, _) => return self.unanswered(index),
            (Phase::Head, Form::Body) => return self.give_up_body(index),
            _ => {}
        }
        self.counters.timeouts.add(1);
        if slot.phase == Phase::Head && slot.has_inbound() {
            let refusal = Refusal::new(Reason::Timeout, "the request head did not end in time");
            self.refuse(index, &refusal, Asker::Nobody, &HeadFields::default());
        } else {
            self.doom(index);
        }
    }

    /// The control plane owes an answer and has not given it. The client has done nothing wrong and may come again; an
    /// answer that comes yet finds nobody, and what it joined is left.
    fn unanswered(&mut self, index: u32) {
        self.counters.timeouts.add(1);
        let request = self.slots.at(index).story().request.take();
        // Host and origin are refused at once, so this one's have passed.
        let asker = request.as_deref().map_or(Asker::Nobody, Asker::Request);
        let refusal = Refusal::new(Reason::Overloaded, "nothing was decided about this request in time");
        self.refuse(index, &refusal, asker, &HeadFields::default());
    }

    /// What a stream or WebSocket is due: an end for one that is slow or silent, a heartbeat for one that is quiet.
    fn pulse(&mut self, index: u32) {
        let now = self.now();
        if self.patience_ends(index).is_some_and(|end| end <= now) {
            return self.slow(index);
        }
        if self.slots.at(index).ends <= now {
            return self.end(index, Reason::Expired);
        }
        if self.slots.at(index).retires <= now {
            return self.end(index, Reason::Draining);
        }
        let heartbeat = self.heartbeat_of(index);
        let slot = self.slots.at(index);
        let empty = slot.queue.is_empty();
        match slot.form {
            Form::Ws(_) => {
                let incomplete = slot.story.as_ref().and_then(|story| story.partial_since);
                let late = |since: Tick, max| now.saturating_sub(since) >= ticks(max);
                if incomplete.is_some_and(|since| late(since, self.limits.incomplete_message_max)) {
                    self.counters.timeouts.add(1);
                    return self.end(index, Reason::Timeout);
                }
                if slot.phase == Phase::Live && late(slot.heard, self.limits.silence_max) {
                    self.counters.timeouts.add(1);
                    return self.end(index, Reason::Silent);
                }
                if empty && late(slot.beat, self.limits.ping) {
                    slot.beat = now;
                    let mut ping = Vec::new();
                    frame::write(Opcode::Ping, &[], &mut ping);
                    self.counters.heartbeats.add(1);
                    self.queue(index, ping, Kind::Live);
                }
            }
            Form::Sse(_, body) if empty && now >= slot.beat.saturating_add(heartbeat) => {
                self.slots.at(index).beat = now;
                self.beat(index, body);
            }
            _ => {}
        }
        // While something waits, nothing is due but the end of patience: a heartbeat is looked for now and then.
        let rest = if empty { 1 } else { ticks(Duration::from_secs(1)) };
        let due = self.next_pulse(index).max(now + rest);
        let patience_ends = self.patience_ends(index).unwrap_or(NEVER);
        let ends = self.slots.at(index).leaves();
        self.due(index, due.min(patience_ends.max(now + 1)).min(ends.max(now + 1)));
    }

    /// An id alone into an empty queue: the last position queued to everyone here (delivery rule R6).
    fn beat(&mut self, index: u32, body: sse::Body) {
        let slot = self.slots.at(index);
        if slot.phase != Phase::Live {
            return;
        }
        if let Some(position) = self.position {
            let mut block = Vec::new();
            sse::heartbeat(body, position, &mut block);
            self.counters.heartbeats.add(1);
            self.queue(index, block, Kind::Live);
        }
    }

    /// When a stream or WebSocket is to be looked at next.
    pub(super) fn next_pulse(&mut self, index: u32) -> Tick {
        let heartbeat = self.heartbeat_of(index);
        let patience_ends = self.patience_ends(index).unwrap_or(NEVER);
        let slot = self.slots.at(index);
        let pulse = match slot.form {
            Form::Ws(_) => {
                let partial = slot.story.as_ref().and_then(|story| story.partial_since);
                let partial =
                    partial.map_or(NEVER, |since| since + ticks(self.limits.incomplete_message_max));
                // One that catches up is not silent but busy, and it is not asked.
                let silent = match slot.phase {
                    Phase::Live => slot.heard + ticks(self.limits.silence_max),
                    _ => NEVER,
                };
                (slot.beat + ticks(self.limits.ping)).min(silent).min(partial)
            }
            _ => slot.beat + heartbeat,
        };
        pulse.min(patience_ends).min(self.slots.at(index).leaves())
    }

    /// When a connection whose oldest frame does not leave is slow.
    pub(super) fn patience_ends(&mut self, index: u32) -> Option<Tick> {
        let patience = ticks(self.limits.queue_age_max);
        let queue = &self.slots.at(index).queue;
        let patience =
            if queue.oldest_is_live() { patience } else { patience.saturating_mul(HISTORY_PATIENCE) };
        Some(queue.oldest()?.saturating_add(patience))
    }

    /// The interval, give or take a fifth. It is a connection's own and stays, so that those who came together do
    /// not beat together.
    fn heartbeat_of(&mut self, index: u32) -> Tick {
        let middle = ticks(self.limits.heartbeat);
        let spread = self.slots.token(index).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        let fifth = middle / 5;
        middle - fifth + (spread % u64::from(2 * fifth + 1)) as Tick
    }
}
