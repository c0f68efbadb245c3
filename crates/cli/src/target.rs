//! The server that a command talks to, and how its addresses are written.

use hyper::Uri;

use crate::args::Server;
use crate::exit::Failure;
use crate::tls::Trust;

/// A server, its address read.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// As `Host` says it.
    pub authority: String,
    pub host: String,
    pub port: u16,
    /// What stands before every path, without a slash at its end.
    base: String,
    pub token: Option<String>,
    /// Who is believed to be the server; nothing without TLS.
    pub trust: Option<Trust>,
}

impl Target {
    /// Reads the address.
    pub(crate) fn of(server: &Server) -> Result<Target, Failure> {
        let wrong =
            |why: &str| Failure::Usage(format!("the address `{}` {why}", without_secrets(&server.url)));
        let uri: Uri =
            server.url.parse().map_err(|_| wrong("cannot be read; write http://127.0.0.1:8080"))?;
        let trust = match (uri.scheme_str(), &server.ca) {
            (Some("http"), _) => None,
            (Some("https"), _) if server.insecure => Some(Trust::Nobody),
            (Some("https"), Some(file)) => Some(Trust::File(file.clone())),
            (Some("https"), None) => Some(Trust::System),
            _ => return Err(wrong("does not begin with http:// or https://")),
        };
        let authority = uri.authority().ok_or_else(|| wrong("names no host"))?;
        if authority.as_str().contains('@') {
            return Err(wrong(
                "holds a name or a password before its host; give a token or API key with --token",
            ));
        }
        if uri.query().is_some() {
            return Err(wrong("has a query behind it; give a token or API key with --token"));
        }
        let written = authority.as_str().rsplit_once(':').map_or("", |(_, port)| port);
        let is_port = !written.is_empty() && written.bytes().all(|byte| byte.is_ascii_digit());
        if is_port && authority.port_u16().is_none_or(|port| port == 0) {
            return Err(wrong("has a port that is none of 1 to 65535"));
        }
        let base = uri.path().trim_end_matches('/').to_owned();
        Ok(Target {
            host: authority.host().trim_start_matches('[').trim_end_matches(']').to_owned(),
            port: authority.port_u16().unwrap_or(if trust.is_some() { 443 } else { 80 }),
            authority: authority.as_str().to_owned(),
            base,
            token: server.token.clone(),
            trust,
        })
    }

    /// The target of a request: what follows the host.
    pub(crate) fn path(&self, path: &str, query: &[(&str, &str)]) -> String {
        let mut target = format!("{}{path}", self.base);
        for (at, (key, value)) in query.iter().enumerate() {
            target.push(if at == 0 { '?' } else { '&' });
            target.push_str(key);
            target.push('=');
            target.push_str(&escape(value, ""));
        }
        target
    }

    /// The whole address, for somebody else to open.
    pub(crate) fn url(&self, path: &str, query: &[(&str, &str)]) -> String {
        self.origin() + &self.path(path, query)
    }

    /// Scheme, host and port, as a page of the server says them.
    pub(crate) fn origin(&self) -> String {
        let scheme = if self.trust.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.authority)
    }

    /// The path of channels. The server says what is wrong with a name; we only make sure that it arrives.
    pub(crate) fn channels(channels: &str) -> String {
        format!("/c/{}", escape(channels, ",:@=+~"))
    }
}

/// An address as it may be shown: what stands before its host or behind `?` may be somebody's password or ticket.
fn without_secrets(url: &str) -> String {
    let url = url.split(['?', '#']).next().unwrap_or_default();
    let (scheme, rest) = url.split_once("://").map_or(("", url), |(scheme, rest)| (scheme, rest));
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let separator = if scheme.is_empty() { "" } else { "://" };
    format!("{scheme}{separator}{host}{path}")
}

/// Percent-encodes everything but unreserved characters (RFC 3986 section 2.3) and those in `also`.
fn escape(text: &str, also: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        let plain =
            byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || also.as_bytes().contains(&byte);
        if plain {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(url: &str) -> Result<Target, Failure> {
        Target::of(&Server { url: url.into(), ..Server::default() })
    }

    #[test]
    fn an_address_has_a_host_a_port_and_perhaps_a_path() {
        let plain = target("http://localhost").unwrap();
        assert_eq!((plain.host.as_str(), plain.port), ("localhost", 80));
        let secure = target("https://localhost").unwrap();
        assert_eq!((secure.port, secure.trust.as_ref()), (443, Some(&Trust::System)));
        assert_eq!(secure.url("/c/a", &[]), "https://localhost/c/a");
        let full = target("http://[::1]:8080/live/").unwrap();
        assert_eq!((full.host.as_str(), full.port, full.authority.as_str()), ("::1", 8080, "[::1]:8080"));
        assert_eq!(full.path("/c/a", &[("cursor", "a b&c")]), "/live/c/a?cursor=a%20b%26c");
        assert_eq!(full.url("/c/a", &[("ticket", "x")]), "http://[::1]:8080/live/c/a?ticket=x");
    }

    #[test]
    fn what_cannot_be_talked_to_says_why() {
        for (url, why) in [
            ("ftp://a", "http://"),
            ("127.0.0.1:8080", "http://"),
            ("", "read"),
            ("http://127.0.0.1:65536", "65535"),
            ("http://[::1]:0/live", "65535"),
            ("http://root:hunter2@a", "`http://a` holds a name or a password"),
            ("http://a/c/x?ticket=hunter2", "`http://a/c/x` has a query"),
            ("root:hunter2@a b?hunter2", "`a b` cannot be read"),
        ] {
            let Err(Failure::Usage(what)) = target(url) else { panic!("{url:?}") };
            assert!(what.contains(why) && !what.contains("hunter2"), "{what}");
        }
    }

    #[test]
    fn a_bad_channel_name_reaches_the_server_whole() {
        assert_eq!(Target::channels("a,b:c"), "/c/a,b:c");
        assert_eq!(Target::channels("a b/é?"), "/c/a%20b%2F%C3%A9%3F");
    }
}
