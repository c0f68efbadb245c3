//! Making keys: secrets and pairs of keys, all from the operating system's random numbers. API keys are made in
//! [`crate::api_key`].

use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use zeroize::Zeroizing;

use super::algorithm::Algorithm;
use crate::secret::{NoEntropy, random_text};

/// Makes a secret for one of the HMAC algorithms: as many random bits as its hash has, in base64url. The text itself is
/// the secret. Nothing for an algorithm without one.
///
/// # Errors
/// The system has no random numbers.
pub fn secret(algorithm: Algorithm) -> Result<Option<Zeroizing<String>>, NoEntropy> {
    algorithm.secret_bytes_min().map(|bytes| random_text("", bytes)).transpose()
}

/// A random `jti`: 128 bits in base64url.
///
/// # Errors
/// The system has no random numbers.
pub fn token_id() -> Result<String, NoEntropy> {
    Ok(random_text("", 16)?.to_string())
}

/// A private key and what belongs to it.
pub struct KeyPair {
    /// What it is for.
    pub algorithm: Algorithm,
    /// Its name: the thumbprint of RFC 7638, so that the same key has the same name everywhere.
    pub kid: String,
    /// PKCS #8 (RFC 5958) in PEM. Secret.
    pub private_pem: Zeroizing<String>,
    /// SubjectPublicKeyInfo (RFC 5280 section 4.1) in PEM.
    pub public_pem: String,
    /// The public key as a JWK with `alg`, `use` and `kid`.
    pub jwk: String,
}

impl KeyPair {
    /// Makes a pair for ES256 or EdDSA. Nothing for the other algorithms.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub fn generate(algorithm: Algorithm) -> Result<Option<KeyPair>, NoEntropy> {
        match algorithm {
            Algorithm::EdDsa => KeyPair::ed25519().map(Some),
            Algorithm::Es256 => KeyPair::p256().map(Some),
            _ => Ok(None),
        }
    }

    fn ed25519() -> Result<KeyPair, NoEntropy> {
        let pair = Ed25519KeyPair::generate().map_err(|_| NoEntropy)?;
        // Version 1: OpenSSL does not read the version that repeats the public key.
        let private = pair.to_pkcs8v1().map_err(|_| NoEntropy)?;
        let public: PublicKeyX509Der<'_> = pair.public_key().as_der().map_err(|_| NoEntropy)?;
        let members = [
            ("crv", "Ed25519".to_owned()),
            ("kty", "OKP".to_owned()),
            ("x", URL_SAFE_NO_PAD.encode(pair.public_key().as_ref())),
        ];
        Ok(KeyPair::of(Algorithm::EdDsa, private.as_ref(), public.as_ref(), &members))
    }

    fn p256() -> Result<KeyPair, NoEntropy> {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map_err(|_| NoEntropy)?;
        let private = pair.to_pkcs8v1().map_err(|_| NoEntropy)?;
        let public: PublicKeyX509Der<'_> = pair.public_key().as_der().map_err(|_| NoEntropy)?;
        // An uncompressed point: 4, x, y.
        let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
        let members = [
            ("crv", "P-256".to_owned()),
            ("kty", "EC".to_owned()),
            ("x", URL_SAFE_NO_PAD.encode(x)),
            ("y", URL_SAFE_NO_PAD.encode(y)),
        ];
        Ok(KeyPair::of(Algorithm::Es256, private.as_ref(), public.as_ref(), &members))
    }

    /// `members` are those that a thumbprint is made of, in their order (RFC 7638 section 3.2).
    fn of(algorithm: Algorithm, private: &[u8], public: &[u8], members: &[(&str, String)]) -> KeyPair {
        // Names and values are of the base64url alphabet and need no escapes.
        let members: Vec<String> =
            members.iter().map(|(name, value)| format!("\"{name}\":\"{value}\"")).collect();
        let members = members.join(",");
        let kid = URL_SAFE_NO_PAD.encode(digest(&SHA256, format!("{{{members}}}").as_bytes()));
        let jwk = format!("{{{members},\"alg\":\"{algorithm}\",\"use\":\"sig\",\"kid\":\"{kid}\"}}");
        KeyPair {
            algorithm,
            kid,
            private_pem: Zeroizing::new(pem("PRIVATE KEY", private)),
            public_pem: pem("PUBLIC KEY", public),
            jwk,
        }
    }
}

impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyPair").field("kid", &self.kid).finish_non_exhaustive()
    }
}

/// RFC 7468: base64 in lines of 64.
pub(crate) fn pem(label: &str, der: &[u8]) -> String {
    let text = Zeroizing::new(STANDARD.encode(der));
    let mut pem = String::with_capacity(text.len() + text.len() / 64 + 2 * label.len() + 34);
    pem.push_str(&format!("-----BEGIN {label}-----\n"));
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(64));
        pem.push_str(line);
        pem.push('\n');
        rest = after;
    }
    pem.push_str(&format!("-----END {label}-----\n"));
    pem
}

#[cfg(test)]
mod tests {
    use super::super::keys::Key;
    use super::super::secret::{Strength, check};
    use super::super::{jwk, mint::SigningKey};
    use super::*;

    #[test]
    fn s15_a_secret_that_we_make_has_the_bits_of_its_hash() {
        for (algorithm, characters) in
            [(Algorithm::Hs256, 43), (Algorithm::Hs384, 64), (Algorithm::Hs512, 86)]
        {
            let made = secret(algorithm).unwrap().unwrap();
            assert_eq!(made.len(), characters);
            assert_eq!(check(made.as_bytes(), algorithm), Ok(()));
            assert_ne!(*secret(algorithm).unwrap().unwrap(), *made);
        }
        assert_eq!(secret(Algorithm::EdDsa).unwrap(), None);
    }

    #[test]
    fn a_pair_that_we_make_signs_and_verifies_in_every_writing() {
        for algorithm in [Algorithm::Es256, Algorithm::EdDsa] {
            let pair = KeyPair::generate(algorithm).unwrap().unwrap();
            SigningKey::pem(algorithm, Some(&pair.kid), pair.private_pem.as_bytes()).unwrap();
            Key::pem(algorithm, Some(&pair.kid), &pair.public_pem).unwrap();
            let keys = jwk::read_file(&pair.jwk, Strength::Required).unwrap();
            assert_eq!(keys[0].kid(), Some(&*pair.kid));
            assert_eq!(keys[0].algorithm(), algorithm);
            assert!(!format!("{pair:?}").contains("PRIVATE"));
        }
        assert!(KeyPair::generate(Algorithm::Rs256).unwrap().is_none());
    }

    #[test]
    fn a_name_is_the_thumbprint_of_rfc_7638() {
        // RFC 8037 appendix A.3.
        let members = [
            ("crv", "Ed25519".to_owned()),
            ("kty", "OKP".to_owned()),
            ("x", "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo".to_owned()),
        ];
        let pair = KeyPair::of(Algorithm::EdDsa, b"", b"", &members);
        assert_eq!(pair.kid, "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    }
}
