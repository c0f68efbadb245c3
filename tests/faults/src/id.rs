//! Ids as a referee reads them. Clients must not; a referee has to, or it could not tell what lies between two of them.

use std::fmt;

/// `<generation>.<seq>`, both in base36.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id {
    /// Which life of the log.
    pub generation: u64,
    /// The place in it.
    pub seq: u64,
}

impl Id {
    /// Reads an id; nothing where it is none.
    #[must_use]
    pub fn parse(text: &str) -> Option<Id> {
        let (generation, seq) = text.split_once('.')?;
        let number = |text: &str| {
            let plain = text.bytes().all(|byte| byte.is_ascii_digit() || byte.is_ascii_lowercase());
            (plain && !text.is_empty()).then(|| u64::from_str_radix(text, 36).ok()).flatten()
        };
        Some(Id { generation: number(generation)?, seq: number(seq)? })
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", base36(self.generation), base36(self.seq))
    }
}

fn base36(mut number: u64) -> String {
    let mut digits = Vec::new();
    while number > 0 || digits.is_empty() {
        digits.push(b"0123456789abcdefghijklmnopqrstuvwxyz"[(number % 36) as usize]);
        number /= 36;
    }
    digits.iter().rev().map(|digit| char::from(*digit)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_read_is_shown_as_it_was() {
        for text in ["1k9x0q2f1a.2s", "0.0", "zz.100"] {
            assert_eq!(Id::parse(text).unwrap().to_string(), text);
        }
        for bad in ["", ".", "a.", ".1", "a.B", "a.1.2", "-1.2", "a"] {
            assert_eq!(Id::parse(bad), None, "{bad}");
        }
    }
}
