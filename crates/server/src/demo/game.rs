//! The game: two players, a court that this server keeps, and whoever watches. Moves come in on a channel as anybody may
//! publish them, and what the court is like goes out twenty-five times a second.
//!
//! Anybody may read the moves, too. So they carry a word of their own, which says whose hand moves; a place is left, and
//! taken again, with a token that is never published.

mod court;
mod hall;

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use tidewire_hub::admit::Page;
use tidewire_hub::channel::{Channel, ChannelSet};
use tidewire_hub::limits::POLL_PAGE;
use tidewire_hub::position::{Cursor, Start};
use tidewire_hub::reason::Reason;
use tidewire_transport::refusal::Refusal;
use tokio::sync::{Mutex, Notify, oneshot};
use tokio::time::{MissedTickBehavior, interval};

use super::Demo;
use super::answers::{Answer, Asked, brief};
use super::document::Document;
use super::store::Store;
use crate::config::namespace::SlowReader;
use crate::config::{NamespaceSettings, Settings};
use hall::{Decided, Fresh, Hall, Listed, Seated};

/// Where the hall is told; a court is on the channel of its id, `demo-game:court:ID`.
const CHANNEL: &str = "demo-game";

/// Where players say where their hands are.
const MOVES: &str = "demo-game:moves";

const STEP_MS: u64 = 40;

/// The longest step. On a machine that is too busy the sea slows down, rather than let the buoy jump.
const STEP_S_MAX: f64 = 0.1;

const NAME_CHARS_MAX: usize = 24;

/// Winners that are remembered, and how many of them are shown.
const WINNERS_MAX: usize = 100;
const WINNERS_SHOWN: usize = 10;

/// What a channel keeps: moves of a step of all players, or ten seconds of a court.
const MESSAGES_MAX: usize = 256;

/// The hall with every player's longest name.
const MESSAGE_BYTES_MAX: usize = 32 * 1024;

/// All players, each as often as the court moves, and half as much again.
const MOVES_PER_SECOND_MAX: u32 = 2_400;

/// The hall, and who has won in it.
pub(super) struct Game {
    hall: Mutex<Hall>,
    winners: Document<Winners>,
    /// Somebody has come into an empty hall.
    entered: Notify,
}

/// Who has won how often, the best first.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Winners(Vec<Winner>);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Winner {
    name: String,
    wins: u64,
    losses: u64,
}

/// What is shown of the hall.
#[derive(Serialize)]
struct Shown<'a> {
    version: u64,
    courts: Vec<Listed<'a>>,
    winners: &'a [Winner],
}

/// What a page that wants to play says. With the token of its place it wants that again.
#[derive(Deserialize)]
struct Join {
    name: String,
    token: Option<String>,
}

/// Whose place is meant.
#[derive(Deserialize)]
struct Place {
    token: String,
}

/// What a player publishes.
#[derive(Deserialize)]
struct Move {
    mark: String,
    /// One more with each.
    n: u64,
    /// Where the hand is, from the top.
    y: i32,
}

#[derive(Serialize)]
struct Done {}

/// An empty hall, and the winners of the store. `now_ms` is later than that of any hall before it.
pub(super) fn open(store: &Store, now_ms: u64) -> Game {
    let mut winners = Document::open(store, "game", Winners::default);
    let hall = Mutex::new(Hall::new(now_ms, winners.as_opened().best()));
    Game { hall, winners, entered: Notify::new() }
}

/// Only the newest state of a court is worth anything: whoever reads slowly skips the others. What is published here is
/// small, whoever publishes it.
pub(super) fn furnish(settings: &mut Settings) {
    if settings.namespaces.contains_key(CHANNEL) {
        return;
    }
    let own = NamespaceSettings {
        messages_max: Some(MESSAGES_MAX),
        slow_reader: Some(SlowReader::Conflate),
        message_bytes_max: Some(MESSAGE_BYTES_MAX.min(settings.limits.message_bytes_max)),
        publishes_per_second_max: Some(MOVES_PER_SECOND_MAX),
        ..NamespaceSettings::default()
    };
    settings.namespaces.insert(CHANNEL.into(), own);
    settings.limits.conflate.push(CHANNEL.into());
}

/// Below `/demo/api/`.
pub(super) fn routes() -> Router<Arc<Demo>> {
    Router::new()
        .route("/demo/api/game", get(shown))
        .route("/demo/api/game/join", post(join))
        .route("/demo/api/game/leave", post(leave))
        .route("/demo/api/game/again", post(again))
}

async fn shown(State(demo): State<Arc<Demo>>) -> Json<serde_json::Value> {
    Json(serde_json::json!(show(&*demo.game.hall.lock().await)))
}

async fn join(State(demo): State<Arc<Demo>>, asked: Asked<Join>) -> Answer<Seated> {
    let Join { name, token } = asked.read()?;
    let name = brief(&name, "name", NAME_CHARS_MAX)?;
    let fresh = Fresh { court: word()?[..8].to_owned(), token: word()?, mark: word()? };
    let seated = demo.game.hall.lock().await.join(name, token.as_deref(), fresh, demo.uptime_ms())?;
    demo.game.entered.notify_one();
    Ok(Json(seated))
}

async fn leave(State(demo): State<Arc<Demo>>, asked: Asked<Place>) -> Answer<Done> {
    let Place { token } = asked.read()?;
    let decided = demo.game.hall.lock().await.leave(&token, demo.uptime_ms());
    remember(&demo, decided.into_iter().collect()).await;
    Ok(Json(Done {}))
}

