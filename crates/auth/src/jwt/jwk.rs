//! JSON Web Keys and sets of them (RFC 7517).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::algorithm::Algorithm;
use super::json::{Json, Object};
use super::keys::{Key, KeyError, KeySet};
use super::secret::Strength;

/// The keys of a file that the configuration names: one JWK or a set. Every one has to be usable and to name its `alg`.
pub(super) fn read_file(text: &str, strength: Strength) -> Result<Vec<Key>, KeyError> {
    let file = Object::parse(text.as_bytes()).map_err(|_| KeyError::Jwk("the file is not a JSON object"))?;
    let Some(keys) = file.get("keys") else { return Ok(vec![key(&file, Origin::File(strength))?]) };
    let Json::List(keys) = keys else { return Err(KeyError::Jwk("`keys` is not a list")) };
    let keys = keys.iter().map(|jwk| match jwk {
        Json::Object(jwk) => key(jwk, Origin::File(strength)),
        _ => Err(KeyError::Jwk("a key is not a JSON object")),
    });
    keys.collect()
}

/// What a set that was fetched holds.
#[derive(Debug)]
pub(super) struct Fetched {
    pub keys: KeySet,
    /// Members that are of no use to us, those below included.
    pub passed_over: usize,
    /// Members that would be, if their `kid` were one that we take (security rule S12).
    pub misnamed: usize,
}

/// Reads a set that was fetched.
///
/// A set may serve others too: what we cannot use is passed over, as RFC 7517 section 5 wants. Secrets are never
/// taken from one: what a URL shows to us it shows to others. A set without keys is one: all may have been withdrawn.
pub(super) fn read_remote(text: &[u8]) -> Result<Fetched, KeyError> {
    let set = Object::parse(text).map_err(|_| KeyError::Jwk("the answer is not a JSON object"))?;
    let Some(Json::List(members)) = set.get("keys") else {
        return Err(KeyError::Jwk("the answer is not a JWK Set"));
    };
    let mut fetched = Fetched { keys: KeySet::default(), passed_over: 0, misnamed: 0 };
    for member in members {
        let key = match member {
            Json::Object(jwk) => key(jwk, Origin::Remote),
            _ => Err(KeyError::Jwk("a key is not a JSON object")),
        };
        match key.and_then(|key| fetched.keys.add(key)) {
            Ok(()) => {}
            // Which keys would be left out must not depend on the order of a list.
            Err(KeyError::TooMany) => return Err(KeyError::TooMany),
            Err(error) => {
                fetched.passed_over += 1;
                fetched.misnamed += usize::from(error == KeyError::Kid);
            }
        }
    }
    Ok(fetched)
}

#[derive(Clone, Copy)]
enum Origin {
    File(Strength),
    Remote,
}

fn key(jwk: &Object, origin: Origin) -> Result<Key, KeyError> {
    let text = |name: &str| jwk.get(name).and_then(Json::text);
    let bytes = |name: &str| {
        let decoded = text(name).and_then(|value| URL_SAFE_NO_PAD.decode(value).ok());
        decoded.ok_or(KeyError::Jwk("a parameter of a key is missing or not base64url"))
    };
    if !is_for_signatures(jwk) {
        return Err(KeyError::Jwk("`use` or `key_ops` says that a key is not for signatures"));
    }
    let kid = match jwk.get("kid") {
        None => None,
        Some(Json::Text(kid)) => Some(kid.as_str()),
        Some(_) => return Err(KeyError::Kid),
    };
    let kind = (text("kty"), text("crv"));
    if kind.0 != Some("oct") && jwk.get("d").is_some() {
        return Err(KeyError::Private);
    }
    let algorithm = algorithm(jwk, kind, origin)?;
    match (kind, algorithm) {
        ((Some("EC"), Some("P-256")), Algorithm::Es256) => {
            let point = [&[4], bytes("x")?.as_slice(), bytes("y")?.as_slice()].concat();
            Key::point(kid, &point)
        }
        ((Some("OKP"), Some("Ed25519")), Algorithm::EdDsa) => Key::ed25519(kid, &bytes("x")?),
        ((Some("RSA"), _), Algorithm::Rs256 | Algorithm::Ps256) => {
            Key::rsa(algorithm, kid, &bytes("n")?, &bytes("e")?)
        }
        ((Some("oct"), _), Algorithm::Hs256 | Algorithm::Hs384 | Algorithm::Hs512) => match origin {
            Origin::File(strength) => Key::secret(algorithm, kid, &bytes("k")?, strength),
            Origin::Remote => Err(KeyError::Jwk("a secret cannot come from a URL")),
        },
        _ => Err(KeyError::WrongKind { algorithm }),
    }
}

