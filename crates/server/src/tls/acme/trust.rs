//! Who is believed to be the ACME server.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

use crate::tls::identity::Unreadable;

/// TLS towards an ACME server, which is trusted by the certificates in `ca` alone, or else by those that this machine
/// trusts.
///
/// # Errors
/// There is none to trust it by.
pub(super) fn client(ca: Option<&Path>) -> Result<Arc<ClientConfig>, Unreadable> {
    let mut roots = RootCertStore::empty();
    match ca {
        Some(path) => {
            let unreadable =
                |why: &dyn fmt::Display| Unreadable::of("tls.acme_ca", &format!("{}: {why}", path.display()));
            let found = CertificateDer::pem_file_iter(path).map_err(|error| unreadable(&error))?;
            for certificate in found {
                let certificate = certificate.map_err(|error| unreadable(&error))?;
                roots.add(certificate).map_err(|error| unreadable(&error))?;
            }
            if roots.is_empty() {
                return Err(unreadable(&"there is no certificate in it"));
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if roots.is_empty() {
                let why = "this machine trusts no authority; install its ca-certificates, or name the ACME server's \
                           authority here";
                return Err(Unreadable::of("tls.acme_ca", &why));
            }
        }
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| Unreadable::of("tls.acme", &error))?;
    Ok(Arc::new(builder.with_root_certificates(roots).with_no_client_auth()))
}
