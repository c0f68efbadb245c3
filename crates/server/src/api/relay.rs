//! Subscriptions on a connection that the API server holds: relayed through a pipe to an outlet, which speaks for itself.
//!
//! A browser that loaded a page opens its EventSource on the same connection, a proxy keeps its upstream connections,
//! and not every system has epoll. All of them meet the same shard code as a socket of the engine does:
//!
//! ```text
//! request  --> head as bytes --> pipe --> shard
//! response <-- head parsed   <-- pipe <-- shard       the rest is the body, or a WebSocket's bytes
//! ```
//!
//! Over HTTP/2 the rest does not come this way: its pipe is moored at the connection's trunk.
//!
//! Streams and polls are asked for in HTTP/1.0, so that the shard ends their bodies by closing, and whoever writes the answer frames them.

use std::any::Any;
use std::convert::Infallible;
use std::future::poll_fn;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, Version, header};
use bytes::{Bytes, BytesMut};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tidewire_engine::Over;
use tidewire_engine::pipes::{Moored, PipeEnd};
use tidewire_engine::trunk::Trunk;
use tidewire_hub::reason::Reason;
use tidewire_transport::sse;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};

use super::channel::has_token;
use super::door;
use super::problem::Problem;
use super::{Parts, Peer};
use crate::control::passes::{Issued, Pass};
use crate::crowd::Seat;
use crate::inquiry::Inquiry;
use crate::line::Line;

/// What a request came over, for who must notice that its client has gone. Whoever serves the connection puts it there,
/// but for HTTP/2, where a client takes back a request by itself.
#[derive(Clone, Debug)]
pub struct Wire(pub Arc<Line>);

/// What counts for as long as a WebSocket lives, although its request has been answered. Whoever serves the connection puts
/// it there.
#[derive(Clone)]
pub struct Held {
    _what: Arc<dyn Any + Send + Sync>,
}

impl Held {
    /// Holds this.
    pub fn new(what: impl Any + Send + Sync) -> Held {
        Held { _what: Arc::new(what) }
    }
}

/// Said by whoever serves a connection and takes what an outlet writes out of a trunk: a subscription's answer is a head and
/// an [`Unmoored`] pipe then, and has no body.
#[derive(Clone, Copy, Debug)]
pub struct Moors;

/// A pipe whose bytes are the rest of an answer; an extension of that. Clones are the same one.
#[derive(Clone)]
pub struct Unmoored {
    piped: Arc<Mutex<Option<Piped>>>,
    takes_input: bool,
}

impl Unmoored {
    fn new(piped: Piped, takes_input: bool) -> Unmoored {
        Unmoored { piped: Arc::new(Mutex::new(Some(piped))), takes_input }
    }

    /// Whether the client goes on talking, as that of a WebSocket does.
    #[must_use]
    pub fn takes_input(&self) -> bool {
        self.takes_input
    }

    /// Has its bytes end up in `trunk`. Nothing where a clone has done so.
    #[must_use]
    pub fn moor(&self, trunk: &Trunk) -> Option<Moored> {
        let piped = self.piped.lock().unwrap_or_else(PoisonError::into_inner).take();
        piped.map(|Piped { end, rest }| end.moor(trunk, &rest))
    }
}

/// The body of an answer that comes another way. How long it is nobody can say.
struct Elsewhere;

impl http_body::Body for Elsewhere {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, Infallible>>> {
        Poll::Ready(None)
    }
}

/// The streams of one HTTP/2 connection. They count as one connection of their address, however many they are.
#[derive(Clone, Default)]
pub struct Companions(Arc<Mutex<Option<Seat>>>);

impl Companions {
    /// Whether the connection counts already, or counts from now on. Streams that a proxy carries are its clients': each
    /// counts by itself.
    fn have_seat(&self, parts: &Parts, peer: IpAddr) -> bool {
        let Some(crowd) = parts.node.crowd.as_ref().filter(|_| !parts.node.ways.trusts(peer)) else {
            return false;
        };
        let mut seat = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if seat.is_none() {
            // Where there is no room, the stream is told so in its own language.
            *seat = crowd.arrive(peer.to_canonical()).ok();
        }
        seat.is_some()
    }
}

/// Beyond what any head of our own takes.
const HEAD_BYTES_MAX: usize = 16 << 10;
const HEADERS_MAX: usize = 32;

/// What is handed to hyper at once of a body.
const CHUNK_BYTES_MAX: usize = 16 << 10;

/// The way to an outlet, for subscriptions that are let in elsewhere than at a gate.
#[derive(Clone)]
pub(crate) struct Relays(pub(super) Parts);

impl Relays {
    /// Answers a subscription that comes with a pass. Its bytes end in the answer's body, whatever its connection is.
    pub(crate) async fn relay(&self, mut request: Request, pass: u64) -> Result<Response<Body>, Problem> {
        request.extensions_mut().remove::<Moors>();
        pass_on(&self.0, request, pass).await
    }
}

