//! The stock ticker: prices that change a hundred times a second, and the history of each.
//!
//! A tick is one message with all that changed in it. A message for each price was measured beside it, on one channel and on
//! one for each share, both with `slow_reader = "conflate"` and 200 streams: ten times the bytes (18 against 1.9 kB a second
//! and reader), half as much CPU again (11 against 7 ms a second), and a hundred events a second in each browser where four
//! do. What it would have for that is that a slow reader misses no share; with ticks it is told, and reads the table again.

mod market;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;
use tidewire_hub::reason::Reason;
use tidewire_transport::refusal::Refusal;
use tokio::sync::Mutex;
use tokio::time::{MissedTickBehavior, interval};

use super::Demo;
use super::document::Document;
use super::store::Store;
use crate::config::namespace::SlowReader;
use crate::config::{NamespaceSettings, Settings};
use market::Market;

/// Where ticks are told; the history of a share is on the channel of its symbol, `demo-ticker:AMAI`.
const CHANNEL: &str = "demo-ticker";

/// Four times a second: what an eye can follow.
const TICK_MS: u64 = 250;

/// Ticks from one time that the market is stored to the next. What a crash loses is found to be missing by every page.
const TICKS_PER_STORE: u64 = 40;

/// What a channel keeps: ticks of a minute and a half, which is how long a page may be away without reading anew, and points
/// of the last hour.
const MESSAGES_MAX: usize = 360;

/// The market as it is, and as it was stored last.
pub(super) struct Ticker {
    market: Mutex<Market>,
    stored: Document<Market>,
}

/// What a page reads.
#[derive(Serialize)]
pub(super) struct Shown {
    version: u64,
    shares: Vec<market::Share>,
}

/// The market of the store, or a new one.
pub(super) fn open(store: &Store, now_ms: u64) -> Ticker {
    let mut stored = Document::open(store, "ticker", || Market::open(now_ms, now_ms, TICK_MS));
    let mut market = stored.as_opened().clone();
    if !market.is_whole() {
        market = Market::open(now_ms, now_ms, TICK_MS);
    }
    market.go_on(now_ms);
    Ticker { market: Mutex::new(market), stored }
}

/// A reader that is too slow for ticks skips some, where nobody has said otherwise.
pub(super) fn furnish(settings: &mut Settings) {
    if settings.namespaces.contains_key(CHANNEL) {
        return;
    }
    let own = NamespaceSettings {
        messages_max: Some(MESSAGES_MAX),
        slow_reader: Some(SlowReader::Conflate),
        ..NamespaceSettings::default()
    };
    settings.namespaces.insert(CHANNEL.into(), own);
    settings.limits.conflate.push(CHANNEL.into());
}

/// Below `/demo/api/`.
pub(super) fn routes() -> Router<Arc<Demo>> {
    Router::new().route("/demo/api/ticker", get(shares))
}

async fn shares(State(demo): State<Arc<Demo>>) -> Json<Shown> {
    let market = demo.ticker.market.lock().await;
    Json(Shown { version: market.version, shares: market.shares().to_vec() })
}

/// Lets the market move for ever.
pub(super) async fn feed(demo: Arc<Demo>) {
    if tell_the_past(&demo).await.is_err() {
        return;
    }
    // From here on it outlives the server, however soon that ends.
    store(&demo, demo.ticker.market.lock().await.clone()).await;
    let mut ticks = interval(Duration::from_millis(TICK_MS));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        match tick(&demo).await {
            // While draining every publish is refused, and the next one would be too.
            Err(refusal) if refusal.reason == Reason::Draining => return,
            // Whoever missed it reads anew.
            Err(_) | Ok(()) => {}
        }
    }
}

async fn tick(demo: &Demo) -> Result<(), Refusal> {
    let now_ms = demo.now_ms();
    let (tick, points, to_store) = {
        let mut market = demo.ticker.market.lock().await;
        let tick = market.tick(now_ms);
        let points: Vec<_> = market.points(now_ms).map(|(symbol, point)| (channel(symbol), point)).collect();
        (tick, points, market.version.is_multiple_of(TICKS_PER_STORE).then(|| market.clone()))
    };
    demo.say(CHANNEL, Some("tick"), &tick).await?;
    for (channel, point) in points {
        demo.say(&channel, Some("point"), &point).await?;
    }
    if let Some(market) = to_store {
        store(demo, market).await;
    }
    Ok(())
}

/// Stores the market as it is. Where that cannot be done the log says so, and the market goes on.
async fn store(demo: &Demo, market: Market) {
    let stored = demo.ticker.stored.change(|stored| {
        *stored = market;
        Ok(())
    });
    let _ = stored.await.map(drop);
}

/// Without a log that outlives the server the channels are empty at the start, and what the table knows is told to them.
async fn tell_the_past(demo: &Demo) -> Result<(), Refusal> {
    let points: Vec<_> = {
        let market = demo.ticker.market.lock().await;
        let past = market.past(demo.now_ms(), TICK_MS);
        past.map(|(symbol, point)| (channel(symbol), point)).collect()
    };
    for (channel, point) in points {
        demo.say(&channel, Some("point"), &point).await?;
    }
    Ok(())
}

fn channel(symbol: &str) -> String {
    format!("{CHANNEL}:{symbol}")
}
