//! Socket.IO over WebSocket, as a client reads it: Engine.IO protocol 4 with the default namespace of Socket.IO
//! protocol 5. Each packet is one text frame.
//!
//! ```text
//! server  0{"sid":…}   open        client answers 40, which connects to the default namespace
//! server  40{"sid":…}  connected
//! server  2            ping        client answers 3
//! server  42["m","…"]  event
//! ```

/// What a server's packet says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packet<'p> {
    /// It waits for this packet.
    Answer(&'static str),
    /// The session is open: from here on messages arrive.
    Connected,
    /// The data of one message.
    Message(&'p [u8]),
    /// The server refused or ended the session, or cannot be understood.
    Over,
}

/// The path that subscribes to `channel`.
pub fn path(channel: &str) -> String {
    format!("/socket.io/?EIO=4&transport=websocket&channel={channel}")
}

/// Reads one packet. Payloads of these runs have nothing that JSON would escape.
pub fn read(packet: &[u8]) -> Packet<'_> {
    let event = |rest: &'_ [u8]| rest.strip_prefix(b"[\"m\",\"")?.strip_suffix(b"\"]").map(<[u8]>::len);
    match packet {
        [b'0', ..] => Packet::Answer("40"),
        [b'2'] => Packet::Answer("3"),
        [b'4', b'0', ..] => Packet::Connected,
        [b'4', b'2', rest @ ..] => match event(rest) {
            Some(length) => Packet::Message(&rest[6..6 + length]),
            None => Packet::Over,
        },
        _ => Packet::Over,
    }
}

/// A client's text frame with one packet (RFC 6455, section 5.2). A mask of zeros is a mask.
pub fn frame(packet: &str) -> Vec<u8> {
    debug_assert!(packet.len() < 126);
    [&[0x81, 0x80 | packet.len() as u8, 0, 0, 0, 0], packet.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_open_is_answered_with_a_connect_and_a_ping_with_a_pong() {
        assert_eq!(read(br#"0{"sid":"a","upgrades":[],"pingInterval":25000}"#), Packet::Answer("40"));
        assert_eq!(read(b"2"), Packet::Answer("3"));
        assert_eq!(frame("40"), b"\x81\x82\0\0\0\x0040");
    }

    #[test]
    fn a_session_is_open_once_the_namespace_says_so() {
        assert_eq!(read(br#"40{"sid":"b"}"#), Packet::Connected);
    }

    #[test]
    fn an_event_holds_the_payload_as_it_was_published() {
        assert_eq!(read(br#"42["m","tidewire-bench 1 ..."]"#), Packet::Message(b"tidewire-bench 1 ..."));
        assert_eq!(read(br#"42["m",""]"#), Packet::Message(b""));
    }

    #[test]
    fn a_refusal_an_end_and_what_is_no_packet_are_over() {
        for packet in [&br#"44{"message":"no"}"#[..], b"41", b"1", b"", b"42", b"42[\"m\",\"", b"6"] {
            assert_eq!(read(packet), Packet::Over, "{packet:?}");
        }
    }
}
