//! Signatures that prove nothing, and headers that want to be believed (security rules S11, S12, S14, S17).

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};

use super::*;
use crate::jwt::error::{JsonFault, Part, TOKEN_BYTES_MAX};

fn encode(text: &str) -> String {
    URL_SAFE_NO_PAD.encode(text)
}

#[test]
fn every_algorithm_verifies_what_it_signed_and_nothing_else() {
    let signers = [
        Signer::hs256(),
        Signer::secret(Algorithm::Hs384, None, &[SECRET, SECRET, "x"].concat().as_bytes()[..50]),
        Signer::secret(Algorithm::Hs512, None, [SECRET, SECRET, "x"].concat().as_bytes()),
        Signer::rsa(Algorithm::Rs256, None, aws_lc_rs::rsa::KeySize::Rsa2048),
        Signer::rsa(Algorithm::Ps256, None, aws_lc_rs::rsa::KeySize::Rsa2048),
        Signer::pair(Algorithm::Es256, None),
        Signer::pair(Algorithm::EdDsa, None),
    ];
    for (at, signer) in signers.iter().enumerate() {
        let token = signer.token();
        let claims = verdict(&verifier([signer.key.clone()]), &token).unwrap();
        assert_eq!(&*claims.subject, "alice");
        for (other, foreign) in signers.iter().enumerate().filter(|(other, _)| *other != at) {
            let refused = verdict(&verifier([foreign.key.clone()]), &token);
            assert_eq!(refused, Err(TokenError::KeyUnknown), "{at} {other}");
        }
        let refused = verdict(&verifier([another(signer).key]), &token);
        assert_eq!(refused, Err(TokenError::SignatureInvalid), "another key of the same algorithm");
    }
}

/// Another key of the same algorithm.
fn another(signer: &Signer) -> Signer {
    let algorithm = signer.signing.algorithm();
    match algorithm {
        Algorithm::Es256 | Algorithm::EdDsa => Signer::pair(algorithm, None),
        Algorithm::Rs256 | Algorithm::Ps256 => Signer::rsa(algorithm, None, aws_lc_rs::rsa::KeySize::Rsa2048),
        _ => {
            let secret = generate::secret(Algorithm::Hs512).unwrap().unwrap();
            Signer::secret(algorithm, None, secret.as_bytes())
        }
    }
}

#[test]
fn s11_a_token_that_is_not_signed_is_refused() {
    let verifier = verifier([Signer::hs256().key, Signer::pair(Algorithm::Es256, None).key]);
    let claims = encode(&claims().to_string());
    for none in ["none", "None", "NONE", "nOnE", ""] {
        let header = encode(&json!({ "alg": none }).to_string());
        for signature in ["", "AAAA"] {
            let refused = verdict(&verifier, &format!("{header}.{claims}.{signature}"));
            assert_eq!(refused, Err(TokenError::AlgorithmRefused), "{none:?} {signature:?}");
        }
    }
    for algorithm in ["HS256", "ES256"] {
        let header = encode(&json!({ "alg": algorithm }).to_string());
        let refused = verdict(&verifier, &format!("{header}.{claims}."));
        assert_eq!(refused, Err(TokenError::SignatureMissing));
        assert_eq!(verdict(&verifier, &format!("{header}.{claims}")), Err(TokenError::NotThreeParts));
    }
}

#[test]
fn s11_a_public_key_is_never_taken_for_a_secret() {
    for signer in [
        Signer::rsa(Algorithm::Rs256, Some("k"), aws_lc_rs::rsa::KeySize::Rsa2048),
        Signer::pair(Algorithm::Es256, Some("k")),
        Signer::pair(Algorithm::EdDsa, Some("k")),
    ] {
        let verifier = verifier([signer.key.clone(), Signer::hs256().key]);
        let pem = signer.public_pem.as_bytes();
        for secret in
            [pem, pem.trim_ascii_end(), aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, pem).as_ref()]
        {
            for kid in [None, Some("k")] {
                let forger = jsonwebtoken::EncodingKey::from_secret(secret);
                let header = match kid {
                    Some(kid) => json!({ "alg": "HS256", "kid": kid }),
                    None => json!({ "alg": "HS256" }),
                };
                let message = format!("{}.{}", encode(&header.to_string()), encode(&claims().to_string()));
                let signature =
                    jsonwebtoken::crypto::sign(message.as_bytes(), &forger, jsonwebtoken::Algorithm::HS256);
                let forged = format!("{message}.{}", signature.unwrap());
                assert_eq!(verdict(&verifier, &forged), Err(TokenError::SignatureInvalid));
            }
        }
    }
}

