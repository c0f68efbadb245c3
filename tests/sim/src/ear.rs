//! Ears: bytes from the server become what was heard, strictly. Anything the protocol does not allow is an error.

use serde_json::Value;

use crate::heard::{self, Broken, Content, Heard, Seen};

/// How a connection is heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Server-Sent Events of one channel, of several, or in envelopes.
    Sse(SseStyle),
    /// A raw WebSocket.
    Raw,
    /// A `tidewire.v1` WebSocket.
    V1,
    /// Polls.
    Poll,
}

/// How a stream names its messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SseStyle {
    /// By the publisher's event name.
    Single,
    /// By the channel.
    Multi,
    /// In envelopes.
    Envelope,
}

/// Hears one connection.
#[derive(Debug)]
pub struct Ear {
    dialect: Dialect,
    bytes: Vec<u8>,
    body: Body,
    /// The part of a chunked or endless body that is no whole block yet.
    text: Vec<u8>,
    closed: bool,
}

#[derive(Debug, PartialEq)]
enum Body {
    /// A head is awaited.
    None,
    Chunked,
    /// The last chunk has come.
    Over,
    UntilClose,
    Frames,
}

impl Ear {
    /// An ear for a connection that has just been opened.
    #[must_use]
    pub fn new(dialect: Dialect) -> Ear {
        Ear { dialect, bytes: Vec::new(), body: Body::None, text: Vec::new(), closed: false }
    }

    /// Hears some bytes.
    ///
    /// # Errors
    /// What the protocol does not allow.
    pub fn hear(&mut self, bytes: &[u8]) -> Result<Vec<Heard>, Broken> {
        self.bytes.extend_from_slice(bytes);
        let mut heard = Vec::new();
        loop {
            let before = (self.bytes.len(), heard.len());
            match self.body {
                Body::None => self.head(&mut heard)?,
                Body::Chunked => self.chunk(&mut heard)?,
                Body::Over if self.bytes.is_empty() => {}
                Body::Over => return Err("bytes after the last chunk".into()),
                Body::UntilClose => {
                    self.text.append(&mut self.bytes);
                    self.blocks(&mut heard)?;
                }
                Body::Frames => self.frame(&mut heard)?,
            }
            if before == (self.bytes.len(), heard.len()) {
                return Ok(heard);
            }
        }
    }

    /// The server has ended its stream.
    ///
    /// # Errors
    /// It ended inside something that an orderly end finishes.
    pub fn end(&mut self) -> Result<Vec<Heard>, Broken> {
        match self.body {
            Body::UntilClose if self.text.is_empty() => Ok(vec![Heard::Ended]),
            Body::Frames if !self.bytes.is_empty() => Err("an orderly end inside a frame (R14)".into()),
            Body::UntilClose => Err("an orderly end inside a block (R14)".into()),
            Body::Chunked if !self.bytes.is_empty() => Err("an orderly end inside a chunk (R14)".into()),
            _ => Ok(Vec::new()),
        }
    }

