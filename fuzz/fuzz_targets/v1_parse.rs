//! Frames of `tidewire.v1`: read or refused, and an id that comes back is JSON and in bounds.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tidewire_hub::limits::Limits;
use tidewire_transport::v1::{ID_BYTES_MAX, parse};

fuzz_target!(|text: &str| {
    let id = match parse(text, &Limits::default()) {
        Ok(tagged) => tagged.id,
        Err(error) => error.id,
    };
    if let Some(id) = id {
        assert!(id.len() <= ID_BYTES_MAX);
        assert!(text.contains(&*id), "an id comes back as it was sent");
    }
});
