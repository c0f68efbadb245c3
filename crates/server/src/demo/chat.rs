//! The chat: rooms, and messages between two. Visitors log in with any name, and hear what is written to them alone.
//!
//! Whoever writes does so through this backend, which knows from the token who it is. So no message is stored in the name of
//! another, and what was said outlives the server. In dev mode anybody may publish to a room's channel under any name; a page
//! shows that until it reads the room anew. What is told to one visitor alone comes from this backend only.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use tidewire_hub::channel::Channel;
use tidewire_hub::grant::escape_subject;
use tidewire_hub::reason::Reason;
use tidewire_transport::refusal::Refusal;

use super::answers::{Answer, Asked, brief};
use super::document::Document;
use super::tokens::{Login, Rights, bearer};
use super::{Demo, store::Store};

/// Where it is told that rooms open and close.
const ROOMS: &str = "demo-chat:rooms";

/// The rooms that are always there.
const FIRST_ROOMS: [&str; 3] = ["harbour", "lighthouse", "galley"];

/// Rooms at once. Beyond: of those that visitors opened, the one that has been silent for longest closes.
const ROOMS_MAX: usize = 20;

/// Messages that a room, or one visitor, keeps; the oldest make room.
const MESSAGES_MAX: usize = 40;

/// Visitors whose direct messages are kept. Beyond: those of who has been silent for longest are forgotten.
const INBOXES_MAX: usize = 200;

const NAME_CHARS_MAX: usize = 32;
const ROOM_CHARS_MAX: usize = 24;
const TEXT_CHARS_MAX: usize = 500;
const NONCE_CHARS_MAX: usize = 40;

/// The rooms, and what was said in them.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Rooms {
    /// One more whenever a room opens or closes.
    version: u64,
    rooms: Vec<Room>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Room {
    room: String,
    /// When somebody last spoke, or it was opened. Milliseconds since 1970.
    time: u64,
    log: Log,
}

/// What was said in one place, the oldest first.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Log {
    /// One more with every message. An inbox begins with a time: see [`Inbox::new`].
    version: u64,
    messages: VecDeque<Message>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Message {
    from: String,
    /// Whom it is for; nothing in a room.
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<String>,
    text: String,
    /// Milliseconds since 1970.
    time: u64,
    /// What the page calls it, so that it knows its own when it comes back.
    nonce: String,
}

/// What was written to one visitor alone, or by them, by their name.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Inboxes(BTreeMap<String, Inbox>);

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Inbox {
    time: u64,
    log: Log,
}

/// What is told, beside the version that it makes.
#[derive(Serialize)]
struct Told<T> {
    version: u64,
    #[serde(flatten)]
    what: T,
}

/// A room in the list.
#[derive(Debug, Serialize)]
struct Listed {
    room: String,
    /// How many messages it has had: whoever remembers an older number has not read all.
    said: u64,
}

#[derive(Serialize)]
struct Closed {
    room: String,
}

#[derive(Deserialize)]
struct Name {
    name: String,
    /// How long the token is to last, in seconds.
    lasts_s: Option<u64>,
}

/// What a visitor writes, in a room or to another.
#[derive(Deserialize)]
struct Words {
    #[serde(default)]
    room: String,
    #[serde(default)]
    to: String,
    text: String,
    #[serde(default)]
    nonce: String,
}

#[derive(Debug, Serialize)]
struct Visitor {
    name: String,
    /// Where they are told what is for them alone.
    channel: String,
    #[serde(flatten)]
    login: Login,
}

/// The rooms of the store.
pub(super) fn open(store: &Store) -> Document<Rooms> {
    Document::open(store, "chat", Rooms::first)
}

/// The direct messages of the store.
pub(super) fn open_inboxes(store: &Store) -> Document<Inboxes> {
    Document::open(store, "chat-direct", Inboxes::default)
}

