//! Keys that are fetched, come and go, from a real HTTPS server (security rule S16).

use std::io::ErrorKind;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use super::https::{Https, Reply};
use super::*;
use crate::jwt::jwks::fetch::{BODY_BYTES_MAX, FetchError, Source};
use crate::jwt::jwks::{JwksError, JwksOptions};

/// So many seconds after [`NOW`].
fn after(seconds: u64) -> Now {
    Now {
        monotonic_ms: NOW.monotonic_ms + seconds * 1_000,
        wall_ms: NOW.wall_ms + seconds * 1_000,
        micros: 0,
    }
}

fn fetching(server: &Https) -> Verifier {
    let jwks = Jwks::new(server.options(), server.runtime.handle().clone()).unwrap();
    Verifier::new(Options { jwks: Some(jwks), ..Options::default() })
}

/// A key whose tokens are good for the hours of a test.
fn signer(kid: &str) -> Signer {
    Signer::pair(Algorithm::Es256, Some(kid))
}

fn token(signer: &Signer) -> String {
    signer.signing.sign(&Draft { expires_at_s: NOW_S + 12 * 3_600, ..draft() }).unwrap()
}

fn await_verdict(receiver: &Receiver<Result<Claims, TokenError>>) -> Result<(), TokenError> {
    // Far beyond the longest fetch: a verdict that never comes is a failure of its own.
    receiver.recv_timeout(Duration::from_secs(30)).expect("every token is answered").map(|_| ())
}

fn judge(verifier: &Verifier, token: &str, seconds: u64) -> Result<(), TokenError> {
    await_verdict(&ask(verifier, token, after(seconds)))
}

/// Waits for the fetch that is under way, if there is one.
fn settle(verifier: &Verifier, seconds: u64) {
    let stranger = token(&signer("stranger"));
    assert!(judge(verifier, &stranger, seconds).is_err());
}

fn fetch(options: &JwksOptions, server: &Https) -> Result<(), FetchError> {
    let source = Source::new(options).unwrap();
    server.runtime.block_on(async { source.fetch().await }).map(|_| ())
}

/// Counts the warnings of the thread that it is the default of.
#[derive(Clone, Default)]
struct Warnings(Arc<AtomicUsize>);

