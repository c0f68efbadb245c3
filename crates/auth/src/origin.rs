//! Origins and hosts as strict values: what does not read as one is nobody's (security rules S2, S10).

use std::net::{Ipv4Addr, Ipv6Addr};

/// The scheme of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// `http`.
    Http,
    /// `https`.
    Https,
}

impl Scheme {
    /// Reads a scheme in lower case, as browsers write it.
    #[must_use]
    pub fn parse(text: &str) -> Option<Scheme> {
        match text {
            "http" => Some(Scheme::Http),
            "https" => Some(Scheme::Https),
            _ => None,
        }
    }

    /// As it stands in an origin.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Scheme::Http => "http",
            Scheme::Https => "https",
        }
    }

    pub(crate) fn default_port(self) -> u16 {
        match self {
            Scheme::Http => 80,
            Scheme::Https => 443,
        }
    }
}

/// An `Origin` header value: `scheme://host[:port]` and nothing else (RFC 6454 section 6.2).
///
/// Browsers send it in lower case and without the default port. A spelling that no browser sends is not an origin,
/// so that there is no second way to write an allowed one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin<'a> {
    /// How the page was loaded.
    pub scheme: Scheme,
    /// From where.
    pub authority: Authority<'a>,
}

impl<'a> Origin<'a> {
    /// Reads an `Origin` header; `null`, lists, paths, user names and every other scheme are nothing.
    #[must_use]
    pub fn parse(text: &'a str) -> Option<Origin<'a>> {
        let (scheme, rest) = text.split_once("://")?;
        let scheme = Scheme::parse(scheme)?;
        if rest.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return None;
        }
        let authority = Authority::parse(rest)?;
        if authority.port == Some(scheme.default_port()) {
            return None;
        }
        Some(Origin { scheme, authority })
    }

    /// The origin of the page that a `Referer` header names (RFC 9110 section 10.1.3), as it would stand in `Origin`.
    #[must_use]
    pub fn of_page(url: &str) -> Option<&str> {
        let authority = url.find("://")? + 3;
        let end = url[authority..].find(['/', '?', '#']).map_or(url.len(), |path| authority + path);
        let origin = &url[..end];
        Origin::parse(origin).is_some().then_some(origin)
    }

    /// Whether a page from here and a server that was called `host` are one site's: same name, same port.
    ///
    /// The scheme cannot be compared: the server may stand behind a proxy that ended TLS.
    #[must_use]
    pub fn is_same_origin(&self, host: &Authority<'_>) -> bool {
        let default = self.scheme.default_port();
        self.authority.host.eq_ignore_ascii_case(host.host)
            && self.authority.port.unwrap_or(default) == host.port.unwrap_or(default)
    }
}

/// A host and, where one is written, a port: what `Host` holds (RFC 9110 section 7.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Authority<'a> {
    /// A name, an IPv4 address, or an IPv6 address in brackets.
    pub host: &'a str,
    /// 1 to 65535.
    pub port: Option<u16>,
}

impl<'a> Authority<'a> {
    /// Reads `host[:port]`; user names, escapes, spaces and empty labels are nothing.
    #[must_use]
    pub fn parse(text: &'a str) -> Option<Authority<'a>> {
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (address, after) = rest.split_once(']')?;
                address.parse::<Ipv6Addr>().ok()?;
                // The brackets stay part of the host: they are what tells `[::1]` from a name.
                (&text[..address.len() + 2], after)
            }
            None => text.find(':').map_or((text, ""), |colon| text.split_at(colon)),
        };
        let port = match port {
            "" => None,
            _ => Some(parse_port(port.strip_prefix(':')?)?),
        };
        (host.starts_with('[') || is_name(host)).then_some(Authority { host, port })
    }

    /// Whether it is an address rather than a name.
    #[must_use]
    pub fn is_address(&self) -> bool {
        self.host.starts_with('[') || self.host.parse::<Ipv4Addr>().is_ok()
    }

    /// Whether only this machine can be meant: `127.0.0.0/8`, `[::1]`, `localhost` or a name below it (RFC 6761).
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        if let Some(address) = self.host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            return address.parse::<Ipv6Addr>().is_ok_and(|address| address.is_loopback());
        }
        if let Ok(address) = self.host.parse::<Ipv4Addr>() {
            return address.is_loopback();
        }
        let host = self.host.to_ascii_lowercase();
        host == "localhost" || host.strip_suffix(".localhost").is_some_and(|label| !label.is_empty())
    }
}

/// A host name or address as browsers write it (WHATWG URL section 3.5): names in lower case and ASCII, addresses in
/// their one short form. Nothing where no browser would go there, or would read it as something else.
pub(crate) fn canonical_host(text: &str) -> Option<String> {
    if let Some(address) = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) {
        let address: Ipv6Addr = address.parse().ok()?;
        return Some(match address.to_ipv4_mapped() {
            // Rust writes the mapped address with dots, browsers without.
            Some(_) => format!("[::ffff:{:x}:{:x}]", address.segments()[6], address.segments()[7]),
            None => format!("[{address}]"),
        });
    }
    // Refuses punycode that stands for plain ASCII, which would be a second name of another host
    // (RUSTSEC-2024-0421).
    let name = idna::domain_to_ascii_cow(text.as_bytes(), idna::AsciiDenyList::URL).ok()?;
    let last = name.rsplit('.').next().unwrap_or_default();
    let is_number = last.bytes().all(|byte| byte.is_ascii_digit()) || last.starts_with("0x");
    // `127.1` and `0x7f.0.0.1` are addresses to a browser, which sends them in another form.
    let stands_for_itself = !is_number || name.parse::<Ipv4Addr>().is_ok();
    (is_name(&name) && stands_for_itself).then(|| name.into_owned())
}

