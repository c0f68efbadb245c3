//! Who takes part, as a table: a peer is one row here and one program in `benches/peers`.

use crate::peers::dialect::Dialect;
use tidewire_load::plan::Transport;

/// One row.
#[derive(Debug)]
pub struct Peer {
    /// In the raw figures and on the command line.
    pub name: &'static str,
    /// For people.
    pub title: &'static str,
    /// How it is set up, for people.
    pub setup: &'static str,
    /// What is started.
    pub program: Program,
    /// How it is spoken to.
    pub dialect: Dialect,
    /// What its subscribers can be.
    pub transports: &'static [Transport],
    /// Whether a run takes it when nobody asks for it by name.
    pub is_default: bool,
}

/// What is started for a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// This program, as the floor.
    Floor,
    /// `tidewire serve` with this `engine.io`.
    Tidewire(&'static str),
    /// A program of `benches/peers` on Node.
    Node(&'static str),
    /// The crate `benches/peers/axum`.
    Axum,
    /// nginx with `benches/peers/nchan.conf`.
    Nchan,
    /// Pushpin, with Zurl, and a backend on Node that is not counted.
    Pushpin,
}

const SSE: &[Transport] = &[Transport::Sse];
const WS: &[Transport] = &[Transport::WebSocket];
const BOTH: &[Transport] = &[Transport::Sse, Transport::WebSocket];

/// The peer that the others are measured against.
pub const FLOOR: &str = "floor";
/// The peer whose losses the document lists.
pub const OURS: &str = "tidewire";

/// Everybody, in the order of a round.
pub static PEERS: [Peer; 12] = [
    Peer {
        title: "the floor",
        setup: "a bare epoll loop, one `write` a delivery and nothing else; no peer, but the speed of light for that",
        ..row(FLOOR, Program::Floor, BOTH)
    },
    Peer {
        title: "Tidewire",
        setup: "`tidewire serve` in dev mode, nothing tuned: ids, history of 1 000 messages, resume, heartbeats",
        ..row(OURS, Program::Tidewire("auto"), BOTH)
    },
    Peer {
        title: "Tidewire on epoll",
        setup: "the same with `engine.io=epoll`",
        ..row("tidewire-epoll", Program::Tidewire("epoll"), BOTH)
    },
    Peer {
        title: "Tidewire on io_uring",
        setup: "the same with `engine.io=uring`, which `auto` chooses wherever the kernel allows it",
        is_default: false,
        ..row("tidewire-uring", Program::Tidewire("uring"), BOTH)
    },
    Peer {
        title: "uWebSockets",
        setup: "its Node binding: topics, and `publish` from the application; no compression",
        ..row("uwebsockets", Program::Node("uwebsockets.js"), WS)
    },
    Peer {
        title: "axum + broadcast",
        setup: "an application on axum with a tokio `broadcast` channel for each channel, on one thread, as the server has one core",
        ..row("axum", Program::Axum, BOTH)
    },
    Peer {
        title: "nchan",
        setup: "nginx with one worker, history of 1 000 messages",
        ..row("nchan", Program::Nchan, BOTH)
    },
    Peer {
        title: "ws",
        setup: "Node, `send` of one buffer to every client; no compression",
        ..row("ws", Program::Node("ws.js"), WS)
    },
    Peer {
        title: "Express",
        setup: "Node, Server-Sent Events by hand: `write` of one buffer to every response",
        ..row("express", Program::Node("express.js"), SSE)
    },
    Peer {
        title: "better-sse",
        setup: "on Express: a session for each response, `broadcast` to a channel; payloads as they are, not as JSON",
        ..row("better-sse", Program::Node("better-sse.js"), SSE)
    },
    Peer {
        title: "Socket.IO",
        setup: "WebSocket alone, a room for each channel; no compression, first requests let go of",
        dialect: Dialect::SocketIo,
        ..row("socket.io", Program::Node("socket.io.js"), WS)
    },
    Peer {
        title: "Pushpin",
        setup: "with Condure and Zurl, rate limits off; the backend that answers with GRIP runs beside it and is not counted",
        dialect: Dialect::Pushpin,
        ..row("pushpin", Program::Pushpin, BOTH)
    },
];

/// The row of that name.
pub fn peer(name: &str) -> Option<&'static Peer> {
    PEERS.iter().find(|peer| peer.name == name)
}

/// What most rows have in common.
const fn row(name: &'static str, program: Program, transports: &'static [Transport]) -> Peer {
    Peer { name, title: name, setup: "", program, dialect: Dialect::Plain, transports, is_default: true }
}
