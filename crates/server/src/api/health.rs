//! `/livez`, `/readyz` and `/metrics`: for machines that watch us.

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderValue, Response, StatusCode, header};
use tidewire_hub::broker;

use super::Parts;
use super::publish::no_store;
use crate::health::Phase;

/// Whether this path is asked for by machines that watch us.
#[must_use]
pub fn is_health(path: &str) -> bool {
    ["/livez", "/readyz", "/metrics"].contains(&path)
}

/// `GET /livez`: whoever can answer is alive.
pub(super) async fn livez() -> Response<Body> {
    json(StatusCode::OK, "{\"status\":\"alive\"}".to_owned())
}

/// `GET /readyz`: 503 while starting, draining or deaf, so that a balancer sends new clients elsewhere. A broker that is
/// away is away for every node, and taking all of them out would end every stream: that is 200 and `degraded`.
pub(super) async fn readyz(State(parts): State<Parts>) -> Response<Body> {
    let (is_ready, word) = match (parts.node.health.phase(), parts.node.broker.state()) {
        (Phase::Ready, broker::State::Ready) => (true, Phase::Ready.as_str()),
        (Phase::Ready, broker::State::Starting) => (false, Phase::Starting.as_str()),
        (Phase::Ready, broker::State::Away) => (!parts.node.strict_readiness, "degraded"),
        (Phase::Ready, broker::State::Deaf) => (false, "deaf"),
        (phase, _) => (false, phase.as_str()),
    };
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
