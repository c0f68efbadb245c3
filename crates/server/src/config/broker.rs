//! What is set under `broker`: where messages are kept, and what nodes share.

use std::path::{Path, PathBuf};

use serde_json::Value;
use tidewire_broker::redis::{Address, PREFIX_BYTES_MAX};
use tidewire_hub::channel::Channel;

use super::kinds::{Form, Kind, items, list};
use super::secret::{MASK, Secret};

/// Everything under `broker`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerSettings {
    /// Where Redis is. Nothing: messages are kept in this process, and there is one node. It may hold a password.
    pub url: Option<Secret>,
    /// What keys and Pub/Sub names in Redis begin with. Nodes with one prefix in one database are one cluster.
    pub prefix: Box<str>,
    /// Certificates in PEM that a `rediss://` server is trusted by, in place of the public ones.
    pub ca: Option<PathBuf>,
    /// When a publish is answered.
    pub ack: Ack,
    /// Plain Redis channels whose messages are relayed.
    pub bridge: Vec<Channel>,
    /// Those of `bridge` that clients may publish to: their messages are only handed to Redis.
    pub bridge_publish: Vec<Channel>,
}

impl Default for BrokerSettings {
    fn default() -> BrokerSettings {
        BrokerSettings {
            url: None,
            prefix: "tidewire".into(),
            ca: None,
            ack: Ack::Stored,
            bridge: Vec::new(),
            bridge_publish: Vec::new(),
        }
    }
}

/// When a publish is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ack {
    /// Once the broker has it.
    Stored,
    /// Once a replica of the broker has it as well.
    Replicated,
}

impl Kind for Ack {
    type Value = Ack;
    const FORM: Form = Form::Choice(&["stored", "replicated"]);

    fn read(text: &str, _: &Path) -> Result<Ack, String> {
        match text {
            "stored" => Ok(Ack::Stored),
            "replicated" => Ok(Ack::Replicated),
            _ => Err(format!("`{text}` is neither stored nor replicated")),
        }
    }

    fn show(value: &Ack) -> Value {
        match value {
            Ack::Stored => "stored",
            Ack::Replicated => "replicated",
        }
        .into()
    }
}

/// Where Redis is, possibly with a password, which is never shown.
pub(super) struct RedisUrl;

impl Kind for RedisUrl {
    type Value = Secret;
    const FORM: Form = Form::Text("address of a Redis");

    fn read(text: &str, _: &Path) -> Result<Secret, String> {
        // What was written may hold a password, and stays out of the message.
        Address::parse(text, None).map_err(|error| error.to_string())?;
        Ok(Secret::new(text))
    }

    fn show(value: &Secret) -> Value {
        masked(&String::from_utf8_lossy(value.expose())).into()
    }
}

/// The address without its user's password.
fn masked(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return MASK.into() };
    let authority = rest.find('/').unwrap_or(rest.len());
    // The last `@`: a password may hold one.
    match rest[..authority].rfind('@').or_else(|| rest.rfind('@')) {
        Some(at) => {
            let user = rest[..at].split(':').next().unwrap_or_default();
            format!("{scheme}://{user}:{MASK}{}", &rest[at..])
        }
        None => url.into(),
    }
}

/// What names in Redis begin with.
pub(super) struct Prefix;

impl Kind for Prefix {
    type Value = Box<str>;
    const FORM: Form = Form::Text("letters, digits, `.`, `_` and `-`");

    fn read(text: &str, _: &Path) -> Result<Box<str>, String> {
        prefix(text).map(Into::into)
    }

    fn show(value: &Box<str>) -> Value {
        value.to_string().into()
    }
}

/// `text`, if names in Redis may begin with it: a brace in it would move keys to another hash slot.
///
/// # Errors
/// What it has to be.
pub fn prefix(text: &str) -> Result<&str, String> {
    let plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
    if plain && (1..=PREFIX_BYTES_MAX).contains(&text.len()) {
        Ok(text)
    } else {
        Err(format!("`{}` is not 1 to {PREFIX_BYTES_MAX} of A-Z a-z 0-9 . _ -", text.escape_debug()))
    }
}

/// Names of channels.
pub(super) struct Channels;

/// Channels that are bridged, at most: each is subscribed to for as long as the node runs.
const CHANNELS_MAX: usize = 1_000;

impl Kind for Channels {
    type Value = Vec<Channel>;
    const FORM: Form = Form::List("channels");

    fn read(text: &str, _: &Path) -> Result<Vec<Channel>, String> {
        let mut channels: Vec<Channel> = Vec::new();
        for item in items(text) {
            let channel = Channel::parse(item).map_err(|error| format!("`{item}`: {error}"))?;
            if !channels.contains(&channel) {
                channels.push(channel);
            }
        }
        match channels.len() {
            count if count > CHANNELS_MAX => Err(format!("{count} channels; {CHANNELS_MAX} is the most")),
            _ => Ok(channels),
        }
    }

    fn show(value: &Vec<Channel>) -> Value {
        list(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s49_an_address_is_shown_without_its_password() {
        for (url, shown) in [
            ("redis://10.0.0.1:6379/2", "redis://10.0.0.1:6379/2"),
            ("rediss://app:canary@redis.example", "rediss://app:***@redis.example"),
            ("redis://:can%40ary@redis.example/0", "redis://:***@redis.example/0"),
            ("redis+sentinel://app:canary@one,two:5/main", "redis+sentinel://app:***@one,two:5/main"),
        ] {
            let value = RedisUrl::read(url, Path::new("")).unwrap();
            assert_eq!(RedisUrl::show(&value), shown);
        }
        let wrong = RedisUrl::read("http://app:canary@redis.example", Path::new("")).unwrap_err();
        assert!(!wrong.contains("canary"));
    }

    #[test]
    fn a_bridged_channel_has_a_name_that_is_a_channel() {
        assert_eq!(Channels::read("a, b,a", Path::new("")).unwrap().len(), 2);
        assert!(Channels::read("news.*", Path::new("")).unwrap_err().starts_with("`news.*`: byte 5"));
    }
}
