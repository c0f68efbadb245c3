//! The door: one function that decides on Host, Origin and credentials for every request that axum answers, before
//! anything else happens (security rules S1, S6 to S10).

use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use axum::middleware::Next;
use axum::response::IntoResponse as _;
use tidewire_hub::grant::{Action, Asked};
use tidewire_hub::reason::Reason;

use super::channel;
use super::problem::Problem;
use crate::node::Node;
use crate::refusals;

/// The address at the other end of the connection. The accept loop puts it into every request.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub SocketAddr);

/// Lets a request in with its grant, or refuses it.
///
/// What will be relayed to an outlet passes: the outlet's control plane asks the gate itself, and a gate is asked once.
pub(super) async fn door(State(node): State<Arc<Node>>, mut request: Request, next: Next) -> Response<Body> {
    if channel::is_subscription(&request) {
        return next.run(request).await;
    }
    let asked = asked(&request);
    let outcome = asked.and_then(|asked| Ok(refusals::pass(&*node.gate, &asked)?));
    let grant = match outcome {
        Ok(grant) => grant,
        Err(problem) => return problem.into_response(),
    };
    let origin = request.headers().get(header::ORIGIN).cloned();
    let mut response = if request.method() == Method::OPTIONS {
        preflight()
    } else {
        request.extensions_mut().insert(grant);
        next.run(request).await
    };
    // Only an origin that the gate has just let in is ever named (S7).
    if let Some(origin) = origin {
        let headers = response.headers_mut();
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.append(header::VARY, HeaderValue::from_static("Origin"));
    }
    response
}

pub(super) fn asked(request: &Request) -> Result<Asked<'_>, Problem> {
    let Some(Peer(peer)) = request.extensions().get().copied() else {
        return Err(Problem::new(Reason::Internal, "the connection has no peer address"));
    };
    let headers = request.headers();
    Ok(Asked {
        action: action(request),
        host: only(headers, "host", Reason::HostRefused)?,
        origin: only(headers, "origin", Reason::OriginRefused)?,
        fetch_site: only(headers, "sec-fetch-site", Reason::BadRequest)?,
        authorization: only(headers, "authorization", Reason::BadRequest)?,
        peer: peer.ip(),
    })
}

fn action(request: &Request) -> Action {
    let path = request.uri().path();
    match *request.method() {
        // A preflight carries no credentials (S8).
        Method::OPTIONS => Action::Page,
        Method::POST if path.starts_with("/c/") || path == "/v1/publish" => Action::Publish,
        _ if path.starts_with("/v1/") => Action::Control,
        _ => Action::Page,
    }
}

/// Two values of one field are two answers to one question; which of them counts would be a guess.
fn only<'a>(headers: &'a HeaderMap, name: &str, reason: Reason) -> Result<Option<&'a str>, Problem> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => match value.to_str() {
            Ok(text) => Ok(Some(text)),
            Err(_) => Err(Problem::new(reason, format!("`{name}` is not ASCII"))),
        },
        (Some(_), Some(_)) => Err(Problem::new(reason, format!("`{name}` came more than once"))),
    }
}

/// What pages of an allowed origin may send (S8).
fn preflight() -> Response<Body> {
    const FIELDS: [(header::HeaderName, &str); 4] = [
        (header::ACCESS_CONTROL_ALLOW_METHODS, "GET, POST"),
        (
            header::ACCESS_CONTROL_ALLOW_HEADERS,
            "Last-Event-ID, Authorization, Content-Type, Idempotency-Key, Tidewire-Event, traceparent, If-None-Match",
        ),
        (header::ACCESS_CONTROL_MAX_AGE, "7200"),
        (header::ALLOW, "GET, POST, OPTIONS"),
    ];
    let mut response = StatusCode::NO_CONTENT.into_response();
    for (name, value) in FIELDS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}
