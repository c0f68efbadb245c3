//! Shared cursors: who has which seat. Where the pointers are is between the pages.
//!
//! Every seat is a channel, because a slow reader of this namespace skips to the newest message of each channel: so it
//! keeps the newest place of everybody. On one channel for all, it would keep the place of whoever moved last. Seats are
//! few and fixed, so that a page subscribes once, and not anew with everybody who comes or goes.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use tidewire_hub::reason::Reason;
use tidewire_transport::refusal::Refusal;
use tokio::time::{MissedTickBehavior, interval};

use super::Demo;
use super::answers::{Answer, Asked, brief};
use crate::config::{Settings, namespace::SlowReader};

/// Seats are `demo-cursors:1` and so on; here is told who has them.
const NAMESPACE: &str = "demo-cursors";
const ROSTER: &str = "demo-cursors:seats";

/// How many may point at once. Others watch.
const SEATS: u8 = 16;

/// How long a seat is kept for somebody who is not heard of. Pages say every four seconds that they are here.
const KEPT_MS: u64 = 12_000;

const NAME_CHARS_MAX: usize = 24;
const WHO_BYTES: std::ops::RangeInclusive<usize> = 8..=40;

/// A page that polls every second gets every move of it; whoever comes later wants to see none of them.
const MESSAGES_MAX: usize = 64;
const TTL: Duration = Duration::from_secs(10);

/// The roster is the longest of what is told here, in bytes.
const MESSAGE_BYTES_MAX: usize = 4 << 10;

/// Who has which seat. It is not stored: after a restart everybody says again that they are here.
#[derive(Debug, Default)]
pub(super) struct Seats {
    /// Sorted by seat.
    taken: Vec<Taken>,
    /// Counts who sat down, so that a seat's last moves are not taken for those of the next who has it.
    tag: u8,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct Taken {
    seat: u8,
    tag: u8,
    name: String,
    /// What its page made up, and nobody else is told.
    #[serde(skip)]
    who: String,
    #[serde(skip)]
    until_ms: u64,
}

/// What is told to everybody: all of it, so that the newest is enough.
#[derive(Serialize)]
struct Roster {
    count_max: u8,
    seats: Vec<Taken>,
}

#[derive(Deserialize)]
struct Here {
    who: String,
    name: String,
}

#[derive(Deserialize)]
struct Gone {
    who: String,
}

#[derive(Serialize)]
struct Done {}

/// A slow reader skips to the newest, and little is kept.
pub(super) fn furnish(settings: &mut Settings) {
    let bytes_max = settings.limits.message_bytes_max.min(MESSAGE_BYTES_MAX);
    let own = settings.namespaces.entry(NAMESPACE.into()).or_default();
    own.messages_max.get_or_insert(MESSAGES_MAX);
    own.ttl.get_or_insert(TTL);
    own.message_bytes_max.get_or_insert(bytes_max);
    let is_spared = *own.slow_reader.get_or_insert(SlowReader::Conflate) == SlowReader::Conflate;
    // The hub looks there.
    let conflate = &mut settings.limits.conflate;
    if is_spared && !conflate.iter().any(|name| **name == *NAMESPACE) {
        conflate.push(NAMESPACE.into());
    }
}

/// Below `/demo/api/`.
pub(super) fn routes() -> Router<Arc<Demo>> {
    Router::new()
        .route("/demo/api/cursors", get(roster))
        .route("/demo/api/cursors/here", post(here))
        .route("/demo/api/cursors/gone", post(gone))
}

async fn roster(State(demo): State<Arc<Demo>>) -> Json<Roster> {
    Json(demo.cursors.lock().await.roster())
}

/// Takes a seat, or keeps the one that this page has.
async fn here(State(demo): State<Arc<Demo>>, asked: Asked<Here>) -> Answer<Taken> {
    let Here { who, name } = asked.read()?;
    let (who, name) = (checked(who)?, brief(&name, "name", NAME_CHARS_MAX)?);
    let now_ms = demo.node.clock.now().monotonic_ms;
    let mut seats = demo.cursors.lock().await;
    let (taken, is_news) = seats.sit(who, name, now_ms)?;
    if is_news {
        demo.say(ROSTER, None, &seats.roster()).await?;
    }
    Ok(Json(taken))
}

async fn gone(State(demo): State<Arc<Demo>>, asked: Asked<Gone>) -> Answer<Done> {
    let Gone { who } = asked.read()?;
    let mut seats = demo.cursors.lock().await;
    if seats.leave(|taken| taken.who == who) {
        demo.say(ROSTER, None, &seats.roster()).await?;
    }
    Ok(Json(Done {}))
}

/// Frees the seats of those who are not heard of any more, for ever.
pub(super) async fn feed(demo: Arc<Demo>) {
    let mut seconds = interval(Duration::from_secs(1));
    seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        seconds.tick().await;
        let now_ms = demo.node.clock.now().monotonic_ms;
        let mut seats = demo.cursors.lock().await;
        if !seats.leave(|taken| taken.until_ms <= now_ms) {
            continue;
        }
        let told = demo.say(ROSTER, None, &seats.roster()).await;
        // While draining every publish is refused, and the next one would be too.
        if told.is_err_and(|refusal| refusal.reason == Reason::Draining) {
            return;
        }
    }
}

