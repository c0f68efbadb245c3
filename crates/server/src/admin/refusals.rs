//! Who was turned away, and why: for whoever is asked "why does it not work".

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use serde::Serialize;

use super::guard::{Guard, Looks};
use crate::turned_away::Turned;

/// One refusal as the page shows it.
#[derive(Serialize)]
struct Row {
    time: u64,
    status: u16,
    code: &'static str,
    detail: Box<str>,
    hint: &'static str,
    client: Option<String>,
    origin: Option<Box<str>>,
    asked: &'static str,
    path: Box<str>,
    trace_id: Option<Box<str>>,
}

#[derive(Serialize)]
struct Rows {
    refusals: Vec<Row>,
}

/// `GET /admin/refusals`: all that are remembered, newest first.
pub(super) async fn list(State(guard): State<Guard>, Looks(_): Looks) -> Response {
    let refusals = guard.console.node.turned_away.newest().into_iter().map(Row::from).collect();
    Json(Rows { refusals }).into_response()
}

impl From<Turned> for Row {
    fn from(turned: Turned) -> Row {
        let Turned { time_ms, reason, detail, client, origin, asked, path, trace_id } = turned;
        Row {
            time: time_ms,
            status: reason.status(),
            code: reason.code(),
            detail,
            hint: reason.hint(),
            client: client.map(|client| client.to_string()),
            origin,
            asked,
            path,
            trace_id,
        }
    }
}
