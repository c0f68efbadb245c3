//! What crosses the seam upwards: the engine tells, the control plane decides.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use tidewire_hub::admit::{ConnId, OutletId, Place, Transport};
use tidewire_hub::channel::{Channel, ChannelSet};
use tidewire_hub::grant::Grant;
use tidewire_hub::position::Position;
use tidewire_transport::http1::Head;
use tidewire_transport::post::Post;
use tidewire_transport::refusal::Refusal;
use tidewire_transport::request::Request;

/// What happened on a connection. Every answer comes back as a [`tidewire_hub::Command`] through the outlet's inbox.
#[derive(Debug)]
pub enum Event<'a> {
    /// A subscription is asked for. Answered by exactly one `Admit` or `Refuse`.
    Arrived {
        /// Where the answer goes.
        outlet: OutletId,
        /// Which connection.
        conn: ConnId,
        /// Who is at the other end.
        peer: SocketAddr,
        /// What it came over.
        over: Over,
        /// What is asked.
        request: &'a Request,
    },
    /// A publish is asked for. Answered by exactly one `Answer`; nothing more is read from the connection until then.
    Posted {
        /// Where the answer goes.
        outlet: OutletId,
        /// Which connection.
        conn: ConnId,
        /// Who is at the other end.
        peer: SocketAddr,
        /// What is asked.
        post: &'a Post<'a>,
    },
    /// A WebSocket client sent messages, in this order. Nothing more is read from it until a `Continue` or `Close`.
    Received {
        /// Where the answer goes.
        outlet: OutletId,
        /// Which connection.
        conn: ConnId,
        /// What it may do.
        grant: &'a Arc<Grant>,
        /// What it counts as.
        place: Option<&'a Place>,
        /// What it asked for when it connected.
        request: &'a Request,
        /// At least one.
        messages: Vec<Inbound>,
    },
    /// The page before was sent and there is more. Answered by exactly one `Admit` or `Close`.
    Drained {
        /// Where the answer goes.
        outlet: OutletId,
        /// Which connection.
        conn: ConnId,
        /// What it may do.
        grant: &'a Arc<Grant>,
        /// How it receives.
        transport: Transport,
        /// What it asked to hear.
        channels: &'a ChannelSet,
        /// Where the page before ended.
        cursor: Position,
    },
    /// A connection that had joined these channels has left them.
    Departed {
        /// Whose interest ends.
        outlet: OutletId,
        /// Which connection.
        conn: ConnId,
        /// What it might do; since it joined, at most its rights have changed, never its holder.
        grant: &'a Arc<Grant>,
        /// How it received.
        transport: Transport,
        /// What it leaves.
        channels: Vec<Channel>,
    },
    /// A request was refused, by the control plane or because it cannot be read. Nothing is answered to that.
    Refused {
        /// Who was at the other end.
        peer: Option<SocketAddr>,
        /// What was asked, where that was to be understood.
        request: Option<&'a Request>,
        /// The head of one that was not, where it could be read.
        head: Option<&'a Head<'a>>,
        /// What it was told.
        refusal: &'a Refusal,
        /// What the client can quote; nothing where the answer has no place for it.
        trace_id: Option<&'a str>,
    },
    /// The inbox was full and is now empty: what was held back may come (delivery rule R13).
    Emptied {
        /// Whose inbox.
        outlet: OutletId,
    },
}

/// What a connection came over, as far as who carries it knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Over {
    /// TLS.
    pub tls: bool,
    /// A stream of a connection that counts among its address's by itself (HTTP/2).
    pub shared: bool,
    /// The pass of a request that the API server has let in itself; 0 where the gate is to be asked.
    pub pass: u64,
}

/// One WebSocket message from a client, whole and in bounds. Text has been checked to be UTF-8.
#[derive(Clone, Debug)]
pub struct Inbound {
    /// Whether it came in binary frames.
    pub binary: bool,
    /// What it holds.
    pub bytes: Bytes,
}

/// The contract of the control plane. Called on the outlet's own thread: it must not block.
pub trait Control: Send + Sync {
    /// Decides on one event.
    fn handle(&self, event: Event<'_>);
}
