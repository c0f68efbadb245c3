//! The origin vectors of S2 to S5, the same on every entry (security rule S1).

#![allow(clippy::unwrap_used)] // The words of a test outside its functions; a panic is their report too.

mod rig;

use rig::{ACTIONS, Bench, OTHER_PAGE, PAGE, POLL, SSE, WS, asked};
use tidewire_auth::allow::Origins;
use tidewire_auth::hosts::Hosts;
use tidewire_auth::{Rules, Settings};
use tidewire_hub::grant::{Action, Asked, Screened};
use tidewire_hub::reason::Reason;

/// What the list of these vectors holds.
const LIST: [&str; 6] = [
    "https://a.com",
    "http://localhost:3000",
    "https://*.b.com",
    "https://bücher.example",
    "https://[2001:db8::1]:8443",
    "https://xn--pple-43d.example",
];

/// Origins and whether they are on the list, each with what it tries.
const VECTORS: [(&str, bool, &str); 66] = [
    ("https://a.com", true, "the origin itself"),
    ("http://localhost:3000", true, "another scheme and port"),
    ("https://x.b.com", true, "one label below a domain"),
    ("https://x.y.b.com", true, "two labels below a domain"),
    ("https://xn--bcher-kva.example", true, "a name in another script, as browsers write it"),
    ("https://[2001:db8::1]:8443", true, "an IPv6 address"),
    ("https://xn--pple-43d.example", true, "a name listed in its ASCII form"),
    ("https://a.com.evil.com", false, "the name as a prefix"),
    ("https://evil-a.com", false, "the name as a suffix"),
    ("https://evila.com", false, "the name as a suffix without a boundary"),
    ("https://x.a.com", false, "below an origin that is listed exactly"),
    ("https://com", false, "above it"),
    ("https://evil.com/a.com", false, "the name in a path"),
    ("https://evil.com?a.com", false, "the name in a query"),
    ("https://evil.com#a.com", false, "the name in a fragment"),
    ("https://evil.com?https://a.com", false, "the origin in a query"),
    ("https://a.com:443", false, "the default port, which no browser writes"),
    ("https://a.com:8443", false, "another port"),
    ("https://a.com:", false, "an empty port"),
    ("https://a.com:0443", false, "a port with a zero before it"),
    ("http://localhost:3001", false, "the port beside it"),
    ("http://localhost", false, "without its port"),
    ("http://localhost:30000", false, "the port as a prefix"),
    ("http://a.com", false, "the scheme below"),
    ("https://localhost:3000", false, "the scheme above"),
    ("wss://a.com", false, "the scheme of the socket"),
    ("//a.com", false, "no scheme"),
    ("a.com", false, "a bare name"),
    ("file://", false, "a file"),
    ("data:", false, "a data URL"),
    ("chrome-extension://abcdef", false, "an extension"),
    ("javascript://a.com", false, "a script"),
    ("HTTPS://A.COM", false, "upper case"),
    ("https://A.com", false, "upper case in the name"),
    ("Https://a.com", false, "upper case in the scheme"),
    ("https://a.com/", false, "a slash at the end"),
    ("https://a.com/x", false, "a path"),
    ("https://a.com?", false, "an empty query"),
    ("https://a.com#", false, "an empty fragment"),
    ("https://a.com\\", false, "a backslash"),
    ("https://a.com@evil", false, "the name as a user"),
    ("https://evil@a.com", false, "a user before the name"),
    ("https://a.com:x@evil.com", false, "the name as a user with a password"),
    ("https://a%2ecom", false, "an escaped dot"),
    ("https://a.com%2eevil.com", false, "an escaped dot as a boundary"),
    ("https://a.com%00.evil.com", false, "an escaped NUL"),
    ("https://a.com\0.evil.com", false, "a NUL"),
    ("https://a.com\t", false, "a tab"),
    ("https://a\t.com", false, "a tab that URL parsers remove"),
    ("https://a.com ", false, "a space"),
    (" https://a.com", false, "a space before it"),
    ("https://a.com\r\nX: y", false, "a line break"),
    ("https://a.com, https://evil.com", false, "a list"),
    ("https://a.com https://evil.com", false, "a list with spaces (RFC 6454 section 7.1)"),
    ("https://a.com,https://a.com", false, "a list of the same"),
    ("https://a.com.", false, "the root's dot"),
    ("https://a..com", false, "an empty label"),
    ("https://[2001:DB8::1]:8443", false, "an IPv6 address in upper case"),
    ("https://[2001:db8:0::1]:8443", false, "an IPv6 address written longer"),
    ("https://[::ffff:127.0.0.1]:8443", false, "another IPv6 address"),
    ("https://аpple.example", false, "a Cyrillic homograph as itself"),
    ("https://apple.example", false, "what a listed homograph looks like"),
    ("https://xn--a-.com", false, "punycode that hides ASCII (RUSTSEC-2024-0421)"),
    ("https://b.com", false, "the domain that a wildcard stands before"),
    ("https://evilb.com", false, "a wildcard without its dot (Phoenix CVE-2022-42975)"),
    ("https://x.b.com.evil", false, "a wildcard's name as a prefix (Phoenix CVE-2022-42975)"),
];

