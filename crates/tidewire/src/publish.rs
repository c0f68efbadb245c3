//! Publishing from inside this process.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use tidewire_hub::channel::Channel;
use tidewire_hub::message::{self, EventName};
use tidewire_hub::publish::{self, Key};
use tidewire_hub::reason::Reason;
use tidewire_hub::trace::TraceParent;

use crate::error::Error;
use crate::live::Inner;
use crate::message::Cursor;

/// Who publishes: idempotency keys belong to it (delivery rule R22). No subject is called so, nor any key.
const PUBLISHER: &str = "application";

/// A publish that is being asked for: what [`Tidewire::publish`](crate::Tidewire::publish) gives back. Await it.
#[must_use = "nothing is published before it is awaited"]
pub struct Publish {
    live: Arc<Inner>,
    channel: Result<Channel, Error>,
    payload: Payload,
    event: Option<Box<str>>,
    key: Option<Box<str>>,
    trace: Option<TraceParent>,
}

impl Publish {
    pub(crate) fn new(live: Arc<Inner>, channel: &str, payload: Payload) -> Publish {
        Publish { live, channel: crate::live::channel(channel), payload, event: None, key: None, trace: None }
    }

    /// Gives the message an event name, which `addEventListener` in a browser names.
    pub fn event(self, event: impl Into<Box<str>>) -> Publish {
        Publish { event: Some(event.into()), ..self }
    }

    /// Makes a repetition harmless: for five minutes the same key happens once on a channel, and is answered with the same
    /// id. 1 to 256 visible characters of ASCII.
    pub fn key(self, key: impl Into<Box<str>>) -> Publish {
        Publish { key: Some(key.into()), ..self }
    }

    /// Keeps this `traceparent` (W3C Trace Context) with the message, for whoever deals with it. What is none is ignored.
    pub fn traceparent(self, value: &str) -> Publish {
        Publish { trace: TraceParent::parse(value.as_bytes()), ..self }
    }

    async fn send(self) -> Result<Receipt, Error> {
        let Publish { live, channel, payload, event, key, trace } = self;
        let channel = channel?;
        let event = event.map(|event| {
            EventName::parse(&event).map_err(|error| Error::new(Reason::EventInvalid, error.to_string()))
        });
        let key = key.map(|key| {
            let wrong = "an idempotency key is 1 to 256 bytes of visible ASCII";
            Key::parse(&key).ok_or_else(|| Error::new(Reason::BadRequest, wrong))
        });
        let publish = publish::Publish {
            channel,
            event: event.transpose()?,
            payload: payload.0,
            key: key.transpose()?,
            publisher: PUBLISHER.into(),
            trace,
        };
        let publish::Receipt { position, receivers } = live.publish(publish).await?;
        let publish::Receivers { sse, ws, poll } = receivers;
        Ok(Receipt { id: position.map(Cursor::at), receivers: Receivers { sse, websocket: ws, poll } })
    }
}

impl IntoFuture for Publish {
    type Output = Result<Receipt, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Result<Receipt, Error>> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.send())
    }
}

impl fmt::Debug for Publish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publish")
            .field("channel", &self.channel)
            .field("event", &self.event)
            .finish_non_exhaustive()
    }
}

/// What a message holds: text, or bytes. Browsers get the one as a string and the other as binary, in base64 over SSE.
#[derive(Clone)]
pub struct Payload(message::Payload);

impl fmt::Debug for Payload {
    // Payloads stay out of logs (security rule S49).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Payload({} bytes)", self.0.as_bytes().len())
    }
}

fn text(bytes: Bytes) -> Payload {
    // What is text in Rust is UTF-8.
    Payload(message::Payload::text(bytes.clone()).unwrap_or_else(|_| message::Payload::binary(bytes)))
}

impl From<&str> for Payload {
    fn from(payload: &str) -> Payload {
        text(Bytes::copy_from_slice(payload.as_bytes()))
    }
}

impl From<String> for Payload {
    fn from(payload: String) -> Payload {
        text(payload.into())
    }
}

impl From<&[u8]> for Payload {
    fn from(payload: &[u8]) -> Payload {
        Payload(message::Payload::binary(Bytes::copy_from_slice(payload)))
    }
}

impl From<Vec<u8>> for Payload {
    fn from(payload: Vec<u8>) -> Payload {
        Payload(message::Payload::binary(payload.into()))
    }
}

impl From<Bytes> for Payload {
    fn from(payload: Bytes) -> Payload {
        Payload(message::Payload::binary(payload))
    }
}

/// A message is stored as durably as configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Receipt {
    /// Its id; of the first one, where a key was repeated. Nothing on a bridged channel.
    pub id: Option<Cursor>,
    /// Who listened when it was placed.
    pub receivers: Receivers,
}

/// Subscribers of a channel on this node. Advisory; zero for a repetition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Receivers {
    /// Server-Sent Events.
    pub sse: u32,
    /// WebSockets, and subscribers inside this process.
    pub websocket: u32,
    /// Long polls that wait.
    pub poll: u32,
}
