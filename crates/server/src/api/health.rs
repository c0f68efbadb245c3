//! `/livez`, `/readyz` and `/metrics`: for machines that watch us.

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderValue, Response, StatusCode, header};

use super::Parts;
use super::publish::no_store;

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

/// `GET /metrics`: the counters in the OpenMetrics text format.
pub(super) async fn metrics(State(parts): State<Parts>) -> Response<Body> {
    let mut response = Response::new(Body::from(parts.metrics.text()));
    let format = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(format));
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
