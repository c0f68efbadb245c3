//! Keys that verify tokens, each with the one algorithm that it is for.

use std::collections::HashMap;
use std::fmt;

use aws_lc_rs::rsa;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, ParsedPublicKey, RsaPublicKeyComponents, VerificationAlgorithm,
};
use jsonwebtoken::DecodingKey;

use super::algorithm::Algorithm;
use super::parts::{Header, Parts, is_kid};
use super::secret::{self, Strength, Weakness};

/// Keys in one set.
pub const KEYS_MAX: usize = 64;

/// Keys tried for one token: what an attacker may make us compute.
pub const TRIES_MAX: usize = 4;

/// The smallest RSA modulus, in bits (RFC 7518 section 3.3; security rule S15).
pub const RSA_BITS_MIN: usize = 2_048;

/// The largest one, in bits: the cost of verifying grows with its square.
pub const RSA_BITS_MAX: usize = 8_192;

/// A key that verifies tokens of one algorithm.
#[derive(Clone)]
pub struct Key {
    kid: Option<Box<str>>,
    algorithm: Algorithm,
    material: DecodingKey,
}

impl Key {
    /// A secret for one of the HMAC algorithms.
    ///
    /// # Errors
    /// [`KeyError::Weak`], and [`KeyError::WrongKind`] for an algorithm without a secret.
    pub fn secret(
        algorithm: Algorithm,
        kid: Option<&str>,
        secret: &[u8],
        strength: Strength,
    ) -> Result<Key, KeyError> {
        check_secret(algorithm, secret, strength)?;
        Key::new(algorithm, kid, DecodingKey::from_secret(secret))
    }

    /// A public key in PEM: `BEGIN PUBLIC KEY`, or `BEGIN RSA PUBLIC KEY` (RFC 7468 section 13, RFC 8017 appendix A.1.1).
    ///
    /// # Errors
    /// [`KeyError::Private`] for a private key, which has no business here; [`KeyError::WrongKind`] and the rest for
    /// what is no key of `algorithm`.
    pub fn pem(algorithm: Algorithm, kid: Option<&str>, pem: &str) -> Result<Key, KeyError> {
        match label(pem) {
            Some("PUBLIC KEY" | "RSA PUBLIC KEY") => {}
            Some(label) if label.ends_with("PRIVATE KEY") => return Err(KeyError::Private),
            _ => return Err(KeyError::NotPem),
        }
        let wrong = |_| KeyError::WrongKind { algorithm };
        let read = match algorithm {
            Algorithm::Es256 => DecodingKey::from_ec_pem(pem.as_bytes()).map_err(wrong)?,
            Algorithm::EdDsa => DecodingKey::from_ed_pem(pem.as_bytes()).map_err(wrong)?,
            Algorithm::Rs256 | Algorithm::Ps256 => {
                DecodingKey::from_rsa_pem(pem.as_bytes()).map_err(wrong)?
            }
            Algorithm::Hs256 | Algorithm::Hs384 | Algorithm::Hs512 => {
                return Err(KeyError::WrongKind { algorithm });
            }
        };
        let bytes = read.try_get_as_bytes().map_err(wrong)?;
        match algorithm {
            Algorithm::Es256 => Key::point(kid, bytes),
            Algorithm::EdDsa => Key::ed25519(kid, bytes),
            _ => {
                let public =
                    rsa::PublicKey::from_der(bytes).map_err(|_| KeyError::WrongKind { algorithm })?;
                let RsaPublicKeyComponents { n, e } = RsaPublicKeyComponents::<Vec<u8>>::from(&public);
                Key::rsa(algorithm, kid, &n, &e)
            }
        }
    }

    /// A point of the curve P-256, uncompressed (SEC 1 section 2.3.3), for ES256.
    pub(crate) fn point(kid: Option<&str>, point: &[u8]) -> Result<Key, KeyError> {
        // 65 bytes: another encoding of the point, or one of another curve, is not what a JWK or PEM of ours holds.
        let valid = point.len() == 65 && is_on(&ECDSA_P256_SHA256_FIXED, point);
        if !valid {
            return Err(KeyError::WrongKind { algorithm: Algorithm::Es256 });
        }
        Key::new(Algorithm::Es256, kid, DecodingKey::from_ec_der(point))
    }

    /// The 32 bytes of an Ed25519 public key (RFC 8032 section 5.1.5), for EdDSA.
    pub(crate) fn ed25519(kid: Option<&str>, public: &[u8]) -> Result<Key, KeyError> {
        let valid = public.len() == 32 && is_on(&ED25519, public);
        if !valid {
            return Err(KeyError::WrongKind { algorithm: Algorithm::EdDsa });
        }
        Key::new(Algorithm::EdDsa, kid, DecodingKey::from_ed_der(public))
    }

