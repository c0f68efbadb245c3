//! A certificate that was issued, with its key, and how long it is good for.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::sign::CertifiedKey;
use x509_parser::time::ASN1Time;

use crate::tls::identity::is_for;

/// A certificate with its key.
#[derive(Clone)]
pub(super) struct Issued {
    /// What is shown to clients.
    pub(super) identity: Arc<CertifiedKey>,
    /// The key, the certificate and its chain, as they are kept.
    pub(super) pem: Arc<str>,
    from: SystemTime,
    until: SystemTime,
}

impl std::fmt::Debug for Issued {
    /// Without the key (security rule S49).
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Issued").field("from", &self.from).field("until", &self.until).finish_non_exhaustive()
    }
}

impl Issued {
    /// Reads a key and a chain.
    ///
    /// # Errors
    /// In words, what is wrong with them.
    pub(super) fn read(pem: impl Into<Arc<str>>) -> Result<Issued, String> {
        let pem = pem.into();
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
        let chain = chain.map_err(|error| format!("its certificates cannot be read: {error}"))?;
        let first = chain.first().ok_or("there is no certificate in it")?;
        let (_, certificate) = x509_parser::parse_x509_certificate(first)
            .map_err(|error| format!("its certificate cannot be read: {error}"))?;
        let validity = certificate.validity();
        let (from, until) = (time(&validity.not_before), time(&validity.not_after));
        let key = PrivateKeyDer::from_pem_slice(pem.as_bytes())
            .map_err(|error| format!("its key cannot be read: {error}"))?;
        let identity = CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider())
            .map_err(|error| format!("its key does not go with its certificate: {error}"))?;
        Ok(Issued { identity: Arc::new(identity), pem, from, until })
    }

    /// How soon it has to be renewed: when a third of its life is left, or at once where it lacks a name.
    pub(super) fn due_in(&self, names: &[String], now: SystemTime) -> Duration {
        let has = |name: &String| {
            ServerName::try_from(name.as_str()).is_ok_and(|name| is_for(&self.identity, &name))
        };
        if !names.iter().all(has) {
            return Duration::ZERO;
        }
        let life = self.until.duration_since(self.from).unwrap_or_default();
        let due = self.until.checked_sub(life / 3).unwrap_or(self.from);
        due.duration_since(now).unwrap_or_default()
    }

    /// Whole days that it is still good for.
    pub(super) fn days_left(&self, now: SystemTime) -> u64 {
        self.until.duration_since(now).unwrap_or_default().as_secs() / 86_400
    }
}

/// Times before 1970 are taken for its beginning.
fn time(time: &ASN1Time) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(time.timestamp().try_into().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, KeyPair};

    const DAY: Duration = Duration::from_secs(86_400);

    fn made(names: &[&str], from: SystemTime, until: SystemTime) -> (String, KeyPair) {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let mut params = CertificateParams::new(names).unwrap();
        (params.not_before, params.not_after) = (from.into(), until.into());
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        (certificate.pem(), key)
    }

    fn issued(names: &[&str], from: SystemTime, until: SystemTime) -> Issued {
        let (certificate, key) = made(names, from, until);
        Issued::read(format!("{}{certificate}", key.serialize_pem())).unwrap()
    }

    #[test]
    fn it_is_due_when_a_third_of_its_life_is_left() {
        let start = UNIX_EPOCH + 20_000 * DAY;
        let issued = issued(&["live.example"], start, start + 90 * DAY);
        let names = ["live.example".to_owned()];
        assert_eq!(issued.due_in(&names, start), 60 * DAY);
        assert_eq!(issued.due_in(&names, start + 59 * DAY), DAY);
        for day in [60, 89, 90, 1_000] {
            assert_eq!(issued.due_in(&names, start + day * DAY), Duration::ZERO);
        }
        assert_eq!([0, 60, 100].map(|day| issued.days_left(start + day * DAY)), [90, 30, 0]);
    }

    #[test]
    fn it_is_due_at_once_where_a_name_is_missing() {
        let start = UNIX_EPOCH + 20_000 * DAY;
        let issued = issued(&["a.example", "b.example"], start, start + 90 * DAY);
        let due =
            |names: &[&str]| issued.due_in(&names.iter().map(ToString::to_string).collect::<Vec<_>>(), start);
        assert_eq!(due(&["b.example"]), 60 * DAY);
        assert_eq!(due(&["b.example", "c.example"]), Duration::ZERO);
    }

    #[test]
    fn what_is_no_certificate_with_its_key_says_so_without_the_key() {
        let start = UNIX_EPOCH + 20_000 * DAY;
        let (certificate, key) = made(&["a.example"], start, start + DAY);
        let other = KeyPair::generate().unwrap().serialize_pem();
        let key = key.serialize_pem();
        for (pem, words) in [
            (String::new(), "no certificate"),
            (key.clone(), "no certificate"),
            (certificate.clone(), "its key cannot be read"),
            (format!("{other}{certificate}"), "does not go with"),
            (format!("{key}{}", certificate.replacen("MII", "MIH", 1)), "certificate"),
        ] {
            let wrong = Issued::read(pem).unwrap_err();
            assert!(wrong.contains(words) && !wrong.contains("PRIVATE"), "{words}: {wrong}");
        }
        let whole = Issued::read(format!("{key}{certificate}")).unwrap();
        assert!(!format!("{whole:?}").contains("PRIVATE"));
    }
}
