//! Who is behind a proxy: `X-Forwarded-For`, `X-Forwarded-Proto` and `Forwarded` (RFC 7239; security rule S41).
//!
//! Every proxy on the way appends the address that it saw. What the client wrote itself stands to the left of that, so
//! only the right end can be believed, and only as far as those who wrote it are trusted:
//!
//! ```text
//! X-Forwarded-For: 127.0.0.1, 203.0.113.9, 10.0.0.2        peer 10.0.0.1
//!                  ^          ^            ^                    ^
//!                  |          |            |                    trusted: it says who came to it
//!                  |          |            trusted: it says who came to it
//!                  |          not trusted: this is the client
//!                  the client wrote this; nobody looks at it
//! ```
//!
//! Sketch: a walk from the right over the elements up to the client, usually one or two, with no allocation.

use std::net::{IpAddr, Ipv6Addr};

/// The address of the client: that of `peer`, or what trusted proxies say of the one who came to them.
///
/// `x_forwarded_for` and `forwarded` are the values of all header fields with these names, in the order received, as the
/// bytes they came in: a client may have put anything to the left of what its proxy appended. Several fields are one
/// list. From a peer that is not `trusted` neither is looked at.
///
/// The walk goes from the right. It ends at the first address that is not trusted: the client. It also ends where there
/// is nothing more to go by, and the nearest address that was named, or the peer's, then counts: at the left end, at an
/// element that is malformed, empty, or hides its address (`unknown`, `_hidden`), and after [`ELEMENTS_MAX`] elements or
/// [`BYTES_MAX`] bytes.
///
/// Where there is any `X-Forwarded-For`, `Forwarded` is not looked at, and they are never mixed. Nearly every proxy
/// appends to the former and passes the latter on as it came, so the other way round a client could name itself by
/// sending a `Forwarded`. In front of proxies that write `Forwarded` only, pass no `x_forwarded_for`, or have them
/// remove it.
///
/// `trusted` must name proxies and not the network around them: a client inside it could write what it likes. IPv4
/// addresses in their IPv6 form are IPv4 addresses, in the result and for `trusted`.
#[must_use]
pub fn client(
    peer: IpAddr,
    x_forwarded_for: &[&[u8]],
    forwarded: &[&[u8]],
    trusted: impl Fn(IpAddr) -> bool,
) -> IpAddr {
    let peer = peer.to_canonical();
    if !trusted(peer) {
        return peer;
    }
    if x_forwarded_for.is_empty() {
        walk(peer, Elements::of(forwarded, Quotes::Count), |element| pair(element, b"for"), trusted)
    } else {
        walk(peer, Elements::of(x_forwarded_for, Quotes::MeanNothing), Some, trusted)
    }
}

/// Whether the client came over TLS, as far as a trusted peer says: for cookies that are marked `Secure`.
///
/// The values are those of all header fields with these names, in the order received. The last element counts: the
/// peer's own word where it appends, and where it replaces. A peer behind another proxy that ends TLS must pass on what
/// that one said. As with [`client`], `Forwarded` is only looked at where there is no `X-Forwarded-Proto`.
///
/// `wss` is TLS too: some proxies name the scheme of a WebSocket.
#[must_use]
pub fn is_https(
    peer: IpAddr,
    x_forwarded_proto: &[&[u8]],
    forwarded: &[&[u8]],
    trusted: impl Fn(IpAddr) -> bool,
) -> bool {
    if !trusted(peer.to_canonical()) {
        return false;
    }
    let scheme = if x_forwarded_proto.is_empty() {
        Elements::of(forwarded, Quotes::Count).next().and_then(|element| pair(element, b"proto"))
    } else {
        Elements::of(x_forwarded_proto, Quotes::MeanNothing).next()
    };
    scheme.is_some_and(|scheme| {
        [b"https".as_slice(), b"wss"].iter().any(|tls| scheme.eq_ignore_ascii_case(tls))
    })
}

/// Whom an address counts as where clients are counted (security rule S38): an IPv4 address as itself, an IPv6 address as
/// its /64, which is what one customer gets.
#[must_use]
pub fn prefix(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)).into(),
        address => address,
    }
}

/// The most elements looked at. A chain of so many proxies is a loop.
pub const ELEMENTS_MAX: usize = 32;

/// The most bytes looked at, over all fields.
pub const BYTES_MAX: usize = 4_096;

fn walk<'b>(
    peer: IpAddr,
    elements: Elements<'b>,
    node_of: impl Fn(&'b [u8]) -> Option<&'b [u8]>,
    trusted: impl Fn(IpAddr) -> bool,
) -> IpAddr {
    let mut nearest = peer;
    for element in elements.take(ELEMENTS_MAX) {
        let Some(address) = node_of(element).and_then(node_address) else { break };
        nearest = address;
        if !trusted(address) {
            break;
        }
    }
    nearest
}

/// Whether a comma in double quotes separates elements.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Quotes {
    /// It does not (RFC 9110 section 5.6.4).
    Count,
    /// It does: this list has no quoted strings.
    MeanNothing,
}

/// The elements of a list from right to left, without surrounding white space.
///
/// A quoted string is read from right to left, too. Reading from the left, a quote that a client opened and did not close
/// would swallow what the proxy appended.
struct Elements<'b> {
    lines: std::iter::Rev<std::slice::Iter<'b, &'b [u8]>>,
    /// What is left of the line under way.
    rest: Option<&'b [u8]>,
    quotes: Quotes,
    bytes_left: usize,
}

