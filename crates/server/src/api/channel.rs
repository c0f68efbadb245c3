//! `/c/{channels}`: one URL for every transport. The request says which it wants (`docs/protocol.md`, "One URL").

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderName, Method, header};
use axum::response::Response;
use tidewire_hub::grant::Grant;
use tidewire_hub::reason::Reason;

use super::problem::Problem;
use super::{Parts, assets, publish, relay};

/// Answers `/c/…` by method and by what the request accepts.
pub(super) async fn channel(
    State(parts): State<Parts>,
    path: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, Problem> {
    let list = match path {
        Ok(Path(list)) => list,
        Err(_) => return Err(Problem::new(Reason::ChannelInvalid, "the path cannot be decoded")),
    };
    answer(&parts, &list, request).await
}

/// Answers `/c/`, which only a `tidewire.v1` WebSocket may ask for.
pub(super) async fn no_channel(State(parts): State<Parts>, request: Request) -> Result<Response, Problem> {
    answer(&parts, "", request).await
}

async fn answer(parts: &Parts, list: &str, request: Request) -> Result<Response, Problem> {
    if is_subscription(&request) {
        return relay::relay(parts, request).await;
    }
    let grant = request.extensions().get::<Arc<Grant>>().cloned();
    let grant = grant.ok_or_else(|| Problem::new(Reason::Internal, "the request passed no door"))?;
    match *request.method() {
        Method::POST => publish::publish(&parts.node, &grant, list, request).await,
        Method::GET if grant.admin => Ok(assets::inspector(request.headers())),
        Method::GET => Err(Problem::new(Reason::Forbidden, "the inspector page is for administrators")),
        // HEAD, which axum takes for a GET.
        _ => Err(Problem::new(Reason::MethodNotAllowed, "a channel knows GET and POST")),
    }
}

/// Whether an outlet answers this request: every GET on a channel but the one for a page.
#[must_use]
pub fn is_subscription(request: &Request) -> bool {
    request.method() == Method::GET
        && request.uri().path().starts_with("/c/")
        && !wants_page(request.headers())
}

/// The rows of the table that come before `Accept: text/html` win over it.
fn wants_page(headers: &HeaderMap) -> bool {
    !has_token(headers, &header::UPGRADE, "websocket")
        && !has_token(headers, &header::ACCEPT, "text/event-stream")
        && has_token(headers, &header::ACCEPT, "text/html")
}

/// Whether a list field holds an element, in any case and with any parameters.
pub(super) fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    let mut elements = values.flat_map(|value| value.split(','));
    elements.any(|element| element.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(token))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;

    #[test]
    fn the_first_row_of_the_table_that_matches_wins() {
        let subscribes = |method: &str, accept: &str, upgrade: &str| {
            let request = Request::builder().method(method).uri("/c/a").header("accept", accept);
            is_subscription(&request.header("upgrade", upgrade).body(Body::empty()).unwrap())
        };
        assert!(subscribes("GET", "text/event-stream", ""));
        assert!(subscribes("GET", "*/*", ""));
        assert!(subscribes("GET", "text/html", "websocket"));
        assert!(subscribes("GET", "text/html, text/event-stream", ""));
        assert!(!subscribes("GET", "text/html,application/xhtml+xml;q=0.9", ""));
        assert!(!subscribes("POST", "text/event-stream", ""));
        assert!(!subscribes("HEAD", "*/*", ""));
    }
}
