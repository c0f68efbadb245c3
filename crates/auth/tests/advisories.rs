//! What let strangers into other servers, done to the whole gate: real tokens, a real verifier, real lists. Each test
//! names its advisory.

#![allow(clippy::unwrap_used)] // The words of a test outside its functions; a panic is their report too.

mod rig;

use std::net::TcpListener;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rig::{Bench, SSE, WS, asked, channel, subject};
use serde_json::{Value, json};
use tidewire_auth::allow::Origins;
use tidewire_auth::hosts::Hosts;
use tidewire_auth::jwt::{Algorithm, Key, KeySet, Options, Strength, Verifier};
use tidewire_auth::{Rules, Settings};
use tidewire_hub::grant::{Asked, Grant};
use tidewire_hub::reason::Reason;

const SECRET: &str = "only-these-tests-sign-with-this-secret-0123456789";
const NOW_S: u64 = rig::START.wall_ms / 1_000;

/// A gate that verifies tokens as a server does.
fn bench() -> Bench {
    let bench = Bench::new();
    let key = Key::secret(Algorithm::Hs256, None, SECRET.as_bytes(), Strength::Required).unwrap();
    let options = Options { keys: KeySet::new([key]).unwrap(), ..Options::default() };
    let verifier = Arc::new(Verifier::new(options));
    bench.gate.reload(Rules { verifier: Some(verifier), ..bench.rules(Settings::default()) }).unwrap();
    bench
}

fn token(header: &Value, claims: &str, secret: &str) -> String {
    let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
    let message = format!("{}.{}", part(&header.to_string()), part(claims));
    let key = jsonwebtoken::EncodingKey::from_secret(secret.as_bytes());
    let signature =
        jsonwebtoken::crypto::sign(message.as_bytes(), &key, jsonwebtoken::Algorithm::HS256).unwrap();
    format!("{message}.{signature}")
}

fn signed(claims: &Value) -> String {
    token(&json!({ "alg": "HS256" }), &claims.to_string(), SECRET)
}

fn enter(bench: &Bench, token: &str) -> Result<Arc<Grant>, Reason> {
    let bearer = format!("Bearer {token}");
    bench.enter(&Asked { authorization: Some(&bearer), ..asked(SSE) })
}

#[test]
fn s12_centrifugo_cve_2026_32301_no_claim_says_where_keys_are_fetched() {
    // There, the address of the key set was made of claims that nobody had verified yet.
    let canary = TcpListener::bind("127.0.0.1:0").unwrap();
    canary.set_nonblocking(true).unwrap();
    let (bench, there) = (bench(), format!("http://{}/keys", canary.local_addr().unwrap()));
    let claims = json!({ "sub": "alice", "exp": NOW_S + 600, "iss": there, "aud": there, "tenant": there, "azp": there });
    let header = json!({
        "alg": "HS256", "kid": "k", "jku": there, "x5u": there, "jwk": { "kty": "oct", "k": "c2VjcmV0" }, "x5c": [there],
    });
    for header in
        [header, json!({ "alg": "HS256", "kid": there }), json!({ "alg": "HS256", "kid": "../../keys" })]
    {
        let forged = token(&header, &claims.to_string(), "the-attackers-own-secret-0123456789abcdef");
        assert_eq!(enter(&bench, &forged).unwrap_err(), Reason::Unauthorized, "{header}");
    }
    assert_eq!(
        subject(&enter(&bench, &signed(&claims)).unwrap()),
        "alice",
        "what a claim says is only a text"
    );
    assert!(canary.accept().is_err(), "somebody was there");
}

