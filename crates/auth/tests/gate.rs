//! Tokens, API keys and rules at the gate (security rules S16 to S18, S25 to S28, S50).

#![allow(clippy::unwrap_used)] // The words of a test outside its functions; a panic is their report too.

mod rig;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use rig::{Bench, OTHER_PAGE, PAGE, POLL, SSE, WS, answer, asked, channel, scope, subject};
use tidewire_auth::allow::Origins;
use tidewire_auth::api_key::{self, ApiKeys, Powers};
use tidewire_auth::jwt::{Options, Verifier};
use tidewire_auth::rules::RulesError;
use tidewire_auth::{Claims, Rules, Settings, Verify};
use tidewire_hub::grant::{Action, Asked, Denied, Gate, Holder};
use tidewire_hub::reason::Reason;
use tidewire_hub::revocation::{Revocation, Revoked};

fn bearer<'a>(action: Action, authorization: &'a str) -> Asked<'a> {
    Asked { authorization: Some(authorization), ..asked(action) }
}

fn revoke(bench: &Bench, what: Revoked) {
    let revocation = Revocation { what, at_s: bench.now.wall_ms / 1_000, until_ms: u64::MAX };
    bench.revocations.record(&revocation).unwrap();
}

#[test]
fn a_token_is_taken_from_where_it_may_stand() {
    let settings = Settings { cookie: Some("token".into()), query_token: true, ..Settings::default() };
    let bench = Bench::with(settings);
    let token = bench.token("alice");
    let (header, cookie) = (format!("Bearer {token}"), format!("a=b; token={token}"));
    for action in [SSE, WS] {
        let header = bearer(action, &header);
        let cookie = Asked { cookie: Some(&cookie), origin: Some(PAGE), ..asked(action) };
        let query = Asked { query_token: Some(&token), ..asked(action) };
        for asked in [header, cookie, query] {
            let grant = bench.enter(&asked).unwrap();
            assert_eq!(subject(&grant), "alice");
            assert!(grant.may_subscribe(&channel("prices")) && !grant.may_publish(&channel("prices")));
            assert!(!grant.admin && grant.lasts_ms(bench.now) == Some(3_600_000));
        }
    }
}

#[test]
fn s17_every_401_is_the_same_outside_dev_mode() {
    let bench = Bench::with_cookie();
    let expired = bench.token("expired");
    bench.verifier.tokens.lock().unwrap().remove(&expired);
    revoke(&bench, Revoked::Subject("mallory".into()));
    let revoked = format!("Bearer {}", bench.token("mallory"));
    let (long, key) = ("x".repeat(9_000), api_key::generate().unwrap());
    let wrong = [
        revoked,
        format!("Bearer {expired}"),
        format!("Bearer {long}"),
        format!("Bearer {}", key.reveal()),
        "Bearer tw_".into(),
        "Bearer eyJhbGciOiJub25lIn0.e30.".into(),
    ];
    let same = Denied { forged: true, ..Denied::new(Reason::Unauthorized) };
    for authorization in &wrong {
        for action in [SSE, WS, POLL, Action::Publish, Action::Control, Action::Presence, Action::Ticket] {
            assert_eq!(bench.admit(&bearer(action, authorization)).unwrap_err(), same, "{authorization}");
        }
    }
    for ticket in ["short".to_owned(), "a".repeat(43)] {
        assert_eq!(bench.admit(&Asked { ticket: Some(&ticket), ..asked(SSE) }).unwrap_err(), same);
    }
}

#[test]
fn s17_in_dev_mode_a_refusal_says_why() {
    let bench = Bench::with(Settings { explain: true, ..Settings::default() });
    let why = |asked: Asked<'_>| {
        let denied = bench.admit(&asked).unwrap_err();
        assert_eq!(denied.reason, Reason::Unauthorized);
        denied.detail.unwrap().to_string()
    };
    assert_eq!(why(bearer(SSE, "Bearer x")), "the signature is wrong");
    assert_eq!(why(bearer(SSE, "Bearer tw_x")), "there is no such API key");
    assert!(why(bearer(SSE, "Basic x")).contains("scheme other than Bearer"));
    assert!(why(asked(SSE)).contains("there are no credentials"));
    assert!(why(Asked { cookie: Some("token=x"), ..asked(Action::Publish) }).contains("Authorization alone"));
    assert!(why(Asked { query_token: Some("x"), ..asked(SSE) }).contains("auth.query_token"));
    assert!(why(Asked { ticket: Some(&"a".repeat(43)), ..asked(SSE) }).contains("spent"));
}

