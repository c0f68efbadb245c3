//! The gate of dev mode: everything for everyone on this machine, nothing for anyone else.

use std::sync::Arc;

use tidewire_hub::broker::{Done, Now};
use tidewire_hub::grant::{Asked, Denied, Entry, Gate, Grant, Screened, Ticket, TicketOrder, Tickets};

use crate::denials;
use crate::origin::{Authority, Origin};

/// Grants everything to loopback, in the three places where loopback can be told: the client's address, the name
/// the server was called by, and the page that asks.
///
/// Each closes a hole that the others leave open. The address keeps the network out. The `Host` keeps out a page whose
/// own name was pointed at 127.0.0.1 after it was loaded (DNS rebinding, security rule S10). The `Origin` keeps out
/// any other page in the developer's browser (S9): loopback is no defence by itself.
#[derive(Debug)]
pub struct DevGate {
    public: bool,
    everything: Arc<Grant>,
}

impl DevGate {
    /// `public` opens the gate to other machines (`--dev-public`): any client, any host, and pages of the same origin.
    #[must_use]
    pub fn new(public: bool) -> DevGate {
        DevGate { public, everything: Arc::new(Grant::everything()) }
    }

    fn allows_origin(&self, origin: &str, host: Option<&Authority<'_>>) -> bool {
        Origin::parse(origin).is_some_and(|origin| {
            origin.authority.is_loopback()
                || (self.public && host.is_some_and(|host| origin.is_same_origin(host)))
        })
    }
}

impl Gate for DevGate {
    fn screen(&self, asked: &Asked<'_>) -> Result<Screened, Denied> {
        // Only HTTP/1.0 may come without a Host, and no browser speaks it: there is no name to have been rebound.
        let host = match asked.host {
            Some(host) => Some(Authority::parse(host).ok_or_else(|| denials::host(asked))?),
            None => None,
        };
        if !self.public && host.is_some_and(|host| !host.is_loopback()) {
            return Err(denials::host(asked));
        }
        if asked.origin.is_some_and(|origin| !self.allows_origin(origin, host.as_ref())) {
            return Err(denials::origin(asked));
        }
        // Last, because every refusal but the two above names the page's origin, which must be one of ours (S7).
        // An IPv4 client on a dual-stack listener shows as `::ffff:127.0.0.1`.
        if !self.public && !asked.client.to_canonical().is_loopback() {
            return Err(denials::client(asked));
        }
        // Nobody logs in, so that no cookie means anything.
        Ok(Screened { credentials: false })
    }

    fn admit(&self, asked: &Asked<'_>, _now: Now, done: Done<Result<Entry, Denied>>) {
        // Once more, so that a door that forgot to screen is no hole (S1).
        let screened = self.screen(asked);
        done(screened.map(|_| Entry { grant: self.everything.clone(), set_cookie: None }));
    }

    fn renew(&self, _token: &str, _now: Now, done: Done<Result<Arc<Grant>, Denied>>) {
        done(Ok(self.everything.clone()));
    }
}

