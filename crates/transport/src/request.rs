//! Requests: which transport a head asks for, of which channels, from where on.

use std::fmt;
use std::time::Duration;

use tidewire_hub::admit::Transport;
use tidewire_hub::channel::{Channel, ChannelSet, ChannelSetError};
use tidewire_hub::limits::Limits;
use tidewire_hub::message::is_reserved_event_name;
use tidewire_hub::position::{Cursor, Start};
use tidewire_hub::reason::Reason;

use crate::caller::{Caller, only};
use crate::http1::{Body, Head, is_token_byte, percent_decode};
use crate::post;
use crate::refusal::Refusal;
use crate::websocket::handshake;

/// A subscription as it is asked for: in bounds, and not yet allowed.
pub struct Request {
    /// Over which transport.
    pub wants: Wants,
    /// Of which channels. Empty only for a `tidewire.v1` WebSocket.
    pub channels: ChannelSet,
    /// From where on.
    pub start: Start,
    /// The `Origin` field.
    pub origin: Option<Box<str>>,
    /// Who asks. Forgotten once that is decided, since idle connections are many.
    pub caller: Option<Box<Caller>>,
    /// The `If-None-Match` field, for short polls.
    pub if_none_match: Option<Box<str>>,
    /// Whether the connection outlives the answer to a poll.
    pub keep_alive: bool,
    /// Whether a stream is sent in chunks (HTTP/1.1) or until the connection closes (HTTP/1.0).
    pub chunked: bool,
}

/// The transport a request asks for, and what only that transport needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wants {
    /// Server-Sent Events.
    Sse {
        /// Whether `data` holds the JSON envelope (`?format=json`).
        envelope: bool,
    },
    /// A WebSocket.
    WebSocket {
        /// What `Sec-WebSocket-Accept` answers (RFC 6455 section 4.2.2).
        accept_key: [u8; 28],
        /// What is spoken over it.
        protocol: Protocol,
    },
    /// An answer when something arrives.
    LongPoll {
        /// How long to wait for it, at most `poll_wait_max`.
        wait: Duration,
    },
    /// An answer at once.
    ShortPoll,
}

/// What is spoken over a WebSocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Payloads as published, one a frame. No subprotocol is named in the answer.
    Raw,
    /// JSON frames with a `type`: the subprotocol `tidewire.v1`.
    V1,
}

/// Who answers a request.
#[derive(Debug)]
pub enum Route {
    /// The engine.
    Subscribe(Box<Request>),
    /// The engine, if the body comes soon: a publish in its simplest form.
    Publish {
        /// Where to.
        channel: Channel,
        /// How much of what follows the head is its body.
        body_bytes: usize,
    },
    /// The API server: any other publish, a page, the control API, whatever is not a subscription.
    Other,
}

/// Whether a head that could not be routed is that of a browser's `EventSource`, which can read no refusal but one inside
/// a stream. Browsers tell themselves by Fetch Metadata.
#[must_use]
pub fn is_event_source(head: &Head<'_>) -> bool {
    head.method == "GET"
        && head.header("sec-fetch-site").is_some()
        && head.path().starts_with("/c/")
        && !head.asks_for_websocket()
        && Accept::of(head).event_stream
}

/// Decides what a head asks for: the table in `docs/protocol.md`, "One URL", of which the first matching row wins.
///
/// # Errors
/// What is wrong with a subscription. Never for what the API server answers.
pub fn route(head: &Head<'_>, limits: &Limits) -> Result<Route, Refusal> {
    let Some(list) = head.path().strip_prefix("/c/").filter(|_| head.method == "GET") else {
        let post = post::of(head, limits);
        return Ok(post.map_or(Route::Other, |(channel, body_bytes)| Route::Publish { channel, body_bytes }));
    };
    let accept = Accept::of(head);
    let query = Query::of(head);
    let (wants, bearer) = if head.asks_for_websocket() {
        websocket(head)?
    } else if accept.event_stream {
        (Wants::Sse { envelope: query.wants_envelope()? }, None)
    } else if accept.html {
        return Ok(Route::Other);
    } else if let Some(wait) = &query.wait {
        (Wants::LongPoll { wait: parse_wait(wait, limits)? }, None)
    } else {
        (Wants::ShortPoll, None)
    };
    if head.body != Body::None {
        // Its bytes would be taken for the next request by whoever does not expect them (security rule S42).
        return Err(Refusal::new(Reason::MalformedRequest, "a subscription has no body"));
    }
    let channels = channels(list, &wants, limits)?;
    let mut caller = Caller::read(|name| head.header_values(name), head.path(), head.query())?;
    if let Some(bearer) = bearer {
        caller.authorize(bearer)?;
    }
    let request = Request {
        start: start(head, &query)?,
        channels,
        origin: caller.origin.clone(),
        caller: Some(Box::new(caller)),
        if_none_match: only(head.header_values("if-none-match"), "if-none-match", Reason::BadRequest)?,
        keep_alive: !head.ends_connection(),
        chunked: head.minor_version == 1,
        wants,
    };
    Ok(Route::Subscribe(Box::new(request)))
}

