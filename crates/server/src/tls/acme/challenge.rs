//! Challenges: certificates of a moment, by which an ACME server sees that whoever orders for a name also answers there
//! (RFC 8737 section 3). They are shown to nobody else.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustls::sign::CertifiedKey;

/// Those that an order waits for, by name.
#[derive(Debug, Default)]
pub(super) struct Challenges(Mutex<HashMap<String, Arc<CertifiedKey>>>);

impl Challenges {
    /// Answers for `name` by `proof` for as long as what is returned lives.
    pub(super) fn pose(&self, name: &str, proof: CertifiedKey) -> Posed<'_> {
        let name = name.to_ascii_lowercase();
        self.lock().insert(name.clone(), Arc::new(proof));
        Posed { challenges: self, name }
    }

    /// The proof for `name`.
    pub(super) fn answer(&self, name: &str) -> Option<Arc<CertifiedKey>> {
        self.lock().get(name).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<CertifiedKey>>> {
        // Nothing in between can panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A challenge that is answered.
#[derive(Debug)]
pub(super) struct Posed<'c> {
    challenges: &'c Challenges,
    name: String,
}

impl Drop for Posed<'_> {
    fn drop(&mut self) {
        self.challenges.lock().remove(&self.name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::self_signed;

    #[test]
    fn a_challenge_is_answered_while_it_is_posed_and_for_its_name_alone() {
        let challenges = Challenges::default();
        let posed = challenges.pose("Live.example", self_signed::make().unwrap());
        assert!(challenges.answer("live.example").is_some());
        assert!(challenges.answer("other.example").is_none());
        drop(posed);
        assert!(challenges.answer("live.example").is_none());
    }
}
