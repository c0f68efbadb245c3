//! The demonstrations of `serve --demo`: small applications on the node that serves them, in dev mode only.
//!
//! Each is a file here, or a file with a folder, and a folder of the same name in `demo/` at the repository's root. Here is
//! what its backend would have: `routes`, below `/demo/api/`, and `feed`, which publishes by itself. The page has the rest,
//! over the same channels as any other client.

mod answers;
mod bell;
mod board;
mod chat;
#[cfg(target_os = "linux")]
mod compare;
mod cursors;
mod document;
mod feed;
mod game;
mod host;
mod pages;
mod scores;
mod store;
mod ticker;
mod tokens;

use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use axum::routing::get;
use bytes::Bytes;
use serde::Serialize;
use tidewire_auth::{DevGate, GuardedGate, MemoryVault, Tickets};
use tidewire_hub::channel::Channel;
use tidewire_hub::grant::{Grant, Scope};
use tidewire_hub::message::{EventName, Payload};
use tidewire_hub::pattern::Pattern;
use tidewire_hub::publish::{Publish, Receipt};
use tidewire_hub::reason::Reason;
use tidewire_hub::revocation::Revocations;
use tidewire_transport::refusal::Refusal;

use crate::config::{Settings, Unusable};
use crate::node::Node;
use document::Document;
use store::Store;
use tokens::Tokens as Signer;

/// What every demonstration works with.
pub(crate) struct Demo {
    node: Arc<Node>,
    /// Whether no other machine can reach the demonstrations.
    #[cfg(target_os = "linux")]
    is_local: bool,
    /// Signs tokens for visitors.
    tokens: Signer,
    bell: bell::Desk,
    board: Document<board::Board>,
    chat: Document<chat::Rooms>,
    chat_inboxes: Document<chat::Inboxes>,
    #[cfg(target_os = "linux")]
    compare: compare::Stage,
    cursors: tokio::sync::Mutex<cursors::Seats>,
    feed: Document<feed::Posts>,
    scores: Document<scores::League>,
    game: game::Game,
    ticker: ticker::Ticker,
    /// A demonstration's backend may do everything, as one with an API key may.
    grant: Grant,
}

/// What the demonstrations need of a node's configuration, where nobody has said otherwise.
pub fn furnish(settings: &mut Settings) {
    settings.namespaces.entry("demo-chat".into()).or_default().presence.get_or_insert(true);
    cursors::furnish(settings);
    game::furnish(settings);
    ticker::furnish(settings);
}

/// Channels that nobody hears, and nobody writes to, without a token.
const KEPT: [&str; 3] = ["user:*", "demo-bell", "demo-bell:*"];

/// The demonstrations before there is a node: what they keep, and how they know their visitors.
pub struct Demos {
    store: Store,
    tokens: Signer,
}

/// Opens the store.
///
/// # Errors
/// The system has no random numbers for a key.
pub fn open(settings: &Settings) -> Result<Demos, Unusable> {
    let path = settings.demo_store.clone().or_else(usual_place);
    let store = Store::open(path.as_deref());
    let tokens = Signer::open(&store)?;
    Ok(Demos { store, tokens })
}

impl Demos {
    /// The gate of a node with the demonstrations, in place of `dev`: what is private in them is private in dev mode, too.
    ///
    /// # Errors
    /// The system has no random numbers for tickets.
    pub fn gate(&self, dev: DevGate, revocations: Arc<Revocations>) -> Result<GuardedGate, Unusable> {
        let unusable = |error: &dyn std::fmt::Display| Unusable::new("demo", error);
        let kept = Scope::new(KEPT.iter().filter_map(|pattern| Pattern::parse(pattern).ok()));
        let tickets = Tickets::new(Arc::new(MemoryVault::default())).map_err(|error| unusable(&error))?;
        let verifier = self.tokens.verifier.clone();
        GuardedGate::new(dev, verifier, kept, tickets, revocations).map_err(|error| unusable(&error))
    }

