//! Tickets at the gate (security rules S6, S19 to S24).

#![allow(clippy::unwrap_used)] // The words of a test outside its functions; a panic is their report too.

mod rig;

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use rig::{Bench, OTHER_PAGE, PAGE, POLL, SSE, WS, asked, channel, sent_back, subject};
use tidewire_auth::api_key::ApiKeys;
use tidewire_auth::vault::{Key, MemoryVault, Room, Vault, VaultError};
use tidewire_auth::{Rules, Settings, TicketLimits};
use tidewire_hub::broker::{Done, Now};
use tidewire_hub::grant::{Action, Asked, Denied, Entry, Grant, Holder};
use tidewire_hub::reason::Reason;
use tidewire_hub::revocation::{Revocation, Revoked};

fn with(action: Action, ticket: &str) -> Asked<'_> {
    Asked { ticket: Some(ticket), ..asked(action) }
}

/// Whatever is wrong with a ticket, this is all that is said.
fn is_401(outcome: Result<Entry, Denied>) -> bool {
    outcome.unwrap_err() == Denied { forged: true, ..Denied::new(Reason::Unauthorized) }
}

fn limits(limits: TicketLimits) -> Settings {
    Settings { tickets: limits, ..Settings::default() }
}

/// A vault that notes what it is asked, and fails when a test says so.
#[derive(Default)]
struct Watched {
    inner: MemoryVault,
    is_down: AtomicBool,
    takes: AtomicUsize,
    keys: Mutex<Vec<Key>>,
    values: Mutex<Vec<Bytes>>,
    lifetimes: Mutex<Vec<Duration>>,
}

impl Watched {
    fn take_down(&self) {
        self.is_down.store(true, Ordering::Relaxed);
    }

    fn bring_up(&self) {
        self.is_down.store(false, Ordering::Relaxed);
    }

    fn takes(&self) -> usize {
        self.takes.load(Ordering::Relaxed)
    }

    fn is_down(&self) -> bool {
        self.is_down.load(Ordering::Relaxed)
    }
}

impl Vault for Watched {
    fn put(&self, key: Key, value: Bytes, ttl: Duration, now: Now, done: Done<Result<(), VaultError>>) {
        if self.is_down() {
            return done(Err(VaultError::Unavailable));
        }
        self.keys.lock().unwrap().push(key);
        self.values.lock().unwrap().push(value.clone());
        self.lifetimes.lock().unwrap().push(ttl);
        self.inner.put(key, value, ttl, now, done);
    }

    fn take(&self, key: Key, now: Now, done: Done<Result<Option<Bytes>, VaultError>>) {
        self.takes.fetch_add(1, Ordering::Relaxed);
        if self.is_down() {
            // The worst case: it was given out, and the answer got lost.
            return self.inner.take(key, now, Box::new(move |_| done(Err(VaultError::Unavailable))));
        }
        self.inner.take(key, now, done);
    }

    fn get(&self, key: Key, now: Now, done: Done<Result<Option<Bytes>, VaultError>>) {
        if self.is_down() {
            return done(Err(VaultError::Unavailable));
        }
        self.inner.get(key, now, done);
    }
}

fn watched() -> (Arc<Watched>, Bench) {
    let vault = Arc::new(Watched::default());
    (vault.clone(), Bench::over(vault, Settings::default()))
}

#[test]
fn s19_a_ticket_opens_what_its_token_would() {
    for action in [SSE, WS, POLL] {
        let bench = Bench::new();
        let grant = bench.enter(&with(action, &bench.ticket("alice", None))).unwrap();
        let header = format!("Bearer {}", bench.token("alice"));
        let by_token = bench.enter(&Asked { authorization: Some(&header), ..asked(action) }).unwrap();
        assert_eq!(grant, by_token, "{action:?}");
    }
}

#[test]
fn s19_the_vault_holds_a_hash_and_never_the_ticket() {
    let (vault, bench) = watched();
    let ticket = bench.ticket("alice", Some(PAGE));
    assert_eq!(*vault.keys.lock().unwrap(), [Key::Ticket(tidewire_auth::secret::digest(&ticket))]);
    let kept = String::from_utf8(vault.values.lock().unwrap()[0].to_vec()).unwrap();
    assert!(kept.contains(PAGE) && !kept.contains(&ticket), "{kept}");
    assert_eq!(ticket.len(), 43, "256 bits in base64url");
}

