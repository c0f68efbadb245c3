//! Admission: what a subscriber asks of the broker, and what it is handed in one step (delivery rule R9).

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::channel::{Channel, ChannelSet};
use crate::grant::Grant;
use crate::limits::PageLimit;
use crate::message::Message;
use crate::position::{Position, Start};

/// One connection of one outlet: its slot and the slot's generation, so that a late answer never reaches a
/// successor (delivery rule R24). Opaque to everyone but the outlet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConnId(pub u64);

/// One outlet of this node: an event loop, or the pipes that the API server feeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct OutletId(pub u16);

/// How a subscriber receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// Server-Sent Events.
    Sse,
    /// WebSocket.
    Ws,
    /// Long or short polling.
    Poll,
}

/// A subscription as it is asked of the broker. The answer is one [`Admit`] or one refusal in the outlet's inbox.
#[derive(Clone, Debug)]
pub struct Subscribe {
    /// Whose inbox the answer enters.
    pub outlet: OutletId,
    /// Which connection.
    pub conn: ConnId,
    /// How it receives.
    pub transport: Transport,
    /// What it may do.
    pub grant: Arc<Grant>,
    /// What it wants to hear.
    pub channels: ChannelSet,
    /// Where it begins.
    pub start: Start,
    /// How much it takes at once.
    pub page: PageLimit,
    /// When it joins the live feed.
    pub join: Join,
    /// What it is to its connection. Handed through to the answer.
    pub cause: Cause,
}

/// What a subscription is to its connection.
#[derive(Clone, Debug)]
pub enum Cause {
    /// The connection asks to be let in, on these terms.
    Arrival(Box<Terms>),
    /// It is in and goes on with the next page of its history.
    Page,
    /// Channels are added to an open WebSocket by a frame with this `id`, as JSON; `null` where it had none.
    Addition(Box<str>),
}

/// What comes with being let in beside the subscription itself: the control plane decides it once, the outlet keeps it
/// for as long as the connection lives.
#[derive(Clone, Debug, Default)]
pub struct Terms {
    /// How long the rights last, from now; nothing where they do not end (security rule S25).
    pub lasts: Option<Duration>,
    /// What the connection counts as.
    pub place: Option<Place>,
    /// What the head of the answer says beside the answer.
    pub head: HeadFields,
}

/// Fields of an answer's head that the control plane decides on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeadFields {
    /// Whether a page of another origin may see what its cookies brought (`Access-Control-Allow-Credentials`).
    pub credentials: bool,
    /// Whether the address of the request must not travel on, because it held a credential (security rule S18).
    pub no_referrer: bool,
    /// A `Set-Cookie` value (security rule S23).
    pub set_cookie: Option<SetCookie>,
}

/// The value of a `Set-Cookie` header. It is a credential and shows nothing in logs (security rule S49).
#[derive(Clone, PartialEq, Eq)]
pub struct SetCookie(pub Box<str>);

impl fmt::Debug for SetCookie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SetCookie(***)")
    }
}

/// What a connection counts as among its likes: of its address, of its subject. Given back when the last clone is
/// dropped.
#[derive(Clone)]
pub struct Place(Arc<dyn Any + Send + Sync>);

impl Place {
    /// Holds `count` until the connection has gone; dropping it gives the place back.
    #[must_use]
    pub fn new<T: Any + Send + Sync>(count: T) -> Place {
        Place(Arc::new(count))
    }

    /// What was put in, for who put it in.
    #[must_use]
    pub fn as_any(&self) -> &(dyn Any + Send + Sync) {
        &*self.0
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Place")
    }
}

/// When a subscription joins the live feed of its channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Join {
    /// With the page that leaves nothing more to read: streams.
    WhenCaughtUp,
    /// Only if there is nothing to read at all: a long poll, which is answered by the first page otherwise.
    WhenEmpty,
    /// Not at all: a short poll.
    Never,
}

/// The answer to a [`Subscribe`]: history up to one position and, if `joined`, every message after it.
#[derive(Clone, Debug)]
pub struct Admit {
    /// Which connection.
    pub conn: ConnId,
    /// How it receives.
    pub transport: Transport,
    /// What it may do.
    pub grant: Arc<Grant>,
    /// What it asked to hear.
    pub channels: ChannelSet,
    /// What it missed.
    pub page: Page,
    /// Whether it has joined. Counted as interest until the outlet tells of its departure (delivery rule R12).
    pub joined: bool,
    /// See [`Subscribe::cause`].
    pub cause: Cause,
}

/// A piece of the past of some channels, merged by seq.
#[derive(Clone, Debug)]
pub struct Page {
    /// What may be missing before `messages`.
    pub gap: Option<Gap>,
    /// Where what follows begins; nothing for a start with `tail` or `earliest` (delivery rule R6).
    pub start: Option<Position>,
    /// In seq order.
    pub messages: Vec<Arc<Message>>,
    /// Where the page ends: the last message's position if there is more, else the head of the log.
    pub cursor: Position,
    /// Whether more is kept after `cursor`.
    pub more: bool,
    /// From where on no asked channel has lost anything, for formats that cannot say which of them did: a raw WebSocket
    /// that came back with a gap's own cursor would be sent away with it for ever. Nothing where a bridged channel is among
    /// them: whoever comes back there with a cursor, whichever it is, has a gap.
    pub whole: Option<Position>,
    /// The newest position of the asked channels, for ETags.
    pub newest: Position,
}

/// Something may be missing, and from where it is whole again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// On which channels.
    pub channels: Vec<Channel>,
    /// Why.
    pub reason: GapReason,
    /// Where what follows begins (delivery rule R5).
    pub cursor: Position,
}

/// What an outlet missed, and no history can give it (delivery rule R13).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    /// Why.
    pub reason: GapReason,
    /// The seq of the newest message that was lost on each channel. Who joined after it has lost nothing there.
    pub channels: BTreeMap<Channel, u64>,
    /// Up to where the outlet had been fed.
    pub cursor: Position,
}

impl Loss {
    /// In place of a seq, on channels that have none: whoever listens now has lost something.
    pub const EVERYBODY: u64 = u64::MAX;

    /// Whether who comes back with the cursor is whole from there on. On a bridged channel nobody is.
    #[must_use]
    pub fn leads_back(&self) -> bool {
        self.reason != GapReason::Transient || self.channels.values().all(|seq| *seq != Loss::EVERYBODY)
    }
}

/// Why messages may be missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GapReason {
    /// History was trimmed by size, age or memory.
    Trimmed,
    /// The cursor is unreadable or from another generation.
    Epoch,
    /// The broker failed over and may have lost its tail.
    Failover,
    /// The broker lost its store.
    StoreReset,
    /// The subscriber read too slowly and messages were skipped.
    SlowConsumer,
    /// A disturbance that history cannot bridge.
    Transient,
}

impl GapReason {
    /// The word on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            GapReason::Trimmed => "trimmed",
            GapReason::Epoch => "epoch",
            GapReason::Failover => "failover",
            GapReason::StoreReset => "store_reset",
            GapReason::SlowConsumer => "slow_consumer",
            GapReason::Transient => "transient",
        }
    }
}
