//! Server-Sent Events, strictly: any block that the protocol does not know is an error.

use serde_json::Value;

use crate::heard::{self, Broken, Heard, Seen};

/// Reads the bytes of one stream.
#[derive(Debug)]
pub struct Blocks {
    shape: Shape,
    text: Vec<u8>,
}

/// How a stream names its messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// One channel, whose name is known.
    Single,
    /// By the channel.
    Multi,
    /// In envelopes (`format=json`).
    Envelope,
}

impl Blocks {
    /// For a stream that has just been opened.
    #[must_use]
    pub fn new(shape: Shape) -> Blocks {
        Blocks { shape, text: Vec::new() }
    }

    /// Reads some bytes.
    ///
    /// # Errors
    /// What the protocol does not allow.
    pub fn hear(&mut self, bytes: &[u8]) -> Result<Vec<Heard>, Broken> {
        self.text.extend_from_slice(bytes);
        let mut heard = Vec::new();
        while let Some(end) = self.text.windows(2).position(|pair| pair == b"\n\n") {
            let block = String::from_utf8(self.text.drain(..end + 2).collect());
            let block = block.map_err(|_| "a block that is no text")?;
            heard.extend(self.block(block.trim_end_matches('\n'))?);
        }
        Ok(heard)
    }

    /// Whether an orderly end may stand here (rule R14).
    #[must_use]
    pub fn is_between(&self) -> bool {
        self.text.is_empty()
    }

    fn block(&self, block: &str) -> Result<Option<Heard>, Broken> {
        let (mut event, mut id, mut data, mut retry) = (None, None, None::<String>, false);
        for line in block.split('\n') {
            match line.split_once(": ") {
                Some(("event", name)) => event = Some(name),
                Some(("id", text)) => id = Some(text.to_owned()),
                Some(("data", line)) => match &mut data {
                    Some(data) => *data = format!("{data}\n{line}"),
                    None => data = Some(line.to_owned()),
                },
                Some(("retry", ms)) if ms.parse::<u64>().is_ok() => retry = true,
                _ => return Err(format!("a line that is no field: {line:?}")),
            }
        }
        let json =
            |data: &str| serde_json::from_str::<Value>(data).map_err(|error| format!("{error} in {data}"));
        Ok(Some(match (event, data, id) {
            (None, None, None) if retry => return Ok(None),
            (None, None, Some(id)) => Heard::At(id),
            (Some("$ready"), Some(_), id) => Heard::Ready(id),
            (Some("$gap"), Some(data), Some(id)) => {
                let gap = heard::gap(&json(&data)?)?;
                if gap.cursor != id {
                    return Err(format!("a `$gap` whose id is not its cursor: {block}"));
                }
                Heard::Gap(gap)
            }
            (Some("$expired"), ..) => Heard::Ended("expired".into()),
            (Some("$refused"), ..) => Heard::Ended("refused".into()),
            (None, Some(data), Some(_)) if self.shape == Shape::Envelope => {
                Heard::Message(heard::envelope(&json(&data)?)?)
            }
            (event, Some(text), Some(id)) => {
                let channel = (self.shape == Shape::Multi).then_some(event).flatten().map(str::to_owned);
                Heard::Message(Seen { channel, id, text })
            }
            _ => return Err(format!("a block that says nothing known: {block:?}")),
        }))
    }
}