#[test]
fn s19_a_ticket_lasts_thirty_seconds_or_as_asked_and_no_longer_than_its_token() {
    let (vault, mut bench) = watched();
    let header = format!("Bearer {}", bench.token("alice"));
    let asked = Asked { authorization: Some(&header), ..asked(Action::Ticket) };
    let grant = bench.enter(&asked).unwrap();
    let buy = |bench: &Bench, ttl_s: Option<u64>| {
        let ticket = bench.buy(&grant, &asked, None, ttl_s.map(Duration::from_secs));
        ticket.map(|ticket| ticket.expires_in_s).map_err(|denied| denied.reason)
    };
    assert_eq!([buy(&bench, None), buy(&bench, Some(120)), buy(&bench, Some(1))], [Ok(30), Ok(120), Ok(1)]);
    assert_eq!([buy(&bench, Some(121)), buy(&bench, Some(0))], [Err(Reason::BadRequest); 2]);
    bench.pass(Duration::from_secs(3_590));
    assert_eq!(buy(&bench, None), Ok(10), "the token has ten seconds left");
    assert_eq!(*vault.lifetimes.lock().unwrap(), [30, 120, 1, 10].map(Duration::from_secs));
    bench.pass(Duration::from_secs(10));
    assert_eq!(buy(&bench, None), Err(Reason::Expired));
}

#[test]
fn s19_an_expired_ticket_opens_nothing() {
    let mut bench = Bench::new();
    let ticket = bench.ticket("alice", None);
    bench.pass(Duration::from_secs(30));
    assert!(is_401(bench.admit(&with(SSE, &ticket))));
}

#[test]
fn s19_a_ticket_may_be_confined_to_some_of_the_channels() {
    let bench = Bench::new();
    let header = format!("Bearer {}", bench.token("alice"));
    let asked = Asked { authorization: Some(&header), ..asked(Action::Ticket) };
    let grant = bench.enter(&asked).unwrap();
    let bought = bench.buy(&grant, &asked, Some("prices,chat:1"), None).unwrap();
    let confined = bench.enter(&with(WS, bought.secret.reveal())).unwrap();
    assert!(confined.may_subscribe(&channel("prices")) && confined.may_publish(&channel("chat:1")));
    for other in ["chat:2", "user:alice", "news"] {
        assert!(
            !confined.may_subscribe(&channel(other)) && !confined.may_publish(&channel(other)),
            "{other}"
        );
    }
    assert!(!confined.may_publish(&channel("prices")), "it gives no right that the token lacks");
    let own = bench.buy(&grant, &asked, Some("user:alice"), None).unwrap();
    assert!(bench.enter(&with(WS, own.secret.reveal())).unwrap().may_subscribe(&channel("user:alice")));
    let denied = bench.buy(&grant, &asked, Some("prices,user:bob"), None).unwrap_err();
    assert_eq!(denied.reason, Reason::Forbidden);
    assert!(denied.detail.unwrap().contains("`user:bob`"));
    assert_eq!(bench.buy(&grant, &asked, Some(""), None).unwrap_err().reason, Reason::ChannelCount);
}

#[test]
fn s19_api_keys_and_developers_buy_tickets_too() {
    let bench = Bench::new();
    let header = format!("Bearer {}", bench.key.reveal());
    let asked = Asked { authorization: Some(&header), ..asked(Action::Ticket) };
    let key = bench.enter(&asked).unwrap();
    for grant in [(*key).clone(), Grant::everything()] {
        let ticket = bench.buy(&grant, &asked, None, None).unwrap();
        let entry = bench.admit(&with(SSE, ticket.secret.reveal())).unwrap();
        assert_eq!(*entry.grant, Grant { admin: false, ..grant });
        let cookie = entry.set_cookie.unwrap();
        assert!(cookie.contains("Max-Age=86400"), "rights without an end give a session of a day: {cookie}");
    }
}

