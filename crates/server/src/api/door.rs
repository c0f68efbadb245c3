//! The door: one way in for every request that axum answers, before anything else happens (security rules S1, S6 to S10).

use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, Response, StatusCode, header};
use axum::middleware::Next;
use axum::response::IntoResponse as _;
use tidewire_hub::admit::{HeadFields, SetCookie};
use tidewire_hub::grant::{Action, Asked, Entry};
use tidewire_hub::reason::Reason;
use tidewire_transport::caller::Caller;
use tidewire_transport::refusal::Refusal;
use tokio::sync::oneshot;

use super::channel;
use super::problem::Problem;
use crate::inquiry::Inquiry;
use crate::node::Node;
use crate::ways::Way;

/// Who is at the other end of the connection. Whoever serves it puts that into every request.
#[derive(Clone, Copy, Debug)]
pub struct Peer {
    /// Its address.
    pub address: SocketAddr,
    /// Whether the connection is TLS.
    pub secure: bool,
}

/// Who asks, and what is believed of the way. The door puts it into every request that it lets in.
#[derive(Clone, Debug)]
pub(crate) struct Visitor {
    pub(super) caller: Arc<Caller>,
    pub(super) way: Way,
    action: Action,
}

/// Lets a request in with its grant, or refuses it.
///
/// What will be relayed to an outlet passes: the outlet's control plane asks the gate itself, and a gate is asked once.
pub(super) async fn door(State(node): State<Arc<Node>>, mut request: Request, next: Next) -> Response<Body> {
    if channel::is_subscription(&request) {
        return next.run(request).await;
    }
    let visitor = match visitor(&node, &request) {
        Ok(visitor) => visitor,
        Err(problem) => return problem.into_response(),
    };
    let head = match node.screen(&visitor.asked()) {
        Ok(head) => head,
        Err(refusal) => return Problem(refusal).into_response(),
    };
    let origin = visitor.caller.origin.clone();
    let (response, head) = if request.method() == Method::OPTIONS {
        (preflight(request.uri().path()), head)
    } else {
        let inquiry = request.extensions_mut().remove::<Inquiry>();
        match admit(&node, &visitor, inquiry.as_ref()).await {
            Ok(Entry { grant, set_cookie }) => {
                request.extensions_mut().insert(grant);
                request.extensions_mut().insert(visitor);
                let set_cookie = set_cookie.map(SetCookie);
                (next.run(request).await, HeadFields { set_cookie, ..head })
            }
            Err(refusal) => (Problem(refusal).into_response(), head),
        }
    };
    with_fields(response, origin.as_deref(), &head)
}

/// Reads who asks, and looks through the proxies.
pub(crate) fn visitor(node: &Node, request: &Request) -> Result<Visitor, Problem> {
    let Some(Peer { address, secure }) = request.extensions().get().copied() else {
        return Err(Problem::new(Reason::Internal, "the connection has no peer address"));
    };
    let values = |name| request.headers().get_all(name).into_iter().map(HeaderValue::as_bytes);
    let uri = request.uri();
    let mut caller = Caller::read(values, uri.path(), uri.query().unwrap_or_default())?;
    // HTTP/2 names the host in its target.
    if let (None, Some(authority)) = (&caller.host, uri.authority()) {
        caller.host = Some(authority.as_str().into());
    }
    let way = node.ways.look(address.ip(), secure, &caller);
    Ok(Visitor { caller: Arc::new(caller), way, action: action(request) })
}

impl Visitor {
    pub(crate) fn asked(&self) -> Asked<'_> {
        self.caller.to_asked(self.action, self.way.client, self.way.secure)
    }
}

async fn admit(node: &Arc<Node>, visitor: &Visitor, inquiry: Option<&Inquiry>) -> Result<Entry, Refusal> {
    let (done, outcome) = oneshot::channel();
    let done = Box::new(move |entry| {
        // Nobody waits any more.
        let _ = done.send(entry);
    });
    node.admit(&visitor.asked(), inquiry, done);
    outcome.await.unwrap_or_else(|_| Err(Refusal::new(Reason::Internal, "the gate gave no answer")))
}

fn action(request: &Request) -> Action {
    let path = request.uri().path();
    match *request.method() {
        // A preflight carries no credentials (S8).
        Method::OPTIONS => Action::Page,
        Method::POST if path.starts_with("/c/") || path == "/v1/publish" => Action::Publish,
        Method::POST if path == "/v1/tickets" => Action::Ticket,
        // The one address below /v1/channels that those ask who are on a channel.
        Method::GET | Method::HEAD if is_presence(path) => Action::Presence,
        _ if path.starts_with("/v1/") => Action::Control,
        _ => Action::Page,
    }
}

/// Whether this is `/v1/channels/{channel}/presence`, and not a channel of that name.
fn is_presence(path: &str) -> bool {
    let channel = path.strip_prefix("/v1/channels/").and_then(|rest| rest.strip_suffix("/presence"));
    channel.is_some_and(|channel| !channel.is_empty() && !channel.contains('/'))
}

/// Adds what depends on who asked. Only an origin that the gate has just let in is ever named (S7).
pub(super) fn with_fields(
    mut response: Response<Body>,
    origin: Option<&str>,
    fields: &HeadFields,
) -> Response<Body> {
    let headers = response.headers_mut();
    if let Some(origin) = origin.and_then(|origin| HeaderValue::from_str(origin).ok()) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.append(header::VARY, HeaderValue::from_static("Origin"));
        if fields.credentials {
            headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
    }
    if fields.no_referrer {
        headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    }
    let set_cookie = fields.set_cookie.as_ref().and_then(|cookie| HeaderValue::from_str(&cookie.0).ok());
    if let Some(mut set_cookie) = set_cookie {
        set_cookie.set_sensitive(true);
        headers.append(header::SET_COOKIE, set_cookie);
    }
    response
}

/// What pages of an allowed origin may send (S8). `Allow` is the address's own: the router adds it.
fn preflight(path: &str) -> Response<Body> {
    const FIELDS: [(header::HeaderName, &str); 3] = [
        (header::ACCESS_CONTROL_ALLOW_METHODS, "GET, POST"),
        (
            header::ACCESS_CONTROL_ALLOW_HEADERS,
            "Last-Event-ID, Authorization, Content-Type, Idempotency-Key, Tidewire-Event, traceparent, If-None-Match",
        ),
        (header::ACCESS_CONTROL_MAX_AGE, "7200"),
    ];
    let mut response = StatusCode::NO_CONTENT.into_response();
    for (name, value) in FIELDS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    if path.starts_with("/c/") {
        // The router would add HEAD, which it takes for a GET everywhere.
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, POST"));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s50_presence_is_asked_of_one_channel_and_everything_beside_it_is_the_control_api() {
        assert!(is_presence("/v1/channels/room:1/presence") && is_presence("/v1/channels/presence/presence"));
        for path in ["/v1/channels/presence", "/v1/channels//presence", "/v1/channels/a/history/presence"] {
            assert!(!is_presence(path), "{path}");
        }
    }
}
