//! HTTP/2 connections: the same answers as over HTTP/1.1, many at once, each a stream of its own (RFC 9113), and WebSockets
//! in streams (RFC 8441).
//!
//! One task has a connection to itself: what outlets write for its streams waits in one trunk, goes into frames together, and
//! leaves together. That is why this drives `h2` and not hyper, whose streams each wait and write for themselves (decision 24).
//!
//! ```text
//! client ── calm ── h2 ──▶ request ──▶ answer ──▶ api
//!                    ▲                   │ what an outlet answers is moored, the rest is written by its answer
//!                    └────── berths ◀────┘
//!                              ▲
//!             pipe ─▶ trunk ───┘
//! ```
//!
//! A stream that ends takes its request with it, so nobody has to look for clients that have gone. The bounds are those of
//! security rule S34; frames that they leave uncounted are [`Calm`]'s.

mod answer;
mod berths;
mod body;
mod chunk;
mod open;
mod pings;

use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use h2::server::{Builder, Connection};
use tidewire_hub::limits::Limits;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;

use self::answer::{Running, Settled};
use self::berths::Berths;
use self::chunk::Chunk;
pub(super) use self::open::Open;
use self::pings::{PING_WITHIN, Pings};
use super::calm::Calm;
use super::serve::closed;
use crate::api::Peer;
use crate::api::relay::Companions;
use crate::census::Counted;
use crate::health::Health;

/// Streams that a client may open and reset before we have seen them.
const RESET_BEFORE_SEEN_MAX: usize = 20;

/// Streams that a client may make us reset.
const RESET_BY_US_MAX: usize = 128;

/// What the client of a stream has not made room for, and we hold, of an answer that no outlet writes. What outlets write has the
/// bound of their pipes.
const STREAM_SEND_BYTES_MAX: usize = 64 << 10;

/// What a client may send on a stream before it is read; a body has bounds of its own.
const STREAM_RECEIVE_BYTES: u32 = 256 << 10;
const CONNECTION_RECEIVE_BYTES: u32 = 1 << 20;

/// Frames that are made before the connection carries them away. `h2` keeps the room of the most that it ever held, and has a
/// third of a kilobyte for each; a write carries so many small ones, which is most of what there is to gain.
const FRAMES_AT_ONCE: usize = 32;

/// How long a connection that is one too many has for its requests to be answered.
const SURPLUS_MAX: Duration = Duration::from_millis(500);

/// What all requests of a connection have in common.
#[derive(Clone)]
pub(super) struct Streams {
    pub(super) router: Router,
    pub(super) peer: Peer,
    /// For as long as the connection lives.
    pub(super) _counted: Arc<Counted>,
    /// The connection is one too many.
    pub(super) surplus: bool,
    pub(super) limits: Arc<Limits>,
    pub(super) open: Arc<Open>,
    pub(super) companions: Companions,
}

/// Serves a connection to its end.
///
/// # Errors
/// It broke, or the client broke a rule that ends connections; what it is to be told has been said.
pub(super) async fn serve(
    io: impl AsyncRead + AsyncWrite + Unpin,
    streams: Streams,
    first_due: Duration,
    health: &Health,
    closing: &mut watch::Receiver<bool>,
) -> io::Result<()> {
    let (open, limits, surplus) = (streams.open.clone(), streams.limits.clone(), streams.surplus);
    let begun = builder(&limits).handshake(Calm::new(io, first_due, &limits));
    // Boxed: its memory is free again before the first request.
    let connection = Box::pin(begun).await.map_err(broken)?;
    let mut driver = Driver::new(connection, streams);
    // GOAWAY lets what runs go on, and has the client open what comes next elsewhere.
    tokio::select! {
        outcome = poll_fn(|context| driver.poll(context)) => return outcome,
        () = closed(closing) => {}
        () = health.draining() => {}
        () = open.idle(limits.keep_alive_max) => {}
        () = tokio::time::sleep(SURPLUS_MAX), if surplus => {}
    }
    driver.connection.graceful_shutdown();
    // The client says that it has seen that. One that does not is gone, or plays dead.
    tokio::select! {
        outcome = poll_fn(|context| driver.poll(context)) => outcome,
        () = open.idle(PING_WITHIN) => Ok(()),
    }
}

fn builder(limits: &Limits) -> Builder {
    let bounded = |bound: usize| u32::try_from(bound).unwrap_or(u32::MAX);
    let mut builder = Builder::new();
    builder
        .max_concurrent_streams(bounded(limits.streams_per_connection_max))
        .max_header_list_size(bounded(limits.head_bytes_max))
        .max_pending_accept_reset_streams(RESET_BEFORE_SEEN_MAX)
        .max_local_error_reset_streams(Some(RESET_BY_US_MAX))
        .max_send_buffer_size(STREAM_SEND_BYTES_MAX)
        .initial_window_size(STREAM_RECEIVE_BYTES)
        .initial_connection_window_size(CONNECTION_RECEIVE_BYTES)
        .enable_connect_protocol();
    builder
}

/// A connection, and everything that goes on on it.
struct Driver<S> {
    connection: Connection<Calm<S>, Chunk>,
    streams: Streams,
    /// Answers that are still being made or written.
    running: FuturesUnordered<Running>,
    /// Streams that outlets write to.
    berths: Berths,
    pings: Option<Pings>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Driver<S> {
    fn new(mut connection: Connection<Calm<S>, Chunk>, streams: Streams) -> Driver<S> {
        let pings = connection.ping_pong().map(Pings::new);
        Driver { connection, streams, running: FuturesUnordered::new(), berths: Berths::default(), pings }
    }

    /// Lets everything go on: first those streams that have something, then the connection, which carries all of that away
    /// at once and brings new ones.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.berths.look_for_leavers(context);
        loop {
            let mut room = FRAMES_AT_ONCE;
            while self.berths.deliver(context, &mut room) && self.settle(context, &mut room) {}
            if let Some(pings) = &mut self.pings {
                pings.poll(context)?;
            }
            match self.connection.poll_accept(context) {
                Poll::Ready(None) => return Poll::Ready(Ok(())),
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(broken(error))),
                Poll::Ready(Some(Ok((request, respond)))) => {
                    self.running.push(Box::pin(self.streams.clone().answer(request, respond)));
                }
                Poll::Pending if room == 0 => {}
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// Lets answers go on, while there is room for their frames. True if one of them has come so far that an outlet writes the
    /// rest.
    fn settle(&mut self, context: &mut Context<'_>, room: &mut usize) -> bool {
        let mut moored = false;
        while *room > 0 {
            let Poll::Ready(Some(settled)) = self.running.poll_next_unpin(context) else { break };
            *room -= 1;
            match settled {
                Settled::Over => {}
                Settled::Moors(stream) => {
                    self.running.extend(self.berths.moor(*stream));
                    moored = true;
                }
                Settled::Left(berth) => self.berths.leave(berth),
            }
        }
        moored
    }
}

fn broken(error: h2::Error) -> io::Error {
    io::Error::other(error)
}
