//! WebSocket frames as a server sends them: unmasked, and here whole, since every payload is small (RFC 6455,
//! section 5.2).

use crate::stream::{Over, PART_BYTES_MAX, Seen};

/// Tells every complete frame and returns the bytes after the last one.
pub fn feed<'b>(mut bytes: &'b [u8], tell: &mut impl FnMut(Seen<'_>)) -> Result<&'b [u8], Over> {
    while let [first, second, after @ ..] = bytes {
        let extended = match second {
            0..=125 => 0,
            126 => 2,
            127 => 8,
            // A server must not mask.
            128.. => return Err(Over),
        };
        let Some((length, after)) = after.split_at_checked(extended) else { break };
        let length = match extended {
            0 => usize::from(*second),
            _ => length.iter().fold(0, |sum: usize, byte| (sum << 8) | usize::from(*byte)),
        };
        if length > PART_BYTES_MAX {
            return Err(Over);
        }
        let Some((payload, after)) = after.split_at_checked(length) else { break };
        match first {
            0x81 | 0x82 => tell(Seen::Message(payload)),
            0x89 => tell(Seen::Ping(payload)),
            0x8a => {}
            // Close, fragments and reserved bits: nothing that these runs should meet.
            _ => return Err(Over),
        }
        bytes = after;
    }
    Ok(bytes)
}

/// The answer to a ping. A mask of zeros is a mask: it leaves the payload readable.
pub fn pong(payload: &[u8]) -> Vec<u8> {
    // A control frame has at most 125 bytes; what is longer is cut and the server may say so.
    let payload = &payload[..payload.len().min(125)];
    [&[0x8a, 0x80 | payload.len() as u8, 0, 0, 0, 0], payload].concat()
}
