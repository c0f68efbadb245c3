//! Secrets: which ones are strong enough to sign with (security rule S15).

use std::fmt;

use super::algorithm::Algorithm;

/// Whether a weak secret is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strength {
    /// It is: everywhere but in dev mode.
    Required,
    /// It is taken as it is. For dev mode, whose doors only this machine reaches.
    Waived,
}

/// Why a secret is too weak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weakness {
    /// It has fewer bytes than the hash of its algorithm.
    Short {
        /// How many it has.
        bytes: usize,
        /// How many it needs.
        bytes_min: usize,
    },
    /// It stands in somebody's documentation, and so in everybody's word list.
    Sample,
    /// It repeats itself, so that it is shorter than it looks.
    Repeats,
    /// It is a PEM file. Verifying with a public key as if it were a secret lets everybody sign.
    Pem,
}

/// Checks a secret for `algorithm`.
///
/// This catches what was never meant to be secret. It cannot tell a good secret: `tidewire keygen` makes one.
///
/// # Errors
/// Names the weakness.
pub fn check(secret: &[u8], algorithm: Algorithm) -> Result<(), Weakness> {
    let lower = secret.to_ascii_lowercase();
    if contains(&lower, b"-----begin ") {
        return Err(Weakness::Pem);
    }
    if SAMPLES.iter().any(|sample| sample.as_bytes() == lower)
        || SAMPLE_PARTS.iter().any(|part| contains(&lower, part.as_bytes()))
    {
        return Err(Weakness::Sample);
    }
    let bytes_min = algorithm.secret_bytes_min().unwrap_or_default();
    if secret.len() < bytes_min {
        return Err(Weakness::Short { bytes: secret.len(), bytes_min });
    }
    if repeats(secret) { Err(Weakness::Repeats) } else { Ok(()) }
}

/// Secrets from tutorials, sample configurations and debuggers of tokens, in lower case.
const SAMPLES: &[&str] = &[
    "!changeme!",
    "a-string-secret-at-least-256-bits-long",
    "a-string-secret-at-least-384-bits-long-which-is-longer",
    "a-valid-string-secret-that-is-at-least-384-bits-long",
    "a-valid-string-secret-that-is-at-least-512-bits-long-which-is-very-long",
    "bbe7d157-a253-4094-9759-06a8236543f9",
    "keyboard cat",
    "mysecret",
    "mysupersecret",
    "my_secret",
    "my-secret",
    "not-so-secret",
    "password",
    "private",
    "qwertyuiopasdfghjklzxcvbnm123456",
    "reallyreallyreallyreallyverysafe",
    "s3cr3t",
    "secret",
    "secretkey",
    "secret_key",
    "secret-key",
    "shhhhh",
    "supersecret",
    "super-secret",
    "super-secret-jwt-token-with-at-least-32-characters-long",
    "thisisasecretkey",
    "tidewire",
    "topsecret",
];

/// What no secret is made of by chance.
const SAMPLE_PARTS: &[&str] = &[
    "changeme",
    "change-me",
    "change_me",
    "changethis",
    "change-this",
    "replaceme",
    "replace-me",
    "your-256-bit-secret",
    "your-384-bit-secret",
    "your-512-bit-secret",
    "your-secret",
    "your_secret",
    "yoursecret",
];

/// How many different bytes a secret needs. 32 random hexadecimal digits have fewer than this once in 10 000 times.
const DISTINCT_BYTES_MIN: usize = 8;

/// Whether few bytes, or one short piece over and over, make up the whole.
fn repeats(secret: &[u8]) -> bool {
    let mut seen = [false; 256];
    secret.iter().for_each(|byte| seen[usize::from(*byte)] = true);
    let distinct = seen.iter().filter(|seen| **seen).count();
    let in_pieces = |length: &usize| secret.iter().zip(&secret[*length..]).all(|(a, b)| a == b);
    distinct < DISTINCT_BYTES_MIN || (1..=secret.len() / 2).any(|length| in_pieces(&length))
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

impl fmt::Display for Weakness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Weakness::Short { bytes, bytes_min } => {
                write!(f, "the secret has {bytes} bytes; this algorithm needs {bytes_min} or more")
            }
            Weakness::Sample => f.write_str("the secret is a sample from documentation"),
            Weakness::Repeats => f.write_str("the secret repeats itself"),
            Weakness::Pem => f.write_str("the secret is a PEM file; name its algorithm, as in ES256:key.pem"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hs256(secret: &str) -> Result<(), Weakness> {
        check(secret.as_bytes(), Algorithm::Hs256)
    }

    #[test]
    fn s15_a_secret_has_at_least_the_bytes_of_its_hash() {
        let secret = "kX2vR9qLmZ0tYw8BsD4nGh7JcP5fUa1EoI6xWyTQjKzVbNrMgSdHlCpFuAeOiXt3";
        assert_eq!(secret.len(), 64);
        for (algorithm, bytes_min) in [(Algorithm::Hs256, 32), (Algorithm::Hs384, 48), (Algorithm::Hs512, 64)]
        {
            assert_eq!(check(&secret.as_bytes()[..bytes_min], algorithm), Ok(()));
            let short = check(&secret.as_bytes()[..bytes_min - 1], algorithm);
            assert_eq!(short, Err(Weakness::Short { bytes: bytes_min - 1, bytes_min }));
        }
    }

    #[test]
    fn s15_what_stands_in_documentation_is_no_secret() {
        for sample in [
            "secret",
            "SECRET",
            "changeme",
            "your-256-bit-secret",
            "a-string-secret-at-least-256-bits-long",
            "!ChangeThisMercureHubJWTSecretKey!",
            "please-change-me-before-you-go-to-production",
            "bbe7d157-a253-4094-9759-06a8236543f9",
            "super-secret-jwt-token-with-at-least-32-characters-long",
            "reallyreallyreallyreallyverysafe",
        ] {
            assert_eq!(hs256(sample), Err(Weakness::Sample), "{sample}");
        }
    }

    #[test]
    fn s15_what_repeats_itself_is_no_secret() {
        for repeating in [
            "a".repeat(64),
            "ab".repeat(32),
            "0123456789abcdef".repeat(2),
            "01234567890123456789012345678901".into(),
            "correct horse ".repeat(3),
            "aaaaaaaabbbbbbbbccccccccdddddddd".into(),
        ] {
            assert_eq!(hs256(&repeating), Err(Weakness::Repeats), "{repeating}");
        }
        assert_eq!(check(&[0; 32], Algorithm::Hs256), Err(Weakness::Repeats));
    }

    #[test]
    fn s11_a_public_key_is_no_secret() {
        let pem = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA\n-----END PUBLIC KEY-----\n";
        assert_eq!(hs256(pem), Err(Weakness::Pem));
        assert_eq!(hs256(&pem.replace('\n', "\\n")), Err(Weakness::Pem));
    }

    #[test]
    fn a_random_secret_is_strong_in_any_writing() {
        for good in [
            "3n8Yw0fX5m1QvZ2kTgR7bLhJ9sUeCdPa4oIxWyBtN6E",
            "9f86d081884c7d659a2feaa0c55ad015",
            "it rained on the third tuesday of a month nobody remembers",
        ] {
            assert_eq!(hs256(good), Ok(()), "{good}");
        }
    }
}
