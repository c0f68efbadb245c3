//! Refusals as responses: `application/problem+json`, each with a trace id of its own (RFC 9457, security rule S52).

use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};
use axum::response::IntoResponse;
use tidewire_hub::reason::Reason;
use tidewire_transport::refusal::{self, Refusal};

/// A refusal on its way to the client.
#[derive(Clone, Debug)]
pub struct Problem(pub Refusal);

impl Problem {
    /// Says `reason` with `detail` in the request's own terms.
    #[must_use]
    pub fn new(reason: Reason, detail: impl Into<Box<str>>) -> Problem {
        Problem(Refusal::new(reason, detail))
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Problem {
        Problem(refusal)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response<Body> {
        let Problem(Refusal { reason, detail }) = self;
        let trace = trace_id(reason);
        let mut response = Response::new(Body::from(refusal::problem_json(reason, &detail, Some(&trace))));
        *response.status_mut() =
            StatusCode::from_u16(reason.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        for (name, value) in refusal::extra_headers(reason) {
            headers.insert(name, HeaderValue::from_static(value));
        }
        response.extensions_mut().insert(Told { refusal: Refusal { reason, detail }, trace_id: trace });
        response
    }
}

/// What a response says, for who remembers refusals.
#[derive(Clone, Debug)]
pub(super) struct Told {
    pub(super) refusal: Refusal,
    pub(super) trace_id: String,
}

/// 64 random bits in hexadecimal: what a user can quote of a refusal, and the log has.
pub(crate) fn trace_id(reason: Reason) -> String {
    // Without randomness the id is useless, but the refusal is not.
    let trace_id = format!("{:016x}", getrandom::u64().unwrap_or_default());
    tracing::debug!(trace_id, code = reason.code(), "refused");
    trace_id
}