#[test]
fn s11_a_token_does_not_choose_its_algorithm() {
    let rsa = Signer::rsa(Algorithm::Rs256, Some("k"), aws_lc_rs::rsa::KeySize::Rsa2048);
    let verifier = verifier([rsa.key.clone()]);
    let token = rsa.token();
    let (_, rest) = token.split_once('.').unwrap();
    for algorithm in ["PS256", "ES256", "EdDSA", "HS256", "HS512"] {
        let header = encode(&json!({ "alg": algorithm, "kid": "k" }).to_string());
        assert_eq!(
            verdict(&verifier, &format!("{header}.{rest}")),
            Err(TokenError::KeyUnknown),
            "{algorithm}"
        );
    }
    // Names that only look like one of ours.
    for unknown in ["RS512", "ES384", "rs256", "RS256 ", "HS256\0", "RS1", "Ed25519", "dir"] {
        let header = encode(&json!({ "alg": unknown }).to_string());
        assert_eq!(
            verdict(&verifier, &format!("{header}.{rest}")),
            Err(TokenError::AlgorithmRefused),
            "{unknown}"
        );
    }
    for (header, what) in [
        (json!({}), "`alg` is missing"),
        (json!({ "alg": null }), "`alg` is not a text"),
        (json!({ "alg": ["RS256"] }), "`alg` is not a text"),
    ] {
        let token = format!("{}.{rest}", encode(&header.to_string()));
        assert_eq!(verdict(&verifier, &token), Err(TokenError::Header(what)));
    }
}

#[test]
fn s11_a_token_that_was_changed_anywhere_is_refused() {
    for signer in
        [Signer::hs256(), Signer::pair(Algorithm::Es256, None), Signer::pair(Algorithm::EdDsa, None)]
    {
        let verifier = verifier([signer.key.clone()]);
        let token = signer.token();
        assert!(verdict(&verifier, &token).is_ok());
        for length in 0..token.len() {
            assert!(verdict(&verifier, &token[..length]).is_err(), "cut at {length}");
        }
        for at in 0..token.len() {
            let mut bytes = token.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(bytes).unwrap();
            assert!(verdict(&verifier, &changed).is_err(), "changed at {at}");
        }
        let [header, claims, signature] = parts(&token);
        for shuffled in [
            format!("{claims}.{header}.{signature}"),
            format!("{header}.{signature}.{claims}"),
            format!("{signature}.{claims}.{header}"),
            format!("{header}.{claims}.{signature}.{signature}"),
            format!("{header}.{claims}.{signature}."),
            format!(".{header}.{claims}.{signature}"),
            format!("{header}..{signature}"),
            format!("{header}{claims}.{signature}"),
            String::new(),
            "..".into(),
            ".".repeat(1_000),
        ] {
            assert!(verdict(&verifier, &shuffled).is_err(), "{shuffled}");
        }
        // Claims of one token under the signature of another.
        let other = signer.claiming(&json!({ "sub": "bob", "exp": NOW_S + 600 }).to_string());
        let spliced = format!("{header}.{}.{signature}", parts(&other)[1]);
        assert_eq!(verdict(&verifier, &spliced), Err(TokenError::SignatureInvalid));
    }
}

fn parts(token: &str) -> [&str; 3] {
    let parts: Vec<&str> = token.split('.').collect();
    parts.try_into().unwrap()
}

