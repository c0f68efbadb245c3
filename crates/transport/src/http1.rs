//! HTTP/1.1 request heads, read strictly (RFC 9112; security rules S32, S42 and S43).
//!
//! Whatever two readers of the same bytes could understand differently is refused: that difference is what request
//! smuggling lives on. A head is parsed where it lies, without copying.
//!
//! Sketch: a head of 15 fields and 700 bytes costs one `memchr` pass over its lines, one httparse pass over its fields
//! and one allocation. A head that arrives in pieces pays the `memchr` pass again for every piece, which is bounded by
//! `head_bytes_max` bytes and `headers_max` lines.

use std::borrow::Cow;

use memchr::{memchr, memchr_iter};
use tidewire_hub::limits::Limits;
use tidewire_hub::reason::Reason;

use crate::refusal::Refusal;

/// A request head that is well-formed and within the limits. Borrows the bytes it was read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head<'b> {
    /// The method, case as sent (RFC 9110 section 9.1). Never `CONNECT`.
    pub method: &'b str,
    /// The request target as sent: visible ASCII, in origin, absolute or asterisk form (RFC 9112 section 3.2).
    pub target: &'b str,
    /// 1 for HTTP/1.1, 0 for HTTP/1.0.
    pub minor_version: u8,
    /// The fields in the order sent: names as sent, values without surrounding white space, perhaps not UTF-8.
    pub headers: Vec<(&'b str, &'b [u8])>,
    /// How many bytes the head takes, the final empty line included.
    pub len: usize,
    /// What follows the head.
    pub body: Body,
}

/// What follows a head (RFC 9112 section 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// Nothing: the next head.
    None,
    /// So many bytes, at least one and fewer than 2^63.
    Length(u64),
    /// Chunks.
    Chunked,
}

impl<'b> Head<'b> {
    /// The value of the first field with this name, in any case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&'b [u8]> {
        self.header_values(name).next()
    }

    /// The values of every field with this name, in any case.
    pub fn header_values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'b [u8]> + use<'a, 'b> {
        fields(&self.headers, name)
    }

    /// The elements of every list field with this name, without surrounding white space and without empty ones.
    pub fn header_list<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'b [u8]> + use<'a, 'b> {
        self.header_values(name).flat_map(list_elements)
    }

    /// Whether the list field `name` holds `token`, in any case.
    #[must_use]
    pub fn has_token(&self, name: &str, token: &str) -> bool {
        self.header_list(name).any(|element| element.eq_ignore_ascii_case(token.as_bytes()))
    }

    /// Whether this asks for a WebSocket (RFC 6455 section 4.2.1), well or badly.
    #[must_use]
    pub fn asks_for_websocket(&self) -> bool {
        self.method == "GET" && self.has_token("upgrade", "websocket")
    }

    /// Whether the connection ends with the answer (RFC 9112 section 9.3).
    ///
    /// True for HTTP/1.0 also where it asks for `keep-alive`, an experiment that RFC 9112 appendix C.2.2 warns of.
    #[must_use]
    pub fn ends_connection(&self) -> bool {
        self.minor_version == 0 || self.has_token("connection", "close")
    }

    /// The path as sent: without scheme, authority and query. `*` for the asterisk form.
    #[must_use]
    pub fn path(&self) -> &'b str {
        split_target(self.target).path
    }

    /// The query as sent, without the `?`; empty where there is none.
    #[must_use]
    pub fn query(&self) -> &'b str {
        split_target(self.target).query
    }
}

/// Reads the head at the start of `bytes`. `None` asks for more bytes: call again with the same ones and what came after.
///
/// The outcome does not depend on how the bytes were cut into pieces.
///
/// # Errors
/// `malformed_request`, `target_too_long`, `head_too_large`, `method_not_allowed` for `CONNECT`, `unsupported` for a transfer
/// coding beside `chunked`. What follows such bytes has no meaning: answer and close (security rule S42).
pub fn parse_head<'b>(bytes: &'b [u8], limits: &Limits) -> Result<Option<Head<'b>>, Refusal> {
    let Some(lines) = scan_lines(bytes, limits)? else { return Ok(None) };
    let (method, target, minor_version) = lines.request;
    let headers = parse_fields(&bytes[lines.fields_start..lines.end], lines.fields_count)?;
    let host = single_host(&headers, minor_version)?;
    check_target(method, target, host)?;
    let body = body_of(&headers, minor_version)?;
    Ok(Some(Head { method, target, minor_version, headers, len: lines.end, body }))
}

