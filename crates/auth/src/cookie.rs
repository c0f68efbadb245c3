//! Cookies: reading the one that holds a token, and reading and writing the one that lets an `EventSource` come back
//! (security rule S23, RFC 6265).

use crate::secret::{self, Digest, Secret};

/// The values of every cookie of this name.
pub(crate) fn values<'h>(header: &'h str, name: &str) -> impl Iterator<Item = &'h str> {
    header.split(';').filter_map(move |pair| {
        let (key, value) = pair.split_once('=')?;
        (key.trim() == name).then(|| value.trim()).filter(|value| !value.is_empty())
    })
}

/// A cookie came twice, with two values. A page of another host on the same site can set one beside ours; which of
/// them is the user's would be a guess.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ambiguous;

/// The value of the cookie of this name.
pub(crate) fn only<'h>(header: &'h str, name: &str) -> Result<Option<&'h str>, Ambiguous> {
    let mut values = values(header, name);
    let first = values.next();
    if values.any(|value| Some(value) != first) { Err(Ambiguous) } else { Ok(first) }
}

/// Whether a cookie may be called so (a token of RFC 9110 section 5.6.2).
pub(crate) fn is_name(name: &str) -> bool {
    let is_token_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !name.is_empty() && name.bytes().all(is_token_byte)
}

/// What the session cookie is called. A browser lets nobody but an `https` host set a name that begins with
/// `__Secure-`, and nobody set it without `Secure`.
pub(crate) fn session_name(secure: bool) -> &'static str {
    if secure { "__Secure-tidewire_ticket" } else { "tidewire_ticket" }
}

/// Sessions that one cookie holds: as many tabs of one browser may have a stream at the same path.
const SESSIONS_MAX: usize = 8;

/// Characters that tell which ticket a session belongs to.
const TAG_BYTES: usize = 8;

/// The secret of the session that belongs to `ticket`, if the `Cookie` header holds one.
///
/// Tabs with the same path share one cookie. So its value is a list, `TAG SECRET` joined by dots, in which each
/// finds its own.
pub(crate) fn session<'a>(header: &'a str, secure: bool, ticket: &Digest) -> Option<&'a str> {
    let tag = tag(ticket);
    sessions(header, secure).find_map(|session| session.strip_prefix(&*tag))
}

/// The value of a `Set-Cookie` header that adds a session to those that the client has already.
pub(crate) fn set_session(
    header: Option<&str>,
    path: &str,
    secure: bool,
    ticket: &Digest,
    session: &Secret,
    lasts_s: u64,
) -> Box<str> {
    let name = session_name(secure);
    let tag = tag(ticket);
    let mut value = format!("{tag}{}", session.reveal());
    let others = sessions(header.unwrap_or_default(), secure).filter(|other| !other.starts_with(&tag));
    for other in others.take(SESSIONS_MAX - 1) {
        value.push('.');
        value.push_str(other);
    }
    let path = scope(path);
    let secure = if secure { "; Secure" } else { "" };
    format!("{name}={value}; Path={path}; HttpOnly; SameSite=Strict; Max-Age={lasts_s}{secure}").into()
}

/// Whether a path can stand in a cookie as it is.
pub(crate) fn is_path(path: &str) -> bool {
    path.starts_with('/') && path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b';')
}

/// Bytes of an attribute that browsers read (RFC 6265bis section 5.6).
const PATH_BYTES_MAX: usize = 1_024;

/// A path that is too long to be scoped to is scoped to its folder: what browsers would otherwise make of it.
fn scope(path: &str) -> &str {
    let folder = path.rfind('/').map_or(path, |slash| &path[..=slash]);
    if path.len() <= PATH_BYTES_MAX { path } else { folder }
}

fn sessions(header: &str, secure: bool) -> impl Iterator<Item = &str> {
    // What is no session is not repeated to the browser either.
    let is_session = |text: &&str| {
        let parts = text.split_at_checked(TAG_BYTES);
        parts.is_some_and(|(tag, secret)| {
            tag.bytes().all(|byte| byte.is_ascii_hexdigit()) && secret::is_well_formed(secret)
        })
    };
    values(header, session_name(secure)).flat_map(|value| value.split('.')).filter(is_session)
}

