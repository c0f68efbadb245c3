//! Live scores: a league that plays on, told on one channel for each ground under one event for each kind of news.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;
use tidewire_hub::reason::Reason;
use tokio::time::{MissedTickBehavior, interval};

use super::document::Document;
use super::{Demo, store::Store};

mod league;

pub(super) use league::League;
use league::{Clock, GROUNDS, Happening, Match, News, Row, What};

/// Where the minute is told, every second, and where the table is. Each ground has a channel of its own.
const CLOCK: &str = "demo-scores:clock";
const TABLE: &str = "demo-scores:table";

/// Every league is the same one, whose first round is a lively one: nobody waits for longer than ten seconds for three news.
const SEED: u64 = 60;

/// What a page reads.
#[derive(Serialize)]
struct Shown {
    clock: Clock,
    matches: Vec<OfGround>,
    table: Vec<Row>,
}

#[derive(Serialize)]
struct OfGround {
    ground: &'static str,
    name: &'static str,
    #[serde(flatten)]
    of: Match,
}

/// The league of the store, or a new one.
pub(super) fn open(store: &Store) -> Document<League> {
    Document::open(store, "scores", || League::new(SEED))
}

/// Below `/demo/api/`.
pub(super) fn routes() -> Router<Arc<Demo>> {
    Router::new().route("/demo/api/scores", get(shown))
}

async fn shown(State(demo): State<Arc<Demo>>) -> Json<Shown> {
    let league = demo.scores.look().await;
    let of_ground = |((ground, name), of): (&(&'static str, &'static str), &Match)| OfGround {
        ground,
        name,
        of: of.clone(),
    };
    let matches = GROUNDS.iter().zip(league.matches()).map(of_ground).collect();
    Json(Shown { clock: league.clock(league.second()), matches, table: league.table().to_vec() })
}

/// Plays for ever: a second of time is one of the league. While there is no server nobody plays, and then it goes on where it was.
pub(super) async fn feed(demo: Arc<Demo>) {
    let mut second = demo.scores.look().await.second();
    let mut seconds = interval(Duration::from_secs(1));
    seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        seconds.tick().await;
        second += 1;
        if demo.scores.look().await.is_eventful(second) {
            let time = demo.now_ms();
            // What could not be stored has not happened, and is tried again in a second.
            let Ok((news, league)) = demo.scores.change(|league| Ok(league.advance(second, time))).await
            else {
                second -= 1;
                continue;
            };
            tell(&demo, &news, &league).await;
            second = league.second();
        }
        let clock = demo.scores.look().await.clock(second);
        let told = demo.say(CLOCK, Some("clock"), &clock).await;
        // While draining every publish is refused, and the next one would be too.
        if told.is_err_and(|refusal| refusal.reason == Reason::Draining) {
            return;
        }
    }
}

/// Tells what is kept. What cannot be told is found to be missing by the next that can.
async fn tell(demo: &Demo, news: &News, league: &League) {
    for (ground, happening) in &news.happenings {
        let channel = format!("demo-scores:{}", GROUNDS[*ground].0);
        let _ = demo.say(&channel, Some(event(happening)), happening).await;
    }
    if news.is_table_new {
        let _ = demo.say(TABLE, Some("table"), &league.table()).await;
    }
}

fn event(happening: &Happening) -> &'static str {
    match happening.what {
        What::Goal { .. } => "goal",
        What::Card { .. } => "card",
        What::Period { .. } => "period",
    }
}
