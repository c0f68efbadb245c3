//! A request and what it is answered with.

use std::future::poll_fn;
use std::pin::Pin;
use std::time::SystemTime;

use axum::body::Body;
use axum::http::uri::PathAndQuery;
use axum::http::{HeaderValue, Method, Request, Response, StatusCode, header};
use axum::response::IntoResponse as _;
use h2::ext::Protocol;
use h2::server::SendResponse;
use h2::{Reason as Code, RecvStream, SendStream};
use http_body::Body as _;
use tidewire_engine::trunk::Berth;
use tidewire_hub::limits::Limits;
use tidewire_hub::reason::Reason;
use tidewire_transport::http1::check_request;
use tower::ServiceExt as _;

use super::Streams;
use super::body::{self, Asked};
use super::chunk::Chunk;
use super::open::Counts;
use crate::api::relay::{Moors, Unmoored};
use crate::api::{self, Problem};
use crate::http::serve::TOO_MANY;

/// An answer that is being made or written, or one way of a WebSocket.
pub(super) type Running = Pin<Box<dyn Future<Output = Settled> + Send>>;

/// What has come of that.
pub(super) enum Settled {
    /// There is nothing more to do.
    Over,
    /// The head of an answer has left, and an outlet writes the rest.
    Moors(Box<Answered>),
    /// The client has taken back what it asked for.
    Left(Berth),
}

/// A request whose answer an outlet writes.
pub(super) struct Answered {
    pub(super) pipe: Unmoored,
    pub(super) stream: SendStream<Chunk>,
    /// The other way, of a WebSocket.
    pub(super) inward: Option<RecvStream>,
    pub(super) counts: Counts,
}

impl Streams {
    /// Answers a request.
    pub(super) async fn answer(
        self,
        request: Request<RecvStream>,
        mut respond: SendResponse<Chunk>,
    ) -> Settled {
        let counts = self.open.one();
        let (head, stream) = request.into_parts();
        // What follows a CONNECT is no body (RFC 8441 section 5).
        let (body, mut inward) = if head.method == Method::CONNECT {
            (Body::empty(), Some(stream))
        } else {
            (Body::new(Asked::new(stream, &head.headers)), None)
        };
        let answered = self.respond(Request::from_parts(head, body));
        let mut response = tokio::select! {
            biased;
            response = Box::pin(answered) => response,
            _ = poll_fn(|context| respond.poll_reset(context)) => return Settled::Over,
        };
        let pipe = response.extensions_mut().remove::<Unmoored>();
        dress(&mut response, inward.is_some());
        let (head, body) = response.into_parts();
        let head = Response::from_parts(head, ());
        let ends = pipe.is_none() && body.is_end_stream();
        let Ok(stream) = respond.send_response(head, ends) else {
            respond.send_reset(Code::INTERNAL_ERROR);
            return Settled::Over;
        };
        if let Some(pipe) = pipe {
            inward = inward.filter(|_| pipe.takes_input());
            return Settled::Moors(Box::new(Answered { pipe, stream, inward, counts }));
        }
        if !ends {
            body::write(body, stream).await;
        }
        Settled::Over
    }

    async fn respond(self, mut request: Request<Body>) -> Response<Body> {
        if let Err(problem) = understood(&mut request, &self.limits) {
            return problem.into_response();
        }
        request.extensions_mut().insert(self.peer);
        request.extensions_mut().insert(self.companions);
        request.extensions_mut().insert(Moors);
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

/// Makes the head of an answer one of HTTP/2.
fn dress(response: &mut Response<Body>, connects: bool) {
    if connects && response.status() == StatusCode::SWITCHING_PROTOCOLS {
        *response.status_mut() = StatusCode::OK;
        response.headers_mut().remove(header::SEC_WEBSOCKET_ACCEPT);
    }
    let length =
        http_body::Body::size_hint(response.body()).exact().filter(|_| !response.body().is_end_stream());
    let headers = response.headers_mut();
    // What belongs to a connection is not said in a stream (RFC 9113 section 8.2.2).
    for name in [header::CONNECTION, header::UPGRADE, header::TRANSFER_ENCODING] {
        headers.remove(name);
    }
    if let Some(length) = length {
        headers.entry(header::CONTENT_LENGTH).or_insert_with(|| length.into());
    }
    // RFC 9110 section 6.6.1: whoever has a clock says when.
    let date = || HeaderValue::try_from(httpdate::fmt_http_date(SystemTime::now()));
    if let (None, Ok(date)) = (headers.get(header::DATE), date()) {
        headers.insert(header::DATE, date);
    }
}
