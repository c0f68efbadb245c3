//! The table of the console's addresses.

use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{any, get, post};
use tidewire_hub::reason::Reason;

use super::console::Console;
use super::guard::{Guard, guard};
use super::{channels, connections, feed, files, login, refusals};
use crate::api::{Problem, Relays};
use crate::node::Node;

/// Everything below `/admin`. `listener` is the node as those see it who come by this listener.
pub(crate) fn routes<S>(console: Arc<Console>, listener: Arc<Node>, relays: Relays) -> Router<S>
where
    S: Clone + Send + Sync + 'static,
{
    let guarded = Guard { console, listener };
    Router::new()
        .route("/admin", get(files::page))
        .route("/admin/", get(files::page))
        .route("/admin/assets/{file}", get(files::file))
        .route("/admin/session", get(login::session))
        .route("/admin/login", post(login::login))
        .route("/admin/logout", post(login::logout))
        .route("/admin/feed", get(feed::figures))
        .route("/admin/tail", get(feed::tail))
        .route("/admin/figures", get(feed::latest))
        .route("/admin/channels", get(channels::list))
        .route("/admin/channel", get(channels::one))
        .route("/admin/history", get(channels::history))
        .route("/admin/publish", post(channels::publish))
        .route("/admin/connections", get(connections::list))
        .route("/admin/kick", post(connections::kick))
        .route("/admin/refusals", get(refusals::list))
        .route("/admin/revoke", post(channels::revoke))
        .route("/admin/{*rest}", any(nothing))
        .method_not_allowed_fallback(nothing)
        .layer(axum::Extension(relays))
        .layer(from_fn_with_state(guarded.clone(), guard))
        .with_state(guarded)
}

async fn nothing() -> Problem {
    Problem::new(Reason::NotFound, "there is nothing at this address")
}
