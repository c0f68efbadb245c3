//! What stands for ACME in a binary that was built without it: nothing, and words that say so.

use std::sync::Arc;

use rustls::server::ClientHello;
use rustls::sign::CertifiedKey;

use super::identity::Unreadable;
use crate::config::TlsSettings;

/// There is none.
#[derive(Debug)]
pub(super) enum Acme {}

impl Acme {
    /// Nothing, where nothing is asked for.
    ///
    /// # Errors
    /// `tls.acme` is set.
    pub(super) fn open(settings: &TlsSettings) -> Result<Option<Acme>, Unreadable> {
        if settings.acme.is_empty() {
            return Ok(None);
        }
        let why = "this binary was built without ACME; build it with `cargo build --release --features acme`, or \
                   name a certificate in `tls.cert` and `tls.key`";
        Err(Unreadable::of("tls.acme", &why))
    }

    pub(super) fn prepare(&self) -> Result<(), Unreadable> {
        match *self {}
    }

    pub(super) fn kept(&self) -> Option<Arc<CertifiedKey>> {
        match *self {}
    }

    pub(super) fn answer(&self, _: &ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        match *self {}
    }

    pub(super) async fn keep(&self, _: impl Fn(Arc<CertifiedKey>)) {
        match *self {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_for_a_certificate_is_told_which_feature_to_build_with() {
        assert!(Acme::open(&TlsSettings::default()).unwrap().is_none());
        let settings = TlsSettings { acme: vec!["live.example".into()], ..TlsSettings::default() };
        let wrong = Acme::open(&settings).unwrap_err();
        assert_eq!(wrong.key, "tls.acme");
        assert!(wrong.to_string().contains("--features acme"), "{wrong}");
    }
}
