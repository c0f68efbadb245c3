//! The gate: where a request may come from, and who is asked about it.
//!
//! ```text
//! screen    host -> origin: this site's own pages, and those that are named       Gate, before there is room or not
//! decide    on_authorize, or what anybody may do, or the configured keys          Judge, behind both
//! ```

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::http::HeaderValue;
use tidewire_auth::TokenGate;
use tidewire_auth::allow::{Listed, Origins};
use tidewire_auth::hosts::Hosts;
use tidewire_auth::origin::Origin;
use tidewire_auth::own::is_own;
use tidewire_hub::admit::Transport;
use tidewire_hub::broker::{Done, Now};
use tidewire_hub::grant::{
    self, Action as Wanted, Asked as Facts, Denied, Entry, Gate, Screened, Ticket, TicketOrder, Tickets,
};
use tidewire_hub::reason::Reason;
use tidewire_server::inquiry::Question;
use tidewire_transport::caller::Caller;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, watch};

use crate::access::{Action, Asked, Grant, Refusal};

/// How long an application may take over a decision. Beyond: `overloaded`, which streams come back after.
const DECIDE_WITHIN: Duration = Duration::from_secs(10);

pub(crate) type Decision = Pin<Box<dyn Future<Output = Result<Grant, Refusal>> + Send>>;

/// Who decides.
#[derive(Clone)]
pub(crate) enum Judge {
    /// The application.
    Application(Application),
    /// Nobody: whoever comes may do this.
    Anybody(Grant),
    /// The keys of the configuration.
    Keys(Arc<TokenGate>),
}

/// What the application decides with, and where.
#[derive(Clone)]
pub(crate) struct Application {
    decide: Arc<dyn Fn(Asked) -> Decision + Send + Sync>,
    runtime: Handle,
    /// For decisions that are being made: each holds on to its request's head.
    room: Arc<Semaphore>,
    life: Arc<watch::Sender<Life>>,
}

/// How far the end of this node has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Life {
    Goes,
    /// Nobody new comes in.
    Drains,
    Over,
}

/// Ends when nobody waits for a decision any more.
pub(crate) type Waits = watch::Receiver<()>;

impl Judge {
    /// Has decisions end that nothing comes of any more.
    pub(crate) fn end(&self, life: Life) {
        if let Judge::Application(application) = self {
            application.life.send_if_modified(|known| {
                let is_further = *known < life;
                *known = life.max(*known);
                is_further
            });
        }
    }

    /// Decides on one request, and calls `done` once: later, where the application decides, also if it panics over it, or if
    /// nobody `waits` any more.
    pub(crate) fn decide(
        &self,
        asked: Asked,
        question: Question,
        waits: Waits,
        done: Done<Result<Entry, Denied>>,
    ) {
        let Question { action, now, .. } = question;
        match self {
            Judge::Keys(gate) => by_keys(gate, &asked, question, done),
            // A page that is no subscription, or what it asks with a preflight: there is nothing to be had by it.
            _ if action == Wanted::Page => done(Ok(entry(&Grant::to_anybody(), now))),
            Judge::Anybody(grant) => done(enter(grant, action, now)),
            Judge::Application(application) => application.ask(asked, question, waits, done),
        }
    }
}

impl Application {
    /// At most `at_once` decisions are being made, as there are connections.
    pub(crate) fn new(
        decide: Arc<dyn Fn(Asked) -> Decision + Send + Sync>,
        runtime: Handle,
        at_once: usize,
    ) -> Application {
        let room = Arc::new(Semaphore::new(at_once.min(Semaphore::MAX_PERMITS)));
        Application { decide, runtime, room, life: Arc::new(watch::Sender::new(Life::Goes)) }
    }