fn bench(list: &[&str], settings: Settings) -> Bench {
    let bench = Bench::new();
    let origins = Origins::parse(list.iter().copied()).unwrap();
    bench.gate.reload(Rules { origins, ..bench.rules(settings) }).unwrap();
    bench
}

#[test]
fn s1_s2_s3_every_entry_decides_the_same_on_every_origin() {
    let bench = bench(&LIST, Settings::default());
    for (origin, listed, tries) in VECTORS {
        for action in ACTIONS {
            let asked = Asked { origin: Some(origin), ..asked(action) };
            let screened = bench.screen(&asked);
            let expected = if listed { Ok(Screened::default()) } else { Err(Reason::OriginRefused) };
            assert_eq!(screened, expected, "{tries}: {origin:?} for {action:?}");
        }
    }
}

#[test]
fn s1_a_door_that_forgot_to_screen_lets_nobody_in() {
    // Dozzle CVE-2026-44985, Cline CVE-2026-44211 and Gitpod 2023: the upgrade's route lay outside the check.
    let bench = Bench::with_cookie();
    let (bearer, cookie) =
        (format!("Bearer {}", bench.token("alice")), format!("token={}", bench.token("alice")));
    for action in ACTIONS {
        let bearer = Asked { authorization: Some(&bearer), ..asked(action) };
        let cookie = Asked { cookie: Some(&cookie), ..asked(action) };
        for asked in [bearer, cookie] {
            let hostile = Asked { origin: Some("https://evil.example"), ..asked };
            assert_eq!(bench.enter(&hostile).unwrap_err(), Reason::OriginRefused, "{action:?}");
        }
    }
    assert_eq!(bench.verifier.asked(), 0, "nothing was even looked at");
}

#[test]
fn s2_loopback_is_no_page_of_ours_either() {
    let bench = Bench::new();
    for origin in ["http://localhost", "http://127.0.0.1:8080", "http://[::1]"] {
        assert_eq!(bench.screen(&Asked { origin: Some(origin), ..asked(WS) }), Err(Reason::OriginRefused));
    }
}

#[test]
fn s4_null_is_refused_unless_it_is_listed_and_has_no_cookies_then() {
    let null = |action| Asked { origin: Some("null"), ..asked(action) };
    for action in ACTIONS {
        assert_eq!(bench(&["*"], Settings::default()).screen(&null(action)), Err(Reason::OriginRefused));
        assert_eq!(Bench::new().screen(&null(action)), Err(Reason::OriginRefused));
    }
    let settings = Settings { cookie: Some("token".into()), credentials: true, ..Settings::default() };
    let bench = bench(&["null", PAGE], settings);
    for action in ACTIONS {
        assert_eq!(bench.screen(&null(action)), Ok(Screened { credentials: false }));
    }
    let cookie = format!("token={}", bench.token("alice"));
    for action in [SSE, WS, POLL, Action::Ticket] {
        let asked = Asked { cookie: Some(&cookie), fetch_site: Some("cross-site"), ..null(action) };
        assert_eq!(bench.screen(&asked), Err(Reason::OriginRefused), "{action:?}");
    }
}

#[test]
fn s5_a_websocket_with_a_cookie_says_its_origin() {
    let bench = Bench::with_cookie();
    let cookie = format!("token={}", bench.token("alice"));
    let socket = Asked { cookie: Some(&cookie), ..asked(WS) };
    for fetch_site in [None, Some("same-origin"), Some("none")] {
        let asked = Asked { fetch_site, referer: Some("https://app.example/"), ..socket };
        assert_eq!(bench.enter(&asked).unwrap_err(), Reason::OriginRefused, "{fetch_site:?}");
    }
    assert!(bench.enter(&Asked { origin: Some(PAGE), ..socket }).is_ok());
}

#[test]
fn s5_a_stream_with_a_cookie_and_no_origin_comes_from_a_page_of_ours() {
    let bench = Bench::with_cookie();
    let cookie = format!("token={}", bench.token("alice"));
    for action in [SSE, POLL, Action::Ticket] {
        let silent = Asked { cookie: Some(&cookie), ..asked(action) };
        let may = |fetch_site, referer| bench.screen(&Asked { fetch_site, referer, ..silent }).is_ok();
        assert!(may(Some("same-origin"), None));
        assert!(!may(None, None), "nothing says who asks");
        for site in ["cross-site", "same-site", "none", "", "Same-Origin"] {
            assert!(!may(Some(site), Some("https://app.example/")), "{site}");
        }
        assert!(may(None, Some("https://app.example/chat?x=1")), "an old browser");
        for referer in [
            "https://evil.example/https://app.example/",
            "https://app.example.evil/",
            "https://app.example@evil.example/",
            "http://app.example/",
            "null",
            "",
        ] {
            assert!(!may(None, Some(referer)), "{referer}");
        }
    }
}

