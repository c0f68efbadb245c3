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
        let words = format!("messages may be missing on {}: {reason}", channels.join(", "));
        eprintln!("tidewire: {}", plain(&words));
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

/// A text of somebody else's, for a terminal: nothing in it moves the cursor or turns the line around.
pub(crate) fn plain(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for char in text.chars() {
        if is_obeyed(char) && char != '\n' {
            shown.extend(char.escape_unicode());
        } else {
            shown.push(char);
        }
    }
    shown
}

/// The same in the escapes of JSON, line ends included: JSON stays what it is, which leaves some of what terminals obey as it came.
pub(crate) fn plain_json(json: &str) -> String {
    let mut shown = String::with_capacity(json.len());
    for char in json.chars() {
        if !is_obeyed(char) {
            shown.push(char);
            continue;
        }
        for unit in char.encode_utf16(&mut [0; 2]) {
            shown.push_str(&format!("\\u{unit:04x}"));
        }
    }
    shown
}

/// Control characters (C0, DEL and C1, among which U+009B begins a sequence by itself), line and paragraph separators, and
/// the invisible ones of Unicode's category Cf, which turn the direction of what stands around them or hide in it.
pub(crate) fn is_obeyed(char: char) -> bool {
    char.is_control()
        || matches!(u32::from(char),
            0xAD | 0x600..=0x605 | 0x61C | 0x6DD | 0x70F | 0x8E2 | 0x180E | 0x200B..=0x200F | 0x2028..=0x202E
            | 0x2060..=0x206F | 0xFEFF | 0xFFF0..=0xFFFB | 0x110BD | 0x110CD | 0x13430..=0x1343F
            | 0x1BCA0..=0x1BCA3 | 0x1D173..=0x1D17A | 0xE0000..=0xE0FFF)
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
    fn what_others_wrote_moves_no_cursor_in_text_or_in_json() {
        let wrote = "a\x1b[2J\u{9b}31m\u{202e}b\n\u{e0041}é";
        assert_eq!(plain(wrote), "a\\u{1b}[2J\\u{9b}31m\\u{202e}b\n\\u{e0041}é");
        let shown = plain_json(&json!({ "a": wrote }).to_string());
        assert!(!shown.chars().any(is_obeyed), "{shown:?}");
        assert_eq!(serde_json::from_str::<Value>(&shown).unwrap()["a"], wrote);
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
