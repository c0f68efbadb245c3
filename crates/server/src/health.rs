//! Whether this node is alive, and whether it should get new clients.

use std::sync::atomic::{AtomicU8, Ordering};

use tokio::sync::Notify;

/// Where the node is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Phase {
    /// Listening, but not everything runs yet.
    Starting,
    /// Serving.
    Ready,
    /// Going away: no new clients, please.
    Draining,
}

impl Phase {
    /// The word that `/readyz` shows.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Phase::Starting => "starting",
            Phase::Ready => "ready",
            Phase::Draining => "draining",
        }
    }
}

/// The phase, shared by everybody. It only moves forward.
#[derive(Debug)]
pub struct Health {
    phase: AtomicU8,
    moved: Notify,
}

impl Default for Health {
    fn default() -> Health {
        Health { phase: AtomicU8::new(Phase::Starting as u8), moved: Notify::new() }
    }
}

impl Health {
    /// The phase now.
    #[must_use]
    pub fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Acquire) {
            0 => Phase::Starting,
            1 => Phase::Ready,
            _ => Phase::Draining,
        }
    }

    /// Moves on to `phase`; an earlier one changes nothing.
    pub fn enter(&self, phase: Phase) {
        self.phase.fetch_max(phase as u8, Ordering::AcqRel);
        self.moved.notify_waiters();
    }

    /// Resolves once the node drains.
    pub async fn draining(&self) {
        loop {
            // Made before the look, so that a move in between is not missed.
            let moved = self.moved.notified();
            if self.phase() == Phase::Draining {
                return;
            }
            moved.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_draining_node_never_becomes_ready_again() {
        let health = Health::default();
        assert_eq!(health.phase(), Phase::Starting);
        health.enter(Phase::Ready);
        health.enter(Phase::Draining);
        health.enter(Phase::Ready);
        assert_eq!(health.phase(), Phase::Draining);
    }
}
