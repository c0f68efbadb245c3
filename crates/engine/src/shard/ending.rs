//! Ending: refusals, orderly ends and broken connections (delivery rules R14 and R29).

use tidewire_hub::admit::HeadFields;
use tidewire_hub::position::Position;
use tidewire_hub::reason::{Reason, Retry};
use tidewire_transport::http1::Head;
use tidewire_transport::refusal::{self, Refusal};
use tidewire_transport::request::{Protocol, Request, Wants, is_event_source};
use tidewire_transport::sse::{self, Body};
use tidewire_transport::websocket::frame::{self, Opcode};
use tidewire_transport::{envelope, v1};

use crate::event::Event;
use crate::kernel::Kernel;

use super::queue::Kind;
use super::slot::{Form, Phase};
use super::time::ticks;
use super::turn::Shard;

/// Who is told of a refusal, as far as it is known.
#[derive(Clone, Copy)]
pub(super) enum Asker<'a> {
    /// Whoever sent something that is no request.
    Nobody,
    /// Whoever sent a head that asks for nothing that there is. No gate has seen its origin.
    Unread(&'a Head<'a>),
    /// Whoever asked for this, and has been through the gate.
    Request(&'a Request),
}

impl Asker<'_> {
    /// Whether a browser asks: pages cannot send `Sec-Fetch-Site`, and whoever else does not has a status to read.
    fn is_browser(self) -> bool {
        match self {
            Asker::Nobody => false,
            Asker::Unread(head) => is_event_source(head),
            Asker::Request(request) => {
                request.caller.as_ref().is_some_and(|caller| caller.fetch_site.is_some())
            }
        }
    }
}

/// In dev mode a refused `EventSource` is told why, and to ask again only when somebody may have mended it.
const REFUSED_RETRY_MS: u64 = 60_000;

impl<K: Kernel> Shard<K> {
    /// Answers a request that is not let in, and ends its connection.
    pub(super) fn refuse(&mut self, index: u32, refusal: &Refusal, asker: Asker<'_>, fields: &HeadFields) {
        self.counters.refused.add(1);
        // The gate looks at origin and host first, so whoever was refused for anything else passed them (rule S7).
        let passed = !matches!(refusal.reason, Reason::OriginRefused | Reason::HostRefused);
        let (request, allow_origin, stream) = match asker {
            Asker::Nobody => (None, None, None),
            Asker::Unread(head) => (None, None, is_event_source(head).then_some(Body::UntilClose)),
            Asker::Request(request) => {
                (Some(request), request.origin.as_deref().filter(|_| passed), stream_body(request))
            }
        };
        let again = refusal::answers_as_stream(refusal.reason);
        let explains = self.explain && asker.is_browser();
        let stream = stream.filter(|_| again || explains);
        let says = stream.is_none() || !again;
        let trace = says.then(|| self.trace_id(refusal.reason));
        let trace = trace.as_deref();
        let answer = match stream {
            None => refusal::http_response(refusal, allow_origin, fields, trace, true),
            // EventSource closes for good on any other status, and shows its user no more than that it did.
            Some(body) => {
                let mut answer = Vec::new();
                sse::response_head(body, allow_origin, fields, &mut answer);
                if again {
                    sse::retry(body, self.retry_ms(), &mut answer);
                } else {
                    let problem = refusal::problem_json(refusal.reason, &refusal.detail, trace);
                    sse::retry(body, REFUSED_RETRY_MS, &mut answer);
                    sse::control(body, "$refused", &problem, &mut answer);
                }
                sse::end(body, &mut answer);
                answer
            }
        };
        let peer = self.client_of(index);
        let head = if let Asker::Unread(head) = asker { Some(head) } else { None };
        self.control.handle(Event::Refused { peer, head, request, refusal, trace_id: trace });
        self.end_after(index, answer);
    }

    /// Ends a connection in an orderly way, with a cursor to come back with where its format can name one.
    pub(super) fn end(&mut self, index: u32, reason: Reason) {
        let dropped = match reason {
            // Everything it has not begun to read is dropped; what follows begins before the first of it.
            Reason::SlowConsumer => self.slots.at(index).queue.cut(),
            _ => None,
        };
        let cursor = dropped.or_else(|| self.cursor_of(index));
        self.end_naming(index, reason, cursor);
    }

    /// The same, where what follows begins at `cursor`, or where only a new start leads on.
    pub(super) fn end_at(&mut self, index: u32, reason: Reason, cursor: Option<Position>) {
        self.end_naming(index, reason, cursor);
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
        if self.slots.at(index).finished {
            // Nothing will tell of its end again.
            self.read_later(index);
        }
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
            Phase::Unintroduced | Phase::Head if slot.queue.is_empty() && !slot.has_inbound() => {
                self.doom(index);
            }
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
                let asker = request.as_deref().map_or(Asker::Nobody, Asker::Request);
                let refusal = Refusal::new(reason, reason.hint());
                return self.refuse(index, &refusal, asker, &HeadFields::default());
            }
            (Phase::Paging | Phase::Live, Form::Sse(_, body)) => {
                if reason.status() == 401 {
                    sse::control(body, "$expired", &envelope::reason(reason), &mut last);
                }
                sse::retry(body, self.retry_ms(), &mut last);
                sse::end(body, &mut last);
            }
            (Phase::Paging | Phase::Live, Form::Ws(protocol)) => {
                if reason.status() == 401 && protocol == Protocol::V1 {
                    frame::write(Opcode::Text, v1::expired(reason).as_bytes(), &mut last);
                }
                let named =
                    cursor.filter(|_| reason.retry() == Retry::Resume).map(|cursor| cursor.to_string());
                frame::close(reason.close_code(), named.as_deref().unwrap_or(reason.code()), &mut last);
            }
            (Phase::Live, Form::Poll) => return self.answer_wait(index),
            _ => {}
        }
        self.ends_for = Some(reason);
        self.end_after(index, last);
        self.ends_for = None;
    }

    /// Gives back what a connection counts as: its seats, and its place among the open ones.
    fn close_accounts(&mut self, index: u32) {
        let slot = self.slots.at(index);
        if matches!(slot.phase, Phase::Paging | Phase::Live) {
            if matches!(slot.form, Form::Sse(..) | Form::Ws(_)) {
                self.counters.ends.count(self.ends_for);
            }
            match slot.form {
                Form::Sse(..) => self.counters.open_sse.sub(1),
                Form::Ws(_) => self.counters.open_ws.sub(1),
                Form::Poll => self.counters.open_poll.sub(1),
                Form::Post | Form::Body | Form::Unknown => {}
            }
        }
        self.depart(index);
    }
}

/// How the end of its stream is told, where the request is for one.
fn stream_body(request: &Request) -> Option<Body> {
    let body = if request.chunked { Body::Chunked } else { Body::UntilClose };
    matches!(request.wants, Wants::Sse { .. }).then_some(body)
}