/// Below `/demo/api/`.
pub(super) fn routes() -> Router<Arc<Demo>> {
    Router::new()
        .route("/demo/api/login", post(log_in))
        .route("/demo/api/chat/rooms", get(rooms))
        .route("/demo/api/chat/rooms/{room}", get(room))
        .route("/demo/api/chat/open", post(open_room))
        .route("/demo/api/chat/say", post(say))
        .route("/demo/api/chat/direct", get(direct).post(write))
}

/// Gives a token for a name. There are no passwords here: a name is whoever says it.
async fn log_in(State(demo): State<Arc<Demo>>, asked: Asked<Name>) -> Answer<Visitor> {
    let Name { name, lasts_s } = asked.read()?;
    let name = brief(&name, "name", NAME_CHARS_MAX)?;
    let channel = channel_of(&name)?;
    let rights = Rights { subscribe: &["demo-chat:*"], presence: &["demo-chat:*"] };
    let login = demo.tokens.sign(&name, &rights, lasts_s, demo.now_ms())?;
    Ok(Json(Visitor { name, channel, login }))
}

async fn rooms(State(demo): State<Arc<Demo>>) -> Json<serde_json::Value> {
    let rooms = demo.chat.look().await;
    let listed: Vec<Listed> = rooms.rooms.iter().map(Room::listed).collect();
    Json(serde_json::json!({ "version": rooms.version, "rooms": listed }))
}

async fn room(State(demo): State<Arc<Demo>>, name: Result<Path<String>, PathRejection>) -> Answer<Log> {
    let Path(name) = name.map_err(|_| no_room())?;
    let rooms = demo.chat.look().await;
    let room = rooms.rooms.iter().find(|room| room.room == name).ok_or_else(no_room)?;
    Ok(Json(room.log.clone()))
}

async fn open_room(State(demo): State<Arc<Demo>>, headers: HeaderMap, asked: Asked<Name>) -> Answer<Listed> {
    who(&demo, &headers).await?;
    let name = room_name(&asked.read()?.name)?;
    let time = demo.now_ms();
    let (outcome, rooms) = demo.chat.change(|rooms| Ok(rooms.open(&name, time))).await?;
    let mut version = rooms.version - outcome.changes();
    if let Some(room) = outcome.closed {
        version += 1;
        demo.tell(ROOMS, "closed", &Told { version, what: Closed { room } }).await;
    }
    if outcome.is_new {
        demo.tell(ROOMS, "opened", &Told { version: rooms.version, what: &outcome.room }).await;
    }
    Ok(Json(outcome.room))
}

async fn say(State(demo): State<Arc<Demo>>, headers: HeaderMap, asked: Asked<Words>) -> Answer<Message> {
    let from = who(&demo, &headers).await?;
    let words = asked.read()?;
    let message = message(from, None, &words, demo.now_ms())?;
    let (version, _rooms) = demo.chat.change(|rooms| rooms.add(&words.room, message.clone())).await?;
    let channel = format!("demo-chat:room:{}", words.room);
    demo.tell(&channel, "said", &Told { version, what: &message }).await;
    Ok(Json(message))
}

async fn direct(State(demo): State<Arc<Demo>>, headers: HeaderMap) -> Answer<Log> {
    let name = who(&demo, &headers).await?;
    let inboxes = demo.chat_inboxes.look().await;
    Ok(Json(inboxes.0.get(&name).map(|inbox| inbox.log.clone()).unwrap_or_default()))
}

/// Writes to one visitor. Whoever writes hears it too, in all of their windows.
async fn write(State(demo): State<Arc<Demo>>, headers: HeaderMap, asked: Asked<Words>) -> Answer<Message> {
    let from = who(&demo, &headers).await?;
    let words = asked.read()?;
    let to = brief(&words.to, "name", NAME_CHARS_MAX)?;
    channel_of(&to)?;
    let message = message(from, Some(to), &words, demo.now_ms())?;
    let (versions, _inboxes) = demo.chat_inboxes.change(|inboxes| Ok(inboxes.add(&message))).await?;
    for (name, version) in versions {
        demo.tell(&channel_of(&name)?, "direct", &Told { version, what: &message }).await;
    }
    Ok(Json(message))
}

