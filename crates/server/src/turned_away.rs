//! Who was turned away, and why: the newest refusals of this node, for the console, and how often each reason was given.
//!
//! Nothing in it is a secret (security rule S49): of an address the path is kept and never the query, and of a request its
//! origin and no other field.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use tidewire_hub::reason::Reason;
use tidewire_transport::refusal::Refusal;

/// Refusals that are remembered. The oldest goes.
pub const REMEMBERED_MAX: usize = 256;

/// Bytes that are kept of anything that a client wrote.
const SHOWN_BYTES_MAX: usize = 256;

/// Refusals that are logged: twenty at once, and one every two seconds, which are ten megabytes a day.
const LOGGED: Quota = Quota::per_minute(NonZeroU32::new(30).expect("thirty are some"))
    .allow_burst(NonZeroU32::new(20).expect("twenty are some"));

/// The newest refusals.
#[derive(Debug)]
pub struct TurnedAway {
    newest: Mutex<VecDeque<Turned>>,
    counts: Box<[AtomicU64]>,
    /// How many are logged.
    pace: DefaultDirectRateLimiter,
    /// Refusals since the last one that was logged.
    unlogged: AtomicU64,
}

/// One refusal, as its request met it.
#[derive(Clone, Debug)]
pub struct Turned {
    /// When, in milliseconds since 1970.
    pub time_ms: u64,
    /// Why.
    pub reason: Reason,
    /// The same in the request's own terms.
    pub detail: Box<str>,
    /// Who asked, as far as proxies are believed.
    pub client: Option<IpAddr>,
    /// The origin of the page that asked.
    pub origin: Option<Box<str>>,
    /// How it asked: a method, or the transport of a subscription.
    pub asked: &'static str,
    /// What for, without the query.
    pub path: Box<str>,
    /// What the client was given to quote.
    pub trace_id: Option<Box<str>>,
}

impl Turned {
    /// A refusal of a request that nothing else is known of.
    #[must_use]
    pub fn new(time_ms: u64, refusal: &Refusal, trace_id: Option<&str>) -> Turned {
        Turned {
            time_ms,
            reason: refusal.reason,
            detail: shown(&refusal.detail),
            client: None,
            origin: None,
            asked: "",
            path: "".into(),
            trace_id: trace_id.map(Into::into),
        }
    }

    /// The same with who asked for what.
    #[must_use]
    pub fn of(self, client: Option<IpAddr>, origin: Option<&str>, asked: &'static str, path: &str) -> Turned {
        let path = path.split(['?', '#']).next().unwrap_or_default();
        Turned { client, origin: origin.map(shown), asked, path: shown(path), ..self }
    }
}

impl Default for TurnedAway {
    fn default() -> TurnedAway {
        let counts = Reason::ALL.iter().map(|_| AtomicU64::new(0)).collect();
        let pace = RateLimiter::direct(LOGGED);
        TurnedAway { newest: Mutex::default(), counts, pace, unlogged: AtomicU64::new(0) }
    }
}

impl TurnedAway {
    /// Remembers a refusal.
    pub fn note(&self, turned: Turned) {
        if let Some(at) = Reason::ALL.iter().position(|reason| *reason == turned.reason) {
            self.counts[at].fetch_add(1, Ordering::Relaxed);
        }
        self.log(&turned);
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        if newest.len() >= REMEMBERED_MAX {
            newest.pop_back();
        }
        newest.push_front(turned);
    }

    /// Says who was refused and why, and how many others were since it last did: a flood cannot fill a disk.
    fn log(&self, turned: &Turned) {
        if !tracing::enabled!(tracing::Level::INFO) {
            return;
        }
        if self.pace.check().is_err() {
            self.unlogged.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let Turned { reason, detail, client, origin, asked, path, trace_id, .. } = turned;
        let (code, others) = (reason.code(), self.unlogged.swap(0, Ordering::Relaxed));
        let client = client.map(tracing::field::display);
        let (origin, trace_id) = (origin.as_deref(), trace_id.as_deref());
        tracing::info!(code, %detail, client, origin, asked, %path, trace_id, others, "refused a request");
    }

    /// What is remembered, newest first.
    #[must_use]
    pub fn newest(&self) -> Vec<Turned> {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    /// How often each reason was given, without those that never were.
    pub fn counts(&self) -> impl Iterator<Item = (Reason, u64)> {
        let counts = self.counts.iter().map(|count| count.load(Ordering::Relaxed));
        Reason::ALL.iter().copied().zip(counts).filter(|(_, count)| *count > 0)
    }
}

fn shown(text: &str) -> Box<str> {
    let end = (0..=SHOWN_BYTES_MAX.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    text[..end.unwrap_or_default()].into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turned(time_ms: u64, path: &str) -> Turned {
        let refusal = Refusal::new(Reason::Forbidden, "no");
        Turned::new(time_ms, &refusal, Some("abc")).of(None, None, "GET", path)
    }

    #[test]
    fn the_newest_refusals_are_remembered_and_all_are_counted() {
        let away = TurnedAway::default();
        (0..300).for_each(|time_ms| away.note(turned(time_ms, "/c/a")));
        let newest = away.newest();
        assert_eq!((newest.len(), newest[0].time_ms, newest[255].time_ms), (256, 299, 44));
        assert_eq!(away.counts().collect::<Vec<_>>(), [(Reason::Forbidden, 300)]);
    }

    #[test]
    fn s49_a_query_is_not_remembered_and_nothing_is_longer_than_shown() {
        assert_eq!(&*turned(0, "/c/a?ticket=canary").path, "/c/a");
        assert_eq!(turned(0, &"é".repeat(400)).path.len(), 256);
    }
}
