//! Slots: what the shard holds for one connection.
//!
//! Sketch: an idle SSE stream is its slot, one seat in its channel's room and one entry in the timing wheel: about
//! 200 bytes. A WebSocket also owns a story, since what it asked is needed when it speaks.

use std::net::SocketAddr;
use std::sync::Arc;

use tidewire_hub::admit::{ConnId, Gap, HeadFields, Place, Transport};
use tidewire_hub::channel::ChannelSet;
use tidewire_hub::grant::Grant;
use tidewire_hub::message::Message;
use tidewire_hub::position::Position;
use tidewire_transport::encoding::Encoding;
use tidewire_transport::request::{Protocol, Request};
use tidewire_transport::sse::Body;
use tidewire_transport::websocket::decode::Decoder;

use super::lanes::Lane;
use super::members::Seats;
use super::queue::Queue;
use super::time::Tick;

/// One connection.
pub(super) struct Slot<S> {
    pub(super) socket: Option<S>,
    /// Tells this connection from all others of this shard that stood in the same slot (delivery rule R24).
    pub(super) generation: u32,
    pub(super) phase: Phase,
    pub(super) form: Form,
    /// Where it stands among the sockets to write.
    pub(super) lane: Lane,
    /// The socket took less than it was given; the kernel tells when there is room.
    pub(super) blocked: bool,
    /// Something may have arrived that nobody has read.
    pub(super) unread: bool,
    /// The peer's stream has ended or is about to: reads go on until they say so.
    pub(super) finished: bool,
    /// A `Received` is not answered yet (delivery rule R22).
    pub(super) held: bool,
    /// A request of this connection has been answered, and it waits for the next one.
    pub(super) served: bool,
    /// What must happen by then depends on the phase.
    pub(super) due: Tick,
    /// When the wheel looks at this slot; [`NEVER`] where it does not.
    pub(super) looked_at: Tick,
    /// SSE: the last write. WebSocket: the last ping.
    pub(super) beat: Tick,
    /// When the peer was last heard.
    pub(super) heard: Tick,
    /// When its rights end; [`NEVER`] where they do not.
    pub(super) ends: Tick,
    /// When it is old enough to go; [`NEVER`] where it is not let in, or may stay.
    pub(super) retires: Tick,
    /// Messages up to this seq came with its history, should a barrier deliver them again.
    pub(super) joined_at: u64,
    /// When it was let in.
    pub(super) since: Tick,
    /// Live messages queued to it since.
    pub(super) messages: u32,
    /// What it may do, once it was let in.
    pub(super) grant: Option<Arc<Grant>>,
    /// What it counts as, given back with the slot.
    pub(super) place: Option<Place>,
    pub(super) seats: Seats,
    pub(super) queue: Queue,
    pub(super) story: Option<Box<Story>>,
}

/// Larger than any tick that comes.
pub(super) const NEVER: Tick = Tick::MAX;

/// Where a connection is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Nothing stands here.
    Free,
    /// Its proxy is to say first who the client is.
    Unintroduced,
    /// A request head is awaited or partly read.
    Head,
    /// The control plane has been asked.
    Asked,
    /// It catches up, page after page, and hears nothing live yet.
    Paging,
    /// It hears its channels.
    Live,
    /// What is queued is still sent, then the connection ends.
    Ending,
    /// Our half has ended; the peer's end is awaited.
    Lingering,
    /// To be closed at the end of the turn.
    Doomed,
}

/// How a connection receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// Not known yet.
    Unknown,
    /// Server-Sent Events.
    Sse(Encoding, Body),
    /// A WebSocket.
    Ws(Protocol),
    /// Polls, one after another.
    Poll,
    /// Publishes, one after another.
    Post,
    /// A publish whose body is not whole yet.
    Body,
}

impl Form {
    pub(super) fn transport(self) -> Option<Transport> {
        match self {
            Form::Unknown | Form::Post | Form::Body => None,
            Form::Sse(..) => Some(Transport::Sse),
            Form::Ws(_) => Some(Transport::Ws),
            Form::Poll => Some(Transport::Poll),
        }
    }

