//! Channels: which there are, what one keeps and who is there; and sending to it.

use std::cmp::Reverse;
use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, Request, State};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tidewire_hub::broker::ChannelInfo;
use tidewire_hub::channel::{Channel, ChannelSet};
use tidewire_hub::grant::Grant;
use tidewire_hub::limits::{POLL_PAGE, PageLimit};
use tidewire_hub::message::Payload;
use tidewire_hub::position::Start;
use tidewire_hub::publish::Publish;
use tidewire_hub::reason::Reason;
use tidewire_transport::{poll, post, presence};
use tokio::sync::oneshot;

use super::guard::{Acts, Guard, Looks, Reads};
use crate::api::{Problem, Receivers, read_body, read_json, revoke_as_said};
use crate::posts::read_key;
use crate::refusals;

/// Channels in one answer.
const SHOWN_MAX: usize = 200;

/// Channels that are searched. Those that are later in the order of names are found by their whole name.
const SEARCHED_MAX: usize = 10_000;

/// Messages of a history that are shown.
const HISTORY_MESSAGES: u32 = 100;

#[derive(Deserialize)]
pub(super) struct ListQuery {
    search: Option<String>,
    #[serde(default)]
    order: Order,
}

/// Which channels come first where there are more than are shown.
#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Order {
    /// In the order of their names.
    #[default]
    Name,
    /// Those with the most subscribers, then those that most has come to.
    Subscribers,
    /// Those that most has come to.
    Placed,
}

#[derive(Serialize)]
struct Rows {
    channels: Vec<Row>,
    /// Whether there are more that match, or may be.
    more: bool,
}

#[derive(Serialize)]
struct Row {
    channel: Box<str>,
    receivers: Receivers,
    messages: usize,
    bytes: usize,
    /// Messages that came since this node knows the channel.
    placed: u64,
}

