//! HTTP/2 connections: the same answers as over HTTP/1.1, many at once, each a stream of its own (RFC 9113), and WebSockets
//! in streams (RFC 8441).
//!
//! A stream that ends takes its request with it, so nobody has to look for clients that have gone. The bounds are those of
//! security rule S34; frames that they leave uncounted are [`Calm`]'s.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::uri::PathAndQuery;
use axum::http::{HeaderValue, Method, Request, Response, StatusCode, header};
use axum::response::IntoResponse as _;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use hyper::body::Incoming as IncomingBody;
use hyper::ext::Protocol;
use hyper::server::conn::http2;
use hyper_util::rt::{TokioIo, TokioTimer};
use tidewire_hub::limits::Limits;
use tidewire_hub::reason::Reason;
use tidewire_transport::http1::check_request;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tower::ServiceExt as _;

use super::calm::Calm;
use super::serve::{TOO_MANY, closed};
use super::tracked::Tracked;
use crate::api::relay::{Companions, Held};
use crate::api::{self, Peer, Problem};
use crate::census::Counted;
use crate::health::Health;

/// Streams that a client may open and reset before we have seen them.
const RESET_BEFORE_SEEN_MAX: usize = 20;

/// Streams that a client may make us reset.
const RESET_BY_US_MAX: usize = 128;

/// What a stream's client has not made room for, and we hold.
const STREAM_SEND_BYTES_MAX: usize = 64 << 10;

/// What a client may send on a stream before it is read; a body has bounds of its own.
const STREAM_RECEIVE_BYTES: u32 = 256 << 10;
const CONNECTION_RECEIVE_BYTES: u32 = 1 << 20;

/// A client is asked for a sign of life after so long, and has so long to give one.
const PING_EVERY: Duration = Duration::from_secs(20);
const PING_WITHIN: Duration = Duration::from_secs(10);

/// How long a connection that is one too many has for its requests to be answered.
const SURPLUS_MAX: Duration = Duration::from_millis(500);

/// What all requests of a connection have in common.
#[derive(Clone)]
pub(super) struct Streams {
    pub(super) router: Router,
    pub(super) peer: Peer,
    /// Held by every answer too, so that a WebSocket still counts when its connection is done.
    pub(super) counted: Arc<Counted>,
    /// The connection is one too many.
    pub(super) surplus: bool,
    pub(super) limits: Arc<Limits>,
    pub(super) open: Arc<Open>,
    pub(super) companions: Companions,
}

/// How many streams are open, and since when none is.
#[derive(Debug, Default)]
pub(super) struct Open {
    count: AtomicUsize,
    none_left: Notify,
}

/// Serves a connection to its end.
pub(super) async fn serve(
    io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    streams: Streams,
    first_due: Duration,
    health: &Health,
    closing: &mut watch::Receiver<bool>,
) -> Result<(), hyper::Error> {
    let (open, limits, surplus) = (streams.open.clone(), streams.limits.clone(), streams.surplus);
    // Boxed: it is large, a stream has room for it as long as it lives, and it is over when the stream begins.
    let service = hyper::service::service_fn(move |request| {
        Box::pin(streams.clone().answer(request)) as Pin<Box<dyn Future<Output = _> + Send>>
    });
    let io = TokioIo::new(Calm::new(io, first_due, &limits));
    let (begun, mut running) = (Within::default(), FuturesUnordered::new());
    let mut connection = std::pin::pin!(builder(&limits, begun.clone()).serve_connection(io, service));
    let drive = |context: &mut Context<'_>| drive_all(connection.as_mut(), &begun, &mut running, context);
    // GOAWAY lets what runs go on, and has the client open what comes next elsewhere.
    tokio::select! {
        outcome = poll_fn(drive) => return outcome,
        () = closed(closing) => {}
        () = health.draining() => {}
        () = open.idle(limits.keep_alive_max) => {}
        () = tokio::time::sleep(SURPLUS_MAX), if surplus => {}
    }
    connection.as_mut().graceful_shutdown();
    let drive = |context: &mut Context<'_>| drive_all(connection.as_mut(), &begun, &mut running, context);
    // hyper waits until the client has seen that. One that does not say so is gone, or plays dead.
    tokio::select! {
        outcome = poll_fn(drive) => outcome,
        () = open.idle(PING_WITHIN) => Ok(()),
    }
}

/// Lets everything on a connection go on: first those streams that have something, then the connection, which carries all of
/// that away at once and brings new ones.
fn drive_all<C: Future>(
    mut connection: Pin<&mut C>,
    begun: &Within,
    running: &mut FuturesUnordered<Task>,
    context: &mut Context<'_>,
) -> Poll<C::Output> {
    loop {
        running.extend(begun.take());
        while let Poll::Ready(Some(())) = running.poll_next_unpin(context) {}
        if let Poll::Ready(outcome) = connection.as_mut().poll(context) {
            return Poll::Ready(outcome);
        }
        if begun.is_empty() {
            return Poll::Pending;
        }
    }
}

/// Runs the streams of a connection on the task that serves it. A message for a hundred of them wakes one task and not a
/// hundred, and its frames leave together.
#[derive(Clone, Default)]
struct Within(Arc<Mutex<Vec<Task>>>);

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

impl<F: Future<Output = ()> + Send + 'static> hyper::rt::Executor<F> for Within {
    fn execute(&self, task: F) {
        self.lock().push(Box::pin(task));
    }
}

