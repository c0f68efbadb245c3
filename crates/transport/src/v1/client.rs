//! Frames from a client: JSON text becomes a [`ClientFrame`], or an error that knows which frame it answers.
//!
//! A frame is read in two steps. The first only [cuts it into fields](super::fields), so that an error can name the `id`
//! of the frame that it answers; it does not recurse, whatever the depth of the input. The second reads the fields that
//! the type allows.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use tidewire_hub::channel::{Channel, ChannelSet};
use tidewire_hub::limits::Limits;
use tidewire_hub::message::{EventName, Payload};
use tidewire_hub::position::{Cursor, Start};
use tidewire_hub::publish::Key;
use tidewire_hub::reason::Reason;

use super::fields::{Field, Fields, Mistake, beginning};

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

/// Why a client's frame cannot be followed. Answered by [`error`](super::error); the connection goes on.
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
    let mut fields = Fields::cut(text);
    // The id comes first, because every mistake after it is answered with it.
    let id = fields.id().map_err(|mistake| mistake.of(None))?;
    match fields.take_mistake().and_then(|()| read_frame(&fields, limits)) {
        Ok(frame) => Ok(Tagged { id, frame }),
        Err(mistake) => Err(mistake.of(id)),
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tidewire_hub::position::Gen;

    fn limits() -> Limits {
        Limits { channels_per_connection_max: 3, message_bytes_max: 16, ..Limits::default() }
    }

    fn frame(text: &str) -> ClientFrame {
        parse(text, &limits()).unwrap().frame
    }

    /// What a refused frame is answered with.
    fn refused(text: &str) -> (Option<Box<str>>, Reason, Box<str>) {
        let error = parse(text, &limits()).unwrap_err();
        (error.id, error.reason, error.detail)
    }

    #[test]
    fn every_type_of_frame_is_read() {
        let channels = ChannelSet::parse("a,b", 2).unwrap();
        let channel = Channel::parse("a").unwrap();
        assert_eq!(
            frame(r#"{"type":"subscribe","channels":["a","b","a"]}"#),
            ClientFrame::Subscribe { channels: channels.clone(), cursor: None }
        );
        assert_eq!(
            frame(r#"{"type":"unsubscribe","channels":["a","b"]}"#),
            ClientFrame::Unsubscribe { channels }
        );
        assert_eq!(
            frame(r#"{"type":"publish","channel":"a","event":"e","data":"\u0041\n","key":"k"}"#),
            ClientFrame::Publish {
                channel: channel.clone(),
                event: Some(EventName::parse("e").unwrap()),
                payload: Payload::text(Bytes::from_static(b"A\n")).unwrap(),
                key: Key::parse("k"),
            }
        );
        assert_eq!(
            frame(r#"{"type":"publish","channel":"a","event":null,"data":null,"base64":"AP8="}"#),
            ClientFrame::Publish {
                channel: channel.clone(),
                event: None,
                payload: Payload::binary(Bytes::from_static(b"\0\xff")),
                key: None,
            }
        );
        assert_eq!(frame(r#"{"type":"presence","channel":"a"}"#), ClientFrame::Presence { channel });
        assert_eq!(
            frame(r#"{"type":"refresh","token":"t"}"#),
            ClientFrame::Refresh { token: Token("t".into()) }
        );
        assert_eq!(frame(r#" {"\u0074ype" : "ping"} "#), ClientFrame::Ping);
    }

    #[test]
    fn r7_a_cursor_that_cannot_be_read_is_no_error() {
        let start = |cursor: &str| {
            let text = format!(r#"{{"type":"subscribe","channels":["a"],"cursor":"{cursor}"}}"#);
            let ClientFrame::Subscribe { cursor, .. } = frame(&text) else { panic!("a subscribe") };
            cursor.unwrap()
        };
        let position = tidewire_hub::Position { generation: Gen::from_random(7), seq: 9 };
        assert_eq!(start("7.9"), Start::After(Cursor::At(position)));
        assert_eq!(start("no cursor"), Start::After(Cursor::Unreadable));
        assert_eq!(start("earliest"), Start::Earliest);
    }

    #[test]
    fn an_id_is_kept_as_it_came() {
        for id in ["0", "-1.50", "1e9", r#""""#, r#""a\u0062\"""#] {
            let tagged = parse(&format!(r#"{{"id":{id},"type":"ping"}}"#), &limits()).unwrap();
            assert_eq!(tagged.id.as_deref(), Some(id));
        }
        let long = format!(r#"{{"type":"ping","id":"{}"}}"#, "x".repeat(ID_BYTES_MAX - 2));
        assert!(parse(&long, &limits()).is_ok());
        assert_eq!(parse(r#"{"type":"ping","id":null}"#, &limits()).unwrap().id, None);
    }

    #[test]
    fn a_mistake_is_answered_by_the_id_of_its_frame() {
        for text in [
            r#"{"id":7}"#,
            r#"{"tipe":"ping","id":7}"#,
            r#"{"type":"pong","id":7}"#,
            r#"{"type":"ping","type":"ping","id":7}"#,
            r#"{"type":5,"id":7}"#,
            r#"{"id":7,"type":"ping""#,
            r#"{"id":7,"type":"ping"} x"#,
        ] {
            let (id, reason, detail) = refused(text);
            assert_eq!((id.as_deref(), reason), (Some("7"), Reason::BadRequest), "{text}: {detail}");
        }
        for text in ["", "5", "[]", "null", "\"secret\"", "{", r#"{"type":"ping","id":{}}"#, r#"{"id":true}"#]
        {
            let (id, reason, detail) = refused(text);
            assert_eq!((id, reason), (None, Reason::BadRequest), "{text}");
            assert!(!detail.contains("secret"));
        }
    }

    #[test]
    fn a_field_that_stands_twice_is_refused() {
        for field in Field::ALL.map(Field::name) {
            let (_, _, detail) = refused(&format!(r#"{{"{field}":"a","{field}":"a"}}"#));
            assert!(detail.contains("twice"), "{detail}");
        }
    }

    #[test]
    fn a_field_of_another_type_of_frame_is_refused() {
        for (text, field) in [
            (r#"{"type":"ping","data":"a"}"#, "data"),
            (r#"{"type":"subscribe","channels":["a"],"channel":"a"}"#, "channel"),
            (r#"{"type":"publish","channels":["a"],"channel":"a","data":""}"#, "channels"),
            (r#"{"type":"presence","channel":"a","token":"t"}"#, "token"),
        ] {
            let (_, reason, detail) = refused(text);
            assert_eq!(reason, Reason::BadRequest);
            assert!(detail.ends_with(&format!("has no field `{field}`")), "{detail}");
        }
    }

    #[test]
    fn s36_channels_are_named_counted_and_bounded() {
        for (channels, reason) in [
            (r#"[]"#, Reason::ChannelCount),
            (r#"null"#, Reason::ChannelCount),
            (r#"["a","b","c","d"]"#, Reason::ChannelCount),
            (r#"["a b"]"#, Reason::ChannelInvalid),
            (r#"["$sys"]"#, Reason::ChannelInvalid),
            (r#"["__proto__\u0000"]"#, Reason::ChannelInvalid),
            (r#""a""#, Reason::BadRequest),
            (r#"[5]"#, Reason::BadRequest),
        ] {
            assert_eq!(
                refused(&format!(r#"{{"type":"subscribe","channels":{channels}}}"#)).1,
                reason,
                "{channels}"
            );
        }
    }

    #[test]
    fn a_publish_says_what_where_and_within_bounds() {
        for (fields, reason) in [
            (r#""data":"""#, Reason::BadRequest),
            (r#""channel":"a""#, Reason::BadRequest),
            (r#""channel":"a","data":"","base64":"""#, Reason::BadRequest),
            (r#""channel":"a","data":{"a":1}"#, Reason::BadRequest),
            (r#""channel":"a","data":"\ud800""#, Reason::BadRequest),
            (r#""channel":"a","base64":"AP8""#, Reason::BadRequest),
            (r#""channel":"a","base64":"AP9=""#, Reason::BadRequest),
            (r#""channel":"a","data":"","key":"""#, Reason::BadRequest),
            (r#""channel":"a,b","data":"""#, Reason::ChannelInvalid),
            (r#""channel":"a","data":"","event":"$gap""#, Reason::EventInvalid),
            (r#""channel":"a","data":"12345678901234567""#, Reason::TooLarge),
            (r#""channel":"a","base64":"AAAAAAAAAAAAAAAAAAAAAAA=""#, Reason::TooLarge),
        ] {
            let (id, is, detail) = refused(&format!(r#"{{"type":"publish","id":1,{fields}}}"#));
            assert_eq!((id.as_deref(), is), (Some("1"), reason), "{fields}: {detail}");
        }
    }

    #[test]
    fn s49_a_token_is_not_shown() {
        let tagged = parse(r#"{"type":"refresh","token":"canary"}"#, &limits()).unwrap();
        assert!(!format!("{tagged:?}").contains("canary"));
        let ClientFrame::Refresh { token } = tagged.frame else { panic!("a refresh") };
        assert_eq!(token.as_str(), "canary");
        assert!(!refused(r#"{"type":"refresh","token":{"a":"canary"}}"#).2.contains("canary"));
    }

    #[test]
    fn s40_depth_costs_nothing() {
        let deep = format!(r#"{{"id":1,"type":"ping","data":{}"#, "[".repeat(1 << 16));
        assert_eq!(refused(&deep).1, Reason::BadRequest);
        let closed = format!(
            r#"{{"type":"publish","channel":"a","data":{}{}}}"#,
            "[".repeat(9_999),
            "]".repeat(9_999)
        );
        assert_eq!(&*refused(&closed).2, "`data` is not a string");
    }

    proptest! {
        #[test]
        fn s40_no_text_makes_it_panic(text in any::<String>()) {
            let _ = parse(&text, &Limits::default());
        }

        #[test]
        fn s40_nothing_that_looks_like_a_frame_makes_it_panic(
            parts in prop::collection::vec(
                prop::sample::select(vec![
                    "{", "}", "\"type\"", ":", ",", "\"ping\"", "\"publish\"", "\"id\"", "1", "\"data\"", "[", "]",
                    "\"channel\"", "\"a\"", "null", "\\", "\"", " ", "\u{feff}", "-", "1e999", "\"\\ud800\"",
                ]),
                0..24,
            ),
        ) {
            if let Err(error) = parse(&parts.concat(), &Limits::default()) {
                prop_assert!(error.detail.len() < 256);
            }
        }

        #[test]
        fn any_text_is_published_exactly(content in any::<String>()) {
            let text = serde_json::json!({"type": "publish", "channel": "a", "data": content}).to_string();
            let ClientFrame::Publish { payload, .. } = parse(&text, &Limits::default()).unwrap().frame else {
                panic!("a publish");
            };
            prop_assert_eq!(payload.as_text(), Some(content.as_str()));
        }
    }
}
