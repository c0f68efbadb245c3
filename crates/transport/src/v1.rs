//! The `tidewire.v1` subprotocol: JSON text frames, each with a `type` (`docs/protocol.md`, "tidewire.v1").
//!
//! ```text
//! client  subscribe {channels, cursor?}   unsubscribe {channels}   publish {channel, event?, data|base64, key?}
//!         presence {channel}   refresh {token}   ping              each may carry an id
//! server  ready  message  gap  expired                             of its own accord
//!         ack {id, …}  error {id, code, detail}  pong {id}         in answer
//! ```
//!
//! A client's frame is read in two steps. The first only cuts it into fields, so that an error can name the `id` of the
//! frame that it answers; it does not recurse, whatever the depth of the input. The second reads the fields that the
//! type allows.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer as _};
use serde_json::value::RawValue;
use tidewire_hub::admit::{Gap, Page};
use tidewire_hub::channel::{Channel, ChannelSet};
use tidewire_hub::limits::Limits;
use tidewire_hub::message::{EventName, Message, Payload};
use tidewire_hub::position::{Cursor, Position, Start};
use tidewire_hub::publish::{Key, Receipt};
use tidewire_hub::reason::Reason;

use crate::envelope;

/// The longest `id` of a client's frame, in bytes of JSON.
pub const ID_BYTES_MAX: usize = 128;

/// What a client asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientFrame {
    /// To hear channels.
    Subscribe {
        /// At least one.
        channels: ChannelSet,
        /// Where to begin; from now on where it is absent.
        cursor: Option<Start>,
    },
    /// Not to hear channels any more.
    Unsubscribe {
        /// At least one.
        channels: ChannelSet,
    },
    /// To publish.
    Publish {
        /// Where to.
        channel: Channel,
        /// What the publisher calls it.
        event: Option<EventName>,
        /// From `data`, or binary from `base64`.
        payload: Payload,
        /// Makes a repetition harmless.
        key: Option<Key>,
    },
    /// Who else is there.
    Presence {
        /// Where.
        channel: Channel,
    },
    /// To go on with a new token.
    Refresh {
        /// Not looked at yet.
        token: Token,
    },
    /// For a sign of life.
    Ping,
}

/// A client's frame and the tag that its answer carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tagged {
    /// The frame's `id` as raw JSON, a string or a number of at most [`ID_BYTES_MAX`] bytes.
    pub id: Option<Box<str>>,
    /// What is asked.
    pub frame: ClientFrame,
}

/// A credential in transit.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(Box<str>);

impl Token {
    /// The secret itself.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    // Secrets stay out of logs (security rule S49).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Why a client's frame cannot be followed. Answered by [`error`]; the connection goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct V1Error {
    /// The frame's `id`, if that much of it was readable.
    pub id: Option<Box<str>>,
    /// What kind of mistake it is.
    pub reason: Reason,
    /// The same in the frame's own terms. Holds no payload and no token.
    pub detail: Box<str>,
}

impl fmt::Display for V1Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

impl std::error::Error for V1Error {}

/// Reads one frame of a client. A field that is `null` counts as absent.
///
/// # Errors
/// A frame that is no JSON object, has no known `type`, misses a field, or holds one twice, unknown, or out of bounds.
pub fn parse(text: &str, limits: &Limits) -> Result<Tagged, V1Error> {
    let mut fields = Fields::default();
    let mut reader = serde_json::Deserializer::from_str(text);
    let cut = reader.deserialize_map(Cut(&mut fields)).and_then(|()| reader.end());
    // The id comes first, because every mistake after it is answered with it.
    let id = read_id(&fields).map_err(|mistake| mistake.of(None))?;
    cut.map_err(|error| Mistake::bad(format!("the frame is not one JSON object (column {})", error.column())))
        .and_then(|()| fields.mistake.take().map_or(Ok(()), Err))
        .and_then(|()| read_frame(&fields, limits))
        .map(|frame| Tagged { id: id.clone(), frame })
        .map_err(|mistake| mistake.of(id))
}

/// `message`: one message, as an envelope.
#[must_use]
pub fn message(message: &Message) -> String {
    frame("message", envelope::capacity(message), |out| {
        out.push(b',');
        envelope::write_fields(message, out);
    })
}

/// `ready`: interest is confirmed, and what follows begins at `cursor`, if that has an id.
#[must_use]
pub fn ready(channels: &ChannelSet, cursor: Option<Position>) -> String {
    frame("ready", 64, |out| {
        out.push(b',');
        envelope::write_ready_fields(channels, cursor, out);
    })
}