    /// How messages are written to it, where they are written as they come.
    pub(super) fn encoding(self) -> Option<Encoding> {
        match self {
            Form::Unknown | Form::Poll | Form::Post | Form::Body => None,
            Form::Sse(encoding, _) => Some(encoding),
            Form::Ws(Protocol::Raw) => Some(Encoding::WsRaw),
            Form::Ws(Protocol::V1) => Some(Encoding::WsV1),
        }
    }
}

/// What only some connections need, and not for long.
#[derive(Default)]
pub(super) struct Story {
    /// What was asked. Kept by WebSockets and waiting polls.
    pub(super) request: Option<Box<Request>>,
    /// What the head of a waiting poll's answer will say.
    pub(super) head: HeadFields,
    /// Who the client is, where its proxy said so and a request may still come. Boxed, since WebSockets keep a story.
    pub(super) client: Option<Box<SocketAddr>>,
    /// Bytes read and not dealt with: part of a head, or what follows one.
    pub(super) inbound: Vec<u8>,
    /// Bytes that the client of a stream has sent behind its request.
    pub(super) said: u32,
    /// A WebSocket message that is not whole yet.
    pub(super) decoder: Option<Box<Decoder>>,
    /// Since when that message is not whole.
    pub(super) partial_since: Option<Tick>,
    /// Control frames since that tick.
    pub(super) control_frames: (Tick, u32),
    /// The close frame that follows once its messages are dealt with.
    pub(super) parting: Option<Vec<u8>>,
    /// The rest of a history that is sent in pages.
    pub(super) pager: Option<Pager>,
    /// What a waiting poll will answer.
    pub(super) caught: Vec<Arc<Message>>,
    /// The gap that a waiting poll will answer.
    pub(super) gap: Option<Gap>,
    /// What may be missing since before it waited, on channels that no history has: told with whatever it will answer.
    pub(super) since: Option<Gap>,
}

/// Where a history that is sent in pages goes on.
pub(super) struct Pager {
    pub(super) channels: ChannelSet,
    pub(super) cursor: Position,
    /// The next page has been asked for.
    pub(super) asked: bool,
}

impl<S> Slot<S> {
    pub(super) fn story(&mut self) -> &mut Story {
        self.story.get_or_insert_default()
    }

    /// When it has to go, at the latest.
    pub(super) fn leaves(&self) -> Tick {
        self.ends.min(self.retires)
    }

    /// Drops the story of a stream that is live, unless it must be remembered that its client speaks.
    pub(super) fn forget(&mut self) {
        self.story.take_if(|story| story.inbound.is_empty() && story.said == 0);
    }

    /// Whether bytes were read that nobody has dealt with.
    pub(super) fn has_inbound(&self) -> bool {
        self.story.as_ref().is_some_and(|story| !story.inbound.is_empty())
    }

    fn free() -> Slot<S> {
        Slot {
            socket: None,
            generation: 0,
            phase: Phase::Free,
            form: Form::Unknown,
            lane: Lane::None,
            blocked: false,
            unread: false,
            finished: false,
            held: false,
            served: false,
            due: NEVER,
            looked_at: NEVER,
            beat: 0,
            heard: 0,
            ends: NEVER,
            retires: NEVER,
            joined_at: 0,
            since: 0,
            messages: 0,
            grant: None,
            place: None,
            seats: Seats::new(),
            queue: Queue::default(),
            story: None,
        }
    }
}

// Invariant 7: the budget of an idle connection is mostly this.
#[cfg(target_pointer_width = "64")]
const _: () = assert!(size_of::<Slot<i32>>() <= 168);

/// Slots in a page of memory, which is given back when all of them are free.
const PAGE: usize = 256;

/// A page without a free slot.
const FULL: [u64; PAGE / 64] = [u64::MAX; PAGE / 64];

/// All slots of a shard.
pub(super) struct Slots<S> {
    pages: Vec<Option<Box<[Slot<S>]>>>,
    /// A bit for every slot in use, page by page.
    used: Vec<[u64; PAGE / 64]>,
    /// No page before this one has a free slot.
    lowest: usize,
    count: usize,
    generation: u32,
}

impl<S> Default for Slots<S> {
    fn default() -> Slots<S> {
        Slots { pages: Vec::new(), used: Vec::new(), lowest: 0, count: 0, generation: 0 }
    }
}

