//! Credentials: what a request shows to say who it is, and which of it counts (security rules S5, S9, S18).

use std::fmt;

use tidewire_hub::admit::Transport;
use tidewire_hub::grant::{Action, Asked, Denied};
use tidewire_hub::reason::Reason;

use crate::cookie;
use crate::rules::Settings;

/// The one credential that a request is judged by.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Credential<'a> {
    /// A token or an API key in `Authorization` (RFC 6750 section 2.1).
    Bearer(&'a str),
    /// A ticket, with or without the cookie that lets it be shown again.
    Ticket(&'a str),
    /// A token in the cookie that the configuration names.
    Cookie(&'a str),
    /// A token in `?access_token=` (RFC 6750 section 2.3).
    Query(&'a str),
}

impl fmt::Debug for Credential<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Credential::Bearer(_) => "Bearer(***)",
            Credential::Ticket(_) => "Ticket(***)",
            Credential::Cookie(_) => "Cookie(***)",
            Credential::Query(_) => "Query(***)",
        })
    }
}

/// Which credential counts.
///
/// | for | of these, the first that is there |
/// |---|---|
/// | subscribing | `Authorization`, ticket, cookie, query |
/// | buying a ticket | `Authorization`, cookie |
/// | publishing, the control API, presence | `Authorization` |
/// | a page | none |
///
/// A cookie comes by itself, so it gives way to what was said on purpose. What was said on purpose has to be one
/// thing, and a token in the query must not differ from the cookie's either.
///
/// # Errors
/// [`Reason::BadRequest`] where two credentials could belong to two people.
pub(crate) fn presented<'a>(
    asked: &Asked<'a>,
    settings: &Settings,
) -> Result<Option<Credential<'a>>, Denied> {
    let bearer = asked.authorization.and_then(bearer);
    let (ticket, query) = match asked.action {
        Action::Subscribe(transport) => {
            let ticket = asked.ticket.filter(|ticket| !ticket.is_empty());
            (ticket, query_token(asked, settings, transport))
        }
        Action::Ticket => (None, None),
        // Nothing that a page can make a browser send (S9).
        Action::Publish | Action::Control | Action::Presence => return Ok(bearer.map(Credential::Bearer)),
        Action::Page => return Ok(None),
    };
    if bearer.is_some() && ticket.is_some() {
        return Err(two("Authorization", "the ticket"));
    }
    if query.is_some() && ticket.is_some() {
        return Err(two("access_token", "the ticket"));
    }
    if let (Some(bearer), Some(query)) = (bearer, query)
        && bearer != query
    {
        return Err(two("Authorization", "access_token"));
    }
    if let Some(credential) = bearer.map(Credential::Bearer).or(ticket.map(Credential::Ticket)) {
        return Ok(Some(credential));
    }
    let cookie = cookie_token(asked, settings)?;
    if let (Some(cookie), Some(query)) = (cookie, query)
        && cookie != query
    {
        return Err(two("the cookie", "access_token"));
    }
    Ok(cookie.map(Credential::Cookie).or(query.map(Credential::Query)))
}

/// What is said, to developers, to who shows nothing that counts.
pub(crate) fn missing(asked: &Asked<'_>, settings: &Settings) -> &'static str {
    match asked.action {
        Action::Publish | Action::Control | Action::Presence if asked.authorization.is_none() => {
            "publishing and the control API take credentials from Authorization alone: send Authorization: Bearer \
             with a token or an API key"
        }
        _ if asked.authorization.is_some() => {
            "Authorization has a scheme other than Bearer, or holds nothing: send Authorization: Bearer with a token \
             or an API key"
        }
        Action::Subscribe(_) if asked.query_token.is_some() && !settings.query_token => {
            "access_token counts only where auth.query_token is on; use a ticket from POST /v1/tickets"
        }
        Action::Subscribe(_) if asked.query_token.is_some() => {
            "access_token is for EventSource and WebSocket; what can set headers sends Authorization: Bearer"
        }
        Action::Subscribe(_) => {
            "there are no credentials: send Authorization: Bearer, or a ticket from POST /v1/tickets as ?ticket="
        }
        _ => "there are no credentials: send Authorization: Bearer with a token or an API key",
    }
}

/// The credential behind `Bearer`. Other schemes are for somebody else, a proxy before us for instance.
fn bearer(authorization: &str) -> Option<&str> {
    let (scheme, credential) = authorization.split_once(' ')?;
    let credential = credential.trim_matches(' ');
    (scheme.eq_ignore_ascii_case("Bearer") && !credential.is_empty()).then_some(credential)
}

/// Only for what cannot set headers: URLs are written into logs and histories (S18).
fn query_token<'a>(asked: &Asked<'a>, settings: &Settings, transport: Transport) -> Option<&'a str> {
    let cannot_set_headers = matches!(transport, Transport::Sse | Transport::Ws);
    asked.query_token.filter(|token| settings.query_token && cannot_set_headers && !token.is_empty())
}

fn cookie_token<'a>(asked: &Asked<'a>, settings: &Settings) -> Result<Option<&'a str>, Denied> {
    let (Some(header), Some(name)) = (asked.cookie, settings.cookie.as_deref()) else { return Ok(None) };
    cookie::only(header, name).map_err(|cookie::Ambiguous| {
        Denied::new(Reason::BadRequest).because(format!("the cookie `{name}` came twice, with two values"))
    })
}