#[test]
fn s11_a_signature_has_one_writing() {
    let signer = Signer::hs256();
    let verifier = verifier([signer.key.clone()]);
    let token = signer.token();
    let [header, claims, signature] = parts(&token);
    let bytes = URL_SAFE_NO_PAD.decode(signature).unwrap();
    // 32 bytes leave two bits of the last character over: with those set, it decodes to the same bytes.
    let mut loose = signature.as_bytes().to_vec();
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let last = alphabet.iter().position(|character| character == loose.last().unwrap()).unwrap();
    *loose.last_mut().unwrap() = alphabet[last ^ 1];
    let mut longer = bytes.clone();
    longer.push(0);
    for other in [
        URL_SAFE.encode(&bytes),
        STANDARD.encode(&bytes),
        format!("{signature}=="),
        format!("{signature} "),
        format!(" {signature}"),
        format!("{signature}\n"),
        format!("{}\n{}", &signature[..20], &signature[20..]),
        String::from_utf8(loose).unwrap(),
        URL_SAFE_NO_PAD.encode(longer),
        URL_SAFE_NO_PAD.encode(&bytes[..31]),
        signature.repeat(2),
    ] {
        let refused = verdict(&verifier, &format!("{header}.{claims}.{other}"));
        assert_eq!(refused, Err(TokenError::SignatureInvalid), "{other:?}");
    }
    for (header, claims) in [
        (format!("{header}="), claims.to_owned()),
        (format!(" {header}"), claims.to_owned()),
        (header.to_owned(), format!("{claims}==")),
        (header.to_owned(), format!("{claims}\r\n")),
    ] {
        assert!(verdict(&verifier, &format!("{header}.{claims}.{signature}")).is_err());
    }
    // Even if the signer itself wrote them so.
    let message = format!("{header}=.{claims}");
    let key = jsonwebtoken::EncodingKey::from_secret(SECRET.as_bytes());
    let signed =
        jsonwebtoken::crypto::sign(message.as_bytes(), &key, jsonwebtoken::Algorithm::HS256).unwrap();
    assert_eq!(verdict(&verifier, &format!("{message}.{signed}")), Err(TokenError::Encoding(Part::Header)));
    let message = format!("{header}.{claims}=");
    let signed =
        jsonwebtoken::crypto::sign(message.as_bytes(), &key, jsonwebtoken::Algorithm::HS256).unwrap();
    assert_eq!(verdict(&verifier, &format!("{message}.{signed}")), Err(TokenError::Encoding(Part::Claims)));
}

#[test]
fn s11_an_empty_signature_of_ecdsa_is_none() {
    // CVE-2022-21449: r and s of nought once fitted every message.
    let signer = Signer::pair(Algorithm::Es256, None);
    let token = signer.token();
    let [header, claims, _] = parts(&token);
    for bytes in [vec![0; 64], vec![0; 1], vec![0xff; 64], vec![0x30, 6, 2, 1, 0, 2, 1, 0]] {
        let forged = format!("{header}.{claims}.{}", URL_SAFE_NO_PAD.encode(bytes));
        assert_eq!(verdict(&verifier([signer.key.clone()]), &forged), Err(TokenError::SignatureInvalid));
    }
}

