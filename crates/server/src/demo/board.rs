//! The Kanban board: cards in columns that everybody moves and edits, and what happens when two do so at once.
//!
//! A change says which state of its card it was made upon. Moving and editing do not disturb each other; of two moves, or
//! of two edits, the first is taken, and the other is told who was first and what the card is now. A change has a key, so
//! that one which was not answered can be sent again and happens once, also after a restart.

use std::collections::VecDeque;
use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use tidewire_hub::reason::Reason;
use tidewire_transport::refusal::Refusal;

use super::answers::{Asked, brief};
use super::document::Document;
use super::{Demo, store::Store};
use crate::api::Problem;

/// Where changes are told.
const CHANNEL: &str = "demo-board";

const CARDS_MAX: usize = 100;

/// Changes whose keys are remembered, and cards whose end is.
const DONE_MAX: usize = 400;
const GONE_MAX: usize = 100;

const NAME_CHARS_MAX: usize = 32;
const TITLE_CHARS_MAX: usize = 120;
const NOTE_CHARS_MAX: usize = 500;

/// Ids of cards and keys of changes, which the page makes up.
const TOKEN_BYTES_MAX: usize = 40;

/// Between two neighbours there is room for so many, until their column is numbered anew. All places are far below 2^53,
/// where numbers in JavaScript end.
const STEP: u64 = 1 << 20;
const PLACE_MAX: u64 = 1 << 52;

/// Everything on the board, and what is remembered for those who come late.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Board {
    /// One more with every change: a page that misses one knows it.
    version: u64,
    cards: Vec<Card>,
    done: VecDeque<Done>,
    gone: VecDeque<Gone>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Card {
    id: String,
    title: String,
    note: String,
    column: Column,
    /// Its place among those of its column: they stand in the order of these numbers, and no two are equal.
    place: u64,
    moved: Stamp,
    edited: Stamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Column {
    Next,
    Doing,
    Review,
    Done,
}

/// Who did something to a card, and which version of the board that made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Stamp {
    version: u64,
    by: String,
}

/// A change that has happened.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Done {
    key: String,
    version: u64,
}

/// A card that is no more, and who deleted it.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Gone {
    id: String,
    by: String,
}

/// A change as a page asks for it.
#[derive(Clone, Debug, Deserialize)]
struct Change {
    key: String,
    by: String,
    id: String,
    #[serde(default)]
    base: Base,
    #[serde(flatten)]
    what: What,
}

/// The versions of the card that the page saw when the change was made.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
struct Base {
    moved: u64,
    edited: u64,
}

/// `after` is the card that it is to stand below: nothing is the top, and one that is not in this column the end.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "what", rename_all = "lowercase")]
enum What {
    Add { title: String, note: String, column: Column, after: Option<String> },
    Move { column: Column, after: Option<String> },
    Edit { title: String, note: String },
    Delete,
}

/// What is told to everybody, and answered to whoever asked.
#[derive(Clone, Debug, Serialize)]
struct Told {
    version: u64,
    id: String,
    by: String,
    /// What the card is now; nothing where it was deleted.
    card: Option<Card>,
    /// The places of what else is in the column, where it was numbered anew; of everything in it where this is told again.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    places: Vec<(String, u64)>,
}

/// What a page reads.
#[derive(Serialize)]
struct Shown {
    version: u64,
    cards: Vec<Card>,
}

/// Why a change did not happen now.
#[derive(Debug)]
enum Declined {
    /// It happened before.
    Done(Box<Told>),
    /// Somebody else was first.
    Late(Box<Late>),
    Refused(Refusal),
}

/// The answer to whoever was not the first, in the form of every other refusal.
#[derive(Debug, Serialize)]
struct Late {
    r#type: &'static str,
    title: &'static str,
    status: u16,
    code: &'static str,
    detail: String,
    /// Who was first; nothing where nobody remembers.
    by: Option<String>,
    /// What the card is now; nothing where it is gone.
    card: Option<Card>,
}

/// The board of the store, or one with a few cards.
pub(super) fn open(store: &Store) -> Document<Board> {
    Document::open(store, "board", Board::first)
}

/// Below `/demo/api/`.
pub(super) fn routes() -> Router<Arc<Demo>> {
    Router::new().route("/demo/api/board", get(shown)).route("/demo/api/board/change", post(change))
}

async fn shown(State(demo): State<Arc<Demo>>) -> Json<Shown> {
    let board = demo.board.look().await;
    Json(Shown { version: board.version, cards: board.cards.clone() })
}

