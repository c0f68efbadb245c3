//! Admission: what an `Admit` does to the connection it answers (delivery rules R9 to R12).

use std::sync::Arc;
use std::time::Duration;

use tidewire_hub::admit::{Admit, Cause, ConnId, HeadFields, Page, Terms, Transport};
use tidewire_hub::channel::{Channel, ChannelSet};
use tidewire_hub::grant::Grant;
use tidewire_hub::limits::{POLL_PAGE, PageLimit};
use tidewire_hub::message::Message;
use tidewire_hub::position::Position;
use tidewire_hub::reason::Reason;
use tidewire_transport::encoding::Encoding;
use tidewire_transport::request::{Protocol, Request, Wants};
use tidewire_transport::sse::{self, Body};
use tidewire_transport::websocket::frame::{self, Opcode};
use tidewire_transport::websocket::handshake;
use tidewire_transport::{poll, v1};

use crate::event::Event;
use crate::kernel::Kernel;

use super::obey::joint;
use super::queue::Kind;
use super::slot::{Form, NEVER, Pager, Phase, Story};
use super::time::{Tick, ticks};
use super::turn::Shard;

impl<K: Kernel> Shard<K> {
    pub(super) fn admit(&mut self, admit: Admit) {
        self.generation = Some(admit.page.cursor.generation);
        let found = self.slots.find(admit.conn.0);
        let phase = found.map(|index| (index, self.slots.at(index).phase));
        match (phase, &admit.cause) {
            (Some((index, Phase::Asked)), Cause::Arrival(_)) => self.let_in(index, admit),
            (Some((index, Phase::Paging)), Cause::Page) => self.next_page(index, admit),
            (Some((index, Phase::Paging | Phase::Live)), Cause::Addition(_)) => {
                self.add_channels(index, &admit);
            }
            // It is gone: what joining counted is taken back, one for one (delivery rule R12).
            _ if admit.joined => {
                self.depart_unseated(admit.conn, &admit.grant, admit.transport, admit.channels.to_vec());
            }
            _ => {}
        }
    }

    fn let_in(&mut self, index: u32, mut admit: Admit) {
        self.counters.admitted.add(1);
        let Some(mut request) = self.slots.at(index).story().request.take() else { return };
        let cause = std::mem::replace(&mut admit.cause, Cause::Page);
        let Terms { lasts, place, head } = match cause {
            Cause::Arrival(terms) => *terms,
            _ => Terms::default(),
        };
        // What decided on its admission is not needed any more, and idle connections are many.
        request.caller = None;
        let (ends, retires, now) = (self.ends_after(lasts), self.retires(), self.now());
        let slot = self.slots.at(index);
        (slot.since, slot.messages) = (now, 0);
        (slot.grant, slot.place, slot.ends) = (Some(admit.grant.clone()), place, ends);
        slot.retires = retires;
        match request.wants {
            Wants::Sse { envelope } => self.open_stream(index, admit, &request, &head, envelope),
            Wants::WebSocket { accept_key, protocol } => {
                self.open_websocket(index, admit, request, &head, &accept_key, protocol);
            }
            Wants::LongPoll { wait } if admit.joined => {
                self.wait_for_news(index, &admit, request, head, wait);
            }
            Wants::LongPoll { .. } | Wants::ShortPoll => self.answer_poll(index, &admit.page, &request, head),
        }
    }

    /// The tick at which rights end that last for so long from now.
    pub(super) fn ends_after(&self, lasts: Option<Duration>) -> Tick {
        lasts.map_or(NEVER, |lasts| self.now().saturating_add(ticks(lasts)))
    }

    /// The tick at which a connection that is let in now is old. Those that came together do not go together.
    fn retires(&mut self) -> Tick {
        let age = ticks(self.limits.connection_age_max);
        let spread = age / 5;
        let more = self.jitter.below(u64::from(spread) + 1);
        self.now().saturating_add(age - spread / 2).saturating_add(Tick::try_from(more).unwrap_or(0))
    }

    fn open_stream(
        &mut self,
        index: u32,
        admit: Admit,
        request: &Request,
        fields: &HeadFields,
        envelope: bool,
    ) {
        let body = if request.chunked { Body::Chunked } else { Body::UntilClose };
        let encoding = sse_encoding(body, envelope, request.channels.len() > 1);
        self.counters.open_sse.add(1);
        self.slots.at(index).form = Form::Sse(encoding, body);
        let mut head = Vec::with_capacity(512);
        sse::response_head(body, request.origin.as_deref(), fields, &mut head);
        sse::retry(body, self.retry_ms(), &mut head);
        if let Some(gap) = &admit.page.gap {
            self.counters.gap(gap.reason);
            sse::gap(body, gap, &mut head);
        }
        sse::ready(body, &admit.channels, admit.page.start, &mut head);
        self.queue(index, head, Kind::Head);
        self.begin(index, admit);
        if self.slots.at(index).phase == Phase::Live {
            self.slots.at(index).forget();
        }
    }

