//! Positions in a partition log: what an id says, and where a client asks to go on from.

use std::fmt;

/// A generation of a partition log. It changes whenever the log may have lost its tail.
///
/// Generations are random and carry no order. They have at most 48 bits, so that an id stays near 20 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Gen(u64);

impl Gen {
    /// Makes a generation of the low 48 bits of `random`; zero becomes one.
    #[must_use]
    pub fn from_random(random: u64) -> Gen {
        Gen((random & 0xffff_ffff_ffff).max(1))
    }

    /// As a number: it says nothing but whether two are the same.
    #[must_use]
    pub fn number(self) -> u64 {
        self.0
    }

    /// Reads what [`Display`](fmt::Display) writes: base 36, one spelling each; nothing otherwise.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Gen> {
        let number = read_base36(text)?;
        (Gen::from_random(number).0 == number).then_some(Gen(number))
    }
}

impl fmt::Display for Gen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0; 27];
        let start = write_base36(self.0, &mut text, 27);
        f.write_str(std::str::from_utf8(&text[start..]).unwrap_or_default())
    }
}

/// A place in a partition log. Written `<gen>.<seq>` in base 36, it is the id of the message placed there.
///
/// The same bytes for every subscriber, opaque to clients (`docs/protocol.md`, "Ids and cursors").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Position {
    /// Which log.
    pub generation: Gen,
    /// Which place in it. The first message of a log has 1; 0 is the place before it.
    pub seq: u64,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0; 27];
        let seq = write_base36(self.seq, &mut text, 27);
        text[seq - 1] = b'.';
        let start = write_base36(self.generation.0, &mut text, seq - 1);
        f.write_str(std::str::from_utf8(&text[start..]).unwrap_or_default())
    }
}

/// A position as a client gave it: untrusted, and harmless when forged (security rule S48).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cursor {
    /// It reads as a position; whether that position is known is for the partition to say.
    At(Position),
    /// It does not read as a position. Answered by a gap, never by an error (delivery rule R7).
    Unreadable,
}

impl Cursor {
    /// Reads `<gen>.<seq>`; anything else, of any length, is [`Cursor::Unreadable`].
    #[must_use]
    pub fn parse(text: &[u8]) -> Cursor {
        let position = || {
            let dot = text.iter().take(14).position(|byte| *byte == b'.')?;
            let generation = Gen::parse(&text[..dot])?;
            let seq = read_base36(&text[dot + 1..])?;
            Some(Position { generation, seq })
        };
        position().map_or(Cursor::Unreadable, Cursor::At)
    }
}

/// Where a subscriber asks to begin. Precedence: `Last-Event-ID`, then `?cursor=`, then `?tail=`, then live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// From now on.
    Live,
    /// After the message it saw last.
    After(Cursor),
    /// With the oldest message that is kept. Needs the `history` right.
    Earliest,
    /// With the newest so many messages over all channels asked for. Needs the `history` right.
    Tail(u32),
}

fn write_base36(mut number: u64, text: &mut [u8; 27], end: usize) -> usize {
    let mut at = end;
    loop {
        at -= 1;
        // A digit is below 36, so it fits.
        text[at] = b"0123456789abcdefghijklmnopqrstuvwxyz"[(number % 36) as usize];
        number /= 36;
        if number == 0 {
            return at;
        }
    }
}

fn read_base36(text: &[u8]) -> Option<u64> {
    // One spelling per number: no leading zeros, no capitals, so that equal positions are equal bytes.
    if text.is_empty() || text.len() > 13 || (text[0] == b'0' && text.len() > 1) {
        return None;
    }
    text.iter().try_fold(0u64, |number, byte| {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'z' => byte - b'a' + 10,
            _ => return None,
        };
        number.checked_mul(36)?.checked_add(u64::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_survives_being_written_and_read() {
        for (random, seq) in [(1, 0), (35, 36), (u64::MAX, u64::MAX), (0x1234_5678_9abc, 1_000_000)] {
            let position = Position { generation: Gen::from_random(random), seq };
            assert_eq!(Cursor::parse(position.to_string().as_bytes()), Cursor::At(position));
            let generation = position.generation;
            assert_eq!(Gen::parse(generation.to_string().as_bytes()), Some(generation));
        }
        let id = Position { generation: Gen::from_random(u64::MAX), seq: u64::MAX }.to_string();
        assert!(id.len() <= 24 && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'.'));
    }

    #[test]
    fn a_generation_has_one_spelling() {
        for text in ["", "0", "01", "A", "2rrvthnxtt", "zzzzzzzzzzzzz", "1 ", "-1"] {
            assert_eq!(Gen::parse(text.as_bytes()), None, "{text:?}");
        }
    }

    #[test]
    fn s48_a_cursor_that_cannot_be_read_is_unreadable_and_nothing_else() {
        let long = [b'9'; 4096];
        let bad: [&[u8]; 12] = [
            b"",
            b".",
            b"1.",
            b".1",
            b"0.1",
            b"A.1",
            b"1.01",
            b"1.1 ",
            b"1-1",
            b"1.3w5e11264sgsg",
            &long,
            b"zzzzzzzzzzzzz.1",
        ];
        for text in bad {
            assert_eq!(Cursor::parse(text), Cursor::Unreadable, "{text:?}");
        }
    }
}