    /// Modulus and exponent of an RSA key, most significant byte first.
    pub(crate) fn rsa(
        algorithm: Algorithm,
        kid: Option<&str>,
        modulus: &[u8],
        exponent: &[u8],
    ) -> Result<Key, KeyError> {
        let (modulus, exponent) = (trimmed(modulus), trimmed(exponent));
        let bits = modulus.len() * 8 - modulus.first().map_or(0, |byte| byte.leading_zeros() as usize);
        if !(RSA_BITS_MIN..=RSA_BITS_MAX).contains(&bits) {
            return Err(KeyError::RsaSize { bits });
        }
        // An even exponent is none, 1 makes every signature its own message, and a long one only costs time.
        let odd = exponent.last().is_some_and(|byte| byte % 2 == 1);
        if !odd || exponent == [1] || exponent.len() > 4 {
            return Err(KeyError::WrongKind { algorithm });
        }
        Key::new(algorithm, kid, DecodingKey::from_rsa_raw_components(modulus, exponent))
    }

    fn new(algorithm: Algorithm, kid: Option<&str>, material: DecodingKey) -> Result<Key, KeyError> {
        if kid.is_some_and(|kid| !is_kid(kid)) {
            return Err(KeyError::Kid);
        }
        Ok(Key { kid: kid.map(Into::into), algorithm, material })
    }

    /// Its name, which a token's `kid` may ask for.
    #[must_use]
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// What it verifies.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    fn bears_out(&self, parts: &Parts<'_>) -> bool {
        // The algorithm is the key's own; the library also refuses a key of another family.
        let verified = jsonwebtoken::crypto::verify(
            parts.signature,
            parts.message.as_bytes(),
            &self.material,
            self.algorithm.library(),
        );
        matches!(verified, Ok(true))
    }
}

impl fmt::Debug for Key {
    // The material of a symmetric key is the secret itself (security rule S49).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key")
            .field("kid", &self.kid)
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}

/// Keys, found by name and algorithm. At most [`KEYS_MAX`].
#[derive(Clone, Debug, Default)]
pub struct KeySet {
    keys: Vec<Key>,
    by_kid: HashMap<Box<str>, Vec<usize>>,
}

/// What a set of keys says about a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// One of the keys signed it.
    Signed,
    /// The key that it names did not sign it. No other key may have.
    Forged,
    /// It could be of a key that is not here. Keys without a name were tried if `tried` says so.
    Unknown { tried: bool },
}

impl KeySet {
    /// Puts keys together.
    ///
    /// # Errors
    /// [`KeyError::TooMany`], [`KeyError::Twice`] for two keys of one name and algorithm, and
    /// [`KeyError::Unnamed`] for more keys of one algorithm without a name than are tried.
    pub fn new(keys: impl IntoIterator<Item = Key>) -> Result<KeySet, KeyError> {
        let mut set = KeySet::default();
        keys.into_iter().try_for_each(|key| set.add(key))?;
        Ok(set)
    }

    pub(crate) fn add(&mut self, key: Key) -> Result<(), KeyError> {
        let at = self.keys.len();
        if at == KEYS_MAX {
            return Err(KeyError::TooMany);
        }
        if let Some(kid) = &key.kid {
            let namesakes = self.by_kid.entry(kid.clone()).or_default();
            if namesakes.iter().any(|other| self.keys[*other].algorithm == key.algorithm) {
                return Err(KeyError::Twice { kid: kid.clone() });
            }
            namesakes.push(at);
        } else if self.unnamed(key.algorithm).count() == TRIES_MAX {
            return Err(KeyError::Unnamed { algorithm: key.algorithm });
        }
        self.keys.push(key);
        Ok(())
    }

    /// The keys, in the order given.
    #[must_use]
    pub fn keys(&self) -> &[Key] {
        &self.keys
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Looks for the key that signed a token.
    ///
    /// A key that is named is the only one tried. A key without a name answers to any, since it has none to disagree
    /// with. A token without a name is tried against the first [`TRIES_MAX`] keys of its algorithm.
    pub(crate) fn answer(&self, parts: &Parts<'_>) -> Answer {
        let Header { algorithm, kid } = &parts.header;
        let Some(kid) = kid else {
            return Answer::of(self.keys.iter().filter(|key| key.algorithm == *algorithm), parts);
        };
        let mut namesakes = self.by_kid.get(kid).into_iter().flatten().map(|at| &self.keys[*at]);
        match namesakes.find(|key| key.algorithm == *algorithm) {
            Some(key) if key.bears_out(parts) => Answer::Signed,
            Some(_) => Answer::Forged,
            None => Answer::of(self.unnamed(*algorithm), parts),
        }
    }

    fn unnamed(&self, algorithm: Algorithm) -> impl Iterator<Item = &Key> {
        self.keys.iter().filter(move |key| key.kid.is_none() && key.algorithm == algorithm)
    }
}

impl Answer {
    fn of<'a>(candidates: impl Iterator<Item = &'a Key>, parts: &Parts<'_>) -> Answer {
        let mut tried = false;
        for key in candidates.take(TRIES_MAX) {
            if key.bears_out(parts) {
                return Answer::Signed;
            }
            tried = true;
        }
        Answer::Unknown { tried }
    }

