//! Identities: certificates with their keys, by the names that they are for, read anew when their files change.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use rustls::client::verify_server_name;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::acme::Acme;
use super::self_signed;
use crate::config::TlsSettings;

/// How often files are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// What is spoken here above TLS, best first.
pub(super) const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// What an ACME server offers, alone, when it looks for the answer to its challenge (RFC 8737 section 6.2).
pub(super) const CHALLENGE: &[u8] = b"acme-tls/1";

/// What this server shows to clients. Who asks for a name that nobody has gets the first.
#[derive(Debug)]
pub struct Identities {
    settings: TlsSettings,
    current: ArcSwap<Vec<Arc<CertifiedKey>>>,
    acme: Option<Acme>,
}

/// A certificate or a key that cannot be used, and why.
#[derive(Debug)]
pub struct Unreadable {
    /// The key of the configuration that names it.
    pub key: &'static str,
    why: String,
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

impl std::error::Error for Unreadable {}

impl Unreadable {
    pub(super) fn of(key: &'static str, why: &dyn fmt::Display) -> Unreadable {
        Unreadable { key, why: format!("`{key}`: {why}") }
    }
}

impl Identities {
    /// Reads what `settings` name, or makes one up.
    ///
    /// # Errors
    /// What cannot be read, or does not belong together.
    pub fn read(settings: &TlsSettings) -> Result<Identities, Unreadable> {
        let acme = Acme::open(settings)?;
        let all = match &acme {
            Some(acme) => acme.kept().into_iter().collect(),
            None => read_all(settings)?,
        };
        Ok(Identities { settings: settings.clone(), current: ArcSwap::from_pointee(all), acme })
    }

    /// Makes what has to be there before anything is ordered.
    ///
    /// # Errors
    /// What cannot be made.
    pub(super) fn prepare(&self) -> Result<(), Unreadable> {
        self.acme.as_ref().map_or(Ok(()), Acme::prepare)
    }

    /// When the first of the certificates in use ends, in seconds since 1970; nothing where none is known.
    #[must_use]
    pub fn ends_at_s(&self) -> Option<u64> {
        let all = self.current.load();
        let ends = all.iter().filter_map(|identity| {
            let (_, certificate) = x509_parser::parse_x509_certificate(identity.cert.first()?).ok()?;
            u64::try_from(certificate.validity().not_after.timestamp()).ok()
        });
        ends.min()
    }

    /// Whether something is ordered, so that somebody may come with a challenge.
    pub(super) fn orders(&self) -> bool {
        self.acme.is_some()
    }

    /// Reads files again whenever they have changed, or orders what is due, for as long as somebody polls this.
    pub async fn watch(self: Arc<Identities>) {
        if let Some(acme) = &self.acme {
            return acme.keep(|identity| self.current.store(Arc::new(vec![identity]))).await;
        }
        let mut seen = stamps(&self.settings);
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let now = stamps(&self.settings);
            if now == seen {
                continue;
            }
            seen = now;
            match read_all(&self.settings) {
                Ok(all) => {
                    self.current.store(Arc::new(all));
                    tracing::info!("new certificates are in use");
                }
                // Half of a pair, perhaps: the other half is about to change, too.
                Err(error) => tracing::warn!(%error, "the certificates before stay in use"),
            }
        }
    }
}

impl ResolvesServerCert for Identities {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        if let Some(acme) = self.acme.as_ref().filter(|_| is_challenge(&hello)) {
            return acme.answer(&hello);
        }
        let all = self.current.load();
        let name = hello.server_name().and_then(|name| ServerName::try_from(name).ok());
        let named = name.and_then(|name| all.iter().find(|one| is_for(one, &name)));
        named.or(all.first()).cloned()
    }
}

/// Whether the handshake will agree on [`CHALLENGE`].
fn is_challenge(hello: &ClientHello<'_>) -> bool {
    let offers = |protocol: &[u8]| hello.alpn().is_some_and(|mut offered| offered.any(|one| one == protocol));
    offers(CHALLENGE) && !PROTOCOLS.into_iter().any(offers)
}

