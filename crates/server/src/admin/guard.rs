//! The guard: what every request to the console passes before anything else, and what every answer says (security rules
//! S1, S10 and S51).

use std::net::IpAddr;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Response, Version, header};
use axum::middleware::Next;
use axum::response::IntoResponse as _;
use tidewire_auth::own::{is_called_loopback, screen_own};
use tidewire_hub::grant::Asked;
use tidewire_hub::reason::Reason;

use super::console::Console;
use super::sessions::{Role, Session};
use crate::api::{Problem, Visitor, visitor};
use crate::node::Node;
use crate::refusals;

/// What stands before the console on one listener.
#[derive(Clone)]
pub(super) struct Guard {
    pub(super) console: Arc<Console>,
    /// Knows who may use this listener, and by what name.
    pub(super) listener: Arc<Node>,
}

/// Who asks, for `login`.
#[derive(Clone, Debug)]
pub(super) struct Visit {
    pub(super) client: IpAddr,
    /// What the session's cookie is called here.
    pub(super) cookie: Cookie,
    /// Whether a password may come this way: over TLS, or without leaving the machine of who types it.
    pub(super) is_private: bool,
    /// Whether a program on this machine asks, by a name that leads nowhere else, and no browser for a page.
    pub(super) is_this_machine: bool,
}

/// The session's cookie.
#[derive(Clone, Debug)]
pub(super) struct Cookie {
    name: Box<str>,
    secure: bool,
}

/// Said by a page that asks without being told to: its session is not used by that.
const BY_ITSELF: &str = "tidewire-by-itself";

/// What a request that changes something says besides its cookie.
const CSRF: &str = "tidewire-csrf";

/// What proxies say of those whose requests they pass on, beside everything that begins with `x-forwarded-`.
const PASSED_ON: [&str; 6] =
    ["forwarded", "x-real-ip", "via", "x-client-ip", "true-client-ip", "cf-connecting-ip"];

/// As security rule S51 has it: no inline script or style, nothing from elsewhere, and no string becomes a script.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; \
                      base-uri 'none'; frame-ancestors 'none'; form-action 'self'; require-trusted-types-for 'script'";

pub(super) async fn guard(
    State(Guard { console, listener }): State<Guard>,
    mut request: Request,
    next: Next,
) -> Response<Body> {
    let mut response = match look(&console, &listener, &mut request) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    };
    let fixed = [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ];
    let fields = response.headers_mut();
    for (name, value) in fixed {
        fields.insert(name, HeaderValue::from_static(value));
    }
    // Files say themselves how long they keep.
    fields.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

fn look(console: &Console, listener: &Node, request: &mut Request) -> Result<(), Problem> {
    if !console.is_on() {
        return Err(Problem::new(Reason::NotFound, "there is nothing at this address"));
    }
    // Its proxies are those of the node, whichever listener this is.
    let visitor: Visitor = visitor(&console.node, request)?;
    let asked = visitor.asked();
    // No credential of the API counts here, and the screen's list of origins is not for this.
    let bare =
        Asked { origin: None, cookie: None, authorization: None, ticket: None, query_token: None, ..asked };
    listener.screen(&bare)?;
    let changes = ![Method::GET, Method::HEAD].contains(request.method());
    // The page itself may be come to by a link from anywhere: it holds nothing until its script asks.
    if changes || !is_page(request.uri().path()) {
        screen_own(&asked, changes).map_err(|denied| refusals::denied(denied, &asked))?;
    }
    let cookie = Cookie::of(asked.secure, asked.host);
    // A stream comes back by itself, too, and cannot say so.
    let is_stream = ["/admin/feed", "/admin/tail"].contains(&request.uri().path());
    let by_itself = is_stream || request.headers().contains_key(BY_ITSELF);
    let now_ms = console.node.clock.now().monotonic_ms;
    let value = asked.cookie.and_then(|header| cookie.find(header));
    let session = value.and_then(|value| console.sessions.find(value, now_ms, by_itself));
    let is_private = asked.secure || is_called_loopback(&asked);
    let is_near = asked.client.to_canonical().is_loopback() && is_called_loopback(&asked);
    // Every browser that is still in use says on a request to loopback where it comes from, and no page can leave it out. A
    // proxy that nobody named in `trusted_proxies` is on this machine, and those who come through it need not be.
    let is_passed_on = is_passed_on(request);
    let is_this_machine = is_near && asked.fetch_site.is_none() && !is_passed_on;
    let visit = Visit { client: asked.client, cookie, is_private, is_this_machine };
    request.extensions_mut().insert(visit);
    if let Some(session) = session {
        request.extensions_mut().insert(session);
    }
    Ok(())
}