/// `gap`: messages may be missing.
#[must_use]
pub fn gap(gap: &Gap) -> String {
    frame("gap", 96, |out| {
        out.push(b',');
        envelope::write_gap_fields(gap, out);
    })
}

/// `expired`: the rights of this connection ended, and so does it.
#[must_use]
pub fn expired() -> String {
    frame("expired", 0, |_| {})
}

/// `ack`: it is done. `id` is a [`Tagged::id`].
#[must_use]
pub fn ack(id: Option<&str>) -> String {
    frame("ack", ID_BYTES_MAX, |out| write_id(id, out))
}

/// `ack` of a publish: the message has its place.
#[must_use]
pub fn ack_publish(id: Option<&str>, receipt: &Receipt, channel: &Channel) -> String {
    frame("ack", 384, |out| {
        write_id(id, out);
        // `id` is the frame's own here, so the message's has a longer name.
        out.extend_from_slice(b",\"message_id\":\"");
        envelope::write_position(receipt.position, out);
        out.extend_from_slice(b"\",\"channel\":");
        envelope::write_channel(channel, out);
        for (name, count) in [
            (&b",\"receivers\":{\"sse\":"[..], receipt.receivers.sse),
            (b",\"ws\":", receipt.receivers.ws),
            (b",\"poll\":", receipt.receivers.poll),
        ] {
            out.extend_from_slice(name);
            envelope::write_number(u64::from(count), out);
        }
        out.push(b'}');
    })
}

/// `ack` of a subscribe: what a poll would answer. It names a cursor only if the channels have joined (delivery rule
/// R11); until then the client asks again with the id of the last message.
#[must_use]
pub fn ack_subscribe(id: Option<&str>, page: &Page, joined: bool) -> String {
    let capacity = page.messages.iter().map(|message| envelope::capacity(message) + 1).sum::<usize>();
    frame("ack", capacity + 256, |out| {
        write_id(id, out);
        out.extend_from_slice(b",\"messages\":");
        envelope::write_messages(page.messages.iter().map(AsRef::as_ref), out);
        out.extend_from_slice(if page.more {
            b",\"more\":true,\"gap\":"
        } else {
            b",\"more\":false,\"gap\":"
        });
        match &page.gap {
            Some(gap) => envelope::write_gap(gap, out),
            None => out.extend_from_slice(b"null"),
        }
        if joined {
            out.extend_from_slice(b",\"cursor\":\"");
            envelope::write_position(page.cursor, out);
            out.push(b'"');
        }
    })
}

/// `error`: it is not done, and why. `detail` must hold no secret.
#[must_use]
pub fn error(id: Option<&str>, reason: Reason, detail: &str) -> String {
    frame("error", 192 + detail.len(), |out| {
        write_id(id, out);
        out.extend_from_slice(b",\"code\":\"");
        out.extend_from_slice(reason.code().as_bytes());
        out.extend_from_slice(b"\",\"detail\":");
        envelope::write_string(detail, out);
    })
}

/// `pong`: the answer to a `ping`.
#[must_use]
pub fn pong(id: Option<&str>) -> String {
    frame("pong", ID_BYTES_MAX, |out| write_id(id, out))
}

fn frame(kind: &str, capacity: usize, write_fields: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut out = Vec::with_capacity(capacity + 32);
    out.extend_from_slice(b"{\"type\":\"");
    out.extend_from_slice(kind.as_bytes());
    out.push(b'"');
    write_fields(&mut out);
    out.push(b'}');
    String::from_utf8(out).expect("names, numbers, escaped strings and ids that came as text are UTF-8")
}

fn write_id(id: Option<&str>, out: &mut Vec<u8>) {
    out.extend_from_slice(b",\"id\":");
    out.extend_from_slice(id.unwrap_or("null").as_bytes());
}

/// What is wrong, before it is known which frame to blame.
struct Mistake {
    reason: Reason,
    detail: String,
}

impl Mistake {
    fn new(reason: Reason, detail: impl fmt::Display) -> Mistake {
        Mistake { reason, detail: detail.to_string() }
    }

    fn bad(detail: impl fmt::Display) -> Mistake {
        Mistake::new(Reason::BadRequest, detail)
    }

    fn of(self, id: Option<Box<str>>) -> V1Error {
        V1Error { id, reason: self.reason, detail: self.detail.into() }
    }
}