/// Whether a certificate is for a name.
pub(super) fn is_for(identity: &CertifiedKey, name: &ServerName<'_>) -> bool {
    let certificate = identity.cert.first().and_then(|first| ParsedCertificate::try_from(first).ok());
    certificate.is_some_and(|certificate| verify_server_name(&certificate, name).is_ok())
}

fn read_all(settings: &TlsSettings) -> Result<Vec<Arc<CertifiedKey>>, Unreadable> {
    if settings.self_signed {
        let identity = self_signed::make().map_err(|why| Unreadable { key: "tls.self_signed", why })?;
        return Ok(vec![Arc::new(identity)]);
    }
    let pairs = settings.cert.iter().zip(&settings.key);
    pairs.map(|(cert, key)| read_pair(cert, key).map(Arc::new)).collect()
}

fn read_pair(cert: &Path, key: &Path) -> Result<CertifiedKey, Unreadable> {
    let unreadable = |name: &'static str, path: &Path, why: &dyn fmt::Display| Unreadable {
        key: name,
        why: format!("`{name}`: {}: {why}", path.display()),
    };
    let chain: Result<Vec<_>, _> = CertificateDer::pem_file_iter(cert).and_then(Iterator::collect);
    let chain = chain.map_err(|error| unreadable("tls.cert", cert, &error))?;
    if chain.is_empty() {
        return Err(unreadable("tls.cert", cert, &"there is no certificate in it"));
    }
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| unreadable("tls.key", key, &error))?;
    CertifiedKey::from_der(chain, private, &aws_lc_rs::default_provider()).map_err(|error| {
        unreadable("tls.key", key, &format!("it does not go with {}: {error}", cert.display()))
    })
}

/// When files were written last, and how long they are.
fn stamps(settings: &TlsSettings) -> Vec<Option<(SystemTime, u64)>> {
    let stamp = |path: &PathBuf| -> io::Result<(SystemTime, u64)> {
        let found = std::fs::metadata(path)?;
        Ok((found.modified()?, found.len()))
    };
    settings.cert.iter().chain(&settings.key).map(|path| stamp(path).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Folder {
            let path = std::env::temp_dir().join(format!("tidewire-tls-{name}-{}", std::process::id()));
            std::fs::create_dir_all(&path).unwrap();
            Folder(path)
        }

        fn pair(&self, name: &str) -> (PathBuf, PathBuf) {
            let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
            let (cert, key) = (self.0.join(format!("{name}.pem")), self.0.join(format!("{name}.key")));
            std::fs::write(&cert, made.cert.pem()).unwrap();
            std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
            (cert, key)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_pair_that_does_not_belong_together_is_refused_with_both_names() {
        let folder = Folder::new("pairs");
        let ((one, one_key), (_, other_key)) = (folder.pair("one.example"), folder.pair("other.example"));
        assert!(read_pair(&one, &one_key).is_ok());
        let wrong = read_pair(&one, &other_key).unwrap_err();
        assert_eq!(wrong.key, "tls.key");
        assert!(wrong.to_string().contains("one.example.pem"), "{wrong}");
        let missing = read_pair(&folder.0.join("none.pem"), &one_key).unwrap_err();
        assert_eq!(missing.key, "tls.cert");
        let empty = read_pair(&one_key, &one_key).unwrap_err();
        assert!(empty.to_string().ends_with("there is no certificate in it"), "{empty}");
    }

    #[test]
    fn an_identity_is_found_by_the_names_in_its_certificate() {
        let folder = Folder::new("names");
        let (cert, key) = folder.pair("one.example");
        let identity = read_pair(&cert, &key).unwrap();
        let name = |name: &'static str| ServerName::try_from(name).unwrap();
        assert!(is_for(&identity, &name("one.example")));
        assert!(!is_for(&identity, &name("two.example")));
    }
}
