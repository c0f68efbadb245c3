//! Cookies: one is read by its name, and one is written (RFC 6265; security rules S23, S49 and S51).

use std::fmt;
use std::time::Duration;

use crate::http1::is_token_byte;

/// The value of the cookie called `name` in `header`, the values of all `Cookie` fields joined with `; `.
///
/// The name is matched exactly, in its case. White space around a name or a value is not part of it, and neither is one
/// pair of double quotes around a value. A semicolon ends a value also inside quotes: browsers send them as they were
/// set, and a reader that believed quotes could be made to swallow one cookie in another. What has no `=` is no cookie.
/// Nothing is copied, and every byte is looked at once.
///
/// # Errors
/// [`Ambiguous`] where the name comes twice, with equal values too.
pub fn get<'a>(header: &'a str, name: &str) -> Result<Option<&'a str>, Ambiguous> {
    let mut found = None;
    for pair in header.split(';') {
        let Some((key, value)) = pair.split_once('=') else { continue };
        if key.trim_matches(WHITE_SPACE) == name && found.replace(value.trim_matches(WHITE_SPACE)).is_some() {
            return Err(Ambiguous);
        }
    }
    Ok(found.map(without_quotes))
}

/// A cookie came twice. It may have been set for a parent domain by another application, or by someone who wants his own
/// session to be used: two credentials could belong to two people, and which of them counts would be a guess.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ambiguous;

impl fmt::Display for Ambiguous {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the cookie came more than once")
    }
}

impl std::error::Error for Ambiguous {}

/// A cookie to be set. It is always `HttpOnly`, for this host alone: it carries a credential, which no script needs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SetCookie<'a> {
    /// Its name: a token.
    pub name: &'a str,
    /// Its value: visible ASCII but for `"`, `,`, `;` and `\`. May be empty.
    pub value: &'a str,
    /// The path that it is sent to, and what lies below: visible ASCII from `/` on without `;`, at most
    /// [`PATH_BYTES_MAX`].
    pub path: &'a str,
    /// How long it is kept, in whole seconds; less than one deletes it. Nothing keeps it until the browser ends.
    pub max_age: Option<Duration>,
    /// Whether it is sent over TLS only.
    pub secure: bool,
    /// Which pages' requests it accompanies.
    pub same_site: SameSite,
}

/// Which pages' requests a cookie accompanies. Those of other sites never get one of ours, so there is no `None`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SameSite {
    /// Those of the same site.
    Strict,
    /// The same, and visits by a link from elsewhere.
    Lax,
}

impl SetCookie<'_> {
    /// The value of a `Set-Cookie` header (RFC 6265 section 4.1.1).
    ///
    /// # Errors
    /// Names the part that cannot be written, or that browsers would not keep as it is meant.
    pub fn to_header(&self) -> Result<String, Unfit> {
        self.check()?;
        let SetCookie { name, value, path, .. } = self;
        let mut header = format!("{name}={value}; Path={path}");
        if let Some(max_age) = self.max_age {
            header.push_str(&format!("; Max-Age={}", max_age.as_secs()));
        }
        if self.secure {
            header.push_str("; Secure");
        }
        header.push_str("; HttpOnly; SameSite=");
        header.push_str(match self.same_site {
            SameSite::Strict => "Strict",
            SameSite::Lax => "Lax",
        });
        Ok(header)
    }

    fn check(&self) -> Result<(), Unfit> {
        if self.name.is_empty() || !self.name.bytes().all(is_token_byte) {
            return Err(Unfit::Name);
        }
        if !self.value.bytes().all(|byte| byte.is_ascii_graphic() && !b"\",;\\".contains(&byte)) {
            return Err(Unfit::Value);
        }
        if self.name.len() + self.value.len() > PAIR_BYTES_MAX {
            return Err(Unfit::TooLong);
        }
        let is_path_byte = |byte: u8| byte.is_ascii_graphic() && byte != b';';
        if !self.path.starts_with('/')
            || self.path.len() > PATH_BYTES_MAX
            || !self.path.bytes().all(is_path_byte)
        {
            return Err(Unfit::Path);
        }
        let prefixed = |prefix: &str| {
            self.name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
        };
        let is_host = prefixed("__Host-");
        if (is_host || prefixed("__Secure-")) && !self.secure || is_host && self.path != "/" {
            return Err(Unfit::Prefix);
        }
        Ok(())
    }
}

impl fmt::Debug for SetCookie<'_> {
    // The value is a credential, and credentials stay out of logs (security rule S49).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SetCookie")
            .field("name", &self.name)
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

/// Why a cookie cannot be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// The name is not a token.
    Name,
    /// The value holds a byte that cookies do not have.
    Value,
    /// Name and value have more than [`PAIR_BYTES_MAX`] bytes.
    TooLong,
    /// The path does not begin with a slash, holds a byte that would end it, or has more than [`PATH_BYTES_MAX`] bytes.
    Path,
    /// The name begins with `__Secure-` or `__Host-`, and the rest does not keep what that promises.
    Prefix,
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unfit::Name => f.write_str("the cookie's name is not a token"),
            Unfit::Value => {
                f.write_str("the cookie's value is not visible ASCII without `\"`, `,`, `;` and `\\`")
            }
            Unfit::TooLong => write!(f, "the cookie has more than {PAIR_BYTES_MAX} bytes"),
            Unfit::Path => write!(f, "the cookie's path is not `/…` in at most {PATH_BYTES_MAX} bytes"),
            Unfit::Prefix => f.write_str("`__Secure-` needs `Secure`, and `__Host-` the path `/` too"),
        }
    }
}

impl std::error::Error for Unfit {}

/// The most bytes of a name and a value: browsers drop a cookie with more (RFC 6265bis section 5.6).
pub const PAIR_BYTES_MAX: usize = 4_096;

