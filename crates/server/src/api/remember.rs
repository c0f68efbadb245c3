//! Remembers what the API server refuses, around every answer that it gives.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, Response, header};
use axum::middleware::Next;

use super::Peer;
use super::door;
use super::problem::Told;
use crate::node::Node;
use crate::posts;
use crate::turned_away::Turned;

/// Answers, and remembers if the answer is a refusal.
pub(crate) async fn remember(State(node): State<Arc<Node>>, request: Request, next: Next) -> Response<Body> {
    let peer = request.extensions().get::<Peer>().map(|peer| peer.address.ip());
    // Proxies are looked through only where there are some.
    let visitor =
        peer.filter(|peer| node.ways.trusts(*peer)).and_then(|_| door::visitor(&node, &request).ok());
    let client = visitor.map(|visitor| visitor.way.client).or(peer.map(|peer| peer.to_canonical()));
    let (method, uri) = (request.method().clone(), request.uri().clone());
    let origin = request.headers().get(header::ORIGIN).cloned();
    // Read only where somebody collects traces.
    let trace = node.spans.as_ref().and_then(|_| {
        let values = request.headers().get_all("traceparent");
        posts::trace(values.into_iter().map(HeaderValue::as_bytes))
    });
    let mut response = next.run(request).await;
    if let Some(Told { refusal, trace_id }) = response.extensions_mut().remove::<Told>() {
        let turned = Turned::new(node.clock.now().wall_ms, &refusal, Some(&trace_id));
        let origin = origin.as_ref().map(HeaderValue::as_bytes).map(String::from_utf8_lossy);
        node.refused(turned.of(client, origin.as_deref(), word(&method), uri.path()), trace.as_ref());
    }
    response
}

fn word(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        _ => "other",
    }
}