    fn ask(&self, asked: Asked, question: Question, mut waits: Waits, done: Done<Result<Entry, Denied>>) {
        let Question { action, now, .. } = question;
        let Ok(place) = self.room.clone().try_acquire_owned() else {
            let detail = "the application decides on as many requests as there may be connections";
            return done(Err(Denied::new(Reason::Overloaded).because(detail)));
        };
        let (decide, answer) = (self.decide.clone(), Answer(Some(done)));
        let mut life = self.life.subscribe();
        // Where nodes share a log, what is published while one drains is read at the others.
        let ends = if matches!(action, Wanted::Subscribe(_)) { Life::Drains } else { Life::Over };
        self.runtime.spawn(async move {
            let _place = place;
            // The call, too, is the application's own code, and may panic.
            let decision = tokio::time::timeout(DECIDE_WITHIN, async { decide(asked).await });
            let outcome = tokio::select! {
                outcome = decision => outcome,
                _ = life.wait_for(|life| *life >= ends) => {
                    return answer.give(Err(Denied::new(Reason::Draining).because(Reason::Draining.hint())));
                }
                // Whoever asks and goes, again and again, leaves nothing behind that would go on.
                _ = waits.changed() => {
                    return answer.give(Err(Denied::new(Reason::Internal).because("the client has gone")));
                }
            };
            answer.give(match outcome {
                Ok(Ok(grant)) => enter(&grant, action, now),
                Ok(Err(refusal)) => Err(refusal.denied()),
                Err(_) => {
                    tracing::warn!("on_authorize took longer than {DECIDE_WITHIN:?}: the request is refused");
                    Err(Denied::new(Reason::Overloaded).because("the application did not decide in time"))
                }
            });
        });
    }
}

fn enter(grant: &Grant, action: Wanted, now: Now) -> Result<Entry, Denied> {
    if !grant.is_in_bounds() {
        // It may be what the client said of itself.
        let detail = "the name that the application knows this client by is longer than 256 bytes";
        return Err(Denied::new(Reason::Forbidden).because(detail));
    }
    let entry = entry(grant, now);
    if action == Wanted::Control && !entry.grant.admin {
        return Err(
            Denied::new(Reason::Forbidden).because("the control API is for operators of this application")
        );
    }
    Ok(entry)
}

fn entry(grant: &Grant, now: Now) -> Entry {
    Entry { grant: grant.given(now), set_cookie: None }
}

/// Asks the gate of the configured keys about the request as the client wrote it: the cookie that a ticket sets is for the
/// path that the browser comes back to, the prefix included.
fn by_keys(gate: &TokenGate, asked: &Asked, question: Question, done: Done<Result<Entry, Denied>>) {
    let Question { action, client, secure, now } = question;
    let values = |name| asked.head.headers.get_all(name).into_iter().map(HeaderValue::as_bytes);
    let uri = &asked.head.uri;
    let caller = Caller::read(values, uri.path(), uri.query().unwrap_or_default());
    match caller.and_then(|caller| with_subprotocol(caller, asked)) {
        Ok(mut caller) => {
            if let (None, Some(authority)) = (&caller.host, uri.authority()) {
                caller.host = Some(authority.as_str().into());
            }
            gate.admit(&caller.to_asked(action, client, secure), now, done);
        }
        Err(refusal) => {
            done(Err(Denied::new(refusal.reason).because(refusal.detail)));
        }
    }
}

/// A WebSocket's token may ride in its list of subprotocols.
fn with_subprotocol(
    mut caller: Caller,
    asked: &Asked,
) -> Result<Caller, tidewire_transport::refusal::Refusal> {
    let fields = asked.head.headers.get_all("sec-websocket-protocol").into_iter();
    let mut names = fields.filter_map(|field| field.to_str().ok()).flat_map(|field| field.split(','));
    if let Some(bearer) = names.find_map(|name| name.trim().strip_prefix("bearer.")) {
        caller.authorize(bearer)?;
    }
    Ok(caller)
}

/// An answer that is given, whatever happens: whoever waits for it holds a connection.
struct Answer(Option<Done<Result<Entry, Denied>>>);

