//! Serving: one connection from hand-over to its end, and the accept loop for listeners that the engine does not have.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::Router;
use axum::body::Body;
use axum::http::{HeaderValue, Request, Response, StatusCode, header};
use axum::response::IntoResponse as _;
use bytes::Bytes;
use hyper::body::Incoming as IncomingBody;
use hyper::server::conn::http1;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::{TokioIo, TokioTimer};
use tidewire_engine::Proxies;
use tidewire_hub::admit::HeadFields;
use tidewire_hub::limits::Limits;
use tidewire_hub::reason::Reason;
use tidewire_transport::refusal::{self, Refusal};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tower::ServiceExt as _;

use super::guard::{Answered, Guard};
use super::introduction;
use crate::api::{self, Peer, Problem, relay::Wire};
use crate::census::{Census, Counted};
use crate::health::{Health, Phase};

/// A connection, with what has been read of it.
pub struct Incoming {
    /// The socket, non-blocking.
    pub socket: std::net::TcpStream,
    /// Who is at the other end, or behind the proxy that is.
    pub client: SocketAddr,
    /// Read before its time.
    pub bytes: Bytes,
    /// When its first byte must be here, or its first head where some of it already is.
    pub first_due: Duration,
}

/// Serves connections.
#[derive(Clone)]
pub struct Http {
    limits: Arc<ArcSwap<Limits>>,
    census: Arc<Census>,
    health: Arc<Health>,
    router: Router,
    /// Turns true when connections that answer nothing shall close.
    closing: watch::Receiver<bool>,
    /// Who introduces clients before they speak, on listeners of our own.
    proxies: Option<Arc<dyn Proxies>>,
    /// Whether others accept from its listener as well: a successor, once this node drains.
    yields: bool,
    /// Whether its clients come in also where there is no room: they watch us.
    watched: bool,
}

impl Http {
    /// A server of `router`'s answers. A connection holds to the limits that it found. `closing` turns true at the end of a drain.
    #[must_use]
    pub fn new(
        limits: Arc<ArcSwap<Limits>>,
        census: Arc<Census>,
        health: Arc<Health>,
        router: Router,
        closing: watch::Receiver<bool>,
    ) -> Http {
        Http { limits, census, health, router, closing, proxies: None, yields: false, watched: false }
    }

    /// The same behind proxies that introduce their clients (PROXY protocol, security rule S41).
    #[must_use]
    pub fn behind(self, proxies: Arc<dyn Proxies>) -> Http {
        Http { proxies: Some(proxies), ..self }
    }

    /// Who introduces clients here; nothing where nobody does.
    #[must_use]
    pub fn proxies(&self) -> Option<&Arc<dyn Proxies>> {
        self.proxies.as_ref()
    }

    /// The same for machines that watch us: they have a part of the descriptors that nobody else gets (rule S39).
    #[must_use]
    pub fn watched(self) -> Http {
        Http { watched: true, ..self }
    }

    /// The same over a listener that others hold, too: it leaves them whoever comes once a drain has begun.
    #[must_use]
    pub fn yielding(self) -> Http {
        Http { yields: true, ..self }
    }

    /// Whether others hold its listener, too.
    #[must_use]
    pub fn yields(&self) -> bool {
        self.yields
    }

