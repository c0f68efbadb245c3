//! Servers: a store each, who is the master, and what is lost when that changes.

use tidewire_broker::redis::Replication;

use super::store::{Place, Store};
use crate::rng::Rng;

/// A server.
pub(super) struct Server {
    pub(super) store: Store,
    replication: Replication,
    before: Option<Replication>,
    /// Whether it takes writes. One that was replaced and does not know it does.
    pub(super) is_master: bool,
    /// It answers nothing before then.
    pub(super) paused_until: u64,
}

impl Server {
    pub(super) fn new(is_master: bool, rng: &mut Rng) -> Server {
        let (store, replication) = (Store::default(), fresh(rng));
        Server { store, replication, before: None, is_master, paused_until: 0 }
    }

    /// Where a script that runs now runs.
    pub(super) fn place(&self, now_ms: u64) -> Place {
        let (replication, before) = (self.replication.clone(), self.before.clone());
        Place { replication, before, is_master: self.is_master, now_ms }
    }

    /// Takes what `master` keeps, and its id, as a replica does.
    pub(super) fn follow(&mut self, store: Store, replication: &Replication) {
        (self.store, self.replication) = (store, replication.clone());
    }

    pub(super) fn replication(&self) -> &Replication {
        &self.replication
    }

    pub(super) fn promote(&mut self, rng: &mut Rng) {
        self.before = Some(std::mem::replace(&mut self.replication, fresh(rng)));
        self.is_master = true;
    }

    /// Ends, and starts again with what it has on disk.
    pub(super) fn restart(&mut self, keeps: bool, rng: &mut Rng) {
        if !keeps {
            self.store = Store::default();
        }
        (self.replication, self.before) = (fresh(rng), None);
    }
}

fn fresh(rng: &mut Rng) -> Replication {
    let text = format!("{:020x}{:020x}", rng.next(), rng.next() | 1);
    Replication::parse(&text).expect("40 hex digits that are not all zero")
}