#[test]
fn s12_a_kid_is_a_name_and_nothing_else() {
    let named = Signer::secret(Algorithm::Hs256, Some("2026-11"), SECRET.as_bytes());
    let verifier = verifier([named.key.clone()]);
    assert!(verdict(&verifier, &named.token()).is_ok());
    for kid in [
        json!("../../../../dev/null"),
        json!("/etc/passwd"),
        json!("a' OR '1'='1"),
        json!("k\u{0}"),
        json!("2026-11\u{0}"),
        json!("2026-11\n"),
        json!("https://evil.example/keys"),
        json!("$(id)"),
        json!("{{kid}}"),
        json!("é"),
        json!(""),
        json!("k".repeat(129)),
        json!(1),
        json!(null),
        json!(["2026-11"]),
        json!({ "kid": "2026-11" }),
    ] {
        let token = named.headed(&json!({ "alg": "HS256", "kid": kid }).to_string());
        assert_eq!(verdict(&verifier, &token), Err(TokenError::KidInvalid), "{kid}");
    }
    for unknown in ["2026-12", "2026-1", "__proto__", "constructor", &"k".repeat(128)] {
        let token = named.headed(&json!({ "alg": "HS256", "kid": unknown }).to_string());
        assert_eq!(verdict(&verifier, &token), Err(TokenError::KeyUnknown), "{unknown}");
    }
    let unnamed = named.headed(r#"{"alg":"HS256"}"#);
    assert!(verdict(&verifier, &unnamed).is_ok(), "the only key of that algorithm");
}

#[test]
fn s12_a_key_that_is_named_is_the_only_one_tried() {
    let first = Signer::pair(Algorithm::Es256, Some("first"));
    let second = Signer::pair(Algorithm::Es256, Some("second"));
    let verifier = verifier([first.key.clone(), second.key.clone()]);
    assert!(verdict(&verifier, &first.token()).is_ok() && verdict(&verifier, &second.token()).is_ok());
    let crossed = first.headed(r#"{"alg":"ES256","kid":"second"}"#);
    assert_eq!(verdict(&verifier, &crossed), Err(TokenError::SignatureInvalid));
    assert!(verdict(&verifier, &second.headed(r#"{"alg":"ES256"}"#)).is_ok(), "without a name, either");
}

#[test]
fn s12_a_key_that_comes_with_the_token_is_ignored() {
    let ours = Signer::pair(Algorithm::Es256, None);
    let theirs = Signer::pair(Algorithm::Es256, None);
    for header in [
        json!({ "alg": "ES256", "jwk": theirs.jwk }),
        json!({ "alg": "ES256", "jku": "https://evil.example/jwks.json" }),
        json!({ "alg": "ES256", "x5u": "https://evil.example/cert.pem" }),
        json!({ "alg": "ES256", "x5c": ["MIIB"] }),
    ] {
        let verifier = verifier([ours.key.clone()]);
        let forged = theirs.headed(&header.to_string());
        assert_eq!(verdict(&verifier, &forged), Err(TokenError::SignatureInvalid), "{header}");
        assert!(verdict(&verifier, &ours.headed(&header.to_string())).is_ok(), "and does no harm");
    }
}

#[test]
fn s12_extensions_that_we_do_not_know_are_refused() {
    let signer = Signer::hs256();
    let verifier = verifier([signer.key.clone()]);
    for (header, name) in [
        (json!({ "alg": "HS256", "crit": ["exp"], "exp": 1 }), "crit"),
        (json!({ "alg": "HS256", "crit": [] }), "crit"),
        (json!({ "alg": "HS256", "crit": null }), "crit"),
        (json!({ "alg": "HS256", "b64": false, "crit": ["b64"] }), "crit"),
        (json!({ "alg": "HS256", "b64": false }), "b64"),
        (json!({ "alg": "HS256", "b64": true }), "b64"),
    ] {
        let token = signer.headed(&header.to_string());
        assert_eq!(verdict(&verifier, &token), Err(TokenError::ExtensionRefused(name)), "{header}");
    }
}

#[test]
fn s14_a_token_of_another_type_is_refused() {
    let signer = Signer::hs256();
    let verifier = verifier([signer.key.clone()]);
    for good in ["JWT", "jwt", "at+jwt", "AT+JWT", "application/at+jwt"] {
        assert!(
            verdict(&verifier, &signer.headed(&json!({ "alg": "HS256", "typ": good }).to_string())).is_ok()
        );
    }
    for bad in ["logout+jwt", "secevent+jwt", "dpop+jwt", "JOSE", "JWE", "", "jwt ", "text/at+jwt"] {
        let token = signer.headed(&json!({ "alg": "HS256", "typ": bad }).to_string());
        assert_eq!(verdict(&verifier, &token), Err(TokenError::TypeRefused), "{bad:?}");
    }
    for odd in [json!(null), json!(1), json!(["JWT"])] {
        let token = signer.headed(&json!({ "alg": "HS256", "typ": odd }).to_string());
        assert_eq!(verdict(&verifier, &token), Err(TokenError::Header("`typ` is not a text")));
    }
}

#[test]
fn s14_a_header_says_everything_once() {
    let signer = Signer::hs256();
    let verifier = verifier([signer.key.clone()]);
    for twice in [r#"{"alg":"none","alg":"HS256"}"#, r#"{"alg":"HS256","\u0061lg":"none"}"#] {
        let refused = verdict(&verifier, &signer.headed(twice));
        assert_eq!(refused, Err(TokenError::Json(Part::Header, JsonFault::Duplicate)));
    }
}

#[test]
fn s17_no_claim_is_looked_at_before_the_signature() {
    let signer = Signer::hs256();
    let verifier = verifier([signer.key.clone()]);
    // Whatever stands in the second part, a wrong signature is all that is said.
    for claims in [
        claims().to_string(),
        json!({ "sub": "alice", "exp": 1 }).to_string(),
        r#"{"exp":1,"exp":2}"#.to_owned(),
        "not JSON".into(),
        "[".repeat(3_000),
        String::new(),
    ] {
        let forged = format!("{}.{}.AAAA", encode(r#"{"alg":"HS256"}"#), encode(&claims));
        assert_eq!(verdict(&verifier, &forged), Err(TokenError::SignatureInvalid));
    }
    let undecodable = format!("{}.*.AAAA", encode(r#"{"alg":"HS256"}"#));
    assert_eq!(verdict(&verifier, &undecodable), Err(TokenError::SignatureInvalid));
}

#[test]
fn s13_a_token_has_8_kib_at_most() {
    let signer = Signer::hs256();
    let verifier = verifier([signer.key.clone()]);
    let padded = |count: usize| {
        signer.claiming(&json!({ "sub": "alice", "exp": NOW_S + 600, "pad": "x".repeat(count) }).to_string())
    };
    assert!(verdict(&verifier, &padded(5_900)).is_ok());
    let long = padded(6_100);
    assert!(long.len() > TOKEN_BYTES_MAX);
    assert_eq!(verdict(&verifier, &long), Err(TokenError::TooLong { bytes: long.len() }));
}

#[test]
fn a_few_keys_of_one_algorithm_are_tried_and_more_have_to_be_named() {
    let signers: Vec<Signer> = (0..5).map(|_| Signer::pair(Algorithm::EdDsa, None)).collect();
    let keys = |count: usize| signers[..count].iter().map(|signer| signer.key.clone());
    let verifier = verifier(keys(4));
    for signer in &signers[..4] {
        assert!(verdict(&verifier, &signer.token()).is_ok());
        let named = signer.headed(r#"{"alg":"EdDSA","kid":"any"}"#);
        assert!(verdict(&verifier, &named).is_ok(), "a key without a name answers to any");
    }
    assert_eq!(KeySet::new(keys(5)).unwrap_err(), KeyError::Unnamed { algorithm: Algorithm::EdDsa });
    let twin = Signer::pair(Algorithm::EdDsa, Some("a")).key;
    assert_eq!(KeySet::new([twin.clone(), twin]).unwrap_err(), KeyError::Twice { kid: "a".into() });
}

#[test]
fn s15_a_weak_rsa_key_or_a_key_of_another_kind_is_refused_when_it_is_read() {
    let ec = Signer::pair(Algorithm::Es256, None).public_pem;
    let ed = Signer::pair(Algorithm::EdDsa, None).public_pem;
    for (algorithm, pem) in [
        (Algorithm::Es256, &ed),
        (Algorithm::EdDsa, &ec),
        (Algorithm::Rs256, &ec),
        (Algorithm::Ps256, &ed),
        (Algorithm::Hs256, &ec),
    ] {
        assert_eq!(Key::pem(algorithm, None, pem).unwrap_err(), KeyError::WrongKind { algorithm });
    }
    let private = KeyPair::generate(Algorithm::Es256).unwrap().unwrap().private_pem;
    assert_eq!(Key::pem(Algorithm::Es256, None, &private).unwrap_err(), KeyError::Private);
    for nothing in ["", "secret", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        assert_eq!(Key::pem(Algorithm::Rs256, None, nothing).unwrap_err(), KeyError::NotPem);
    }
    let weak = Key::secret(Algorithm::Hs256, None, b"secret", Strength::Required);
    assert!(matches!(weak, Err(KeyError::Weak(_))));
    assert!(Key::secret(Algorithm::Hs256, None, b"secret", Strength::Waived).is_ok());
    let pem = Key::secret(Algorithm::Hs256, None, ec.as_bytes(), Strength::Waived);
    assert!(matches!(pem, Err(KeyError::Weak(_))), "not even in dev mode");
}

#[test]
fn s49_debug_output_shows_no_secret() {
    let signer = Signer::hs256();
    let verifier = verifier([signer.key.clone()]);
    let claims = verdict(&verifier, &signer.token()).unwrap();
    let shown = format!("{:?} {:?} {:?} {:?}", signer.key, signer.signing, verifier, claims);
    assert!(!shown.contains(SECRET) && !shown.contains("alice") && !shown.contains("orders"), "{shown}");
}

#[test]
fn other_keys_and_rules_hold_from_the_moment_they_are_given() {
    let (old, new) =
        (Signer::pair(Algorithm::Es256, Some("old")), Signer::pair(Algorithm::Es256, Some("new")));
    let verifier = verifier([old.key.clone()]);
    let before = verifier.generation();
    assert_eq!(before, verifier.generation());
    verifier.replace(Options { keys: KeySet::new([new.key.clone()]).unwrap(), ..Options::default() });
    assert_ne!(before, verifier.generation(), "remembered verdicts are void");
    assert_eq!(verdict(&verifier, &old.token()), Err(TokenError::KeyUnknown));
    assert!(verdict(&verifier, &new.token()).is_ok());
}