pub(crate) fn parse_port(text: &str) -> Option<u16> {
    // `+80` and `0080` would parse as numbers; nobody writes them in good faith.
    let plain = (1..=5).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    let port: u16 = if plain && !text.starts_with('0') { text.parse().ok()? } else { return None };
    Some(port)
}

fn is_name(host: &str) -> bool {
    let in_bounds = (1..=253).contains(&host.len());
    in_bounds && host.split('.').all(|label| !label.is_empty() && label.bytes().all(is_label_byte))
}

fn is_label_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s2_an_origin_has_one_spelling() {
        for good in
            ["http://localhost", "https://a.example:8443", "http://[::1]:3000", "http://127.0.0.1:5173"]
        {
            assert!(Origin::parse(good).is_some(), "{good:?}");
        }
        for bad in [
            "null",
            "",
            "*",
            "http://",
            "http:/a",
            "//a",
            "a.example",
            "HTTP://a.example",
            "http://A.example",
            "http://a.example/",
            "http://a.example:80",
            "https://a.example:443",
            "http://user@a.example",
            "http://a.example@evil.example",
            "http://a.example:0",
            "http://a.example:080",
            "http://a.example:+80",
            "http://a.example:65536",
            "http://a.example:",
            "http://a..example",
            "http://.a",
            "http://a.example.",
            "http://%61.example",
            "http://a example",
            "http://a\texample",
            "http://a\0",
            "http://a, http://b",
            "http://a http://b",
            "http://[::1",
            "http://::1",
            "http://[localhost]",
            "http://[::1]x",
            "http://é.example",
            "file://",
            "chrome-extension://abcdef",
            "ftp://a.example",
            "http://a.example#x",
            "http://a.example?x",
        ] {
            assert!(Origin::parse(bad).is_none(), "{bad:?}");
        }
    }

    #[test]
    fn s10_a_loopback_host_is_one_that_leaves_no_doubt() {
        for good in [
            "localhost",
            "LOCALHOST",
            "localhost:8080",
            "app.localhost",
            "127.0.0.1",
            "127.9.9.9:1",
            "[::1]",
            "[::1]:8080",
        ] {
            assert!(Authority::parse(good).is_some_and(|host| host.is_loopback()), "{good:?}");
        }
        for bad in [
            "",
            ":",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "evil-localhost",
            "localhostx",
            ".localhost",
            "localhost.",
            "localhost@evil.example",
            "evil.example:80",
            "evil.example#localhost",
            "localhost/evil",
            "127.1",
            "2130706433",
            "0x7f.0.0.1",
            "0177.0.0.1",
            "0.0.0.0",
            "[::]",
            "[::ffff:127.0.0.1]",
            "::1",
            "localhost:",
            "localhost:x",
            "localhost:80:80",
            "127.0.0.1 ",
            " 127.0.0.1",
            "10.0.0.1",
            "rebind.example",
        ] {
            assert!(!Authority::parse(bad).is_some_and(|host| host.is_loopback()), "{bad:?}");
        }
    }

    #[test]
    fn s2_a_host_is_written_as_browsers_write_it() {
        for (written, canonical) in [
            ("A.Example", "a.example"),
            ("bücher.example", "xn--bcher-kva.example"),
            ("BÜCHER.example", "xn--bcher-kva.example"),
            ("xn--bcher-kva.example", "xn--bcher-kva.example"),
            ("ａ.example", "a.example"),
            ("a。example", "a.example"),
            ("127.0.0.1", "127.0.0.1"),
            ("[0:0::1]", "[::1]"),
            ("[2001:DB8::1]", "[2001:db8::1]"),
            ("[::ffff:127.0.0.1]", "[::ffff:7f00:1]"),
        ] {
            assert_eq!(canonical_host(written).as_deref(), Some(canonical), "{written}");
        }
        let bad =
            ["", ".", "a..b", "a.example.", "127.1", "0x7f.0.0.1", "0177.0.0.1", "1", "[::1", "[a]", "a b"];
        let hostile = ["%61.example", "a/b", "a@b", "a\0b", "*.example", "xn--", "a.xn--\u{0}"];
        for bad in bad.into_iter().chain(hostile) {
            assert_eq!(canonical_host(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn s2_punycode_that_hides_ascii_is_no_name() {
        // RUSTSEC-2024-0421: these decoded to `a` and to `example`, so that two spellings named one host.
        for bad in ["xn--a-.example", "xn--example-.com", "www.xn--example-"] {
            assert_eq!(canonical_host(bad), None, "{bad}");
        }
    }

    #[test]
    fn s5_a_referer_tells_the_origin_of_its_page() {
        for (url, origin) in [
            ("https://a.example/chat?x=1#y", "https://a.example"),
            ("http://localhost:3000/", "http://localhost:3000"),
            ("https://a.example", "https://a.example"),
            ("https://a.example?b://c", "https://a.example"),
            ("http://[::1]:80x/", ""),
            ("https://a.example@evil.example/", ""),
            ("https://A.example/", ""),
            ("about:blank", ""),
            ("/chat", ""),
            ("", ""),
        ] {
            assert_eq!(Origin::of_page(url), (!origin.is_empty()).then_some(origin), "{url}");
        }
    }

    #[test]
    fn s2_same_origin_compares_name_and_port() {
        let same = |origin: &str, host: &str| {
            Origin::parse(origin).unwrap().is_same_origin(&Authority::parse(host).unwrap())
        };
        assert!(same("http://a.example:8080", "a.example:8080"));
        assert!(same("http://a.example", "A.example"));
        assert!(same("https://a.example", "a.example:443"));
        assert!(!same("http://a.example", "a.example:8080"));
        assert!(!same("http://a.example.evil", "a.example"));
        assert!(!same("http://evil-a.example", "a.example"));
    }
}
