//! WebSocket frames: the messages and the fault do not depend on the cuts.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tidewire_fuzz::cut;
use tidewire_hub::limits::Limits;
use tidewire_transport::websocket::decode::{Decoder, Fault, Item};

fuzz_target!(|input: &[u8]| {
    let (bytes, pieces) = cut::pieces(input);
    let whole = decoded([bytes]);
    assert_eq!(decoded(pieces), whole);
    for item in &whole.0 {
        match item {
            Item::Text(text) => assert!(std::str::from_utf8(text).is_ok()),
            Item::Ping(payload) => assert!(payload.len() <= 125),
            _ => {}
        }
    }
});

fn decoded<'b>(pieces: impl IntoIterator<Item = &'b [u8]>) -> (Vec<Item>, Result<(), Fault>) {
    // Small limits, so that they are met.
    let limits =
        Limits { message_bytes_max: 300, fragments_max: 4, empty_fragments_max: 2, ..Limits::default() };
    let mut decoder = Decoder::default();
    let mut items = Vec::new();
    let outcome =
        pieces.into_iter().try_for_each(|piece| decoder.push(&mut piece.to_vec(), &limits, &mut items));
    (items, outcome)
}