#[test]
fn s50_a_ticket_bought_with_an_api_key_lives_no_longer_than_the_key() {
    let bench = Bench::new();
    let header = format!("Bearer {}", bench.key.reveal());
    let asked = Asked { authorization: Some(&header), ..asked(Action::Ticket) };
    let key = bench.enter(&asked).unwrap();
    let [first, second] = [(); 2].map(|()| bench.buy(&key, &asked, None, None).unwrap().secret);
    let digest = tidewire_auth::secret::hex(&bench.key.digest());
    let narrower = ApiKeys::new(&[format!("shop:subscribe:{digest}").parse().unwrap()]).unwrap();
    bench.gate.reload(Rules { api_keys: narrower, ..bench.rules(Settings::default()) }).unwrap();
    let grant = bench.enter(&with(WS, first.reveal())).unwrap();
    assert!(grant.may_subscribe(&channel("prices")) && !grant.may_publish(&channel("prices")));
    let gone = Rules { api_keys: ApiKeys::default(), ..bench.rules(Settings::default()) };
    bench.gate.reload(gone).unwrap();
    assert!(is_401(bench.admit(&with(WS, second.reveal()))));
}

#[test]
fn s20_a_ticket_is_good_once() {
    for action in [SSE, WS, POLL] {
        let bench = Bench::new();
        let ticket = bench.ticket("alice", None);
        assert!(bench.admit(&with(action, &ticket)).is_ok());
        assert!(is_401(bench.admit(&with(action, &ticket))), "{action:?}");
    }
}