#[test]
fn s12_in_dev_mode_a_refusal_tells_of_a_key_whose_name_is_none() {
    let settings = Settings { explain: true, ..Settings::default() };
    let bench = Bench::with(settings.clone());
    let verifier = Some(Arc::new(Verifier::new(Options::default())) as Arc<dyn Verify>);
    bench.gate.reload(Rules { verifier, ..bench.rules(settings) }).unwrap();
    // {"alg":"ES256","kid":"https://id.example/1"}
    let token = "eyJhbGciOiJFUzI1NiIsImtpZCI6Imh0dHBzOi8vaWQuZXhhbXBsZS8xIn0.e30.AAAA";
    let denied = bench.admit(&bearer(SSE, &format!("Bearer {token}"))).unwrap_err();
    assert!(denied.detail.unwrap().contains("`kid` is not 1 to 128 characters"));
}

#[test]
fn s38_who_brings_nothing_has_forged_nothing() {
    let bench = Bench::new();
    for action in [SSE, WS, POLL, Action::Publish, Action::Control, Action::Presence, Action::Ticket] {
        let denied = bench.admit(&asked(action)).unwrap_err();
        assert_eq!(denied, Denied::new(Reason::Unauthorized), "{action:?}");
    }
    let query = Asked { query_token: Some("x"), ..asked(SSE) };
    assert!(!bench.admit(&query).unwrap_err().forged, "what does not count was not tried");
    assert!(bench.admit(&bearer(SSE, "Bearer x")).unwrap_err().forged);
}

#[test]
fn two_credentials_in_one_request_are_refused_and_nothing_is_spent() {
    let bench = Bench::new();
    let header = format!("Bearer {}", bench.token("alice"));
    let ticket = bench.ticket("bob", None);
    let both = Asked { ticket: Some(&ticket), ..bearer(SSE, &header) };
    let denied = bench.admit(&both).unwrap_err();
    assert_eq!((denied.reason, denied.forged), (Reason::BadRequest, false));
    assert!(denied.detail.unwrap().contains("two credentials"));
    assert!(bench.enter(&Asked { ticket: Some(&ticket), ..asked(SSE) }).is_ok());
}

#[test]
fn s18_a_token_in_the_query_needs_the_flag() {
    let off = Bench::new();
    let token = off.token("alice");
    let query = Asked { query_token: Some(&token), ..asked(SSE) };
    assert_eq!(off.enter(&query).unwrap_err(), Reason::Unauthorized);
    let on = Bench::with(Settings { query_token: true, ..Settings::default() });
    on.token("alice");
    assert!(on.enter(&query).is_ok());
    assert_eq!(
        on.enter(&Asked { query_token: Some(&token), ..asked(POLL) }).unwrap_err(),
        Reason::Unauthorized
    );
}

#[test]
fn s50_an_api_key_counts_in_authorization_and_nowhere_else() {
    let settings = Settings { cookie: Some("token".into()), query_token: true, ..Settings::default() };
    let bench = Bench::with(settings);
    let key = bench.key.reveal();
    let (header, cookie) = (format!("Bearer {key}"), format!("token={key}"));
    for action in [SSE, WS, POLL, Action::Publish, Action::Control, Action::Presence, Action::Ticket] {
        let grant = bench.enter(&bearer(action, &header)).unwrap();
        assert_eq!(grant.holder, Holder::Key("shop".into()));
        assert!(grant.admin && grant.ends_at_ms.is_none());
    }
    let cookie = Asked { cookie: Some(&cookie), origin: Some(PAGE), ..asked(SSE) };
    for asked in [cookie, Asked { query_token: Some(key), ..asked(SSE) }] {
        assert_eq!(bench.enter(&asked).unwrap_err(), Reason::Unauthorized);
    }
    assert_eq!(bench.enter(&Asked { ticket: Some(key), ..asked(SSE) }).unwrap_err(), Reason::Unauthorized);
}

#[test]
fn s50_the_control_api_needs_the_admin_scope_which_no_token_has() {
    let bench = Bench::new();
    let key = api_key::generate().unwrap();
    let powers = Powers { publish: true, ..Powers::default() };
    let entry = api_key::Entry::of("feed", powers, &key).unwrap();
    let api_keys = ApiKeys::new(&[entry]).unwrap();
    bench.gate.reload(Rules { api_keys, ..bench.rules(Settings::default()) }).unwrap();
    let (key, token) = (format!("Bearer {}", key.reveal()), format!("Bearer {}", bench.token("alice")));
    for authorization in [&key, &token] {
        let denied = bench.admit(&bearer(Action::Control, authorization)).unwrap_err();
        assert_eq!(denied.reason, Reason::Forbidden);
        assert!(denied.detail.unwrap().contains("scope `admin`") && !denied.forged);
        for action in [Action::Publish, Action::Presence] {
            assert!(bench.enter(&bearer(action, authorization)).is_ok(), "{action:?}");
        }
    }
}

