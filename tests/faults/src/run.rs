//! What everybody in a run shares: the clock, the ledger, the ports of the nodes, and when to stop.

use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::ledger::{Ledger, Ms};
use crate::rng::Rng;

/// A run. Cloning shares it.
#[derive(Clone, Debug)]
pub struct Run(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    began: Instant,
    ledger: Mutex<Ledger>,
    ports: Vec<AtomicU16>,
    quiet: AtomicBool,
    over: AtomicBool,
    replays: AtomicU64,
}

impl Run {
    /// A run over nodes that clients reach at `ports`.
    #[must_use]
    pub fn new(ledger: Ledger, ports: &[u16]) -> Run {
        let ports = ports.iter().map(|port| AtomicU16::new(*port)).collect();
        let (quiet, over, replays) = Default::default();
        Run(Arc::new(Shared {
            began: Instant::now(),
            ledger: Mutex::new(ledger),
            ports,
            quiet,
            over,
            replays,
        }))
    }

    /// Milliseconds since it began.
    #[must_use]
    pub fn now(&self) -> Ms {
        u64::try_from(self.0.began.elapsed().as_millis()).unwrap_or(Ms::MAX)
    }

    /// The ledger.
    pub fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.0.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Some node, and where clients reach it.
    pub fn node(&self, rng: &mut Rng) -> (usize, u16) {
        let at = rng.below(self.0.ports.len());
        (at, self.0.ports[at].load(Relaxed))
    }

    /// Publishers stop; subscribers go on.
    pub fn be_quiet(&self) {
        self.0.quiet.store(true, Relaxed);
    }

    /// Whether publishers are to stop.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.0.quiet.load(Relaxed)
    }

    /// Everybody leaves.
    pub fn end(&self) {
        self.0.over.store(true, Relaxed);
    }

    /// Whether everybody is to leave.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.0.over.load(Relaxed)
    }

    /// Every publish from now on is sent so many times more.
    pub fn replay(&self, times: u64) {
        self.0.replays.store(times, Relaxed);
    }

    /// How many times more a publish is sent.
    #[must_use]
    pub fn replays(&self) -> u64 {
        self.0.replays.load(Relaxed)
    }
}