    fn head(&mut self, heard: &mut Vec<Heard>) -> Result<(), Broken> {
        let Some(end) = self.bytes.windows(4).position(|bytes| bytes == b"\r\n\r\n") else { return Ok(()) };
        let head = String::from_utf8(self.bytes[..end].to_vec()).map_err(|_| "a head that is no text")?;
        let mut lines = head.split("\r\n");
        let status =
            lines.next().and_then(|line| line.strip_prefix("HTTP/1.1 ")).and_then(|line| line.get(..3));
        let status: u16 =
            status.and_then(|status| status.parse().ok()).ok_or_else(|| format!("no status: {head}"))?;
        let fields: Vec<(String, &str)> = lines
            .map(|line| line.split_once(": ").map(|(name, value)| (name.to_ascii_lowercase(), value)))
            .collect::<Option<_>>()
            .ok_or_else(|| format!("a field that is none: {head}"))?;
        let field = |name: &str| fields.iter().find(|(field, _)| field == name).map(|(_, value)| *value);
        let length =
            field("content-length").map_or(Ok(0), str::parse::<usize>).map_err(|_| "a bad length")?;
        if self.bytes.len() < end + 4 + length {
            return Ok(());
        }
        let body: Vec<u8> = self.bytes[end + 4..end + 4 + length].to_vec();
        self.bytes.drain(..end + 4 + length);
        match (status, self.dialect) {
            (101, Dialect::Raw | Dialect::V1) => {
                let v1 = field("sec-websocket-protocol") == Some("tidewire.v1");
                if v1 != (self.dialect == Dialect::V1) || field("sec-websocket-accept") != Some(ACCEPT) {
                    return Err(format!("a handshake that was not asked for: {head}"));
                }
                self.body = Body::Frames;
                heard.push(Heard::Opened);
            }
            (200, Dialect::Sse(_)) if field("content-type") == Some("text/event-stream") => {
                let chunked = field("transfer-encoding") == Some("chunked");
                self.body = if chunked { Body::Chunked } else { Body::UntilClose };
                heard.push(Heard::Opened);
            }
            (200, Dialect::Poll) => {
                let value = serde_json::from_slice(&body).map_err(|error| format!("{error} in a page"))?;
                let mut page = heard::page(&value)?;
                page.etag = field("etag").map(str::to_owned);
                heard.push(Heard::Page(page));
            }
            (304, Dialect::Poll) => heard.push(Heard::NotModified),
            (400.., _) => {
                let value: Value =
                    serde_json::from_slice(&body).map_err(|error| format!("{error} in a refusal"))?;
                let code = value["code"].as_str().unwrap_or_default().to_owned();
                heard.push(Heard::Refused(status, code));
            }
            _ => return Err(format!("an answer that was not asked for: {head}")),
        }
        Ok(())
    }

    fn chunk(&mut self, heard: &mut Vec<Heard>) -> Result<(), Broken> {
        let Some(end) = self.bytes.windows(2).position(|bytes| bytes == b"\r\n") else { return Ok(()) };
        let length =
            std::str::from_utf8(&self.bytes[..end]).ok().filter(|digits| !digits.starts_with(['0', '+']));
        let length = match (length, &self.bytes[..end]) {
            (None, b"0") => 0,
            (Some(digits), _) => usize::from_str_radix(digits, 16).map_err(|_| "a chunk without a length")?,
            _ => return Err("a chunk without a length".into()),
        };
        if self.bytes.len() < end + 2 + length + 2 {
            return Ok(());
        }
        if &self.bytes[end + 2 + length..end + 4 + length] != b"\r\n" {
            return Err("a chunk that is longer than it says".into());
        }
        self.text.extend_from_slice(&self.bytes[end + 2..end + 2 + length]);
        self.bytes.drain(..end + 4 + length);
        if length > 0 {
            return self.blocks(heard);
        }
        if !self.text.is_empty() {
            return Err("the last chunk inside a block (R14)".into());
        }
        self.body = Body::Over;
        heard.push(Heard::Ended);
        Ok(())
    }

    fn blocks(&mut self, heard: &mut Vec<Heard>) -> Result<(), Broken> {
        while let Some(end) = self.text.windows(2).position(|bytes| bytes == b"\n\n") {
            let block =
                String::from_utf8(self.text[..end].to_vec()).map_err(|_| "a block that is no text")?;
            self.text.drain(..end + 2);
            heard.extend(self.block(&block)?);
        }
        Ok(())
    }

