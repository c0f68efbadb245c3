//! Tokens as users and attackers send them. Each file is one rule or family of rules of `security.md` B.

mod claims;
mod forgeries;
mod https;
mod rotation;

use std::sync::mpsc::{self, Receiver};

use serde_json::{Value, json};
use tidewire_hub::Now;

use super::generate::KeyPair;
use super::*;
use crate::Claims;

/// A moment of 2026.
const NOW: Now = Now { monotonic_ms: 50_000, wall_ms: 1_795_000_000_000, micros: 0 };
const NOW_S: u64 = NOW.wall_ms / 1_000;

const SECRET: &str = "3n8Yw0fX5m1QvZ2kTgR7bLhJ9sUeCdPa4oIxWyBtN6E";

/// A key that signs, and what verifies it.
struct Signer {
    signing: SigningKey,
    key: Key,
    public_pem: String,
    jwk: Value,
}

impl Signer {
    fn hs256() -> Signer {
        Signer::secret(Algorithm::Hs256, None, SECRET.as_bytes())
    }

    fn secret(algorithm: Algorithm, kid: Option<&str>, secret: &[u8]) -> Signer {
        Signer {
            signing: SigningKey::secret(algorithm, kid, secret, Strength::Required).unwrap(),
            key: Key::secret(algorithm, kid, secret, Strength::Required).unwrap(),
            public_pem: String::new(),
            jwk: Value::Null,
        }
    }

    /// A pair for ES256 or EdDSA.
    fn pair(algorithm: Algorithm, kid: Option<&str>) -> Signer {
        let pair = KeyPair::generate(algorithm).unwrap().unwrap();
        let mut jwk: Value = serde_json::from_str(&pair.jwk).unwrap();
        jwk["kid"] = kid.into();
        Signer {
            signing: SigningKey::pem(algorithm, kid, pair.private_pem.as_bytes()).unwrap(),
            key: Key::pem(algorithm, kid, &pair.public_pem).unwrap(),
            public_pem: pair.public_pem,
            jwk,
        }
    }

    fn rsa(algorithm: Algorithm, kid: Option<&str>, bits: aws_lc_rs::rsa::KeySize) -> Signer {
        use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der, PublicKeyX509Der};
        use aws_lc_rs::signature::KeyPair as _;
        let pair = aws_lc_rs::rsa::KeyPair::generate(bits).unwrap();
        let private: Pkcs8V1Der<'_> = pair.as_der().unwrap();
        let public: PublicKeyX509Der<'_> = pair.public_key().as_der().unwrap();
        let private_pem = generate::pem("PRIVATE KEY", private.as_ref());
        let public_pem = generate::pem("PUBLIC KEY", public.as_ref());
        Signer {
            signing: SigningKey::pem(algorithm, kid, private_pem.as_bytes()).unwrap(),
            key: Key::pem(algorithm, kid, &public_pem).unwrap(),
            public_pem,
            jwk: Value::Null,
        }
    }

    fn token(&self) -> String {
        self.signing.sign(&draft()).unwrap()
    }

    /// A token with any claims.
    fn claiming(&self, claims: &str) -> String {
        let header = json!({ "alg": self.signing.algorithm().name() }).to_string();
        self.signing.sign_parts(header.as_bytes(), claims.as_bytes()).unwrap()
    }

    /// A token with any header.
    fn headed(&self, header: &str) -> String {
        self.signing.sign_parts(header.as_bytes(), claims().to_string().as_bytes()).unwrap()
    }
}

fn draft() -> Draft {
    Draft {
        subject: "alice".into(),
        issued_at_s: NOW_S,
        expires_at_s: NOW_S + 600,
        subscribe: vec![tidewire_hub::Pattern::parse("orders:*").unwrap()],
        ..Draft::default()
    }
}

fn claims() -> Value {
    json!({ "sub": "alice", "exp": NOW_S + 600 })
}

fn verifier(keys: impl IntoIterator<Item = Key>) -> Verifier {
    Verifier::new(Options { keys: KeySet::new(keys).unwrap(), ..Options::default() })
}

/// The verdict on a token, which has to be the same on both ways to it.
fn verdict(verifier: &Verifier, token: &str) -> Result<Claims, TokenError> {
    let verdict = verifier.verify_static(token, NOW);
    assert_eq!(ask(verifier, token, NOW).try_recv().unwrap(), verdict, "answered at once, and alike");
    verdict
}

fn ask(verifier: &Verifier, token: &str, now: Now) -> Receiver<Result<Claims, TokenError>> {
    let (sender, receiver) = mpsc::channel();
    verifier.verify(token, now, Box::new(move |verdict| drop(sender.send(verdict))));
    receiver
}