    /// Starts them on `node`, and answers what is below `/` and `/demo/`.
    pub fn start(self, settings: &Settings, node: &Arc<Node>) -> Router {
        let Demos { store, tokens } = self;
        let now_ms = node.clock.now().wall_ms;
        let demo = Arc::new(Demo {
            node: node.clone(),
            #[cfg(target_os = "linux")]
            is_local: !settings.dev_public,
            tokens,
            bell: bell::open(&store),
            board: board::open(&store),
            chat: chat::open(&store),
            chat_inboxes: chat::open_inboxes(&store),
            #[cfg(target_os = "linux")]
            compare: compare::Stage::default(),
            cursors: tokio::sync::Mutex::default(),
            feed: feed::open(&store),
            scores: scores::open(&store),
            game: game::open(&store, now_ms),
            ticker: ticker::open(&store, now_ms),
            grant: Grant::everything(),
        });
        tokio::spawn(bell::feed(demo.clone()));
        tokio::spawn(cursors::feed(demo.clone()));
        tokio::spawn(game::feed(demo.clone()));
        tokio::spawn(host::feed(demo.clone(), settings.listen));
        tokio::spawn(scores::feed(demo.clone()));
        tokio::spawn(ticker::feed(demo.clone()));
        router(demo)
    }
}

/// The demonstrations' addresses.
fn router(demo: Arc<Demo>) -> Router {
    let routes = Router::new()
        .route("/", get(pages::index))
        .route("/demo/{*file}", get(pages::file))
        .merge(bell::routes())
        .merge(board::routes())
        .merge(chat::routes())
        .merge(cursors::routes())
        .merge(feed::routes())
        .merge(game::routes())
        .merge(scores::routes())
        .merge(ticker::routes());
    #[cfg(target_os = "linux")]
    let routes = routes.merge(compare::routes());
    routes.with_state(demo)
}

/// Where state is kept that nobody has named a place for (XDG Base Directory specification); nothing on a machine
/// without homes.
fn usual_place() -> Option<PathBuf> {
    let folder = |name| std::env::var_os(name).map(PathBuf::from).filter(|folder| folder.is_absolute());
    let state = folder("XDG_STATE_HOME").or_else(|| Some(folder("HOME")?.join(".local/state")))?;
    Some(state.join("tidewire/demo.redb"))
}

impl Demo {
    /// Publishes `value` as JSON.
    ///
    /// # Errors
    /// Those of [`Node::publish`].
    async fn say(
        &self,
        channel: &str,
        event: Option<&str>,
        value: &impl Serialize,
    ) -> Result<Receipt, Refusal> {
        let payload = serde_json::to_vec(value).ok().and_then(|json| Payload::text(Bytes::from(json)).ok());
        let payload = payload.ok_or_else(|| Refusal::new(Reason::Internal, "this is no JSON"))?;
        self.publish(channel, event, payload).await
    }

    /// Publishes a change that was stored. Where that fails it has happened all the same: whoever hears the next one finds
    /// its version missing, and reads anew.
    async fn tell(&self, channel: &str, event: &str, change: &impl Serialize) {
        if let Err(refusal) = self.say(channel, Some(event), change).await {
            tracing::debug!("a change on `{channel}` was stored and not told: {}", refusal.detail);
        }
    }

    async fn publish(
        &self,
        channel: &str,
        event: Option<&str>,
        payload: Payload,
    ) -> Result<Receipt, Refusal> {
        let unnamed = |_| Refusal::new(Reason::Internal, "a demonstration's channel has a bad name");
        let channel = Channel::parse(channel).map_err(unnamed)?;
        let event = event.map(EventName::parse).transpose();
        let event = event.map_err(|_| Refusal::new(Reason::EventInvalid, "this is no name of an event"))?;
        let publish = Publish {
            channel,
            event,
            payload,
            key: None,
            publisher: self.grant.holder.publisher(),
            trace: None,
        };
        self.node.publish(&self.grant, publish).await
    }

    /// Milliseconds on a clock that never steps.
    fn uptime_ms(&self) -> u64 {
        self.node.clock.now().monotonic_ms
    }

    /// Milliseconds since 1970.
    fn now_ms(&self) -> u64 {
        self.node.clock.now().wall_ms
    }
}
