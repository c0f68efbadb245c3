//! The keys of a URL: fetched over HTTPS, remembered for minutes, and fetched anew when a token names one that is not
//! there (security rule S16).
//!
//! The URL stands in the configuration. Nothing of a token enters it (Centrifugo CVE-2026-32301).

mod address;
mod cache;
pub(crate) mod fetch;

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tidewire_hub::Now;
use tokio::runtime::Handle;

use self::cache::{Cache, Current, Fetched, Wait};
use self::fetch::Source;
pub use self::fetch::{BODY_BYTES_MAX, FETCH_MAX, FetchError, JwksError, read_url};
use super::keys::KeySet;

/// The shortest time that a fetched set is good, whatever its `Cache-Control` says.
pub const LASTS_MIN: Duration = Duration::from_secs(5 * 60);

/// The longest time that a fetched set is good: so long a withdrawn key may still be accepted.
pub const LASTS_MAX: Duration = Duration::from_secs(60 * 60);

/// Where a set of keys is, and whom to trust on the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JwksOptions {
    /// An `https` URL without user name or fragment.
    pub url: Box<str>,
    /// Whether it may lie on this machine or in a private network. Default no.
    pub allow_private: bool,
    /// Authorities to trust in place of the system's, in PEM. Default: the system's.
    pub ca_file: Option<PathBuf>,
}

impl JwksOptions {
    /// Whether a set can be fetched so. Nothing is fetched; the file of authorities is read.
    ///
    /// # Errors
    /// Those of [`Jwks::new`].
    pub fn check(&self) -> Result<(), JwksError> {
        Source::new(self).map(drop)
    }
}

/// A set of keys that is fetched. Cloning shares it.
#[derive(Clone)]
pub struct Jwks(Arc<Shared>);

struct Shared {
    options: JwksOptions,
    source: Source,
    cache: Mutex<Cache<Waiter>>,
    runtime: Handle,
}

/// How fetching a set of keys goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fetching {
    /// Fetches that have ended since the start.
    pub fetches: u64,
    /// Those of them that brought nothing.
    pub failures: u64,
    /// How long ago the set that is in use was fetched; nothing where none ever was.
    pub age: Option<Duration>,
}

/// Called once with what there is after the fetch that was waited for, and the moment of its end.
type Waiter = Box<dyn FnOnce(Outcome, Now) + Send>;

/// What waiting came to.
#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    Keys(Arc<KeySet>),
    Unavailable,
}

impl Jwks {
    /// Prepares to fetch on `runtime`, whose timer and I/O are enabled. The first fetch begins with the first token, or
    /// with the first [`super::Verifier::tick`].
    ///
    /// # Errors
    /// What is wrong with the options.
    pub fn new(options: JwksOptions, runtime: Handle) -> Result<Jwks, JwksError> {
        let source = Source::new(&options)?;
        Ok(Jwks(Arc::new(Shared { options, source, cache: Mutex::new(Cache::new()), runtime })))
    }

    /// What it was made of. A reload that leaves it alone keeps this set, and what was fetched with it.
    #[must_use]
    pub fn options(&self) -> &JwksOptions {
        &self.0.options
    }

    /// How fetching goes.
    #[must_use]
    pub fn fetching(&self, now: Now) -> Fetching {
        let (fetches, failures, age_ms) = self.0.locked(|cache| cache.tally(now));
        Fetching { fetches, failures, age: age_ms.map(Duration::from_millis) }
    }

    /// Changes with the keys.
    pub(crate) fn generation(&self) -> u64 {
        self.0.locked(|cache| cache.generation())
    }

    pub(crate) fn tick(&self, now: Now) {
        self.current(now);
    }

    /// What is known now. Begins a fetch when one is due.
    pub(crate) fn current(&self, now: Now) -> Current {
        let (current, begin) = self.0.locked(|cache| cache.current(now));
        if begin {
            Flight::begin(&self.0, now);
        }
        current
    }

    /// Answers once there is something newer than `seen`, or once that cannot be hoped for.
    pub(crate) fn newer_than(&self, seen: &Current, now: Now, waiter: Waiter) {
        match self.0.locked(|cache| cache.wait(seen, now, waiter)) {
            Wait::Later => {}
            Wait::Begin => Flight::begin(&self.0, now),
            Wait::Now(waiter) => waiter(self.0.outcome(), now),
            Wait::Full(waiter) => waiter(Outcome::Unavailable, now),
        }
    }
}

impl Shared {
    fn locked<T>(&self, look: impl FnOnce(&mut Cache<Waiter>) -> T) -> T {
        // Nothing in there can be left half done by a panic: every change is one assignment.
        look(&mut self.cache.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn outcome(&self) -> Outcome {
        self.locked(|cache| cache.keys()).map_or(Outcome::Unavailable, Outcome::Keys)
    }
}

impl fmt::Debug for Jwks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Jwks").field("options", &self.0.options).finish_non_exhaustive()
    }
}

/// A fetch under way. However it ends, a runtime that is shut down included, those who wait are answered.
struct Flight {
    shared: Arc<Shared>,
    began_at: Now,
    began: Instant,
    fetched: Option<Fetched>,
}

impl Flight {
    fn begin(shared: &Arc<Shared>, now: Now) {
        let flight = Flight { shared: shared.clone(), began_at: now, began: Instant::now(), fetched: None };
        shared.runtime.spawn(flight.run());
    }

    async fn run(mut self) {
        match self.shared.source.fetch().await {
            Ok(fetched) => self.bring(fetched),
            Err(error) => tracing::warn!(%error, "cannot fetch the key set; the last good one is kept"),
        }
    }

    fn bring(&mut self, fetched: Fetched) {
        self.fetched = Some(fetched);
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        let fetched = self.fetched.take();
        let waiters = self.shared.locked(|cache| cache.landed(fetched));
        if waiters.is_empty() {
            return;
        }
        let took_ms = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let now = Now {
            monotonic_ms: self.began_at.monotonic_ms.saturating_add(took_ms),
            wall_ms: self.began_at.wall_ms.saturating_add(took_ms),
            micros: 0,
        };
        let outcome = self.shared.outcome();
        // Each may verify a signature, and together they would hold up whatever else this thread has to do.
        self.shared.runtime.spawn_blocking(move || {
            waiters.into_iter().for_each(|waiter| waiter(outcome.clone(), now));
        });
    }
}
