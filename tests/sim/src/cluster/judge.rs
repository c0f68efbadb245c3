//! What is true: all that was ever placed anywhere, and what was acknowledged. Readers are judged by it (I1 to I5).

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tidewire_broker::redis::{Ancestor, Fence};
use tidewire_hub::position::{Gen, Position};

use crate::ledger::{Invariant, Violation};

/// Everything that happened. Cloning shares it.
#[derive(Clone, Default)]
pub(super) struct Truth(Arc<Mutex<Book>>);

#[derive(Default)]
pub(super) struct Book {
    /// In the order in which they were placed.
    pub(super) placed: Vec<Placed>,
    by_place: HashMap<Position, usize>,
    by_uid: BTreeMap<u64, Vec<usize>>,
    pub(super) acknowledged: BTreeMap<u64, Position>,
    lineages: HashMap<Gen, Vec<Ancestor>>,
    /// What some master has lost or trimmed.
    pub(super) gone: BTreeSet<u64>,
    /// Something has happened by which the log may have lost something.
    pub(super) disturbed: bool,
    pub(super) violation: Option<Violation>,
}

/// A message in its place.
pub(super) struct Placed {
    pub(super) uid: u64,
    pub(super) channel: String,
    pub(super) position: Position,
    /// Where it was placed by a master that had been replaced: how much had been placed when it was.
    pub(super) replaced: Option<usize>,
}

impl Truth {
    pub(super) fn book(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Book {
    /// How much has been placed.
    pub(super) fn now(&self) -> usize {
        self.placed.len()
    }

    pub(super) fn place(&mut self, placed: Placed) {
        let at = self.placed.len();
        if let Some(other) = self.by_place.insert(placed.position, at) {
            let other = self.placed[other].uid;
            let story = format!("{} names {other} and {}", placed.position, placed.uid);
            self.violation = Some(Violation::new(Invariant::I3, story));
        }
        self.by_uid.entry(placed.uid).or_default().push(at);
        self.placed.push(placed);
    }

    /// A master keeps these, and nothing else.
    pub(super) fn keeps(&mut self, kept: &BTreeSet<u64>) {
        let gone = self.placed.iter().map(|placed| placed.uid).filter(|uid| !kept.contains(uid));
        self.gone.extend(gone);
    }

    pub(super) fn enter(&mut self, fence: &Fence) {
        self.lineages.insert(fence.generation, fence.lineage.clone());
    }

    /// When the message that a reader was shown at `place` was placed, if it ever was.
    pub(super) fn recognise(&self, uid: u64, channel: Option<&str>, place: Position) -> Option<usize> {
        let is_it = |placed: &Placed| {
            channel.is_none_or(|channel| placed.channel == channel)
                && placed.position.seq == place.seq
                && self.is_part(placed.position, place.generation)
        };
        self.by_uid.get(&uid)?.iter().copied().find(|at| is_it(&self.placed[*at]))
    }

    /// Whether what stands at `place` is part of the log of `generation`.
    fn is_part(&self, place: Position, generation: Gen) -> bool {
        if place.generation == generation {
            return true;
        }
        let ancestors = self.lineages.get(&generation).map_or(&[][..], Vec::as_slice);
        let mut base = u64::MAX;
        for ancestor in ancestors {
            base = base.min(ancestor.base);
            if ancestor.generation == place.generation {
                return place.seq <= base;
            }
        }
        false
    }
}

/// The number that a payload begins with.
pub(super) fn uid_of(payload: &[u8]) -> Option<u64> {
    let digits: Vec<u8> = payload.iter().copied().take_while(u8::is_ascii_digit).collect();
    String::from_utf8(digits).ok()?.parse().ok()
}
