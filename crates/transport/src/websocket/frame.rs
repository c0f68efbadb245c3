//! Frames to the client (RFC 6455 section 5.2): whole, unmasked, with the shortest header.
//!
//! ```text
//! 0x80 | opcode, length             payload up to 125 bytes
//! 0x80 | opcode, 126, u16           up to 65 535
//! 0x80 | opcode, 127, u64           beyond
//! ```

/// The longest payload of a control frame, in bytes (RFC 6455 section 5.5).
pub const CONTROL_BYTES_MAX: usize = 125;

/// What a frame is (RFC 6455 section 11.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Opcode {
    /// More of the message before.
    Continuation = 0x0,
    /// A message of text.
    Text = 0x1,
    /// A message of bytes.
    Binary = 0x2,
    /// The end.
    Close = 0x8,
    /// A question that a [`Opcode::Pong`] with the same payload answers.
    Ping = 0x9,
    /// The answer to a ping.
    Pong = 0xA,
}

impl Opcode {
    /// Whether it is one of the control opcodes, which are short and never fragmented (RFC 6455 section 5.5).
    #[must_use]
    pub const fn is_control(self) -> bool {
        self as u8 >= 0x8
    }
}

/// Appends a whole message or control frame.
///
/// The payload of a control frame has at most [`CONTROL_BYTES_MAX`] bytes; what it has beyond is cut off.
pub fn write(opcode: Opcode, payload: &[u8], out: &mut Vec<u8>) {
    debug_assert!(!opcode.is_control() || payload.len() <= CONTROL_BYTES_MAX, "a control frame is short");
    let payload =
        if opcode.is_control() { &payload[..payload.len().min(CONTROL_BYTES_MAX)] } else { payload };
    out.reserve(header_len(payload.len()) + payload.len());
    out.push(0x80 | opcode as u8);
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(len @ ..=125), _) => out.push(len),
        (_, Ok(len)) => {
            out.push(126);
            out.extend_from_slice(&len.to_be_bytes());
        }
        _ => {
            out.push(127);
            out.extend_from_slice(&(payload.len() as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(payload);
}

/// A whole frame in a buffer of exactly its size.
pub(crate) fn encode(opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(header_len(payload.len()) + payload.len());
    write(opcode, payload, &mut out);
    out
}

/// Appends a Close with `code` (RFC 6455 section 7.4) and `reason`, cut after the last whole character that fits.
pub fn close(code: u16, reason: &str, out: &mut Vec<u8>) {
    let mut end = reason.len().min(CONTROL_BYTES_MAX - 2);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    let mut payload = Vec::with_capacity(2 + end);
    payload.extend_from_slice(&code.to_be_bytes());
    payload.extend_from_slice(&reason.as_bytes()[..end]);
    write(Opcode::Close, &payload, out);
}

fn header_len(payload_len: usize) -> usize {
    match payload_len {
        ..=125 => 2,
        126..=65_535 => 4,
        _ => 10,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_as_short_as_its_length_allows() {
        for (len, header) in [
            (0, &[0x82, 0][..]),
            (125, &[0x82, 125]),
            (126, &[0x82, 126, 0, 126]),
            (65_535, &[0x82, 126, 0xff, 0xff]),
            (65_536, &[0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            let frame = encode(Opcode::Binary, &vec![7; len]);
            assert_eq!(&frame[..header.len()], header);
            assert_eq!(frame.len(), header.len() + len);
        }
    }

    #[test]
    fn a_close_reason_is_cut_between_characters() {
        let mut out = Vec::new();
        close(4408, &"é".repeat(80), &mut out);
        assert_eq!(&out[..4], &[0x88, 124, 0x11, 0x38]);
        assert_eq!(std::str::from_utf8(&out[4..]).unwrap(), "é".repeat(61));
        out.clear();
        close(1000, "", &mut out);
        assert_eq!(out, [0x88, 2, 0x03, 0xe8]);
    }
}
