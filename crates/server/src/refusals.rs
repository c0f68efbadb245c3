//! Refusals in the request's own terms. A reason says what kind; these say what about this request (rule S52: and
//! nothing about us).

use tidewire_hub::channel::Channel;
use tidewire_hub::grant::{Asked, Gate, Grant};
use tidewire_hub::message::{EventName, EventNameError};
use tidewire_hub::publish::Publish;
use tidewire_hub::reason::Reason;
use tidewire_transport::refusal::Refusal;

use std::sync::Arc;

/// Asks the gate, and words its answer.
///
/// # Errors
/// The gate's reason with what it disliked.
pub fn pass(gate: &dyn Gate, asked: &Asked<'_>) -> Result<Arc<Grant>, Refusal> {
    gate.check(asked).map_err(|reason| match reason {
        Reason::OriginRefused => {
            Refusal::new(reason, format!("pages from {} may not use this server", shown(asked.origin)))
        }
        Reason::HostRefused => {
            Refusal::new(reason, format!("this server is not called {}", shown(asked.host)))
        }
        Reason::Forbidden => Refusal::new(reason, format!("{} may not use this server", asked.peer)),
        reason => Refusal::new(reason, reason.hint()),
    })
}

/// Whether `grant` allows to subscribe to `channel`.
///
/// # Errors
/// Names the right that is missing.
pub fn may_subscribe(grant: &Grant, channel: &Channel) -> Result<(), Refusal> {
    allowed(grant.subscribe.holds(channel), "subscribe to", channel)
}

/// Whether `grant` allows to publish to `channel`.
///
/// # Errors
/// Names the right that is missing.
pub fn may_publish(grant: &Grant, channel: &Channel) -> Result<(), Refusal> {
    allowed(grant.publish.holds(channel), "publish to", channel)
}

/// Whether `grant` allows to read the past of `channel` from its beginning.
///
/// # Errors
/// Names the right that is missing.
pub fn may_read_history(grant: &Grant, channel: &Channel) -> Result<(), Refusal> {
    allowed(grant.history.holds(channel), "read the history of", channel)
}

/// The broker's answer to a publish that it did not take.
#[must_use]
pub fn of_publish(reason: Reason, publish: &About) -> Refusal {
    let detail = match reason {
        Reason::Draining => "this node is going away and keeps its messages in memory".to_owned(),
        Reason::KeyReused => {
            format!(
                "the key {} came before with another payload, event or type",
                shown(publish.key.as_deref())
            )
        }
        Reason::Overloaded => "as many publishes are being answered as this node allows at once".to_owned(),
        Reason::RateLimited => format!("`{}` takes no more messages this second", publish.channel),
        Reason::ChannelsFull => format!("`{}` would be one channel too many", publish.channel),
        reason => reason.hint().to_owned(),
    };
    Refusal::new(reason, detail)
}

/// What a refusal says about a publish, kept while the broker has the publish itself.
#[derive(Clone, Debug)]
pub struct About {
    channel: Channel,
    key: Option<String>,
}

impl About {
    /// Where the publish went.
    #[must_use]
    pub fn channel(&self) -> &Channel {
        &self.channel
    }
}

impl From<&Publish> for About {
    fn from(publish: &Publish) -> About {
        let key = publish.key.as_ref().map(|key| key.as_str().to_owned());
        About { channel: publish.channel.clone(), key }
    }
}

/// Reads an event name.
///
/// # Errors
/// [`Reason::EventInvalid`] with what is wrong.
pub fn event(name: &str) -> Result<EventName, Refusal> {
    EventName::parse(name)
        .map_err(|error: EventNameError| Refusal::new(Reason::EventInvalid, error.to_string()))
}

/// Reads the name of a channel.
///
/// # Errors
/// [`Reason::ChannelInvalid`] with what is wrong.
pub fn channel(name: &str) -> Result<Channel, Refusal> {
    Channel::parse(name).map_err(|error| Refusal::new(Reason::ChannelInvalid, error.to_string()))
}

fn allowed(holds: bool, to: &str, channel: &Channel) -> Result<(), Refusal> {
    if holds {
        Ok(())
    } else {
        Err(Refusal::new(Reason::Forbidden, format!("the grant does not allow to {to} `{channel}`")))
    }
}

/// What a client sent, shortened for a message to the same client.
fn shown(text: Option<&str>) -> String {
    match text {
        Some(text) => format!("`{}`", text.chars().take(128).collect::<String>()),
        None => "nothing".into(),
    }
}