    /// Accepts until the drain's end, or until its beginning where others go on. For listeners that no event loop has.
    pub async fn accept(self, listener: TcpListener) {
        let mut closing = self.closing.clone();
        loop {
            while !self.watched && self.census.is_overrun() {
                // Who comes now waits in the listener's queue.
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = closed(&mut closing) => return,
                () = draining(&self.health), if self.yields => return,
            };
            match accepted.and_then(|(socket, peer)| Ok((socket.into_std()?, peer))) {
                Ok((socket, peer)) => {
                    let _ = socket.set_nodelay(true);
                    tokio::spawn(self.clone().welcome(socket, peer));
                }
                // The client gave up while it waited in the queue.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                // Out of file descriptors, most likely; trying again at once would only burn the core (S39).
                Err(error) => {
                    tracing::warn!(%error, "cannot accept");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// Serves one connection that nobody has read yet.
    async fn welcome(self, socket: std::net::TcpStream, peer: SocketAddr) {
        let first_due = self.limits.load().first_byte_max;
        let incoming = match self.proxies.as_ref().filter(|proxies| proxies.introduces(peer.ip())) {
            None => Incoming { socket, client: peer, bytes: Bytes::new(), first_due },
            Some(proxies) => {
                // It takes its room from now on, as one that is being served does.
                let _counted = self.census.count();
                let mut closing = self.closing.clone();
                let introduced = tokio::select! {
                    introduced = introduction::read(socket, peer, first_due, &**proxies) => introduced,
                    () = closed(&mut closing) => return,
                };
                let Some(incoming) = introduced else { return };
                incoming
            }
        };
        self.serve(incoming).await;
    }

    /// Serves one connection to its end.
    pub async fn serve(self, incoming: Incoming) {
        let Incoming { socket, client, bytes, first_due } = incoming;
        let (limits, counted) = (within_hypers_bounds(self.limits.load_full()), self.census.count());
        let Ok(socket) = TcpStream::from_std(socket) else { return };
        if !self.watched && self.census.is_overrun() {
            return turn_away(socket, limits.linger_max).await;
        }
        // hyper forgets an answer that it cannot write at once where a client asked for an upgrade and has ended its side.
        // The socket has room; the runtime does not know yet.
        let _ = socket.writable().await;
        let socket = Arc::new(socket);
        let answered = Answered::default();
        let guard = Guard::new(socket.clone(), bytes, first_due, limits.clone(), answered.clone());
        let requests = Requests {
            router: self.router.clone(),
            health: self.health.clone(),
            answered,
            peer: Peer(client),
            wire: Wire(socket),
            counted: Arc::new(counted),
            surplus: !self.watched && self.census.is_over(),
        };
        let service = hyper::service::service_fn(move |request| requests.clone().answer(request));
        let connection = builder(&limits).serve_connection(TokioIo::new(guard), service).with_upgrades();
        let mut connection = std::pin::pin!(connection);
        let mut closing = self.closing.clone();
        let outcome = tokio::select! {
            outcome = connection.as_mut() => outcome,
            () = closed(&mut closing) => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = outcome {
            tracing::debug!(%client, %error, "connection broke");
        }
    }
}

/// hyper has bounds of its own and refuses beyond them without a word of explanation, so the guard refuses before it.
fn within_hypers_bounds(limits: Arc<Limits>) -> Arc<Limits> {
    let bounded = Limits {
        head_bytes_max: limits.head_bytes_max.min(MAX_BUF_MAX),
        headers_max: limits.headers_max.min(HEADERS_CEILING),
        target_bytes_max: limits.target_bytes_max.min(TARGET_BYTES_CEILING),
        ..(*limits).clone()
    };
    // Most limits are far below, and shared by all connections.
    if bounded == *limits { limits } else { Arc::new(bounded) }
}

/// Resolves soon after a drain has begun.
async fn draining(health: &Health) {
    while health.phase() != Phase::Draining {
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Tells a client that there is no room for it, and gives it a moment to read that.
async fn turn_away(mut socket: TcpStream, linger_max: Duration) {
    let refusal = Refusal::new(Reason::Overloaded, TOO_MANY);
    let trace = api::trace_id(refusal.reason);
    let answer = refusal::http_response(&refusal, None, &HeadFields::default(), Some(&trace), true);
    let told = async {
        socket.write_all(&answer).await?;
        socket.shutdown().await?;
        tokio::io::copy(&mut socket, &mut tokio::io::sink()).await
    };
    // Whatever comes of it, the connection ends here.
    let _ = tokio::time::timeout(linger_max, told).await;
}

fn builder(limits: &Limits) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        // Runs from the end of one answer to the end of the next head, so it is the idle time; the guard sees to
        // slow heads.
        .header_read_timeout(limits.keep_alive_max)
        .max_buf_size(limits.head_bytes_max.max(MAX_BUF_MIN))
        .max_headers(limits.headers_max)
        // FIN does not end an unanswered publish or poll (delivery rule R29).
        .half_close(true);
    builder
}

/// Resolves when connections shall close, which is also when nobody is left to say so.
async fn closed(closing: &mut watch::Receiver<bool>) {
    let _ = closing.wait_for(|closing| *closing).await;
}

/// How often it is looked for a drain where others hold the listener, too.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// How long accepting pauses when there is no room.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What whoever is one too many is told.
pub(crate) const TOO_MANY: &str = "this node has as many connections as it may";

/// hyper keeps bodies in the same buffer, and refuses to work with less than 8 KiB.
const MAX_BUF_MIN: usize = 64 << 10;
const MAX_BUF_MAX: usize = 16 << 20;
const HEADERS_CEILING: usize = 1_000;
/// What an `http::Uri` holds.
const TARGET_BYTES_CEILING: usize = u16::MAX as usize - 1;

/// What the requests of one connection have in common.
#[derive(Clone)]
struct Requests {
    router: Router,
    health: Arc<Health>,
    answered: Answered,
    peer: Peer,
    wire: Wire,
    /// Held by every answer too, so that a WebSocket still counts when hyper is done with its connection.
    counted: Arc<Counted>,
    /// The connection is one too many: it is answered once, in the language of its request, and ends.
    surplus: bool,
}

impl Requests {
    async fn answer(self, request: Request<IncomingBody>) -> Result<Response<Tracked>, Infallible> {
        let counts = Counts(self.answered);
        let unread = Unread(Arc::new(AtomicBool::new(!http_body::Body::is_end_stream(request.body()))));
        let mut request = request.map(|body| Body::new(Asked { body, unread: unread.clone() }));
        let switches = request.headers().contains_key(header::UPGRADE);
        let upgrade = request.extensions().get::<OnUpgrade>().cloned();
        request.extensions_mut().insert(self.peer);
        request.extensions_mut().insert(self.wire.clone());
        request.extensions_mut().insert(self.counted.clone());
        // A stream is sent away by the outlet that it is relayed to, in its own language. That we are full does not mean
        // that we are dead, which a balancer would take a refusal here for.
        let may_come = api::is_subscription(&request) || api::is_health(request.uri().path());
        let mut response = if self.surplus && !may_come {
            Problem::new(Reason::Overloaded, TOO_MANY).into_response()
        } else {
            match self.router.oneshot(request).await {
                Ok(response) => response,
                Err(never) => match never {},
            }
        };
        // A body that nobody wanted would have to be read before the next request. What follows a head that asked for
        // an upgrade has not been looked at by the guard (S42). And a node that goes away lets nobody settle in.
        let ends = self.surplus
            || unread.0.load(Ordering::Acquire)
            || switches
            || self.health.phase() == Phase::Draining;
        if ends && response.status() != StatusCode::SWITCHING_PROTOCOLS {
            let names_upgrade = response.headers().contains_key(header::UPGRADE);
            let connection = HeaderValue::from_static(if names_upgrade { "close, upgrade" } else { "close" });
            response.headers_mut().insert(header::CONNECTION, connection);
            if let Some(upgrade) = upgrade {
                tokio::spawn(end(upgrade, self.counted));
            }
        }
        Ok(response.map(|body| Tracked { body, _counts: counts }))
    }
}

/// Ends a connection that was not upgraded: hyper gives the socket away then too, and does not shut it down.
async fn end(upgrade: OnUpgrade, _counted: Arc<Counted>) {
    if let Ok(upgraded) = upgrade.await {
        // Whatever comes of it, the connection ends here.
        let _ = TokioIo::new(upgraded).shutdown().await;
    }
}

/// Whether something of a request's body has not been read.
#[derive(Clone)]
struct Unread(Arc<AtomicBool>);

/// A request's body that says when it has been read to its end.
struct Asked {
    body: IncomingBody,
    unread: Unread,
}

impl http_body::Body for Asked {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, hyper::Error>>> {
        let frame = std::task::ready!(Pin::new(&mut self.body).poll_frame(context));
        if frame.is_none() || self.body.is_end_stream() {
            self.unread.0.store(false, Ordering::Release);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}

/// An answer's body. It counts as given when it has ended.
struct Tracked {
    body: Body,
    _counts: Counts,
}

/// Counts an answer, at its end.
struct Counts(Answered);

impl Drop for Counts {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Release);
    }
}

impl http_body::Body for Tracked {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}
