//! Connections: who is here, and ending one. Each outlet is asked, a piece of it at a time, and nothing is kept for it.

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, Request, State};
use axum::response::{IntoResponse as _, Response};
use serde::{Deserialize, Serialize};
use tidewire_hub::admit::{ConnId, OutletId, Transport};
use tidewire_hub::channel::Channel;
use tidewire_hub::deliver::{Command, Outlet};
use tidewire_hub::grant::Holder;
use tidewire_hub::reason::Reason;
use tidewire_hub::survey::{Sighting, Survey, Surveyed};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::guard::{Acts, Guard, Looks};
use crate::api::{Problem, read_body, read_json};
use crate::crowd::Seat;
use crate::refusals;

/// Connections in one answer.
const SHOWN_MAX: usize = 200;

/// How long an outlet has for one piece. One that has ended with a drain never answers.
const ANSWER_MAX: Duration = Duration::from_secs(2);

const BODY_BYTES_MAX: usize = 1 << 10;

#[derive(Deserialize)]
pub(super) struct ListQuery {
    channel: Option<String>,
    who: Option<String>,
    address: Option<String>,
    /// Part of an address, a subject, a key's name, a transport or a channel.
    find: Option<String>,
    #[serde(default)]
    order: Order,
}

/// Which connections come first where there are more than are shown.
#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Order {
    /// As they are found.
    #[default]
    Any,
    /// Those that most waits for: the slow readers.
    Backlog,
}

#[derive(Serialize)]
struct Rows {
    connections: Vec<Row>,
    /// How many match, those that are not shown included.
    matching: usize,
    /// How many there are.
    all: usize,
}

#[derive(Serialize)]
struct Row {
    /// What a kick names it by.
    id: String,
    transport: &'static str,
    who: Who,
    address: String,
    channels: Vec<Box<str>>,
    channel_count: usize,
    age_ms: u64,
    messages: u32,
    backlog_bytes: usize,
}

#[derive(Serialize)]
struct Who {
    kind: &'static str,
    name: Option<Box<str>>,
    token: Option<Box<str>>,
}

/// `GET /admin/connections?channel=&who=&address=&find=&order=any|backlog`
pub(super) async fn list(
    State(guard): State<Guard>,
    Looks(_): Looks,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Result<Response, Problem> {
    let query = query.map_err(|_| Problem::new(Reason::BadRequest, "the query cannot be read"))?;
    let Query(ListQuery { channel, who, address, find, order }) = query;
    let channel = channel.as_deref().filter(|name| !name.is_empty()).map(refusals::channel).transpose()?;
    let [who, address, find] = [who, address, find].map(Option::unwrap_or_default);
    let busy = |_| Problem::new(Reason::Overloaded, "the connections are being looked at already");
    let _turn = timeout(ANSWER_MAX, guard.console.surveys.acquire()).await.map_err(busy)?;
    let mut rows = Rows { connections: Vec::new(), matching: 0, all: 0 };
    for (id, outlet) in guard.console.plane.outlets() {
        let mut from = Some(0);
        while let Some(place) = from {
            let Some(Surveyed { found, next }) = ask(&outlet, place, channel.clone()).await else { break };
            from = next;
            rows.all += found.len();
            for sighting in &found {
                let row = Row::of(id, sighting);
                let is_meant = row.who.matches(&who) && row.address.starts_with(&address) && row.holds(&find);
                rows.matching += usize::from(is_meant);
                if is_meant && (order == Order::Backlog || rows.connections.len() < SHOWN_MAX) {
                    rows.connections.push(row);
                }
            }
            if order == Order::Backlog {
                // Piece by piece, so that a crowd of any size costs the memory of one piece.
                rows.connections.sort_by_key(|row| Reverse(row.backlog_bytes));
                rows.connections.truncate(SHOWN_MAX);
            }
        }
    }
    Ok(Json(rows).into_response())
}

/// Asks for one piece of an outlet's connections.
async fn ask(outlet: &Arc<dyn Outlet>, from: usize, channel: Option<Channel>) -> Option<Surveyed> {
    let (done, outcome) = oneshot::channel();
    let done = Box::new(move |surveyed| {
        let _ = done.send(surveyed);
    });
    let survey = Arc::new(Survey::new(from, channel, done));
    // Only a `Deliver` or a change of presence can find an inbox full.
    let _ = outlet.send(Command::Survey(survey));
    timeout(ANSWER_MAX, outcome).await.ok()?.ok()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Kicked {
    id: String,
}

/// `POST /admin/kick`: ends a connection as one whose rights do not suffice. Its client may come back, and a browser's
/// `EventSource` does.
pub(super) async fn kick(State(guard): State<Guard>, _: Acts, request: Request) -> Result<Response, Problem> {
    let limits = guard.console.node.limits();
    let bytes = read_body(request.into_body(), BODY_BYTES_MAX, limits.body_max).await?;
    let Kicked { id } = read_json(&bytes, "the kick")?;
    let id = id.split_once('-').and_then(|(outlet, conn)| Some((outlet.parse().ok()?, conn.parse().ok()?)));
    let (outlet, conn) = id.ok_or_else(|| Problem::new(Reason::BadRequest, "`id` names no connection"))?;
    // It names this connection and no other, now or later: if it has gone already, nothing happens.
    guard.console.plane.close(OutletId(outlet), ConnId(conn), Reason::Forbidden);
    tracing::info!(outlet, conn, "a connection was ended from the console");
    Ok(Json(serde_json::json!({})).into_response())
}

impl Row {
    fn of(outlet: OutletId, sighting: &Sighting) -> Row {
        let place = sighting.place.as_ref().and_then(|place| place.as_any().downcast_ref::<Seat>());
        let peer = sighting.peer.ip().to_canonical();
        let address = place.and_then(Seat::address).unwrap_or(peer);
        Row {
            id: format!("{}-{}", outlet.0, sighting.conn.0),
            transport: match (sighting.transport, sighting.is_framed) {
                (Transport::Sse, _) => "sse",
                (Transport::Ws, false) => "ws",
                (Transport::Ws, true) => "ws tidewire.v1",
                (Transport::Poll, _) => "poll",
            },
            who: Who::of(&sighting.grant.holder),
            address: address.to_string(),
            channels: sighting.channels.iter().map(|channel| channel.as_str().into()).collect(),
            channel_count: sighting.channel_count,
            age_ms: sighting.age_ms,
            messages: sighting.messages,
            backlog_bytes: sighting.backlog_bytes,
        }
    }

    /// Whether `part` stands in anything that is shown as text.
    fn holds(&self, part: &str) -> bool {
        part.is_empty()
            || self.who.matches(part)
            || self.address.contains(part)
            || self.transport.contains(part)
            || self.channels.iter().any(|channel| channel.contains(part))
    }
}

impl Who {
    fn of(holder: &Holder) -> Who {
        match holder {
            Holder::Developer => Who { kind: "developer", name: None, token: None },
            Holder::Key(name) => Who { kind: "key", name: Some((**name).into()), token: None },
            Holder::Token(token) => {
                Who { kind: "token", name: Some(token.subject.clone()), token: token.id.clone() }
            }
        }
    }

    fn matches(&self, asked: &str) -> bool {
        let has = |text: &Option<Box<str>>| text.as_ref().is_some_and(|text| text.contains(asked));
        asked.is_empty() || self.kind == asked || has(&self.name) || has(&self.token)
    }
}