impl<S> Slots<S> {
    /// Connections there are.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Puts a connection into the first free slot, so that pages at the end empty first.
    pub(super) fn insert(&mut self, socket: S) -> u32 {
        while self.used.get(self.lowest).is_some_and(|used| *used == FULL) {
            self.lowest += 1;
        }
        if self.lowest == self.pages.len() {
            self.pages.push(None);
            self.used.push([0; PAGE / 64]);
        }
        let used = &mut self.used[self.lowest];
        let word = used.iter().position(|word| *word != u64::MAX).expect("the page is not full");
        let bit = used[word].trailing_ones() as usize;
        used[word] |= 1 << bit;
        let at = word * 64 + bit;
        self.generation = self.generation.wrapping_add(1);
        let page = self.pages[self.lowest].get_or_insert_with(|| (0..PAGE).map(|_| Slot::free()).collect());
        page[at] =
            Slot { socket: Some(socket), generation: self.generation, phase: Phase::Head, ..Slot::free() };
        self.count += 1;
        (self.lowest * PAGE + at) as u32
    }

    /// Frees a slot and hands back its socket.
    pub(super) fn remove(&mut self, index: u32) -> Option<S> {
        let (page, at) = (index as usize / PAGE, index as usize % PAGE);
        let socket = std::mem::replace(self.at(index), Slot::free()).socket;
        self.used[page][at / 64] &= !(1 << (at % 64));
        self.count -= 1;
        if self.used[page] == [0; PAGE / 64] {
            self.pages[page] = None;
        }
        self.lowest = self.lowest.min(page);
        socket
    }

    /// The slot at `index`, which must be in use.
    pub(super) fn at(&mut self, index: u32) -> &mut Slot<S> {
        let page = self.pages[index as usize / PAGE].as_mut().expect("a slot in use has a page");
        &mut page[index as usize % PAGE]
    }

    /// The same, to be looked at.
    pub(super) fn peek(&self, index: u32) -> &Slot<S> {
        let page = self.pages[index as usize / PAGE].as_ref().expect("a slot in use has a page");
        &page[index as usize % PAGE]
    }

    /// The slot at `index`, if its page exists.
    pub(super) fn get(&mut self, index: u32) -> Option<&mut Slot<S>> {
        self.pages.get_mut(index as usize / PAGE)?.as_mut().map(|page| &mut page[index as usize % PAGE])
    }

    /// The slot that a token names, if that very connection still stands there.
    pub(super) fn find(&mut self, token: u64) -> Option<u32> {
        let (index, generation) = (token as u32, (token >> 32) as u32);
        let slot = self.pages.get(index as usize / PAGE)?.as_ref()?.get(index as usize % PAGE)?;
        let alive = slot.generation == generation && !matches!(slot.phase, Phase::Free | Phase::Doomed);
        alive.then_some(index)
    }

    /// What names this connection and no other.
    pub(super) fn token(&mut self, index: u32) -> u64 {
        u64::from(self.at(index).generation) << 32 | u64::from(index)
    }

    /// The same, for the control plane.
    pub(super) fn conn(&mut self, index: u32) -> ConnId {
        ConnId(self.token(index))
    }

    /// The first `count` places from `from` on, as far as they are in use, and where to go on; nothing where these are all.
    pub(super) fn some(&self, from: usize, count: usize) -> (Vec<u32>, Option<usize>) {
        let end = from.saturating_add(count);
        let all = self.pages.len() * PAGE;
        let is_used = |at: &usize| self.used[at / PAGE][at % PAGE / 64] & 1 << (at % 64) != 0;
        let used = (from..end.min(all)).filter(is_used).map(|at| at as u32).collect();
        (used, (end < all).then_some(end))
    }

    /// Every slot in use.
    pub(super) fn indices(&self) -> Vec<u32> {
        let pages = self.pages.iter().enumerate().filter_map(|(page, slots)| Some((page, slots.as_ref()?)));
        let all = pages.flat_map(|(page, slots)| {
            slots.iter().enumerate().map(move |(at, slot)| (page * PAGE + at, slot))
        });
        all.filter(|(_, slot)| slot.phase != Phase::Free).map(|(index, _)| index as u32).collect()
    }
}