async fn change(State(demo): State<Arc<Demo>>, asked: Asked<Change>) -> Response {
    match happen(&demo, asked).await {
        Ok(told) => Json(told).into_response(),
        Err(declined) => declined.into_response(),
    }
}

async fn happen(demo: &Demo, asked: Asked<Change>) -> Result<Told, Declined> {
    let change = asked.read()?.checked()?;
    let told = match demo.board.attempt(|board| board.change(change)).await {
        Ok((told, _held)) => {
            demo.tell(CHANNEL, "change", &told).await;
            told
        }
        Err(Declined::Done(told)) => {
            // It may have been stored and not told. Where others came after it, everybody has noticed that.
            let board = demo.board.look().await;
            if board.version == told.version {
                demo.tell(CHANNEL, "change", &told).await;
            }
            *told
        }
        Err(declined) => return Err(declined),
    };
    Ok(told)
}

impl Change {
    fn checked(mut self) -> Result<Change, Refusal> {
        token(&self.key, "key")?;
        token(&self.id, "id")?;
        self.by = brief(&self.by, "name", NAME_CHARS_MAX)?;
        if let What::Add { title, note, .. } | What::Edit { title, note } = &mut self.what {
            *title = brief(title, "title", TITLE_CHARS_MAX)?;
            *note = if note.trim().is_empty() { String::new() } else { brief(note, "note", NOTE_CHARS_MAX)? };
        }
        Ok(self)
    }
}

fn token(text: &str, what: &str) -> Result<(), Refusal> {
    let fits = (1..=TOKEN_BYTES_MAX).contains(&text.len());
    if fits && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)) {
        return Ok(());
    }
    let detail = format!("the {what} is not 1 to {TOKEN_BYTES_MAX} of A-Z a-z 0-9 . _ -");
    Err(Refusal::new(Reason::BadRequest, detail))
}

impl Board {
    fn first() -> Board {
        let cards = [
            (
                "gauge",
                Column::Next,
                "Read the tide gauge",
                "Drag this card, or press Shift and an arrow on it.",
            ),
            ("ropes", Column::Next, "Order new mooring ropes", "Twelve, of forty metres."),
            ("buoy", Column::Doing, "Repaint the fairway buoy", ""),
            ("chart", Column::Review, "Correct the harbour chart", "The sandbank has moved."),
            ("lamp", Column::Done, "Change the lamp in the lighthouse", ""),
        ];
        let stamp = Stamp { version: 0, by: "Harbour office".into() };
        let card = |(place, (id, column, title, note)): (u64, (&str, Column, &str, &str))| Card {
            id: id.into(),
            title: title.into(),
            note: note.into(),
            column,
            place: (place + 1) * STEP,
            moved: stamp.clone(),
            edited: stamp.clone(),
        };
        Board { cards: (0..).zip(cards).map(card).collect(), ..Board::default() }
    }

    /// Does what `change` asks for, if it was not done already and nobody was first.
    fn change(&mut self, change: Change) -> Result<Told, Declined> {
        let Change { key, by, id, base, what } = change;
        let at = self.cards.iter().position(|card| card.id == id);
        if let Some(done) = self.done.iter().find(|done| done.key == key) {
            let card = at.map(|at| self.cards[at].clone());
            // Whether this change had numbered its column anew is not remembered, and to say so twice harms nobody.
            let places = card.as_ref().map_or_else(Vec::new, |card| self.places(card.column));
            let told = Told { version: done.version, id, by, card, places };
            return Err(Declined::Done(Box::new(told)));
        }
        let stamp = Stamp { version: self.version + 1, by: by.clone() };
        let mut places = Vec::new();
        match (what, at) {
            (What::Add { .. }, Some(_)) => return Err(wrong("there is a card with this id")),
            (What::Add { .. }, None) if self.cards.len() >= CARDS_MAX => {
                return Err(wrong("the board is full: delete a card first"));
            }
            (What::Add { title, note, column, after }, None) => {
                let place = self.place(&id, column, after.as_deref(), &mut places);
                let (moved, edited) = (stamp.clone(), stamp);
                self.cards.push(Card { id: id.clone(), title, note, column, place, moved, edited });
            }
            (_, None) => return Err(self.deleted(&id)),
            (What::Move { column, after }, Some(at)) => {
                self.cards[at].unmoved_since(base)?;
                let place = self.place(&id, column, after.as_deref(), &mut places);
                let card = &mut self.cards[at];
                (card.column, card.place, card.moved) = (column, place, stamp);
            }
            (What::Edit { title, note }, Some(at)) => {
                self.cards[at].unedited_since(base)?;
                let card = &mut self.cards[at];
                (card.title, card.note, card.edited) = (title, note, stamp);
            }
            (What::Delete, Some(at)) => {
                self.cards[at].unmoved_since(base)?;
                self.cards[at].unedited_since(base)?;
                self.cards.remove(at);
                remember(&mut self.gone, GONE_MAX, Gone { id: id.clone(), by: by.clone() });
            }
        }
        self.version += 1;
        remember(&mut self.done, DONE_MAX, Done { key, version: self.version });
        let card = self.cards.iter().find(|card| card.id == id).cloned();
        Ok(Told { version: self.version, id, by, card, places })
    }

