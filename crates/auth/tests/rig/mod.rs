//! The words of the gate's tests: a gate with a stub verifier, a request to change, and a clock turned by hand.

#![allow(clippy::unwrap_used)] // These are not test functions, yet a panic is their report too.
#![allow(dead_code)] // Each test binary speaks some of the words.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tidewire_auth::allow::Origins;
use tidewire_auth::api_key::{self, ApiKeys, Powers};
use tidewire_auth::secret::Secret;
use tidewire_auth::vault::{MemoryVault, Vault};
use tidewire_auth::{Claims, Rules, Settings, Ticket, Tickets, TokenGate, Unverified, Verify};
use tidewire_hub::admit::Transport;
use tidewire_hub::broker::{Done, Now};
use tidewire_hub::channel::{Channel, ChannelSet};
use tidewire_hub::grant::{Action, Asked, Denied, Entry, Gate, Grant, Holder, Scope, Screened};
use tidewire_hub::pattern::Pattern;
use tidewire_hub::reason::Reason;
use tidewire_hub::revocation::Revocations;

pub const SSE: Action = Action::Subscribe(Transport::Sse);
pub const WS: Action = Action::Subscribe(Transport::Ws);
pub const POLL: Action = Action::Subscribe(Transport::Poll);

/// Every way in that a browser has (S1).
pub const ACTIONS: [Action; 8] =
    [SSE, WS, POLL, Action::Publish, Action::Control, Action::Presence, Action::Ticket, Action::Page];

pub const START: Now = Now { monotonic_ms: 5_000, wall_ms: 1_700_000_000_000, micros: 0 };

/// An origin that the rig's gate allows.
pub const PAGE: &str = "https://app.example";

/// Another.
pub const OTHER_PAGE: &str = "https://admin.example";

/// A gate on its bench.
pub struct Bench {
    pub gate: TokenGate,
    pub revocations: Arc<Revocations>,
    pub verifier: Arc<StubVerifier>,
    pub key: Secret,
    pub now: Now,
}

impl Bench {
    pub fn new() -> Bench {
        Bench::with(Settings::default())
    }

    /// With both pages listed, the cookie `token` and nothing else switched on.
    pub fn with_cookie() -> Bench {
        Bench::with(Settings { cookie: Some("token".into()), ..Settings::default() })
    }

    pub fn with(settings: Settings) -> Bench {
        Bench::over(Arc::new(MemoryVault::default()), settings)
    }

    pub fn over(vault: Arc<dyn Vault>, settings: Settings) -> Bench {
        let verifier = Arc::new(StubVerifier::default());
        let key = api_key::generate().unwrap();
        let revocations = Arc::new(Revocations::default());
        let rules = rules(&verifier, &key, settings);
        let gate = TokenGate::new(rules, Tickets::new(vault).unwrap(), revocations.clone()).unwrap();
        Bench { gate, revocations, verifier, key, now: START }
    }

    pub fn rules(&self, settings: Settings) -> Rules {
        rules(&self.verifier, &self.key, settings)
    }

    pub fn pass(&mut self, time: Duration) {
        let ms = u64::try_from(time.as_millis()).unwrap();
        self.now =
            Now { monotonic_ms: self.now.monotonic_ms + ms, wall_ms: self.now.wall_ms + ms, micros: 0 };
    }

    /// Makes a token that lasts an hour good, and gives it.
    pub fn token(&self, subject: &str) -> String {
        let token = format!("token-of-{subject}");
        let claims = claims(subject, self.now.wall_ms / 1_000 + 3_600);
        self.verifier.tokens.lock().unwrap().insert(token.clone(), claims);
        token
    }

    pub fn screen(&self, asked: &Asked<'_>) -> Result<Screened, Reason> {
        self.gate.screen(asked).map_err(|denied| denied.reason)
    }

    pub fn admit(&self, asked: &Asked<'_>) -> Result<Entry, Denied> {
        let (done, answer) = answer();
        self.gate.admit(asked, self.now, done);
        answer.try_recv().expect("answered at once")
    }

    pub fn enter(&self, asked: &Asked<'_>) -> Result<Arc<Grant>, Reason> {
        self.admit(asked).map(|entry| entry.grant).map_err(|denied| denied.reason)
    }

    pub fn renew(&self, token: &str) -> Result<Arc<Grant>, Reason> {
        let (done, answer) = answer();
        self.gate.renew(token, self.now, done);
        answer.try_recv().expect("answered at once").map_err(|denied| denied.reason)
    }