impl<'b> Elements<'b> {
    fn of(lines: &'b [&'b [u8]], quotes: Quotes) -> Elements<'b> {
        Elements { lines: lines.iter().rev(), rest: None, quotes, bytes_left: BYTES_MAX }
    }
}

impl<'b> Iterator for Elements<'b> {
    type Item = &'b [u8];

    fn next(&mut self) -> Option<&'b [u8]> {
        let line = match self.rest.take() {
            Some(rest) => rest,
            None => self.lines.next()?,
        };
        let window_start = line.len().saturating_sub(self.bytes_left);
        let window = &line[window_start..];
        let comma = match self.quotes {
            Quotes::MeanNothing => window.iter().rposition(|byte| *byte == b','),
            Quotes::Count => last_comma_outside_quotes(window),
        };
        let element = match comma {
            Some(comma) => {
                self.rest = Some(&line[..window_start + comma]);
                &window[comma + 1..]
            }
            // An element that goes on beyond the bound is not known to its beginning, and nothing follows it.
            None if window_start > 0 => return None,
            None => window,
        };
        self.bytes_left = self.bytes_left.saturating_sub(element.len() + 1);
        Some(element.trim_ascii())
    }
}

/// Looks at each byte once, but for the backslashes before a quote, which are looked at twice.
fn last_comma_outside_quotes(bytes: &[u8]) -> Option<usize> {
    let mut at = bytes.len();
    let mut quoted = false;
    while let Some(last) = at.checked_sub(1) {
        at = last;
        match bytes[last] {
            b',' if !quoted => return Some(last),
            b'"' => {
                let before = &bytes[..last];
                let backslashes = before.iter().rev().take_while(|byte| **byte == b'\\').count();
                at -= backslashes;
                // Inside a quoted string a quote with an odd number of backslashes is part of it.
                quoted = !quoted || backslashes % 2 == 1;
            }
            _ => {}
        }
    }
    None
}

/// The value of the pair with this name in one element of `Forwarded` (RFC 7239 section 4), without its quotes but with
/// its backslashes: no address and no scheme has one.
///
/// Nothing where the element has no such pair, two of them, or anything that is not a pair. A value without quotes may
/// also hold bytes that only quotes allow, such as the colon before a port: many proxies write it that way, and there is
/// only one way to read it.
fn pair<'b>(mut element: &'b [u8], name: &[u8]) -> Option<&'b [u8]> {
    let mut found = None;
    while let Some(first) = element.first() {
        // Pairs may be missing between semicolons.
        if *first == b';' {
            element = element[1..].trim_ascii_start();
            continue;
        }
        let equals = element.iter().position(|byte| *byte == b'=')?;
        let key = &element[..equals];
        let after = &element[equals + 1..];
        let (value, rest) = match after.strip_prefix(b"\"") {
            Some(quoted) => {
                let (value, rest) = quoted.split_at(closing_quote(quoted)?);
                (value, &rest[1..])
            }
            None => after.split_at(after.iter().position(|byte| *byte == b';').unwrap_or(after.len())),
        };
        let rest = rest.trim_ascii_start();
        if !rest.is_empty() && !rest.starts_with(b";") {
            return None;
        }
        element = rest;
        if key.is_empty() || !key.iter().all(|byte| crate::http1::is_token_byte(*byte)) {
            return None;
        }
        if key.eq_ignore_ascii_case(name) && found.replace(value.trim_ascii_end()).is_some() {
            return None;
        }
    }
    found
}

/// Where the quoted string ends whose inside is the beginning of `bytes`.
fn closing_quote(bytes: &[u8]) -> Option<usize> {
    let mut escaped = false;
    bytes.iter().position(|byte| {
        let ends = *byte == b'"' && !escaped;
        escaped = *byte == b'\\' && !escaped;
        ends
    })
}

/// The address of `address`, `address:port`, `[address]` or `[address]:port` (RFC 7239 section 6). IPv6 also comes
/// without brackets, and then without a port.
///
/// Nothing for identifiers that hide it, and for addresses with a zone, which means nothing on another machine.
fn node_address(node: &[u8]) -> Option<IpAddr> {
    let node = std::str::from_utf8(node).ok()?;
    if let Some(bracketed) = node.strip_prefix('[') {
        let (address, port) = bracketed.split_once(']')?;
        let address: Ipv6Addr = address.parse().ok()?;
        return (port.is_empty() || is_port(port.strip_prefix(':')?))
            .then_some(IpAddr::V6(address).to_canonical());
    }
    if let Ok(address) = node.parse::<IpAddr>() {
        return Some(address.to_canonical());
    }
    let (address, port) = node.split_once(':')?;
    let address = address.parse().ok()?;
    is_port(port).then_some(IpAddr::V4(address))
}

/// A number of at most five digits, or a name that hides it (RFC 7239 section 6.3).
fn is_port(port: &str) -> bool {
    match port.strip_prefix('_') {
        Some(hidden) => {
            !hidden.is_empty()
                && hidden.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
        }
        None => (1..=5).contains(&port.len()) && port.bytes().all(|byte| byte.is_ascii_digit()),
    }
}