#[test]
fn s13_jsonwebtoken_cve_2026_25537_a_claim_of_the_wrong_type_is_not_an_absent_one() {
    let bench = bench();
    let good = json!({ "sub": "alice", "exp": NOW_S + 600, "nbf": NOW_S, "iat": NOW_S });
    assert!(enter(&bench, &signed(&good)).is_ok());
    for (name, wrong) in [
        ("exp", json!("9999999999")),
        ("exp", json!((NOW_S + 600).to_string())),
        ("exp", json!([NOW_S + 600])),
        ("exp", json!(-1)),
        ("exp", json!(1.5)),
        ("exp", json!(null)),
        ("nbf", json!("x")),
        ("nbf", json!((NOW_S + 3_600).to_string())),
        ("nbf", json!({})),
        ("nbf", json!(false)),
        ("iat", json!("x")),
        ("iat", json!(-1)),
    ] {
        let mut claims = good.clone();
        claims[name] = wrong;
        assert_eq!(enter(&bench, &signed(&claims)).unwrap_err(), Reason::Unauthorized, "{claims}");
    }
    let endless = format!(r#"{{"sub":"alice","exp":1e400,"iat":{NOW_S}}}"#);
    let token = token(&json!({ "alg": "HS256" }), &endless, SECRET);
    assert_eq!(enter(&bench, &token).unwrap_err(), Reason::Unauthorized);
}

#[test]
fn s28_mercure_cve_2026_39972_what_is_remembered_of_one_is_never_given_to_another() {
    // There, the key of a cache was made of texts joined by `_`, and `a_b` + `c` was found for `a` + `b_c`.
    let bench = bench();
    let pairs = [(("a_b", "c"), ("a", "b_c")), (("a:b", "c"), ("a", "b:c")), (("a", "b"), ("b", "a"))];
    for round in 0..3 {
        for pair in pairs {
            for (who, (sub, own), other) in [(0, pair.0, pair.1.1), (1, pair.1, pair.0.1)] {
                let claims =
                    json!({ "sub": sub, "jti": own, "exp": NOW_S + 600, "channels": { "subscribe": [own] } });
                let grant = enter(&bench, &signed(&claims)).unwrap();
                assert_eq!(subject(&grant), sub, "round {round}, {who}");
                assert!(
                    grant.may_subscribe(&channel(own)) && !grant.may_subscribe(&channel(other)),
                    "{claims}"
                );
            }
        }
    }
    let both = json!({ "sub": "x", "exp": NOW_S + 600, "channels": { "subscribe": ["a_b", "c:*"] } });
    let grant = enter(&bench, &signed(&both)).unwrap();
    for other in ["a", "b", "a_b_c", "a_b:c", "c", "a_b,c", "c_d"] {
        assert!(
            tidewire_hub::channel::Channel::parse(other)
                .ok()
                .is_none_or(|other| !grant.may_subscribe(&other)),
            "{other}"
        );
    }
}

#[test]
fn s3_phoenix_cve_2022_42975_a_wildcard_matches_below_its_domain_and_nothing_else() {
    let bench = bench();
    let origins = Origins::parse(["https://*.example.com"]).unwrap();
    bench.gate.reload(Rules { origins, ..bench.rules(Settings::default()) }).unwrap();
    let screen = |origin| bench.screen(&Asked { origin: Some(origin), ..asked(WS) }).map(|_| ());
    for below in ["https://x.example.com", "https://x.y.example.com"] {
        assert_eq!(screen(below), Ok(()), "{below}");
    }
    for foreign in [
        "https://example.com",
        "https://evilexample.com",
        "https://.example.com",
        "https://x.example.com.evil",
        "https://x.example.comevil",
        "https://example.com.evil",
        "https://evil/.example.com",
        "https://evil#.example.com",
        "https://evil?.example.com",
        "https://evil@x.example.com",
        "https://evil\\.example.com",
        "http://x.example.com",
        "https://x.example.com:8443",
    ] {
        assert_eq!(screen(foreign), Err(Reason::OriginRefused), "{foreign}");
    }
    for loose in
        ["*.example.com", "https://*", "https://*example.com", "https://x*.example.com", "https://a.*.com"]
    {
        assert!(Origins::parse([loose]).is_err(), "{loose}");
    }
}

#[test]
fn s2_idna_rustsec_2024_0421_punycode_that_decodes_to_ascii_is_no_name() {
    // There, `xn--example-` was decoded into `example`, and one host passed for the other.
    for hidden in ["xn--example-.com", "xn--example.com-", "xn--a-.com", "xn--.com"] {
        assert!(Origins::parse([format!("https://{hidden}").as_str()]).is_err(), "{hidden}");
        assert!(Hosts::parse([hidden]).is_err(), "{hidden}");
    }
    let bench = bench();
    let origins = Origins::parse(["https://example.com", "https://a.com"]).unwrap();
    let hosts = Hosts::parse(["example.com", "a.com"]).unwrap();
    bench.gate.reload(Rules { origins, hosts, ..bench.rules(Settings::default()) }).unwrap();
    for hidden in ["xn--example-.com", "xn--a-.com"] {
        let origin = format!("https://{hidden}");
        let page = Asked { origin: Some(&origin), host: Some("example.com"), ..asked(WS) };
        assert_eq!(bench.screen(&page).map(|_| ()), Err(Reason::OriginRefused), "{hidden}");
        let called = Asked { host: Some(hidden), ..asked(WS) };
        assert_eq!(bench.screen(&called).map(|_| ()), Err(Reason::HostRefused), "{hidden}");
    }
}
