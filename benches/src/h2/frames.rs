//! Frames (RFC 9113, section 4.1), and header blocks that need no table (RFC 7541).

/// Bytes before every payload: its length (3), type, flags, stream (4).
pub const HEAD_BYTES: usize = 9;
/// Longer payloads are only for those who ask for them.
pub const PAYLOAD_BYTES_MAX: usize = 1 << 14;

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
#[cfg(test)]
pub const CONTINUATION: u8 = 9;

/// Of SETTINGS and PING.
pub const ACK: u8 = 1;
/// Of DATA and HEADERS.
pub const END_STREAM: u8 = 1;
/// Of HEADERS.
pub const END_HEADERS: u8 = 4;
/// Of DATA and HEADERS.
pub const PADDED: u8 = 8;
/// Of HEADERS.
pub const PRIORITY: u8 = 0x20;

/// What stands before a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    pub length: usize,
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
}

impl Head {
    /// Takes one apart; nothing where some of it is missing.
    pub fn read(bytes: &[u8]) -> Option<(Head, &[u8])> {
        let (head, after) = bytes.split_first_chunk::<HEAD_BYTES>()?;
        let [a, b, c, kind, flags, stream @ ..] = *head;
        let length = u32::from_be_bytes([0, a, b, c]) as usize;
        // The first bit means nothing.
        Some((Head { length, kind, flags, stream: u32::from_be_bytes(stream) & 0x7fff_ffff }, after))
    }

    pub fn has(self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

/// Appends a frame. No payload of ours comes near the largest.
pub fn write(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    out.extend_from_slice(&(payload.len() as u32).to_be_bytes()[1..]);
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
}

/// Appends a WINDOW_UPDATE.
pub fn write_update(out: &mut Vec<u8>, stream: u32, bytes: u32) {
    write(out, WINDOW_UPDATE, 0, stream, &bytes.to_be_bytes());
}

/// The header block that asks for a stream of events.
pub fn request(scheme: &str, authority: &str, path: &str) -> Vec<u8> {
    // From the static table: `:method: GET`, and `:scheme` with either value.
    let mut block = vec![0x82, if scheme == "https" { 0x87 } else { 0x86 }];
    for (name, value) in [(1, authority), (4, path), (19, "text/event-stream")] {
        // Literal without indexing, its name from the static table; neither side keeps it.
        write_integer(&mut block, 0, 4, name);
        write_integer(&mut block, 0, 7, value.len());
        block.extend_from_slice(value.as_bytes());
    }
    block
}

/// The status that a header block begins with, as the static table has it; 0 where it is none of these.
pub fn status(mut block: &[u8]) -> u16 {
    // Changes of the table's size may come first. One that takes more than a byte begins with 31.
    while let Some((first, mut after)) = block.split_first().filter(|(first, _)| *first & 0xe0 == 0x20) {
        if first & 0x1f == 0x1f {
            let end = after.iter().position(|byte| byte & 0x80 == 0).unwrap_or(after.len());
            after = after.get(end + 1..).unwrap_or_default();
        }
        block = after;
    }
    match block.first() {
        Some(0x88) => 200,
        Some(0x89) => 204,
        Some(0x8a) => 206,
        Some(0x8b) => 304,
        Some(0x8c) => 400,
        Some(0x8d) => 404,
        Some(0x8e) => 500,
        _ => 0,
    }
}

/// An integer behind `pattern`, with a prefix of so many bits (RFC 7541, section 5.1).
fn write_integer(out: &mut Vec<u8>, pattern: u8, bits: u32, value: usize) {
    let most = (1 << bits) - 1;
    if value < most {
        out.push(pattern | value as u8);
        return;
    }
    out.push(pattern | most as u8);
    let mut left = value - most;
    while left >= 0x80 {
        out.push(0x80 | (left & 0x7f) as u8);
        left >>= 7;
    }
    out.push(left as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_read_as_it_was_written() {
        let mut out = Vec::new();
        write(&mut out, DATA, END_STREAM, 7, b"abc");
        assert_eq!(out, b"\0\0\x03\0\x01\0\0\0\x07abc");
        let (head, after) = Head::read(&out).unwrap();
        assert_eq!(head, Head { length: 3, kind: DATA, flags: END_STREAM, stream: 7 });
        assert_eq!((after, Head::read(&out[..8])), (&b"abc"[..], None));
    }

    #[test]
    fn a_request_has_every_field_as_a_literal_or_from_the_static_table() {
        let block = request("http", "a:1", "/c/x");
        assert_eq!(block, b"\x82\x86\x01\x03a:1\x04\x04/c/x\x0f\x04\x11text/event-stream");
    }

    #[test]
    fn integers_are_those_of_the_standards_examples() {
        let check = |bits, value, expected: &[u8]| {
            let mut out = Vec::new();
            write_integer(&mut out, 0, bits, value);
            assert_eq!(out, expected, "{value} behind {bits} bits");
        };
        check(5, 10, &[0x0a]);
        check(5, 1337, &[0x1f, 0x9a, 0x0a]);
        check(8, 42, &[0x2a]);
        check(7, 127, &[0x7f, 0]);
    }

    #[test]
    fn a_status_stands_first_or_behind_changes_of_the_table() {
        assert_eq!(status(&[0x88, 0x5f]), 200);
        assert_eq!(status(&[0x20, 0x3f, 0xe1, 0x1f, 0x8d]), 404);
        assert_eq!((status(b"\x48\x03429"), status(&[]), status(&[0x3f, 0xff])), (0, 0, 0));
    }
}
