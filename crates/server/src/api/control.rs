//! The control API's reading half: which channels there are, what they keep, and who is there (`docs/protocol.md`, "Control API").

use std::sync::Arc;

use axum::body::Body;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderValue, Response, header};
use axum::response::IntoResponse as _;
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use tidewire_hub::channel::ChannelSet;
use tidewire_hub::grant::Grant;
use tidewire_hub::limits::{POLL_PAGE, PageLimit};
use tidewire_hub::position::{Cursor, Start};
use tidewire_hub::reason::Reason;
use tidewire_transport::{poll, presence};
use tokio::sync::oneshot;

use super::Parts;
use super::problem::Problem;
use super::publish::{Receivers, no_store};
use crate::refusals;

/// Channels in an answer when nobody says how many.
const CHANNELS_DEFAULT: usize = 100;
const CHANNELS_MAX: usize = 1_000;

#[derive(Deserialize)]
pub(super) struct ChannelsQuery {
    limit: Option<usize>,
}

/// `GET /v1/channels?limit=`.
pub(super) async fn channels(
    State(parts): State<Parts>,
    Extension(grant): Extension<Arc<Grant>>,
    query: Result<Query<ChannelsQuery>, QueryRejection>,
) -> Result<Response<Body>, Problem> {
    if !grant.admin {
        return Err(Problem::new(Reason::Forbidden, "the list of channels is for administrators"));
    }
    let Query(query) = query.map_err(|_| limit_is_a_number())?;
    let limit = query.limit.unwrap_or(CHANNELS_DEFAULT).min(CHANNELS_MAX);
    // The server's own is not among those that clients have.
    let infos = parts.node.broker.channels(limit.saturating_add(1));
    let channels: Vec<Row<'_>> = infos
        .iter()
        .filter(|info| !info.channel.is_reserved())
        .take(limit)
        .map(|info| Row {
            channel: info.channel.as_str(),
            receivers: info.receivers.into(),
            messages: info.messages,
            bytes: info.bytes,
        })
        .collect();
    let mut response = Json(Rows { channels }).into_response();
    no_store(response.headers_mut());
    Ok(response)
}

#[derive(Serialize)]
struct Rows<'a> {
    channels: Vec<Row<'a>>,
}

#[derive(Serialize)]
struct Row<'a> {
    channel: &'a str,
    receivers: Receivers,
    messages: usize,
    bytes: usize,
}

#[derive(Deserialize)]
pub(super) struct HistoryQuery {
    cursor: Option<String>,
    tail: Option<u32>,
    limit: Option<usize>,
}

/// `GET /v1/channels/{channel}/history?cursor=&tail=&limit=`: a page as a poll answers it.
pub(super) async fn history(
    State(parts): State<Parts>,
    Extension(grant): Extension<Arc<Grant>>,
    path: Result<Path<String>, PathRejection>,
    query: Result<Query<HistoryQuery>, QueryRejection>,
) -> Result<Response<Body>, Problem> {
    let Path(name) = path.map_err(|_| Problem::new(Reason::ChannelInvalid, "the path cannot be decoded"))?;
    let Query(query) = query.map_err(|_| limit_is_a_number())?;
    let channel = refusals::channel(&name)?;
    let start = start(&query);
    refusals::may_subscribe(&grant, &channel)?;
    if !matches!(start, Start::After(_)) {
        refusals::may_read_history(&grant, &channel)?;
    }
    let messages_max = query.limit.unwrap_or(POLL_PAGE.messages_max).clamp(1, POLL_PAGE.messages_max);
    let limit = PageLimit { messages_max, ..POLL_PAGE };
    let (done, outcome) = oneshot::channel();
    let done = Box::new(move |page| {
        let _ = done.send(page);
    });
    let node = &parts.node;
    node.broker.read(ChannelSet::new([channel]), start, limit, node.clock.now(), done);
    let page = match outcome.await {
        Ok(Ok(page)) => page,
        Ok(Err(reason)) => return Err(Problem::new(reason, reason.hint())),
        Err(_) => return Err(Problem::new(Reason::Internal, "the broker gave no answer")),
    };
    let mut json = Vec::new();
    poll::body(&page, &mut json);
    Ok(self::json(json))
}

/// `GET /v1/channels/{channel}/presence`: who is connected.
pub(super) async fn presence(
    State(parts): State<Parts>,
    Extension(grant): Extension<Arc<Grant>>,
    path: Result<Path<String>, PathRejection>,
) -> Result<Response<Body>, Problem> {
    let Path(name) = path.map_err(|_| Problem::new(Reason::ChannelInvalid, "the path cannot be decoded"))?;
    let channel = refusals::channel(&name)?;
    let (done, outcome) = oneshot::channel();
    let done = Box::new(move |members| {
        let _ = done.send(members);
    });
    parts.node.members(&grant, channel.clone(), done);
    let members = match outcome.await {
        Ok(members) => members?,
        Err(_) => return Err(Problem::new(Reason::Internal, "nobody answered who is connected")),
    };
    Ok(json(presence::members(&channel, &members)))
}

/// Unlike a stream, history begins at its beginning unless told otherwise.
fn start(query: &HistoryQuery) -> Start {
    match (query.cursor.as_deref(), query.tail) {
        (None | Some(""), Some(tail)) => Start::Tail(tail.clamp(1, 1_000)),
        (None | Some("" | "earliest"), _) => Start::Earliest,
        (Some(cursor), _) => Start::After(Cursor::parse(cursor.as_bytes())),
    }
}

fn json(body: impl Into<Body>) -> Response<Body> {
    let mut response = Response::new(body.into());
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    no_store(response.headers_mut());
    response
}

fn limit_is_a_number() -> Problem {
    Problem::new(Reason::BadRequest, "`limit` and `tail` are whole numbers")
}
