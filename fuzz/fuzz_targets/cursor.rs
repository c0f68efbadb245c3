//! Cursors: what reads as a position is written the same way again, so equal positions are equal bytes (rule S48).

#![no_main]

use libfuzzer_sys::fuzz_target;
use tidewire_hub::position::Cursor;

fuzz_target!(|text: &[u8]| {
    if let Cursor::At(position) = Cursor::parse(text) {
        assert_eq!(position.to_string().as_bytes(), text);
    }
});