/// The visitor whose token this is. One of another demonstration does not count.
async fn who(demo: &Demo, headers: &HeaderMap) -> Result<String, Refusal> {
    let (name, grant) = bearer(&demo.node, headers).await?;
    let is_ours = Channel::parse(ROOMS).is_ok_and(|rooms| grant.may_subscribe(&rooms));
    if is_ours { Ok(name) } else { Err(Refusal::new(Reason::Forbidden, "this token is not for the chat")) }
}

/// The channel that a visitor alone may hear.
fn channel_of(name: &str) -> Result<String, Refusal> {
    let channel = format!("user:{}", escape_subject(name));
    let long = |_| Refusal::new(Reason::BadRequest, "the name is too long for the name of a channel");
    Channel::parse(&channel).map_err(long)?;
    Ok(channel)
}

fn message(from: String, to: Option<String>, words: &Words, time: u64) -> Result<Message, Refusal> {
    let text = brief(&words.text, "message", TEXT_CHARS_MAX)?;
    let nonce = words.nonce.chars().take(NONCE_CHARS_MAX).collect();
    Ok(Message { from, to, text, time, nonce })
}

/// A room's name, which is a segment of its channel's.
fn room_name(name: &str) -> Result<String, Refusal> {
    let name = brief(name, "room's name", ROOM_CHARS_MAX)?.to_lowercase().replace(' ', "-");
    if name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
        return Ok(name);
    }
    Err(Refusal::new(Reason::BadRequest, "a room's name has letters from a to z, digits and hyphens"))
}

fn no_room() -> Refusal {
    Refusal::new(Reason::NotFound, "there is no such room any more")
}

/// What became of opening a room.
#[derive(Debug)]
struct Opened {
    room: Listed,
    is_new: bool,
    /// The one that closed for it.
    closed: Option<String>,
}

impl Opened {
    fn changes(&self) -> u64 {
        u64::from(self.is_new) + u64::from(self.closed.is_some())
    }
}

impl Rooms {
    fn first() -> Rooms {
        let room = |name: &str| Room { room: name.into(), ..Room::default() };
        Rooms { version: 0, rooms: FIRST_ROOMS.map(room).into() }
    }

    fn open(&mut self, name: &str, time: u64) -> Opened {
        if let Some(room) = self.rooms.iter().find(|room| room.room == name) {
            return Opened { room: room.listed(), is_new: false, closed: None };
        }
        let mut closed = None;
        if self.rooms.len() == ROOMS_MAX {
            let opened = self.rooms.iter().enumerate().skip(FIRST_ROOMS.len());
            let silent = opened.min_by_key(|(_, room)| room.time).map(|(at, _)| at);
            closed = silent.map(|at| self.rooms.remove(at).room);
        }
        let room = Room { room: name.into(), time, ..Room::default() };
        let opened = Opened { room: room.listed(), is_new: true, closed };
        self.rooms.push(room);
        self.version += opened.changes();
        opened
    }

    /// Gives the room's version.
    fn add(&mut self, name: &str, message: Message) -> Result<u64, Refusal> {
        let room = self.rooms.iter_mut().find(|room| room.room == name).ok_or_else(no_room)?;
        room.time = message.time;
        Ok(room.log.add(message))
    }
}

impl Room {
    fn listed(&self) -> Listed {
        Listed { room: self.room.clone(), said: self.log.version }
    }
}

impl Log {
    fn add(&mut self, message: Message) -> u64 {
        self.version += 1;
        self.messages.push_back(message);
        if self.messages.len() > MESSAGES_MAX {
            self.messages.pop_front();
        }
        self.version
    }
}

impl Inbox {
    /// An inbox whose versions are greater than those of any that was forgotten under this name, since messages are slower
    /// than milliseconds: a page that had read that one drops nothing of what follows.
    fn new(time: u64) -> Inbox {
        Inbox { time, log: Log { version: time, ..Log::default() } }
    }
}