/// Holds a request that came over HTTP/2 to what its head would be held to: `target` as sent, the `hosts` it names, and how
/// many `fields` it has.
///
/// # Errors
/// `malformed_request`, `target_too_long`, `head_too_large`.
pub fn check_request(target: &str, hosts: &[&[u8]], fields: usize, limits: &Limits) -> Result<(), Refusal> {
    if target.len() > limits.target_bytes_max {
        return Err(target_too_long(limits));
    }
    if fields > limits.headers_max {
        return Err(head_too_large(&format!("more than {} header fields", limits.headers_max)));
    }
    let headers: Vec<(&str, &[u8])> = hosts.iter().map(|host| ("host", *host)).collect();
    let host = single_host(&headers, 1)?;
    check_target("GET", target, host)
}

/// Whether a connection begins with what an HTTP/2 client says first (RFC 9113 section 3.4), as far as its line end. Nothing
/// where `bytes` are too few to tell.
#[must_use]
pub fn begins_http2(bytes: &[u8]) -> Option<bool> {
    const LINE: &[u8] = b"PRI * HTTP/2.0\r\n";
    match bytes.starts_with(LINE) {
        false if LINE.starts_with(bytes) => None,
        begins => Some(begins),
    }
}

/// Decodes `%HH` once. Nothing where a `%` is not followed by two hexadecimal digits.
#[must_use]
pub fn percent_decode(text: &str) -> Option<Cow<'_, [u8]>> {
    let bytes = text.as_bytes();
    let Some(first) = memchr(b'%', bytes) else { return Some(Cow::Borrowed(bytes)) };
    let mut decoded = bytes[..first].to_vec();
    let mut rest = &bytes[first..];
    while let Some((byte, tail)) = rest.split_first() {
        if *byte == b'%' {
            let (digits, tail) = tail.split_at_checked(2)?;
            decoded.push(hex_digit(digits[0])? << 4 | hex_digit(digits[1])?);
            rest = tail;
        } else {
            decoded.push(*byte);
            rest = tail;
        }
    }
    Some(Cow::Owned(decoded))
}

/// The elements of a comma-separated field value, without surrounding white space and without empty ones.
pub fn list_elements(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    list_elements_and_gaps(value).filter(|element| !element.is_empty())
}

fn list_elements_and_gaps(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii)
}

/// Whether this byte may stand in a token: a method, a field name, a subprotocol (RFC 9110 section 5.6.2).
#[must_use]
pub fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Where the parts of a whole head lie.
struct Lines<'b> {
    request: (&'b str, &'b str, u8),
    fields_start: usize,
    fields_count: usize,
    end: usize,
}

/// Finds the end of the head and refuses what no later byte can repair.
///
/// Everything is looked at from left to right and only up to the first offence, so that a head cut into pieces is refused
/// for the same reason as a whole one.
fn scan_lines<'b>(bytes: &'b [u8], limits: &Limits) -> Result<Option<Lines<'b>>, Refusal> {
    let window = &bytes[..bytes.len().min(limits.head_bytes_max)];
    let mut line_start = 0;
    let mut request = None;
    let mut fields_start = 0;
    let mut fields_count = 0;
    for at in memchr_iter(b'\n', window) {
        if request.is_none() {
            check_request_line_start(&window[line_start..at], limits)?;
        }
        let Some(line) = window[line_start..at].strip_suffix(b"\r") else {
            // Some readers end a line here and some do not.
            return Err(malformed("a line feed stands without its carriage return"));
        };
        match request {
            // RFC 9112 section 2.2 asks servers to skip one empty line before a request.
            None if line.is_empty() && line_start == 0 => {}
            None => {
                request = Some(parse_request_line(line)?);
                fields_start = at + 1;
            }
            Some(request) if line.is_empty() => {
                return Ok(Some(Lines { request, fields_start, fields_count, end: at + 1 }));
            }
            Some(_) => {
                fields_count += 1;
                if fields_count > limits.headers_max {
                    return Err(head_too_large(&format!("more than {} header fields", limits.headers_max)));
                }
            }
        }
        line_start = at + 1;
    }
    if request.is_none() {
        check_request_line_start(&window[line_start..], limits)?;
    }
    if bytes.len() >= limits.head_bytes_max {
        return Err(head_too_large(&format!("more than {} bytes", limits.head_bytes_max)));
    }
    Ok(None)
}

