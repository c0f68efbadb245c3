//! Text that others wrote, made safe for a terminal. Subjects, addresses, paths and words of refusals come from whoever
//! connects, and a terminal obeys what it is shown: an escape sequence could rewrite the screen, the title or the clipboard.

use std::fmt;
use std::ops::Deref;

use serde::{Deserialize, Deserializer, Serialize};

use crate::show::is_obeyed;

/// The longest text that is kept, in characters. The server keeps 256 bytes of anything that a client wrote.
const CHARS_MAX: usize = 512;

/// Text without anything that a terminal would obey instead of showing. Whatever comes from a server is read as this, so
/// that nothing else can reach the screen.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub(super) struct Plain(String);

impl Plain {
    /// Every character that a terminal acts on becomes `�`, one for one, so that a forged text still looks forged.
    pub(super) fn of(text: &str) -> Plain {
        let plain = |char: char| if is_obeyed(char) { char::REPLACEMENT_CHARACTER } else { char };
        Plain(text.chars().take(CHARS_MAX).map(plain).collect())
    }
}

impl Deref for Plain {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Plain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl<'de> Deserialize<'de> for Plain {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Plain, D::Error> {
        String::deserialize(deserializer).map(|text| Plain::of(&text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_terminal_obeys_is_left() {
        for (wrote, shown) in [
            ("alice", "alice"),
            ("żółć 東京 🦀", "żółć 東京 🦀"),
            ("\x1b[2J\x1b]0;owned\x07", "�[2J�]0;owned�"),
            ("a\r\nb\tc\x08\x7f", "a��b�c��"),
            ("\u{9b}31m\u{9d}52;c;Zm9v\u{9c}", "�31m�52;c;Zm9v�"),
            ("user\u{202e}nimda\u{2066}", "user�nimda�"),
            ("a\u{200b}b\u{feff}\u{e0041}\u{2028}", "a�b���"),
        ] {
            assert_eq!(&*Plain::of(wrote), shown, "{wrote:?}");
        }
    }

    #[test]
    fn every_control_character_is_replaced_and_no_letter_is() {
        for char in (0..=0x9f_u32).filter_map(char::from_u32) {
            let shown = Plain::of(&char.to_string());
            assert_eq!(&*shown == "\u{fffd}", char.is_control(), "{char:?}");
        }
    }

    #[test]
    fn what_a_server_says_is_read_as_plain_and_is_bounded() {
        let said: Plain = serde_json::from_str(r#""\u001b[31m\u009bred""#).unwrap();
        assert_eq!(&*said, "�[31m�red");
        assert_eq!(Plain::of(&"x".repeat(10_000)).len(), CHARS_MAX);
    }
}
