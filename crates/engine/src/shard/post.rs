//! Posts: publishes that the loop reads, and their answers. A publish pays for no hand-over to another thread, and all
//! that become readable in one turn are placed, delivered and answered in it.
//!
//! ```text
//! head -- not simple --> API server            head, whole body --> Posted ··· Answer --> queue --> next head
//!   '---- no whole body yet: a moment later -----^ or, at the moment's end, the API server
//! ```

use std::time::Duration;

use tidewire_hub::admit::ConnId;
use tidewire_hub::channel::Channel;
use tidewire_transport::http1::Head;
use tidewire_transport::post::Post;

use crate::event::Event;
use crate::kernel::Kernel;

use super::queue::Kind;
use super::slot::{Form, NEVER, Phase};
use super::time::ticks;
use super::turn::Shard;

/// How long a body may come behind its head. One that takes longer has the API server's deadlines (security rule S33).
const BODY_WITHIN: Duration = Duration::from_secs(1);

impl<K: Kernel> Shard<K> {
    /// The head of a publish has arrived, and perhaps its body. `bytes` begins with it.
    pub(super) fn post_arrived(
        &mut self,
        index: u32,
        bytes: &[u8],
        head: &Head<'_>,
        channel: &Channel,
        body_bytes: usize,
    ) {
        let Some(body) = bytes.get(head.len..head.len + body_bytes) else {
            return self.body_continues(index, bytes);
        };
        let (conn, now) = (self.slots.conn(index), self.now());
        let Some(peer) = self.client_of(index) else { return };
        let slot = self.slots.at(index);
        let first = !slot.served;
        (slot.phase, slot.form, slot.beat) = (Phase::Asked, Form::Post, now);
        let rest = &bytes[head.len + body_bytes..];
        if !rest.is_empty() {
            slot.story().inbound = rest.to_vec();
        }
        // Whoever takes it answers it, however long that takes: its outcome is unknown until then.
        self.due(index, NEVER);
        self.counters.posts.add(1);
        let post = &Post { head, channel, body, first };
        self.control.handle(Event::Posted { outlet: self.outlet, conn, peer, post });
    }

    /// What came of a publish.
    pub(super) fn answer_post(&mut self, conn: ConnId, answer: Vec<u8>, ends: bool) {
        let Some(index) = self.slots.find(conn.0) else { return };
        let slot = self.slots.at(index);
        if (slot.phase, slot.form) != (Phase::Asked, Form::Post) {
            return;
        }
        if ends || self.wave.is_some() {
            return self.end_after(index, answer);
        }
        // What came behind this request is read once the answer has left.
        (slot.phase, slot.beat, slot.served) = (Phase::Head, NEVER, true);
        self.queue(index, answer, Kind::History);
        let due = self.now() + ticks(self.limits.keep_alive_max);
        self.due(index, due);
    }

    /// The API server waits for the rest of a body, and knows what to say if it does not come.
    pub(super) fn give_up_body(&mut self, index: u32) {
        let bytes = std::mem::take(&mut self.slots.at(index).story().inbound);
        self.hand_off(index, &bytes);
    }

    fn body_continues(&mut self, index: u32, bytes: &[u8]) {
        let due = self.now() + ticks(BODY_WITHIN);
        let slot = self.slots.at(index);
        slot.form = Form::Body;
        slot.story().inbound = bytes.to_vec();
        // From the first of it on, however often a byte of it arrives.
        self.due_sooner(index, due);
    }
}
