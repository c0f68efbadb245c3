//! Cutting an input into pieces: a network may cut anywhere, and no reader may care.

/// The input without its last byte, in pieces whose sizes that byte decides. Byte 0 gives single bytes.
pub fn pieces(input: &[u8]) -> (&[u8], Vec<&[u8]>) {
    let Some((seed, mut rest)) = input.split_last() else { return (input, Vec::new()) };
    let whole = rest;
    let mut pieces = Vec::new();
    let mut state = u32::from(*seed);
    while !rest.is_empty() {
        // A small linear congruential step: the same seed cuts in the same places when a crash is replayed.
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let size = if *seed == 0 { 1 } else { 1 + (state >> 24) as usize % 48 };
        let (piece, tail) = rest.split_at(size.min(rest.len()));
        pieces.push(piece);
        rest = tail;
    }
    (whole, pieces)
}
