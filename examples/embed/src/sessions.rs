//! Sessions, as an application has them: a random id in a cookie, and who it belongs to. Kept in memory here.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::http::{HeaderMap, header};

/// The cookie that holds a session's id.
pub const COOKIE: &str = "session";

/// Sessions at once. An application would let them end.
const SESSIONS_MAX: usize = 10_000;

/// Somebody who is logged in.
#[derive(Clone)]
pub struct Session {
    /// What the cookie holds.
    pub id: String,
    /// Who it is.
    pub name: String,
}

/// Everybody who is logged in. Clones are the same.
#[derive(Clone, Default)]
pub struct Sessions(Arc<Mutex<HashMap<String, Session>>>);

impl Sessions {
    /// Opens a session, and gives its id; nothing where the name is none.
    pub fn open(&self, name: &str) -> Option<String> {
        let is_name = (1..=20).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let mut sessions = self.lock();
        if !is_name || sessions.len() >= SESSIONS_MAX {
            return None;
        }
        let mut random = [0_u8; 16];
        getrandom::fill(&mut random).ok()?;
        let id: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        sessions.insert(id.clone(), Session { id: id.clone(), name: name.to_owned() });
        Some(id)
    }

    /// The session of this id.
    pub fn find(&self, id: &str) -> Option<Session> {
        self.lock().get(id).cloned()
    }

    /// The session of a request.
    pub fn of(&self, headers: &HeaderMap) -> Option<Session> {
        self.find(id(headers)?)
    }

    /// Ends the session of a request.
    pub fn close(&self, headers: &HeaderMap) -> Option<Session> {
        self.lock().remove(id(headers)?)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Session>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn id(headers: &HeaderMap) -> Option<&str> {
    let cookies = headers.get_all(header::COOKIE).into_iter().filter_map(|cookie| cookie.to_str().ok());
    let mut pairs = cookies.flat_map(|cookies| cookies.split(';'));
    pairs.find_map(|pair| pair.trim().strip_prefix(COOKIE)?.strip_prefix('='))
}
