//! What a client hears, whatever the transport.

use std::fmt;

use serde_json::Value;
use tidewire_hub::position::{Cursor, Position};

/// Something the server said that broke the protocol, in words.
pub type Broken = String;

/// One thing heard.
#[derive(Clone, Debug, PartialEq)]
pub enum Heard {
    /// The stream or WebSocket is open.
    Opened,
    /// `$ready` or `ready`.
    Ready {
        /// Which channels have joined.
        channels: Vec<String>,
        /// Where the stream starts, if that has an id.
        cursor: Option<Position>,
    },
    /// A message.
    Message(Seen),
    /// An id alone.
    Heartbeat(Position),
    /// A gap inside a stream.
    Gap(GapHeard),
    /// The answer to a poll, or to a `subscribe` frame.
    Page(PageHeard),
    /// A poll that has nothing new.
    NotModified,
    /// The answer to a `tidewire.v1` frame other than a `subscribe`.
    Ack(Value),
    /// A WebSocket ping, to be answered.
    Ping(Vec<u8>),
    /// A WebSocket close.
    Closed(u16, String),
    /// The clean end of a stream.
    Ended,
    /// A refusal over HTTP: status and code.
    Refused(u16, String),
}

/// A message as one transport shows it.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    /// Its channel, where the transport names it.
    pub channel: Option<String>,
    /// Its id, where the transport names it.
    pub id: Option<Position>,
    /// Its event, where the transport would name one.
    pub event: Option<Option<String>>,
    /// What it holds.
    pub content: Content,
}

/// What a message holds, as far as a transport keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// Text exactly as published.
    Text(String),
    /// Bytes exactly as published.
    Binary(Vec<u8>),
    /// The data of an SSE event: text with other line breaks, or base64.
    Shown(String),
}

/// A gap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GapHeard {
    /// Which channels; nothing where a raw WebSocket cannot say.
    pub channels: Option<Vec<String>>,
    /// Why, in the wire's word; nothing where a raw WebSocket cannot say.
    pub reason: Option<String>,
    /// Where what follows begins.
    pub cursor: Position,
}

/// A page of the past.
#[derive(Clone, Debug, PartialEq)]
pub struct PageHeard {
    /// The `id` of the frame that asked, where a frame did.
    pub asked_by: Option<u64>,
    /// In order.
    pub messages: Vec<Seen>,
    /// Where to go on from.
    pub cursor: Option<Position>,
    /// Whether there is more now.
    pub more: bool,
    /// What may be missing before the messages.
    pub gap: Option<GapHeard>,
    /// The `ETag`, quotes included.
    pub etag: Option<String>,
}

impl fmt::Display for Heard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Heard::Message(seen) => write!(f, "message {seen}"),
            Heard::Gap(gap) => write!(f, "gap {:?} of {:?} at {}", gap.reason, gap.channels, gap.cursor),
            Heard::Heartbeat(place) => write!(f, "heartbeat {place}"),
            Heard::Page(page) => {
                write!(f, "page [")?;
                page.messages.iter().try_for_each(|seen| write!(f, "{seen}; "))?;
                write!(f, "] up to {}", page.cursor.map_or("nowhere".into(), |place| place.to_string()))?;
                page.gap.iter().try_for_each(|gap| write!(f, " {}", Heard::Gap(gap.clone())))
            }
            other => write!(f, "{other:?}"),
        }
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (channel, id) = (self.channel.as_deref().unwrap_or("-"), self.id);
        let start: String = match &self.content {
            Content::Text(text) | Content::Shown(text) => text.chars().take(6).collect(),
            Content::Binary(bytes) => String::from_utf8_lossy(bytes).chars().take(6).collect(),
        };
        write!(f, "{} on {channel} {start:?}", id.map_or("-".into(), |id| id.to_string()))
    }
}

