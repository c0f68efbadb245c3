//! The payload: text that says of which run it is, which message it is and when it should have left.
//!
//! ```text
//! bench 5f3a9c01 0000000042 00000000001234567890 ..............................................
//!       run      number     due, ns              filler, checked to the last byte
//! ```

/// The least that a payload has: all but the filler, and one byte of that.
pub const PAYLOAD_BYTES_MIN: usize = FILLER + 1;

const RUN: usize = 6;
const NUMBER: usize = RUN + 9;
const DUE: usize = NUMBER + 11;
const FILLER: usize = DUE + 21;

/// What a payload says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Payload {
    /// Tells this run's messages from those of others on the same channels.
    pub run: u32,
    /// Messages are numbered from 0 in the order in which they were due.
    pub number: u32,
    /// When it should have left, in nanoseconds on the generator's clock. A late send counts as latency.
    pub due_ns: u64,
}

impl Payload {
    /// The text to publish, `bytes` long, and never shorter than [`PAYLOAD_BYTES_MIN`].
    pub fn encode(self, bytes: usize) -> Vec<u8> {
        let mut text = vec![b'.'; bytes.max(PAYLOAD_BYTES_MIN)];
        text[..FILLER].fill(b' ');
        text[..RUN].copy_from_slice(b"bench ");
        write_digits(&mut text[RUN..NUMBER - 1], u64::from(self.run), 16);
        write_digits(&mut text[NUMBER..DUE - 1], u64::from(self.number), 10);
        write_digits(&mut text[DUE..FILLER - 1], self.due_ns, 10);
        text
    }

    /// What was published, or nothing where a single byte differs from what can have been.
    pub fn decode(text: &[u8], bytes: usize) -> Option<Payload> {
        let (head, filler) = text.split_at_checked(FILLER)?;
        let framed =
            head.starts_with(b"bench ") && [NUMBER, DUE, FILLER].iter().all(|end| head[end - 1] == b' ');
        if !framed || text.len() != bytes || filler.iter().any(|byte| *byte != b'.') {
            return None;
        }
        Some(Payload {
            run: u32::try_from(read_digits(&head[RUN..NUMBER - 1], 16)?).ok()?,
            number: u32::try_from(read_digits(&head[NUMBER..DUE - 1], 10)?).ok()?,
            due_ns: read_digits(&head[DUE..FILLER - 1], 10)?,
        })
    }
}

fn write_digits(field: &mut [u8], mut value: u64, base: u64) {
    for digit in field.iter_mut().rev() {
        *digit = b"0123456789abcdef"[(value % base) as usize];
        value /= base;
    }
}

fn read_digits(field: &[u8], base: u32) -> Option<u64> {
    field.iter().try_fold(0_u64, |value, byte| {
        let digit = char::from(*byte).to_digit(base).filter(|_| !byte.is_ascii_uppercase())?;
        value.checked_mul(u64::from(base))?.checked_add(u64::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const BYTES: usize = 128;
    const SAMPLE: Payload = Payload { run: 0x5f3a_9c01, number: 4_000_000_001, due_ns: 1_234_567_890_123 };

    #[test]
    fn what_was_written_is_read_at_every_length() {
        for bytes in [PAYLOAD_BYTES_MIN, BYTES, 100_000] {
            let text = SAMPLE.encode(bytes);
            assert_eq!((text.len(), Payload::decode(&text, bytes)), (bytes, Some(SAMPLE)));
        }
    }

    #[test]
    fn a_change_of_any_byte_is_never_read_as_the_same_message() {
        for index in 0..BYTES {
            for bit in 0..8 {
                let mut text = SAMPLE.encode(BYTES);
                text[index] ^= 1 << bit;
                assert_ne!(Payload::decode(&text, BYTES), Some(SAMPLE), "bit {bit} of byte {index}");
            }
        }
    }

    #[test]
    fn a_payload_cut_short_or_too_long_is_refused() {
        let text = SAMPLE.encode(BYTES);
        for end in 0..BYTES {
            assert_eq!(Payload::decode(&text[..end], BYTES), None);
        }
        assert_eq!(Payload::decode(&[&text[..], b"."].concat(), BYTES), None);
    }
}
