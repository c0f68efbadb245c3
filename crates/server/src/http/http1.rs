//! HTTP/1.1 connections: one answer after the other, and upgrades.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderValue, Request, Response, StatusCode, header};
use axum::response::IntoResponse as _;
use bytes::Bytes;
use hyper::body::Incoming as IncomingBody;
use hyper::server::conn::http1;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::{TokioIo, TokioTimer};
use tidewire_hub::limits::Limits;
use tidewire_hub::reason::Reason;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::watch;
use tower::ServiceExt as _;

use super::guard::{Answered, Guard};
use super::serve::{TOO_MANY, closed};
use super::tracked::Tracked;
use crate::api::relay::{Held, Wire};
use crate::api::{self, Peer, Problem};
use crate::census::Counted;
use crate::health::{Health, Phase};
use crate::line::Line;

/// Serves a connection to its end.
pub(super) async fn serve(
    requests: Requests,
    before: Bytes,
    first_due: Duration,
    limits: Arc<Limits>,
    closing: &mut watch::Receiver<bool>,
) -> Result<(), hyper::Error> {
    let (line, answered) = (requests.line.clone(), requests.answered.clone());
    let guard = Guard::new(line, before, first_due, limits.clone(), answered);
    let service = hyper::service::service_fn(move |request| requests.clone().answer(request));
    let connection = builder(&limits).serve_connection(TokioIo::new(guard), service).with_upgrades();
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        outcome = connection.as_mut() => outcome,
        () = closed(closing) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    }
}

/// hyper has bounds of its own and refuses beyond them without a word of explanation, so the guard refuses before it.
pub(super) fn within_hypers_bounds(limits: Arc<Limits>) -> Arc<Limits> {
    let bounded = Limits {
        head_bytes_max: limits.head_bytes_max.min(MAX_BUF_MAX),
        headers_max: limits.headers_max.min(HEADERS_CEILING),
        target_bytes_max: limits.target_bytes_max.min(TARGET_BYTES_CEILING),
        ..(*limits).clone()
    };
    // Most limits are far below, and shared by all connections.
    if bounded == *limits { limits } else { Arc::new(bounded) }
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

/// hyper keeps bodies in the same buffer, and refuses to work with less than 8 KiB.
const MAX_BUF_MIN: usize = 64 << 10;
const MAX_BUF_MAX: usize = 16 << 20;
const HEADERS_CEILING: usize = 1_000;
/// What an `http::Uri` holds.
const TARGET_BYTES_CEILING: usize = u16::MAX as usize - 1;

/// What the requests of one connection have in common.
#[derive(Clone)]
pub(super) struct Requests {
    router: Router,
    health: Arc<Health>,
    answered: Answered,
    peer: Peer,
    line: Arc<Line>,
    /// Held by every answer too, so that a WebSocket still counts when hyper is done with its connection.
    counted: Arc<Counted>,
    /// The connection is one too many: it is answered once, in the language of its request, and ends.
    surplus: bool,
}

impl Requests {
    /// Of a connection that has its room.
    pub(super) fn new(
        router: Router,
        health: Arc<Health>,
        peer: Peer,
        line: Arc<Line>,
        counted: Arc<Counted>,
        surplus: bool,
    ) -> Requests {
        Requests { router, health, answered: Answered::default(), peer, line, counted, surplus }
    }

    async fn answer(self, request: Request<IncomingBody>) -> Result<Response<Tracked<Counts>>, Infallible> {
        let counts = Counts(self.answered);
        let unread = Unread(Arc::new(AtomicBool::new(!http_body::Body::is_end_stream(request.body()))));
        let mut request = request.map(|body| Body::new(Asked { body, unread: unread.clone() }));
        let switches = request.headers().contains_key(header::UPGRADE);
        let upgrade = request.extensions().get::<OnUpgrade>().cloned();
        request.extensions_mut().insert(self.peer);
        request.extensions_mut().insert(Wire(self.line.clone()));
        request.extensions_mut().insert(Held::new(self.counted.clone()));
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

/// Counts an answer, at its end.
struct Counts(Answered);

impl Drop for Counts {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Release);
    }
}
