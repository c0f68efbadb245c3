//! Logging in and out.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use tidewire_hub::reason::Reason;

use super::console::Clients;
use super::guard::{Guard, Looks, Visit, says_csrf};
use super::password::{PASSWORD_BYTES_MAX, Passwords};
use super::sessions::{AGE_MAX_MS, Role, Session};
use crate::api::{Problem, read_body, read_json};

const BODY_BYTES_MAX: usize = 4 << 10;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Said {
    /// Nothing: who asks may perhaps look without one.
    password: Option<String>,
}

/// What the page is told about its session.
#[derive(Serialize)]
struct About {
    role: &'static str,
    csrf: Box<str>,
    /// Seconds.
    expires_in: u64,
    node: Box<str>,
    version: &'static str,
    /// Whether clients are asked for nothing.
    dev: bool,
    clients: Clients,
}

/// `GET /admin/session`: `null` where nobody is logged in, which is no refusal.
pub(super) async fn session(State(guard): State<Guard>, session: Option<Extension<Session>>) -> Response {
    match session {
        Some(Extension(session)) => about(&guard, &session),
        None => Json(()).into_response(),
    }
}

/// `POST /admin/login`
pub(super) async fn login(
    State(guard): State<Guard>,
    Extension(visit): Extension<Visit>,
    request: Request,
) -> Result<Response, Problem> {
    let console = &guard.console;
    let (mut head, body) = request.into_parts();
    let body = read_body(body, BODY_BYTES_MAX, console.node.limits().body_max).await?;
    if !visit.is_private {
        let detail =
            "a password is not taken over plain HTTP from another machine: come over TLS, or by `ssh -L`";
        return Err(Problem::new(Reason::Forbidden, detail));
    }
    let Said { password } = read_json(&body, "the login")?;
    let before = head.extensions.remove::<Session>();
    let passwords = console.passwords();
    let Some(password) = password else {
        if !(visit.is_this_machine && passwords.lets_this_machine_look()) {
            return Err(Problem::new(Reason::Unauthorized, "the console asks for a password"));
        }
        return open(&guard, &visit, before.as_ref(), Role::Watcher, &passwords);
    };
    let now_ms = console.node.clock.now().monotonic_ms;
    if !console.attempts.begin(visit.client, now_ms) {
        let detail = "five passwords from this address were wrong; it may try again in a minute";
        return Err(Problem::new(Reason::RateLimited, detail));
    }
    let Ok(permit) = console.checks.clone().try_acquire_owned() else {
        // Nobody has looked at it, so it was no wrong one.
        console.attempts.forget(visit.client, now_ms);
        return Err(Problem::new(Reason::Overloaded, "other passwords are being looked at; try again"));
    };
    let looked_at = passwords.clone();
    let role = tokio::task::spawn_blocking(move || {
        let _permit = permit;
        if password.len() > PASSWORD_BYTES_MAX { None } else { looked_at.role_of(&password) }
    });
    let Ok(Some(role)) = role.await else {
        tracing::warn!(client = %visit.client, "a wrong password for the console");
        return Err(Problem::new(Reason::Unauthorized, "this is not a password of the console"));
    };
    console.attempts.forget(visit.client, now_ms);
    open(&guard, &visit, before.as_ref(), role, &passwords)
}

/// Opens a session by the word of `passwords`, in place of the one that there was `before`.
fn open(
    guard: &Guard,
    visit: &Visit,
    before: Option<&Session>,
    role: Role,
    passwords: &Arc<Passwords>,
) -> Result<Response, Problem> {
    let console = &guard.console;
    // Whoever was logged in here before is not any more.
    if let Some(before) = before {
        console.sessions.end(before);
    }
    let opened = console.sessions.open(role, console.node.clock.now().monotonic_ms);
    let (cookie, session) =
        opened.map_err(|_| Problem::new(Reason::Internal, "the system has no random number"))?;
    // Other passwords may have come into force meanwhile, and ended every session but this.
    if !Arc::ptr_eq(passwords, &console.passwords()) {
        console.sessions.end(&session);
        return Err(Problem::new(Reason::Unauthorized, "the passwords were changed just now; try again"));
    }
    tracing::info!(client = %visit.client, role = role.as_str(), "logged in to the console");
    let mut response = about(guard, &session);
    set_cookie(&mut response, &visit.cookie.set(cookie.reveal(), AGE_MAX_MS / 1_000));
    Ok(response)
}

/// `POST /admin/logout`
pub(super) async fn logout(
    State(guard): State<Guard>,
    Extension(visit): Extension<Visit>,
    headers: HeaderMap,
    Looks(session): Looks,
) -> Result<Response, Problem> {
    says_csrf(&headers, &session)?;
    guard.console.sessions.end(&session);
    let mut response = Response::new(Body::from("{}"));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    set_cookie(&mut response, &visit.cookie.set("", 0));
    Ok(response)
}

fn about(guard: &Guard, session: &Session) -> Response {
    let console = &guard.console;
    let now_ms = console.node.clock.now().monotonic_ms;
    Json(About {
        role: session.role.as_str(),
        csrf: session.csrf().into(),
        expires_in: session.ends_at_ms.saturating_sub(now_ms) / 1_000,
        node: console.sources.name.clone(),
        version: env!("CARGO_PKG_VERSION"),
        dev: console.node.crowd.is_none(),
        clients: console.clients,
    })
    .into_response()
}

fn set_cookie(response: &mut Response, cookie: &str) {
    if let Ok(mut cookie) = HeaderValue::from_str(cookie) {
        cookie.set_sensitive(true);
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
}