/// Reads `method SP target SP HTTP/1.x` (RFC 9112 section 3), with exactly these two spaces.
fn parse_request_line(line: &[u8]) -> Result<(&str, &str, u8), Refusal> {
    let mut parts = line.splitn(3, |byte| *byte == b' ');
    let (Some(method), Some(target), Some(version)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(malformed("the request line is not `method target version`"));
    };
    let minor_version = match version {
        b"HTTP/1.1" => 1,
        b"HTTP/1.0" => 0,
        _ => return Err(malformed("the HTTP version is neither 1.1 nor 1.0")),
    };
    match (std::str::from_utf8(method), std::str::from_utf8(target)) {
        (Ok(method), Ok(target)) if !target.is_empty() => Ok((method, target, minor_version)),
        _ => Err(malformed("the request line is not `method target version`")),
    }
}

/// Refuses a beginning of a request line that cannot become one, such as a TLS hello on a plain port.
fn check_request_line_start(line: &[u8], limits: &Limits) -> Result<(), Refusal> {
    let method_bytes = memchr(b' ', line).unwrap_or(line.len());
    let (method, rest) = line.split_at(method_bytes);
    // The last byte may be the carriage return of the empty line before the request, still without its line feed.
    let is_method = method.iter().all(|byte| is_token_byte(*byte)) && (!method.is_empty() || rest.is_empty());
    if method.len() > METHOD_BYTES_MAX || !(is_method || line == b"\r") {
        return Err(malformed("the request does not begin with a method"));
    }
    let Some((_, rest)) = rest.split_first() else { return Ok(()) };
    let target_bytes = memchr(b' ', rest).unwrap_or(rest.len());
    let (target, rest) = rest.split_at(target_bytes);
    if !target.iter().take(limits.target_bytes_max).all(u8::is_ascii_graphic) {
        return Err(malformed("the request target holds a byte that is not visible ASCII"));
    }
    if target.len() > limits.target_bytes_max {
        return Err(target_too_long(limits));
    }
    let Some((_, version)) = rest.split_first() else { return Ok(()) };
    if ![b"HTTP/1.1\r", b"HTTP/1.0\r"].iter().any(|whole| whole.starts_with(version)) {
        return Err(malformed("the HTTP version is neither 1.1 nor 1.0"));
    }
    Ok(())
}

/// Reads the fields with httparse, which refuses folded lines, white space before the colon and control bytes.
fn parse_fields(bytes: &[u8], count: usize) -> Result<Vec<(&str, &[u8])>, Refusal> {
    // Most heads fit the array, which spares them an allocation.
    let mut few = [httparse::EMPTY_HEADER; 32];
    let mut many;
    let room = if count <= few.len() {
        &mut few[..]
    } else {
        many = vec![httparse::EMPTY_HEADER; count];
        &mut many[..]
    };
    match httparse::parse_headers(bytes, room) {
        Ok(httparse::Status::Complete((len, fields))) if len == bytes.len() => {
            if fields.iter().any(|field| field.name.is_empty()) {
                return Err(malformed("a header field has no name"));
            }
            Ok(fields.iter().map(|field| (field.name, field.value)).collect())
        }
        Ok(_) => Err(malformed("the header fields do not end where the head does")),
        Err(httparse::Error::HeaderName) => {
            Err(malformed("a header field's name is not a token followed by a colon"))
        }
        Err(httparse::Error::HeaderValue) => Err(malformed("a header field's value holds a control byte")),
        Err(error) => Err(malformed(&error.to_string())),
    }
}

