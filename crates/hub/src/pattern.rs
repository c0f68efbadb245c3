//! Patterns: which channels a right holds for (security rule S28).

use std::fmt;

use crate::channel::{CHANNEL_BYTES_MAX, Channel, is_channel_byte};

/// A channel name in which `*` stands for whole segments.
///
/// | pattern | holds for |
/// |---|---|
/// | `orders:42` | that channel |
/// | `user:*:inbox` | one segment where the `*` stands: `user:7:inbox` |
/// | `orders:*` | as the last segment, one or more: `orders:42`, `orders:42:eu` |
/// | `*` | every channel |
///
/// Matching walks both once, so its time is that of the longer one, whatever a token's author wrote.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Pattern(Box<str>);

impl Pattern {
    /// Accepts a channel name whose segments may be `*`.
    ///
    /// # Errors
    /// Names what is wrong with it.
    pub fn parse(text: &str) -> Result<Pattern, PatternError> {
        if text.is_empty() {
            return Err(PatternError::Empty);
        }
        if text.len() > CHANNEL_BYTES_MAX {
            return Err(PatternError::TooLong { bytes: text.len() });
        }
        if text.starts_with('$') {
            return Err(PatternError::Reserved);
        }
        for segment in text.split(':') {
            if segment != "*" && segment.contains('*') {
                return Err(PatternError::PartOfSegment);
            }
        }
        match text.bytes().position(|byte| byte != b'*' && !is_channel_byte(byte)) {
            Some(at) => Err(PatternError::Byte { at }),
            None => Ok(Pattern(text.into())),
        }
    }

    /// Whether it holds for `channel`.
    #[must_use]
    pub fn matches(&self, channel: &Channel) -> bool {
        let mut asked = channel.as_str().split(':');
        let mut wanted = self.0.split(':').peekable();
        while let Some(want) = wanted.next() {
            let Some(have) = asked.next() else { return false };
            match want {
                "*" if wanted.peek().is_none() => return true,
                "*" => {}
                _ if want == have => {}
                _ => return false,
            }
        }
        asked.next().is_none()
    }

    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// Why a text is not a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatternError {
    /// There is nothing.
    Empty,
    /// It begins with `$`, which is the server's own.
    Reserved,
    /// It has more than [`CHANNEL_BYTES_MAX`] bytes.
    TooLong {
        /// How many it has.
        bytes: usize,
    },
    /// A `*` is only part of a segment.
    PartOfSegment,
    /// A byte is neither `*` nor one that channel names have.
    Byte {
        /// Where the first such byte stands, from 0.
        at: usize,
    },
}

impl fmt::Display for PatternError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PatternError::Empty => write!(f, "the pattern is empty"),
            PatternError::Reserved => write!(f, "names beginning with `$` are the server's own"),
            PatternError::TooLong { bytes } => {
                write!(f, "the pattern has {bytes} bytes; {CHANNEL_BYTES_MAX} is the most")
            }
            PatternError::PartOfSegment => write!(f, "`*` stands for whole segments, as in `orders:*`"),
            PatternError::Byte { at } => {
                write!(f, "byte {at} of the pattern is not one of A-Z a-z 0-9 . _ : @ = + ~ - *")
            }
        }
    }
}

impl std::error::Error for PatternError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, channel: &str) -> bool {
        Pattern::parse(pattern).unwrap().matches(&Channel::parse(channel).unwrap())
    }

    #[test]
    fn s28_a_star_stands_for_whole_segments() {
        for (pattern, channel) in [
            ("prices", "prices"),
            ("*", "prices"),
            ("*", "a:b:c"),
            ("orders:*", "orders:42"),
            ("orders:*", "orders:42:eu"),
            ("user:*:inbox", "user:7:inbox"),
            ("*:42", "orders:42"),
        ] {
            assert!(matches(pattern, channel), "{pattern} {channel}");
        }
        for (pattern, channel) in [
            ("prices", "price"),
            ("prices", "prices:eu"),
            ("prices:eu", "prices"),
            ("orders:*", "orders"),
            ("orders:*", "orders2:42"),
            ("order:*", "orders:42"),
            ("user:*:inbox", "user:7:8:inbox"),
            ("user:*:inbox", "user:7"),
            ("*:42", "orders:eu:42"),
            ("a_b:*", "a:b_c"),
        ] {
            assert!(!matches(pattern, channel), "{pattern} {channel}");
        }
    }

    #[test]
    fn s28_what_is_no_pattern_says_why() {
        assert_eq!(Pattern::parse(""), Err(PatternError::Empty));
        assert_eq!(Pattern::parse("$sys:*"), Err(PatternError::Reserved));
        assert_eq!(Pattern::parse(&"x".repeat(129)), Err(PatternError::TooLong { bytes: 129 }));
        for partial in ["orders*", "orders:4*", "**", "a:*b:c"] {
            assert_eq!(Pattern::parse(partial), Err(PatternError::PartOfSegment), "{partial:?}");
        }
        for bad in ["a b", "(a+)+", "a/b", "é", "a\n"] {
            assert!(matches!(Pattern::parse(bad), Err(PatternError::Byte { .. })), "{bad:?}");
        }
    }

    #[test]
    fn s28_a_hostile_pattern_is_matched_in_one_walk() {
        // 64 wildcards against 64 segments: backtracking would take 2^64 steps.
        let pattern = vec!["*"; 63].join(":") + ":x";
        let channel = vec!["a"; 64].join(":");
        assert!(!matches(&pattern, &channel));
    }
}
