//! What is live: figures, and the messages of a channel. Both are subscriptions like any other, through a pipe to an outlet,
//! with the rights of the session; they end with it.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::Extension;
use axum::Json;
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, Request, State};
use axum::http::{HeaderValue, Response, header};
use axum::response::IntoResponse as _;
use bytes::Bytes;
use serde::Deserialize;
use tidewire_hub::channel::{Channel, ChannelSet};
use tidewire_hub::grant::{Grant, Scope};
use tidewire_hub::reason::Reason;

use super::console::Watching;
use super::guard::{Guard, Looks, Reads};
use super::sessions::{Role, Session};
use crate::api::{Problem, Relays};
use crate::control::passes::Pass;
use crate::refusals;

/// Messages of before that a tail begins with.
const TAIL_MESSAGES: usize = 100;

/// What a session may do to channels. Its rights end with its time.
pub(super) fn grant(session: &Session) -> Grant {
    let everything = Grant { ends_at_ms: Some(session.ends_at_ms), ..Grant::everything() };
    match session.role {
        Role::Admin => everything,
        Role::Viewer | Role::Watcher => Grant { publish: Scope::none(), admin: false, ..everything },
    }
}

/// `GET /admin/feed`: what every node did, once a second, as events named `figures`.
pub(super) async fn figures(
    State(guard): State<Guard>,
    Extension(relays): Extension<Relays>,
    Looks(session): Looks,
    request: Request,
) -> Result<Response<Body>, Problem> {
    let channel = guard.console.channel.clone();
    let channel = channel.ok_or_else(|| Problem::new(Reason::Internal, "there is no channel for figures"))?;
    let watching = guard.console.watch();
    subscribe(&guard, &relays, session, request, channel, "/c/console", Some(watching)).await
}

#[derive(Deserialize)]
pub(super) struct TailQuery {
    channel: String,
}

/// `GET /admin/tail?channel=`: the newest messages of a channel, and those that come.
pub(super) async fn tail(
    State(guard): State<Guard>,
    Extension(relays): Extension<Relays>,
    Reads(session): Reads,
    query: Result<Query<TailQuery>, QueryRejection>,
    request: Request,
) -> Result<Response<Body>, Problem> {
    let Query(query) = query.map_err(|_| Problem::new(Reason::BadRequest, "`channel` is missing"))?;
    let channel = refusals::channel(&query.channel)?;
    let target = format!("/c/console?format=json&tail={TAIL_MESSAGES}");
    subscribe(&guard, &relays, session, request, channel, &target, None).await
}

/// `GET /admin/figures`: what this node did in the last second, for a page that the feed does not reach.
pub(super) async fn latest(State(guard): State<Guard>, Looks(_): Looks) -> Result<Response<Body>, Problem> {
    let latest = guard.console.latest.load_full();
    let latest = latest.ok_or_else(|| Problem::new(Reason::Overloaded, "nothing has been counted yet"))?;
    Ok(Json(&*latest).into_response())
}

async fn subscribe(
    guard: &Guard,
    relays: &Relays,
    session: Session,
    request: Request,
    channel: Channel,
    target: &str,
    watching: Option<Watching>,
) -> Result<Response<Body>, Problem> {
    let (grant, channels) = (Arc::new(grant(&session)), ChannelSet::new([channel]));
    let pass = Pass::Granted { grant, channels };
    let issued = guard.console.plane.passes().issue(pass);
    let (head, _) = request.into_parts();
    let mut asked = Request::builder().uri(target).header(header::ACCEPT, "text/event-stream");
    if let Some(id) = head.headers.get("last-event-id") {
        asked = asked.header("last-event-id", id);
    }
    let asked = asked.body(Body::empty());
    let mut asked =
        asked.map_err(|_| Problem::new(Reason::Internal, "the subscription cannot be written"))?;
    *asked.extensions_mut() = head.extensions;
    let mut response = relays.relay(asked, issued.number()).await?;
    let body = std::mem::take(response.body_mut());
    *response.body_mut() =
        Body::new(WhileLoggedIn { body, over: Box::pin(session.ended()), _watching: watching });
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store, no-transform"));
    Ok(response)
}

/// A stream that ends when its session does.
struct WhileLoggedIn {
    body: Body,
    over: Pin<Box<dyn Future<Output = ()> + Send>>,
    _watching: Option<Watching>,
}

impl http_body::Body for WhileLoggedIn {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, Infallible>>> {
        if self.over.as_mut().poll(context).is_ready() {
            return Poll::Ready(None);
        }
        // A stream that breaks has ended.
        Pin::new(&mut self.body).poll_frame(context).map(|frame| frame.and_then(Result::ok).map(Ok))
    }
}
