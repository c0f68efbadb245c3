//! Generations of one log: which came before, what survived of each, and what a cursor of one is worth today
//! (delivery rules R7 and R17; `docs/decisions/0013-what-the-fence-asks-of-nodes.md`).

use std::collections::VecDeque;

use crate::position::{Gen, Position};

/// A generation that ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ancestor {
    /// Which.
    pub generation: Gen,
    /// What survived of it: everything up to this seq.
    pub base: u64,
    /// Whether more than that may have been seen or acknowledged.
    pub lossy: bool,
}

/// What a cursor is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The log goes on from it in silence.
    Whole,
    /// Something above it may have been seen or acknowledged and is gone: `gap(failover)`.
    Lost,
    /// Nobody knows its generation: `gap(epoch)`, or `gap(store_reset)` where the node saw the store go.
    Unknown,
}

/// Judges a cursor in a log of `generation` with these `ancestors`, newest first, whose newest message is at `head`.
#[must_use]
pub fn judge(generation: Gen, ancestors: &[Ancestor], cursor: Position, head: u64) -> Verdict {
    if cursor.generation == generation {
        // A seq that was not given out yet is a forgery, and goes for unknown (R7).
        return if cursor.seq <= head { Verdict::Whole } else { Verdict::Unknown };
    }
    let Some(at) = ancestors.iter().position(|ancestor| ancestor.generation == cursor.generation) else {
        return Verdict::Unknown;
    };
    let lossy = ancestors[..=at].iter().any(|ancestor| ancestor.lossy);
    if lossy || cursor.seq > ancestors[at].base { Verdict::Lost } else { Verdict::Whole }
}

/// The generations that a node knows: that of its log, those before it, and those of stores that it saw lost.
#[derive(Clone, Debug)]
pub(crate) struct Lineage {
    pub(crate) generation: Gen,
    ancestors: Vec<Ancestor>,
    /// Oldest first.
    lost_with_their_store: VecDeque<Gen>,
}

/// Generations of lost stores that are remembered. An older one is `gap(epoch)`, which asks the same of a client.
const REMEMBERED_MAX: usize = 64;

impl Lineage {
    /// A log that begins with `generation`.
    pub(crate) fn new(generation: Gen) -> Lineage {
        Lineage { generation, ancestors: Vec::new(), lost_with_their_store: VecDeque::new() }
    }

    /// The log goes on as `generation`, which came of `ancestors`, newest first.
    pub(crate) fn go_on(&mut self, generation: Gen, ancestors: Vec<Ancestor>) {
        (self.generation, self.ancestors) = (generation, ancestors);
    }

    /// The store is gone, and with it every generation that was known.
    pub(crate) fn lose_store(&mut self) {
        let known = self.ancestors.drain(..).rev().map(|ancestor| ancestor.generation);
        self.lost_with_their_store.extend(known.chain([self.generation]));
        let over = self.lost_with_their_store.len().saturating_sub(REMEMBERED_MAX);
        self.lost_with_their_store.drain(..over);
    }

    pub(crate) fn judge(&self, cursor: Position, head: u64) -> Verdict {
        judge(self.generation, &self.ancestors, cursor, head)
    }

    /// Whether this generation went with a store that the node saw lost.
    pub(crate) fn was_lost(&self, generation: Gen) -> bool {
        self.lost_with_their_store.contains(&generation)
    }

    /// Up to where this log and what was seen at `cursor` are certainly the same. Nothing in common: 0.
    pub(crate) fn survived(&self, cursor: Position) -> u64 {
        if cursor.generation == self.generation {
            return cursor.seq;
        }
        let at = self.ancestors.iter().position(|ancestor| ancestor.generation == cursor.generation);
        let since = &self.ancestors[..at.map_or(0, |at| at + 1)];
        since.iter().map(|ancestor| ancestor.base).min().map_or(0, |base| base.min(cursor.seq))
    }

    /// The newest generation that this lineage has in common with one that a node was part of until now, and where that
    /// one ended in the other.
    pub(crate) fn in_common(&self, before: &Lineage) -> Option<Position> {
        before.ancestors.iter().find_map(|ancestor| {
            let known = self.generation == ancestor.generation
                || self.ancestors.iter().any(|one| one.generation == ancestor.generation);
            known.then_some(Position { generation: ancestor.generation, seq: ancestor.base })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(generation: u64, seq: u64) -> Position {
        Position { generation: Gen::from_random(generation), seq }
    }

    fn lineage(generation: u64, ancestors: &[(u64, u64)]) -> Lineage {
        let ancestor = |&(generation, base): &(u64, u64)| Ancestor {
            generation: Gen::from_random(generation),
            base,
            lossy: false,
        };
        let mut lineage = Lineage::new(Gen::from_random(generation));
        lineage.go_on(Gen::from_random(generation), ancestors.iter().map(ancestor).collect());
        lineage
    }

    #[test]
    fn r17_what_survived_is_the_lowest_base_since() {
        let lineage = lineage(4, &[(3, 20), (2, 15), (1, 18)]);
        assert_eq!([at(4, 30), at(3, 25), at(3, 19)].map(|cursor| lineage.survived(cursor)), [30, 20, 19]);
        assert_eq!([at(2, 17), at(1, 17), at(9, 5)].map(|cursor| lineage.survived(cursor)), [15, 15, 0]);
    }

    #[test]
    fn a_generation_that_died_leaves_what_it_came_of() {
        let mine = lineage(9, &[(2, 15), (1, 10)]);
        assert_eq!(lineage(4, &[(3, 20), (1, 12)]).in_common(&mine), Some(at(1, 10)));
        assert_eq!(lineage(2, &[]).in_common(&mine), Some(at(2, 15)));
        assert_eq!(lineage(4, &[]).in_common(&mine), None);
    }

    #[test]
    fn a_lost_store_is_remembered_by_its_generations() {
        let mut lineage = lineage(4, &[(3, 20)]);
        lineage.lose_store();
        lineage.go_on(Gen::from_random(5), Vec::new());
        let lost = [3, 4, 5].map(|number| lineage.was_lost(Gen::from_random(number)));
        assert_eq!(lost, [true, true, false]);
        for number in 10..200 {
            lineage.lose_store();
            lineage.go_on(Gen::from_random(number), Vec::new());
        }
        assert_eq!(lineage.lost_with_their_store.len(), REMEMBERED_MAX);
    }
}
