//! What is printed: payloads as they were published, or one JSON object a line.

use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::Value;

use crate::exit::Failure;

/// A message in its envelope (`docs/protocol.md`, "Polling"). Fields that we do not know are passed on.
pub(crate) struct Envelope(Value);

impl Envelope {
    /// An envelope, if `value` is one: an object with a payload of either kind.
    pub(crate) fn of(value: Value) -> Option<Envelope> {
        let has = |field: &str| value.get(field).is_some_and(Value::is_string);
        (has("channel") && (has("data") || has("base64"))).then_some(Envelope(value))
    }

    /// Its id; nothing on a bridged channel.
    pub(crate) fn id(&self) -> Option<&str> {
        self.0.get("id")?.as_str()
    }
}

/// A gap in what was received.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Gap {
    pub channels: Vec<String>,
    pub reason: String,
    pub cursor: Option<String>,
}

/// Where messages and gaps are shown.
pub(crate) struct Show {
    json: bool,
}

impl Show {
    pub(crate) fn new(json: bool) -> Show {
        Show { json }
    }

    /// Prints a message and flushes: whoever reads along sees it now.
    pub(crate) fn message(&self, Envelope(envelope): &Envelope) -> Result<(), Failure> {
        let mut line = if self.json {
            let mut envelope = envelope.clone();
            envelope["type"] = "message".into();
            envelope.to_string().into_bytes()
        } else {
            payload(envelope)
        };
        line.push(b'\n');
        print(&line)
    }

    /// Says that something may be missing: among the JSON lines, or beside the payloads.
    pub(crate) fn gap(&self, gap: &Gap) -> Result<(), Failure> {
        let Gap { channels, reason, cursor } = gap;
        if self.json {
            let gap = serde_json::json!({ "type": "gap", "channels": channels, "reason": reason, "cursor": cursor });
            return print(format!("{gap}\n").as_bytes());
        }
        eprintln!("tidewire: messages may be missing on {}: {reason}", channels.join(", "));
        Ok(())
    }
}

fn payload(envelope: &Value) -> Vec<u8> {
    let field = |name: &str| envelope.get(name).and_then(Value::as_str);
    match (field("data"), field("base64")) {
        (Some(data), _) => data.as_bytes().to_vec(),
        // What is not base64 is shown as it came rather than not at all.
        (None, Some(base64)) => STANDARD.decode(base64).unwrap_or_else(|_| base64.as_bytes().to_vec()),
        (None, None) => Vec::new(),
    }
}

/// Prints a line of its own.
pub(crate) fn print_line(text: &str) -> Result<(), Failure> {
    print(format!("{text}\n").as_bytes())
}

/// Prints and flushes.
pub(crate) fn print(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    out.write_all(bytes).and_then(|()| out.flush()).map_err(|_| Failure::OutputClosed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_payload_is_shown_as_it_was_published() {
        assert_eq!(payload(&json!({ "channel": "a", "data": "x\ny" })), b"x\ny");
        assert_eq!(payload(&json!({ "channel": "a", "base64": "/wA=" })), b"\xff\0");
    }

    #[test]
    fn only_what_has_a_channel_and_a_payload_is_a_message() {
        assert!(Envelope::of(json!({ "channel": "a", "data": "", "id": "1.1" })).is_some());
        for other in [
            json!({ "data": "x" }),
            json!({ "channel": "a" }),
            json!([]),
            json!({ "channel": 1, "data": "x" }),
        ] {
            assert!(Envelope::of(other).is_none());
        }
    }
}