/// Answers a subscription with what an outlet says.
pub(super) async fn relay(parts: &Parts, mut request: Request) -> Result<Response<Body>, Problem> {
    let inquiry = request.extensions_mut().remove::<Inquiry>();
    let issued = inquiry.map(|inquiry| parts.node.passes.issue(Pass::Inquiry(inquiry)));
    pass_on(parts, request, issued.as_ref().map_or(0, Issued::number)).await
}

async fn pass_on(parts: &Parts, mut request: Request, pass: u64) -> Result<Response<Body>, Problem> {
    let Some(Peer { address, secure }) = request.extensions().get().copied() else {
        return Err(Problem::new(Reason::Internal, "the connection has no peer address"));
    };
    // HTTP/1.0 cannot be upgraded: the shard sees the version and says so.
    let upgrades =
        request.version() != Version::HTTP_10 && has_token(request.headers(), &header::UPGRADE, "websocket");
    // An address that nobody knows has no seats either: all of its clients would share them.
    let shared = address.ip().is_unspecified()
        || request.extensions().get::<Companions>().is_some_and(|all| all.have_seat(parts, address.ip()));
    let over = Over { tls: secure, shared, pass };
    let mut pipe = Piped { end: parts.pipes.open(address, over), rest: Bytes::new() };
    // The shard may refuse and close before it has read everything; its answer still counts.
    let _ = pipe.write_all(&head_bytes(&request, upgrades)).await;
    let wire = request.extensions_mut().remove::<Wire>();
    let answer = tokio::select! {
        answer = read_head(&mut pipe, finished(wire.clone())) => answer,
        // A poll waits for its answer up to a minute. Nobody is there to read this one, but hyper wants it.
        () = reset(wire.clone()) => return Err(Problem::new(Reason::Internal, "the client has gone")),
    };
    let Some(head) = answer else { return gone(parts, &request) };
    let mut response = Response::new(Body::empty());
    *response.status_mut() = head.status;
    let switched = head.status == StatusCode::SWITCHING_PROTOCOLS;
    let upgrade_matters = switched || head.status == StatusCode::UPGRADE_REQUIRED;
    *response.headers_mut() = if upgrade_matters { head.fields } else { end_to_end(head.fields) };
    let moors = request.extensions().get::<Moors>().is_some() && request.method() == Method::GET;
    if moors {
        response.extensions_mut().insert(Unmoored::new(pipe, switched));
        *response.body_mut() = Body::new(Elsewhere);
        return Ok(response);
    }
    if switched {
        if let Some(upgrade) = request.extensions_mut().remove::<OnUpgrade>() {
            let held = request.extensions_mut().remove::<Held>();
            tokio::spawn(carry(upgrade, pipe, held));
            return Ok(response);
        }
        return Err(Problem::new(Reason::Internal, "the connection cannot be upgraded"));
    }
    // FIN ends a stream, not a poll that is still to be answered (delivery rule R29).
    let is_stream = has_token(response.headers(), &header::CONTENT_TYPE, "text/event-stream");
    let watched = wire.filter(|_| is_stream);
    let client_gone = watched.map(|Wire(line)| Box::pin(async move { line.gone().await }) as Gone);
    *response.body_mut() = Body::new(PipeBody { pipe, client_gone });
    Ok(response)
}

/// The request as the shard reads it. What hyper deals with itself is left out.
fn head_bytes(request: &Request, upgrades: bool) -> Vec<u8> {
    let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
    let version = if upgrades { "1.1" } else { "1.0" };
    let mut head = format!("GET {target} HTTP/{version}\r\n").into_bytes();
    let mut write = |name: &[u8], value: &[u8]| {
        for piece in [name, b": ", value, b"\r\n"] {
            head.extend_from_slice(piece);
        }
    };
    for (name, value) in request.headers() {
        if !is_hop_by_hop(name) {
            write(name.as_str().as_bytes(), value.as_bytes());
        }
    }
    // HTTP/2 names the host in its target.
    if let (None, Some(authority)) = (request.headers().get(header::HOST), request.uri().authority()) {
        write(b"host", authority.as_str().as_bytes());
    }
    // Only if the client said so: a proxy that did not mean to upgrade has taken it out (RFC 9110 section 7.8).
    if upgrades && has_token(request.headers(), &header::CONNECTION, "upgrade") {
        write(b"connection", b"upgrade");
    }
    head.extend_from_slice(b"\r\n");
    head
}

/// `Upgrade` stays: where it is sent, it is the point of the request.
fn is_hop_by_hop(name: &HeaderName) -> bool {
    [header::CONNECTION, header::TE, header::TRAILER].contains(name) || *name == "keep-alive"
}

struct ResponseHead {
    status: StatusCode,
    fields: HeaderMap,
}