#[test]
fn s25_a_token_is_renewed_by_another_and_by_nothing_else() {
    let bench = Bench::new();
    let token = bench.token("alice");
    assert_eq!(subject(&bench.renew(&token).unwrap()), "alice");
    let ticket = bench.ticket("alice", None);
    for wrong in ["", "x", "Bearer x", &ticket] {
        assert_eq!(bench.renew(wrong).unwrap_err(), Reason::Unauthorized, "{wrong}");
    }
    revoke(&bench, Revoked::Subject("alice".into()));
    assert_eq!(bench.renew(&token).unwrap_err(), Reason::Unauthorized);
}

#[test]
fn a_token_is_verified_once_until_it_expires() {
    let mut bench = Bench::new();
    let header = format!("Bearer {}", bench.token("alice"));
    for _ in 0..3 {
        bench.enter(&bearer(Action::Publish, &header)).unwrap();
    }
    bench.renew(&header["Bearer ".len()..]).unwrap();
    assert_eq!(bench.verifier.asked(), 1);
    // A wall clock that is set back does not prolong what the steady clock has ended.
    bench.pass(Duration::from_secs(3_600));
    bench.now.wall_ms -= 3_600_000;
    bench.enter(&bearer(Action::Publish, &header)).unwrap();
    assert_eq!(bench.verifier.asked(), 2);
    bench.enter(&bearer(Action::Publish, "Bearer x")).unwrap_err();
    bench.enter(&bearer(Action::Publish, "Bearer x")).unwrap_err();
    assert_eq!(bench.verifier.asked(), 4, "what was refused is not remembered");
}

#[test]
fn s26_a_revoked_token_does_not_come_back_from_memory() {
    for what in [Revoked::Subject("alice".into()), Revoked::Token("id-of-alice".into())] {
        let bench = Bench::new();
        let (alice, bob) = ["alice", "bob"].map(|name| format!("Bearer {}", bench.token(name))).into();
        bench.enter(&bearer(SSE, &alice)).unwrap();
        revoke(&bench, what);
        assert_eq!(bench.enter(&bearer(SSE, &alice)).unwrap_err(), Reason::Unauthorized);
        assert!(bench.enter(&bearer(SSE, &bob)).is_ok());
    }
}

#[test]
fn s26_who_logs_in_again_after_a_revocation_is_let_in() {
    let mut bench = Bench::new();
    revoke(&bench, Revoked::Subject("alice".into()));
    bench.pass(Duration::from_secs(1));
    let issued_at_s = bench.now.wall_ms / 1_000;
    let claims = Claims { issued_at_s, ..rig::claims("alice", issued_at_s + 60) };
    bench.verifier.tokens.lock().unwrap().insert("new".into(), claims);
    assert!(bench.enter(&bearer(SSE, "Bearer new")).is_ok());
    let undated = Claims { issued_at_s: 0, ..rig::claims("alice", issued_at_s + 60) };
    bench.verifier.tokens.lock().unwrap().insert("undated".into(), undated);
    assert_eq!(bench.enter(&bearer(SSE, "Bearer undated")).unwrap_err(), Reason::Unauthorized);
}

#[test]
fn s27_rights_are_those_of_the_token_that_was_shown_last() {
    let bench = Bench::new();
    let old = bench.renew(&bench.token("alice")).unwrap();
    assert!(old.may_read_history(&channel("prices")));
    let narrower = Claims { subscribe: scope(&["news"]), ..rig::claims("alice", 1_700_003_600) };
    bench.verifier.tokens.lock().unwrap().insert("narrower".into(), narrower);
    let new = bench.renew("narrower").unwrap();
    assert!(!new.may_subscribe(&channel("prices")) && !new.may_read_history(&channel("prices")));
}

#[test]
fn s28_two_tokens_are_never_taken_for_one_another() {
    // Mercure CVE-2026-39972: keys joined from parts made two subscribers' answers one.
    let bench = Bench::new();
    for (a, b) in [("a_b", "a"), ("a", "a_b"), ("a:b", "a"), ("A", "a")] {
        for name in [a, b, a, b] {
            let header = format!("Bearer {}", bench.token(name));
            assert_eq!(subject(&bench.enter(&bearer(SSE, &header)).unwrap()), name);
        }
    }
}