    /// What two sets say together, where neither was sure.
    pub(crate) fn or(self, other: Answer) -> Answer {
        match (self, other) {
            (Answer::Unknown { tried }, Answer::Unknown { tried: other }) => {
                Answer::Unknown { tried: tried || other }
            }
            (Answer::Unknown { .. }, sure) => sure,
            (sure, _) => sure,
        }
    }
}

/// Why a key cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyError {
    /// A file cannot be read.
    File {
        /// Which.
        path: Box<str>,
        /// What the system says.
        why: Box<str>,
    },
    /// The secret is too weak.
    Weak(Weakness),
    /// This is no key of that algorithm.
    WrongKind {
        /// Which algorithm.
        algorithm: Algorithm,
    },
    /// It is a private key, and only the public one is needed.
    Private,
    /// There is no public key in PEM.
    NotPem,
    /// An RSA modulus is too small or too large.
    RsaSize {
        /// Bits it has.
        bits: usize,
    },
    /// A name has other characters than `A-Za-z0-9._-`, or more than 128 of them.
    Kid,
    /// The text does not name an algorithm and a file.
    Entry,
    /// The text names an algorithm that we do not have.
    Algorithm(Box<str>),
    /// A JWK or JWK Set cannot be read.
    Jwk(&'static str),
    /// There are more than [`KEYS_MAX`] keys.
    TooMany,
    /// Two keys have one name and one algorithm.
    Twice {
        /// The name.
        kid: Box<str>,
    },
    /// More keys of one algorithm have no name than are tried for a token.
    Unnamed {
        /// Which algorithm.
        algorithm: Algorithm,
    },
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeyError::File { path, why } => write!(f, "cannot read {path}: {why}"),
            KeyError::Weak(weakness) => write!(f, "{weakness}; `tidewire keygen` makes a strong one"),
            KeyError::WrongKind { algorithm } => write!(f, "this is no key for {algorithm}"),
            KeyError::Private => {
                f.write_str("this is a private key; to verify tokens a server needs only the public one")
            }
            KeyError::NotPem => f.write_str("there is no `BEGIN PUBLIC KEY` in it"),
            KeyError::RsaSize { bits } => {
                write!(f, "the RSA key has {bits} bits; {RSA_BITS_MIN} to {RSA_BITS_MAX} are accepted")
            }
            KeyError::Kid => f.write_str("a key's name is 1 to 128 characters of A-Z a-z 0-9 . _ -"),
            KeyError::Entry => f.write_str("write ALGORITHM:FILE, ALGORITHM:NAME:FILE, or a .json file"),
            KeyError::Algorithm(name) => {
                let name: String = name.escape_default().take(32).collect();
                write!(
                    f,
                    "there is no algorithm `{name}`; there are HS256, HS384, HS512, RS256, PS256, ES256 and EdDSA"
                )
            }
            KeyError::Jwk(why) => f.write_str(why),
            KeyError::TooMany => write!(f, "there are more than {KEYS_MAX} keys"),
            KeyError::Twice { kid } => write!(f, "two keys of one algorithm are named `{kid}`"),
            KeyError::Unnamed { algorithm } => {
                write!(f, "more than {TRIES_MAX} keys for {algorithm} have no name; name them")
            }
        }
    }
}

impl std::error::Error for KeyError {}

/// Whether a secret may be used with an algorithm, to sign and to verify alike.
pub(super) fn check_secret(algorithm: Algorithm, secret: &[u8], strength: Strength) -> Result<(), KeyError> {
    if algorithm.secret_bytes_min().is_none() {
        return Err(KeyError::WrongKind { algorithm });
    }
    match secret::check(secret, algorithm) {
        // A public key, which everybody may read, is no secret even on one's own machine.
        Err(weakness) if strength == Strength::Required || weakness == Weakness::Pem => {
            Err(KeyError::Weak(weakness))
        }
        _ => Ok(()),
    }
}

/// The label of the first block of a PEM file.
fn label(pem: &str) -> Option<&str> {
    let (_, rest) = pem.split_once("-----BEGIN ")?;
    rest.split_once("-----").map(|(label, _)| label)
}

fn is_on(algorithm: &'static dyn VerificationAlgorithm, public: &[u8]) -> bool {
    ParsedPublicKey::new(algorithm, public).is_ok()
}

fn trimmed(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    &number[zeros..]
}