    fn open_websocket(
        &mut self,
        index: u32,
        admit: Admit,
        mut request: Box<Request>,
        fields: &HeadFields,
        key: &[u8; 28],
        protocol: Protocol,
    ) {
        self.counters.open_ws.add(1);
        let name = (protocol == Protocol::V1).then_some(tidewire_transport::request::V1);
        let mut head = Vec::with_capacity(256);
        handshake::response(key, name, fields, &mut head);
        if protocol == Protocol::V1 {
            if let Some(gap) = &admit.page.gap {
                self.counters.gap(gap.reason);
                frame::write(Opcode::Text, v1::gap(gap).as_bytes(), &mut head);
            }
            frame::write(Opcode::Text, v1::ready(&admit.channels, admit.page.start).as_bytes(), &mut head);
        }
        (request.origin, request.if_none_match) = (None, None);
        let slot = self.slots.at(index);
        slot.form = Form::Ws(protocol);
        slot.story().request = Some(request);
        slot.story().client = None;
        let leftover = slot.has_inbound();
        self.queue(index, head, Kind::Head);
        if let (Protocol::Raw, Some(gap)) = (protocol, &admit.page.gap) {
            // Raw cannot say it inside the stream, so it says it with the close.
            self.counters.gap(gap.reason);
            if admit.joined {
                self.depart_unseated(admit.conn, &admit.grant, admit.transport, admit.channels.to_vec());
            }
            self.slots.at(index).phase = Phase::Live;
            return self.end_at(index, Reason::Gap, admit.page.whole);
        }
        self.begin(index, admit);
        if leftover {
            self.read_later(index);
        }
    }

    /// Queues the first page and joins, or goes on page by page.
    fn begin(&mut self, index: u32, admit: Admit) {
        let now = self.now();
        let slot = self.slots.at(index);
        (slot.beat, slot.heard) = (now, now);
        if std::mem::take(&mut slot.unread) {
            self.read_later(index);
        }
        self.take_page(index, admit);
        let due = self.next_pulse(index);
        self.due(index, due);
    }

    fn next_page(&mut self, index: u32, admit: Admit) {
        if let Some(gap) = &admit.page.gap {
            self.counters.gap(gap.reason);
            let form = self.slots.at(index).form;
            if form == Form::Ws(Protocol::Raw) {
                if admit.joined {
                    self.depart_unseated(admit.conn, &admit.grant, admit.transport, admit.channels.to_vec());
                }
                return self.end_at(index, Reason::Gap, admit.page.whole);
            }
            self.queue_gap(index, gap, Kind::History);
        }
        self.take_page(index, admit);
    }

    fn take_page(&mut self, index: u32, admit: Admit) {
        self.queue_page(index, &admit.page);
        let now = self.now();
        let Admit { channels, page, joined, .. } = admit;
        let slot = self.slots.at(index);
        if joined {
            slot.phase = Phase::Live;
            slot.joined_at = page.cursor.seq;
            // It was busy reading; what it said meanwhile is heard now.
            slot.heard = now;
            let mut waits = slot.unread;
            if let Some(story) = &mut slot.story {
                story.pager = None;
                waits |= !story.inbound.is_empty();
            }
            if waits {
                self.read_later(index);
            }
            self.seat(index, &channels);
        } else {
            slot.phase = Phase::Paging;
            slot.story().pager = Some(Pager { channels, cursor: page.cursor, asked: false });
        }
        self.soil(index);
    }

    fn queue_page(&mut self, index: u32, page: &Page) {
        let now = self.clock.tick();
        let slot = self.slots.at(index);
        let Some(encoding) = slot.form.encoding() else { return };
        for message in &page.messages {
            slot.queue.push(self.frames.of(message, encoding), Kind::History, now);
        }
        let transport = slot.form.transport().unwrap_or(Transport::Sse);
        self.counters.deliver(transport, page.messages.len() as u64);
    }