fn checked(who: String) -> Result<String, Refusal> {
    if WHO_BYTES.contains(&who.len()) && who.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Ok(who);
    }
    Err(Refusal::new(Reason::BadRequest, "`who` is not 8 to 40 of A-Z a-z 0-9"))
}

impl Seats {
    /// The seat of `who`, and whether others have to be told.
    ///
    /// # Errors
    /// `overloaded` where all seats are taken.
    fn sit(&mut self, who: String, name: String, now_ms: u64) -> Result<(Taken, bool), Refusal> {
        let until_ms = now_ms + KEPT_MS;
        if let Some(taken) = self.taken.iter_mut().find(|taken| taken.who == who) {
            let is_news = taken.name != name;
            (taken.name, taken.until_ms) = (name, until_ms);
            return Ok((taken.clone(), is_news));
        }
        let is_free = |seat: &u8| self.taken.iter().all(|taken| taken.seat != *seat);
        let full =
            || Refusal::new(Reason::Overloaded, format!("all {SEATS} seats are taken: you are watching"));
        let seat = (1..=SEATS).find(is_free).ok_or_else(full)?;
        self.tag = self.tag.wrapping_add(1);
        let taken = Taken { seat, tag: self.tag, name, who, until_ms };
        self.taken.push(taken.clone());
        self.taken.sort_unstable_by_key(|taken| taken.seat);
        Ok((taken, true))
    }

    /// Frees the seats of those who `leave`; whether there were any.
    fn leave(&mut self, leaves: impl Fn(&Taken) -> bool) -> bool {
        let before = self.taken.len();
        self.taken.retain(|taken| !leaves(taken));
        self.taken.len() < before
    }

    fn roster(&self) -> Roster {
        Roster { count_max: SEATS, seats: self.taken.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sit(seats: &mut Seats, who: &str, name: &str, now_ms: u64) -> (u8, u8, bool) {
        let (taken, is_news) = seats.sit(who.into(), name.into(), now_ms).unwrap();
        (taken.seat, taken.tag, is_news)
    }

    #[test]
    fn a_page_keeps_its_seat_and_its_next_owner_has_another_tag() {
        let mut seats = Seats::default();
        assert_eq!(sit(&mut seats, "ada", "Ada", 0), (1, 1, true));
        assert_eq!(sit(&mut seats, "ben", "Ben", 0), (2, 2, true));
        assert_eq!(sit(&mut seats, "ada", "Ada", 5_000), (1, 1, false));
        assert_eq!(sit(&mut seats, "ada", "Countess", 5_000), (1, 1, true));
        assert!(seats.leave(|taken| taken.until_ms <= KEPT_MS), "Ben was not heard of");
        assert!(!seats.leave(|taken| taken.until_ms <= KEPT_MS));
        assert!(seats.leave(|taken| taken.who == "ada"));
        assert_eq!(sit(&mut seats, "cem", "Cem", 20_000), (1, 3, true));
    }

    #[test]
    fn when_all_seats_are_taken_one_more_is_told_so() {
        let mut seats = Seats::default();
        for n in 1..=SEATS {
            assert_eq!(sit(&mut seats, &format!("n{n}"), "N", 0).0, n);
        }
        assert_eq!(seats.sit("more".into(), "More".into(), 0).unwrap_err().reason, Reason::Overloaded);
        seats.leave(|taken| taken.seat == 7);
        assert_eq!(sit(&mut seats, "more", "More", 0).0, 7);
        let longest = "ü".repeat(NAME_CHARS_MAX);
        for taken in &mut seats.taken {
            taken.name.clone_from(&longest);
        }
        assert!(serde_json::to_vec(&seats.roster()).unwrap().len() < MESSAGE_BYTES_MAX);
    }

    #[test]
    fn its_namespace_is_furnished_where_nobody_has_said_otherwise() {
        let mut settings = Settings::for_this_machine();
        furnish(&mut settings);
        assert!(settings.limits.conflate.iter().any(|name| **name == *NAMESPACE));
        let own = settings.namespaces[NAMESPACE].clone();
        assert_eq!((own.messages_max, own.ttl), (Some(MESSAGES_MAX), Some(TTL)));

        let mut settings = Settings::for_this_machine();
        let own = settings.namespaces.entry(NAMESPACE.into()).or_default();
        (own.slow_reader, own.messages_max) = (Some(SlowReader::Disconnect), Some(3));
        furnish(&mut settings);
        assert!(settings.limits.conflate.is_empty());
        assert_eq!(settings.namespaces[NAMESPACE].messages_max, Some(3));
    }
}
