//! What is set under `tls`: what this server shows to clients, so that nobody on the way can read along.

use std::path::{Path, PathBuf};

use serde_json::Value;
use tidewire_auth::jwt::jwks::{self, JwksError};

use super::credentials::HttpsUrl;
use super::kinds::{Form, Kind, items, list};

/// Where Let's Encrypt signs what browsers trust.
const LETS_ENCRYPT: &str = "https://acme-v02.api.letsencrypt.org/directory";

/// Names in one certificate. Let's Encrypt signs no more.
const NAMES_MAX: usize = 100;

/// Everything under `tls`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsSettings {
    /// Files with certificates in PEM, the server's own first in each, then those that it is trusted by.
    pub cert: Vec<PathBuf>,
    /// Files with their private keys in PEM, in the same order.
    pub key: Vec<PathBuf>,
    /// Whether a certificate is made up at start.
    pub self_signed: bool,
    /// Names that an ACME server is asked for a certificate for, in lower case and ASCII.
    pub acme: Vec<Box<str>>,
    /// Mail addresses that the ACME server is told.
    pub acme_contact: Vec<Box<str>>,
    /// Where the ACME server says what it can do (RFC 8555 section 7.1.1).
    pub acme_directory: Box<str>,
    /// The folder in which the account's key and the certificate outlive this process.
    pub acme_cache: Option<PathBuf>,
    /// Certificates in PEM that the ACME server is trusted by, in place of those that this machine trusts.
    pub acme_ca: Option<PathBuf>,
}

impl Default for TlsSettings {
    fn default() -> TlsSettings {
        TlsSettings {
            cert: Vec::new(),
            key: Vec::new(),
            self_signed: false,
            acme: Vec::new(),
            acme_contact: Vec::new(),
            acme_directory: LETS_ENCRYPT.into(),
            acme_cache: None,
            acme_ca: None,
        }
    }
}

impl TlsSettings {
    /// Whether clients connect over TLS.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.self_signed || !self.cert.is_empty() || !self.key.is_empty() || !self.acme.is_empty()
    }
}

/// Names of files.
pub(super) struct Files;

impl Kind for Files {
    type Value = Vec<PathBuf>;
    const FORM: Form = Form::List("paths");

    fn read(text: &str, folder: &Path) -> Result<Vec<PathBuf>, String> {
        Ok(items(text).map(|item| folder.join(item)).collect())
    }

    fn show(value: &Vec<PathBuf>) -> Value {
        value.iter().map(|path| Value::from(path.display().to_string())).collect()
    }
}

/// Names that a certificate can be had for.
pub(super) struct Names;

impl Kind for Names {
    type Value = Vec<Box<str>>;
    const FORM: Form = Form::List("names");

    fn read(text: &str, _: &Path) -> Result<Vec<Box<str>>, String> {
        let mut names: Vec<Box<str>> = Vec::new();
        for item in items(text) {
            let name = item.to_ascii_lowercase().into_boxed_str();
            if item.starts_with("*.") {
                return Err(format!(
                    "`{item}`: who has a whole domain is proven by DNS alone, which Tidewire cannot do; write each name"
                ));
            }
            if !is_name(&name) {
                return Err(format!(
                    "`{item}` is not a name in the DNS; write live.example, or xn--… for other letters"
                ));
            }
            if !names.contains(&name) {
                names.push(name);
            }
        }
        if names.len() > NAMES_MAX {
            return Err(format!("these are {} names, and a certificate holds {NAMES_MAX}", names.len()));
        }
        Ok(names)
    }

    fn show(value: &Vec<Box<str>>) -> Value {
        list(value)
    }
}

/// Where an ACME server is.
pub(super) struct AcmeUrl;

impl Kind for AcmeUrl {
    type Value = Box<str>;
    const FORM: Form = HttpsUrl::FORM;

    fn read(text: &str, _: &Path) -> Result<Box<str>, String> {
        match jwks::read_url(text) {
            Ok(_) => Ok(text.into()),
            Err(JwksError::Url(why)) => Err(format!("the URL of the ACME server cannot be used: {why}")),
            Err(error) => Err(error.to_string()),
        }
    }

    fn show(value: &Box<str>) -> Value {
        HttpsUrl::show(value)
    }
}

/// Whether it is a name of a host (RFC 1123 section 2.1), and no address.
fn is_name(name: &str) -> bool {
    let is_label = |label: &str| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        (1..=63).contains(&label.len())
            && label.bytes().all(plain)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let last = name.rsplit('.').next().unwrap_or(name);
    name.len() <= 253 && name.split('.').all(is_label) && !last.bytes().all(|byte| byte.is_ascii_digit())
}

/// Mail addresses.
pub(super) struct Mailboxes;

impl Kind for Mailboxes {
    type Value = Vec<Box<str>>;
    const FORM: Form = Form::List("mail addresses");

    fn read(text: &str, _: &Path) -> Result<Vec<Box<str>>, String> {
        let mailbox = |item: &str| {
            let address = item.strip_prefix("mailto:").unwrap_or(item);
            let plain = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
            match address.split_once('@') {
                // A `?` would begin the headers of a letter (RFC 6068 section 2), which ACME forbids.
                Some((local, host))
                    if plain(local) && !local.contains('?') && is_name(&host.to_ascii_lowercase()) =>
                {
                    Ok(address.into())
                }
                _ => Err(format!("`{item}` is not a mail address; write ops@live.example")),
            }
        };
        items(text).map(mailbox).collect()
    }

    fn show(value: &Vec<Box<str>>) -> Value {
        list(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Result<Vec<Box<str>>, String> {
        Names::read(text, Path::new(""))
    }

    #[test]
    fn a_certificate_is_had_for_names_and_each_is_asked_for_once() {
        assert_eq!(
            names("Live.Example, xn--bcher-kva.example, live.example, intranet").unwrap(),
            ["live.example", "xn--bcher-kva.example", "intranet"].map(Box::from)
        );
        let long = format!("{}.example", "a".repeat(64));
        for bad in
            ["10.0.0.7", "::1", "bücher.example", "a..b", "a.example.", "-a.b", "a b", "a:443", "a/b", &long]
        {
            let wrong = names(bad).unwrap_err();
            assert!(wrong.contains(bad) && wrong.contains("write"), "{wrong}");
        }
        assert!(names("*.live.example").unwrap_err().contains("each name"));
        let many: Vec<String> = (0..=NAMES_MAX).map(|n| format!("n{n}.example")).collect();
        assert!(names(&many.join(",")).unwrap_err().contains("101 names"));
    }

    #[test]
    fn a_contact_is_a_mail_address() {
        let read = |text| Mailboxes::read(text, Path::new(""));
        assert_eq!(
            read("mailto:ops@live.example, a+b@c.example").unwrap(),
            ["ops@live.example", "a+b@c.example"].map(Box::from)
        );
        for bad in [
            "ops",
            "@live.example",
            "ops@",
            "ops@live.example?cc=x",
            "o s@live.example",
            "tel:+123",
            "a?b@c.example",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn files_lie_beside_the_one_that_names_them() {
        let read = Files::read("a.pem, /etc/b.pem", Path::new("/srv/tidewire")).unwrap();
        assert_eq!(read, [PathBuf::from("/srv/tidewire/a.pem"), "/etc/b.pem".into()]);
    }
}
