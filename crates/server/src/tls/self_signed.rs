//! A certificate made up at start, for development: browsers ask whether to trust it, once a start.

use std::time::{Duration, SystemTime};

use rcgen::{CertificateParams, DnType, KeyPair, SanType};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::PrivateKeyDer;
use rustls::sign::CertifiedKey;

use crate::config::machine;

const DAY: Duration = Duration::from_secs(24 * 3_600);

/// Makes one for this machine's names, with a key that nobody else gets to see.
///
/// # Errors
/// In words, why there is none.
pub(super) fn make() -> Result<CertifiedKey, String> {
    let failed = |error: &dyn std::fmt::Display| format!("cannot make a certificate: {error}");
    let mut names = vec!["localhost".to_owned()];
    names.extend(machine::name().filter(|name| name != "localhost"));
    let mut params = CertificateParams::new(names).map_err(|error| failed(&error))?;
    for address in ["127.0.0.1", "::1"] {
        let address = address.parse().map_err(|error| failed(&error))?;
        params.subject_alt_names.push(SanType::IpAddress(address));
    }
    params.distinguished_name.push(DnType::CommonName, "Tidewire, self-signed");
    // It is made again at every start, and clients distrust those that are good for years.
    let now = SystemTime::now();
    (params.not_before, params.not_after) = ((now - DAY).into(), (now + 90 * DAY).into());
    let key = KeyPair::generate().map_err(|error| failed(&error))?;
    let certificate = params.self_signed(&key).map_err(|error| failed(&error))?;
    let private = PrivateKeyDer::try_from(key.serialize_der()).map_err(failed_with)?;
    CertifiedKey::from_der(vec![certificate.der().clone()], private, &aws_lc_rs::default_provider())
        .map_err(|error| failed(&error))
}

fn failed_with(why: &'static str) -> String {
    format!("cannot make a certificate: {why}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::client::verify_server_name;
    use rustls::pki_types::ServerName;
    use rustls::server::ParsedCertificate;

    #[test]
    fn it_is_for_the_names_of_this_machine() {
        let made = make().unwrap();
        let certificate = ParsedCertificate::try_from(&made.cert[0]).unwrap();
        for name in ["localhost", "127.0.0.1", "::1"] {
            assert!(verify_server_name(&certificate, &ServerName::try_from(name).unwrap()).is_ok(), "{name}");
        }
        assert!(verify_server_name(&certificate, &ServerName::try_from("evil.example").unwrap()).is_err());
    }
}
