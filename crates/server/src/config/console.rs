//! What is set under `admin`: who may come in to the console.

use std::path::Path;

use argon2::password_hash::phc::PasswordHash;
use serde_json::Value;

use super::kinds::{Form, Kind};
use super::secret::{MASK, Secret};

/// Everything under `admin`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConsoleSettings {
    /// Opens the console, for everything.
    pub password: Option<Secret>,
    /// Opens the console, to look.
    pub viewer_password: Option<Secret>,
}

/// A password, or the argon2id hash of one.
pub struct Password;

/// The shortest password, in bytes (NIST SP 800-63B asks for 8 where tries are few).
const PASSWORD_BYTES_MIN: usize = 12;

/// What a hash begins with that stands in place of a password (the PHC string format).
const HASH: &str = "$argon2id$";

/// Whether this is the hash of a password, and not one.
#[must_use]
pub fn is_hash(text: &str) -> bool {
    text.starts_with(HASH)
}

impl Kind for Password {
    type Value = Secret;
    const FORM: Form = Form::Secret;

    fn read(text: &str, _: &Path) -> Result<Secret, String> {
        if is_hash(text) {
            let hash = PasswordHash::new(text).ok().filter(|hash| hash.salt.is_some() && hash.hash.is_some());
            return hash.map(|_| Secret::new(text)).ok_or_else(|| {
                "this is no argon2id hash; write $argon2id$v=19$m=19456,t=2,p=1$SALT$HASH, or the password".into()
            });
        }
        if text.len() < PASSWORD_BYTES_MIN {
            return Err(format!(
                "the password has {} bytes; {PASSWORD_BYTES_MIN} is the least, and `openssl rand -base64 18` makes one",
                text.len()
            ));
        }
        Ok(Secret::new(text))
    }

    fn show(_: &Secret) -> Value {
        MASK.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s50_a_password_has_twelve_bytes_or_is_a_hash() {
        let read = |text: &str| Password::read(text, Path::new(""));
        assert!(read("correct horse battery").is_ok());
        assert!(
            read("$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$u1qPaHVPrLzVqfXeRrxDdg0r6xBTCnSIkLGGyYdAbIc").is_ok()
        );
        for bad in ["", "canary", "$argon2id$canary", "$argon2id$v=19$m=19456,t=2,p=1"] {
            let wrong = read(bad).unwrap_err();
            assert!(!wrong.contains("canary"), "s49: {wrong}");
        }
    }
}
