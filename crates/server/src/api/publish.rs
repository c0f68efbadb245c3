//! `POST /c/{channel}`: the body is the payload (`docs/protocol.md`, "Publishing").
//!
//! Most publishes never come here: the engine reads those that are simple (`control/post.rs`).

use std::sync::Arc;

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use tidewire_hub::channel::Channel;
use tidewire_hub::grant::Grant;
use tidewire_hub::publish::Receipt;
use tidewire_hub::reason::Reason;
use tidewire_transport::post::write_receipt;
use tidewire_transport::refusal::Refusal;

use super::body;
use super::problem::Problem;
use crate::node::Node;
use crate::posts::Said;
use crate::refusals;

/// Publishes a request's body to the channels named `list`, which must be one.
pub(super) async fn publish(
    node: &Node,
    grant: &Arc<Grant>,
    list: &str,
    request: Request,
) -> Result<Response, Problem> {
    let (head, body) = request.into_parts();
    let said = Said::read(|name| head.headers.get_all(name).into_iter().map(HeaderValue::as_bytes));
    // Read before it is refused for what its head says, too: a connection with an unread body cannot be kept. And the
    // place among the publishes in flight is taken after that: who sends slowly keeps nobody out.
    let limits = node.limits();
    let bytes = body::read(body, limits.message_bytes_max, limits.body_max).await;
    let channel = channel(list)?;
    let publish = said.publish(grant, channel.clone(), bytes)?;
    let receipt = node.publish(grant, publish).await?;
    Ok(answer(&channel, &receipt))
}

fn channel(list: &str) -> Result<Channel, Refusal> {
    if list.is_empty() || list.contains(',') {
        return Err(Refusal::new(Reason::ChannelCount, "a publish names exactly one channel"));
    }
    refusals::channel(list)
}

/// Subscribers on this node when the message was placed. Advisory.
#[derive(Serialize)]
pub(crate) struct Receivers {
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
    let mut json = Vec::new();
    write_receipt(channel, receipt, &mut json);
    let mut response = json.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    no_store(headers);
    response
}

/// Marks an answer of the API as one that no cache keeps and no browser second-guesses.
pub(super) fn no_store(headers: &mut HeaderMap) {
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
}
