//! Namespaces: what holds for the channels below one first segment, where it differs from what holds for all.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use super::kinds::{Form, Kind};

/// What is set for one namespace. Nothing in a field means that what holds for every channel holds here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NamespaceSettings {
    /// Messages kept per channel, in place of `history.messages_max`.
    pub messages_max: Option<usize>,
    /// How long a message is kept, in place of `history.ttl`.
    pub ttl: Option<Duration>,
    /// What happens to slow readers.
    pub slow_reader: Option<SlowReader>,
    /// Who may publish.
    pub publish: Option<Publishers>,
    /// Messages a second on one channel, in place of `limits.channel_publishes_per_second_max`.
    pub publishes_per_second_max: Option<u32>,
    /// The largest payload in bytes; at most `limits.message_bytes_max`.
    pub message_bytes_max: Option<usize>,
    /// Whether presence is kept.
    pub presence: Option<bool>,
}

/// What happens to a subscriber that reads too slowly (security rule S35).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlowReader {
    /// It is ended, with a cursor to come back with.
    Disconnect,
    /// It skips to the newest message of each channel, with a gap in place of the others.
    Conflate,
}

/// Who may publish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Publishers {
    /// Whoever has a grant that says so.
    Granted,
    /// Backends with an API key alone, whatever tokens say.
    Keys,
}

impl Kind for SlowReader {
    type Value = SlowReader;
    const FORM: Form = Form::Choice(&["disconnect", "conflate"]);

    fn read(text: &str, _: &Path) -> Result<SlowReader, String> {
        match text {
            "disconnect" => Ok(SlowReader::Disconnect),
            "conflate" => Ok(SlowReader::Conflate),
            _ => Err(format!("`{text}` is neither disconnect nor conflate")),
        }
    }

    fn show(value: &SlowReader) -> Value {
        match value {
            SlowReader::Disconnect => "disconnect",
            SlowReader::Conflate => "conflate",
        }
        .into()
    }
}

impl Kind for Publishers {
    type Value = Publishers;
    const FORM: Form = Form::Choice(&["granted", "keys"]);

    fn read(text: &str, _: &Path) -> Result<Publishers, String> {
        match text {
            "granted" => Ok(Publishers::Granted),
            "keys" => Ok(Publishers::Keys),
            _ => Err(format!("`{text}` is neither granted nor keys")),
        }
    }

    fn show(value: &Publishers) -> Value {
        match value {
            Publishers::Granted => "granted",
            Publishers::Keys => "keys",
        }
        .into()
    }
}