impl Wants {
    /// The transport that is asked for.
    #[must_use]
    pub fn transport(&self) -> Transport {
        match self {
            Wants::Sse { .. } => Transport::Sse,
            Wants::WebSocket { .. } => Transport::Ws,
            Wants::LongPoll { .. } | Wants::ShortPoll => Transport::Poll,
        }
    }
}

impl fmt::Debug for Request {
    // Credentials stay out of logs (security rule S49).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("wants", &self.wants)
            .field("channels", &self.channels)
            .field("start", &self.start)
            .field("caller", &self.caller)
            .field("if_none_match", &self.if_none_match)
            .field("keep_alive", &self.keep_alive)
            .field("chunked", &self.chunked)
            .finish()
    }
}

/// The media ranges of `Accept` that the table asks for. `*/*` is neither.
struct Accept {
    event_stream: bool,
    html: bool,
}

impl Accept {
    fn of(head: &Head<'_>) -> Accept {
        let names = |range: &str| {
            head.header_list("accept").any(|element| {
                let media_type = element.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
                media_type.eq_ignore_ascii_case(range.as_bytes())
            })
        };
        Accept { event_stream: names("text/event-stream"), html: names("text/html") }
    }
}

/// The parameters of a subscription, percent-decoded. Of a key that comes twice the first counts; others are ignored.
#[derive(Default)]
struct Query {
    cursor: Option<Vec<u8>>,
    tail: Option<Vec<u8>>,
    wait: Option<Vec<u8>>,
    format: Option<Vec<u8>>,
}

impl Query {
    fn of(head: &Head<'_>) -> Query {
        let mut query = Query::default();
        for pair in head.query().split('&') {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let slot = match key {
                "cursor" => &mut query.cursor,
                "tail" => &mut query.tail,
                "wait" => &mut query.wait,
                "format" => &mut query.format,
                _ => continue,
            };
            // A value that cannot be decoded is kept as it came: it is no number, no format and no readable cursor.
            let value = percent_decode(value).map_or(value.as_bytes().to_vec(), std::borrow::Cow::into_owned);
            slot.get_or_insert(value);
        }
        query
    }

    fn wants_envelope(&self) -> Result<bool, Refusal> {
        match self.format.as_deref() {
            None | Some(b"") => Ok(false),
            Some(b"json") => Ok(true),
            Some(_) => Err(Refusal::new(Reason::BadRequest, "the only `format` is json")),
        }
    }
}

/// The precedence is `Last-Event-ID`, then `cursor`, then `tail`, then live (`docs/protocol.md`, "Ids and cursors").
fn start(head: &Head<'_>, query: &Query) -> Result<Start, Refusal> {
    // A browser that has seen no id yet, or a script that has none to give, sends an empty one.
    let mut last_ids = head.header_values("last-event-id").filter(|id| !id.is_empty());
    if let Some(id) = last_ids.next() {
        let cursor = if last_ids.next().is_none() { Cursor::parse(id) } else { Cursor::Unreadable };
        return Ok(Start::After(cursor));
    }
    match (query.cursor.as_deref().filter(|cursor| !cursor.is_empty()), query.tail.as_deref()) {
        (Some(b"earliest"), _) => Ok(Start::Earliest),
        (Some(cursor), _) => Ok(Start::After(Cursor::parse(cursor))),
        (None, Some(tail)) => match parse_number(tail) {
            Some(tail @ 1..=TAIL_MAX) => Ok(Start::Tail(tail as u32)),
            _ => Err(Refusal::new(Reason::BadRequest, format!("`tail` is a number from 1 to {TAIL_MAX}"))),
        },
        (None, None) => Ok(Start::Live),
    }
}

fn parse_wait(wait: &[u8], limits: &Limits) -> Result<Duration, Refusal> {
    let seconds = parse_number(wait)
        .ok_or_else(|| Refusal::new(Reason::BadRequest, "`wait` is a number of seconds"))?;
    Ok(Duration::from_secs(seconds).min(limits.poll_wait_max))
}

/// Reads digits alone; a number too large to hold is the largest.
fn parse_number(text: &[u8]) -> Option<u64> {
    let digits = std::str::from_utf8(text).ok().filter(|text| !text.is_empty())?;
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().unwrap_or(u64::MAX))
}

