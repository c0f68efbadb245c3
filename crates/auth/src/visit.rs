//! A visit with a ticket: what of a request has to be remembered until the vault has answered.

use std::fmt;
use std::net::IpAddr;

use tidewire_hub::admit::Transport;
use tidewire_hub::grant::{Action, Asked};

use crate::cookie;
use crate::origin::Origin;
use crate::record::{Pass, network};
use crate::secret::{self, Digest};

/// Who comes with a ticket, and from where.
pub(crate) struct Visit {
    pub(crate) ticket: Digest,
    /// The session that belongs to the ticket, where its cookie came along.
    pub(crate) session: Option<Digest>,
    /// Whether it may come again with the same ticket, which streams and polls do and a WebSocket does not.
    pub(crate) may_return: bool,
    page: Page,
    client: IpAddr,
    path: Box<str>,
    secure: bool,
    cookie: Option<Box<str>>,
}

/// What the request says about the page that it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Page {
    /// It is of this origin.
    Of(Box<str>),
    /// It is of the origin that this server has for browsers, whatever that is called.
    Ours,
    /// Nothing: no browser, or one that was not sent by a page.
    Unsaid,
}

impl Visit {
    /// Reads a request. Nothing where its ticket cannot be one, so that there is nothing to look up.
    pub(crate) fn of(asked: &Asked<'_>, ticket: &str) -> Option<Visit> {
        if !secret::is_well_formed(ticket) {
            return None;
        }
        let ticket = secret::digest(ticket);
        let comes_by_url = matches!(asked.action, Action::Subscribe(Transport::Sse | Transport::Poll));
        // A page without an origin of its own has no cookies to come back with (S4).
        let may_return = comes_by_url && asked.origin != Some("null");
        let session = asked.cookie.filter(|_| may_return);
        let session = session.and_then(|header| cookie::session(header, asked.secure, &ticket));
        Some(Visit {
            ticket,
            session: session.map(secret::digest),
            may_return,
            page: page(asked),
            client: asked.client,
            path: asked.path.into(),
            secure: asked.secure,
            cookie: asked.cookie.map(Into::into),
        })
    }

    /// Whether it comes from the page that bought the ticket (security rule S22).
    ///
    /// A browser leaves `Origin` out only where the page and this server are of one origin, and the page that bought
    /// the ticket was one that it may use; who sends neither is no browser, and could write any origin it likes.
    pub(crate) fn is_from_the_page_of(&self, pass: &Pass) -> bool {
        match (&pass.origin, &self.page) {
            (None, _) | (_, Page::Unsaid | Page::Ours) => true,
            (Some(bought), Page::Of(origin)) => bought == origin,
        }
    }

    /// Whether it comes from the network that the ticket is bound to, where it is.
    pub(crate) fn is_from_the_network_of(&self, pass: &Pass) -> bool {
        pass.network.is_none_or(|bought| bought == network(self.client))
    }

    /// The `Set-Cookie` value that lets the ticket's URL be asked for again.
    pub(crate) fn session_cookie(&self, session: &secret::Secret, lasts_s: u64) -> Box<str> {
        let Visit { ticket, path, secure, cookie, .. } = self;
        cookie::set_session(cookie.as_deref(), path, *secure, ticket, session, lasts_s)
    }
}

fn page(asked: &Asked<'_>) -> Page {
    match asked.origin.or(asked.referer.and_then(Origin::of_page)) {
        Some(origin) => Page::Of(origin.into()),
        None if asked.fetch_site == Some("same-origin") => Page::Ours,
        None => Page::Unsaid,
    }
}

impl fmt::Debug for Visit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Visit")
            .field("page", &self.page)
            .field("client", &self.client)
            .finish_non_exhaustive()
    }
}
