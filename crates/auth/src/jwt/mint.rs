//! Signing tokens: for `tidewire token new`, for tests, and for backends written in Rust.

use std::fmt;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::EncodingKey;
use serde::Serialize;
use tidewire_hub::Pattern;

use super::algorithm::Algorithm;
use super::keys::{KeyError, check_secret};
use super::parts::is_kid;
use super::secret::Strength;
use super::source::{KeyFile, file, line};

/// A key that signs tokens of one algorithm.
#[derive(Clone)]
pub struct SigningKey {
    kid: Option<Box<str>>,
    algorithm: Algorithm,
    material: EncodingKey,
}

impl SigningKey {
    /// A secret for one of the HMAC algorithms.
    ///
    /// # Errors
    /// As [`super::Key::secret`].
    pub fn secret(
        algorithm: Algorithm,
        kid: Option<&str>,
        secret: &[u8],
        strength: Strength,
    ) -> Result<SigningKey, KeyError> {
        check_secret(algorithm, secret, strength)?;
        SigningKey::new(algorithm, kid, EncodingKey::from_secret(secret))
    }

    /// A private key in PEM: PKCS #8 (RFC 5958), or for RSA also PKCS #1.
    ///
    /// # Errors
    /// [`KeyError::WrongKind`] for what is no private key of `algorithm`.
    pub fn pem(algorithm: Algorithm, kid: Option<&str>, pem: &[u8]) -> Result<SigningKey, KeyError> {
        let read = match algorithm {
            Algorithm::Es256 => EncodingKey::from_ec_pem(pem),
            Algorithm::EdDsa => EncodingKey::from_ed_pem(pem),
            Algorithm::Rs256 | Algorithm::Ps256 => EncodingKey::from_rsa_pem(pem),
            Algorithm::Hs256 | Algorithm::Hs384 | Algorithm::Hs512 => {
                return Err(KeyError::WrongKind { algorithm });
            }
        };
        SigningKey::new(algorithm, kid, read.map_err(|_| KeyError::WrongKind { algorithm })?)
    }

    /// Reads what `--key` names: `ALGORITHM:FILE` or `ALGORITHM:NAME:FILE` as in [`KeyFile`], with the
    /// private key in the file; or a file alone, whose algorithm shows: a key of P-256 or Ed25519, or a secret for HS256.
    ///
    /// # Errors
    /// What is wrong with the entry, the file or the key.
    pub fn read(entry: &str, strength: Strength) -> Result<SigningKey, KeyError> {
        match KeyFile::parse(entry) {
            Ok(KeyFile::Key { algorithm, kid, path }) => {
                let text = file(&path)?;
                return match algorithm.secret_bytes_min() {
                    Some(_) => SigningKey::secret(algorithm, kid.as_deref(), line(&text), strength),
                    None => SigningKey::pem(algorithm, kid.as_deref(), &text),
                };
            }
            Ok(KeyFile::Jwk(_)) => {
                return Err(KeyError::Jwk("a JWK does not sign here; name a PEM file or a secret"));
            }
            Err(KeyError::Entry) => {}
            Err(error) => return Err(error),
        }
        let text = file(Path::new(entry))?;
        if !text.starts_with(b"-----BEGIN ") {
            return SigningKey::secret(Algorithm::Hs256, None, line(&text), strength);
        }
        let found = [Algorithm::EdDsa, Algorithm::Es256]
            .into_iter()
            .find_map(|algorithm| SigningKey::pem(algorithm, None, &text).ok());
        found.ok_or(KeyError::Entry)
    }

    fn new(algorithm: Algorithm, kid: Option<&str>, material: EncodingKey) -> Result<SigningKey, KeyError> {
        if kid.is_some_and(|kid| !is_kid(kid)) {
            return Err(KeyError::Kid);
        }
        let key = SigningKey { kid: kid.map(Into::into), algorithm, material };
        // Keys are parsed when they are used: whether this one is good shows in a signature.
        key.sign_message(b"").map(|_| key)
    }

    /// The same key under another name.
    ///
    /// # Errors
    /// [`KeyError::Kid`].
    pub fn named(self, kid: &str) -> Result<SigningKey, KeyError> {
        if is_kid(kid) { Ok(SigningKey { kid: Some(kid.into()), ..self }) } else { Err(KeyError::Kid) }
    }

    /// What it signs with.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Signs a token.
    ///
    /// # Errors
    /// [`KeyError::WrongKind`] if the key turns out to be none, which reading it has shown not to be so.
    pub fn sign(&self, draft: &Draft) -> Result<String, KeyError> {
        let header = Head { alg: self.algorithm.name(), typ: "JWT", kid: self.kid.as_deref() };
        let wrong = |_| KeyError::WrongKind { algorithm: self.algorithm };
        let header = serde_json::to_vec(&header).map_err(wrong)?;
        let claims = serde_json::to_vec(&Body::of(draft)).map_err(wrong)?;
        self.sign_parts(&header, &claims)
    }

    /// Signs any header and claims, as an issuer of another make would.
    pub(crate) fn sign_parts(&self, header: &[u8], claims: &[u8]) -> Result<String, KeyError> {
        let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
        let signature = self.sign_message(message.as_bytes())?;
        Ok(format!("{message}.{signature}"))
    }

    fn sign_message(&self, message: &[u8]) -> Result<String, KeyError> {
        let signed = jsonwebtoken::crypto::sign(message, &self.material, self.algorithm.library());
        signed.map_err(|_| KeyError::WrongKind { algorithm: self.algorithm })
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

/// What a token is to say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Draft {
    /// `sub`.
    pub subject: String,
    /// `iss`.
    pub issuer: Option<String>,
    /// `aud`.
    pub audience: Option<String>,
    /// `jti`.
    pub id: Option<String>,
    /// `iat`, in seconds since 1970.
    pub issued_at_s: u64,
    /// `exp`, in seconds since 1970.
    pub expires_at_s: u64,
    /// `channels.subscribe`.
    pub subscribe: Vec<Pattern>,
    /// `channels.publish`.
    pub publish: Vec<Pattern>,
    /// `channels.presence`.
    pub presence: Vec<Pattern>,
    /// `channels.history`.
    pub history: Vec<Pattern>,
}

#[derive(Serialize)]
struct Head<'a> {
    alg: &'a str,
    typ: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    kid: Option<&'a str>,
}

#[derive(Serialize)]
struct Body<'a> {
    sub: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    iss: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    aud: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    jti: Option<&'a str>,
    iat: u64,
    exp: u64,
    channels: Channels<'a>,
}

#[derive(Serialize)]
struct Channels<'a> {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    subscribe: Vec<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    publish: Vec<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    presence: Vec<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    history: Vec<&'a str>,
}

impl Body<'_> {
    fn of(draft: &Draft) -> Body<'_> {
        Body {
            sub: &draft.subject,
            iss: draft.issuer.as_deref(),
            aud: draft.audience.as_deref(),
            jti: draft.id.as_deref(),
            iat: draft.issued_at_s,
            exp: draft.expires_at_s,
            channels: Channels {
                subscribe: texts(&draft.subscribe),
                publish: texts(&draft.publish),
                presence: texts(&draft.presence),
                history: texts(&draft.history),
            },
        }
    }
}

fn texts(patterns: &[Pattern]) -> Vec<&str> {
    patterns.iter().map(Pattern::as_str).collect()
}