fn channels(list: &str, wants: &Wants, limits: &Limits) -> Result<ChannelSet, Refusal> {
    let invalid = |detail: String| Refusal::new(Reason::ChannelInvalid, detail);
    // The path was found decodable when the head was read; what is not UTF-8 then is no channel either.
    let decoded = percent_decode(list).unwrap_or_default();
    let list = std::str::from_utf8(&decoded).map_err(|_| invalid("a channel name is not ASCII".into()))?;
    let channels =
        ChannelSet::parse(list, limits.channels_per_connection_max).map_err(|error| match error {
            ChannelSetError::Channel(_) => invalid(error.to_string()),
            ChannelSetError::TooMany { .. } => Refusal::new(Reason::ChannelCount, error.to_string()),
        })?;
    match wants {
        Wants::WebSocket { protocol: Protocol::V1, .. } => {}
        _ if channels.is_empty() => {
            let detail = "`/c/` without a channel is for WebSockets that speak tidewire.v1";
            return Err(Refusal::new(Reason::ChannelCount, detail));
        }
        // With several channels the channel's name is the event's, and browsers dispatch these two themselves.
        Wants::Sse { envelope: false } if channels.len() > 1 => {
            if let Some(channel) = channels.iter().find(|channel| is_reserved_event_name(channel.as_str())) {
                let detail =
                    format!("a channel named `{channel}` needs a stream of its own, or `format=json`");
                return Err(Refusal::new(Reason::EventInvalid, detail));
            }
        }
        _ => {}
    }
    Ok(channels)
}

/// Checks the opening handshake (RFC 6455 section 4.2.1; security rule S32).
///
/// Gives the token of a `bearer.…` subprotocol beside the transport.
fn websocket<'b>(head: &Head<'b>) -> Result<(Wants, Option<&'b str>), Refusal> {
    if head.minor_version == 0 {
        let detail = "a WebSocket needs HTTP/1.1; a proxy on the way has made this HTTP/1.0";
        return Err(Refusal::new(Reason::UpgradeRequired, detail));
    }
    if !head.has_token("connection", "upgrade") {
        let detail = "the Connection field does not hold `upgrade`; a proxy on the way may have dropped it";
        return Err(Refusal::new(Reason::ProtocolError, detail));
    }
    if once(head, "sec-websocket-version") != Some(b"13") {
        return Err(Refusal::new(Reason::UpgradeRequired, "Sec-WebSocket-Version is not 13"));
    }
    let key = once(head, "sec-websocket-key").and_then(|key| std::str::from_utf8(key).ok());
    let accept_key = key
        .and_then(handshake::accept_key)
        .ok_or_else(|| Refusal::new(Reason::ProtocolError, "Sec-WebSocket-Key is not 16 bytes in base64"))?;
    let (protocol, bearer) = subprotocols(head)?;
    Ok((Wants::WebSocket { accept_key, protocol }, bearer))
}

fn subprotocols<'b>(head: &Head<'b>) -> Result<(Protocol, Option<&'b str>), Refusal> {
    // A token has a bound of its own, and the head one for everything.
    let names = head.header_list("sec-websocket-protocol").filter(|name| !name.starts_with(b"bearer."));
    let bytes: usize = names.map(|name| name.len() + 1).sum();
    if bytes > SUBPROTOCOLS_BYTES_MAX {
        let detail =
            format!("Sec-WebSocket-Protocol has {bytes} bytes; {SUBPROTOCOLS_BYTES_MAX} is the most");
        return Err(Refusal::new(Reason::HeadTooLarge, detail));
    }
    let mut protocol = Protocol::Raw;
    let mut bearer = None;
    for name in head.header_list("sec-websocket-protocol") {
        let name = std::str::from_utf8(name).ok().filter(|name| name.bytes().all(is_token_byte));
        let name = name.ok_or_else(|| Refusal::new(Reason::ProtocolError, "a subprotocol is not a token"))?;
        if name == V1 {
            protocol = Protocol::V1;
        }
        if let Some(token) = name.strip_prefix("bearer.")
            && bearer.replace(token).is_some()
        {
            return Err(Refusal::new(Reason::BadRequest, "there is more than one `bearer.…` subprotocol"));
        }
    }
    Ok((protocol, bearer))
}

/// The value of a field that came exactly once.
fn once<'b>(head: &Head<'b>, name: &str) -> Option<&'b [u8]> {
    let mut values = head.header_values(name);
    values.next().filter(|_| values.next().is_none())
}

/// The name of our subprotocol.
pub const V1: &str = "tidewire.v1";

/// The most messages that `?tail=` asks for.
pub const TAIL_MAX: u64 = 1_000;

/// The most bytes of `Sec-WebSocket-Protocol` that are looked at (security rule S32).
const SUBPROTOCOLS_BYTES_MAX: usize = 1_024;
