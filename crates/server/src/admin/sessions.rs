//! Sessions: who is logged in to the console. A cookie holds 256 random bits; here is their digest (security rules S50, S51).

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use subtle::ConstantTimeEq as _;
use tidewire_auth::secret::{Digest, NoEntropy, Secret, digest};
use tokio::sync::watch;

/// Sessions of a role at once. Whoever logs in beyond ends the one of that role that was longest unused: viewers end none
/// of an administrator's.
pub(super) const SESSIONS_MAX: usize = 32;

/// How old a session gets.
pub(super) const AGE_MAX_MS: u64 = 12 * 3_600_000;

/// How long it may be unused.
pub(super) const IDLE_MAX_MS: u64 = 3_600_000;

/// What who is logged in may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Look, and act.
    Admin,
    /// Look.
    Viewer,
    /// Look at figures and lists, and read no message.
    Watcher,
}

impl Role {
    /// Its name.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Role::Admin => "admin",
            Role::Viewer => "viewer",
            Role::Watcher => "watcher",
        }
    }
}

/// Everybody who is logged in.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    by_digest: Mutex<HashMap<Digest, Held>>,
}

#[derive(Debug)]
struct Held {
    role: Role,
    csrf: Secret,
    born_ms: u64,
    used_ms: u64,
    over: watch::Sender<bool>,
}

/// A session as a request finds it.
#[derive(Clone, Debug)]
pub(super) struct Session {
    digest: Digest,
    pub(super) role: Role,
    csrf: Secret,
    /// When it ends whatever happens, on the steady clock.
    pub(super) ends_at_ms: u64,
    over: watch::Receiver<bool>,
}

impl Session {
    /// What every request that changes something has to say besides the cookie.
    pub(super) fn csrf(&self) -> &str {
        self.csrf.reveal()
    }

    /// Whether `said` is that.
    pub(super) fn is_csrf(&self, said: &str) -> bool {
        self.csrf.digest().ct_eq(&digest(said)).into()
    }

    /// Resolves when it has ended.
    pub(super) async fn ended(mut self) {
        let _ = self.over.wait_for(|over| *over).await;
    }
}

impl Sessions {
    /// A new session, and what its cookie holds.
    pub(super) fn open(&self, role: Role, now_ms: u64) -> Result<(Secret, Session), NoEntropy> {
        let (cookie, csrf) = (Secret::generate("")?, Secret::generate("")?);
        let mut sessions = self.sessions();
        sessions.retain(|_, held| !held.is_over(now_ms));
        let alike = || sessions.iter().filter(|(_, held)| held.role == role);
        if alike().count() >= SESSIONS_MAX {
            let longest = alike().min_by_key(|(_, held)| held.used_ms).map(|(digest, _)| *digest);
            longest.map(|digest| sessions.remove(&digest));
        }
        let held = Held { role, csrf, born_ms: now_ms, used_ms: now_ms, over: watch::Sender::new(false) };
        let session = held.session(cookie.digest());
        sessions.insert(cookie.digest(), held);
        Ok((cookie, session))
    }

    /// The session of this cookie. Being found is being used, unless the page asks `by_itself`.
    pub(super) fn find(&self, cookie: &str, now_ms: u64, by_itself: bool) -> Option<Session> {
        let digest = digest(cookie);
        let mut sessions = self.sessions();
        let held = sessions.get_mut(&digest)?;
        if held.is_over(now_ms) {
            sessions.remove(&digest);
            return None;
        }
        if !by_itself {
            held.used_ms = now_ms;
        }
        Some(held.session(digest))
    }

    /// Ends a session and what runs in it.
    pub(super) fn end(&self, session: &Session) {
        self.sessions().remove(&session.digest);
    }

    /// Ends all of them: other passwords hold from now on.
    pub(super) fn end_all(&self) {
        self.sessions().clear();
    }

    /// Ends those whose time is over.
    pub(super) fn expire(&self, now_ms: u64) {
        self.sessions().retain(|_, held| !held.is_over(now_ms));
    }