/// The fields of a frame, each as raw JSON.
#[derive(Default)]
struct Fields<'a> {
    values: [Option<&'a RawValue>; Field::ALL.len()],
    mistake: Option<Mistake>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Field {
    Type,
    Id,
    Channels,
    Channel,
    Cursor,
    Event,
    Data,
    Base64,
    Key,
    Token,
}

impl Field {
    const ALL: [(&'static str, Field); 10] = [
        ("type", Field::Type),
        ("id", Field::Id),
        ("channels", Field::Channels),
        ("channel", Field::Channel),
        ("cursor", Field::Cursor),
        ("event", Field::Event),
        ("data", Field::Data),
        ("base64", Field::Base64),
        ("key", Field::Key),
        ("token", Field::Token),
    ];

    fn name(self) -> &'static str {
        Field::ALL[self as usize].0
    }
}

impl<'a> Fields<'a> {
    fn get(&self, field: Field) -> Option<&'a RawValue> {
        self.values[field as usize].filter(|value| value.get() != "null")
    }

    fn read<T: Deserialize<'a>>(&self, field: Field, what: &str) -> Result<Option<T>, Mistake> {
        let Some(value) = self.get(field) else { return Ok(None) };
        match serde_json::from_str(value.get()) {
            Ok(value) => Ok(Some(value)),
            Err(_) => Err(Mistake::bad(format!("`{}` is not {what}", field.name()))),
        }
    }

    fn string(&self, field: Field) -> Result<Option<String>, Mistake> {
        self.read(field, "a string")
    }

    /// Refuses fields that this type of frame does not have: a misspelt intention must not pass for none.
    fn allow(&self, kind: &str, allowed: &[Field]) -> Result<(), Mistake> {
        let given = Field::ALL.iter().filter(|(_, field)| self.get(*field).is_some());
        match given
            .map(|(_, field)| *field)
            .find(|field| !matches!(field, Field::Type | Field::Id) && !allowed.contains(field))
        {
            Some(field) => Err(Mistake::bad(format!("`{kind}` has no field `{}`", field.name()))),
            None => Ok(()),
        }
    }
}

/// Cuts an object into its fields. Goes on after a mistake, because the `id` may come later.
struct Cut<'f, 'a>(&'f mut Fields<'a>);

impl<'a> Visitor<'a> for Cut<'_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key::<FieldName>()? {
            let value = map.next_value::<&RawValue>()?;
            let mistake = match name {
                FieldName::Known(field) => match self.0.values[field as usize].replace(value) {
                    None => continue,
                    Some(_) => format!("`{}` stands there twice", field.name()),
                },
                FieldName::Unknown(start) => format!("there is no field `{start}`"),
            };
            self.0.mistake.get_or_insert_with(|| Mistake::bad(mistake));
        }
        Ok(())
    }
}

enum FieldName {
    Known(Field),
    /// How it begins: enough to find it, not enough to fill a log with.
    Unknown(String),
}

impl<'de> Deserialize<'de> for FieldName {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<FieldName, D::Error> {
        struct Name;

        impl Visitor<'_> for Name {
            type Value = FieldName;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a field name")
            }

            fn visit_str<E: de::Error>(self, name: &str) -> Result<FieldName, E> {
                let known = Field::ALL.iter().find(|(known, _)| *known == name);
                Ok(match known {
                    Some((_, field)) => FieldName::Known(*field),
                    None => FieldName::Unknown(beginning(name)),
                })
            }
        }

        deserializer.deserialize_identifier(Name)
    }
}

fn read_id(fields: &Fields<'_>) -> Result<Option<Box<str>>, Mistake> {
    match fields.get(Field::Id).map(RawValue::get) {
        None => Ok(None),
        Some(id) if id.len() > ID_BYTES_MAX => {
            Err(Mistake::bad(format!("`id` has {} bytes; {ID_BYTES_MAX} is the most", id.len())))
        }
        Some(id) if id.starts_with(|first: char| first == '"' || first == '-' || first.is_ascii_digit()) => {
            Ok(Some(id.into()))
        }
        Some(_) => Err(Mistake::bad("`id` is neither a string nor a number")),
    }
}