/// The one algorithm of a key. Where a set does not say, the kind of the key must leave no choice.
///
/// An RSA key would fit RS256 and PS256 and is taken for RS256: that is what issuers sign with who leave `alg` out, and
/// a key has one algorithm, not two (security rule S11). Who signs with PS256 has to say so.
fn algorithm(
    jwk: &Object,
    kind: (Option<&str>, Option<&str>),
    origin: Origin,
) -> Result<Algorithm, KeyError> {
    match (jwk.get("alg"), origin, kind) {
        (Some(Json::Text(name)), _, _) => {
            Algorithm::parse(name).ok_or_else(|| KeyError::Algorithm(name.as_str().into()))
        }
        (Some(_), _, _) => Err(KeyError::Jwk("`alg` is not a text")),
        (None, Origin::File(_), _) => Err(KeyError::Jwk("a key does not name its `alg`")),
        (None, Origin::Remote, (Some("EC"), Some("P-256"))) => Ok(Algorithm::Es256),
        (None, Origin::Remote, (Some("OKP"), Some("Ed25519"))) => Ok(Algorithm::EdDsa),
        (None, Origin::Remote, (Some("RSA"), _)) => Ok(Algorithm::Rs256),
        (None, Origin::Remote, _) => Err(KeyError::Jwk("a key leaves its algorithm open")),
    }
}

