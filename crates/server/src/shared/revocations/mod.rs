//! The ledger of revocations: a stream in Redis that every node follows (security rule S26).
//!
//! ```text
//! POST /v1/revoke ──▶ XADD ──▶ stored ──▶ in force on this node ──▶ answered
//!                       │
//!                       └──▶ XREAD of every other node ──▶ in force there
//!
//! a node begins, or the stream is not the one that it has read: all of it is read, and what is missing is written again
//! ```
//!
//! The stream is record and kick in one: who missed the kick goes on from where it was. Entries are deleted one by one as
//! they end or as a later one says the same, so that the stream holds about one for everything that is revoked. It has no
//! time to live as a whole: Redis would evict it first (`maxmemory-policy volatile-*`), and let everybody back in (decision
//! 15).

mod follow;
mod known;
mod record;
mod reply;

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redis::Value;
use tidewire_broker::redis::Aside;
use tidewire_hub::broker::{Broker, Done, Now};
use tidewire_hub::revocation::{Revocation, Revocations};
use tokio::runtime::Handle;
use tokio::sync::watch;

use super::names::Names;
use crate::clock::Clock;
use known::{Known, SKEW_MS};
use record::Record;

pub use known::Figures;

/// Records that a node remembers: as many as [`Revocations`] do by default.
const RECORDS_MAX: usize = 100_000;

/// The longest that a record is remembered, whatever it says: longer than the API takes, so that nothing that was written
/// by it is cut short by a clock that is late.
const KEPT_MS_MAX: u64 = 32 * 86_400_000;

/// One node's side of the revocations that all nodes share. Clones are the same.
#[derive(Clone)]
pub struct Ledger {
    shared: Arc<Shared>,
}

struct Shared {
    /// Where revocations of this node are written. Not where it follows: that link waits most of the time.
    aside: Aside,
    key: String,
    known: Mutex<Known>,
    /// Where they are in force, for gate and sequencer.
    revocations: Arc<Revocations>,
    broker: Arc<dyn Broker>,
    clock: Clock,
    runtime: Handle,
    ready: watch::Sender<bool>,
    /// When the stream was last heard of, on the steady clock; 0 is never.
    heard_ms: AtomicU64,
}

impl Ledger {
    /// A ledger that knows nothing yet. What it learns is recorded in `revocations`, and `broker` ends whom it concerns.
    #[must_use]
    pub fn new(
        aside: Aside,
        names: &Names,
        revocations: Arc<Revocations>,
        broker: Arc<dyn Broker>,
        clock: Clock,
        runtime: Handle,
    ) -> Ledger {
        let shared = Shared {
            aside,
            key: names.revocations(),
            known: Mutex::new(Known::new(RECORDS_MAX)),
            revocations,
            broker,
            clock,
            runtime,
            ready: watch::Sender::new(false),
            heard_ms: AtomicU64::new(0),
        };
        Ledger { shared: Arc::new(shared) }
    }

    /// Returns once all that was revoked so far is in force here. Before that nobody may come in.
    pub async fn ready(&self) {
        // The sender is kept by `self`.
        let _ = self.shared.ready.subscribe().wait_for(|ready| *ready).await;
    }

    /// Takes back rights on every node. Answered once Redis has it and it is in force here; the other nodes hear of it at
    /// once, or as soon as they can. [`Unwritten`] says what has become of it otherwise.
    pub fn revoke(&self, revocation: Revocation, done: Done<Result<(), Unwritten>>) {
        let shared = self.shared.clone();
        let now = shared.clock.now();
        let Revocation { what, at_s, until_ms } = revocation;
        let lasts_ms = until_ms.saturating_sub(now.monotonic_ms);
        let record = Record { what, at_s, until_ms: now.wall_ms.saturating_add(lasts_ms) };
        let Ok(record) = shared.known().widen(record) else { return done(Err(Unwritten::Full)) };
        self.shared.runtime.spawn(async move {
            let mut add = redis::cmd("XADD");
            add.arg(&shared.key).arg("*");
            record.write(&mut add);
            let outcome = match shared.aside.ask(&[add]).await.as_deref() {
                Ok([Value::BulkString(_)]) => Ok(()),
                // Redis says no: it is full, or may not be written to.
                Ok(_) => Err(Unwritten::Refused),
                Err(error) if error.is_refusal() => Err(Unwritten::Refused),
                Err(_) => Err(Unwritten::Unanswered),
            };
            if outcome == Err(Unwritten::Refused) {
                return done(outcome);
            }
            let learned = {
                let mut known = shared.known();
                if outcome.is_err() {
                    known.doubt();
                }
                let learned = known.learn(&record);
                if learned == Ok(true) {
                    shared.put_in_force(&known, &record, true);
                }
                learned
            };
            done(learned.map_err(|_| Unwritten::Full).and(outcome));
        });
    }

    /// What was counted.
    #[must_use]
    pub fn figures(&self) -> Figures {
        self.shared.known().figures
    }

    /// How long ago the stream was last heard of, in milliseconds; nothing before the first time.
    #[must_use]
    pub fn silent_ms(&self, now: Now) -> Option<u64> {
        let heard_ms = self.shared.heard_ms.load(Ordering::Relaxed);
        (heard_ms > 0).then(|| now.monotonic_ms.saturating_sub(heard_ms))
    }
}

/// Why a revocation was not written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unwritten {
    /// As many are remembered as may be. Nothing has changed.
    Full,
    /// Redis refused it, or has no master. Nothing has changed.
    Refused,
    /// Redis did not answer. It is in force on this node, and written as soon as Redis is back, unless this process ends
    /// before.
    Unanswered,
}

impl fmt::Display for Unwritten {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Unwritten::Full => "as many revocations are remembered as may be",
            Unwritten::Refused => "Redis did not take it, and nothing has changed; revoke again",
            Unwritten::Unanswered => {
                "Redis did not answer: it is in force on this node, and not yet on others; revoke again to be sure"
            }
        })
    }
}

impl std::error::Error for Unwritten {}

impl Shared {
    /// Under the lock of `known`, so that whoever finds a record there finds it in force.
    fn put_in_force(&self, _known: &Known, record: &Record, ends_connections: bool) {
        let now = self.clock.now();
        let lasts_ms = record.until_ms.saturating_add(SKEW_MS).saturating_sub(now.wall_ms).min(KEPT_MS_MAX);
        let until_ms = now.monotonic_ms.saturating_add(lasts_ms);
        let revocation = Arc::new(Revocation { what: record.what.clone(), at_s: record.at_s, until_ms });
        // It has as much room as `known`, so that this does not happen unless somebody else fills it.
        if self.revocations.record(&revocation).is_err() {
            tracing::error!("as many revocations are remembered as may be; one is not in force on this node");
            return;
        }
        if ends_connections {
            self.broker.enforce(&revocation);
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // A panic in there leaves at worst an entry that is deleted late.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ledger").field("figures", &self.figures()).finish_non_exhaustive()
    }
}