fn read_frame(fields: &Fields<'_>, limits: &Limits) -> Result<ClientFrame, Mistake> {
    let kind = fields.string(Field::Type)?.ok_or_else(|| Mistake::bad("`type` is missing"))?;
    match kind.as_str() {
        "subscribe" => {
            fields.allow(&kind, &[Field::Channels, Field::Cursor])?;
            Ok(ClientFrame::Subscribe {
                channels: read_channels(fields, limits)?,
                cursor: read_cursor(fields)?,
            })
        }
        "unsubscribe" => {
            fields.allow(&kind, &[Field::Channels])?;
            Ok(ClientFrame::Unsubscribe { channels: read_channels(fields, limits)? })
        }
        "publish" => {
            fields.allow(&kind, &[Field::Channel, Field::Event, Field::Data, Field::Base64, Field::Key])?;
            Ok(ClientFrame::Publish {
                channel: read_channel(fields)?,
                event: read_event(fields)?,
                payload: read_payload(fields, limits)?,
                key: read_key(fields)?,
            })
        }
        "presence" => {
            fields.allow(&kind, &[Field::Channel])?;
            Ok(ClientFrame::Presence { channel: read_channel(fields)? })
        }
        "refresh" => {
            fields.allow(&kind, &[Field::Token])?;
            let token = fields.string(Field::Token)?.ok_or_else(|| Mistake::bad("`token` is missing"))?;
            Ok(ClientFrame::Refresh { token: Token(token.into()) })
        }
        "ping" => {
            fields.allow(&kind, &[])?;
            Ok(ClientFrame::Ping)
        }
        _ => Err(Mistake::bad(format!(
            "`type` is `{}`, not one of subscribe, unsubscribe, publish, presence, refresh, ping",
            beginning(&kind)
        ))),
    }
}

fn read_channels(fields: &Fields<'_>, limits: &Limits) -> Result<ChannelSet, Mistake> {
    let names: Vec<String> = fields.read(Field::Channels, "an array of strings")?.unwrap_or_default();
    let channels_max = limits.channels_per_connection_max;
    if names.is_empty() {
        return Err(Mistake::new(Reason::ChannelCount, "`channels` names no channel"));
    }
    if names.len() > channels_max {
        let detail = format!("`channels` names {}; one connection may have {channels_max}", names.len());
        return Err(Mistake::new(Reason::ChannelCount, detail));
    }
    let channels: Result<Vec<Channel>, Mistake> = names.iter().map(|name| parse_channel(name)).collect();
    Ok(ChannelSet::new(channels?))
}

fn read_channel(fields: &Fields<'_>) -> Result<Channel, Mistake> {
    let name = fields.string(Field::Channel)?.ok_or_else(|| Mistake::bad("`channel` is missing"))?;
    parse_channel(&name)
}

fn parse_channel(name: &str) -> Result<Channel, Mistake> {
    Channel::parse(name).map_err(|error| Mistake::new(Reason::ChannelInvalid, error))
}

/// A cursor that cannot be read is no error but a gap (delivery rule R7).
fn read_cursor(fields: &Fields<'_>) -> Result<Option<Start>, Mistake> {
    let cursor = fields.string(Field::Cursor)?;
    Ok(cursor.map(|cursor| match cursor.as_str() {
        "earliest" => Start::Earliest,
        cursor => Start::After(Cursor::parse(cursor.as_bytes())),
    }))
}

fn read_event(fields: &Fields<'_>) -> Result<Option<EventName>, Mistake> {
    let name = fields.string(Field::Event)?;
    name.map(|name| EventName::parse(&name).map_err(|error| Mistake::new(Reason::EventInvalid, error)))
        .transpose()
}

fn read_payload(fields: &Fields<'_>, limits: &Limits) -> Result<Payload, Mistake> {
    let payload = match (fields.string(Field::Data)?, fields.string(Field::Base64)?) {
        (Some(data), None) => Payload::text(Bytes::from(data)).expect("a String is UTF-8"),
        (None, Some(base64)) => {
            let bytes = STANDARD.decode(base64);
            Payload::binary(
                bytes.map_err(|_| Mistake::bad("`base64` is not padded base64 (RFC 4648 section 4)"))?.into(),
            )
        }
        (Some(_), Some(_)) => return Err(Mistake::bad("`data` and `base64` exclude each other")),
        (None, None) => return Err(Mistake::bad("`data` or `base64` is missing")),
    };
    let (bytes, bytes_max) = (payload.as_bytes().len(), limits.message_bytes_max);
    if bytes > bytes_max {
        return Err(Mistake::new(
            Reason::TooLarge,
            format!("the payload has {bytes} bytes; {bytes_max} is the most"),
        ));
    }
    Ok(payload)
}

fn read_key(fields: &Fields<'_>) -> Result<Option<Key>, Mistake> {
    let key = fields.string(Field::Key)?;
    key.map(|key| {
        Key::parse(&key).ok_or_else(|| Mistake::bad("`key` is not 1 to 256 visible ASCII characters"))
    })
    .transpose()
}

/// The first characters of a name that nobody knows.
fn beginning(name: &str) -> String {
    name.chars().take(32).collect()
}
