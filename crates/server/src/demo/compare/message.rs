//! What is published to every lane: a number, the moment it left, and as many bytes as are asked for.

use std::time::{SystemTime, UNIX_EPOCH};

/// A message has room for its number and its moment, and for a mark between and after them.
pub(super) const BYTES_MIN: usize = 16;

/// Microseconds since 1970.
pub(super) fn now_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    // 2^64 microseconds are half a million years.
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

/// `number:moment:` in base 36, and dots up to `bytes`. A moment has ten digits until the year 2085, so that a million and a
/// half messages fit into the fewest bytes; a number beyond that makes its message longer.
pub(super) fn write(number: u64, at_us: u64, bytes: usize) -> String {
    let mut text = format!("{}:{}:", base36(number), base36(at_us));
    text.extend(std::iter::repeat_n('.', bytes.saturating_sub(text.len())));
    text
}

fn base36(mut number: u64) -> String {
    let mut digits = Vec::new();
    loop {
        digits.push(char::from_digit((number % 36) as u32, 36).unwrap_or('0'));
        number /= 36;
        if number == 0 {
            return digits.into_iter().rev().collect();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_as_long_as_it_is_asked_to_be() {
        for bytes in [BYTES_MIN, 128, 16_384] {
            for number in [1, 35, 36, 1_500_000] {
                assert_eq!(write(number, now_us(), bytes).len(), bytes, "{number}");
            }
        }
    }

    #[test]
    fn a_number_and_a_moment_can_be_read_again() {
        let text = write(71, 1_790_000_000_123_456, 40);
        let parts: Vec<u64> =
            text.split(':').take(2).map(|part| u64::from_str_radix(part, 36).unwrap()).collect();
        assert_eq!(parts, [71, 1_790_000_000_123_456]);
        assert!(text.ends_with("..."), "{text}");
    }
}
