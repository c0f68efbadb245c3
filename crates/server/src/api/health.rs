//! `/livez`, `/readyz` and `/metrics`: for machines that watch us.

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode, header};

use super::Parts;
use super::publish::no_store;
use crate::metrics::Format;

/// Whether this path is asked for by machines that watch us.
#[must_use]
pub fn is_health(path: &str) -> bool {
    ["/livez", "/readyz", "/metrics"].contains(&path)
}

/// `GET /livez`: whoever can answer is alive.
pub(super) async fn livez() -> Response<Body> {
    json(StatusCode::OK, "{\"status\":\"alive\"}".to_owned())
}

/// `GET /readyz`: 503 while no new clients should come, so that a balancer sends them elsewhere.
pub(super) async fn readyz(State(parts): State<Parts>) -> Response<Body> {
    let (is_ready, word) = parts.node.readiness();
    let status = if is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    json(status, format!("{{\"status\":\"{word}\"}}"))
}

/// `GET /metrics`, in the format that `Accept` asks for.
pub(super) async fn metrics(State(parts): State<Parts>, headers: HeaderMap) -> Response<Body> {
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    let format = Format::asked_for(accept);
    let mut response = Response::new(Body::from(parts.metrics.text(format)));
    let content_type = HeaderValue::from_static(format.content_type());
    response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("Accept"));
    no_store(response.headers_mut());
    response
}

fn json(status: StatusCode, body: String) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    no_store(response.headers_mut());
    response
}