/// `GET /admin/channels?search=&order=name|subscribers|placed`
pub(super) async fn list(
    State(guard): State<Guard>,
    Looks(_): Looks,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Result<Response, Problem> {
    let Query(ListQuery { search, order }) = query.map_err(|_| cannot_be_read())?;
    let search = search.unwrap_or_default();
    let broker = &guard.console.node.broker;
    let all = broker.channels(SEARCHED_MAX);
    let searched_all = all.len() < SEARCHED_MAX;
    let is_meant =
        |info: &ChannelInfo| !info.channel.is_reserved() && info.channel.as_str().contains(&*search);
    let mut found: Vec<ChannelInfo> = all.into_iter().filter(is_meant).collect();
    let subscribers = |info: &ChannelInfo| {
        let tidewire_hub::publish::Receivers { sse, ws, poll } = info.receivers;
        u64::from(sse) + u64::from(ws) + u64::from(poll)
    };
    match order {
        Order::Name => {}
        Order::Subscribers => found.sort_by_key(|info| Reverse((subscribers(info), info.placed))),
        Order::Placed => found.sort_by_key(|info| Reverse((info.placed, subscribers(info)))),
    }
    let more = !searched_all || found.len() > SHOWN_MAX;
    let mut channels: Vec<Row> = found.into_iter().take(SHOWN_MAX).map(Row::from).collect();
    if channels.is_empty() && !searched_all {
        let named = Channel::parse(&search).ok().and_then(|channel| broker.channel(&channel));
        channels.extend(named.map(Row::from));
    }
    Ok(Json(Rows { channels, more }).into_response())
}

#[derive(Deserialize)]
pub(super) struct NameQuery {
    channel: String,
}

#[derive(Serialize)]
struct Detail {
    #[serde(flatten)]
    row: Row,
    /// Whether messages are only told, and kept nowhere.
    bridged: bool,
    /// As `GET /v1/channels/{channel}/presence` tells it; nothing where no presence is kept.
    presence: Option<serde_json::Value>,
}

/// `GET /admin/channel?channel=`
pub(super) async fn one(
    State(guard): State<Guard>,
    _: Reads,
    query: Result<Query<NameQuery>, QueryRejection>,
) -> Result<Response, Problem> {
    let channel = name(query)?;
    let node = &guard.console.node;
    let info = node.broker.channel(&channel).unwrap_or_else(|| ChannelInfo {
        channel: channel.clone(),
        receivers: tidewire_hub::publish::Receivers::default(),
        messages: 0,
        bytes: 0,
        placed: 0,
    });
    let presence = if node.presence.keeps(&channel) {
        let (done, outcome) = oneshot::channel();
        let done = Box::new(move |members| {
            let _ = done.send(members);
        });
        node.members(&Grant::everything(), channel.clone(), done);
        let members = outcome.await.ok().and_then(Result::ok);
        members
            .and_then(|members| serde_json::from_slice(presence::members(&channel, &members).as_ref()).ok())
    } else {
        None
    };
    let bridged = node.bridge.as_ref().is_some_and(|bridge| bridge.bridged().holds(&channel));
    Ok(Json(Detail { row: info.into(), bridged, presence }).into_response())
}

/// `GET /admin/history?channel=`: the newest messages, as a poll answers them.
pub(super) async fn history(
    State(guard): State<Guard>,
    _: Reads,
    query: Result<Query<NameQuery>, QueryRejection>,
) -> Result<Response, Problem> {
    let channel = name(query)?;
    let (done, outcome) = oneshot::channel();
    let done = Box::new(move |page| {
        let _ = done.send(page);
    });
    let node = &guard.console.node;
    let limit = PageLimit { messages_max: HISTORY_MESSAGES as usize, ..POLL_PAGE };
    let start = Start::Tail(HISTORY_MESSAGES);
    node.broker.read(ChannelSet::new([channel]), start, limit, node.clock.now(), done);
    match outcome.await {
        Ok(Ok(page)) => {
            let mut body = Vec::new();
            poll::body(&page, &mut body);
            Ok(json(body))
        }
        Ok(Err(reason)) => Err(Problem::new(reason, reason.hint())),
        Err(_) => Err(Problem::new(Reason::Internal, "the broker gave no answer")),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Sent {
    channel: String,
    event: Option<String>,
    data: Option<String>,
    base64: Option<String>,
    key: Option<String>,
}

/// `POST /admin/publish`
pub(super) async fn publish(
    State(guard): State<Guard>,
    _: Acts,
    request: Request,
) -> Result<Response, Problem> {
    let node = &guard.console.node;
    let limits = node.limits();
    // Room for base64, or for escapes in JSON.
    let bytes_max = limits.message_bytes_max.saturating_mul(2).saturating_add(4 << 10);
    let bytes = read_body(request.into_body(), bytes_max, limits.body_max).await?;
    let sent: Sent = read_json(&bytes, "the message")?;
    let channel = refusals::channel(&sent.channel)?;
    let payload = sent.payload()?;
    if payload.as_bytes().len() > limits.message_bytes_max {
        let detail = format!("the message has more than {} bytes", limits.message_bytes_max);
        return Err(Problem::new(Reason::TooLarge, detail));
    }
    let event = sent.event.as_deref().filter(|event| !event.is_empty()).map(refusals::event).transpose()?;
    let key = sent.key.as_deref().filter(|key| !key.is_empty()).map(read_key).transpose()?;
    let publish = Publish {
        channel: channel.clone(),
        event,
        payload,
        key,
        publisher: Arc::from("console"),
        trace: None,
    };
    let receipt = node.publish(&Grant::everything(), publish).await?;
    let mut body = Vec::new();
    post::write_receipt(&channel, &receipt, &mut body);
    Ok(json(body))
}

impl Sent {
    fn payload(&self) -> Result<Payload, Problem> {
        match (&self.data, &self.base64) {
            (Some(data), None) => Payload::text(Bytes::copy_from_slice(data.as_bytes()))
                .map_err(|_| Problem::new(Reason::NotUtf8, "the message is not UTF-8")),
            (None, Some(base64)) => STANDARD
                .decode(base64)
                .map(|bytes| Payload::binary(bytes.into()))
                .map_err(|_| Problem::new(Reason::BadRequest, "`base64` is not base64")),
            _ => Err(Problem::new(Reason::BadRequest, "a message has either `data` or `base64`")),
        }
    }
}

/// `POST /admin/revoke`: as `POST /v1/revoke`.
pub(super) async fn revoke(
    State(guard): State<Guard>,
    _: Acts,
    request: Request<Body>,
) -> Result<Response, Problem> {
    revoke_as_said(&guard.console.node, request.into_body()).await
}

fn name(query: Result<Query<NameQuery>, QueryRejection>) -> Result<Channel, Problem> {
    let Query(NameQuery { channel }) = query.map_err(|_| cannot_be_read())?;
    Ok(refusals::channel(&channel)?)
}

fn cannot_be_read() -> Problem {
    Problem::new(Reason::BadRequest, "the query cannot be read")
}

fn json(body: Vec<u8>) -> Response {
    let mut response = body.into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

impl From<ChannelInfo> for Row {
    fn from(info: ChannelInfo) -> Row {
        let ChannelInfo { channel, receivers, messages, bytes, placed } = info;
        Row { channel: channel.as_str().into(), receivers: receivers.into(), messages, bytes, placed }
    }
}
