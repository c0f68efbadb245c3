//! The opening handshake (RFC 6455 section 4.2).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest as _, Sha1};
use tidewire_hub::admit::HeadFields;

use crate::head;

/// What is appended to a key before it is hashed (RFC 6455 section 1.3).
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The answer to a `Sec-WebSocket-Key`, for `Sec-WebSocket-Accept` (RFC 6455 section 4.2.2).
///
/// Nothing unless the key is 16 bytes in canonical base64 (security rule S32).
#[must_use]
pub fn accept_key(key: &str) -> Option<[u8; 28]> {
    // The decoder wants room for whole groups of three bytes, and refuses a longer key for want of it.
    let mut nonce = [0; 18];
    if STANDARD.decode_slice(key, &mut nonce) != Ok(16) {
        return None;
    }
    let digest = Sha1::new().chain_update(key).chain_update(GUID).finalize();
    let mut accept = [0; 28];
    STANDARD.encode_slice(digest, &mut accept).expect("20 bytes take exactly 28 in base64");
    Some(accept)
}

/// Appends the `101` that opens the WebSocket. `subprotocol` is one of the server's own, never the client's text.
pub fn response(accept: &[u8; 28], subprotocol: Option<&str>, fields: &HeadFields, out: &mut Vec<u8>) {
    out.extend_from_slice(
        b"HTTP/1.1 101 Switching Protocols\r\n\
        Upgrade: websocket\r\n\
        Connection: Upgrade\r\n\
        Sec-WebSocket-Accept: ",
    );
    out.extend_from_slice(accept);
    if let Some(subprotocol) = subprotocol {
        debug_assert!(subprotocol.bytes().all(|byte| byte.is_ascii_graphic()), "a subprotocol is one token");
        out.extend_from_slice(b"\r\nSec-WebSocket-Protocol: ");
        out.extend_from_slice(subprotocol.as_bytes());
    }
    out.extend_from_slice(b"\r\n");
    // A WebSocket is not subject to CORS: no origin is named.
    head::write_fields(None, fields, out);
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_rfc_6455_section_1_3_holds() {
        assert_eq!(accept_key("dGhlIHNhbXBsZSBub25jZQ=="), Some(*b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    }

    #[test]
    fn s32_a_key_is_sixteen_bytes_of_canonical_base64() {
        for bad in [
            "",
            "dGhlIHNhbXBsZSBub25jZQ",
            "dGhlIHNhbXBsZSBub25jZQ=",
            "dGhlIHNhbXBsZSBub25jZR==",
            "dGhlIHNhbXBsZSBub25jZQ===",
            "dGhlIHNhbXBsZSBub25jZTE=",
            "dGhlIHNhbXBsZSBub25jZTEy",
            "dGhlIHNhbXBsZSBub25j-Q==",
            " GhlIHNhbXBsZSBub25jZQ==",
            "dGhlIHNhbXBsZSBub25j€Q==",
        ] {
            assert_eq!(accept_key(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn the_answer_names_the_subprotocol_only_when_there_is_one() {
        let mut raw = Vec::new();
        response(b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", None, &HeadFields::default(), &mut raw);
        assert_eq!(
            String::from_utf8(raw).unwrap(),
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
        );
        let mut v1 = Vec::new();
        response(b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", Some("tidewire.v1"), &HeadFields::default(), &mut v1);
        assert!(v1.ends_with(b"xOo=\r\nSec-WebSocket-Protocol: tidewire.v1\r\n\r\n"));
    }
}