#[test]
fn s20_ten_thousand_tickets_raced_for_by_eight_have_ten_thousand_winners() {
    const TICKETS: usize = 10_000;
    let off = TicketLimits { per_second_max: 0, outstanding_max: 0, ..TicketLimits::default() };
    let bench = Bench::with(limits(off));
    let header = format!("Bearer {}", bench.token("alice"));
    let asked = Asked { authorization: Some(&header), ..asked(Action::Ticket) };
    let grant = bench.enter(&asked).unwrap();
    let sold = (0..TICKETS).map(|_| bench.buy(&grant, &asked, None, None).unwrap().secret);
    let tickets: Vec<_> = sold.collect();
    let winners: Vec<AtomicUsize> = tickets.iter().map(|_| AtomicUsize::new(0)).collect();
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for (ticket, winners) in tickets.iter().zip(&winners) {
                    if bench.admit(&with(WS, ticket.reveal())).is_ok() {
                        winners.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    assert!(winners.iter().all(|winners| winners.load(Ordering::Relaxed) == 1));
}

#[test]
fn s21_a_ticket_that_could_not_be_looked_up_is_spent() {
    let (vault, bench) = watched();
    let ticket = bench.ticket("alice", None);
    vault.take_down();
    let denied = bench.admit(&with(WS, &ticket)).unwrap_err();
    assert_eq!(denied, Denied::new(Reason::Unauthorized), "and it was our fault");
    assert_eq!(vault.takes(), 1, "it is not asked again");
    vault.bring_up();
    assert!(is_401(bench.admit(&with(WS, &ticket))));
}

#[test]
fn s21_a_ticket_of_an_older_life_of_the_vault_is_refused() {
    let bench = Bench::new();
    let tickets = bench.gate.tickets().clone();
    tickets.set_generation(7);
    let (old, spent) = (bench.ticket("alice", None), bench.ticket("alice", None));
    assert!(bench.admit(&with(WS, &old)).is_ok());
    // The vault fails over: what was spent may be there again, and what was sold may not be sold anew.
    tickets.set_generation(8);
    assert!(is_401(bench.admit(&with(WS, &spent))));
    assert!(bench.admit(&with(WS, &bench.ticket("alice", None))).is_ok());
}

#[test]
fn s21_two_processes_have_two_lives_even_over_one_vault() {
    let vault: Arc<dyn Vault> = Arc::new(MemoryVault::default());
    let (before, after) =
        (Bench::over(vault.clone(), Settings::default()), Bench::over(vault, Settings::default()));
    let ticket = before.ticket("alice", None);
    assert!(is_401(after.admit(&with(WS, &ticket))));
}

#[test]
fn s21_a_ticket_that_came_back_from_the_dead_is_too_old() {
    /// A vault that forgets to forget.
    struct Undying(MemoryVault);
    impl Vault for Undying {
        fn put(&self, key: Key, value: Bytes, _ttl: Duration, now: Now, done: Done<Result<(), VaultError>>) {
            self.0.put(key, value, Duration::MAX, now, done);
        }
        fn take(&self, key: Key, now: Now, done: Done<Result<Option<Bytes>, VaultError>>) {
            self.0.take(key, now, done);
        }
        fn get(&self, key: Key, now: Now, done: Done<Result<Option<Bytes>, VaultError>>) {
            self.0.get(key, now, done);
        }
    }
    let mut bench = Bench::over(Arc::new(Undying(MemoryVault::default())), Settings::default());
    let (good, stale) = (bench.ticket("alice", None), bench.ticket("alice", None));
    bench.pass(Duration::from_secs(60));
    assert!(bench.admit(&with(WS, &good)).is_ok(), "clocks of two nodes may be apart");
    bench.pass(Duration::from_secs(1));
    assert!(is_401(bench.admit(&with(WS, &stale))));
}

#[test]
fn s6_a_request_that_the_screen_refuses_burns_no_ticket() {
    let (vault, bench) = watched();
    let ticket = bench.ticket("alice", Some(PAGE));
    for hostile in ["https://evil.example", "null", "https://app.example.evil", "HTTPS://APP.EXAMPLE"] {
        for action in [SSE, WS, POLL] {
            let asked = Asked { origin: Some(hostile), ..with(action, &ticket) };
            assert_eq!(bench.enter(&asked).unwrap_err(), Reason::OriginRefused);
        }
    }
    // An image on a page of another site says no origin, but the browser says that it is one.
    for site in ["cross-site", "same-site"] {
        let image = Asked { fetch_site: Some(site), ..with(POLL, &ticket) };
        assert_eq!(bench.enter(&image).unwrap_err(), Reason::OriginRefused);
    }
    assert_eq!(vault.takes(), 0);
    assert!(bench.enter(&Asked { origin: Some(PAGE), ..with(WS, &ticket) }).is_ok());
}

#[test]
fn s22_a_listed_origin_other_than_the_tickets_burns_it() {
    for action in [SSE, WS, POLL] {
        let bench = Bench::new();
        let ticket = bench.ticket("alice", Some(PAGE));
        let denied = bench.admit(&Asked { origin: Some(OTHER_PAGE), ..with(action, &ticket) }).unwrap_err();
        assert_eq!((denied.reason, denied.forged), (Reason::OriginRefused, false));
        assert!(is_401(bench.admit(&Asked { origin: Some(PAGE), ..with(action, &ticket) })), "it is burned");
    }
}

#[test]
fn s22_a_ticket_that_a_backend_bought_is_good_on_every_listed_page() {
    for origin in [None, Some(PAGE), Some(OTHER_PAGE)] {
        let bench = Bench::new();
        let ticket = bench.ticket("alice", None);
        assert!(bench.enter(&Asked { origin, ..with(WS, &ticket) }).is_ok());
    }
}

#[test]
fn s22_an_event_source_on_the_page_that_bought_the_ticket_says_no_origin() {
    let come = |fetch_site, referer| {
        let bench = Bench::new();
        let ticket = bench.ticket("alice", Some(PAGE));
        bench.enter(&Asked { fetch_site, referer, ..with(SSE, &ticket) }).map(|_| ())
    };
    assert_eq!(come(Some("same-origin"), None), Ok(()));
    assert_eq!(come(Some("same-origin"), Some("https://app.example/chat")), Ok(()));
    assert_eq!(come(None, Some("https://app.example/chat")), Ok(()));
    assert_eq!(come(None, None), Ok(()), "no browser: it could say any origin");
    assert_eq!(come(Some("same-origin"), Some("https://admin.example/")), Err(Reason::OriginRefused));
    assert_eq!(come(None, Some("https://admin.example/")), Err(Reason::OriginRefused));
}

#[test]
fn s22_a_ticket_may_be_bound_to_the_network_that_bought_it() {
    let from = |same_network, client: &str| {
        let bench = Bench::with(limits(TicketLimits { same_network, ..TicketLimits::default() }));
        let ticket = bench.ticket("alice", None);
        let client: IpAddr = client.parse().unwrap();
        bench.admit(&Asked { client, ..with(WS, &ticket) })
    };
    assert!(from(true, "203.0.113.250").is_ok() && from(true, "::ffff:203.0.113.1").is_ok());
    assert!(is_401(from(true, "203.0.114.7")) && is_401(from(true, "2001:db8::1")));
    assert!(from(false, "198.51.100.1").is_ok(), "off by default");
}

#[test]
fn s23_an_event_source_comes_back_with_its_spent_ticket_and_its_cookie() {
    let bench = Bench::new();
    let ticket = bench.ticket("alice", Some(PAGE));
    let stream = Asked { fetch_site: Some("same-origin"), secure: true, ..with(SSE, &ticket) };
    let first = bench.admit(&stream).unwrap();
    let set = first.set_cookie.unwrap();
    assert!(set.starts_with("__Secure-tidewire_ticket="), "{set}");
    assert!(set.ends_with("; Path=/c/prices; HttpOnly; SameSite=Strict; Max-Age=3600; Secure"), "{set}");
    let cookie = format!("theme=dark; {}", sent_back(&set));
    for _ in 0..3 {
        let again = bench.admit(&Asked { cookie: Some(&cookie), ..stream }).unwrap();
        assert_eq!(again.grant, first.grant);
        assert_eq!(again.set_cookie, None, "it has one");
    }
    assert!(is_401(bench.admit(&stream)), "a spent ticket without its cookie");
}

#[test]
fn s23_a_poll_comes_back_too_and_a_websocket_has_no_need_to() {
    let bench = Bench::new();
    let ticket = bench.ticket("alice", None);
    let set = bench.admit(&with(POLL, &ticket)).unwrap().set_cookie.unwrap();
    assert!(set.starts_with("tidewire_ticket="), "a plain name over plain HTTP: {set}");
    assert!(!set.contains("Secure"), "{set}");
    let cookie = sent_back(&set);
    assert!(bench.admit(&Asked { cookie: Some(&cookie), ..with(POLL, &ticket) }).is_ok());
    assert!(is_401(bench.admit(&Asked { cookie: Some(&cookie), ..with(WS, &ticket) })));
    let other = bench.ticket("alice", None);
    assert_eq!(bench.admit(&with(WS, &other)).unwrap().set_cookie, None);
}

#[test]
fn s23_a_session_opens_no_other_tickets_url() {
    let bench = Bench::new();
    let [alice, bob] = ["alice", "bob"].map(|name| bench.ticket(name, None));
    let [of_alice, of_bob] =
        [&alice, &bob].map(|ticket| sent_back(&bench.admit(&with(SSE, ticket)).unwrap().set_cookie.unwrap()));
    assert!(is_401(bench.admit(&Asked { cookie: Some(&of_bob), ..with(SSE, &alice) })));
    // Not even with the other's name tag on it: the record knows its ticket.
    let forged = format!("{}{}", &of_alice[.."tidewire_ticket=".len() + 8], &of_bob[of_bob.len() - 43..]);
    assert!(is_401(bench.admit(&Asked { cookie: Some(&forged), ..with(SSE, &alice) })));
    let both = format!("{of_bob}; {of_alice}");
    let entry = bench.admit(&Asked { cookie: Some(&both), ..with(SSE, &alice) }).unwrap();
    assert_eq!(subject(&entry.grant), "alice");
}

#[test]
fn s23_a_cookie_of_an_old_stream_does_not_stand_in_the_way_of_a_new_ticket() {
    let bench = Bench::new();
    let old = bench.ticket("alice", None);
    let cookie = sent_back(&bench.admit(&with(SSE, &old)).unwrap().set_cookie.unwrap());
    let new = bench.ticket("bob", None);
    let entry = bench.admit(&Asked { cookie: Some(&cookie), ..with(SSE, &new) }).unwrap();
    assert_eq!(subject(&entry.grant), "bob");
    let both = sent_back(&entry.set_cookie.unwrap());
    for (ticket, name) in [(&old, "alice"), (&new, "bob")] {
        let entry = bench.admit(&Asked { cookie: Some(&both), ..with(SSE, ticket) }).unwrap();
        assert_eq!(subject(&entry.grant), name, "two tabs, one path, one cookie");
    }
}

#[test]
fn s23_a_session_belongs_to_the_origin_that_bought_its_ticket() {
    let bench = Bench::new();
    let ticket = bench.ticket("alice", Some(PAGE));
    let stream = Asked { origin: Some(PAGE), ..with(SSE, &ticket) };
    let cookie = sent_back(&bench.admit(&stream).unwrap().set_cookie.unwrap());
    let elsewhere = Asked { origin: Some(OTHER_PAGE), cookie: Some(&cookie), ..stream };
    assert_eq!(bench.enter(&elsewhere).unwrap_err(), Reason::OriginRefused);
    assert!(bench.admit(&Asked { cookie: Some(&cookie), ..stream }).is_ok());
}

#[test]
fn s23_a_session_ends_with_the_token_behind_it() {
    let mut bench = Bench::new();
    let ticket = bench.ticket("alice", None);
    let cookie = sent_back(&bench.admit(&with(SSE, &ticket)).unwrap().set_cookie.unwrap());
    let again = Asked { cookie: Some(&cookie), ..with(SSE, &ticket) };
    bench.pass(Duration::from_secs(3_599));
    assert_eq!(bench.enter(&again).unwrap().lasts_ms(bench.now), Some(1_000));
    bench.pass(Duration::from_secs(1));
    assert!(is_401(bench.admit(&again)));
}

#[test]
fn s26_a_revoked_token_leaves_neither_ticket_nor_session() {
    for what in [Revoked::Subject("alice".into()), Revoked::Token("id-of-alice".into())] {
        let bench = Bench::new();
        let (spent, fresh) = (bench.ticket("alice", None), bench.ticket("alice", None));
        let cookie = sent_back(&bench.admit(&with(SSE, &spent)).unwrap().set_cookie.unwrap());
        let revocation = Revocation { what, at_s: bench.now.wall_ms / 1_000, until_ms: u64::MAX };
        bench.revocations.record(&revocation).unwrap();
        assert!(is_401(bench.admit(&with(SSE, &fresh))));
        assert!(is_401(bench.admit(&Asked { cookie: Some(&cookie), ..with(SSE, &spent) })));
    }
}

#[test]
fn s23_a_session_that_could_not_be_looked_up_may_be_asked_for_again() {
    let (vault, bench) = watched();
    let ticket = bench.ticket("alice", None);
    let cookie = sent_back(&bench.admit(&with(SSE, &ticket)).unwrap().set_cookie.unwrap());
    let again = Asked { cookie: Some(&cookie), ..with(SSE, &ticket) };
    vault.take_down();
    assert_eq!(bench.enter(&again).unwrap_err(), Reason::Overloaded, "an EventSource comes back after that");
    vault.bring_up();
    assert!(bench.enter(&again).is_ok());
}

#[test]
fn s23_where_there_is_no_room_for_a_session_the_stream_lives_without() {
    let room = Room { count_max: 1, bytes_max: 1 << 20 };
    let bench = Bench::over(Arc::new(MemoryVault::new(room)), Settings::default());
    assert!(bench.admit(&with(SSE, &bench.ticket("alice", None))).unwrap().set_cookie.is_some());
    let second = bench.admit(&with(SSE, &bench.ticket("bob", None))).unwrap();
    assert_eq!((subject(&second.grant), second.set_cookie), ("bob", None));
}

#[test]
fn s23_a_subject_with_too_many_sessions_loses_the_oldest() {
    let bench = Bench::with(limits(TicketLimits { sessions_max: 2, ..TicketLimits::default() }));
    let tickets = [(); 3].map(|()| bench.ticket("alice", None));
    let open = |ticket: &String| bench.admit(&with(SSE, ticket)).unwrap().set_cookie.unwrap();
    let cookies = [0, 1, 2].map(|number| sent_back(&open(&tickets[number])));
    let back = [0, 1, 2].map(|number| {
        let cookie: &str = &cookies[number];
        bench.admit(&Asked { cookie: Some(cookie), ..with(SSE, &tickets[number]) }).is_ok()
    });
    assert_eq!(back, [false, true, true]);
}

#[test]
fn s23_a_path_that_could_write_into_the_cookie_is_refused_before_the_ticket_is_spent() {
    let (vault, bench) = watched();
    let ticket = bench.ticket("alice", None);
    let hostile = Asked { path: "/c/prices; Domain=evil.example", ..with(SSE, &ticket) };
    assert_eq!(bench.enter(&hostile).unwrap_err(), Reason::BadRequest);
    assert_eq!(vault.takes(), 0);
}

#[test]
fn s4_a_page_without_an_origin_gets_no_session() {
    let bench = Bench::new();
    let origins = tidewire_auth::allow::Origins::parse(["null"]).unwrap();
    bench.gate.reload(Rules { origins, ..bench.rules(Settings::default()) }).unwrap();
    let ticket = bench.ticket("alice", Some("null"));
    let entry = bench.admit(&Asked { origin: Some("null"), ..with(SSE, &ticket) }).unwrap();
    assert_eq!(entry.set_cookie, None);
}

#[test]
fn s24_a_subject_buys_so_many_tickets_and_is_told_so() {
    let mut bench = Bench::new();
    let header = format!("Bearer {}", bench.token("alice"));
    let asked = Asked { authorization: Some(&header), ..asked(Action::Ticket) };
    let grant = bench.enter(&asked).unwrap();
    let buy = |bench: &Bench| bench.buy(&grant, &asked, None, None).map(|ticket| ticket.secret);
    let first: Vec<_> = (0..10).map(|_| buy(&bench).unwrap()).collect();
    let denied = buy(&bench).unwrap_err();
    assert_eq!(denied.reason, Reason::RateLimited);
    assert!(denied.detail.unwrap().contains("10 tickets"));
    bench.pass(Duration::from_secs(1));
    assert!((0..10).all(|_| buy(&bench).is_ok()));
    bench.pass(Duration::from_secs(1));
    assert_eq!(buy(&bench).unwrap_err().reason, Reason::RateLimited, "twenty are out");
    bench.admit(&with(WS, first[0].reveal())).unwrap();
    assert!(buy(&bench).is_ok(), "one of them was spent");
    assert_eq!(buy(&bench).unwrap_err().reason, Reason::RateLimited);
    bench.pass(Duration::from_secs(29));
    assert!(buy(&bench).is_ok(), "those of the first second have expired");
}

#[test]
fn s24_a_ticket_that_could_not_be_kept_was_not_sold() {
    let (vault, bench) = watched();
    let one = TicketLimits { outstanding_max: 1, per_second_max: 0, ..TicketLimits::default() };
    bench.gate.reload(bench.rules(limits(one))).unwrap();
    let grant = Grant { holder: Holder::Key("shop".into()), ..Grant::everything() };
    let asked = asked(Action::Ticket);
    vault.take_down();
    for _ in 0..3 {
        let denied = bench.buy(&grant, &asked, None, None).unwrap_err();
        assert_eq!(denied.reason, Reason::Overloaded);
    }
    vault.bring_up();
    assert!(bench.buy(&grant, &asked, None, None).is_ok());
}

#[test]
fn a_full_vault_is_overloaded() {
    let room = Room { count_max: 1, bytes_max: 1 << 20 };
    let bench = Bench::over(Arc::new(MemoryVault::new(room)), Settings::default());
    bench.ticket("alice", None);
    let denied = bench.buy(&Grant::everything(), &asked(Action::Ticket), None, None).unwrap_err();
    assert_eq!(denied.reason, Reason::Overloaded);
}

#[test]
fn what_was_sold_outlives_a_reload() {
    let bench = Bench::new();
    let (spent, fresh) = (bench.ticket("alice", None), bench.ticket("alice", None));
    let cookie = sent_back(&bench.admit(&with(SSE, &spent)).unwrap().set_cookie.unwrap());
    bench.gate.reload(bench.rules(Settings { query_token: true, ..Settings::default() })).unwrap();
    assert!(bench.admit(&with(SSE, &fresh)).is_ok());
    assert!(bench.admit(&Asked { cookie: Some(&cookie), ..with(SSE, &spent) }).is_ok());
}

#[test]
fn s49_a_ticket_shows_nothing_of_itself() {
    let bench = Bench::new();
    let ticket = bench.buy(&Grant::everything(), &asked(Action::Ticket), None, None).unwrap();
    let shown = format!("{ticket:?} {:?}", with(SSE, ticket.secret.reveal()));
    assert!(!shown.contains(ticket.secret.reveal()), "{shown}");
}