/// Whether a proxy shows itself. One that says nothing of whom it serves speaks HTTP/1.0, as nginx does until it is told not
/// to; one that does neither cannot be told from a program on this machine.
fn is_passed_on(request: &Request) -> bool {
    let says =
        |name: &HeaderName| name.as_str().starts_with("x-forwarded-") || PASSED_ON.contains(&name.as_str());
    request.version() < Version::HTTP_11 || request.headers().keys().any(says)
}

fn is_page(path: &str) -> bool {
    path == "/admin" || path == "/admin/" || path.starts_with("/admin/assets/")
}

impl Cookie {
    /// A browser lets nobody but this very host set a name that begins with `__Host-`, and only over TLS. On a developer's
    /// machine several servers share a host, so that a plain name says which of them it is for.
    fn of(secure: bool, host: Option<&str>) -> Cookie {
        let port = host.and_then(|host| host.rsplit_once(':')).map_or("", |(_, port)| port);
        let port: String = port.chars().filter(char::is_ascii_digit).collect();
        let name = if secure { "__Host-tidewire_console".into() } else { format!("tidewire_console_{port}") };
        Cookie { name: name.into(), secure }
    }

    /// Its value in a `Cookie` header. Two of one name are none: another host of the same site may have set one.
    fn find<'h>(&self, header: &'h str) -> Option<&'h str> {
        let pairs = header.split(';').filter_map(|pair| pair.trim().split_once('='));
        let mut values = pairs.filter(|(name, _)| *name == &*self.name).map(|(_, value)| value);
        let first = values.next();
        first.filter(|_| values.next().is_none())
    }

    /// The `Set-Cookie` that has a browser keep `value` for so long.
    pub(super) fn set(&self, value: &str, lasts_s: u64) -> String {
        let (name, secure) = (&self.name, if self.secure { "; Secure" } else { "" });
        format!("{name}={value}; Path=/; Max-Age={lasts_s}; HttpOnly; SameSite=Strict{secure}")
    }
}

/// Who is logged in may look.
pub(super) struct Looks(pub(super) Session);

/// Who is logged in with a password may read messages, too.
pub(super) struct Reads(pub(super) Session);

/// Who is logged in as an administrator may act, and it is the page that does.
pub(super) struct Acts;

impl<S: Sync> FromRequestParts<S> for Looks {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Looks, Problem> {
        let session = parts.extensions.get::<Session>().cloned();
        session
            .map(Looks)
            .ok_or_else(|| Problem::new(Reason::Unauthorized, "nobody is logged in to the console"))
    }
}

impl<S: Sync> FromRequestParts<S> for Reads {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Reads, Problem> {
        let Looks(session) = Looks::from_request_parts(parts, state).await?;
        if session.role == Role::Watcher {
            let detail = "whoever looks without a password sees figures and lists, and no messages";
            return Err(Problem::new(Reason::Forbidden, detail));
        }
        Ok(Reads(session))
    }
}

impl<S: Sync> FromRequestParts<S> for Acts {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Acts, Problem> {
        let Looks(session) = Looks::from_request_parts(parts, state).await?;
        says_csrf(&parts.headers, &session)?;
        if session.role != Role::Admin {
            return Err(Problem::new(
                Reason::Forbidden,
                "whoever is not logged in as an administrator may look, and nothing else",
            ));
        }
        Ok(Acts)
    }
}

/// Whether it is the page that asks, which knows a token that no other page can read.
///
/// # Errors
/// `forbidden`.
pub(super) fn says_csrf(headers: &HeaderMap, session: &Session) -> Result<(), Problem> {
    let said = headers.get(CSRF).and_then(|said| said.to_str().ok()).unwrap_or_default();
    let missing = || Problem::new(Reason::Forbidden, format!("`{CSRF}` does not hold this session's token"));
    session.is_csrf(said).then_some(()).ok_or_else(missing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s51_the_cookie_is_bound_to_this_host_and_to_no_script() {
        let secure = Cookie::of(true, Some("console.example"));
        assert_eq!(
            secure.set("v", 60),
            "__Host-tidewire_console=v; Path=/; Max-Age=60; HttpOnly; SameSite=Strict; Secure"
        );
        let plain = Cookie::of(false, Some("127.0.0.1:9090"));
        assert_eq!(
            plain.set("v", 0),
            "tidewire_console_9090=v; Path=/; Max-Age=0; HttpOnly; SameSite=Strict"
        );
    }

    #[test]
    fn s51_a_cookie_that_came_twice_is_nobodys() {
        let cookie = Cookie::of(false, Some("localhost:1"));
        assert_eq!(cookie.find("a=b; tidewire_console_1=x; tidewire_console_2=y"), Some("x"));
        assert_eq!(cookie.find("tidewire_console_1=x; tidewire_console_1=y"), None);
        assert_eq!(cookie.find("tidewire_console_1"), None);
    }
}