/// The shard's response head; what came behind it is left in the pipe. Nothing where the outlet has ended. The shard is
/// told when the client has `finished` its half meanwhile.
async fn read_head(pipe: &mut Piped, finished: impl Future<Output = ()>) -> Option<ResponseHead> {
    let mut bytes = BytesMut::new();
    let (mut finished, mut told) = (std::pin::pin!(finished), false);
    while bytes.len() < HEAD_BYTES_MAX {
        tokio::select! {
            taken = poll_fn(|context| pipe.end.poll_take(context)) => {
                if taken.is_empty() {
                    return None;
                }
                bytes.extend_from_slice(&taken);
            }
            () = &mut finished, if !told => {
                told = true;
                pipe.end.finish();
                continue;
            }
        }
        let mut fields = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut response = httparse::Response::new(&mut fields);
        let httparse::Status::Complete(length) = response.parse(&bytes).ok()? else { continue };
        let status = StatusCode::from_u16(response.code?).ok()?;
        let mut fields = HeaderMap::new();
        for field in response.headers.iter() {
            fields.append(HeaderName::try_from(field.name).ok()?, HeaderValue::from_bytes(field.value).ok()?);
        }
        pipe.rest = bytes.split_off(length).freeze();
        return Some(ResponseHead { status, fields });
    }
    None
}

/// Without what belongs to the pipe: hyper has its own ideas of framing and of keeping alive.
fn end_to_end(mut fields: HeaderMap) -> HeaderMap {
    for name in [header::CONNECTION, header::TRANSFER_ENCODING, header::UPGRADE] {
        fields.remove(name);
    }
    fields.remove("keep-alive");
    fields
}

/// The outlet has ended, which is the end of this node. An EventSource is told to come back, as ever.
fn gone(parts: &Parts, request: &Request) -> Result<Response<Body>, Problem> {
    if !has_token(request.headers(), &header::ACCEPT, "text/event-stream") {
        return Err(Problem::new(Reason::Draining, "this node is going away"));
    }
    let visitor = door::visitor(&parts.node, request)?;
    let fields = parts.node.screen(&visitor.asked())?;
    let mut body = Vec::new();
    sse::retry(
        sse::Body::UntilClose,
        u64::try_from(parts.node.limits().retry.as_millis()).unwrap_or(2_000),
        &mut body,
    );
    let mut response = Response::new(Body::from(body));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store, no-transform"));
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    Ok(door::with_fields(response, visitor.caller.origin.as_deref(), &fields))
}

/// Carries a WebSocket's bytes both ways until the outlet ends it or the client has gone.
///
/// It goes on counting: for hyper the request is over.
async fn carry(upgrade: OnUpgrade, pipe: Piped, _held: Option<Held>) {
    let Ok(upgraded) = upgrade.await else { return };
    let (mut client_read, mut client_write) = tokio::io::split(TokioIo::new(upgraded));
    let (mut pipe_read, mut pipe_write) = tokio::io::split(pipe);
    let down = async {
        tokio::io::copy(&mut pipe_read, &mut client_write).await?;
        client_write.shutdown().await
    };
    let up = async {
        let broken = tokio::io::copy(&mut client_read, &mut pipe_write).await.is_err();
        let _ = pipe_write.shutdown().await;
        if !broken {
            // The client has ended its half; how to take that is for the outlet to say.
            std::future::pending::<()>().await;
        }
    };
    // Either way the pipe is dropped, and the slot behind it is free.
    tokio::select! {
        _ = down => {}
        () = up => {}
    }
}

async fn finished(wire: Option<Wire>) {
    match wire {
        Some(Wire(line)) => line.finished().await,
        None => std::future::pending().await,
    }
}

async fn reset(wire: Option<Wire>) {
    match wire {
        Some(Wire(line)) => line.reset().await,
        None => std::future::pending().await,
    }
}

type Gone = Pin<Box<dyn Future<Output = bool> + Send>>;

/// A response body out of a pipe.
struct PipeBody {
    pipe: Piped,
    client_gone: Option<Gone>,
}

impl http_body::Body for PipeBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, Infallible>>> {
        if !self.pipe.rest.is_empty() {
            return Poll::Ready(self.pipe.next_chunk());
        }
        if let Some(watch) = &mut self.client_gone {
            match watch.as_mut().poll(context) {
                Poll::Ready(true) => return Poll::Ready(None),
                // A client that sends more while its stream runs: its end will show when something is written.
                Poll::Ready(false) => self.client_gone = None,
                Poll::Pending => {}
            }
        }
        self.pipe.rest = std::task::ready!(self.pipe.end.poll_take(context));
        Poll::Ready(self.pipe.next_chunk())
    }
}

/// A pipe as tokio sees it.
struct Piped {
    end: PipeEnd,
    /// Taken out of it, and not read yet.
    rest: Bytes,
}

impl Piped {
    /// What comes next of a body. Small: HTTP/2 holds a chunk whole until its client has made room for all of it.
    fn next_chunk(&mut self) -> Option<Result<http_body::Frame<Bytes>, Infallible>> {
        let chunk = self.rest.split_to(self.rest.len().min(CHUNK_BYTES_MAX));
        (!chunk.is_empty()).then(|| Ok(http_body::Frame::data(chunk)))
    }
}

impl AsyncRead for Piped {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        if self.rest.is_empty() {
            self.rest = std::task::ready!(self.end.poll_take(context));
        }
        let count = self.rest.len().min(buffer.remaining());
        buffer.put_slice(&self.rest.split_to(count));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Piped {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        self.end.poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        self.end.finish();
        Poll::Ready(Ok(()))
    }
}
