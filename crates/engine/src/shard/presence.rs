//! Presence: who joins and leaves a channel is told to those who may see it and whose format can say it.

use tidewire_hub::presence::News;
use tidewire_transport::request::Protocol;
use tidewire_transport::sse::{self, Body};
use tidewire_transport::websocket::frame::{self, Opcode};
use tidewire_transport::{presence, v1};

use crate::kernel::Kernel;

use super::frames::Frame;
use super::lanes::Lane;
use super::queue::Kind;
use super::slot::Form;
use super::turn::Shard;

impl<K: Kernel> Shard<K> {
    /// Queues a change, encoded once for each format. Raw WebSockets and polls are told nothing.
    pub(super) fn tell_presence(&mut self, news: &News) {
        let now = self.clock.tick();
        let (mut chunked, mut plain, mut framed): (Option<Frame>, Option<Frame>, Option<Frame>) =
            (None, None, None);
        let members = self.members.of(&news.channel);
        for index in members {
            let slot = self.slots.at(*index);
            if !slot.grant.as_ref().is_some_and(|grant| grant.may_see_presence(&news.channel)) {
                continue;
            }
            let frame = match slot.form {
                Form::Sse(_, body) => {
                    let place = if body == Body::Chunked { &mut chunked } else { &mut plain };
                    place.get_or_insert_with(|| {
                        let mut bytes = Vec::with_capacity(256);
                        sse::control(body, "$presence", &presence::news(news), &mut bytes);
                        self.frames.control(bytes)
                    })
                }
                Form::Ws(Protocol::V1) => framed.get_or_insert_with(|| {
                    let text = v1::presence(news);
                    let mut bytes = Vec::with_capacity(text.len() + 10);
                    frame::write(Opcode::Text, text.as_bytes(), &mut bytes);
                    self.frames.control(bytes)
                }),
                Form::Ws(Protocol::Raw) | Form::Poll | Form::Post | Form::Body | Form::Unknown => continue,
            };
            slot.queue.push(frame.clone(), Kind::Live, now);
            slot.lane = self.lanes.put(*index, slot.lane, Lane::of(members.len()));
        }
        // It takes as much of a pass as a message would.
        self.lanes.queued(1, members.len());
    }
}
