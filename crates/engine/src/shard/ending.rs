//! Ending: refusals, orderly ends and broken connections (delivery rules R14 and R29).

use tidewire_hub::position::Position;
use tidewire_hub::reason::{Reason, Retry};
use tidewire_transport::refusal::{self, Refusal};
use tidewire_transport::request::{Request, Wants};
use tidewire_transport::sse::{self, Body};
use tidewire_transport::websocket::frame;

use crate::kernel::Kernel;

use super::queue::Kind;
use super::slot::{Form, Phase};
use super::time::ticks;
use super::turn::Shard;

impl<K: Kernel> Shard<K> {
    /// Answers a request that is not let in, and ends its connection.
    pub(super) fn refuse(&mut self, index: u32, refusal: &Refusal, request: Option<&Request>) {
        self.counters.refused.add(1);
        // The gate looks at origin and host first, so whoever was refused for anything else passed them (rule S7).
        let passed = !matches!(refusal.reason, Reason::OriginRefused | Reason::HostRefused);
        let allow_origin = request.filter(|_| passed).and_then(|request| request.origin.as_deref());
        let stream = request.filter(|request| {
            matches!(request.wants, Wants::Sse { .. }) && refusal::answers_as_stream(refusal.reason)
        });
        let answer = match stream {
            None => refusal::http_response(refusal, allow_origin, None, true),
            // EventSource closes for good on any other status, and it shall come back.
            Some(request) => {
                let body = if request.chunked { Body::Chunked } else { Body::UntilClose };
                let mut answer = Vec::new();
                sse::response_head(body, allow_origin, &mut answer);
                sse::retry(body, self.retry_ms(), &mut answer);
                sse::end(body, &mut answer);
                answer
            }
        };
        self.end_after(index, answer);
    }

    /// Ends a connection in an orderly way, with a cursor to come back with where its format can name one.
    pub(super) fn end(&mut self, index: u32, reason: Reason) {
        let dropped = match reason {
            // Everything it has not begun to read is dropped; what follows begins before the first of it.
            Reason::SlowConsumer => self.slots.at(index).queue.cut(),
            _ => None,
        };
        let cursor = match dropped {
            Some(first) => Some(Position { seq: first.seq.saturating_sub(1), ..first }),
            None => self.cursor_of(index),
        };
        self.end_naming(index, reason, cursor);
    }

    /// The same, where what follows begins at `cursor`.
    pub(super) fn end_at(&mut self, index: u32, reason: Reason, cursor: Position) {
        self.end_naming(index, reason, Some(cursor));
    }

    /// Sends what is queued and then `last`, and ends the connection.
    pub(super) fn end_after(&mut self, index: u32, last: Vec<u8>) {
        if matches!(
            self.slots.at(index).phase,
            Phase::Ending | Phase::Lingering | Phase::Doomed | Phase::Free
        ) {
            return;
        }
        self.close_accounts(index);
        self.queue(index, last, Kind::History);
        self.slots.at(index).phase = Phase::Ending;
        let due = self.now() + ticks(self.limits.linger_max);
        self.due(index, due);
        // Input is discarded from now on, so it must be read where reading had stopped.
        self.read_later(index);
    }

    /// Everything has been sent: our half ends, and the peer has a moment to end its own. Closing at once would
    /// reset the connection while it still reads.
    pub(super) fn linger(&mut self, index: u32) {
        let due = self.now() + ticks(self.limits.linger_max);
        let slot = self.slots.at(index);
        slot.phase = Phase::Lingering;
        if let Some(socket) = &slot.socket {
            self.kernel.finish(socket);
        }
        self.due(index, due);
    }

    /// Ends a connection without a word: it is broken, or has been told everything.
    pub(super) fn doom(&mut self, index: u32) {
        if matches!(self.slots.at(index).phase, Phase::Doomed | Phase::Free) {
            return;
        }
        self.close_accounts(index);
        let slot = self.slots.at(index);
        slot.phase = Phase::Doomed;
        slot.queue = super::queue::Queue::default();
        slot.story = None;
        self.doomed.push(index);
    }

    /// Ends one connection of the draining wave.
    pub(super) fn drain_one(&mut self, token: u64) {
        let Some(index) = self.slots.find(token) else { return };
        let slot = self.slots.at(index);
        match slot.phase {
            // Nothing is asked, or not yet: it will find the next process, or the API server's answer.
            Phase::Head if slot.queue.is_empty() && slot.story.is_none() => self.doom(index),
            Phase::Paging | Phase::Live => self.end(index, Reason::Draining),
            // The control plane owes it an answer; it is looked at again when that has come.
            Phase::Asked => {
                let soon = self.now() + 1;
                self.wave.iter_mut().for_each(|wave| wave.push((soon, token)));
            }
            _ => {}
        }
    }

    fn end_naming(&mut self, index: u32, reason: Reason, cursor: Option<Position>) {
        let mut last = Vec::new();
        let slot = self.slots.at(index);
        match (slot.phase, slot.form) {
            (Phase::Asked, _) => {
                let request = slot.story().request.take();
                return self.refuse(index, &Refusal::new(reason, reason.hint()), request.as_deref());
            }
            (Phase::Paging | Phase::Live, Form::Sse(_, body)) => {
                sse::retry(body, self.retry_ms(), &mut last);
                sse::end(body, &mut last);
            }
            (Phase::Paging | Phase::Live, Form::Ws(_)) => {
                let named =
                    cursor.filter(|_| reason.retry() == Retry::Resume).map(|cursor| cursor.to_string());
                frame::close(reason.close_code(), named.as_deref().unwrap_or(reason.code()), &mut last);
            }
            (Phase::Live, Form::Poll) => return self.answer_wait(index),
            _ => {}
        }
        self.end_after(index, last);
    }

    /// Gives back what a connection counts as: its seats, and its place among the open ones.
    fn close_accounts(&mut self, index: u32) {
        let slot = self.slots.at(index);
        if matches!(slot.phase, Phase::Paging | Phase::Live) {
            match slot.form {
                Form::Sse(..) => self.counters.open_sse.sub(1),
                Form::Ws(_) => self.counters.open_ws.sub(1),
                Form::Poll => self.counters.open_poll.sub(1),
                Form::Unknown => {}
            }
        }
        self.depart(index);
    }
}