impl Answer {
    fn give(mut self, outcome: Result<Entry, Denied>) {
        if let Some(done) = self.0.take() {
            done(outcome);
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if let Some(done) = self.0.take() {
            tracing::error!("on_authorize panicked or was dropped: the request is refused");
            done(Err(Denied::new(Reason::Internal).because("the application could not decide")));
        }
    }
}

/// Which pages may ask at all (security rules S1 to S5 and S10): those of the site that the application is, and those that
/// are named.
pub(crate) struct Door {
    pub(crate) origins: Origins,
    pub(crate) hosts: Hosts,
    /// Where keys are configured, their gate screens as well: there, pages are named.
    pub(crate) keys: Option<Arc<TokenGate>>,
}

impl Door {
    fn screen_page(&self, asked: &Facts<'_>) -> Result<Screened, Denied> {
        if !self.hosts.admit(asked.host) {
            return Err(Denied::new(Reason::HostRefused));
        }
        // A browser says this, and no page can make it. A proxy may have called us by another name than the browser knows.
        // And where it says that the page is another's, a name alone does not make it ours: the scheme differs, and whoever
        // holds the wire can write a page at `http://`.
        if asked.fetch_site == Some("same-origin") {
            return Ok(Screened { credentials: false });
        }
        match asked.origin {
            Some(origin) if self.origins.find(origin) == Some(Listed::Named) => {
                Ok(Screened { credentials: true })
            }
            Some(origin) if is_own(origin, asked) && matches!(asked.fetch_site, None | Some("none")) => {
                Ok(Screened { credentials: false })
            }
            // As `null`, or as any: such a page comes without anybody's cookies.
            Some(origin) if asked.cookie.is_none() && self.origins.find(origin).is_some() => {
                Ok(Screened { credentials: false })
            }
            Some(_) => Err(Denied::new(Reason::OriginRefused)),
            None if self.may_come_unnamed(asked) => Ok(Screened { credentials: false }),
            None => Err(Denied::new(Reason::OriginRefused).because(
                "a cookie counts only for pages that may use this server, and nothing says that one asks",
            )),
        }
    }

    /// Without an origin there is no page, or one of this site that does not say so: `EventSource` does not. A browser sends
    /// cookies whoever asks, so with them something has to say that it is ours (S5).
    fn may_come_unnamed(&self, asked: &Facts<'_>) -> bool {
        if asked.fetch_site.is_some() {
            // `cross-site` and `same-site` are other pages; `none` is nobody's page, and reads what a link may read.
            return asked.fetch_site == Some("none") && is_read(asked.action);
        }
        if asked.cookie.is_none() {
            return true;
        }
        let page = asked.referer.and_then(Origin::of_page);
        is_read(asked.action)
            && page.is_some_and(|page| is_own(page, asked) || self.origins.find(page) == Some(Listed::Named))
    }
}

/// Whether this can change nothing. Every browser says the origin of a WebSocket (RFC 6455 section 4.1) and of a POST.
fn is_read(action: Wanted) -> bool {
    matches!(action, Wanted::Subscribe(Transport::Sse | Transport::Poll) | Wanted::Presence | Wanted::Page)
}

impl Gate for Door {
    fn screen(&self, asked: &Facts<'_>) -> Result<Screened, Denied> {
        match &self.keys {
            Some(keys) => keys.screen(asked),
            None => self.screen_page(asked),
        }
    }

    /// Every request that comes through the router brings whom to ask about it. What comes without is let in by nobody.
    fn admit(&self, asked: &Facts<'_>, now: Now, done: Done<Result<Entry, Denied>>) {
        done(match asked.action {
            Wanted::Page => Ok(entry(&Grant::to_anybody(), now)),
            _ => Err(Denied::new(Reason::Unauthorized)),
        });
    }