/// Reads an id, which a server never gives malformed.
pub fn position(text: &str) -> Result<Position, Broken> {
    match Cursor::parse(text.as_bytes()) {
        Cursor::At(position) => Ok(position),
        Cursor::Unreadable => Err(format!("`{text}` is no id")),
    }
}

/// Reads an envelope.
pub fn envelope(value: &Value) -> Result<Seen, Broken> {
    let content = match (&value["data"], &value["base64"]) {
        (Value::String(text), Value::Null) => Content::Text(text.clone()),
        (Value::Null, Value::String(text)) => Content::Binary(base64(text)?),
        _ => return Err(format!("an envelope without one content: {value}")),
    };
    if !value["time"].is_u64() {
        return Err(format!("an envelope without a time: {value}"));
    }
    let event = match &value["event"] {
        Value::Null => None,
        Value::String(event) => Some(event.clone()),
        _ => return Err(format!("an event that is no name: {value}")),
    };
    let id = Some(position(text_of(value, "id")?)?);
    Ok(Seen { channel: Some(text_of(value, "channel")?.to_owned()), id, event: Some(event), content })
}

/// Reads `{channels,reason,cursor}`.
pub fn gap(value: &Value) -> Result<GapHeard, Broken> {
    let cursor = position(text_of(value, "cursor")?)?;
    let reason = Some(text_of(value, "reason")?.to_owned());
    Ok(GapHeard { channels: Some(names(&value["channels"])?), reason, cursor })
}

/// Reads `{messages,cursor?,more,gap}`.
pub fn page(value: &Value) -> Result<PageHeard, Broken> {
    let messages = value["messages"].as_array().ok_or_else(|| format!("a page without messages: {value}"))?;
    let cursor = match &value["cursor"] {
        Value::Null => None,
        Value::String(cursor) => Some(position(cursor)?),
        _ => return Err(format!("a cursor that is no id: {value}")),
    };
    Ok(PageHeard {
        asked_by: value["id"].as_u64(),
        messages: messages.iter().map(envelope).collect::<Result<_, _>>()?,
        cursor,
        more: value["more"].as_bool().ok_or_else(|| format!("a page without `more`: {value}"))?,
        gap: if value["gap"].is_null() { None } else { Some(gap(&value["gap"])?) },
        etag: None,
    })
}

/// Reads a `tidewire.v1` frame.
pub fn frame(text: &str) -> Result<Heard, Broken> {
    let value: Value = serde_json::from_str(text).map_err(|error| format!("{error} in {text}"))?;
    Ok(match text_of(&value, "type")? {
        "ready" => ready(&value)?,
        "message" => Heard::Message(envelope(&value)?),
        "gap" => Heard::Gap(gap(&value)?),
        "ack" if value["messages"].is_array() => Heard::Page(page(&value)?),
        "ack" | "error" | "pong" => Heard::Ack(value),
        other => return Err(format!("a frame of type {other}")),
    })
}

/// Reads the fields of `$ready`.
pub fn ready(value: &Value) -> Result<Heard, Broken> {
    let cursor = match &value["cursor"] {
        Value::Null => None,
        Value::String(cursor) => Some(position(cursor)?),
        _ => return Err(format!("a start that is no id: {value}")),
    };
    Ok(Heard::Ready { channels: names(&value["channels"])?, cursor })
}

/// Decodes base64.
pub fn base64(text: &str) -> Result<Vec<u8>, Broken> {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.decode(text).map_err(|error| format!("{error} in {text}"))
}

fn names(value: &Value) -> Result<Vec<String>, Broken> {
    let names =
        value.as_array().map(|names| names.iter().filter_map(Value::as_str).map(str::to_owned).collect());
    names.ok_or_else(|| format!("no list of channels: {value}"))
}

fn text_of<'v>(value: &'v Value, field: &str) -> Result<&'v str, Broken> {
    value[field].as_str().ok_or_else(|| format!("no `{field}` in {value}"))
}
