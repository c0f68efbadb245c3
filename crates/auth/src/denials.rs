//! Denials in the request's own terms (security rule S52: and nothing about us).

use std::fmt;

use tidewire_hub::grant::{Asked, Denied};
use tidewire_hub::reason::Reason;

/// The page is not on the allow-list.
pub(crate) fn origin(asked: &Asked<'_>) -> Denied {
    let detail = match asked.origin {
        Some(origin) => format!("pages from {} may not use this server", Shown(origin)),
        None => "the request comes from a page of another site, and does not say from which".into(),
    };
    Denied::new(Reason::OriginRefused).because(detail)
}

/// The page may come, but its cookies do not count.
pub(crate) fn cookie(asked: &Asked<'_>) -> Denied {
    let detail = match asked.origin {
        Some(origin) => format!("the cookies of pages from {} do not count", Shown(origin)),
        None => {
            "a cookie counts only for pages that may use this server, and nothing says that one asks".into()
        }
    };
    Denied::new(Reason::OriginRefused).because(detail)
}

/// Credentials are missing, or are none that count. Outside dev mode, one answer for every cause (security rule S17).
pub(crate) fn credentials(explain: bool, forged: bool, why: impl FnOnce() -> Box<str>) -> Denied {
    Denied { forged, detail: explain.then(why), ..Denied::new(Reason::Unauthorized) }
}

/// The server has another name.
pub(crate) fn host(asked: &Asked<'_>) -> Denied {
    let detail = match asked.host {
        Some(host) => format!("this server is not called {}", Shown(host)),
        None => "this server has a name".into(),
    };
    Denied::new(Reason::HostRefused).because(detail)
}

/// The client is not where the server is for.
pub(crate) fn client(asked: &Asked<'_>) -> Denied {
    Denied::new(Reason::Forbidden).because(format!("{} may not use this server", asked.client))
}

/// Bytes of a request that a denial repeats at most.
const SHOWN_CHARS: usize = 128;

/// What a client sent, shortened for a message to the same client.
struct Shown<'a>(&'a str);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("`")?;
        for char in self.0.chars().take(SHOWN_CHARS) {
            fmt::Display::fmt(&char.escape_debug(), f)?;
        }
        f.write_str("`")
    }
}
