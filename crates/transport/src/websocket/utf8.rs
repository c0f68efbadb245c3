//! UTF-8 that arrives in pieces (RFC 3629): refused at the first byte that no continuation could make right.

/// What is left of a character whose end has not arrived.
#[derive(Debug, Default)]
pub(crate) struct Utf8 {
    carry: [u8; 4],
    carry_len: u8,
}

/// No continuation makes this UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Invalid;

impl Utf8 {
    /// Goes on with `piece`.
    pub(crate) fn push(&mut self, mut piece: &[u8]) -> Result<(), Invalid> {
        // At most three turns: a character has four bytes, and the carry at least one of them.
        while self.carry_len > 0 {
            let Some((first, rest)) = piece.split_first() else { return Ok(()) };
            piece = rest;
            self.carry[usize::from(self.carry_len)] = *first;
            let carry = &self.carry[..=usize::from(self.carry_len)];
            match std::str::from_utf8(carry) {
                Ok(_) => self.carry_len = 0,
                Err(error) if error.error_len().is_none() => self.carry_len += 1,
                Err(_) => return Err(Invalid),
            }
        }
        let Err(error) = simdutf8::compat::from_utf8(piece) else { return Ok(()) };
        if error.error_len().is_some() {
            return Err(Invalid);
        }
        let unfinished = &piece[error.valid_up_to()..];
        self.carry[..unfinished.len()].copy_from_slice(unfinished);
        self.carry_len =
            u8::try_from(unfinished.len()).expect("an unfinished character has at most three bytes");
        Ok(())
    }

    /// Whether the text may end here.
    pub(crate) fn is_complete(&self) -> bool {
        self.carry_len == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn s30_a_wrong_byte_is_refused_when_it_arrives() {
        // Surrogates, beyond U+10FFFF, overlong, stray: each wrong at its last byte here and not before.
        for bad in
            [&b"\xed\xa0"[..], b"\xf4\x90", b"\xc0", b"\xe0\x80", b"\xf0\x80", b"\x80", b"\xff", b"\xe2\x82A"]
        {
            let mut utf8 = Utf8::default();
            let (last, before) = bad.split_last().unwrap();
            for byte in before {
                assert_eq!(utf8.push(&[*byte]), Ok(()), "{bad:x?}");
            }
            assert_eq!(utf8.push(&[*last]), Err(Invalid), "{bad:x?}");
            assert_eq!(Utf8::default().push(bad), Err(Invalid), "{bad:x?}");
        }
    }

    proptest! {
        #[test]
        fn any_pieces_are_judged_as_the_whole(
            pieces in prop::collection::vec(
                prop_oneof![
                    any::<Vec<u8>>(),
                    any::<String>().prop_map(String::into_bytes),
                    any::<char>().prop_map(|char| char.to_string().into_bytes()[..1].to_vec()),
                    prop::collection::vec(0x80u8..0xc0, 1..3),
                ],
                0..6,
            ),
        ) {
            let whole = pieces.concat();
            let mut utf8 = Utf8::default();
            let pushed: Result<(), Invalid> = pieces.iter().try_for_each(|piece| utf8.push(piece));
            match std::str::from_utf8(&whole) {
                Ok(_) => prop_assert!(pushed.is_ok() && utf8.is_complete()),
                Err(error) if error.error_len().is_none() => prop_assert!(pushed.is_ok() && !utf8.is_complete()),
                Err(_) => prop_assert!(pushed.is_err()),
            }
        }

        #[test]
        fn every_split_of_a_text_is_a_text(text in any::<String>()) {
            let mut utf8 = Utf8::default();
            for byte in text.bytes() {
                prop_assert!(utf8.push(&[byte]).is_ok());
            }
            prop_assert!(utf8.is_complete());
        }
    }
}
