//! Secrets of the configuration: held, handed on, never shown (security rules S15, S49).

use std::fmt;

use zeroize::Zeroizing;

/// A secret. `Debug` prints `***`, and its memory is overwritten when it is dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<Box<str>>);

/// What stands in the place of a secret wherever settings are shown.
pub const MASK: &str = "***";

/// The least that an HMAC key may have, in bytes: as long as the hash of HS256 (RFC 7518 section 3.2).
pub const SECRET_BYTES_MIN: usize = 32;

/// Different bytes below which a long secret is one key pressed again and again.
const DIFFERENT_BYTES_MIN: usize = 8;

/// Parts of secrets that stand in manuals, ours and others': whoever copies them has no secret. In lower case.
const PUBLISHED: [&str; 9] = [
    "changeme",
    "change-me",
    "change_me",
    "changethis",
    "your-256-bit-secret",
    "your-secret",
    "secret-at-least-256-bits",
    "supersecret",
    "bbe7d157-a253-4094-9759-06a8236543f9",
];

impl Secret {
    /// Takes `text` as the secret, byte for byte.
    #[must_use]
    pub fn new(text: &str) -> Secret {
        Secret(Zeroizing::new(text.into()))
    }

    /// The secret itself, for whoever signs or verifies with it.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// Why somebody could guess it; nothing where nobody can. The answer does not hold the secret.
    #[must_use]
    pub fn weakness(&self) -> Option<String> {
        let bytes = self.expose();
        if bytes.len() < SECRET_BYTES_MIN {
            return Some(format!("it has {} bytes, and {SECRET_BYTES_MIN} is the least", bytes.len()));
        }
        let lower = self.0.to_ascii_lowercase();
        if PUBLISHED.iter().any(|published| lower.contains(published)) {
            return Some("it is the example of a manual, which everybody knows".into());
        }
        let different = bytes.iter().collect::<std::collections::HashSet<_>>().len();
        (different < DIFFERENT_BYTES_MIN).then(|| format!("it is made of {different} different characters"))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s15_a_secret_that_can_be_guessed_is_weak() {
        for weak in [
            "",
            "secret",
            "0123456789abcdef0123456789abcde",
            "00000000000000000000000000000000000000000000",
            "a-string-secret-at-least-256-bits-long",
            "!ChangeThisMercureHubJWTSecretKey!",
            "bbe7d157-a253-4094-9759-06a8236543f9",
        ] {
            assert!(Secret::new(weak).weakness().is_some(), "{weak:?}");
        }
        assert_eq!(Secret::new("3q2-7wAAlm9fXr0bQ8uJt6vYkPz1cNdEsGhLoRiTxWu").weakness(), None);
    }

    #[test]
    fn s49_a_secret_does_not_show_itself() {
        let canary = "canary-7f3a";
        let secret = Secret::new(canary);
        assert_eq!(format!("{secret:?}"), "***");
        assert!(!secret.weakness().unwrap().contains(canary));
    }
}