fn two(one: &str, other: &str) -> Denied {
    Denied::new(Reason::BadRequest).because(format!("there are two credentials, in {one} and in {other}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{IpAddr, Ipv4Addr};

    fn settings() -> Settings {
        Settings { cookie: Some("token".into()), query_token: true, ..Settings::default() }
    }

    fn asked(action: Action) -> Asked<'static> {
        Asked {
            action,
            host: None,
            origin: None,
            fetch_site: None,
            referer: None,
            authorization: None,
            cookie: None,
            ticket: None,
            query_token: None,
            path: "/c/prices",
            secure: false,
            client: IpAddr::V4(Ipv4Addr::LOCALHOST),
        }
    }

    fn everything(action: Action) -> Asked<'static> {
        Asked {
            authorization: Some("Bearer b"),
            cookie: Some("token=c"),
            ticket: Some("t"),
            query_token: Some("q"),
            ..asked(action)
        }
    }

    fn of<'a>(asked: &Asked<'a>) -> Result<Option<Credential<'a>>, Reason> {
        presented(asked, &settings()).map_err(|denied| denied.reason)
    }

    const SSE: Action = Action::Subscribe(Transport::Sse);
    const POLL: Action = Action::Subscribe(Transport::Poll);

    #[test]
    fn s9_publishing_looks_at_nothing_that_a_browser_adds_by_itself() {
        for action in [Action::Publish, Action::Control, Action::Presence] {
            assert_eq!(of(&everything(action)), Ok(Some(Credential::Bearer("b"))));
            assert_eq!(of(&Asked { authorization: None, ..everything(action) }), Ok(None));
        }
    }

    #[test]
    fn a_page_needs_no_credentials() {
        assert_eq!(of(&everything(Action::Page)), Ok(None));
    }

    #[test]
    fn what_was_said_on_purpose_comes_before_the_cookie() {
        let cookie = Asked { cookie: Some("token=c"), ..asked(SSE) };
        assert_eq!(of(&cookie), Ok(Some(Credential::Cookie("c"))));
        assert_eq!(
            of(&Asked { authorization: Some("Bearer b"), ..cookie }),
            Ok(Some(Credential::Bearer("b")))
        );
        assert_eq!(of(&Asked { ticket: Some("t"), ..cookie }), Ok(Some(Credential::Ticket("t"))));
        assert_eq!(of(&Asked { query_token: Some("c"), ..cookie }), Ok(Some(Credential::Cookie("c"))));
    }

    #[test]
    fn two_credentials_could_be_two_people() {
        let two = |asked: Asked<'static>| assert_eq!(of(&asked), Err(Reason::BadRequest));
        two(everything(SSE));
        two(Asked { authorization: Some("Bearer b"), ticket: Some("t"), ..asked(SSE) });
        two(Asked { authorization: Some("Bearer b"), query_token: Some("q"), ..asked(SSE) });
        two(Asked { ticket: Some("t"), query_token: Some("q"), ..asked(SSE) });
        two(Asked { cookie: Some("token=c"), query_token: Some("q"), ..asked(SSE) });
        two(Asked { cookie: Some("token=c; token=d"), ..asked(SSE) });
        let same = Asked { authorization: Some("Bearer b"), query_token: Some("b"), ..asked(SSE) };
        assert_eq!(of(&same), Ok(Some(Credential::Bearer("b"))));
    }

    #[test]
    fn s18_a_token_in_the_query_is_for_what_cannot_set_headers_and_behind_a_flag() {
        let query = |action| Asked { query_token: Some("q"), ..asked(action) };
        for action in [SSE, Action::Subscribe(Transport::Ws)] {
            assert_eq!(of(&query(action)), Ok(Some(Credential::Query("q"))));
            let off = Settings { query_token: false, ..settings() };
            assert_eq!(presented(&query(action), &off), Ok(None));
        }
        for action in [POLL, Action::Ticket, Action::Publish, Action::Control, Action::Presence] {
            assert_eq!(of(&query(action)), Ok(None), "{action:?}");
        }
    }

    #[test]
    fn s19_a_ticket_does_not_buy_another() {
        assert_eq!(of(&Asked { ticket: Some("t"), ..asked(Action::Ticket) }), Ok(None));
        let cookie = Asked { cookie: Some("token=c"), ..asked(Action::Ticket) };
        assert_eq!(of(&cookie), Ok(Some(Credential::Cookie("c"))));
    }

    #[test]
    fn only_bearer_is_for_us() {
        let of = |authorization| of(&Asked { authorization: Some(authorization), ..asked(SSE) });
        for good in ["Bearer b", "bearer b", "BEARER   b "] {
            assert_eq!(of(good), Ok(Some(Credential::Bearer("b"))), "{good:?}");
        }
        for other in ["Basic dTpw", "Bearer", "Bearer ", "", "b", "Bearerb", "Bearer\tb"] {
            assert_eq!(of(other), Ok(None), "{other:?}");
        }
    }

    #[test]
    fn without_a_configured_name_no_cookie_counts() {
        let cookie = Asked { cookie: Some("token=c; =d"), ..asked(SSE) };
        assert_eq!(presented(&cookie, &Settings::default()), Ok(None));
    }

    #[test]
    fn s49_debug_output_shows_no_credential() {
        assert_eq!(format!("{:?}", Credential::Query("canary")), "Query(***)");
    }
}
