//! The allow-list of origins: the pages that may use this server (security rules S2 to S4).
//!
//! What an operator writes is read once and turned into what browsers send; what a browser sends is then compared
//! with it byte for byte. Nothing of a request is lowered, decoded or normalised, so that an allowed origin has no
//! second spelling.

use std::collections::HashSet;
use std::fmt;

use crate::origin::{Origin, Scheme, canonical_host, parse_port};

/// Entries that a list may have. Those with a wildcard are looked at one by one.
const ENTRIES_MAX: usize = 1_000;

/// The origins of the pages that may use this server.
#[derive(Clone, Default)]
pub struct Origins {
    exact: HashSet<Box<str>>,
    below: Vec<Below>,
    null: bool,
    any: bool,
}

/// How an origin is on the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listed {
    /// By its name, or by the domain that it lies in.
    Named,
    /// As `null`: some page that has no origin of its own, a sandboxed frame for instance. All of them are one.
    Null,
    /// Because all are.
    Any,
}

impl Origins {
    /// Reads entries of four kinds.
    ///
    /// | entry | allows |
    /// |---|---|
    /// | `https://a.example`, `http://localhost:3000` | that origin |
    /// | `https://*.a.example` | the same scheme and port on every name below `a.example`, and not `a.example` itself |
    /// | `null` | pages without an origin of their own |
    /// | `*` | every `http` and `https` origin |
    ///
    /// Names may be written in any script and in either case, and the default port may be written.
    ///
    /// # Errors
    /// The first entry that is none of these, and why.
    pub fn parse<'t>(entries: impl IntoIterator<Item = &'t str>) -> Result<Origins, OriginsError> {
        let mut origins = Origins::default();
        for (index, entry) in entries.into_iter().enumerate() {
            let wrong = |why| OriginsError { entry: entry.into(), why };
            if index >= ENTRIES_MAX {
                return Err(wrong(Why::TooMany));
            }
            match parse_entry(entry).map_err(wrong)? {
                Entry::Exact(origin) => drop(origins.exact.insert(origin)),
                Entry::Below(below) => origins.below.push(below),
                Entry::Null => origins.null = true,
                Entry::Any => origins.any = true,
            }
        }
        Ok(origins)
    }

    /// Looks up the value of an `Origin` header.
    #[must_use]
    pub fn find(&self, origin: &str) -> Option<Listed> {
        if self.exact.contains(origin) {
            return Some(Listed::Named);
        }
        if origin == NULL {
            return self.null.then_some(Listed::Null);
        }
        if self.below.is_empty() && !self.any {
            return None;
        }
        let origin = Origin::parse(origin)?;
        if self.below.iter().any(|below| below.holds(&origin)) {
            return Some(Listed::Named);
        }
        self.any.then_some(Listed::Any)
    }

    /// Whether every origin is allowed. Cookies must then not count as credentials: every page there is could use
    /// them.
    #[must_use]
    pub fn takes_any(&self) -> bool {
        self.any
    }
}

impl fmt::Debug for Origins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (exact, below) = (self.exact.len(), self.below.len());
        f.debug_struct("Origins")
            .field("exact", &exact)
            .field("below", &below)
            .field("null", &self.null)
            .field("any", &self.any)
            .finish()
    }
}

/// Every name below a domain, with one scheme and one port.
#[derive(Clone, Debug)]
struct Below {
    scheme: Scheme,
    /// The domain with a dot before it, so that `evil-a.example` is not below `a.example`.
    suffix: Box<str>,
    port: Option<u16>,
}

impl Below {
    fn holds(&self, origin: &Origin<'_>) -> bool {
        // An origin has no empty labels, so that something before the suffix is whole labels.
        let label = origin.authority.host.strip_suffix(&*self.suffix);
        label.is_some_and(|label| !label.is_empty())
            && origin.scheme == self.scheme
            && origin.authority.port == self.port
    }
}

enum Entry {
    Exact(Box<str>),
    Below(Below),
    Null,
    Any,
}

/// The origin of a page that has none (WHATWG HTML section 7.1.1).
const NULL: &str = "null";

