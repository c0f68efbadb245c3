//! PROXY headers: the outcome does not depend on the cuts, and a second reader finds the same client (rule S41).

#![no_main]

use std::net::SocketAddr;

use libfuzzer_sys::fuzz_target;
use tidewire_transport::proxy_protocol::{HEADER_BYTES_MAX, Malformed, parse};

fuzz_target!(|bytes: &[u8]| {
    let whole = parse(bytes);
    let prefixes = 0..=bytes.len().min(HEADER_BYTES_MAX);
    let cut = prefixes.map(|end| parse(&bytes[..end])).find(|outcome| *outcome != Ok(None));
    assert_eq!(cut.unwrap_or(Ok(None)), whole);
    match whole {
        Ok(Some(parsed)) => {
            assert!((16..=HEADER_BYTES_MAX).contains(&parsed.len) && parsed.len <= bytes.len());
            assert_eq!(parsed.len, 16 + usize::from(bytes[14]) * 256 + usize::from(bytes[15]));
            assert_eq!(parsed.client, client(bytes));
        }
        Ok(None) => assert!(bytes.len() < HEADER_BYTES_MAX, "nothing is waited for beyond the bound"),
        Err(Malformed::NotProxy { at }) => assert!(at < 12 && at < bytes.len()),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});

/// Picks the source address out of a header that was accepted.
fn client(bytes: &[u8]) -> Option<SocketAddr> {
    let port = |at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
    let client: SocketAddr = match (bytes[12], bytes[13]) {
        (0x21, 0x11) => (<[u8; 4]>::try_from(&bytes[16..20]).ok()?, port(24)).into(),
        (0x21, 0x21) => (<[u8; 16]>::try_from(&bytes[16..32]).ok()?, port(48)).into(),
        _ => return None,
    };
    Some((client.ip().to_canonical(), client.port()).into())
}