/// Refuses several `Host` fields, none where HTTP/1.1 requires one, and one that is not a host (RFC 9112 section 3.2).
fn single_host<'b>(headers: &[(&str, &'b [u8])], minor_version: u8) -> Result<Option<&'b [u8]>, Refusal> {
    let mut hosts = fields(headers, "host");
    let host = hosts.next();
    if hosts.next().is_some() {
        return Err(malformed("there is more than one Host field"));
    }
    match host {
        None if minor_version == 1 => Err(malformed("there is no Host field")),
        Some(host) if !is_host(host) => Err(malformed("the Host field is not a host")),
        _ => Ok(host),
    }
}

fn target_too_long(limits: &Limits) -> Refusal {
    let detail = format!("the request target has more than {} bytes", limits.target_bytes_max);
    Refusal::new(Reason::TargetTooLong, detail)
}

/// Refuses targets that a proxy and we could understand differently (security rule S43).
fn check_target(method: &str, target: &str, host: Option<&[u8]>) -> Result<(), Refusal> {
    if method == "CONNECT" {
        return Err(Refusal::new(Reason::MethodNotAllowed, "this server is not a proxy"));
    }
    if target == "*" {
        return if method == "OPTIONS" { Ok(()) } else { Err(malformed("the target `*` is for OPTIONS")) };
    }
    let parts = split_target(target);
    if let Some(authority) = parts.authority {
        // RFC 9112 section 3.2.2 lets the target overrule the Host field; where both agree nothing is overruled.
        if authority.is_empty() || host.is_none_or(|host| !host.eq_ignore_ascii_case(authority.as_bytes())) {
            return Err(malformed("the authority of the target is not the Host field's"));
        }
    }
    if target.contains('#') {
        return Err(malformed("the target holds a fragment"));
    }
    // Where browsers write them as they are, in a query, others of RFC 3986's outcasts do no harm: `{`, `|`, `^` and so on.
    if target.contains(['"', '<', '>']) || parts.path.contains(['^', '`', '{', '}']) {
        return Err(malformed("the target holds a byte that must be percent-encoded there"));
    }
    check_path(parts.path)
}

fn check_path(path: &str) -> Result<(), Refusal> {
    if !path.starts_with('/') {
        return Err(malformed("the path does not begin with a slash"));
    }
    let Some(decoded) = percent_decode(path) else {
        return Err(malformed("a `%` in the path is not followed by two hexadecimal digits"));
    };
    let slashes = |bytes: &[u8]| bytes.iter().filter(|byte| **byte == b'/').count();
    if slashes(&decoded) != slashes(path.as_bytes()) || decoded.contains(&b'\\') {
        return Err(malformed("the path holds an encoded slash or a backslash"));
    }
    if decoded.iter().any(u8::is_ascii_control) {
        return Err(malformed("the path holds an encoded control byte"));
    }
    if decoded.split(|byte| *byte == b'/').any(|segment| segment == b"." || segment == b"..") {
        return Err(malformed("the path holds a dot segment"));
    }
    Ok(())
}