impl Tickets for DevGate {
    /// Everybody is let in with any ticket, so this one stands for nothing; pages that buy one work here, too.
    fn sell(&self, order: TicketOrder, _: Now, done: Done<Result<Ticket, Denied>>) {
        done(Ok(Ticket {
            secret: "dev-mode-needs-no-ticket".into(),
            expires_in_s: order.ttl_s.unwrap_or(30),
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::IpAddr;
    use std::sync::mpsc;
    use tidewire_hub::admit::Transport;
    use tidewire_hub::grant::Action;
    use tidewire_hub::reason::Reason;

    const ACTIONS: [Action; 8] = [
        Action::Subscribe(Transport::Sse),
        Action::Subscribe(Transport::Ws),
        Action::Subscribe(Transport::Poll),
        Action::Publish,
        Action::Control,
        Action::Presence,
        Action::Ticket,
        Action::Page,
    ];

    fn asked<'a>(peer: &str, host: Option<&'a str>, origin: Option<&'a str>) -> Asked<'a> {
        Asked {
            action: Action::Page,
            host,
            origin,
            fetch_site: None,
            referer: None,
            authorization: None,
            cookie: None,
            ticket: None,
            query_token: None,
            path: "/c/prices",
            secure: false,
            client: peer.parse::<IpAddr>().unwrap(),
        }
    }

    fn admit(gate: &DevGate, asked: &Asked<'_>) -> Result<Entry, Denied> {
        let (sender, receiver) = mpsc::channel();
        gate.admit(asked, Now::default(), Box::new(move |outcome| sender.send(outcome).unwrap()));
        receiver.try_recv().unwrap()
    }

    fn check(public: bool, peer: &str, host: Option<&str>, origin: Option<&str>) -> Result<(), Reason> {
        let gate = DevGate::new(public);
        let outcomes = ACTIONS.map(|action| {
            let asked = Asked { action, ..asked(peer, host, origin) };
            let screened = gate.screen(&asked).map(|_| ()).map_err(|denied| denied.reason);
            assert_eq!(admit(&gate, &asked).map(|_| ()).map_err(|denied| denied.reason), screened);
            screened
        });
        // S1: one decision for every entry.
        assert!(outcomes.iter().all(|outcome| *outcome == outcomes[0]));
        outcomes[0]
    }

    #[test]
    fn a_developer_on_this_machine_may_do_everything() {
        for peer in ["127.0.0.1", "127.0.0.9", "::1", "::ffff:127.0.0.1"] {
            assert_eq!(check(false, peer, Some("localhost:8080"), None), Ok(()));
        }
        let entry = admit(&DevGate::new(false), &asked("127.0.0.1", None, None)).unwrap();
        assert_eq!((*entry.grant).clone(), Grant::everything());
        let (sender, receiver) = mpsc::channel();
        let done = move |outcome: Result<Arc<Grant>, Denied>| sender.send(outcome.is_ok()).unwrap();
        DevGate::new(false).renew("anything", Now::default(), Box::new(done));
        assert!(receiver.try_recv().unwrap());
    }

    #[test]
    fn another_machine_may_do_nothing() {
        for peer in ["10.0.0.2", "192.168.1.9", "2001:db8::1", "::ffff:10.0.0.2"] {
            assert_eq!(check(false, peer, Some("localhost:8080"), None), Err(Reason::Forbidden), "{peer}");
        }
    }

    #[test]
    fn a_denial_says_what_was_wrong() {
        let detail = |peer, host, origin| {
            DevGate::new(false).screen(&asked(peer, host, origin)).unwrap_err().detail.unwrap().to_string()
        };
        let evil = Some("evil.example");
        assert_eq!(detail("127.0.0.1", evil, None), "this server is not called `evil.example`");
        let page = Some("https://evil.example");
        let refused = "pages from `https://evil.example` may not use this server";
        assert_eq!(detail("127.0.0.1", Some("localhost"), page), refused);
        assert_eq!(detail("10.0.0.2", None, None), "10.0.0.2 may not use this server");
        assert!(detail("127.0.0.1", None, Some(&"x".repeat(9_000))).len() < 256);
    }

    #[test]
    fn s7_a_page_is_told_why_only_if_it_is_one_of_ours() {
        let refused = check(false, "10.0.0.2", Some("localhost"), Some("https://evil.example"));
        assert_eq!(refused, Err(Reason::OriginRefused));
    }

    #[test]
    fn s10_a_rebound_name_is_refused_even_from_loopback() {
        for host in
            ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "10.0.0.1:8080", "", "a b"]
        {
            assert_eq!(check(false, "127.0.0.1", Some(host), None), Err(Reason::HostRefused), "{host:?}");
        }
        for host in ["127.0.0.1:8080", "localhost", "demo.localhost:8080", "[::1]:8080"] {
            assert_eq!(check(false, "127.0.0.1", Some(host), None), Ok(()), "{host:?}");
        }
        assert_eq!(check(false, "127.0.0.1", None, None), Ok(()), "HTTP/1.0 has no Host");
    }

    #[test]
    fn s9_only_loopback_pages_pass() {
        let origin = |origin| check(false, "127.0.0.1", Some("localhost:8080"), Some(origin));
        for good in ["http://localhost:3000", "https://localhost", "http://127.0.0.1:5173", "http://[::1]:1"]
        {
            assert_eq!(origin(good), Ok(()), "{good}");
        }
        for bad in [
            "null",
            "",
            "https://evil.example",
            "http://localhost.evil.example",
            "http://localhost@evil.example",
            "http://evil.example:8080",
            "http://127.0.0.1.evil.example",
            "http://localhost, http://evil.example",
            "HTTP://LOCALHOST",
            "http://localhost/",
            "file://",
        ] {
            assert_eq!(origin(bad), Err(Reason::OriginRefused), "{bad:?}");
        }
    }

    #[test]
    fn s9_a_public_dev_server_takes_its_own_pages_and_no_others() {
        let origin = |origin| check(true, "203.0.113.9", Some("dev.example:8080"), Some(origin));
        assert_eq!(origin("http://dev.example:8080"), Ok(()));
        for bad in ["null", "http://dev.example", "http://evil.example:8080", "http://dev.example.evil:8080"]
        {
            assert_eq!(origin(bad), Err(Reason::OriginRefused), "{bad:?}");
        }
        assert_eq!(check(true, "203.0.113.9", Some("dev.example:8080"), None), Ok(()));
    }
}
