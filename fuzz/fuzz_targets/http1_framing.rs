//! Kept-alive connections: the outcome does not depend on the cuts, and a naive reader finds the same requests.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tidewire_fuzz::cut;
use tidewire_hub::limits::Limits;
use tidewire_transport::framing::Framing;
use tidewire_transport::http1::{Body, parse_head};

fuzz_target!(|input: &[u8]| {
    let limits = Limits::default();
    let (bytes, pieces) = cut::pieces(input);
    let (mut whole, mut cut) = (Framing::new(), Framing::new());
    let outcome = whole.push(bytes, &limits);
    assert_eq!(pieces.into_iter().try_for_each(|piece| cut.push(piece, &limits)), outcome);
    assert_eq!(cut.is_between_requests(), whole.is_between_requests());
    assert_eq!(cut.is_switched(), whole.is_switched());
    if outcome.is_ok() && whole.is_between_requests() {
        assert_eq!(ends_between_requests(bytes, &limits), Some(true));
    }
});

/// Takes one request after the other off the front, with all bytes at hand. Nothing where it cannot tell.
fn ends_between_requests(mut bytes: &[u8], limits: &Limits) -> Option<bool> {
    while !bytes.is_empty() {
        let head = parse_head(bytes, limits).ok()??;
        bytes = &bytes[head.len..];
        match head.body {
            Body::None => {}
            Body::Length(length) => bytes = bytes.get(usize::try_from(length).ok()?..)?,
            Body::Chunked => loop {
                let Ok(httparse::Status::Complete((line, size))) = httparse::parse_chunk_size(bytes) else {
                    return None;
                };
                let end = usize::try_from(size).ok()?.checked_add(line)?;
                bytes = bytes.get(end..)?.strip_prefix(b"\r\n")?;
                if size == 0 {
                    break;
                }
            },
        }
    }
    Some(true)
}