/// How the body is delimited (RFC 9112 section 6.3); every contradiction is refused.
fn body_of(headers: &[(&str, &[u8])], minor_version: u8) -> Result<Body, Refusal> {
    let mut lengths = fields(headers, "content-length");
    let length = lengths.next();
    if lengths.next().is_some() {
        return Err(malformed("there is more than one Content-Length field"));
    }
    if fields(headers, "transfer-encoding").next().is_none() {
        return length.map_or(Ok(Body::None), parse_length);
    }
    if length.is_some() || minor_version == 0 {
        return Err(malformed("Transfer-Encoding stands beside Content-Length or in HTTP/1.0"));
    }
    let codings: Vec<&[u8]> = fields(headers, "transfer-encoding").flat_map(list_elements_and_gaps).collect();
    // RFC 9110 section 5.6.1 lets recipients skip these, so one skips them and another takes the last for a coding.
    if codings.iter().any(|coding| coding.is_empty()) {
        return Err(malformed("Transfer-Encoding holds an empty element"));
    }
    let is_chunked = |coding: &&[u8]| coding.eq_ignore_ascii_case(b"chunked");
    match codings.split_last() {
        Some((last, [])) if is_chunked(last) => Ok(Body::Chunked),
        Some((last, before)) if is_chunked(last) && !before.iter().any(is_chunked) => {
            Err(Refusal::new(Reason::Unsupported, "the only transfer coding is `chunked`"))
        }
        _ => Err(malformed("`chunked` is not the last transfer coding, or not the only `chunked`")),
    }
}

fn parse_length(value: &[u8]) -> Result<Body, Refusal> {
    // Digits alone: `str::parse` would let a sign through.
    let digits =
        std::str::from_utf8(value).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    match digits.and_then(|digits| digits.parse().ok()) {
        Some(0) => Ok(Body::None),
        Some(length) if length <= LENGTH_MAX => Ok(Body::Length(length)),
        _ => Err(malformed("Content-Length is not a number of bytes below 2^63")),
    }
}

/// The parts of a target in origin or absolute form.
struct Target<'b> {
    authority: Option<&'b str>,
    path: &'b str,
    query: &'b str,
}

fn split_target(target: &str) -> Target<'_> {
    let scheme_bytes = ["http://", "https://"]
        .into_iter()
        .find(|scheme| target.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme)))
        .map_or(0, str::len);
    let (authority, rest) = if scheme_bytes == 0 {
        (None, target)
    } else {
        let rest = &target[scheme_bytes..];
        let (authority, rest) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        (Some(authority), rest)
    };
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    // `http://host` and `http://host?query` mean the root (RFC 9112 section 3.2.2).
    let path = if authority.is_some() && path.is_empty() { "/" } else { path };
    Target { authority, path, query }
}

fn fields<'a, 'b>(
    headers: &'a [(&str, &'b [u8])],
    name: &'a str,
) -> impl Iterator<Item = &'b [u8]> + use<'a, 'b> {
    headers.iter().filter(move |field| field.0.eq_ignore_ascii_case(name)).map(|field| field.1)
}

/// Whether this is `host[:port]` (RFC 3986 section 3.2.2), or nothing: no user name, no list, no path, no escapes.
fn is_host(host: &[u8]) -> bool {
    let (is_name, port) = if let Some(rest) = host.strip_prefix(b"[") {
        let Some(end) = memchr(b']', rest) else { return false };
        let is_address = |byte: &u8| byte.is_ascii_hexdigit() || b":.".contains(byte);
        (end > 0 && rest[..end].iter().all(is_address), &rest[end + 1..])
    } else {
        let end = memchr(b':', host).unwrap_or(host.len());
        (host[..end].iter().all(|byte| is_name_byte(*byte)), &host[end..])
    };
    is_name && port.strip_prefix(b":").map_or(port.is_empty(), |port| port.iter().all(u8::is_ascii_digit))
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+;=".contains(&byte)
}

fn hex_digit(byte: u8) -> Option<u8> {
    // A digit is below 16, so it fits.
    char::from(byte).to_digit(16).map(|digit| digit as u8)
}

fn malformed(detail: &str) -> Refusal {
    Refusal::new(Reason::MalformedRequest, detail)
}

fn head_too_large(detail: &str) -> Refusal {
    Refusal::new(Reason::HeadTooLarge, format!("the request head has {detail}"))
}

/// The longest body that is believed. Many readers count in 63 bits, and take what is beyond for something else.
const LENGTH_MAX: u64 = i64::MAX as u64;

/// The longest method that is looked at. The longest registered one has 17 bytes.
const METHOD_BYTES_MAX: usize = 32;
