//! A connection: what is spoken on it, and that it is spoken to its end.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tidewire_hub::admit::HeadFields;
use tidewire_hub::limits::Limits;
use tidewire_hub::reason::Reason;
use tidewire_transport::refusal::{self, Refusal};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_rustls::server::TlsStream;

use super::calm::PREFACE;
use super::http1::{self, Requests};
use super::http2::{self, Streams};
use super::serve::{Http, closed};
use crate::api::{self, Peer};
use crate::census::Counted;
use crate::line::{Fronted, Line, Socket};
use crate::tls::{self, Spoken, Tls};

/// A connection that has its room.
pub(super) struct Connection {
    pub(super) http: Http,
    pub(super) client: SocketAddr,
    pub(super) limits: Arc<Limits>,
    pub(super) counted: Arc<Counted>,
    /// It is one too many: it is answered once, in the language of its request, and ends.
    pub(super) surplus: bool,
    pub(super) first_due: Duration,
}

impl Connection {
    /// Finds out what is spoken on it, and goes on in that. Each stage has its memory for as long as it lasts: a future is as
    /// large as the largest of what it may wait for, and most of them wait for one thing only.
    pub(super) async fn open(self, socket: TcpStream, bytes: Bytes) {
        let mut closing = self.http.closing.clone();
        let opening = async {
            match self.http.tls.clone() {
                None => Opening::of_plain(socket, bytes, self.first_due).await,
                Some(tls) => Opening::of_tls(&tls, socket, bytes, self.first_due, &self.limits).await,
            }
        };
        let opening = tokio::select! {
            opening = Box::pin(opening) => opening,
            () = closed(&mut closing) => return,
        };
        match opening {
            Some(Opening::Http1 { line, before }) => Box::pin(self.speak_http1(line, before)).await,
            Some(Opening::Http2Plain(io)) => Box::pin(self.speak_http2(io, false)).await,
            Some(Opening::Http2Secure(io)) => Box::pin(self.speak_http2(io, true)).await,
            None => {}
        }
    }

    async fn speak_http1(self, line: Arc<Line>, before: Bytes) {
        let Connection { http, client, limits, counted, surplus, first_due } = self;
        let peer = Peer { address: client, secure: line.is_secure() };
        let requests = Requests::new(http.router, http.health, peer, line, counted, surplus);
        let mut closing = http.closing;
        if let Err(error) = http1::serve(requests, before, first_due, limits, &mut closing).await {
            tracing::debug!(%client, %error, "connection broke");
        }
    }

    async fn speak_http2(
        self,
        io: impl AsyncRead + AsyncWrite + Socket + Unpin + Send + 'static,
        secure: bool,
    ) {
        let Connection { http, client, limits, counted, surplus, first_due } = self;
        let socket = io.socket();
        let peer = Peer { address: client, secure };
        let (open, companions) = (http2::Open::of(http.census.clone()), Default::default());
        let linger_max = limits.linger_max;
        let streams =
            Streams { router: http.router, peer, _counted: counted, surplus, limits, open, companions };
        let mut closing = http.closing.clone();
        // Boxed, as what is spoken is: what has been moved into it has its place there, and no second one here.
        let served = Box::pin(http2::serve(io, streams, first_due, &http.health, &mut closing));
        let outcome = served.await;
        if let Err(error) = outcome {
            tracing::debug!(%client, %error, "connection broke");
            // Closing over what is unread would reset the connection under what the client was told.
            linger(&socket, linger_max).await;
        }
    }
}

/// What a connection begins with.
enum Opening {
    Http1 { line: Arc<Line>, before: Bytes },
    Http2Plain(Fronted),
    Http2Secure(Box<TlsStream<Fronted>>),
}

impl Opening {
    /// HTTP/2 where the client begins with its preface (RFC 9113 section 3.3). Nothing where it has gone.
    async fn of_plain(socket: TcpStream, bytes: Bytes, first_due: Duration) -> Option<Opening> {
        let mut seen = [0; PREFACE_TELLS_BYTES];
        let mut count = bytes.len().min(seen.len());
        seen[..count].copy_from_slice(&bytes[..count]);
        let due = Instant::now() + first_due;
        while bytes.is_empty() && count < seen.len() && PREFACE.starts_with(&seen[..count]) {
            // Looked at and left there: the guard judges a head by its pieces as they came.
            let before = count;
            count = timeout_at(due, socket.peek(&mut seen)).await.ok()?.ok()?;
            match count {
                0 => return None,
                // What is there already makes no noise when more comes.
                _ if count == before => sleep(LOOK_AGAIN).await,
                _ => {}
            }
        }
        let is_http2 = count == seen.len() && PREFACE.starts_with(&seen);
        let socket = Arc::new(socket);
        Some(match is_http2 {
            true => Opening::Http2Plain(Fronted::new(bytes, socket)),
            false => Opening::Http1 { line: Arc::new(Line::plain(socket)), before: bytes },
        })
    }

    /// What was agreed on in the handshake. Nothing where there was none.
    async fn of_tls(
        tls: &Tls,
        socket: TcpStream,
        bytes: Bytes,
        first_due: Duration,
        limits: &Limits,
    ) -> Option<Opening> {
        if !tls::begins_tls(&socket, &bytes, first_due).await? {
            let refusal = Refusal::new(Reason::BadRequest, "this port speaks TLS: use https:// or wss://");
            turn_away(socket, &refusal, limits.linger_max).await;
            return None;
        }
        let socket = Arc::new(socket);
        let (stream, spoken) = match tls.accept(Fronted::new(bytes, socket.clone())).await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::debug!(%error, "no handshake");
                return None;
            }
        };
        Some(match spoken {
            Spoken::Http1 => {
                Opening::Http1 { line: Arc::new(Line::secure(socket, stream)), before: Bytes::new() }
            }
            Spoken::Http2 => Opening::Http2Secure(Box::new(stream)),
        })
    }
}

/// So much of the preface is the beginning of no other request.
const PREFACE_TELLS_BYTES: usize = 4;

/// How soon the rest of that is looked for where it came in pieces.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Ends our half, and throws away what comes until the client has ended its own.
async fn linger(socket: &TcpStream, linger_max: Duration) {
    let _ = socket2::SockRef::from(socket).shutdown(std::net::Shutdown::Write);
    let mut discarded = [0; 4096];
    let discard = async {
        while socket.readable().await.is_ok() {
            match socket.try_read(&mut discarded) {
                Ok(1..) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Ok(0) | Err(_) => return,
            }
        }
    };
    let _ = timeout(linger_max, discard).await;
}

/// Tells a client why it is not served, and gives it a moment to read that.
pub(super) async fn turn_away(mut socket: TcpStream, refusal: &Refusal, linger_max: Duration) {
    let trace = api::trace_id(refusal.reason);
    let answer = refusal::http_response(refusal, None, &HeadFields::default(), Some(&trace), true);
    let told = async {
        socket.write_all(&answer).await?;
        socket.shutdown().await?;
        tokio::io::copy(&mut socket, &mut tokio::io::sink()).await
    };
    // Whatever comes of it, the connection ends here.
    let _ = timeout(linger_max, told).await;
}
