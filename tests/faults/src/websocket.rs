//! WebSocket frames as a client of `tidewire.v1` reads and writes them.

use crate::heard::{self, Broken, Heard};

/// What every handshake asks with, and what it is answered (RFC 6455 section 1.3).
pub const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
/// See [`KEY`].
pub const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// Reads the bytes of one connection.
#[derive(Debug, Default)]
pub struct Frames {
    bytes: Vec<u8>,
}

impl Frames {
    /// Reads some bytes.
    ///
    /// # Errors
    /// What the protocol does not allow.
    pub fn hear(&mut self, bytes: &[u8]) -> Result<Vec<Heard>, Broken> {
        self.bytes.extend_from_slice(bytes);
        let mut heard = Vec::new();
        while let Some((opcode, payload)) = self.frame()? {
            let text = |payload| String::from_utf8(payload).map_err(|_| "text that is none".to_owned());
            match opcode {
                0x81 => heard.extend(heard::frame(&text(payload)?)?),
                0x88 => {
                    let (code, reason) = payload.split_at_checked(2).ok_or("a close without a code")?;
                    let code = u16::from_be_bytes([code[0], code[1]]);
                    heard.push(Heard::Ended(format!("{code} {}", text(reason.to_vec())?)));
                }
                0x89 => heard.push(Heard::Ping(payload)),
                0x8a => {}
                _ => return Err(format!("a frame that begins with {opcode:#x}")),
            }
        }
        Ok(heard)
    }

    /// Whether an orderly end may stand here (rule R14).
    #[must_use]
    pub fn is_between(&self) -> bool {
        self.bytes.is_empty()
    }

    fn frame(&mut self) -> Result<Option<(u8, Vec<u8>)>, Broken> {
        let [opcode, second, rest @ ..] = &self.bytes[..] else { return Ok(None) };
        let (length, rest) = match (second, rest) {
            (0..=125, rest) => (usize::from(*second), rest),
            (126, [a, b, rest @ ..]) => (usize::from(u16::from_be_bytes([*a, *b])), rest),
            (127, [a, b, c, d, e, f, g, h, rest @ ..]) => {
                (u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]) as usize, rest)
            }
            (126 | 127, _) => return Ok(None),
            _ => return Err("a masked frame from the server".into()),
        };
        if rest.len() < length {
            return Ok(None);
        }
        let frame = (*opcode, rest[..length].to_vec());
        let used = self.bytes.len() - rest.len() + length;
        self.bytes.drain(..used);
        Ok(Some(frame))
    }
}

/// A pong, masked with zeros.
#[must_use]
pub fn pong(payload: &[u8]) -> Vec<u8> {
    // A control frame has at most 125 bytes, so its length fits.
    let mut frame = vec![0x8a, 0x80 | payload.len().min(125) as u8, 0, 0, 0, 0];
    frame.extend_from_slice(&payload[..payload.len().min(125)]);
    frame
}