fn parse_entry(entry: &str) -> Result<Entry, Why> {
    match entry {
        NULL => return Ok(Entry::Null),
        "*" => return Ok(Entry::Any),
        _ => {}
    }
    let (scheme, authority) = entry.split_once("://").ok_or(Why::NoScheme)?;
    let scheme = Scheme::parse(&scheme.to_ascii_lowercase()).ok_or(Why::Scheme)?;
    if authority.contains('@') {
        return Err(Why::User);
    }
    if authority.contains(['/', '?', '#', '\\']) {
        return Err(Why::Path);
    }
    let (host, port) = split_port(authority)?;
    let port = port.filter(|port| *port != scheme.default_port());
    let (host, is_below) = host.strip_prefix("*.").map_or((host, false), |domain| (domain, true));
    if host.contains('*') {
        return Err(Why::Wildcard);
    }
    let host = canonical_host(host).ok_or(Why::Host)?;
    let written = match port {
        Some(port) => format!("{}://{host}:{port}", scheme.as_str()),
        None => format!("{}://{host}", scheme.as_str()),
    };
    // What browsers send is read by the same strict reader, so that no entry is on the list in vain.
    let origin = Origin::parse(&written).ok_or(Why::Host)?;
    if !is_below {
        return Ok(Entry::Exact(written.into()));
    }
    if origin.authority.is_address() {
        return Err(Why::Wildcard);
    }
    Ok(Entry::Below(Below { scheme, suffix: format!(".{host}").into(), port }))
}

fn split_port(authority: &str) -> Result<(&str, Option<u16>), Why> {
    let host_ends = authority.rfind(']').unwrap_or_default();
    match authority[host_ends..].rfind(':') {
        None => Ok((authority, None)),
        Some(colon) => {
            let (host, port) = authority.split_at(host_ends + colon);
            let port = parse_port(&port[1..]).ok_or(Why::Port)?;
            Ok((host, Some(port)))
        }
    }
}

/// An entry that is no origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OriginsError {
    /// The entry as it was written.
    pub entry: Box<str>,
    /// What is wrong with it.
    pub why: Why,
}

/// What is wrong with an entry of the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// It does not begin with a scheme.
    NoScheme,
    /// Its scheme is neither `http` nor `https`.
    Scheme,
    /// It names a user.
    User,
    /// It goes on behind the host.
    Path,
    /// Its host is no name and no address that a browser would write.
    Host,
    /// Its port is no number from 1 to 65535.
    Port,
    /// It has a `*` that does not stand for the first labels of a name.
    Wildcard,
    /// It is one too many.
    TooMany,
}

impl fmt::Display for OriginsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let why = match self.why {
            Why::NoScheme => "begins with no scheme; write `https://` before it",
            Why::Scheme => "has a scheme other than http and https",
            Why::User => "names a user, which origins do not have",
            Why::Path => "goes on behind the host; an origin ends there",
            Why::Host => "names no host as a browser would write it",
            Why::Port => "has a port that is no number from 1 to 65535",
            Why::Wildcard => {
                "has a `*` that does not stand for whole labels at the left, as in `https://*.a.example`"
            }
            Why::TooMany => "is one too many",
        };
        write!(f, "`{}` {why}", self.entry)?;
        let bare = self.entry.trim_end_matches('/');
        // The mistake that an address bar suggests.
        if self.why == Why::Path && parse_entry(bare).is_ok() {
            write!(f, "; write it without the `/` at its end: {bare}")?;
        }
        Ok(())
    }
}

