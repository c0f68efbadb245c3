//! Refusals in the request's own terms. A reason says what kind; these say what about this request (rule S52: and
//! nothing about us).

use tidewire_hub::channel::{Channel, ChannelSet};
use tidewire_hub::grant::{Asked, Denied, Grant, Scope};
use tidewire_hub::message::{EventName, EventNameError};
use tidewire_hub::position::Start;
use tidewire_hub::publish::Publish;
use tidewire_hub::reason::Reason;
use tidewire_transport::refusal::Refusal;

/// Words what the gate disliked about where a request came from.
#[must_use]
pub fn denied(denied: Denied, asked: &Asked<'_>) -> Refusal {
    let detail = match (denied.detail, denied.reason) {
        (Some(detail), _) => return Refusal { reason: denied.reason, detail },
        (None, Reason::OriginRefused) => {
            format!("pages from {} may not use this server", shown(asked.origin))
        }
        (None, Reason::HostRefused) => format!("this server is not called {}", shown(asked.host)),
        (None, Reason::Forbidden) => format!("{} may not use this server", asked.client),
        (None, reason) => reason.hint().to_owned(),
    };
    Refusal::new(denied.reason, detail)
}

/// Words what the gate disliked about credentials. Where it says nothing more than the reason, every cause reads alike
/// (security rule S17).
#[must_use]
pub fn worded(denied: Denied) -> Refusal {
    let Denied { reason, detail, .. } = denied;
    Refusal { reason, detail: detail.unwrap_or_else(|| reason.hint().into()) }
}

/// Whether `grant` allows to subscribe to `channel`.
///
/// # Errors
/// Names the right that is missing, and what the grant has instead.
pub fn may_subscribe(grant: &Grant, channel: &Channel) -> Result<(), Refusal> {
    allowed(grant, grant.may_subscribe(channel), "subscribe to", &grant.subscribe, channel)
}

/// Whether `grant` allows to publish to `channel`.
///
/// # Errors
/// Names the right that is missing, and what the grant has instead.
pub fn may_publish(grant: &Grant, channel: &Channel) -> Result<(), Refusal> {
    allowed(grant, grant.may_publish(channel), "publish to", &grant.publish, channel)
}

/// Whether `grant` allows to read the past of `channel` from its beginning.
///
/// # Errors
/// Names the right that is missing, and what the grant has instead.
pub fn may_read_history(grant: &Grant, channel: &Channel) -> Result<(), Refusal> {
    allowed(grant, grant.may_read_history(channel), "read the history of", &grant.history, channel)
}

/// Whether `grant` allows to see who is connected to `channel`.
///
/// # Errors
/// Names the right that is missing, and what the grant has instead.
pub fn may_see_presence(grant: &Grant, channel: &Channel) -> Result<(), Refusal> {
    allowed(grant, grant.may_see_presence(channel), "see the presence of", &grant.presence, channel)
}

/// There is nobody to be seen on `channel`, whoever is connected to it.
#[must_use]
pub fn no_presence(channel: &Channel) -> Refusal {
    let namespace = channel.namespace();
    let detail =
        format!("no presence is kept on `{channel}`: set `presence = true` in `[namespace.{namespace}]`");
    Refusal::new(Reason::BadRequest, detail)
}

/// Whether `grant` allows to listen to all of these channels, beginning at `start`. Resuming from a cursor needs the
/// right to subscribe; beginning in the past by count or from its start needs another.
///
/// # Errors
/// Names the first right that is missing.
pub fn may_listen(grant: &Grant, channels: &ChannelSet, start: Start) -> Result<(), Refusal> {
    for channel in channels.iter() {
        may_subscribe(grant, channel)?;
        if matches!(start, Start::Earliest | Start::Tail(_)) {
            may_read_history(grant, channel)?;
        }
    }
    Ok(())
}