    /// Answers a `subscribe` frame with an `ack` that holds what a poll would (delivery rule R11).
    fn add_channels(&mut self, index: u32, admit: &Admit) {
        let Cause::Addition(tag) = &admit.cause else { return };
        let tag = Some(&**tag);
        let slot = self.slots.at(index);
        let seated =
            |channel: &&Channel| slot.seats.iter().any(|seat| self.members.channel(*seat) == *channel);
        let (again, new): (Vec<&Channel>, Vec<&Channel>) = admit.channels.iter().partition(seated);
        let channels_max = self.limits.channels_per_connection_max;
        let answer = if slot.queue.bytes() > self.limits.queue_bytes_max {
            // History does not count against a slow reader, so it must not be asked for faster than it is read.
            Err((Reason::Overloaded, "the answers before this one wait to be read".to_owned()))
        } else if slot.seats.len() + new.len() > channels_max {
            let detail = format!("this connection would have more than {channels_max} channels");
            Err((Reason::ChannelCount, detail))
        } else {
            Ok(v1::ack_subscribe(tag, &admit.page, admit.joined))
        };
        let joins = admit.joined && answer.is_ok();
        let answer = answer.unwrap_or_else(|(reason, detail)| v1::error(tag, reason, &detail));
        // Its channels are a set: what was counted for one it has already is taken back, and so is a refused one.
        let back = if joins { again } else { admit.channels.iter().collect() };
        let back: Vec<Channel> = back.into_iter().filter(|_| admit.joined).cloned().collect();
        let new = ChannelSet::new(new.into_iter().filter(|_| joins).cloned());
        let mut bytes = Vec::with_capacity(answer.len() + 10);
        frame::write(Opcode::Text, answer.as_bytes(), &mut bytes);
        self.queue(index, bytes, Kind::History);
        self.depart_unseated(admit.conn, &admit.grant, admit.transport, back);
        self.seat(index, &new);
    }

    fn seat(&mut self, index: u32, channels: &ChannelSet) {
        for channel in channels.iter() {
            let seat = self.members.join(channel, index);
            self.slots.at(index).seats.push(seat);
        }
    }

    fn wait_for_news(
        &mut self,
        index: u32,
        admit: &Admit,
        request: Box<Request>,
        head: HeadFields,
        wait: Duration,
    ) {
        self.counters.open_poll.add(1);
        let slot = self.slots.at(index);
        slot.phase = Phase::Live;
        slot.form = Form::Poll;
        slot.joined_at = admit.page.cursor.seq;
        slot.story().request = Some(request);
        slot.story().head = head;
        slot.story().since = admit.page.gap.clone();
        // It is not told when its rights end meanwhile: the answer comes then, and the next poll is refused.
        let ends = slot.ends;
        self.seat(index, &admit.channels);
        let due = self.now() + ticks(wait);
        self.due(index, due.min(ends));
        self.client_finished(index);
    }

    /// A long poll's wait is over: it is answered with what came, be it nothing.
    pub(super) fn answer_wait(&mut self, index: u32) {
        let Some(cursor) = self.cursor_of(index) else { return };
        let story = self.slots.at(index).story();
        let mut messages = std::mem::take(&mut story.caught);
        // The fence behind a loss may come a turn later. The next poll begins in the log that the gap leads into all the same:
        // with a place in the one that is lost it would be told of the loss again.
        let led_into = story.gap.as_ref().map(|gap| gap.cursor);
        let cursor = led_into.filter(|place| place.generation != cursor.generation).unwrap_or(cursor);
        let gap = match (story.since.take(), story.gap.take()) {
            (Some(before), Some(meanwhile)) => Some(joint(before, meanwhile)),
            (before, meanwhile) => before.or(meanwhile),
        };
        let Some(request) = story.request.take() else { return };
        let head = std::mem::take(&mut story.head);
        // What came in one turn may be more than a page holds; the rest is a resume away.
        let fitting = fitting(&messages, POLL_PAGE);
        let more = fitting < messages.len();
        messages.truncate(fitting);
        let joined_at = self.slots.at(index).joined_at;
        // Of a message without an id it may lie behind what the poll came with (delivery rule R7).
        let reached =
            |last: &Arc<Message>| Position { seq: last.position.seq.max(joined_at), ..last.position };
        let cursor = messages.last().filter(|_| more).map_or(cursor, reached);
        let start = None;
        let page = Page { gap, start, messages, cursor, more, whole: Some(cursor), newest: cursor };
        self.counters.open_poll.sub(1);
        self.depart(index);
        self.slots.at(index).phase = Phase::Asked;
        self.answer_poll(index, &page, &request, head);
    }

    fn answer_poll(&mut self, index: u32, page: &Page, request: &Request, head: HeadFields) {
        if let Some(gap) = &page.gap {
            self.counters.gap(gap.reason);
        }
        let mut answer = Vec::new();
        let keep_alive = request.keep_alive && self.wave.is_none();
        let answered = poll::Poll {
            if_none_match: request.if_none_match.clone(),
            long: matches!(request.wants, Wants::LongPoll { .. }),
            keep_alive,
            allow_origin: request.origin.clone(),
            head,
        };
        poll::response(page, &answered, &mut answer);
        self.counters.deliver(Transport::Poll, page.messages.len() as u64);
        self.queue(index, answer, Kind::History);
        let now = self.now();
        if !keep_alive {
            self.end_after(index, Vec::new());
            // A page is more than last words: it may be read as slowly as one that leaves the connection open.
            return self.due(index, now + ticks(self.limits.keep_alive_max));
        }
        let slot = self.slots.at(index);
        slot.phase = Phase::Head;
        slot.form = Form::Poll;
        (slot.beat, slot.served) = (NEVER, true);
        (slot.grant, slot.place, slot.ends, slot.retires) = (None, None, NEVER, NEVER);
        // What came behind this request is read once the answer has left.
        if !slot.has_inbound() {
            let client = slot.story.take().and_then(|story| story.client);
            slot.story = client.map(|client| Box::new(Story { client: Some(client), ..Story::default() }));
        }
        self.due(index, now + ticks(self.limits.keep_alive_max));
    }