impl std::error::Error for OriginsError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn origins(entries: &[&str]) -> Origins {
        Origins::parse(entries.iter().copied()).unwrap()
    }

    fn wrong(entry: &str) -> Why {
        Origins::parse([entry]).unwrap_err().why
    }

    #[test]
    fn s2_an_entry_becomes_what_a_browser_sends() {
        for (entry, sent) in [
            ("https://a.example", "https://a.example"),
            ("HTTPS://A.Example:443", "https://a.example"),
            ("http://a.example:80", "http://a.example"),
            ("https://a.example:80", "https://a.example:80"),
            ("https://bücher.example", "https://xn--bcher-kva.example"),
            ("http://[0::1]:3000", "http://[::1]:3000"),
            ("http://127.0.0.1:5173", "http://127.0.0.1:5173"),
        ] {
            assert_eq!(origins(&[entry]).find(sent), Some(Listed::Named), "{entry}");
        }
    }

    #[test]
    fn s2_an_entry_that_no_browser_could_match_is_refused_at_the_start() {
        for (entry, why) in [
            ("a.example", Why::NoScheme),
            ("//a.example", Why::NoScheme),
            ("", Why::NoScheme),
            ("ftp://a.example", Why::Scheme),
            ("*://a.example", Why::Scheme),
            ("https://user@a.example", Why::User),
            ("https://a.example/", Why::Path),
            ("https://a.example/chat", Why::Path),
            ("https://a.example?x", Why::Path),
            ("https://", Why::Host),
            ("https://a..example", Why::Host),
            ("https://a.example.", Why::Host),
            ("https://xn--a-.example", Why::Host),
            ("https://127.1", Why::Host),
            ("https://a example", Why::Host),
            ("https://a.example,https://b.example", Why::Path),
            ("https://a.example:", Why::Port),
            ("https://a.example:0", Why::Port),
            ("https://a.example:https", Why::Port),
            ("https://*", Why::Wildcard),
            ("https://*a.example", Why::Wildcard),
            ("https://a.*.example", Why::Wildcard),
            ("https://*.*.example", Why::Wildcard),
            ("https://a.example:*", Why::Port),
            ("https://*.127.0.0.1", Why::Wildcard),
            ("https://*.[::1]", Why::Wildcard),
            ("NULL", Why::NoScheme),
        ] {
            assert_eq!(wrong(entry), why, "{entry:?}");
        }
        let many: Vec<String> = (0..=ENTRIES_MAX).map(|n| format!("https://a{n}.example")).collect();
        assert_eq!(Origins::parse(many.iter().map(String::as_str)).unwrap_err().why, Why::TooMany);
    }

    #[test]
    fn s3_a_wildcard_stands_for_whole_labels_at_the_left() {
        let below = origins(&["https://*.a.example", "http://*.dev.localhost:3000"]);
        for good in ["https://x.a.example", "https://x.y.a.example", "http://app.dev.localhost:3000"] {
            assert_eq!(below.find(good), Some(Listed::Named), "{good}");
        }
        // Phoenix CVE-2022-42975 let in whatever ended in the characters of the domain.
        for bad in [
            "https://a.example",
            "https://evila.example",
            "https://evil-a.example",
            "https://.a.example",
            "https://x.a.example.evil",
            "https://x.a.example:8443",
            "http://x.a.example",
            "https://x.a.example/",
            "https://X.a.example",
            "https://x..a.example",
            "https://evil/.a.example",
            "https://evil?.a.example",
            "https://evil#.a.example",
            "https://evil@x.a.example",
            "https://evil\\.a.example",
            "https://evil.a.example.",
            "https://%2e.a.example",
            "https://*.a.example",
            "http://app.dev.localhost",
            "null",
        ] {
            assert_eq!(below.find(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn s4_null_is_on_the_list_only_as_itself() {
        assert_eq!(origins(&["null"]).find("null"), Some(Listed::Null));
        assert_eq!(origins(&["*", "https://*.a.example"]).find("null"), None);
        for other in ["NULL", "null ", "null, https://a.example", ""] {
            assert_eq!(origins(&["null"]).find(other), None, "{other:?}");
        }
    }

    #[test]
    fn s3_a_star_allows_origins_and_nothing_else() {
        let any = origins(&["*", "https://a.example"]);
        assert!(any.takes_any());
        assert_eq!(any.find("https://a.example"), Some(Listed::Named));
        assert_eq!(any.find("https://evil.example"), Some(Listed::Any));
        for bad in ["", "*", "null", "file://", "https://a.example/", "HTTPS://B.EXAMPLE"] {
            assert_eq!(any.find(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn an_empty_list_allows_no_page() {
        assert_eq!(origins(&[]).find("https://a.example"), None);
        assert_eq!(origins(&[]).find("null"), None);
    }
}