impl Inboxes {
    /// Puts a message where both will find it, and gives the versions of their inboxes by their names.
    fn add(&mut self, message: &Message) -> Vec<(String, u64)> {
        let mut names: Vec<String> =
            [Some(&message.from), message.to.as_ref()].into_iter().flatten().cloned().collect();
        names.dedup();
        let versions = names.iter().map(|name| {
            let inbox = self.0.entry(name.clone()).or_insert_with(|| Inbox::new(message.time));
            inbox.time = message.time;
            (name.clone(), inbox.log.add(message.clone()))
        });
        let versions = versions.collect();
        while self.0.len() > INBOXES_MAX {
            let others = self.0.iter().filter(|(name, _)| !names.contains(name));
            let Some(silent) = others.min_by_key(|(_, inbox)| inbox.time).map(|(name, _)| name.clone())
            else {
                break;
            };
            self.0.remove(&silent);
        }
        versions
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(from: &str, to: Option<&str>, time: u64) -> Message {
        Message {
            from: from.into(),
            to: to.map(Into::into),
            text: "tides".into(),
            time,
            nonce: String::new(),
        }
    }

    #[test]
    fn a_room_that_is_silent_makes_way_and_the_first_stay() {
        let mut rooms = Rooms::first();
        for n in 0..(ROOMS_MAX - FIRST_ROOMS.len()) as u64 {
            assert!(rooms.open(&format!("room-{n}"), n).closed.is_none());
        }
        rooms.add("room-0", words("ada", None, 100)).unwrap();
        assert_eq!(rooms.open("one-more", 101).closed.as_deref(), Some("room-1"));
        assert_eq!(rooms.rooms.len(), ROOMS_MAX);
        assert!(!rooms.open("harbour", 102).is_new);
        assert_eq!(rooms.version, (ROOMS_MAX - FIRST_ROOMS.len()) as u64 + 2);
        assert_eq!(rooms.add("room-1", words("ada", None, 103)).unwrap_err().reason, Reason::NotFound);
    }

    #[test]
    fn a_room_keeps_the_newest_messages() {
        let mut rooms = Rooms::first();
        for n in 1..=MESSAGES_MAX as u64 + 1 {
            assert_eq!(rooms.add("harbour", words("ada", None, n)).unwrap(), n);
        }
        let log = &rooms.rooms[0].log;
        assert_eq!((log.messages.len(), log.messages[0].time), (MESSAGES_MAX, 2));
    }

    #[test]
    fn a_direct_message_lies_with_both_and_with_nobody_else() {
        let mut inboxes = Inboxes::default();
        let versions = inboxes.add(&words("ada", Some("ben"), 1));
        assert_eq!(versions, [("ada".to_owned(), 2), ("ben".to_owned(), 2)]);
        assert_eq!(inboxes.add(&words("ada", Some("ada"), 2)), [("ada".to_owned(), 3)]);
        for n in 0..INBOXES_MAX as u64 {
            inboxes.add(&words("ada", Some(&format!("visitor-{n}")), 10 + n));
        }
        assert_eq!(inboxes.0.len(), INBOXES_MAX);
        assert!(!inboxes.0.contains_key("ben") && inboxes.0.contains_key("ada"));
    }

    #[test]
    fn an_inbox_that_was_forgotten_begins_with_versions_that_no_page_has_seen() {
        let mut inboxes = Inboxes::default();
        let seen = (1..=50).map(|n| inboxes.add(&words("ben", Some("ben"), 1_000 * n))[0].1).max();
        inboxes.0.clear();
        let version = inboxes.add(&words("ben", Some("ben"), 51_000))[0].1;
        // A page goes on with the next version, and reads anew at a later one.
        assert!(seen.is_some_and(|seen| version > seen), "{version} after {seen:?}");
    }

    #[test]
    fn a_name_that_no_channel_can_have_is_refused() {
        assert_eq!(channel_of("Zo\u{eb}").unwrap(), "user:Zo=C3=AB");
        assert_eq!(channel_of(&"\u{1f30a}".repeat(NAME_CHARS_MAX)).unwrap_err().reason, Reason::BadRequest);
        assert_eq!(room_name("Night Watch").unwrap(), "night-watch");
        assert!(room_name("a:b").is_err() && room_name("  ").is_err());
    }
}
