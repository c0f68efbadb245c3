//! Passwords of the console: which there are, and whose one is (security rules S50 and S51).

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::{PasswordHasher as _, PasswordVerifier as _};
use subtle::ConstantTimeEq as _;
use tidewire_auth::secret::{Digest, NoEntropy, Secret as Random, digest};

use super::sessions::Role;
use crate::config::{Secret, is_hash};

/// The longest password that is looked at, in bytes.
pub(super) const PASSWORD_BYTES_MAX: usize = 1_024;

/// Passwords as hashes. None at all means that there is no console.
#[derive(Clone, Debug, Default)]
pub struct Passwords {
    admin: Option<Known>,
    viewer: Option<Known>,
    /// Whether programs on this machine may look without one.
    lets_this_machine_look: bool,
}

#[derive(Clone, Debug)]
enum Known {
    /// argon2id, as a PHC string: somebody chose it, and others may guess it.
    Chosen(Box<str>),
    /// Random bits, which nobody guesses.
    Random(Digest),
}

/// A password that dev mode makes up: 20 characters.
///
/// # Errors
/// [`NoEntropy`].
pub fn random_password() -> Result<String, NoEntropy> {
    // 120 bits: nobody guesses them, and a line in a terminal has room for them.
    Random::generate("").map(|secret| secret.reveal()[..20].to_owned())
}

impl Passwords {
    /// Those that are configured. Hashing them takes some milliseconds of a core each, by design.
    ///
    /// # Errors
    /// The system has no random number.
    pub fn of(admin: Option<&Secret>, viewer: Option<&Secret>) -> Result<Passwords, NoEntropy> {
        let known = |secret: Option<&Secret>| secret.map(Known::of).transpose();
        Ok(Passwords { admin: known(admin)?, viewer: known(viewer)?, lets_this_machine_look: false })
    }

    /// The one that dev mode made up, for everything.
    #[must_use]
    pub fn random(password: &str) -> Passwords {
        Passwords { admin: Some(Known::Random(digest(password))), ..Passwords::default() }
    }

    /// The same for a server that asks nobody on this machine who they are: they may look without a password (decision 29).
    #[must_use]
    pub fn letting_this_machine_look(self) -> Passwords {
        Passwords { lets_this_machine_look: true, ..self }
    }

    /// Whether who is known to be on this machine may look without a password.
    pub(super) fn lets_this_machine_look(&self) -> bool {
        self.lets_this_machine_look
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.admin.is_none() && self.viewer.is_none()
    }

    /// Whose password this is. Takes some milliseconds of a core, and as long for a wrong one.
    pub(super) fn role_of(&self, password: &str) -> Option<Role> {
        let is = |known: &Option<Known>| known.as_ref().is_some_and(|known| known.is(password));
        // Both, so that time does not tell which of them it is not.
        match (is(&self.admin), is(&self.viewer)) {
            (true, _) => Some(Role::Admin),
            (false, true) => Some(Role::Viewer),
            (false, false) => None,
        }
    }
}

impl Known {
    fn of(secret: &Secret) -> Result<Known, NoEntropy> {
        let text = String::from_utf8_lossy(secret.expose());
        if is_hash(&text) {
            return Ok(Known::Chosen((*text).into()));
        }
        let hash: PasswordHash = Argon2::default().hash_password(secret.expose()).map_err(|_| NoEntropy)?;
        Ok(Known::Chosen(hash.to_string().into()))
    }

    fn is(&self, password: &str) -> bool {
        match self {
            Known::Random(known) => known.ct_eq(&digest(password)).into(),
            Known::Chosen(hash) => PasswordHash::new(hash)
                .is_ok_and(|hash| Argon2::default().verify_password(password.as_bytes(), &hash).is_ok()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s50_a_password_is_known_by_its_hash_and_says_who_comes() {
        let [admin, viewer] = ["correct horse battery", "only looking around"].map(Secret::new);
        let passwords = Passwords::of(Some(&admin), Some(&viewer)).unwrap();
        assert_eq!(passwords.role_of("correct horse battery"), Some(Role::Admin));
        assert_eq!(passwords.role_of("only looking around"), Some(Role::Viewer));
        for wrong in ["", "correct horse", "only looking around ", "$argon2id$"] {
            assert_eq!(passwords.role_of(wrong), None, "{wrong:?}");
        }
        let shown = format!("{passwords:?}");
        assert!(shown.contains("$argon2id$") && !shown.contains("horse") && !shown.contains("looking"));
    }

    #[test]
    fn s50_a_hash_may_be_configured_in_place_of_the_password() {
        let hash: PasswordHash = Argon2::default().hash_password(b"correct horse battery").unwrap();
        let passwords = Passwords::of(Some(&Secret::new(&hash.to_string())), None).unwrap();
        assert_eq!(passwords.role_of("correct horse battery"), Some(Role::Admin));
        assert_eq!(passwords.role_of(&hash.to_string()), None, "who has read the hash has no password");
    }

    #[test]
    fn s51_there_is_no_password_unless_there_is_one() {
        let none = Passwords::of(None, None).unwrap();
        assert!(none.is_empty() && none.role_of("").is_none());
        let (first, second) = (random_password().unwrap(), random_password().unwrap());
        assert!(first != second && first.len() == 20);
        assert_eq!(Passwords::random(&first).role_of(&first), Some(Role::Admin));
        assert_eq!(Passwords::random(&first).role_of(&second), None);
    }
}
