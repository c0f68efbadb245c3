//! What comes over a link that is subscribed.

use std::sync::Arc;

use bytes::Bytes;
use redis::{PushInfo, PushKind, Value};
use tidewire_hub::channel::Channel;

use super::endpoint::Endpoint;
use super::error::Error;
use super::keys::Names;
use super::link::{Link, Probe, Timeouts};

/// A link that is subscribed. Redis ends it where its reader falls behind, large answers included, so that it takes no other
/// call than a probe (delivery rule R18). Clones share it; dropping the last one closes it.
#[derive(Clone, Debug)]
pub struct Ear {
    link: Link,
}

impl Ear {
    /// Dials as [`Log::dial`](super::Log::dial) does.
    ///
    /// # Errors
    /// As there.
    pub async fn dial(
        endpoint: &Endpoint,
        prefix: &str,
        partition: u16,
        timeouts: Timeouts,
        hear: Hear,
    ) -> Result<Ear, Error> {
        let link = Link::dial(endpoint, prefix, partition, timeouts, Some(hear)).await?;
        link.subscribe_to_traces().await?;
        Ok(Ear { link })
    }

    /// Hears these channels from now on: what is published after this returns is heard, unless the link ends.
    ///
    /// # Errors
    /// What every call may say.
    pub async fn subscribe(&self, channels: &[Channel]) -> Result<(), Error> {
        self.link.subscribe(channels).await
    }

    /// Hears these channels no more. Without any it does nothing, where Redis would take it for all.
    ///
    /// # Errors
    /// What every call may say.
    pub async fn unsubscribe(&self, channels: &[Channel]) -> Result<(), Error> {
        self.link.unsubscribe(channels).await
    }

    /// Looks at the fence. All up to the seq that it tells has been heard before it returns.
    ///
    /// # Errors
    /// What every call may say.
    pub async fn probe(&self) -> Result<Probe, Error> {
        self.link.probe().await
    }
}

/// Called with everything that a link hears, in its order, on the task that reads the link: it must neither block nor keep
/// without a bound. What it cannot take is lost on the way, which its owner has to remember (delivery rule R13).
pub type Hear = Arc<dyn Fn(Heard) + Send + Sync>;

/// Something that a subscribed link heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// What was published on one of our channels: an [`Envelope`](super::Envelope), or junk.
    Told {
        /// Which.
        channel: Channel,
        /// As it came.
        bytes: Bytes,
    },
    /// The trace of the message that comes next, or of one on a channel that is none of ours.
    Trace {
        /// As it came.
        bytes: Bytes,
    },
    /// The link has ended. Nothing more comes, and whatever was published since may be missing.
    Ended,
}

impl Heard {
    /// What a push means; nothing where it is none of ours, as confirmations are.
    pub(super) fn read(push: PushInfo, names: &Names) -> Option<Heard> {
        match push.kind {
            PushKind::Disconnection => Some(Heard::Ended),
            PushKind::Message => {
                let mut data = push.data.into_iter();
                let (Some(Value::BulkString(name)), Some(Value::BulkString(bytes))) =
                    (data.next(), data.next())
                else {
                    return None;
                };
                if name == names.traces().as_bytes() {
                    return Some(Heard::Trace { bytes: bytes.into() });
                }
                let channel = names.channel_of(std::str::from_utf8(&name).ok()?)?;
                Some(Heard::Told { channel, bytes: bytes.into() })
            }
            _ => None,
        }
    }
}
