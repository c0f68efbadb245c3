//! Rights that change while a connection lives (security rules S25 and S26).

use std::sync::Arc;
use std::time::Duration;

use tidewire_hub::admit::ConnId;
use tidewire_hub::channel::Channel;
use tidewire_hub::grant::Grant;
use tidewire_hub::reason::Reason;
use tidewire_hub::revocation::Revocation;
use tidewire_transport::v1;
use tidewire_transport::websocket::frame::{self, Opcode};

use crate::kernel::Kernel;

use super::queue::Kind;
use super::slot::Phase;
use super::turn::Shard;

impl<K: Kernel> Shard<K> {
    /// Gives a connection other rights. The channels that they do not hold for are left, and it is told which.
    pub(super) fn renew(
        &mut self,
        conn: ConnId,
        grant: Arc<Grant>,
        lasts: Option<Duration>,
        tag: Option<&str>,
    ) {
        let Some(index) = self.slots.find(conn.0) else { return };
        let ends = self.ends_after(lasts);
        let slot = self.slots.at(index);
        if !matches!(slot.phase, Phase::Paging | Phase::Live) {
            return;
        }
        let lost = |channel: &&Channel| !grant.may_subscribe(channel);
        let seated = slot.seats.iter().map(|seat| self.members.channel(*seat));
        let mut left: Vec<Channel> = seated.filter(lost).cloned().collect();
        if let Some(pager) = slot.story.as_ref().and_then(|story| story.pager.as_ref()) {
            // It still catches up, all its channels together: there is no way to take one out.
            left.extend(pager.channels.iter().filter(lost).cloned());
            if !left.is_empty() {
                return self.end(index, Reason::Expired);
            }
        }
        (slot.grant, slot.ends) = (Some(grant), ends);
        self.depart_from(index, |channel| left.contains(channel));
        self.say(index, &v1::ack(tag));
        if !left.is_empty() {
            self.say(index, &v1::expired_channels(&left));
        }
        let due = self.next_pulse(index);
        self.due_sooner(index, due);
    }

    /// Ends everybody whose rights this ends. Seldom, so that a walk over all slots costs less than an index would.
    pub(super) fn revoke(&mut self, revocation: &Revocation) {
        for index in self.slots.indices() {
            let slot = self.slots.at(index);
            let Some(grant) =
                slot.grant.as_ref().filter(|_| matches!(slot.phase, Phase::Paging | Phase::Live))
            else {
                continue;
            };
            let paged = slot.story.as_ref().and_then(|story| story.pager.as_ref());
            let mut channels = slot
                .seats
                .iter()
                .map(|seat| self.members.channel(*seat))
                .chain(paged.into_iter().flat_map(|pager| pager.channels.iter()));
            if revocation.ends(grant) || channels.any(|channel| revocation.bars(grant, channel)) {
                self.counters.revoked.add(1);
                self.end(index, Reason::Revoked);
            }
        }
    }

    fn say(&mut self, index: u32, text: &str) {
        let mut bytes = Vec::with_capacity(text.len() + 10);
        frame::write(Opcode::Text, text.as_bytes(), &mut bytes);
        self.queue(index, bytes, Kind::Live);
    }
}
