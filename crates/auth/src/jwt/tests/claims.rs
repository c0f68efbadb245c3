//! What a well-signed token may say, and what it must not (security rules S13, S14).

use tidewire_hub::Channel;
use tidewire_hub::grant::Holder;

use super::*;
use crate::jwt::error::{JsonFault, Part};

/// The verdict on claims that were signed with the right key.
fn read(claims: &Value) -> Result<Claims, TokenError> {
    read_text(&claims.to_string())
}

fn read_text(claims: &str) -> Result<Claims, TokenError> {
    let signer = Signer::hs256();
    verdict(&verifier([signer.key.clone()]), &signer.claiming(claims))
}

fn with(name: &str, value: Value) -> Value {
    let mut claims = claims();
    claims[name] = value;
    claims
}

fn ruled(rules: Rules, claims: &Value) -> Result<Claims, TokenError> {
    let signer = Signer::hs256();
    let keys = KeySet::new([signer.key.clone()]).unwrap();
    let verifier = Verifier::new(Options { keys, jwks: None, rules });
    verdict(&verifier, &signer.claiming(&claims.to_string()))
}

#[test]
fn claims_become_a_subject_a_name_times_and_four_scopes() {
    let claims = read(&json!({
        "sub": "alice", "jti": "t-1", "iat": NOW_S - 5, "nbf": NOW_S - 5, "exp": NOW_S + 600,
        "iss": "anyone", "aud": ["x"], "scope": "ignored", "name": { "nested": [1, 2.5, -3, true, null] },
        "channels": { "subscribe": ["prices", "orders:*"], "publish": ["chat"], "history": ["prices"] },
    }));
    let claims = claims.unwrap();
    assert_eq!((&*claims.subject, claims.id.as_deref()), ("alice", Some("t-1")));
    assert_eq!((claims.issued_at_s, claims.expires_at_s), (NOW_S - 5, NOW_S + 600));
    let holds = |scope: &tidewire_hub::Scope, name: &str| scope.holds(&Channel::parse(name).unwrap());
    assert!(holds(&claims.subscribe, "orders:7") && holds(&claims.subscribe, "prices"));
    assert!(holds(&claims.publish, "chat") && !holds(&claims.publish, "prices"));
    assert!(holds(&claims.history, "prices") && !holds(&claims.history, "orders:7"));
    assert!(claims.presence.patterns().is_empty());
    let grant = claims.into_grant(NOW);
    assert_eq!(grant.ends_at_ms, Some(NOW.monotonic_ms + 600_000));
    let Holder::Token(token) = grant.holder else { panic!() };
    assert_eq!((&*token.subject, token.issued_at_s), ("alice", NOW_S - 5));
}

#[test]
fn a_token_without_channels_grants_none() {
    let claims = read(&claims()).unwrap();
    for scope in [&claims.subscribe, &claims.publish, &claims.presence, &claims.history] {
        assert!(scope.patterns().is_empty());
    }
    assert_eq!((claims.id, claims.issued_at_s), (None, 0));
}