impl Within {
    fn take(&self) -> Vec<Task> {
        std::mem::take(&mut *self.lock())
    }

    fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Task>> {
        // Nothing panics while it holds this lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn builder(limits: &Limits, streams: Within) -> http2::Builder<Within> {
    let bounded = |bound: usize| u32::try_from(bound).unwrap_or(u32::MAX);
    let mut builder = http2::Builder::new(streams);
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(bounded(limits.streams_per_connection_max))
        .max_header_list_size(bounded(limits.head_bytes_max))
        .max_pending_accept_reset_streams(RESET_BEFORE_SEEN_MAX)
        .max_local_error_reset_streams(RESET_BY_US_MAX)
        .max_send_buf_size(STREAM_SEND_BYTES_MAX)
        .initial_stream_window_size(STREAM_RECEIVE_BYTES)
        .initial_connection_window_size(CONNECTION_RECEIVE_BYTES)
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_WITHIN)
        .enable_connect_protocol();
    builder
}

impl Open {
    fn one(self: &Arc<Open>) -> Counts {
        self.count.fetch_add(1, Ordering::AcqRel);
        Counts(self.clone())
    }

    /// Resolves when no stream has been open for so long.
    async fn idle(&self, keep_alive_max: Duration) {
        let mut since = Instant::now();
        loop {
            let none_left = self.none_left.notified();
            if self.count.load(Ordering::Acquire) == 0 {
                tokio::select! {
                    () = tokio::time::sleep_until(since + keep_alive_max) => {
                        if self.count.load(Ordering::Acquire) == 0 {
                            return;
                        }
                    }
                    () = none_left => since = Instant::now(),
                }
            } else {
                none_left.await;
                since = Instant::now();
            }
        }
    }
}

/// Counts an open stream, up to the end of its answer.
struct Counts(Arc<Open>);

impl Drop for Counts {
    fn drop(&mut self) {
        if self.0.count.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.none_left.notify_one();
        }
    }
}

impl Streams {
    async fn answer(self, request: Request<IncomingBody>) -> Result<Response<Tracked<Counts>>, Infallible> {
        let counts = self.open.one();
        let mut request = request.map(Body::new);
        let opens_websocket = *request.method() == Method::CONNECT;
        let response = match understood(&mut request, &self.limits) {
            Ok(()) => self.respond(request).await,
            Err(problem) => problem.into_response(),
        };
        let mut response = response.map(|body| Tracked { body, _counts: counts });
        if opens_websocket && response.status() == StatusCode::SWITCHING_PROTOCOLS {
            *response.status_mut() = StatusCode::OK;
            response.headers_mut().remove(header::SEC_WEBSOCKET_ACCEPT);
        }
        // What belongs to a connection is not said in a stream (RFC 9113 section 8.2.2).
        for name in [header::CONNECTION, header::UPGRADE, header::TRANSFER_ENCODING] {
            response.headers_mut().remove(name);
        }
        Ok(response)
    }

    async fn respond(self, mut request: Request<Body>) -> Response<Body> {
        request.extensions_mut().insert(self.peer);
        request.extensions_mut().insert(Held::new((self.counted, self.open.one())));
        request.extensions_mut().insert(self.companions);
        // As over HTTP/1.1: an outlet sends a stream away in its own language, and that we are full does not mean that we
        // are dead.
        let may_come = api::is_subscription(&request) || api::is_health(request.uri().path());
        if self.surplus && !may_come {
            return Problem::new(Reason::Overloaded, TOO_MANY).into_response();
        }
        match self.router.oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }
}

/// Makes what only HTTP/2 says into what everybody understands: a WebSocket is asked for by `GET` and `Upgrade`.
fn understood(request: &mut Request<Body>, limits: &Limits) -> Result<(), Problem> {
    let authority = request.uri().authority().map(|authority| authority.as_str().as_bytes());
    let mut hosts: Vec<&[u8]> =
        request.headers().get_all(header::HOST).iter().map(HeaderValue::as_bytes).collect();
    if let Some(authority) = authority {
        if hosts.iter().any(|host| !host.eq_ignore_ascii_case(authority)) {
            // Whoever believes one of them could be told apart from whoever believes the other (RFC 9113 section 8.3.1).
            return Err(Problem::new(Reason::MalformedRequest, "`host` and `:authority` differ"));
        }
        hosts = vec![authority];
    }
    let target = request.uri().path_and_query().map_or("/", PathAndQuery::as_str);
    check_request(target, &hosts, request.headers().len(), limits)?;
    if *request.method() != Method::CONNECT {
        return Ok(());
    }
    match request.extensions().get::<Protocol>().map(Protocol::as_str) {
        Some("websocket") => {}
        Some(_) => return Err(Problem::new(Reason::Unsupported, "the only `:protocol` is `websocket`")),
        None => {
            return Err(Problem::new(Reason::MethodNotAllowed, "this is no proxy: CONNECT opens nothing"));
        }
    }
    if !request.uri().path().starts_with("/c/") {
        return Err(Problem::new(Reason::NotFound, "WebSockets are opened on channels"));
    }
    *request.method_mut() = Method::GET;
    let headers = request.headers_mut();
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    // There is none over HTTP/2 (RFC 8441 section 5), and the answer to it is not sent.
    headers.insert(header::SEC_WEBSOCKET_KEY, HeaderValue::from_static("AAAAAAAAAAAAAAAAAAAAAA=="));
    Ok(())
}
