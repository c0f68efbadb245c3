//! The names that this server is called by: a page whose own name was pointed at us later calls us by that name (DNS
//! rebinding, security rule S10).

use std::collections::HashSet;
use std::fmt;

use crate::origin::{Authority, canonical_host};

/// The allow-list of `Host` headers. Without one, every name is ours.
#[derive(Clone, Debug, Default)]
pub struct Hosts(Option<HashSet<Entry>>);

/// A name and, where one was written, the only port that goes with it.
type Entry = (Box<str>, Option<u16>);

/// An entry that is no host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostsError(pub Box<str>);

impl Hosts {
    /// Reads entries like `live.example`, which holds for every port, and `live.example:8443`. No entries at all mean
    /// that the list is not in use.
    ///
    /// # Errors
    /// The first entry that is neither.
    pub fn parse<'t>(entries: impl IntoIterator<Item = &'t str>) -> Result<Hosts, HostsError> {
        let entries: Result<HashSet<Entry>, HostsError> = entries.into_iter().map(parse_entry).collect();
        let entries = entries?;
        Ok(Hosts((!entries.is_empty()).then_some(entries)))
    }

    /// Whether this server is called so. Only HTTP/1.0 may come without a `Host`, and no browser speaks it: there is
    /// no name to have been rebound.
    #[must_use]
    pub fn admit(&self, host: Option<&str>) -> bool {
        let (Some(entries), Some(host)) = (&self.0, host) else { return true };
        let Some(host) = Authority::parse(host) else { return false };
        let name: Box<str> = host.host.to_ascii_lowercase().into();
        let (exactly, on_any_port) = ((name.clone(), host.port), (name, None));
        entries.contains(&exactly) || entries.contains(&on_any_port)
    }
}

fn parse_entry(entry: &str) -> Result<Entry, HostsError> {
    let wrong = || HostsError(entry.into());
    let ends_in_address = entry.ends_with(']');
    let (host, port) = match entry.rsplit_once(':').filter(|_| !ends_in_address) {
        Some((host, port)) => (host, Some(crate::origin::parse_port(port).ok_or_else(wrong)?)),
        None => (entry, None),
    };
    Ok((canonical_host(host).ok_or_else(wrong)?.into(), port))
}

impl fmt::Display for HostsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is no host: write `live.example` or `live.example:8443`", self.0)
    }
}

impl std::error::Error for HostsError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn admits(entries: &[&str], host: &str) -> bool {
        Hosts::parse(entries.iter().copied()).unwrap().admit(Some(host))
    }

    #[test]
    fn s10_a_name_that_is_not_ours_is_not_on_the_list() {
        let ours = ["Live.Example", "bücher.example", "10.0.0.1:8080", "[::1]", "[2001:db8::1]:8443"];
        for good in [
            "live.example",
            "LIVE.example:8080",
            "xn--bcher-kva.example",
            "10.0.0.1:8080",
            "[::1]:1",
            "[2001:DB8::1]:8443",
        ] {
            assert!(admits(&ours, good), "{good}");
        }
        let foreign = ["evil.example", "live.example.evil", "x.live.example", "10.0.0.1", "10.0.0.1:80"];
        let no_host =
            ["", "live.example.", "live.example:", "live.example@evil", "live example", "[2001:db8::1]"];
        for bad in foreign.into_iter().chain(no_host) {
            assert!(!admits(&ours, bad), "{bad}");
        }
    }

    #[test]
    fn s10_without_a_list_every_name_is_ours() {
        assert!(admits(&[], "whatever.example"));
        assert!(Hosts::parse(["live.example"]).unwrap().admit(None), "HTTP/1.0 has no Host");
    }

    #[test]
    fn s10_an_entry_that_is_no_host_is_refused_at_the_start() {
        for bad in
            ["", "https://a.example", "a.example/", "a.example:", "a.example:0", "*.a.example", "a b", "::1"]
        {
            assert_eq!(Hosts::parse([bad]).unwrap_err(), HostsError(bad.into()));
        }
    }
}