    fn sessions(&self) -> MutexGuard<'_, HashMap<Digest, Held>> {
        self.by_digest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    fn is_over(&self, now_ms: u64) -> bool {
        let since = |then_ms: u64| now_ms.saturating_sub(then_ms);
        since(self.born_ms) >= AGE_MAX_MS || since(self.used_ms) >= IDLE_MAX_MS
    }

    fn session(&self, digest: Digest) -> Session {
        let (csrf, ends_at_ms) = (self.csrf.clone(), self.born_ms.saturating_add(AGE_MAX_MS));
        Session { digest, role: self.role, csrf, ends_at_ms, over: self.over.subscribe() }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.over.send_replace(true);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3_600_000;

    fn open(sessions: &Sessions, now_ms: u64) -> String {
        sessions.open(Role::Admin, now_ms).unwrap().0.reveal().to_owned()
    }

    #[test]
    fn s51_a_session_is_found_by_its_cookie_alone() {
        let sessions = Sessions::default();
        let (cookie, session) = sessions.open(Role::Viewer, 0).unwrap();
        let found = sessions.find(cookie.reveal(), 1, false).unwrap();
        assert_eq!((found.role, found.csrf()), (Role::Viewer, session.csrf()));
        assert!(found.is_csrf(session.csrf()) && !found.is_csrf("") && !found.is_csrf(cookie.reveal()));
        assert!(sessions.find("", 1, false).is_none() && sessions.find(session.csrf(), 1, false).is_none());
        assert!(!format!("{sessions:?}{session:?}").contains(session.csrf()), "s49: nor shown");
    }

    #[test]
    fn s51_an_hour_unused_ends_it_and_twelve_hours_end_it_anyway() {
        let sessions = Sessions::default();
        let cookie = open(&sessions, 0);
        assert!(sessions.find(&cookie, HOUR - 1, false).is_some());
        assert!((1..=12).all(|hour| sessions.find(&cookie, hour * (HOUR - 1), false).is_some()));
        assert!(sessions.find(&cookie, 12 * HOUR, false).is_none());
        let cookie = open(&sessions, 0);
        assert!(sessions.find(&cookie, HOUR, false).is_none());
    }

    #[test]
    fn s51_a_page_that_asks_by_itself_does_not_keep_it_alive() {
        let sessions = Sessions::default();
        let cookie = open(&sessions, 0);
        assert!(sessions.find(&cookie, HOUR - 1, true).is_some());
        assert!(sessions.find(&cookie, HOUR, true).is_none());
    }

    #[tokio::test]
    async fn what_runs_in_a_session_is_told_of_its_end() {
        let sessions = Sessions::default();
        let (_, first) = sessions.open(Role::Admin, 0).unwrap();
        let (_, second) = sessions.open(Role::Admin, 0).unwrap();
        sessions.end(&first);
        first.ended().await;
        sessions.expire(IDLE_MAX_MS);
        second.ended().await;
    }

    #[test]
    fn sessions_are_bounded_and_the_one_longest_unused_goes() {
        let sessions = Sessions::default();
        let cookies: Vec<String> = (0..SESSIONS_MAX as u64).map(|at| open(&sessions, at)).collect();
        assert!(sessions.find(&cookies[0], 1_000, false).is_some());
        open(&sessions, 1_001);
        assert!(sessions.find(&cookies[0], 1_002, false).is_some());
        assert!(sessions.find(&cookies[1], 1_002, false).is_none());
        assert_eq!(sessions.sessions().len(), SESSIONS_MAX);
    }

    #[test]
    fn s51_however_many_viewers_there_are_an_administrator_stays() {
        let sessions = Sessions::default();
        let admin = open(&sessions, 0);
        for at in 0..=SESSIONS_MAX as u64 {
            sessions.open(Role::Viewer, 1 + at).unwrap();
        }
        assert!(sessions.find(&admin, 1_000, false).is_some());
        assert_eq!(sessions.sessions().len(), SESSIONS_MAX + 1);
    }
}