    fn renew(&self, token: &str, now: Now, done: Done<Result<Arc<grant::Grant>, Denied>>) {
        match &self.keys {
            Some(keys) => keys.renew(token, now, done),
            None => done(Err(Denied::new(Reason::Unsupported)
                .because("this application decides when a connection is opened: open another"))),
        }
    }
}

impl Tickets for Door {
    fn sell(&self, order: TicketOrder, now: Now, done: Done<Result<Ticket, Denied>>) {
        match &self.keys {
            Some(keys) => keys.sell(order, now, done),
            None => done(Err(Denied::new(Reason::Unsupported)
                .because("this application knows its visitors by itself, and sells no tickets"))),
        }
    }
}

/// What is asked for, as the application is told.
pub(crate) fn action(wanted: Wanted) -> Action {
    match wanted {
        Wanted::Subscribe(_) => Action::Subscribe,
        Wanted::Publish => Action::Publish,
        Wanted::Presence => Action::Presence,
        Wanted::Control | Wanted::Ticket | Wanted::Page => Action::Control,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{IpAddr, Ipv4Addr};

    const WS: Wanted = Wanted::Subscribe(Transport::Ws);
    const SSE: Wanted = Wanted::Subscribe(Transport::Sse);

    fn facts(action: Wanted) -> Facts<'static> {
        Facts {
            action,
            host: Some("app.example"),
            origin: None,
            fetch_site: None,
            referer: None,
            authorization: None,
            cookie: Some("session=1"),
            ticket: None,
            query_token: None,
            path: "/live/c/a",
            secure: true,
            client: IpAddr::V4(Ipv4Addr::LOCALHOST),
        }
    }

    fn door(origins: &[&str]) -> Door {
        let origins = Origins::parse(origins.iter().copied()).unwrap();
        Door { origins, hosts: Hosts::default(), keys: None }
    }

    #[test]
    fn s1_pages_of_this_site_may_ask_and_those_of_others_may_not() {
        let door = door(&[]);
        let own = "https://app.example";
        for action in [WS, SSE, Wanted::Publish] {
            assert!(door.screen(&Facts { origin: Some(own), ..facts(action) }).is_ok(), "{action:?}");
            for foreign in [
                "https://evil.example",
                "https://app.example.evil",
                "https://app.example:8443",
                "null",
                "https://evil@app.example",
            ] {
                let denied = door.screen(&Facts { origin: Some(foreign), ..facts(action) }).unwrap_err();
                assert_eq!(denied.reason, Reason::OriginRefused, "{foreign}");
            }
        }
    }

    #[test]
    fn s5_a_cookie_without_an_origin_counts_only_where_a_browser_says_that_a_page_of_ours_asks() {
        let door = door(&[]);
        let site = |site, action| door.screen(&Facts { fetch_site: site, ..facts(action) }).is_ok();
        assert!(site(Some("same-origin"), SSE) && site(Some("none"), SSE));
        for refused in [Some("cross-site"), Some("same-site"), None] {
            assert!(!site(refused, SSE), "{refused:?}");
        }
        assert!(!site(None, WS) && !site(Some("none"), WS) && !site(Some("none"), Wanted::Publish));
        let referer = Some("https://app.example/page?x");
        assert!(door.screen(&Facts { referer, ..facts(SSE) }).is_ok());
        assert!(door.screen(&Facts { referer, ..facts(WS) }).is_err());
        assert!(
            door.screen(&Facts { cookie: None, ..facts(WS) }).is_ok(),
            "a program with a token of its own"
        );
    }

    #[test]
    fn s2_a_page_of_this_name_that_a_browser_calls_anothers_is_anothers() {
        // Whoever holds the wire can write a page at `http://`, and it shall not ask with the cookies of `https://`.
        let door = door(&["https://named.example"]);
        let asks = |origin, fetch_site, secure| {
            let asked = Facts { origin: Some(origin), fetch_site, secure, ..facts(WS) };
            door.screen(&asked).is_ok()
        };
        assert!(!asks("http://app.example", None, true), "it asks over TLS, and did not come over it");
        assert!(asks("http://app.example", None, false));
        assert!(
            asks("https://app.example", None, false),
            "a proxy ended TLS, or somebody in the process did"
        );
        for site in [Some("cross-site"), Some("same-site")] {
            assert!(!asks("http://app.example", site, false) && !asks("https://app.example", site, true));
            assert!(asks("https://named.example", site, true), "{site:?}");
        }
    }

    #[test]
    fn s7_only_a_page_that_is_named_may_send_its_visitors_cookies_from_elsewhere() {
        let door = door(&["https://shop.example", "null"]);
        let screened = |origin, cookie| door.screen(&Facts { origin: Some(origin), cookie, ..facts(SSE) });
        assert_eq!(screened("https://shop.example", Some("a=b")), Ok(Screened { credentials: true }));
        assert_eq!(screened("null", None), Ok(Screened { credentials: false }));
        assert!(screened("null", Some("a=b")).is_err());
        assert_eq!(screened("https://app.example", Some("a=b")), Ok(Screened { credentials: false }));
    }

    #[test]
    fn what_brings_nobody_to_ask_is_let_in_by_nobody() {
        let door = door(&[]);
        for action in [WS, SSE, Wanted::Publish, Wanted::Control, Wanted::Presence, Wanted::Ticket] {
            let (told, outcome) = std::sync::mpsc::channel();
            let done = Box::new(move |entry: Result<Entry, Denied>| told.send(entry.map(drop)).unwrap());
            door.admit(&facts(action), Now::default(), done);
            assert_eq!(outcome.recv().unwrap().unwrap_err().reason, Reason::Unauthorized, "{action:?}");
        }
    }
}