/// `use` and `key_ops`, where they are given (RFC 7517 sections 4.2 and 4.3).
fn is_for_signatures(jwk: &Object) -> bool {
    let used = jwk.get("use").is_none_or(|used| used.text() == Some("sig"));
    let operated = match jwk.get("key_ops") {
        None => true,
        Some(Json::List(operations)) => operations.iter().any(|operation| operation.text() == Some("verify")),
        Some(_) => false,
    };
    used && operated
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    // The public keys of RFC 7515 appendix A.3 and RFC 8037 appendix A.2.
    fn p256() -> Value {
        json!({
            "kty": "EC", "crv": "P-256",
            "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
            "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
        })
    }

    fn ed25519() -> Value {
        json!({ "kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" })
    }

    fn rsa(bits: usize) -> Value {
        let mut modulus = vec![0xff; bits / 8];
        modulus[1] = 0x37;
        json!({ "kty": "RSA", "n": URL_SAFE_NO_PAD.encode(modulus), "e": "AQAB" })
    }

    fn with(mut jwk: Value, more: &Value) -> Value {
        for (name, value) in more.as_object().unwrap() {
            jwk[name] = value.clone();
        }
        jwk
    }

    fn remote(keys: &[Value]) -> Result<(KeySet, usize), KeyError> {
        fetched(keys).map(|fetched| (fetched.keys, fetched.passed_over))
    }

    fn fetched(keys: &[Value]) -> Result<Fetched, KeyError> {
        read_remote(json!({ "keys": keys }).to_string().as_bytes())
    }

    fn algorithms(keys: &[Value]) -> Vec<Algorithm> {
        remote(keys).unwrap().0.keys().iter().map(Key::algorithm).collect()
    }

    #[test]
    fn s11_a_fetched_key_without_an_algorithm_has_the_one_of_its_kind() {
        let kinds = [p256(), ed25519(), rsa(2_048)];
        assert_eq!(algorithms(&kinds), [Algorithm::Es256, Algorithm::EdDsa, Algorithm::Rs256]);
        assert_eq!(algorithms(&[with(rsa(2_048), &json!({ "alg": "PS256" }))]), [Algorithm::Ps256]);
    }

    #[test]
    fn s11_a_secret_is_never_taken_from_a_url() {
        let secret =
            json!({ "kty": "oct", "alg": "HS256", "k": "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T" });
        let confused = with(p256(), &json!({ "alg": "HS256", "k": "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ" }));
        for bad in [secret, confused] {
            let (keys, passed_over) = remote(&[bad, ed25519()]).unwrap();
            assert_eq!((keys.keys().len(), passed_over), (1, 1));
        }
    }

    #[test]
    fn s16_what_a_set_holds_for_others_is_passed_over() {
        let others = [
            with(rsa(2_048), &json!({ "alg": "RSA-OAEP" })),
            with(rsa(2_048), &json!({ "use": "enc" })),
            with(rsa(2_048), &json!({ "key_ops": ["encrypt"] })),
            with(p256(), &json!({ "crv": "P-384" })),
            with(p256(), &json!({ "alg": "EdDSA" })),
            with(p256(), &json!({ "alg": 5 })),
            with(p256(), &json!({ "d": "jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI" })),
            with(p256(), &json!({ "kid": "../../etc/passwd" })),
            with(p256(), &json!({ "x": "AAAA" })),
            with(p256(), &json!({ "y": p256()["x"] })),
            with(ed25519(), &json!({ "x": "AAAA" })),
            json!({ "kty": "AKP" }),
            json!("key"),
        ];
        let (keys, passed_over) = remote(&others).unwrap();
        assert_eq!((keys.keys().len(), passed_over), (0, others.len()));
        let named =
            with(ed25519(), &json!({ "kid": "a", "use": "sig", "key_ops": ["verify"], "x5c": ["x"] }));
        let (keys, passed_over) = remote(&[named.clone(), named]).unwrap();
        assert_eq!((keys.keys().len(), passed_over), (1, 1), "one of two twins");
    }

    #[test]
    fn s12_a_key_with_a_name_that_is_none_leaves_the_others_good() {
        for kid in [json!("https://id.example/keys/1"), json!(""), json!("k".repeat(129)), json!(7)] {
            let set = [
                with(p256(), &json!({ "kid": "a" })),
                with(p256(), &json!({ "kid": kid })),
                with(ed25519(), &json!({ "kid": "b" })),
            ];
            let Fetched { keys, passed_over, misnamed } = fetched(&set).unwrap();
            let names: Vec<_> = keys.keys().iter().map(Key::kid).collect();
            assert_eq!((&*names, passed_over, misnamed), (&[Some("a"), Some("b")][..], 1, 1), "{kid}");
        }
        let encrypts = with(p256(), &json!({ "kid": "a/b", "use": "enc" }));
        assert_eq!(fetched(&[encrypts]).unwrap().misnamed, 0, "it was for others anyway");
    }

    #[test]
    fn s15_an_rsa_key_has_2048_bits_or_more() {
        for (bits, count) in [(1_024, 0), (2_040, 0), (2_048, 1), (4_096, 1), (8_200, 0)] {
            assert_eq!(algorithms(&[rsa(bits)]).len(), count, "{bits}");
        }
        // Zeros before the number add no strength.
        let padded = [vec![0; 200], vec![0xff; 128]].concat();
        let padded = with(rsa(2_048), &json!({ "n": URL_SAFE_NO_PAD.encode(padded) }));
        assert!(algorithms(&[padded]).is_empty());
        for exponent in ["", "AA", "AQ", "Ag", "AQABAQAB"] {
            let odd = with(rsa(2_048), &json!({ "e": exponent }));
            assert!(algorithms(&[odd]).is_empty(), "{exponent}");
        }
    }

    #[test]
    fn s16_a_set_without_keys_is_one_and_what_is_no_set_is_not() {
        assert!(remote(&[]).unwrap().0.is_empty());
        for bad in ["", "[]", "{}", r#"{"keys":{}}"#, r#"{"keys":[],"keys":[]}"#, "<html>"] {
            assert!(read_remote(bad.as_bytes()).is_err(), "{bad}");
        }
        let many: Vec<Value> =
            (0..65).map(|at| with(ed25519(), &json!({ "kid": format!("k{at}") }))).collect();
        assert_eq!(remote(&many).unwrap_err(), KeyError::TooMany);
    }

    #[test]
    fn s11_a_key_of_a_file_names_its_algorithm() {
        let read = |jwk: &Value| read_file(&jwk.to_string(), Strength::Required);
        assert!(matches!(read(&p256()), Err(KeyError::Jwk(_))));
        let named = with(p256(), &json!({ "alg": "ES256", "kid": "a" }));
        assert_eq!(read(&named).unwrap()[0].kid(), Some("a"));
        assert_eq!(
            read(&json!({ "keys": [named, with(ed25519(), &json!({ "alg": "EdDSA" }))] })).unwrap().len(),
            2
        );
        let private =
            with(p256(), &json!({ "alg": "ES256", "d": "jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI" }));
        assert_eq!(read(&private).unwrap_err(), KeyError::Private);
        let weak = json!({ "kty": "oct", "alg": "HS256", "k": URL_SAFE_NO_PAD.encode("secret") });
        assert!(matches!(read(&weak), Err(KeyError::Weak(_))));
    }
}