#[test]
fn s16_a_withdrawn_key_ends_what_was_remembered_by_it() {
    let bench = Bench::new();
    let header = format!("Bearer {}", bench.token("alice"));
    bench.enter(&bearer(SSE, &header)).unwrap();
    bench.verifier.tokens.lock().unwrap().clear();
    assert!(bench.enter(&bearer(SSE, &header)).is_ok(), "nothing says that the keys have changed");
    bench.verifier.generation.fetch_add(1, Ordering::Relaxed);
    assert_eq!(bench.enter(&bearer(SSE, &header)).unwrap_err(), Reason::Unauthorized);
}

#[test]
fn s16_keys_that_cannot_be_fetched_are_not_the_clients_fault() {
    let bench = Bench::new();
    *bench.verifier.is_unavailable.lock().unwrap() = true;
    let denied = bench.admit(&bearer(SSE, "Bearer x")).unwrap_err();
    assert_eq!((denied.reason, denied.forged), (Reason::Overloaded, false));
}

#[test]
fn a_verdict_that_comes_late_is_given_when_it_comes() {
    let bench = Bench::new();
    let header = format!("Bearer {}", bench.token("alice"));
    *bench.verifier.waiting.lock().unwrap() = Some(Vec::new());
    let (done, answer) = answer();
    bench.gate.admit(&bearer(SSE, &header), bench.now, done);
    assert!(answer.try_recv().is_err());
    // Whatever happens meanwhile counts.
    revoke(&bench, Revoked::Subject("alice".into()));
    bench.verifier.let_go();
    assert_eq!(answer.try_recv().unwrap().unwrap_err().reason, Reason::Unauthorized);
}

#[test]
fn a_reload_changes_everything_at_once_and_forgets_what_the_old_keys_verified() {
    let bench = Bench::new();
    let header = format!("Bearer {}", bench.token("alice"));
    // One verification is still under way when the keys change.
    *bench.verifier.waiting.lock().unwrap() = Some(Vec::new());
    let (done, answer) = answer();
    bench.gate.admit(&bearer(SSE, &header), bench.now, done);
    let origins = Origins::parse([OTHER_PAGE]).unwrap();
    let rules = Rules { origins, api_keys: ApiKeys::default(), ..bench.rules(Settings::default()) };
    bench.gate.reload(rules).unwrap();
    bench.verifier.let_go();
    assert!(answer.try_recv().unwrap().is_ok(), "it was decided by the rules that it began with");
    bench.verifier.tokens.lock().unwrap().clear();
    assert_eq!(bench.enter(&bearer(SSE, &header)).unwrap_err(), Reason::Unauthorized, "and not remembered");
    let key = format!("Bearer {}", bench.key.reveal());
    assert_eq!(bench.enter(&bearer(Action::Control, &key)).unwrap_err(), Reason::Unauthorized);
    assert_eq!(bench.screen(&Asked { origin: Some(PAGE), ..asked(SSE) }), Err(Reason::OriginRefused));
    assert!(bench.screen(&Asked { origin: Some(OTHER_PAGE), ..asked(SSE) }).is_ok());
}

#[test]
fn s3_a_reload_with_rules_that_contradict_each_other_changes_nothing() {
    let bench = Bench::new();
    let origins = Origins::parse(["*"]).unwrap();
    let settings = Settings { credentials: true, ..Settings::default() };
    let outcome = bench.gate.reload(Rules { origins, ..bench.rules(settings) });
    assert_eq!(outcome, Err(RulesError::AnyOriginWithCookies));
    let any = Asked { origin: Some("https://any.example"), ..asked(SSE) };
    assert_eq!(bench.screen(&any), Err(Reason::OriginRefused));
}

#[test]
fn a_reload_while_others_come_in_refuses_nobody() {
    let bench = Arc::new(Bench::new());
    let header = format!("Bearer {}", bench.token("alice"));
    thread::scope(|scope| {
        for _ in 0..4 {
            let (bench, header) = (bench.clone(), header.clone());
            scope.spawn(move || {
                for _ in 0..2_000 {
                    bench.enter(&bearer(Action::Publish, &header)).unwrap();
                }
            });
        }
        for _ in 0..100 {
            bench.gate.reload(bench.rules(Settings::default())).unwrap();
        }
    });
}

#[test]
fn s49_debug_output_of_the_gate_shows_no_secret() {
    let bench = Bench::with_cookie();
    let header = format!("Bearer {}", bench.token("canary"));
    bench.enter(&bearer(SSE, &header)).unwrap();
    let ticket = bench.ticket("canary", None);
    let shown = format!("{:?} {:?}", bench.gate, bench.gate.tickets());
    for secret in ["canary", &*ticket, bench.key.reveal()] {
        assert!(!shown.contains(secret), "{shown}");
    }
}