    fn block(&self, block: &str) -> Result<Option<Heard>, Broken> {
        let (mut event, mut id, mut data, mut retry) = (None, None, None::<String>, false);
        for line in block.split('\n') {
            match line.split_once(": ") {
                Some(("event", name)) => event = Some(name.to_owned()),
                Some(("id", text)) => id = Some(heard::position(text)?),
                Some(("data", line)) => match &mut data {
                    Some(data) => {
                        data.push('\n');
                        data.push_str(line);
                    }
                    None => data = Some(line.to_owned()),
                },
                Some(("retry", ms)) if ms.parse::<u64>().is_ok() => retry = true,
                _ => return Err(format!("a line that is no field: {line:?}")),
            }
        }
        let json = |data: &Option<String>| {
            let data = data.as_deref().unwrap_or_default();
            serde_json::from_str::<Value>(data).map_err(|error| format!("{error} in {data}"))
        };
        Ok(Some(match (event.as_deref(), data.as_deref(), id) {
            (None, None, None) if retry => return Ok(None),
            (None, None, Some(id)) => Heard::Heartbeat(id),
            (Some("$ready"), ..) => {
                let ready = heard::ready(&json(&data)?)?;
                if !matches!(&ready, Heard::Ready { cursor, .. } if *cursor == id) {
                    return Err(format!("a `$ready` whose id is not its cursor: {block}"));
                }
                ready
            }
            (Some("$gap"), ..) => {
                let gap = heard::gap(&json(&data)?)?;
                if Some(gap.cursor) != id {
                    return Err(format!("a `$gap` whose id is not its cursor: {block}"));
                }
                Heard::Gap(gap)
            }
            (_, Some(_), Some(_)) if self.dialect == Dialect::Sse(SseStyle::Envelope) => {
                let seen = heard::envelope(&json(&data)?)?;
                if event.is_some() || seen.id != id {
                    return Err(format!("an envelope with an event or another id: {block}"));
                }
                Heard::Message(seen)
            }
            (_, Some(shown), Some(_)) => {
                let content = Content::Shown(shown.to_owned());
                let multi = self.dialect == Dialect::Sse(SseStyle::Multi);
                let (channel, event) = if multi { (event, None) } else { (None, Some(event)) };
                Heard::Message(Seen { channel, id, event, content })
            }
            _ => return Err(format!("a block that says nothing known: {block:?}")),
        }))
    }

    fn frame(&mut self, heard: &mut Vec<Heard>) -> Result<(), Broken> {
        let [first, second, rest @ ..] = &self.bytes[..] else { return Ok(()) };
        let (length, rest) = match (second, rest) {
            (0..=125, rest) => (usize::from(*second), rest),
            (126, [a, b, rest @ ..]) => (usize::from(u16::from_be_bytes([*a, *b])), rest),
            (127, [a, b, c, d, e, f, g, h, rest @ ..]) => {
                (u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]) as usize, rest)
            }
            (126 | 127, _) => return Ok(()),
            _ => return Err("a masked frame from the server".into()),
        };
        if rest.len() < length {
            return Ok(());
        }
        if self.closed {
            return Err("a frame after the close".into());
        }
        let payload = rest[..length].to_vec();
        let used = self.bytes.len() - rest.len() + length;
        let opcode = *first;
        self.bytes.drain(..used);
        let text = |payload: Vec<u8>| String::from_utf8(payload).map_err(|_| "a text frame that is no text");
        heard.push(match (opcode, self.dialect) {
            (0x81, Dialect::V1) => heard::frame(&text(payload)?)?,
            (0x81, _) => raw(Content::Text(text(payload)?)),
            (0x82, Dialect::Raw) => raw(Content::Binary(payload)),
            (0x88, _) => {
                self.closed = true;
                let (code, reason) = payload.split_at_checked(2).ok_or("a close without a code")?;
                Heard::Closed(u16::from_be_bytes([code[0], code[1]]), text(reason.to_vec())?)
            }
            (0x89, _) => Heard::Ping(payload),
            (0x8a, _) => return Ok(()),
            _ => return Err(format!("a frame that begins with {opcode:#x}")),
        });
        Ok(())
    }
}

fn raw(content: Content) -> Heard {
    Heard::Message(Seen { channel: None, id: None, event: None, content })
}

/// What every simulated handshake asks with, and what it is answered (RFC 6455 section 1.3).
pub const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
