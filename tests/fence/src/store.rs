//! What Redis keeps, and what the scripts decide by it: the fence hash and the streams.

use std::collections::{BTreeMap, BTreeSet};

/// A life of the log.
pub(crate) type Generation = u8;

/// A place in the log.
pub(crate) type Seq = u8;

/// A message, as its publisher knows it.
pub(crate) type Uid = u8;

/// Where a message stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Id {
    pub(crate) generation: Generation,
    pub(crate) seq: Seq,
}

/// What a node saw, or had acknowledged, of one generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Witness {
    /// Where the generation stood when the node came.
    pub(crate) base: Seq,
    /// The highest that it saw.
    pub(crate) seq: Seq,
}

/// Where a generation comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Parent {
    generation: Generation,
    /// What had survived of it.
    base: Seq,
    /// Whether more than that may have been seen or acknowledged.
    lossy: bool,
}

/// All that is replicated.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Store {
    pub(crate) generation: Generation,
    pub(crate) seq: Seq,
    /// The replication id that the fence was made for.
    pub(crate) replication: u8,
    /// By the generation that followed.
    parents: BTreeMap<Generation, Parent>,
    /// Generations that did not survive, and whose loss has been announced.
    dead: BTreeSet<Generation>,
    /// Nodes that have a part in this log.
    pub(crate) registered: BTreeSet<usize>,
    /// Those of them that have not told yet what they saw before the last promotion.
    pub(crate) awaited: BTreeSet<usize>,
    /// What is kept: the seqs, and the messages.
    pub(crate) log: Vec<(Seq, Uid)>,
}

impl Store {
    /// An empty log in its first generation.
    pub(crate) fn new(registered: BTreeSet<usize>) -> Store {
        Store {
            generation: 1,
            seq: 0,
            replication: 1,
            parents: BTreeMap::new(),
            dead: BTreeSet::new(),
            registered,
            awaited: BTreeSet::new(),
            log: Vec::new(),
        }
    }

    /// The place of the newest message.
    pub(crate) fn head(&self) -> Id {
        Id { generation: self.generation, seq: self.seq }
    }

    /// Begins another generation. Where it is lossy, all who come from before it are told of a gap.
    pub(crate) fn begin(&mut self, generation: Generation, lossy: bool) {
        let parent = Parent { generation: self.generation, base: self.seq, lossy };
        self.parents.insert(generation, parent);
        self.generation = generation;
    }

    /// A promotion was noticed: everybody who had a part in the log is asked what it saw.
    pub(crate) fn fence(&mut self, generation: Generation, replication: u8) {
        self.begin(generation, false);
        self.replication = replication;
        self.awaited = self.registered.clone();
    }

    /// Whether a cursor goes on in silence: it is of a known generation, not above what survived of it, and nothing that
    /// was lost since has been told of.
    pub(crate) fn passes(&self, cursor: Id) -> bool {
        let (mut at, mut base) = (self.generation, self.seq);
        while at != cursor.generation {
            let Some(parent) = self.parents.get(&at).filter(|parent| !parent.lossy) else { return false };
            (at, base) = (parent.generation, parent.base);
        }
        cursor.seq <= base
    }

    pub(crate) fn knows(&self, generation: Generation) -> bool {
        generation == self.generation || self.parents.values().any(|parent| parent.generation == generation)
    }

    /// Whether something that was seen of `generation` is gone, and somebody who comes from there would not be told.
    pub(crate) fn is_lost(&self, generation: Generation, witness: Witness) -> bool {
        if !self.knows(generation) {
            return witness.seq > witness.base && !self.dead.contains(&generation);
        }
        let at = |seq| Id { generation, seq };
        !self.passes(at(witness.seq)) && self.passes(at(0))
    }

    /// Announces that something of these generations is gone.
    pub(crate) fn announce(&mut self, generation: Generation, gone: impl IntoIterator<Item = Generation>) {
        self.begin(generation, true);
        let unknown: Vec<Generation> = gone.into_iter().filter(|gone| !self.knows(*gone)).collect();
        self.dead.extend(unknown);
    }

    /// What a gap covers for whoever comes from `cursor`: everything above these places.
    pub(crate) fn gone_for(&self, cursor: Id) -> BTreeMap<Generation, Seq> {
        let mut gone: BTreeMap<_, _> = self.dead.iter().map(|generation| (*generation, 0)).collect();
        if !self.knows(cursor.generation) {
            gone.insert(cursor.generation, 0);
        }
        gone.extend(self.parents.values().map(|parent| (parent.generation, parent.base)));
        gone
    }
}
