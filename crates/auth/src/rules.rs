//! Rules: what the operator allows, as finished values. A reload puts new ones in force.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::allow::Origins;
use crate::api_key::ApiKeys;
use crate::cookie;
use crate::gate::Verify;
use crate::hosts::Hosts;

/// Everything that a [`crate::gate::TokenGate`] goes by.
#[derive(Clone, Default)]
pub struct Rules {
    /// The pages that may use this server.
    pub origins: Origins,
    /// The names that this server is called by.
    pub hosts: Hosts,
    /// The backends.
    pub api_keys: ApiKeys,
    /// Who verifies tokens; nobody where no keys are configured, and then no token is good.
    pub verifier: Option<Arc<dyn Verify>>,
    /// Everything else.
    pub settings: Settings,
}

impl fmt::Debug for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rules")
            .field("origins", &self.origins)
            .field("hosts", &self.hosts)
            .field("api_keys", &self.api_keys)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

/// Switches and numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// The cookie that may hold a token. Default none.
    pub cookie: Option<Box<str>>,
    /// Whether `?access_token=` may hold a token, for `EventSource` and WebSocket (security rule S18). Default no.
    pub query_token: bool,
    /// Whether pages of other origins that are listed by name may send cookies and see what comes of it (S7). Default
    /// no.
    pub credentials: bool,
    /// Whether refusals say why, as in dev mode (S17). Default no.
    pub explain: bool,
    /// What tickets are sold.
    pub tickets: TicketLimits,
}

/// How tickets are sold (security rules S19, S22, S24).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TicketLimits {
    /// How long a ticket lasts unless its buyer asks otherwise. Default 30 s.
    pub ttl: Duration,
    /// How long it lasts at most. Beyond: `bad_request`. Default 120 s.
    pub ttl_max: Duration,
    /// Tickets a second for one subject. Beyond: `rate_limited`. 0 turns it off. Default 10.
    pub per_second_max: u32,
    /// Tickets of one subject that are neither spent nor expired. Beyond: `rate_limited`. 0 turns it off. Default 20.
    pub outstanding_max: usize,
    /// Sessions of one subject. Beyond: the oldest is closed, so that its stream does not survive its next reconnect.
    /// Default 100.
    pub sessions_max: usize,
    /// Subjects with a ticket or a session at once. Beyond: `overloaded`. Default 1 000 000.
    pub subjects_max: usize,
    /// Whether a ticket is good only in the network that bought it: /24, /64. Default no: phones change theirs.
    pub same_network: bool,
}

impl Default for TicketLimits {
    fn default() -> TicketLimits {
        TicketLimits {
            ttl: Duration::from_secs(30),
            ttl_max: Duration::from_secs(120),
            per_second_max: 10,
            outstanding_max: 20,
            sessions_max: 100,
            subjects_max: 1_000_000,
            same_network: false,
        }
    }
}

/// Rules that contradict each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RulesError {
    /// Every page there is could act as whoever is logged in (security rule S3).
    AnyOriginWithCookies,
    /// No browser takes a cookie of that name.
    CookieName,
    /// A ticket would last longer than it may.
    TicketTtl,
}

impl Rules {
    /// Looks for contradictions.
    ///
    /// # Errors
    /// The first that it finds. Nobody starts with it, and a reload keeps the old rules.
    pub fn check(&self) -> Result<(), RulesError> {
        let Settings { cookie, credentials, tickets, .. } = &self.settings;
        if self.origins.takes_any() && (cookie.is_some() || *credentials) {
            return Err(RulesError::AnyOriginWithCookies);
        }
        if cookie.as_deref().is_some_and(|name| !is_cookie_name(name)) {
            return Err(RulesError::CookieName);
        }
        if tickets.ttl.is_zero() || tickets.ttl > tickets.ttl_max {
            return Err(RulesError::TicketTtl);
        }
        Ok(())
    }
}

/// Whether a cookie with a token may be called so: a name that browsers take, and that is not the session cookie's.
#[must_use]
pub fn is_cookie_name(name: &str) -> bool {
    cookie::is_name(name) && ![true, false].map(cookie::session_name).contains(&name)
}

impl fmt::Display for RulesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RulesError::AnyOriginWithCookies => {
                "`auth.origins` allows every page, and cookies would let it act for its visitor: name the pages, or \
                 leave cookies out"
            }
            RulesError::CookieName => "`auth.cookie` is not a name that a browser takes, or is ours",
            RulesError::TicketTtl => "`auth.ticket_ttl` is longer than a ticket may last, or nothing",
        })
    }
}

impl std::error::Error for RulesError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(origins: &[&str], settings: Settings) -> Result<(), RulesError> {
        let origins = Origins::parse(origins.iter().copied()).unwrap();
        Rules { origins, settings, ..Rules::default() }.check()
    }

    #[test]
    fn s3_every_origin_together_with_cookies_is_refused_at_the_start() {
        let cookie = Settings { cookie: Some("token".into()), ..Settings::default() };
        let credentials = Settings { credentials: true, ..Settings::default() };
        for settings in [cookie, credentials] {
            assert_eq!(
                check(&["https://a.example", "*"], settings.clone()),
                Err(RulesError::AnyOriginWithCookies)
            );
            assert_eq!(check(&["https://a.example", "null"], settings), Ok(()));
        }
        assert_eq!(check(&["*"], Settings::default()), Ok(()));
    }

    #[test]
    fn a_cookie_without_a_good_name_is_refused_at_the_start() {
        for name in ["", "a b", "tidewire_ticket", "__Secure-tidewire_ticket"] {
            let settings = Settings { cookie: Some(name.into()), ..Settings::default() };
            assert_eq!(check(&[], settings), Err(RulesError::CookieName), "{name:?}");
        }
    }

    #[test]
    fn s19_a_ticket_lasts_no_longer_than_it_may() {
        let tickets = TicketLimits { ttl: Duration::from_secs(121), ..TicketLimits::default() };
        assert_eq!(check(&[], Settings { tickets, ..Settings::default() }), Err(RulesError::TicketTtl));
    }
}