    /// A place in `column` for the card `id`, below `after`. Where there is no room, the column is numbered anew and
    /// `places` says how.
    fn place(
        &mut self,
        id: &str,
        column: Column,
        after: Option<&str>,
        places: &mut Vec<(String, u64)>,
    ) -> u64 {
        loop {
            let others = self.cards.iter().filter(|card| card.column == column && card.id != id);
            let mut others: Vec<(u64, &str)> = others.map(|card| (card.place, &*card.id)).collect();
            others.sort_unstable();
            let index = match after {
                None => 0,
                Some(after) => {
                    others.iter().position(|(_, id)| *id == after).map_or(others.len(), |at| at + 1)
                }
            };
            let below = if index == 0 { 0 } else { others[index - 1].0 };
            let above = others.get(index).map_or(below + 2 * STEP, |(place, _)| *place);
            let middle = below + (above - below) / 2;
            if middle > below && middle < above && above < PLACE_MAX {
                return middle;
            }
            *places = (1..).zip(others).map(|(at, (_, id))| (id.to_owned(), at * STEP)).collect();
            for card in &mut self.cards {
                if let Some((_, place)) = places.iter().find(|(id, _)| *id == card.id) {
                    card.place = *place;
                }
            }
        }
    }

    fn places(&self, column: Column) -> Vec<(String, u64)> {
        let cards = self.cards.iter().filter(|card| card.column == column);
        cards.map(|card| (card.id.clone(), card.place)).collect()
    }

    fn deleted(&self, id: &str) -> Declined {
        let by = self.gone.iter().rfind(|gone| gone.id == id).map(|gone| gone.by.clone());
        let detail = match &by {
            Some(by) => format!("{by} deleted it first"),
            None => "there is no such card any more".to_owned(),
        };
        Declined::Late(late(detail, by, None))
    }
}

impl Card {
    fn unmoved_since(&self, base: Base) -> Result<(), Declined> {
        self.unchanged(&self.moved, base.moved, "moved")
    }

    fn unedited_since(&self, base: Base) -> Result<(), Declined> {
        self.unchanged(&self.edited, base.edited, "edited")
    }

    fn unchanged(&self, stamp: &Stamp, seen: u64, what: &str) -> Result<(), Declined> {
        if stamp.version <= seen {
            return Ok(());
        }
        let detail = format!("{} {what} it first", stamp.by);
        Err(Declined::Late(late(detail, Some(stamp.by.clone()), Some(self.clone()))))
    }
}

fn remember<T>(list: &mut VecDeque<T>, count_max: usize, item: T) {
    if list.len() >= count_max {
        list.pop_front();
    }
    list.push_back(item);
}

fn wrong(detail: &str) -> Declined {
    Declined::Refused(Refusal::new(Reason::BadRequest, detail))
}

fn late(detail: String, by: Option<String>, card: Option<Card>) -> Box<Late> {
    Box::new(Late {
        r#type: "about:blank",
        title: "Conflict",
        status: 409,
        code: "conflict",
        detail,
        by,
        card,
    })
}

impl From<Refusal> for Declined {
    fn from(refusal: Refusal) -> Declined {
        Declined::Refused(refusal)
    }
}

impl IntoResponse for Declined {
    fn into_response(self) -> Response {
        match self {
            Declined::Done(told) => Json(told).into_response(),
            Declined::Refused(refusal) => Problem(refusal).into_response(),
            Declined::Late(late) => {
                let kind = HeaderValue::from_static("application/problem+json");
                (StatusCode::CONFLICT, [(header::CONTENT_TYPE, kind)], Json(late)).into_response()
            }
        }
    }
}

#[cfg(test)]
mod tests;
