//! Pages of this very server, and nobody else's: what the console asks beyond the screen (security rules S1 and S51).

use tidewire_hub::grant::{Asked, Denied};

use crate::denials;
use crate::origin::{Authority, Origin, Scheme};

/// Lets in a request that a page of this server makes, or no page at all. One that `changes` something has to show that a
/// page of this server makes it.
///
/// A browser says where a request comes from in `Sec-Fetch-Site`, which no page can set; one that does not say it says
/// the page's `Origin` on everything that changes something.
///
/// # Errors
/// [`tidewire_hub::Reason::OriginRefused`].
pub fn screen_own(asked: &Asked<'_>, changes: bool) -> Result<(), Denied> {
    let named = asked.origin.map(|origin| is_own(origin, asked));
    let may = match asked.fetch_site {
        // A proxy may have called us by another name than the browser knows.
        Some("same-origin") => true,
        Some("none") | None if changes => named == Some(true),
        Some("none") | None => named != Some(false),
        Some(_) => false,
    };
    if may { Ok(()) } else { Err(denials::origin(asked)) }
}

/// Whether a page is this site's by its name, and by its scheme as far as that is known: what came over TLS was asked for by
/// a page that did as well, and whoever holds the wire can write another at `http://`. Whether there is TLS in front is not
/// always known.
#[must_use]
pub fn is_own(origin: &str, asked: &Asked<'_>) -> bool {
    let host = asked.host.and_then(Authority::parse);
    Origin::parse(origin).zip(host).is_some_and(|(origin, host)| {
        origin.is_same_origin(&host) && (origin.scheme == Scheme::Https || !asked.secure)
    })
}

/// Whether the name that a browser called this server by leads nowhere but to the browser's own machine.
#[must_use]
pub fn is_called_loopback(asked: &Asked<'_>) -> bool {
    asked.host.and_then(Authority::parse).is_some_and(|host| host.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{IpAddr, Ipv4Addr};
    use tidewire_hub::grant::Action;

    fn asked<'a>(fetch_site: Option<&'a str>, origin: Option<&'a str>) -> Asked<'a> {
        Asked {
            action: Action::Page,
            host: Some("localhost:9090"),
            origin,
            fetch_site,
            referer: None,
            authorization: None,
            cookie: None,
            ticket: None,
            query_token: None,
            path: "/admin",
            secure: false,
            client: IpAddr::V4(Ipv4Addr::LOCALHOST),
        }
    }

    #[test]
    fn s51_a_change_comes_from_a_page_of_this_server() {
        let own = Some("http://localhost:9090");
        for (site, origin) in
            [(Some("same-origin"), None), (None, own), (Some("same-origin"), own), (Some("none"), own)]
        {
            assert_eq!(screen_own(&asked(site, origin), true), Ok(()), "{site:?} {origin:?}");
        }
        for (site, origin) in [
            (None, None),
            (Some("none"), None),
            (Some("same-site"), own),
            (Some("cross-site"), own),
            (None, Some("null")),
            (None, Some("http://localhost:9091")),
            (None, Some("https://localhost:9090.evil.example")),
            (Some("cross-site"), None),
        ] {
            assert!(screen_own(&asked(site, origin), true).is_err(), "{site:?} {origin:?}");
        }
    }

    #[test]
    fn s51_whoever_holds_the_wire_writes_no_page_of_a_console_behind_tls() {
        let over_tls = |origin| Asked { secure: true, ..asked(None, Some(origin)) };
        for changes in [true, false] {
            assert_eq!(screen_own(&over_tls("https://localhost:9090"), changes), Ok(()));
            assert!(screen_own(&over_tls("http://localhost:9090"), changes).is_err(), "{changes}");
        }
    }

    #[test]
    fn s51_what_is_looked_at_is_no_other_pages() {
        for (site, origin) in [(None, None), (Some("none"), None), (Some("same-origin"), None)] {
            assert_eq!(screen_own(&asked(site, origin), false), Ok(()));
        }
        for (site, origin) in [(Some("cross-site"), None), (Some("same-site"), None), (None, Some("null"))] {
            assert!(screen_own(&asked(site, origin), false).is_err());
        }
    }
}