/// jsonwebtoken CVE-2026-25537: a time of the wrong type was taken for an absent one.
#[test]
fn s13_a_time_of_the_wrong_type_is_refused_and_not_taken_for_absent() {
    for name in ["exp", "nbf", "iat"] {
        for wrong in [
            json!("9999999999"),
            json!((NOW_S + 600).to_string()),
            json!(""),
            json!("x"),
            json!(-1),
            json!(-9_999_999_999_i64),
            json!(0.5),
            json!(1_795_000_600.0),
            json!([NOW_S + 600]),
            json!({ "seconds": NOW_S + 600 }),
            json!(true),
            json!(null),
        ] {
            let refused = read(&with(name, wrong.clone()));
            assert!(
                matches!(refused, Err(TokenError::ClaimInvalid(claim, _)) if claim == name),
                "{name} {wrong}"
            );
        }
        for (wrong, malformed) in
            [("1e400", true), ("-1e400", true), ("1e9", false), ("18446744073709551616", false)]
        {
            let others = if name == "exp" { String::new() } else { format!(r#","exp":{}"#, NOW_S + 600) };
            let refused = read_text(&format!(r#"{{"sub":"alice","{name}":{wrong}{others}}}"#));
            let expected = if malformed {
                Err(TokenError::Json(Part::Claims, JsonFault::Malformed))
            } else {
                Err(TokenError::ClaimInvalid(name, "a whole number of seconds since 1970"))
            };
            assert_eq!(refused, expected, "{name} {wrong}");
        }
    }
    assert_eq!(read(&json!({ "sub": "alice" })), Err(TokenError::ClaimMissing("exp")));
}

#[test]
fn s13_a_token_ends_at_its_exp_and_30_seconds_later() {
    assert!(read(&with("exp", json!(NOW_S + 1))).is_ok());
    assert!(read(&with("exp", json!(NOW_S - 29))).is_ok());
    assert_eq!(read(&with("exp", json!(NOW_S - 30))), Err(TokenError::Expired { ago_s: 30 }));
    assert_eq!(read(&with("exp", json!(0))), Err(TokenError::Expired { ago_s: NOW_S }));
    let late = read(&with("exp", json!(NOW_S - 10))).unwrap();
    let ends_at_ms = late.into_grant(NOW).ends_at_ms;
    assert_eq!(ends_at_ms, Some(NOW.monotonic_ms), "the leeway admits; it does not prolong");
}

#[test]
fn s13_a_token_begins_at_its_nbf_and_iat() {
    for name in ["nbf", "iat"] {
        assert!(read(&with(name, json!(0))).is_ok());
        assert!(read(&with(name, json!(NOW_S + 30))).is_ok());
        assert_eq!(read(&with(name, json!(NOW_S + 31))), Err(TokenError::NotYet(name, 31)));
        assert!(read(&with(name, json!(u64::MAX))).is_err());
    }
}

#[test]
fn s13_a_token_may_last_24_hours() {
    let day = 24 * 3_600;
    assert!(read(&with("exp", json!(NOW_S + day))).is_ok());
    assert!(read(&with("exp", json!(NOW_S + day + 30))).is_ok(), "clocks may differ");
    let refused = read(&with("exp", json!(NOW_S + day + 31)));
    assert_eq!(refused, Err(TokenError::LastsTooLong { lasts_s: day + 31, max_s: day }));
    for endless in [9_999_999_999_u64, 253_402_300_799, u64::MAX] {
        assert!(
            matches!(read(&with("exp", json!(endless))), Err(TokenError::LastsTooLong { .. })),
            "{endless}"
        );
    }
    let mut ahead = with("iat", json!(NOW_S + 20));
    ahead["exp"] = json!(NOW_S + 20 + day);
    assert!(read(&ahead).is_ok());
    let hour = Rules { lifetime_max: std::time::Duration::from_secs(3_600), ..Rules::default() };
    assert!(ruled(hour.clone(), &with("exp", json!(NOW_S + 3_600))).is_ok());
    assert!(ruled(hour, &with("exp", json!(NOW_S + 3_700))).is_err());
}

#[test]
fn s13_a_subject_is_a_text_of_1_to_256_bytes() {
    assert_eq!(read(&json!({ "exp": NOW_S + 600 })), Err(TokenError::ClaimMissing("sub")));
    assert!(read(&with("sub", json!("x".repeat(256)))).is_ok());
    for wrong in
        [json!(""), json!("x".repeat(257)), json!("é".repeat(129)), json!(7), json!(null), json!(["alice"])]
    {
        for name in ["sub", "jti"] {
            let refused = read(&with(name, wrong.clone()));
            assert!(
                matches!(refused, Err(TokenError::ClaimInvalid(claim, _)) if claim == name),
                "{name} {wrong}"
            );
        }
    }
}

#[test]
fn s14_the_issuer_is_the_configured_one() {
    let rules = Rules { issuer: Some("https://id.example".into()), ..Rules::default() };
    assert!(ruled(rules.clone(), &with("iss", json!("https://id.example"))).is_ok());
    assert_eq!(ruled(rules.clone(), &claims()), Err(TokenError::ClaimMissing("iss")));
    for foreign in ["https://id.example/", "https://evil.example", "", "HTTPS://ID.EXAMPLE"] {
        assert_eq!(ruled(rules.clone(), &with("iss", json!(foreign))), Err(TokenError::IssuerRefused));
    }
    for wrong in [json!(["https://id.example"]), json!(null), json!(1)] {
        assert_eq!(
            ruled(rules.clone(), &with("iss", wrong.clone())),
            Err(TokenError::ClaimInvalid("iss", "a text"))
        );
        assert!(read(&with("iss", wrong)).is_err(), "even where any issuer will do");
    }
}

#[test]
fn s14_the_audience_is_a_text_or_a_list_with_the_configured_one() {
    let rules = Rules { audience: Some("tidewire".into()), ..Rules::default() };
    for good in [json!("tidewire"), json!(["tidewire"]), json!(["other", "tidewire"])] {
        assert!(ruled(rules.clone(), &with("aud", good)).is_ok());
    }
    assert_eq!(ruled(rules.clone(), &claims()), Err(TokenError::ClaimMissing("aud")));
    for foreign in [json!("other"), json!([]), json!(["other"]), json!("tidewire other"), json!("")] {
        assert_eq!(ruled(rules.clone(), &with("aud", foreign)), Err(TokenError::AudienceRefused));
    }
    for wrong in [
        json!(["tidewire", 1]),
        json!({ "aud": "tidewire" }),
        json!(null),
        json!(true),
        json!([["tidewire"]]),
    ] {
        let refused = ruled(rules.clone(), &with("aud", wrong.clone()));
        assert!(matches!(refused, Err(TokenError::ClaimInvalid("aud", _))), "{wrong}");
        assert!(read(&with("aud", wrong)).is_err(), "even where any audience will do");
    }
}

#[test]
fn s14_claims_say_everything_once() {
    let exp = NOW_S + 600;
    for twice in [
        format!(r#"{{"sub":"alice","sub":"bob","exp":{exp}}}"#),
        format!(r#"{{"sub":"alice","exp":{exp},"exp":9999999999}}"#),
        format!(r#"{{"sub":"alice","exp":{exp},"\u0073ub":"bob"}}"#),
        format!(r#"{{"sub":"alice","exp":{exp},"channels":{{"publish":[],"publish":["*"]}}}}"#),
        format!(r#"{{"sub":"alice","exp":{exp},"unknown":{{"a":1,"a":1}}}}"#),
    ] {
        assert_eq!(read_text(&twice), Err(TokenError::Json(Part::Claims, JsonFault::Duplicate)), "{twice}");
    }
}

#[test]
fn s13_claims_are_one_object_of_bounded_depth() {
    for text in ["", "null", "[]", "\"alice\"", "{}{}", "{", "{\"sub\":\"alice\"}x", "<xml/>"] {
        assert!(matches!(read_text(text), Err(TokenError::Json(Part::Claims, _))), "{text}");
    }
    let exp = NOW_S + 600;
    let deep = |levels: usize| {
        read_text(&format!(
            r#"{{"sub":"alice","exp":{exp},"x":{}{}}}"#,
            "[".repeat(levels),
            "]".repeat(levels)
        ))
    };
    assert!(deep(15).is_ok());
    assert_eq!(deep(16), Err(TokenError::Json(Part::Claims, JsonFault::TooDeep)));
}

#[test]
fn s13_a_token_lists_256_patterns_at_most() {
    let list = |count: usize| json!(vec!["a"; count]);
    let channels = |a: usize, b: usize| with("channels", json!({ "subscribe": list(a), "publish": list(b) }));
    assert!(read(&channels(256, 0)).is_ok() && read(&channels(128, 128)).is_ok());
    assert_eq!(read(&channels(257, 0)), Err(TokenError::TooManyPatterns));
    assert_eq!(read(&channels(129, 128)), Err(TokenError::TooManyPatterns));
}

#[test]
fn s28_a_pattern_that_cannot_be_read_refuses_the_token() {
    for pattern in ["", "$sys", "orders*", "a b", "(a+)+$", "é", &"x".repeat(129), "a/../b"] {
        let refused = read(&with("channels", json!({ "subscribe": ["prices", pattern] })));
        assert!(matches!(refused, Err(TokenError::Pattern(_))), "{pattern:?}");
    }
    for wrong in [
        json!([]),
        json!("*"),
        json!(null),
        json!({ "subscribe": "*" }),
        json!({ "subscribe": null }),
        json!({ "subscribe": { "0": "*" } }),
        json!({ "publish": ["a", 1] }),
        json!({ "publish": [["a"]] }),
    ] {
        let refused = read(&with("channels", wrong.clone()));
        assert!(matches!(refused, Err(TokenError::ClaimInvalid("channels", _))), "{wrong}");
    }
    for unknown in ["subscribed", "Subscribe", "admin", "*", ""] {
        let refused = read(&with("channels", json!({ "subscribe": ["a"], unknown: ["*"] })));
        assert_eq!(refused, Err(TokenError::ChannelsUnknown(unknown.into())), "{unknown:?}");
    }
}

#[test]
fn every_refusal_explains_itself_in_one_line() {
    for error in [
        read(&with("exp", json!(1))).unwrap_err(),
        read(&with("channels", json!({ "a\nb\u{1b}[2J": [] }))).unwrap_err(),
        TokenError::KeyUnknown,
        TokenError::KeysUnavailable,
    ] {
        let words = error.to_string();
        assert!(words.len() > 10 && !words.contains(|char: char| char.is_control()), "{words:?}");
    }
    assert!(TokenError::KeysUnavailable.is_ours() && !TokenError::SignatureInvalid.is_ours());
}
