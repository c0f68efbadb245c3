//! `POST /v1/publish`: several messages in one request, each answered for itself, in order (`docs/protocol.md`,
//! "Control API"). Not atomic: a message that is refused does not take the others with it.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::HeaderValue;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tidewire_hub::grant::Grant;
use tidewire_hub::limits::Limits;
use tidewire_hub::message::Payload;
use tidewire_hub::publish::Publish;
use tidewire_hub::reason::Reason;
use tidewire_hub::trace::TraceParent;
use tidewire_transport::refusal::Refusal;

use super::Parts;
use super::body;
use super::json;
use super::problem::Problem;
use super::publish::{Receivers, no_store};
use crate::node::Node;
use crate::posts::{self, read_key};
use crate::refusals;

/// The smallest bound on a batch's body; one message of the largest size, escaped as JSON, always fits.
const BATCH_BYTES_MIN: usize = 1 << 20;

pub(super) async fn batch(
    State(parts): State<Parts>,
    Extension(grant): Extension<Arc<Grant>>,
    request: Request<Body>,
) -> Result<Response, Problem> {
    let limits = parts.node.limits();
    let bytes_max = limits.message_bytes_max.saturating_mul(2).max(BATCH_BYTES_MIN);
    let trace = request.headers().get_all("traceparent");
    let trace = posts::trace(trace.into_iter().map(HeaderValue::as_bytes));
    let bytes = body::read(request.into_body(), bytes_max, limits.body_max).await?;
    let Batch { messages } = read(&bytes, &limits)?;
    let mut results = Vec::with_capacity(messages.len());
    for item in messages {
        // One after the other: the next is placed only once this one is (delivery rule R22).
        results.push(publish(&parts.node, &grant, item, trace.clone()).await);
    }
    let mut response = Json(Answer { results }).into_response();
    no_store(response.headers_mut());
    Ok(response)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Batch {
    messages: Vec<Item>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Item {
    channel: String,
    event: Option<String>,
    data: Option<String>,
    base64: Option<String>,
    key: Option<String>,
}

#[derive(Serialize)]
struct Answer {
    results: Vec<Outcome>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Outcome {
    Published { id: Option<String>, receivers: Receivers },
    Refused { code: &'static str, detail: Box<str> },
}

fn read(bytes: &[u8], limits: &Limits) -> Result<Batch, Problem> {
    let batch: Batch = json::read(bytes, "the batch")?;
    let (count, most) = (batch.messages.len(), limits.batch_messages_max);
    if count > most {
        return Err(Problem::new(
            Reason::TooLarge,
            format!("the batch has {count} messages; {most} is the most"),
        ));
    }
    Ok(batch)
}

async fn publish(node: &Node, grant: &Arc<Grant>, item: Item, trace: Option<TraceParent>) -> Outcome {
    let outcome = match item.into_publish(grant, &node.limits()) {
        Ok(publish) => node.publish(grant, Publish { trace, ..publish }).await,
        Err(refusal) => Err(refusal),
    };
    match outcome {
        Ok(receipt) => {
            let id = receipt.position.map(|position| position.to_string());
            Outcome::Published { id, receivers: receipt.receivers.into() }
        }
        Err(Refusal { reason, detail }) => Outcome::Refused { code: reason.code(), detail },
    }
}

impl Item {
    fn into_publish(self, grant: &Grant, limits: &Limits) -> Result<Publish, Refusal> {
        let channel = refusals::channel(&self.channel)?;
        refusals::may_publish(grant, &channel)?;
        let payload = match (self.data, self.base64) {
            (Some(data), None) => text(data)?,
            (None, Some(base64)) => {
                let bytes = STANDARD.decode(base64);
                let bytes = bytes.map_err(|_| Refusal::new(Reason::BadRequest, "`base64` is not base64"))?;
                Payload::binary(Bytes::from(bytes))
            }
            _ => return Err(Refusal::new(Reason::BadRequest, "a message has either `data` or `base64`")),
        };
        let (bytes, most) = (payload.as_bytes().len(), limits.message_bytes_max);
        if bytes > most {
            return Err(Refusal::new(
                Reason::TooLarge,
                format!("the payload has {bytes} bytes; {most} is the most"),
            ));
        }
        let event = self.event.as_deref().map(refusals::event).transpose()?;
        let key = self.key.as_deref().map(read_key).transpose()?;
        Ok(Publish { channel, event, payload, key, publisher: grant.holder.publisher(), trace: None })
    }
}

fn text(data: String) -> Result<Payload, Refusal> {
    Payload::text(Bytes::from(data)).map_err(|_| Refusal::new(Reason::NotUtf8, "`data` is not UTF-8"))
}
