//! `POST /c/{channel}`: the body is the payload (`docs/protocol.md`, "Publishing").

use std::sync::Arc;

use axum::Json;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde::Serialize;
use tidewire_hub::channel::Channel;
use tidewire_hub::grant::Grant;
use tidewire_hub::message::{EventName, Payload};
use tidewire_hub::publish::{Key, Publish, Receipt};
use tidewire_hub::reason::Reason;
use tidewire_transport::refusal::Refusal;

use super::body;
use super::problem::Problem;
use crate::node::Node;
use crate::refusals;

/// Publishes a request's body to the channels named `list`, which must be one.
pub(super) async fn publish(
    node: &Node,
    grant: &Arc<Grant>,
    list: &str,
    request: Request,
) -> Result<Response, Problem> {
    let (head, body) = request.into_parts();
    let asked = read_head(grant, list, &head.headers);
    // Read before it is refused for what its head says, too: a connection with an unread body cannot be kept. And the
    // place among the publishes in flight is taken after that: who sends slowly keeps nobody out.
    let limits = node.limits();
    let bytes = body::read(body, limits.message_bytes_max, limits.body_max).await;
    let Head { channel, event, key, binary } = asked?;
    let payload = payload(bytes?, binary)?;
    let publisher = grant.holder.publisher();
    let publish = Publish { channel: channel.clone(), event, payload, key, publisher };
    let receipt = node.publish(grant, publish).await?;
    Ok(answer(&channel, &receipt))
}

/// What the head of a publish says about its body.
struct Head {
    channel: Channel,
    event: Option<EventName>,
    key: Option<Key>,
    binary: bool,
}

fn read_head(grant: &Grant, list: &str, headers: &HeaderMap) -> Result<Head, Problem> {
    if list.is_empty() || list.contains(',') {
        return Err(Problem::new(Reason::ChannelCount, "a publish names exactly one channel"));
    }
    let channel = refusals::channel(list)?;
    refusals::may_publish(grant, &channel)?;
    Ok(Head { channel, event: event(headers)?, key: key(headers)?, binary: is_binary(headers) })
}

/// What a publisher is told.
#[derive(Serialize)]
struct Answer<'a> {
    /// Nothing on a bridged channel.
    id: Option<String>,
    channel: &'a str,
    receivers: Receivers,
}

/// Subscribers on this node when the message was placed. Advisory.
#[derive(Serialize)]
pub(super) struct Receivers {
    sse: u32,
    ws: u32,
    poll: u32,
}

impl From<tidewire_hub::publish::Receivers> for Receivers {
    fn from(receivers: tidewire_hub::publish::Receivers) -> Receivers {
        Receivers { sse: receivers.sse, ws: receivers.ws, poll: receivers.poll }
    }
}

fn answer(channel: &Channel, receipt: &Receipt) -> Response {
    let id = receipt.position.map(|position| position.to_string());
    let answer = Answer { id, channel: channel.as_str(), receivers: receipt.receivers.into() };
    let mut response = Json(answer).into_response();
    no_store(response.headers_mut());
    response
}

/// Marks an answer of the API as one that no cache keeps and no browser second-guesses.
pub(super) fn no_store(headers: &mut HeaderMap) {
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
}

/// Text must be UTF-8; bytes may be anything.
pub(super) fn payload(bytes: Bytes, binary: bool) -> Result<Payload, Refusal> {
    if binary {
        return Ok(Payload::binary(bytes));
    }
    Payload::text(bytes)
        .map_err(|_| Refusal::new(Reason::NotUtf8, "the body is sent as text and is not UTF-8"))
}

/// An idempotency key as a client wrote it.
pub(super) fn read_key(key: &str) -> Result<Key, Refusal> {
    let wrong = || Refusal::new(Reason::BadRequest, "an idempotency key is 1 to 256 bytes of visible ASCII");
    Key::parse(key).ok_or_else(wrong)
}

fn event(headers: &HeaderMap) -> Result<Option<EventName>, Problem> {
    let Some(value) = only(headers, "tidewire-event")? else { return Ok(None) };
    let invalid = |_| Problem::new(Reason::EventInvalid, "the event name is not UTF-8");
    let name = std::str::from_utf8(value).map_err(invalid)?;
    Ok(Some(refusals::event(name)?))
}

fn key(headers: &HeaderMap) -> Result<Option<Key>, Problem> {
    let Some(value) = only(headers, "idempotency-key")? else { return Ok(None) };
    Ok(Some(read_key(std::str::from_utf8(value).unwrap_or_default())?))
}

fn only<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a [u8]>, Problem> {
    let mut values = headers.get_all(name).iter().map(HeaderValue::as_bytes);
    match (values.next(), values.next()) {
        (value, None) => Ok(value),
        _ => Err(Problem::new(Reason::BadRequest, format!("`{name}` came more than once"))),
    }
}

/// Whether a body is bytes: every type but text, JSON and what `curl -d` and plain forms send.
fn is_binary(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(header::CONTENT_TYPE) else { return false };
    let Ok(value) = value.to_str() else { return true };
    let media_type = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    !(media_type.is_empty()
        || media_type.starts_with("text/")
        || media_type == "application/json"
        || media_type.ends_with("+json")
        || media_type == "application/x-www-form-urlencoded")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_content_type_says_whether_a_payload_is_text() {
        let binary = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(value));
            is_binary(&headers)
        };
        assert!(!is_binary(&HeaderMap::new()));
        for text in [
            "text/plain",
            "TEXT/HTML; charset=utf-8",
            "application/json",
            "application/ld+json;profile=x",
            "application/x-www-form-urlencoded",
            "",
        ] {
            assert!(!binary(text), "{text:?}");
        }
        for bytes in
            ["application/octet-stream", "image/png", "application/jsonp", "multipart/form-data", "json"]
        {
            assert!(binary(bytes), "{bytes:?}");
        }
    }
}