/// The broker's answer to a publish that it did not take.
#[must_use]
pub fn of_publish(reason: Reason, publish: &About) -> Refusal {
    let detail = match reason {
        _ if publish.bridged => of_bridged(reason, &publish.channel),
        Reason::Draining => "this node is going away and keeps its messages in memory".to_owned(),
        Reason::KeyReused => {
            format!(
                "the key {} came before with another payload, event or type",
                shown(publish.key.as_deref())
            )
        }
        Reason::Overloaded => "as many publishes are being answered as this node allows at once".to_owned(),
        Reason::RateLimited => {
            format!("`{}` or its publisher has had enough messages for this second", publish.channel)
        }
        Reason::Forbidden => {
            format!(
                "`{}` takes messages of API keys alone: its namespace has `publish = \"keys\"`",
                publish.channel
            )
        }
        Reason::TooLarge => format!("the payload is larger than `{}` takes", publish.channel),
        Reason::Revoked => format!("the right to `{}` was taken back", publish.channel),
        Reason::ChannelsFull => format!("`{}` would be one channel too many", publish.channel),
        reason => reason.hint().to_owned(),
    };
    Refusal::new(reason, detail)
}

/// The same where the channel is bridged.
fn of_bridged(reason: Reason, channel: &Channel) -> String {
    match reason {
        Reason::Forbidden => {
            format!("`{channel}` is bridged and takes nothing here: it is not in `broker.bridge_publish`")
        }
        Reason::BadRequest => {
            format!("`{channel}` is bridged: it has neither event names nor idempotency keys")
        }
        Reason::Overloaded => "as many publishes are being answered as this node allows at once".to_owned(),
        Reason::BrokerUnavailable => format!("Redis does not take messages of `{channel}` now"),
        Reason::OutcomeUnknown => {
            format!("Redis gave no answer; whether `{channel}` has the message is unknown")
        }
        Reason::RateLimited => {
            format!("`{channel}` or its publisher has had enough messages for this second")
        }
        Reason::TooLarge => format!("the payload is larger than `{channel}` takes"),
        Reason::Revoked => format!("the right to `{channel}` was taken back"),
        reason => reason.hint().to_owned(),
    }
}

/// What a refusal says about a publish, kept while the broker has the publish itself.
#[derive(Clone, Debug)]
pub struct About {
    channel: Channel,
    key: Option<String>,
    bridged: bool,
}

impl About {
    /// What there is to say of `publish`, which is on a bridged channel or not.
    #[must_use]
    pub fn new(publish: &Publish, bridged: bool) -> About {
        let key = publish.key.as_ref().map(|key| key.as_str().to_owned());
        About { channel: publish.channel.clone(), key, bridged }
    }

    /// Where the publish went.
    #[must_use]
    pub fn channel(&self) -> &Channel {
        &self.channel
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

fn allowed(grant: &Grant, holds: bool, to: &str, scope: &Scope, channel: &Channel) -> Result<(), Refusal> {
    if holds {
        return Ok(());
    }
    if grant.lacks_token(channel) {
        let detail = format!("to {to} `{channel}` takes a token, or a ticket that was bought with one");
        return Err(Refusal::new(Reason::Unauthorized, detail));
    }
    // Its own rights are no secret from whoever holds them. A long list is of no use to anybody.
    let mut held: Vec<String> =
        scope.patterns().iter().take(SHOWN_MAX).map(|held| format!("`{held}`")).collect();
    if scope.patterns().len() > SHOWN_MAX {
        held.push("…".into());
    }
    let held = if held.is_empty() { "nothing".to_owned() } else { held.join(", ") };
    let detail = format!("the grant allows to {to} {held}; asked was `{channel}`");
    Err(Refusal::new(Reason::Forbidden, detail))
}

/// Patterns of a grant that a refusal shows.
const SHOWN_MAX: usize = 8;

/// What a client sent, shortened for a message to the same client.
fn shown(text: Option<&str>) -> String {
    match text {
        Some(text) => format!("`{}`", text.chars().take(128).collect::<String>()),
        None => "nothing".into(),
    }
}
