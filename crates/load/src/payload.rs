//! The payload: 128 bytes of text that say which message it is and when it should have left.
//!
//! ```text
//! tidewire-bench 0000000042 00000000001234567890 ..............................................
//! mark           number     due, ns              filler, checked to the last byte
//! ```

/// Bytes in every payload.
pub const PAYLOAD_BYTES: usize = 128;

const MARK: &[u8] = b"tidewire-bench ";
const NUMBER_END: usize = MARK.len() + 10;
const DUE_END: usize = NUMBER_END + 1 + 20;

/// What a payload says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Payload {
    /// Messages are numbered from 0 in the order in which they were handed to a publisher.
    pub number: u32,
    /// When it should have left, in nanoseconds on the generator's clock. A late send counts as latency.
    pub due_ns: u64,
}

impl Payload {
    /// The bytes to publish.
    pub fn encode(self) -> [u8; PAYLOAD_BYTES] {
        let mut bytes = [b'.'; PAYLOAD_BYTES];
        bytes[..MARK.len()].copy_from_slice(MARK);
        write_decimal(&mut bytes[MARK.len()..NUMBER_END], u64::from(self.number));
        bytes[NUMBER_END] = b' ';
        write_decimal(&mut bytes[NUMBER_END + 1..DUE_END], self.due_ns);
        bytes[DUE_END] = b' ';
        bytes
    }

    /// What was published, or nothing where a single byte differs from what can have been.
    pub fn decode(bytes: &[u8]) -> Option<Payload> {
        let bytes: &[u8; PAYLOAD_BYTES] = bytes.try_into().ok()?;
        let number = u32::try_from(read_decimal(&bytes[MARK.len()..NUMBER_END])?).ok()?;
        let payload = Payload { number, due_ns: read_decimal(&bytes[NUMBER_END + 1..DUE_END])? };
        let framed = bytes.starts_with(MARK) && bytes[NUMBER_END] == b' ' && bytes[DUE_END] == b' ';
        (framed && bytes[DUE_END + 1..] == FILLER).then_some(payload)
    }
}

const FILLER: [u8; PAYLOAD_BYTES - DUE_END - 1] = [b'.'; PAYLOAD_BYTES - DUE_END - 1];

fn write_decimal(field: &mut [u8], mut value: u64) {
    for digit in field.iter_mut().rev() {
        *digit = b'0' + (value % 10) as u8;
        value /= 10;
    }
}

fn read_decimal(field: &[u8]) -> Option<u64> {
    field.iter().try_fold(0_u64, |value, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        value.checked_mul(10)?.checked_add(digit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: Payload = Payload { number: 4_000_000_001, due_ns: 1_234_567_890_123 };

    #[test]
    fn what_was_written_is_read() {
        assert_eq!(Payload::decode(&SAMPLE.encode()), Some(SAMPLE));
    }

    #[test]
    fn a_change_of_any_byte_is_never_read_as_the_same_message() {
        for index in 0..PAYLOAD_BYTES {
            let mut bytes = SAMPLE.encode();
            bytes[index] ^= 1;
            assert_ne!(Payload::decode(&bytes), Some(SAMPLE), "byte {index}");
        }
    }

    #[test]
    fn a_payload_cut_short_or_too_long_is_refused() {
        let bytes = SAMPLE.encode();
        assert_eq!(Payload::decode(&bytes[..PAYLOAD_BYTES - 1]), None);
        assert_eq!(Payload::decode(&[&bytes[..], b"."].concat()), None);
    }
}