    /// Buys a ticket with a grant.
    pub fn buy(
        &self,
        grant: &Grant,
        asked: &Asked<'_>,
        channels: Option<&str>,
        ttl: Option<Duration>,
    ) -> Result<Ticket, Denied> {
        let channels = channels.map(|list| ChannelSet::parse(list, 100).unwrap());
        let (done, answer) = answer();
        self.gate.issue_ticket(grant, asked, channels.as_ref(), ttl, self.now, done);
        answer.try_recv().expect("answered at once")
    }

    /// Buys a ticket as a page of `origin` with a subject's token, the whole way through the gate.
    pub fn ticket(&self, subject: &str, origin: Option<&str>) -> String {
        let bearer = format!("Bearer {}", self.token(subject));
        let asked = Asked { origin, authorization: Some(&bearer), ..asked(Action::Ticket) };
        let grant = self.enter(&asked).unwrap();
        self.buy(&grant, &asked, None, None).unwrap().secret.reveal().to_owned()
    }
}

fn rules(verifier: &Arc<StubVerifier>, key: &Secret, settings: Settings) -> Rules {
    let everything = Powers { publish: true, subscribe: true, admin: true };
    let entry = api_key::Entry::of("shop", everything, key).unwrap();
    Rules {
        origins: Origins::parse([PAGE, OTHER_PAGE]).unwrap(),
        api_keys: ApiKeys::new(&[entry]).unwrap(),
        verifier: Some(verifier.clone()),
        settings,
        ..Rules::default()
    }
}

/// A request that says nothing of itself.
pub fn asked(action: Action) -> Asked<'static> {
    Asked {
        action,
        host: Some("live.example"),
        origin: None,
        fetch_site: None,
        referer: None,
        authorization: None,
        cookie: None,
        ticket: None,
        query_token: None,
        path: "/c/prices",
        secure: false,
        client: IpAddr::V4(Ipv4Addr::new(203, 0, 113, 7)),
    }
}

pub fn claims(subject: &str, expires_at_s: u64) -> Claims {
    Claims {
        subject: subject.into(),
        id: Some(format!("id-of-{subject}").into()),
        issued_at_s: START.wall_ms / 1_000,
        expires_at_s,
        subscribe: scope(&["prices", "chat:*"]),
        publish: scope(&["chat:*"]),
        presence: Scope::none(),
        history: scope(&["prices"]),
    }
}

pub fn scope(patterns: &[&str]) -> Scope {
    Scope::new(patterns.iter().map(|pattern| Pattern::parse(pattern).unwrap()))
}

pub fn channel(name: &str) -> Channel {
    Channel::parse(name).unwrap()
}

pub fn subject(grant: &Grant) -> &str {
    match &grant.holder {
        Holder::Token(token) => &token.subject,
        other => panic!("{other:?} is no token"),
    }
}

/// What a browser sends back after a `Set-Cookie`.
pub fn sent_back(set_cookie: &str) -> String {
    set_cookie.split(';').next().unwrap().to_owned()
}

/// A callback, and where its answer arrives.
pub fn answer<T: Send + 'static>() -> (Done<T>, Receiver<T>) {
    let (sender, receiver) = mpsc::channel();
    (Box::new(move |outcome| drop(sender.send(outcome))), receiver)
}

/// Knows some tokens by heart.
#[derive(Default)]
pub struct StubVerifier {
    pub tokens: Mutex<HashMap<String, Claims>>,
    pub asked: AtomicUsize,
    pub generation: AtomicU64,
    pub is_unavailable: Mutex<bool>,
    /// Where set, verdicts wait here until a test lets them go.
    pub waiting: Mutex<Option<Vec<Waiting>>>,
}

type Waiting = Box<dyn FnOnce() + Send>;

impl StubVerifier {
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }

    pub fn let_go(&self) {
        for verdict in self.waiting.lock().unwrap().take().unwrap() {
            verdict();
        }
    }
}

impl Verify for StubVerifier {
    fn verify(&self, token: &str, _now: Now, done: Done<Result<Claims, Unverified>>) {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let known = self.tokens.lock().unwrap().get(token).cloned();
        let verdict = match known {
            _ if *self.is_unavailable.lock().unwrap() => Err(Unverified::Unavailable),
            Some(claims) => Ok(claims),
            None => Err(Unverified::Wrong("the signature is wrong".into())),
        };
        let told: Waiting = Box::new(move || done(verdict));
        match &mut *self.waiting.lock().unwrap() {
            Some(waiting) => waiting.push(told),
            None => told(),
        }
    }

    fn generation(&self) -> (u64, u64) {
        (0, self.generation.load(Ordering::Relaxed))
    }
}