impl Subscriber for Warnings {
    fn enabled(&self, about: &Metadata<'_>) -> bool {
        *about.level() <= Level::WARN
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        assert!(!format!("{event:?}").contains("canary"), "{event:?}");
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[test]
fn s12_a_key_with_a_name_that_is_none_is_passed_over_with_a_warning() {
    let good = signer("good");
    let mut odd = signer("odd").jwk;
    odd["kid"] = "https://canary.example/keys/1".into();
    let server = Https::start(Reply::keys([&odd, &good.jwk]));
    assert_eq!(judge(&fetching(&server), &token(&good), 0), Ok(()), "the other key is good");
    let warnings = Warnings::default();
    tracing::subscriber::with_default(warnings.clone(), || fetch(&server.options(), &server)).unwrap();
    assert_eq!(warnings.0.load(Ordering::Relaxed), 1);
    server.answer(Reply::keys([&good.jwk]));
    tracing::subscriber::with_default(warnings.clone(), || fetch(&server.options(), &server)).unwrap();
    assert_eq!(warnings.0.load(Ordering::Relaxed), 1, "nothing to warn of");
}

#[test]
fn s16_keys_rotate_with_an_overlap_and_nobody_is_refused() {
    let (old, new) = (signer("old"), signer("new"));
    let server = Https::start(Reply::keys([&old.jwk]));
    let verifier = fetching(&server);
    assert_eq!(judge(&verifier, &token(&old), 0), Ok(()), "the first token waits for the first fetch");
    assert_eq!(judge(&verifier, &token(&old), 1), Ok(()));
    assert_eq!(server.hits(), 1);

    let before = verifier.generation();
    server.answer(Reply::keys([&old.jwk, &new.jwk]));
    assert_eq!(judge(&verifier, &token(&new), 11), Ok(()), "a name that is not there is asked for");
    assert_eq!(judge(&verifier, &token(&old), 11), Ok(()), "the old key is good while both are there");
    assert_eq!(server.hits(), 2);
    assert_ne!(verifier.generation(), before);

    server.answer(Reply::keys([&new.jwk]));
    let before = verifier.generation();
    assert_eq!(judge(&verifier, &token(&old), 100), Ok(()), "fresh: nobody asks");
    assert_eq!(server.hits(), 2);
    verifier.tick(after(11 + 225));
    settle(&verifier, 11 + 225);
    assert_eq!(server.hits(), 3, "fetched in passing");
    assert_ne!(verifier.generation(), before, "remembered verdicts of the old key are void");
    assert_eq!(judge(&verifier, &token(&old), 11 + 226), Err(TokenError::KeyUnknown));
    assert_eq!(judge(&verifier, &token(&new), 11 + 226), Ok(()));
}

#[test]
fn s16_a_withdrawn_key_stops_within_the_time_of_the_cache() {
    let (kept, withdrawn) = (signer("kept"), signer("withdrawn"));
    let server = Https::start(Reply::keys([&kept.jwk, &withdrawn.jwk]));
    let verifier = fetching(&server);
    assert_eq!(judge(&verifier, &token(&withdrawn), 0), Ok(()));
    server.answer(Reply::keys([&kept.jwk]));
    // Nobody ticks and nobody comes: the first who does waits for the fetch rather than pass with the old key.
    assert_eq!(judge(&verifier, &token(&withdrawn), 300), Err(TokenError::KeyUnknown));
    assert_eq!(judge(&verifier, &token(&kept), 300), Ok(()));
    server.answer(Reply::keys([]));
    assert_eq!(judge(&verifier, &token(&kept), 600), Err(TokenError::KeyUnknown), "all may be withdrawn");
}

#[test]
fn s16_a_longer_cache_control_is_obeyed_up_to_an_hour() {
    let key = signer("a");
    let Reply::Ok(_, body) = Reply::keys([&key.jwk]) else { panic!() };
    let server = Https::start(Reply::Ok("Cache-Control: public, max-age=86400\r\n", body));
    let verifier = fetching(&server);
    assert_eq!(judge(&verifier, &token(&key), 0), Ok(()));
    server.answer(Reply::keys([]));
    assert_eq!(judge(&verifier, &token(&key), 2_699), Ok(()));
    assert_eq!(server.hits(), 1);
    assert_eq!(judge(&verifier, &token(&key), 3_600), Err(TokenError::KeyUnknown));
}

#[test]
fn s16_ten_thousand_unknown_kids_make_one_fetch_in_ten_seconds() {
    let (known, stranger) = (signer("known"), signer("stranger"));
    let server = Https::start(Reply::keys([&known.jwk]));
    let verifier = fetching(&server);
    assert_eq!(judge(&verifier, &token(&known), 0), Ok(()));
    assert_eq!(server.hits(), 1);
    let forged: Vec<String> = (0..100)
        .map(|at| stranger.headed(&json!({ "alg": "ES256", "kid": format!("k{at}") }).to_string()))
        .collect();
    // 10 000 tokens in the 25 s that follow, 4 in 10 ms.
    let verdicts: Vec<_> = (0..10_000_u64)
        .map(|at| {
            let now = Now { monotonic_ms: NOW.monotonic_ms + at * 5 / 2, ..NOW };
            ask(&verifier, &forged[at as usize % forged.len()], now)
        })
        .collect();
    for verdict in verdicts {
        let refused = await_verdict(&verdict).unwrap_err();
        assert!(matches!(refused, TokenError::KeyUnknown | TokenError::KeysUnavailable), "{refused}");
    }
    // At 10 s and at 20 s; or once, where the first was still on its way when its time to be repeated came.
    assert!((2..=3).contains(&server.hits()), "{}", server.hits());
    assert_eq!(judge(&verifier, &token(&known), 25), Ok(()), "others are not disturbed");
}

#[test]
fn s16_forged_signatures_under_a_known_name_make_no_fetch() {
    let (known, forger) = (signer("known"), signer("known"));
    let server = Https::start(Reply::keys([&known.jwk]));
    let verifier = fetching(&server);
    assert_eq!(judge(&verifier, &token(&known), 0), Ok(()));
    for seconds in [1, 11, 21] {
        assert_eq!(judge(&verifier, &token(&forger), seconds), Err(TokenError::SignatureInvalid));
        let nameless = forger.headed(r#"{"alg":"ES256"}"#);
        assert_eq!(judge(&verifier, &nameless, seconds), Err(TokenError::SignatureInvalid));
    }
    assert_eq!(server.hits(), 1);
}

#[test]
fn s16_who_comes_while_keys_are_fetched_waits_for_the_same_fetch() {
    let key = signer("a");
    let server = Https::start(Reply::keys([&key.jwk]));
    let verifier = fetching(&server);
    let verdicts: Vec<_> = (0..100).map(|_| ask(&verifier, &token(&key), NOW)).collect();
    assert!(verdicts.iter().all(|verdict| await_verdict(verdict) == Ok(())));
    assert_eq!(server.hits(), 1);
}

#[test]
fn s16_the_last_good_set_is_kept_while_the_server_fails() {
    let (key, unknown) = (signer("a"), signer("b"));
    let server = Https::start(Reply::keys([&key.jwk]));
    let verifier = fetching(&server);
    assert_eq!(judge(&verifier, &token(&key), 0), Ok(()));
    let generation = verifier.generation();
    let failures = [
        Reply::Hangup,
        Reply::Status(500, String::new()),
        Reply::Status(404, String::new()),
        Reply::Ok("", "<html>".into()),
        Reply::Ok("", r#"{"keys":"none"}"#.into()),
        Reply::Ok("", " ".repeat(BODY_BYTES_MAX + 1)),
    ];
    for (at, failure) in (1..).zip(failures) {
        server.answer(failure.clone());
        assert_eq!(judge(&verifier, &token(&key), at * 1_000), Ok(()), "{failure:?}");
        settle(&verifier, at * 1_000);
        assert_eq!(judge(&verifier, &token(&unknown), at * 1_000 + 1), Err(TokenError::KeyUnknown));
        assert_eq!(verifier.generation(), generation);
    }
    server.answer(Reply::keys([&unknown.jwk]));
    assert_eq!(judge(&verifier, &token(&unknown), 9_000), Ok(()), "and it recovers");
    assert_eq!(judge(&verifier, &token(&key), 9_000), Err(TokenError::KeyUnknown));
}

#[test]
fn s16_a_set_that_was_never_there_refuses_nobody_for_good() {
    let (fetched, ours) = (signer("fetched"), Signer::hs256());
    let server = Https::start(Reply::Status(503, String::new()));
    let jwks = Jwks::new(server.options(), server.runtime.handle().clone()).unwrap();
    let keys = KeySet::new([ours.key.clone()]).unwrap();
    let verifier = Verifier::new(Options { keys, jwks: Some(jwks), ..Options::default() });
    for seconds in [0, 1, 9] {
        assert_eq!(judge(&verifier, &token(&fetched), seconds), Err(TokenError::KeysUnavailable));
    }
    assert_eq!(server.hits(), 1, "one fetch in ten seconds");
    assert_eq!(judge(&verifier, &ours.token(), 1), Ok(()), "our own keys need no fetch");
    server.answer(Reply::keys([&fetched.jwk]));
    assert_eq!(judge(&verifier, &token(&fetched), 10), Ok(()));
}

/// Centrifugo CVE-2026-32301: the URL of the keys was filled in from claims that nobody had verified.
#[test]
fn s12_nothing_in_a_token_says_where_keys_are_fetched() {
    let (ours, theirs) = (signer("a"), signer("b"));
    let server = Https::start(Reply::keys([&ours.jwk]));
    let verifier = fetching(&server);
    let canary = TcpListener::bind("127.0.0.1:0").unwrap();
    canary.set_nonblocking(true).unwrap();
    let url = format!("https://{}/jwks.json", canary.local_addr().unwrap());
    let claims = json!({ "sub": url, "iss": url, "aud": url, "jku": url, "exp": NOW_S + 600 }).to_string();
    for (at, header) in [
        json!({ "alg": "ES256", "kid": "b", "jku": url }),
        json!({ "alg": "ES256", "kid": "b", "x5u": url }),
        json!({ "alg": "ES256", "kid": "b", "jwk": theirs.jwk }),
        json!({ "alg": "ES256", "jku": url, "x5u": url, "iss": url }),
        json!({ "alg": "ES256", "kid": url }),
    ]
    .into_iter()
    .enumerate()
    {
        let forged = theirs.signing.sign_parts(header.to_string().as_bytes(), claims.as_bytes()).unwrap();
        assert!(judge(&verifier, &forged, at as u64 * 20).is_err(), "{header}");
    }
    assert_eq!(canary.accept().unwrap_err().kind(), ErrorKind::WouldBlock, "the canary saw nobody");
    assert!(server.hits() >= 2 && server.paths().iter().all(|path| path == "/keys"));
}

#[test]
fn s16_a_redirect_to_another_host_is_refused() {
    let elsewhere = Https::start(Reply::keys([]));
    let server = Https::start(Reply::Hangup);
    let options = server.options();
    for location in [
        elsewhere.url(),
        format!("https://localhost:{}/moved", server.port),
        format!("http://127.0.0.1:{}/moved", server.port),
        format!("https://127.0.0.1:{}@localhost:{}/", server.port, elsewhere.port),
        "//169.254.169.254/latest/meta-data".into(),
        "/keys".into(),
    ] {
        server.answer(Reply::Status(302, format!("Location: {location}\r\n")));
        assert_eq!(fetch(&options, &server), Err(FetchError::Redirected), "{location}");
    }
    assert_eq!(elsewhere.hits(), 0);
    server.answer(Reply::Status(307, "Location: /moved\r\n".into()));
    assert_eq!(fetch(&options, &server), Ok(()), "on the same host it is followed");
    for location in ["file:///etc/passwd", "ftp://127.0.0.1/"] {
        server.answer(Reply::Status(302, format!("Location: {location}\r\n")));
        assert!(fetch(&options, &server).is_err(), "{location}");
    }
}

#[test]
fn s16_a_set_has_256_kib_at_most() {
    let set = r#"{"keys":[]}"#;
    let padded = |bytes: usize| Reply::Ok("", set.to_owned() + &" ".repeat(bytes - set.len()));
    let server = Https::start(padded(BODY_BYTES_MAX));
    assert_eq!(fetch(&server.options(), &server), Ok(()));
    for large in [padded(BODY_BYTES_MAX + 1), Reply::Endless] {
        server.answer(large);
        assert_eq!(fetch(&server.options(), &server), Err(FetchError::TooLarge));
    }
}

#[test]
fn s16_a_server_that_does_not_answer_is_left_after_5_seconds() {
    let server = Https::start(Reply::Silence);
    let source = Source::new(&server.options()).unwrap();
    // With its clock paused, a runtime that only waits goes straight on to the next deadline.
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let began = runtime.block_on(async { tokio::time::Instant::now() });
    let refused = runtime.block_on(source.fetch()).map(|_| ());
    assert_eq!(refused, Err(FetchError::TimedOut));
    let took = runtime.block_on(async { began.elapsed() });
    assert!((5_000..5_100).contains(&took.as_millis()), "{took:?}");
}

#[test]
fn s16_a_name_that_leads_into_a_private_network_is_refused() {
    let server = Https::start(Reply::keys([]));
    let named = JwksOptions { url: format!("https://localhost:{}/", server.port).into(), ..server.options() };
    assert_eq!(fetch(&named, &server), Ok(()), "where it is allowed");
    let guarded = JwksOptions { allow_private: false, ..named };
    assert_eq!(fetch(&guarded, &server), Err(FetchError::Private));
    let literal = JwksOptions { allow_private: false, ..server.options() };
    assert_eq!(Source::new(&literal).map(|_| ()).unwrap_err(), JwksError::Private);
    assert_eq!(server.hits(), 1);
}

#[test]
fn s16_a_server_that_nobody_vouches_for_is_not_believed() {
    let (server, other) = (Https::start(Reply::keys([])), Https::start(Reply::keys([])));
    let distrusting = JwksOptions { url: server.url().into(), ..other.options() };
    assert!(matches!(fetch(&distrusting, &server), Err(FetchError::Failed(_))));
    assert_eq!(server.hits(), 0);
    let missing = JwksOptions { ca_file: Some("there/is/no.pem".into()), ..server.options() };
    assert!(matches!(Source::new(&missing), Err(JwksError::Authorities(_))));
}

#[test]
fn a_runtime_that_ends_answers_those_who_wait() {
    let server = Https::start(Reply::Silence);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let jwks = Jwks::new(server.options(), runtime.handle().clone()).unwrap();
    let verifier = Verifier::new(Options { jwks: Some(jwks), ..Options::default() });
    let verdict = ask(&verifier, &token(&signer("a")), NOW);
    runtime.shutdown_background();
    // Answered or dropped; not forgotten, which would be a time-out here.
    assert_ne!(verdict.recv_timeout(Duration::from_secs(30)).err(), Some(RecvTimeoutError::Timeout));
}