#[test]
fn s5_who_brings_a_credential_by_hand_needs_no_origin() {
    let bench = Bench::with_cookie();
    let bearer = format!("Bearer {}", bench.token("alice"));
    // The cookie gives way, and its rules with it.
    let cookie = Some("token=x");
    for action in [SSE, WS, POLL, Action::Publish, Action::Ticket] {
        let asked = Asked { authorization: Some(&bearer), cookie, ..asked(action) };
        assert!(bench.enter(&asked).is_ok(), "{action:?}");
    }
    let ticket = bench.ticket("alice", None);
    assert!(bench.enter(&Asked { ticket: Some(&ticket), cookie, ..asked(WS) }).is_ok());
}

#[test]
fn s7_credentials_are_for_pages_that_are_listed_by_name_and_where_they_are_switched_on() {
    let on = Settings { credentials: true, ..Settings::default() };
    let on = bench(&[PAGE, "https://*.b.com", "null"], on);
    let off = bench(&[PAGE, "*"], Settings::default());
    for action in ACTIONS {
        let credentials = |bench: &Bench, origin| {
            bench.screen(&Asked { origin, ..asked(action) }).map(|screened| screened.credentials)
        };
        assert_eq!(credentials(&on, Some(PAGE)), Ok(true));
        assert_eq!(credentials(&on, Some("https://x.b.com")), Ok(true));
        assert_eq!(credentials(&on, Some("null")), Ok(false));
        assert_eq!(credentials(&on, None), Ok(false));
        assert_eq!(credentials(&on, Some(OTHER_PAGE)), Err(Reason::OriginRefused));
        assert_eq!(credentials(&off, Some(PAGE)), Ok(false));
        assert_eq!(credentials(&off, Some("https://any.example")), Ok(false));
    }
}

#[test]
fn s8_a_preflight_and_a_page_need_no_credentials_and_are_granted_nothing() {
    let bench = Bench::new();
    for origin in [None, Some(PAGE)] {
        let grant = bench.enter(&Asked { origin, ..asked(Action::Page) }).unwrap();
        assert!(!grant.admin);
        for name in ["prices", "user", "user:", "user:alice"] {
            let name = rig::channel(name);
            assert!(
                !grant.may_subscribe(&name) && !grant.may_publish(&name) && !grant.may_read_history(&name)
            );
        }
    }
    let hostile = Asked { origin: Some("https://evil.example"), ..asked(Action::Page) };
    assert_eq!(bench.enter(&hostile).unwrap_err(), Reason::OriginRefused);
}

#[test]
fn s9_a_publish_takes_no_cookie_and_no_page_that_is_not_listed() {
    let bench = Bench::with_cookie();
    let token = bench.token("alice");
    let (cookie, bearer) = (format!("token={token}"), format!("Bearer {token}"));
    for action in [Action::Publish, Action::Control, Action::Presence] {
        let ambient = Asked {
            origin: Some(PAGE),
            fetch_site: Some("same-origin"),
            cookie: Some(&cookie),
            ticket: Some("t"),
            query_token: Some(&token),
            ..asked(action)
        };
        assert_eq!(bench.enter(&ambient).unwrap_err(), Reason::Unauthorized, "{action:?}");
    }
    let publish = Asked { authorization: Some(&bearer), cookie: Some(&cookie), ..asked(Action::Publish) };
    assert!(bench.enter(&publish).is_ok());
    assert!(bench.enter(&Asked { origin: Some(PAGE), ..publish }).is_ok());
    let hostile = Asked { origin: Some("https://evil.example"), ..publish };
    assert_eq!(bench.enter(&hostile).unwrap_err(), Reason::OriginRefused);
}

#[test]
fn s10_a_rebound_name_is_refused_on_every_entry() {
    let bench = Bench::new();
    let hosts = Hosts::parse(["live.example"]).unwrap();
    bench.gate.reload(Rules { hosts, ..bench.rules(Settings::default()) }).unwrap();
    for action in ACTIONS {
        let called = |host| bench.screen(&Asked { host, ..asked(action) }).map(|_| ());
        assert_eq!(called(Some("live.example:8443")), Ok(()));
        for foreign in ["evil.example", "live.example.evil", "127.0.0.1", ""] {
            assert_eq!(called(Some(foreign)), Err(Reason::HostRefused), "{foreign:?} {action:?}");
        }
    }
    let denied = bench.admit(&Asked { host: Some("evil.example"), ..asked(SSE) }).unwrap_err();
    assert_eq!(denied.detail.as_deref(), Some("this server is not called `evil.example`"));
}
