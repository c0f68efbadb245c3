//! The table of addresses.

use std::sync::Arc;

use axum::Router;
use axum::http::header;
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use tidewire_engine::pipes::Pipes;
use tidewire_hub::reason::Reason;

use super::door::door;
use super::problem::Problem;
use super::relay::Relays;
use super::remember::remember;
use super::{assets, batch, channel, control, health, revoke, tickets};
use crate::admin::{self, Console};
use crate::metrics::Metrics;
use crate::node::Node;

/// What the answers are made from.
#[derive(Clone)]
pub struct Parts {
    /// The node.
    pub node: Arc<Node>,
    /// The way to an outlet.
    pub pipes: Pipes,
    /// What `/metrics` shows.
    pub metrics: Arc<Metrics>,
    /// The console, which is where `/metrics` is.
    pub console: Option<Arc<Console>>,
}

/// Everything that clients may ask for; with `admin`, what machines that watch us ask for too. `demo` are the addresses of
/// the demonstrations, where they are served.
pub fn router(parts: &Parts, admin: bool, demo: Option<Router>) -> Router {
    let no_channel = get(channel::no_channel).post(channel::no_channel).fallback(not_on_a_channel);
    let channels = get(channel::channel).post(channel::channel).fallback(not_on_a_channel);
    let routes = Router::new()
        .route("/c/", no_channel)
        .route("/c/{*channels}", channels)
        .route("/v1/publish", post(batch::batch))
        .route("/v1/tickets", post(tickets::tickets))
        .route("/v1/revoke", post(revoke::revoke))
        .route("/v1/channels", get(control::channels))
        .route("/v1/channels/{channel}/history", get(control::history))
        .route("/v1/channels/{channel}/presence", get(control::presence))
        .route("/inspector/{file}", get(assets::inspector_file))
        .route("/client.js", get(assets::client));
    if admin {
        return with_console(behind_the_door(routes.merge(watched()), parts, demo), parts);
    }
    remembered(behind_the_door(routes, parts, demo), parts)
}

/// What the admin listener answers.
pub fn admin_router(parts: &Parts) -> Router {
    with_console(behind_the_door(watched(), parts, None), parts)
}

fn watched() -> Router<Parts> {
    Router::new()
        .route("/livez", get(health::livez))
        .route("/readyz", get(health::readyz))
        .route("/metrics", get(health::metrics))
}

fn behind_the_door(routes: Router<Parts>, parts: &Parts, more: Option<Router>) -> Router {
    routes
        .with_state(parts.clone())
        .merge(more.unwrap_or_default())
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(from_fn_with_state(parts.node.clone(), door))
}

/// The console has a guard of its own.
fn with_console(routes: Router, parts: &Parts) -> Router {
    let routes = match parts.console.clone() {
        Some(console) => {
            let relays = Relays(parts.clone());
            routes.merge(admin::routes(console, parts.node.clone(), relays))
        }
        None => routes,
    };
    remembered(routes, parts)
}

fn remembered(routes: Router, parts: &Parts) -> Router {
    routes.layer(from_fn_with_state(parts.node.clone(), remember))
}

async fn not_found() -> Problem {
    Problem::new(Reason::NotFound, "there is nothing at this address")
}

async fn not_on_a_channel() -> Problem {
    Problem::new(Reason::MethodNotAllowed, "a channel knows GET and POST")
}

/// axum, which has the table, adds the `Allow` of the address.
async fn method_not_allowed() -> Response {
    let problem = Problem::new(Reason::MethodNotAllowed, "this address does not know that method");
    let mut response = problem.into_response();
    response.headers_mut().remove(header::ALLOW);
    response
}
