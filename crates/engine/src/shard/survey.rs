//! Surveys: who is connected, told to whoever runs the server. Nothing is kept for it but two numbers a slot.

use tidewire_hub::survey::{CHANNELS_NAMED_MAX, LOOKED_AT_MAX, Sighting, Survey, Surveyed};
use tidewire_transport::request::Protocol;

use crate::kernel::Kernel;

use super::slot::{Form, Phase};
use super::time::TICK_MS;
use super::turn::Shard;

impl<K: Kernel> Shard<K> {
    /// Answers with the connections of the next places.
    pub(super) fn survey(&mut self, survey: &Survey) {
        let (places, next) = self.slots.some(survey.from, LOOKED_AT_MAX);
        let now = self.now();
        let mut found = Vec::new();
        for index in places {
            let conn = self.slots.conn(index);
            let slot = self.slots.peek(index);
            let (Phase::Paging | Phase::Live, Some(transport), Some(grant), Some(socket)) =
                (slot.phase, slot.form.transport(), &slot.grant, &slot.socket)
            else {
                continue;
            };
            let paged = slot.story.as_ref().and_then(|story| story.pager.as_ref());
            let channels = || {
                let seated = slot.seats.iter().map(|seat| self.members.channel(*seat));
                seated.chain(paged.into_iter().flat_map(|pager| pager.channels.iter()))
            };
            if survey.channel.as_ref().is_some_and(|wanted| !channels().any(|channel| channel == wanted)) {
                continue;
            }
            found.push(Sighting {
                conn,
                transport,
                is_framed: slot.form == Form::Ws(Protocol::V1),
                grant: grant.clone(),
                peer: self.kernel.peer(socket),
                place: slot.place.clone(),
                channels: channels().take(CHANNELS_NAMED_MAX).cloned().collect(),
                channel_count: channels().count(),
                age_ms: u64::from(now.saturating_sub(slot.since)) * TICK_MS,
                messages: slot.messages,
                backlog_bytes: slot.queue.bytes(),
            });
        }
        survey.answer(Surveyed { found, next });
    }
}