/// The most bytes of a path. Browsers ignore a longer one (RFC 6265bis section 5.6), and would send the cookie to more
/// addresses than it is meant for.
pub const PATH_BYTES_MAX: usize = 1_024;

/// What may stand around names and values.
const WHITE_SPACE: [char; 2] = [' ', '\t'];

fn without_quotes(value: &str) -> &str {
    value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_found_by_its_exact_name() {
        for (header, value) in [
            ("t=1", Some("1")),
            ("a=b; t=1; c=d", Some("1")),
            ("a=b;t=1", Some("1")),
            (" \tt \t= \t1 \t;", Some("1")),
            ("t=\"1\"", Some("1")),
            ("t=", Some("")),
            ("t=\"\"", Some("")),
            ("t=a=b==", Some("a=b==")),
            ("t=\"", Some("\"")),
            ("t=\"1", Some("\"1")),
            ("t=1\"", Some("1\"")),
            ("t=\"\"1\"\"", Some("\"1\"")),
            ("t=1 2", Some("1 2")),
            ("\u{fffd}=1; t=1", Some("1")),
            ("", None),
            ("t", None),
            ("T=1", None),
            ("tt=1; t2=1; xt=1; __Host-t=1", None),
            ("=t; ==t; =t=1", None),
            ("a=t=1", None),
            ("a=b, t=1", None),
            ("$t=1", None),
            ("t\u{a0}=1", None),
        ] {
            assert_eq!(get(header, "t"), Ok(value), "{header:?}");
        }
    }

    #[test]
    fn two_cookies_of_one_name_are_ambiguous() {
        for header in ["t=1; t=2", "t=1; t=1", "t=; a=b; t=", "t=1;t =2", "t=\"1; t=2\"", "t=1; t=2; t=3"] {
            assert_eq!(get(header, "t"), Err(Ambiguous), "{header:?}");
        }
        assert_eq!(get("t=1; T=2; a=3; a=4", "t"), Ok(Some("1")), "others may come as often as they like");
    }

    #[test]
    fn a_quote_does_not_swallow_the_next_cookie() {
        assert_eq!(get("a=\"x; t=1; b=y\"", "t"), Ok(Some("1")));
        assert_eq!(get("$Version=1; a=\"x; t=1; b=y\"", "a"), Ok(Some("\"x")));
    }

    const TICKET: SetCookie<'_> = SetCookie {
        name: "tidewire",
        value: "abc-_=",
        path: "/c/a,b",
        max_age: Some(Duration::from_millis(90_999)),
        secure: false,
        same_site: SameSite::Strict,
    };

    #[test]
    fn s23_a_cookie_is_written_for_its_path_and_never_for_scripts() {
        let header = TICKET.to_header();
        assert_eq!(header.unwrap(), "tidewire=abc-_=; Path=/c/a,b; Max-Age=90; HttpOnly; SameSite=Strict");
        let secure = SetCookie { name: "__Secure-t", secure: true, same_site: SameSite::Lax, ..TICKET };
        let session = SetCookie { max_age: None, ..secure };
        assert_eq!(
            session.to_header().unwrap(),
            "__Secure-t=abc-_=; Path=/c/a,b; Secure; HttpOnly; SameSite=Lax"
        );
        let deleted = SetCookie { value: "", max_age: Some(Duration::ZERO), ..TICKET };
        assert!(deleted.to_header().unwrap().starts_with("tidewire=; Path=/c/a,b; Max-Age=0;"));
    }

    #[test]
    fn s45_no_part_can_carry_another_attribute_or_header() {
        for bad in ["", "a b", "a=b", "a;b", "a\r\nb", "é", "a\0", "\"a\"", "a,b"] {
            assert_eq!(SetCookie { name: bad, ..TICKET }.to_header(), Err(Unfit::Name), "{bad:?}");
        }
        for bad in
            ["a; Domain=evil", "a b", "a\r\nSet-Cookie: x", "\"a\"", "a,b", "a\\b", "é", "\u{7f}", "\t"]
        {
            assert_eq!(SetCookie { value: bad, ..TICKET }.to_header(), Err(Unfit::Value), "{bad:?}");
        }
        for bad in ["", "c/a", "/c; Domain=evil", "/c\r\nSet-Cookie: x", "/c /d", "/é", "/\0"] {
            assert_eq!(SetCookie { path: bad, ..TICKET }.to_header(), Err(Unfit::Path), "{bad:?}");
        }
    }

    #[test]
    fn what_browsers_would_drop_or_widen_is_not_written() {
        let long = "x".repeat(PAIR_BYTES_MAX);
        assert_eq!(SetCookie { value: &long, ..TICKET }.to_header(), Err(Unfit::TooLong));
        assert!(SetCookie { name: "x", value: &long[1..], ..TICKET }.to_header().is_ok());
        let path = "/".repeat(PATH_BYTES_MAX + 1);
        assert_eq!(SetCookie { path: &path, ..TICKET }.to_header(), Err(Unfit::Path));
        assert!(SetCookie { path: &path[1..], ..TICKET }.to_header().is_ok());
        for name in ["__Secure-t", "__secure-t", "__Host-t", "__HOST-t"] {
            assert_eq!(SetCookie { name, path: "/", ..TICKET }.to_header(), Err(Unfit::Prefix), "{name}");
        }
        let host = SetCookie { name: "__Host-t", secure: true, ..TICKET };
        assert_eq!(host.to_header(), Err(Unfit::Prefix));
        assert!(SetCookie { path: "/", ..host }.to_header().is_ok());
    }

    #[test]
    fn s49_debug_output_holds_no_credential() {
        assert!(!format!("{TICKET:?}").contains("abc"));
    }
}