async fn again(State(demo): State<Arc<Demo>>, asked: Asked<Place>) -> Answer<Done> {
    let Place { token } = asked.read()?;
    demo.game.hall.lock().await.again(&token, demo.uptime_ms())?;
    Ok(Json(Done {}))
}

/// Plays for ever; while the hall is empty it sleeps.
pub(super) async fn feed(demo: Arc<Demo>) {
    let mut cursor = Start::Live;
    let mut steps = interval(Duration::from_millis(STEP_MS));
    steps.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut before = Instant::now();
    loop {
        if demo.game.hall.lock().await.is_empty() {
            demo.game.entered.notified().await;
            cursor = Start::Live;
            before = Instant::now();
        }
        steps.tick().await;
        let now = Instant::now();
        let seconds = now.duration_since(before).as_secs_f64().min(STEP_S_MAX);
        before = now;
        if let Ok(page) = moves(&demo, cursor).await {
            cursor = Start::After(Cursor::At(page.cursor));
            obey(&demo, &page).await;
        }
        match step(&demo, seconds).await {
            // While draining every publish is refused, and the next one would be too.
            Err(refusal) if refusal.reason == Reason::Draining => return,
            // The next state makes up for it.
            Err(_) | Ok(()) => {}
        }
    }
}

/// One short poll a step: so a backend hears what browsers publish, whatever transport they have.
async fn moves(demo: &Demo, start: Start) -> Result<Page, Refusal> {
    let lost = || Refusal::new(Reason::Internal, "the moves cannot be read");
    let channel = Channel::parse(MOVES).map_err(|_| lost())?;
    let (done, outcome) = oneshot::channel();
    let done = Box::new(move |page| {
        let _ = done.send(page);
    });
    demo.node.broker.read(ChannelSet::new([channel]), start, POLL_PAGE, demo.node.clock.now(), done);
    outcome.await.map_err(|_| lost())?.map_err(|reason| Refusal::new(reason, reason.hint()))
}

async fn obey(demo: &Demo, page: &Page) {
    let now_ms = demo.uptime_ms();
    let mut hall = demo.game.hall.lock().await;
    for message in &page.messages {
        // What is no move was published by somebody who tries things out.
        if let Ok(Move { mark, n, y }) = serde_json::from_slice(message.payload.as_bytes()) {
            hall.hear(&mark, n, y, now_ms);
        }
    }
}

async fn step(demo: &Arc<Demo>, seconds: f64) -> Result<(), Refusal> {
    let mut chance = [0; 8];
    let _ = getrandom::fill(&mut chance);
    let (step, hall_has_changed) = {
        let mut hall = demo.game.hall.lock().await;
        (hall.step(demo.uptime_ms(), seconds, u64::from_le_bytes(chance)), hall.has_changed())
    };
    if !step.decided.is_empty() {
        // It waits for the disk, and the other courts do not.
        let demo = demo.clone();
        tokio::spawn(async move { remember(&demo, step.decided).await });
    }
    for (court, state) in &step.states {
        demo.say(&format!("{CHANNEL}:court:{court}"), Some("state"), state).await?;
    }
    if hall_has_changed {
        let hall = demo.game.hall.lock().await;
        demo.say(CHANNEL, Some("hall"), &show(&hall)).await?;
    }
    Ok(())
}

/// Stores who has won and who has lost, and shows it then. Where that cannot be stored the log says so. The hall is free
/// while the disk is busy.
async fn remember(demo: &Demo, decided: Vec<Decided>) {
    if decided.is_empty() {
        return;
    }
    let changed = demo.game.winners.change(|winners| {
        decided.iter().for_each(|decided| winners.count(decided));
        Ok(())
    });
    if let Ok(((), winners)) = changed.await {
        demo.game.hall.lock().await.honour(winners.best());
    }
}

/// The whole hall each time: it is small.
fn show(hall: &Hall) -> Shown<'_> {
    Shown { version: hall.version(), courts: hall.listed().collect(), winners: hall.winners() }
}

/// A word that nobody guesses.
fn word() -> Result<String, Refusal> {
    let mut bytes = [0; 16];
    let dry = |_| Refusal::new(Reason::Internal, "the machine has no random numbers");
    getrandom::fill(&mut bytes).map_err(dry)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

impl Winners {
    /// Those who are shown.
    fn best(&self) -> Vec<Winner> {
        let Winners(all) = self;
        all.iter().take(WINNERS_SHOWN).cloned().collect()
    }

    fn count(&mut self, Decided { winner, loser }: &Decided) {
        self.of(winner).wins += 1;
        self.of(loser).losses += 1;
        let Winners(all) = self;
        all.sort_by_key(|one| (std::cmp::Reverse(one.wins), one.losses));
        all.truncate(WINNERS_MAX);
    }

    fn of(&mut self, name: &str) -> &mut Winner {
        let Winners(all) = self;
        let at = all.iter().position(|one| one.name == name).unwrap_or_else(|| {
            all.push(Winner { name: name.to_owned(), wins: 0, losses: 0 });
            all.len() - 1
        });
        &mut all[at]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_come_first_and_only_so_many_are_remembered() {
        let mut winners = Winners::default();
        for n in 0..2 * WINNERS_MAX {
            winners.count(&Decided { winner: "ada".into(), loser: format!("{n}") });
        }
        winners.count(&Decided { winner: "ben".into(), loser: "ada".into() });
        let Winners(all) = winners;
        assert_eq!(all.len(), WINNERS_MAX);
        assert_eq!(all[0], Winner { name: "ada".into(), wins: 200, losses: 1 });
        assert_eq!((all[1].name.as_str(), all[1].wins), ("ben", 1));
    }
}
