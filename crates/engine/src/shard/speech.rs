//! Speech: what WebSocket clients say, frame by frame (security rule S30).

use std::time::Duration;

use tidewire_hub::reason::Reason;
use tidewire_transport::request::Protocol;
use tidewire_transport::websocket::decode::Item;
use tidewire_transport::websocket::frame::{self, Opcode};

use crate::event::{Event, Inbound};
use crate::kernel::Kernel;

use super::queue::Kind;
use super::slot::Form;
use super::time::{Tick, ticks};
use super::turn::Shard;

impl<K: Kernel> Shard<K> {
    pub(super) fn frames_arrived(&mut self, index: u32, bytes: &mut [u8]) {
        let now = self.now();
        let slot = self.slots.at(index);
        let is_json = slot.form == Form::Ws(Protocol::V1);
        let limits = if is_json { self.json_limits.clone() } else { self.limits.clone() };
        let story = slot.story();
        let mut decoder = story.decoder.take().unwrap_or_default();
        let mut items = Vec::new();
        let outcome = decoder.push(bytes, &limits, &mut items);
        // One message may end and the next begin with the same bytes; a client need never stop at a frame's end.
        let since = story.partial_since.filter(|_| !decoder.has_fresh_message());
        story.partial_since = decoder.has_partial_message().then(|| since.unwrap_or(now));
        if !decoder.is_idle() {
            story.decoder = Some(decoder);
        }
        if let Some(since) = story.partial_since {
            self.due_sooner(index, since + ticks(limits.incomplete_message_max));
        }
        let mut messages = Vec::new();
        let mut parting = outcome.err().map(|fault| {
            self.counters.protocol_errors.add(1);
            close_frame(Some(fault.close_code), fault.detail)
        });
        for item in items {
            match item {
                Item::Text(bytes) => messages.push(Inbound { binary: false, bytes }),
                Item::Binary(bytes) => messages.push(Inbound { binary: true, bytes }),
                Item::Ping(_) | Item::Pong if !self.may_control(index, now) => {
                    let reason = Reason::RateLimited;
                    parting = Some(close_frame(Some(reason.close_code()), reason.code()));
                    break;
                }
                Item::Ping(payload) => {
                    let mut pong = Vec::new();
                    frame::write(Opcode::Pong, &payload, &mut pong);
                    self.queue(index, pong, Kind::Live);
                }
                Item::Pong => {}
                // A close is answered with its own code (RFC 6455 section 5.5.1).
                Item::Close(code) => parting = Some(close_frame(code.map(|(code, _)| code), "")),
            }
        }
        self.received(index, messages);
        match parting {
            // What came before it counts, and is answered first: `go_on` comes back to it.
            Some(last) if self.slots.at(index).held => self.slots.at(index).story().parting = Some(last),
            Some(last) => self.end_after(index, last),
            None => {}
        }
    }

    fn may_control(&mut self, index: u32, now: Tick) -> bool {
        let second = ticks(Duration::from_secs(1));
        let (since, count) = &mut self.slots.at(index).story().control_frames;
        if now.saturating_sub(*since) >= second {
            (*since, *count) = (now, 0);
        }
        *count += 1;
        *count <= self.limits.control_frames_per_second_max
    }

    /// Nothing more is read from this connection until these messages are dealt with (delivery rule R22).
    fn received(&mut self, index: u32, messages: Vec<Inbound>) {
        if messages.is_empty() {
            return;
        }
        self.counters.received.add(messages.len() as u64);
        let conn = self.slots.conn(index);
        let slot = self.slots.at(index);
        slot.held = true;
        let (grant, place) = (slot.grant.clone(), slot.place.clone());
        let (Some(request), Some(grant)) = (slot.story().request.take(), grant) else { return };
        let (outlet, grant, place) = (self.outlet, &grant, place.as_ref());
        let event = Event::Received { outlet, conn, grant, place, request: &request, messages };
        self.control.handle(event);
        self.slots.at(index).story().request = Some(request);
    }
}

/// A close frame; without a code it is empty, as the one it answers was.
fn close_frame(code: Option<u16>, reason: &str) -> Vec<u8> {
    let mut close = Vec::new();
    match code {
        Some(code) => frame::close(code, reason, &mut close),
        None => frame::write(Opcode::Close, &[], &mut close),
    }
    close
}