/// Which ticket it is, to whom knows the ticket. Its collision costs one more reconnect, and opens nothing: the
/// session's record names the whole digest.
fn tag(ticket: &Digest) -> String {
    let mut tag = secret::hex(ticket);
    tag.truncate(TAG_BYTES);
    tag
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret() -> Secret {
        Secret::generate("").unwrap()
    }

    /// What a browser would send back after `Set-Cookie`.
    fn sent(set_cookie: &str) -> &str {
        set_cookie.split(';').next().unwrap()
    }

    #[test]
    fn a_cookie_is_found_among_others() {
        let header = "theme=dark; token=abc;session = x ; token2=def; broken; token_=; =y";
        assert_eq!(only(header, "token"), Ok(Some("abc")));
        assert_eq!(only(header, "session"), Ok(Some("x")));
        assert_eq!(only(header, "tok"), Ok(None));
        assert_eq!(only(header, "token_"), Ok(None), "an empty one is none");
        assert_eq!(only("", "token"), Ok(None));
        assert_eq!(only("token=a=b==", "token"), Ok(Some("a=b==")));
    }

    #[test]
    fn s5_a_cookie_that_a_neighbour_set_beside_ours_makes_both_worthless() {
        assert_eq!(only("token=mine; token=theirs", "token"), Err(Ambiguous));
        assert_eq!(only("token=mine; token=mine", "token"), Ok(Some("mine")));
    }

    #[test]
    fn s23_the_session_cookie_is_for_this_path_this_site_and_no_script() {
        let session = secret();
        let plain = set_session(None, "/c/prices", false, &[0xAB; 32], &session, 60);
        let expected = format!(
            "tidewire_ticket=abababab{}; Path=/c/prices; HttpOnly; SameSite=Strict; Max-Age=60",
            session.reveal()
        );
        assert_eq!(*plain, *expected);
        let secure = set_session(None, "/c/prices", true, &[0xAB; 32], &session, 60);
        assert_eq!(*secure, format!("__Secure-{expected}; Secure"));
    }

    #[test]
    fn s23_tabs_with_one_path_find_each_their_own_session() {
        let (tickets, mut cookie) = ([[1; 32], [2; 32], [3; 32]], String::new());
        let mut secrets = Vec::new();
        for ticket in &tickets {
            let secret = secret();
            let set = set_session(Some(&cookie), "/c/a", false, ticket, &secret, 60);
            cookie = format!("theme=dark; {}", sent(&set));
            secrets.push(secret);
        }
        for (ticket, secret) in tickets.iter().zip(&secrets) {
            assert_eq!(session(&cookie, false, ticket), Some(secret.reveal()));
        }
        assert_eq!(session(&cookie, false, &[4; 32]), None);
        assert_eq!(session(&cookie, true, &tickets[0]), None, "over TLS only the secure name counts");
    }

    #[test]
    fn s23_a_cookie_holds_so_many_sessions_and_no_junk() {
        let mut cookie = "tidewire_ticket=junk.é.0123456789".to_owned();
        for number in 0..20 {
            let set = set_session(Some(&cookie), "/c/a", false, &[number; 32], &secret(), 60);
            cookie = sent(&set).to_owned();
        }
        assert_eq!(sessions(&cookie, false).count(), SESSIONS_MAX);
        assert!(!cookie.contains("junk") && cookie.len() < 512);
        assert!(session(&cookie, false, &[19; 32]).is_some() && session(&cookie, false, &[11; 32]).is_none());
        let again = set_session(Some(&cookie), "/c/a", false, &[19; 32], &secret(), 60);
        assert_eq!(sessions(sent(&again), false).count(), SESSIONS_MAX, "a ticket has one session");
    }

    #[test]
    fn s23_a_path_cannot_write_into_the_cookie() {
        for good in ["/c/prices", "/c/a,b:c@=+~-", "/c/%41", "/"] {
            assert!(is_path(good), "{good}");
        }
        for bad in ["", "c/a", "/c/a; Domain=evil.example", "/c/a\r\nX: y", "/c/a b", "/c/é", "/c/\u{7f}"] {
            assert!(!is_path(bad), "{bad:?}");
        }
        let long = format!("/c/{}", "a,".repeat(600));
        let set = set_session(None, &long, false, &[0; 32], &secret(), 60);
        assert!(set.contains("; Path=/c/;"), "{set}");
    }

    #[test]
    fn a_cookie_has_a_name_that_browsers_take() {
        assert!(is_name("token") && is_name("__Host-token"));
        for bad in ["", "a b", "a=b", "a;b", "é", "a\"b"] {
            assert!(!is_name(bad), "{bad:?}");
        }
    }
}
