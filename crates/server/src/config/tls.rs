//! What is set under `tls`: what this server shows to clients, so that nobody on the way can read along.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::kinds::{Form, Kind, items};

/// Everything under `tls`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsSettings {
    /// Files with certificates in PEM, the server's own first in each, then those that it is trusted by.
    pub cert: Vec<PathBuf>,
    /// Files with their private keys in PEM, in the same order.
    pub key: Vec<PathBuf>,
    /// Whether a certificate is made up at start.
    pub self_signed: bool,
}

impl TlsSettings {
    /// Whether clients connect over TLS.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.self_signed || !self.cert.is_empty() || !self.key.is_empty()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_lie_beside_the_one_that_names_them() {
        let read = Files::read("a.pem, /etc/b.pem", Path::new("/srv/tidewire")).unwrap();
        assert_eq!(read, [PathBuf::from("/srv/tidewire/a.pem"), "/etc/b.pem".into()]);
    }
}