    /// Empties every seat of a connection.
    pub(super) fn depart(&mut self, index: u32) {
        self.depart_from(index, |_| true);
    }

    /// Empties the seats of a connection in these channels, and tells the control plane.
    pub(super) fn depart_from(&mut self, index: u32, leaves: impl Fn(&Channel) -> bool) {
        let slot = self.slots.at(index);
        let Some(transport) = slot.form.transport().filter(|_| !slot.seats.is_empty()) else { return };
        let grant = slot.grant.clone().expect("who has a seat was let in with a grant");
        let seats = std::mem::take(&mut slot.seats);
        let (gone, kept) =
            seats.into_iter().partition::<Vec<_>, _>(|seat| leaves(self.members.channel(*seat)));
        self.slots.at(index).seats.extend(kept);
        let mut channels = Vec::with_capacity(gone.len());
        for seat in gone {
            let (channel, moved) = self.members.leave(seat);
            channels.push(channel);
            if let Some(moved) = moved {
                let from = self.members.of(&channels[channels.len() - 1]).len() as u32;
                let seats = &mut self.slots.at(moved).seats;
                if let Some(seat_of) =
                    seats.iter_mut().find(|other| other.room == seat.room && other.at == from)
                {
                    seat_of.at = seat.at;
                }
            }
        }
        let conn = self.slots.conn(index);
        self.depart_unseated(conn, &grant, transport, channels);
    }

    fn depart_unseated(
        &mut self,
        conn: ConnId,
        grant: &Arc<Grant>,
        transport: Transport,
        channels: Vec<Channel>,
    ) {
        if !channels.is_empty() {
            let outlet = self.outlet;
            self.control.handle(Event::Departed { outlet, conn, grant, transport, channels });
        }
    }

    /// What a stream advises to wait before it is opened again.
    pub(super) fn retry_ms(&mut self) -> u64 {
        let middle = u64::try_from(self.limits.retry.as_millis()).unwrap_or(u64::MAX / 2);
        self.jitter.around(middle, 50)
    }
}

/// How many of these messages one page holds: at least one, however large.
fn fitting(messages: &[Arc<Message>], page: PageLimit) -> usize {
    let mut bytes = 0;
    let fits = |(at, message): (usize, &Arc<Message>)| {
        bytes += message.payload.as_bytes().len();
        at == 0 || (at < page.messages_max && bytes <= page.bytes_max)
    };
    messages.iter().enumerate().map(fits).take_while(|fits| *fits).count()
}

fn sse_encoding(body: Body, envelope: bool, multi: bool) -> Encoding {
    match (body, envelope, multi) {
        (Body::UntilClose, true, _) => Encoding::SseEnvelope,
        (Body::UntilClose, false, true) => Encoding::SseMulti,
        (Body::UntilClose, false, false) => Encoding::SseSingle,
        (Body::Chunked, true, _) => Encoding::SseEnvelopeChunked,
        (Body::Chunked, false, true) => Encoding::SseMultiChunked,
        (Body::Chunked, false, false) => Encoding::SseSingleChunked,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidewire_hub::message::Payload;
    use tidewire_hub::position::Gen;

    #[test]
    fn a_long_poll_answers_with_one_page_at_most_and_one_message_at_least() {
        let message = |seq: u64| {
            Arc::new(Message {
                channel: Channel::parse("a").unwrap(),
                position: Position { generation: Gen::from_random(1), seq },
                prev: seq - 1,
                event: None,
                payload: Payload::binary(vec![0; 10].into()),
                time_ms: 0,
                taken_us: 0,
                bridged: false,
                trace: None,
            })
        };
        let messages: Vec<_> = (1..=5).map(message).collect();
        let of = |messages_max, bytes_max| fitting(&messages, PageLimit { messages_max, bytes_max });
        assert_eq!([of(9, 99), of(3, 99), of(9, 29), of(9, 30), of(9, 1)], [5, 3, 2, 3, 1]);
        assert_eq!(fitting(&[], POLL_PAGE), 0);
    }
}
