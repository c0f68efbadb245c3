//! What a subscriber hears, whatever the transport.

use serde_json::Value;

/// Something the server said that broke the protocol, in words.
pub type Broken = String;

/// One thing heard.
#[derive(Clone, Debug, PartialEq)]
pub enum Heard {
    /// The stream starts here; its cursor is absent only where the protocol says so.
    Ready(Option<String>),
    /// A message.
    Message(Seen),
    /// An id alone: a heartbeat, or the cursor of a poll.
    At(String),
    /// A gap.
    Gap(GapHeard),
    /// A WebSocket ping, to be answered with the same bytes.
    Ping(Vec<u8>),
    /// An orderly end, and why.
    Ended(String),
}

/// A message as one transport shows it.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    /// Its channel, where the transport names it.
    pub channel: Option<String>,
    /// Its id.
    pub id: String,
    /// Its text.
    pub text: String,
}

/// A gap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GapHeard {
    /// Which channels.
    pub channels: Vec<String>,
    /// Why, in the wire's word.
    pub reason: String,
    /// Where what follows begins.
    pub cursor: String,
}

/// A page: what it holds in the order in which a stream would say it, and whether there is more now.
///
/// # Errors
/// Names what a page must have and this one has not.
pub fn page(value: &Value) -> Result<(Vec<Heard>, bool), Broken> {
    let mut heard = Vec::new();
    if !value["gap"].is_null() {
        heard.push(Heard::Gap(gap(&value["gap"])?));
    }
    let messages = value["messages"].as_array().ok_or_else(|| format!("a page without messages: {value}"))?;
    for message in messages {
        heard.push(Heard::Message(envelope(message)?));
    }
    if let Some(cursor) = value["cursor"].as_str() {
        heard.push(Heard::At(cursor.to_owned()));
    }
    let more = value["more"].as_bool().ok_or_else(|| format!("a page without `more`: {value}"))?;
    Ok((heard, more))
}

/// An envelope.
///
/// # Errors
/// Names what is missing.
pub fn envelope(value: &Value) -> Result<Seen, Broken> {
    Ok(Seen {
        channel: Some(text(value, "channel")?.to_owned()),
        id: text(value, "id")?.to_owned(),
        text: text(value, "data")?.to_owned(),
    })
}

/// `{channels,reason,cursor}`.
///
/// # Errors
/// Names what is missing.
pub fn gap(value: &Value) -> Result<GapHeard, Broken> {
    let channels = value["channels"].as_array().ok_or_else(|| format!("a gap without channels: {value}"))?;
    Ok(GapHeard {
        channels: channels.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        reason: text(value, "reason")?.to_owned(),
        cursor: text(value, "cursor")?.to_owned(),
    })
}

/// A `tidewire.v1` frame; nothing where it says nothing about messages.
///
/// # Errors
/// It is no JSON, or lacks a field.
pub fn frame(payload: &str) -> Result<Vec<Heard>, Broken> {
    let value: Value = serde_json::from_str(payload).map_err(|error| format!("{error} in {payload}"))?;
    Ok(match text(&value, "type")? {
        "ready" => vec![Heard::Ready(value["cursor"].as_str().map(str::to_owned))],
        "message" => vec![Heard::Message(envelope(&value)?)],
        "gap" => vec![Heard::Gap(gap(&value)?)],
        "ack" | "error" | "pong" => Vec::new(),
        "expired" => vec![Heard::Ended("expired".into())],
        other => return Err(format!("a frame of type {other}")),
    })
}

fn text<'v>(value: &'v Value, field: &str) -> Result<&'v str, Broken> {
    value[field].as_str().ok_or_else(|| format!("no `{field}` in {value}"))
}
