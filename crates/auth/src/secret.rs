//! Secrets: 256 bits from the operating system, and the digest by which each is known (security rules S19, S50).

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

/// What is kept of a secret: whoever reads it where it is kept cannot come back with it.
///
/// A plain hash suffices, without salt or stretching: nobody finds 256 random bits by guessing.
pub type Digest = [u8; 32];

/// The SHA-256 of what a client sent as a secret.
#[must_use]
pub fn digest(text: &str) -> Digest {
    Sha256::digest(text.as_bytes()).into()
}

/// How a digest is written in a configuration: in lower-case hexadecimal.
#[must_use]
pub fn hex(digest: &Digest) -> String {
    let mut text = String::with_capacity(2 * digest.len());
    for byte in digest {
        for nibble in [byte >> 4, byte & 15] {
            text.push(char::from_digit(u32::from(nibble), 16).unwrap_or_default());
        }
    }
    text
}

/// Reads a digest in hexadecimal, in either case.
pub(crate) fn from_hex(text: &str) -> Option<Digest> {
    let digits = text.as_bytes();
    let mut digest = Digest::default();
    if digits.len() != 2 * digest.len() {
        return None;
    }
    for (byte, pair) in digest.iter_mut().zip(digits.chunks_exact(2)) {
        let [high, low] = [pair[0], pair[1]].map(|digit| char::from(digit).to_digit(16));
        *byte = u8::try_from(high? << 4 | low?).ok()?;
    }
    Some(digest)
}

/// Characters of 256 bits in base64url without padding (RFC 4648 section 5).
const TEXT_BYTES: usize = 43;

/// Whether `text` is written as a secret is. Whatever is not cannot be one, and need not be looked up.
#[must_use]
pub(crate) fn is_well_formed(text: &str) -> bool {
    text.len() == TEXT_BYTES && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
}

/// 256 random bits as text. It leaves no trace in memory once it is dropped, and none in a log.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

/// The operating system gave no random bytes. There is nothing to fall back on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoEntropy;

impl Secret {
    /// Asks the operating system for 256 bits, written behind `prefix` in base64url.
    ///
    /// # Errors
    /// [`NoEntropy`].
    pub fn generate(prefix: &str) -> Result<Secret, NoEntropy> {
        random_text(prefix, 32).map(Secret)
    }

    /// The secret itself. Whoever shows it gives it away.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// By what it is known.
    #[must_use]
    pub fn digest(&self) -> Digest {
        digest(&self.0)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Display for NoEntropy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the operating system gave no random bytes")
    }
}

impl std::error::Error for NoEntropy {}

/// Random bytes from the operating system, written behind `prefix` in base64url.
pub(crate) fn random_text(prefix: &str, bytes: usize) -> Result<Zeroizing<String>, NoEntropy> {
    let mut random = Zeroizing::new(vec![0; bytes]);
    getrandom::fill(&mut random).map_err(|_| NoEntropy)?;
    // With room for all of it, so that growing leaves no copy behind.
    let mut text = Zeroizing::new(String::with_capacity(prefix.len() + bytes.div_ceil(3) * 4));
    text.push_str(prefix);
    URL_SAFE_NO_PAD.encode_string(&*random, &mut text);
    Ok(text)
}

/// A random number from the operating system that is no secret, but that nobody else has.
///
/// # Errors
/// [`NoEntropy`].
pub(crate) fn unique() -> Result<u64, NoEntropy> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(|_| NoEntropy)?;
    Ok(u64::from_ne_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn s19_a_secret_has_256_bits_and_never_comes_twice() {
        let secrets: Vec<Secret> = (0..1_000).map(|_| Secret::generate("").unwrap()).collect();
        assert!(secrets.iter().all(|secret| is_well_formed(secret.reveal())));
        let bits = URL_SAFE_NO_PAD.decode(secrets[0].reveal()).unwrap();
        assert_eq!(bits.len() * 8, 256);
        assert_eq!(secrets.iter().map(Secret::digest).collect::<HashSet<_>>().len(), secrets.len());
    }

    #[test]
    fn s19_what_is_not_written_as_a_secret_is_none() {
        for bad in ["", "short", &"a".repeat(42), &"a".repeat(44), &"+".repeat(43), &"é".repeat(22)] {
            assert!(!is_well_formed(bad), "{bad:?}");
        }
    }

    #[test]
    fn s50_a_digest_is_the_sha_256_of_the_text() {
        // FIPS 180-2 appendix B.1.
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(hex(&digest("abc")), abc);
        assert_eq!(from_hex(abc), Some(digest("abc")));
        assert_eq!(from_hex(&abc.to_uppercase()), Some(digest("abc")));
        for bad in ["", &abc[1..], &format!("{abc}0"), &abc.replace('b', "g"), &"é".repeat(32)] {
            assert_eq!(from_hex(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn s49_a_secret_shows_nothing_of_itself() {
        let secret = Secret::generate("tw_").unwrap();
        assert_eq!(format!("{secret:?}"), "***");
        assert!(secret.reveal().starts_with("tw_"));
    }
}
