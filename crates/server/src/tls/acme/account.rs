//! The key that an ACME server knows this server by. The account itself is the server's: it finds it by the key.

use rcgen::KeyPair;
use rustls::pki_types::PrivatePkcs8KeyDer;

use super::cache::Cache;

/// The account's key as PKCS #8: that of the cache, or a new one that is kept there first. An account whose key was lost
/// is of no use to anybody, and servers count how many are made.
///
/// # Errors
/// In words, why there is none.
pub(super) fn key(cache: &Cache) -> Result<PrivatePkcs8KeyDer<'static>, String> {
    if let Some(pem) = cache.account()? {
        let wrong =
            || format!("{} holds no key; remove it to have a new account", cache.account_file().display());
        return KeyPair::from_pem(&pem).map(|key| key.serialize_der().into()).map_err(|_| wrong());
    }
    let key = KeyPair::generate().map_err(|error| format!("cannot make a key: {error}"))?;
    cache.keep_account(&key.serialize_pem())?;
    Ok(key.serialize_der().into())
}
