//! Secrets of the configuration: held, handed on, never shown (security rule S49).

use std::fmt;

use zeroize::Zeroizing;

/// A secret. `Debug` prints `***`, and its memory is overwritten when it is dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<Box<str>>);

/// What stands in the place of a secret wherever settings are shown.
pub const MASK: &str = "***";

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
    fn s49_a_secret_does_not_show_itself() {
        let canary = "canary-7f3a";
        assert_eq!(format!("{:?}", Secret::new(canary)), "***");
    }
}
