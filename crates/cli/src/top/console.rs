//! The console of a server, asked as its page asks it: a login, a stream of figures, and lists.
//!
//! Nothing is asked that a viewer may not. The console's guard lets in what a page of its own server asks; we are no page,
//! and say the server's own origin where a login has to.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::{Response, StatusCode};
use serde::de::DeserializeOwned;
use tidewire_server::config::Secret;
use tokio::time::timeout;

use crate::http::{self, Refused};
use crate::target::Target;

use super::said::About;

/// How long an answer may take. A server that stalls is one to say so of.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// How long saying goodbye may take.
const GOODBYE_MAX: Duration = Duration::from_millis(300);

/// The largest answer: two hundred connections with eight channels of 128 bytes each, twice.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// A console, and our session there.
pub(super) struct Console {
    pub target: Target,
    password: Option<Secret>,
    session: Mutex<Option<Session>>,
}

#[derive(Clone)]
struct Session {
    /// As the server set it: its name and its value.
    cookie: String,
    csrf: String,
}

impl Console {
    pub(super) fn new(target: Target) -> Console {
        Console { target, password: None, session: Mutex::default() }
    }

    /// Logs in with this password from now on.
    pub(super) fn with(self, password: Option<Secret>) -> Console {
        Console { password, ..self }
    }

    /// Whether there is a console at this address; asks without any secret.
    ///
    /// # Errors
    /// Who answers is none, or nobody does.
    pub(super) async fn look(&self) -> Result<(), Refused> {
        // Where nobody is logged in, the answer is `null`.
        self.get::<serde_json::Value>("/admin/session", &[]).await.map(|_| ())
    }

    /// Logs in, without a password where there is none: a server in dev mode lets this machine look (decision 29).
    ///
    /// # Errors
    /// The password is wrong, missing, or must not go this way; there is no console; nobody answers.
    pub(super) async fn open(&self) -> Result<About, Refused> {
        let password = self.password.as_ref().map(|secret| String::from_utf8_lossy(secret.expose()));
        let body = serde_json::json!({ "password": password }).to_string();
        let request = http::request(&self.target, "POST", &self.target.path("/admin/login", &[]))
            .header("origin", self.target.origin())
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(body)));
        let response = self.send(request).await?;
        let set = response.headers().get("set-cookie").and_then(|set| set.to_str().ok()).unwrap_or_default();
        let cookie = set.split(';').next().unwrap_or_default().to_owned();
        let about: About = self.read(response).await?;
        *self.session() = Some(Session { cookie, csrf: about.csrf.clone() });
        Ok(about)
    }

    /// The stream of figures.
    ///
    /// # Errors
    /// The session is over, or nobody answers.
    pub(super) async fn feed(&self) -> Result<Response<Incoming>, Refused> {
        self.send(self.ask("GET", "/admin/feed", &[], "text/event-stream")).await
    }

    /// An answer in JSON.
    ///
    /// # Errors
    /// The session is over, nobody answers, or what does is not what was asked for.
    pub(super) async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<T, Refused> {
        let response = self.send(self.ask("GET", path, query, "application/json")).await?;
        self.read(response).await
    }

    /// Logs out, if the server is there to hear it: a session that nobody uses is one too many.
    pub(super) async fn close(&self) {
        let Some(session) = self.session().take() else { return };
        let request = http::request(&self.target, "POST", &self.target.path("/admin/logout", &[]))
            .header("origin", self.target.origin())
            .header("cookie", session.cookie)
            .header("tidewire-csrf", session.csrf)
            .body(Full::default());
        let _ = timeout(GOODBYE_MAX, self.send(request)).await;
    }

    fn ask(
        &self,
        method: &str,
        path: &str,
        query: &[(&str, &str)],
        accept: &str,
    ) -> hyper::http::Result<hyper::Request<Full<Bytes>>> {
        let mut request = http::request(&self.target, method, &self.target.path(path, query));
        request = request.header("accept", accept);
        if let Some(Session { cookie, .. }) = &*self.session() {
            request = request.header("cookie", cookie);
        }
        request.body(Full::default())
    }

    async fn send(
        &self,
        request: hyper::http::Result<hyper::Request<Full<Bytes>>>,
    ) -> Result<Response<Incoming>, Refused> {
        let request = request.map_err(|error| self.strange(&error))?;
        let response = timeout(ANSWER_MAX, http::send(&self.target, request)).await;
        response.unwrap_or_else(|_| Err(self.late()))
    }

    async fn read<T: DeserializeOwned>(&self, response: Response<Incoming>) -> Result<T, Refused> {
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect();
        let body = timeout(ANSWER_MAX, body).await.map_err(|_| self.late())?;
        let body = body.map_err(|error| self.strange(&error))?.to_bytes();
        serde_json::from_slice(&body).map_err(|_| Refused::Refused {
            status: StatusCode::OK,
            words: format!("what answers at {} is no console of Tidewire", self.target.authority),
        })
    }

    fn late(&self) -> Refused {
        let (authority, s) = (&self.target.authority, ANSWER_MAX.as_secs());
        Refused::Unreachable(format!("{authority} gave no answer for {s} s"))
    }

    fn strange(&self, error: &dyn std::fmt::Display) -> Refused {
        Refused::Unreachable(format!("{} gave no answer: {error}", self.target.authority))
    }

    fn session(&self) -> std::sync::MutexGuard<'_, Option<Session>> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
