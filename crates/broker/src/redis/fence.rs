//! The node's side of the fence: what it remembers of the logs it was part of, and what a handshake tells it
//! (delivery rules R15 to R17, decision 13; `tests/fence` is the model).

use std::collections::VecDeque;
use std::fmt;

use tidewire_hub::lineage;
pub use tidewire_hub::lineage::{Ancestor, Verdict};
use tidewire_hub::position::{Gen, Position};

/// Generations and replication ids that a node remembers. Of more, it forgets the oldest: to lose something by that takes
/// a replica that lags by as many promotions.
const REMEMBERED_MAX: usize = 64;

/// A node, for as long as its process lives. What it saw is gone with the process, so its successor is another node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NodeId(u64);

impl NodeId {
    /// Makes an id of what the node's random source gave.
    #[must_use]
    pub fn from_random(random: u64) -> NodeId {
        NodeId(random)
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// A replication id: 40 hex digits, which change with every promotion and every restart.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Replication(Box<str>);

impl Replication {
    /// Reads an id; nothing where there is none, which Redis writes as zeros.
    #[must_use]
    pub fn parse(text: &str) -> Option<Replication> {
        let hex = text.len() == 40 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let hex = hex && text.bytes().any(|byte| byte != b'0');
        hex.then(|| Replication(text.into()))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

/// What a handshake tells: the log as it is on the server that answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fence {
    /// The log's generation.
    pub generation: Gen,
    /// The place of its newest message at that moment.
    pub seq: u64,
    /// The generation that this store began with. Another one than before means that the store was lost.
    pub era: Gen,
    /// The replication id that publishes are checked against.
    pub replication: Replication,
    /// The id that the server had as a replica, before it was promoted: that of the master which it replaced, where there
    /// was one. Whoever comes here never goes there, even if it never was there (decision 14).
    pub before: Option<Replication>,
    /// Whether Redis throws keys away when memory is full (`maxmemory-policy`). Messages may then be lost with their
    /// record, which nobody can tell: an operator has to be warned.
    pub evicts: bool,
    /// The generations before, newest first, at most 128.
    pub lineage: Vec<Ancestor>,
}

impl Fence {
    /// Judges a cursor while the log's newest message is at `head` (delivery rule R17).
    #[must_use]
    pub fn judge(&self, cursor: Position, head: u64) -> Verdict {
        lineage::judge(self.generation, &self.lineage, cursor, head)
    }
}

/// What a node remembers of the logs it was part of. It is told in every handshake, since whoever heard it may be lost
/// with the next promotion.
#[derive(Clone, Debug)]
pub struct Past {
    node: NodeId,
    /// The replication id that it goes by now.
    replication: Option<Replication>,
    left: VecDeque<Replication>,
    witnesses: VecDeque<Witness>,
}

/// What a node saw, or had acknowledged, of one generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Witness {
    /// Which.
    pub generation: Gen,
    /// Where the generation stood when the node came.
    pub base: u64,
    /// The highest that it saw.
    pub seq: u64,
}

impl Past {
    /// A node that was part of nothing yet.
    #[must_use]
    pub fn new(node: NodeId) -> Past {
        Past { node, replication: None, left: VecDeque::new(), witnesses: VecDeque::new() }
    }

    /// Which node it is.
    #[must_use]
    pub fn node(&self) -> NodeId {
        self.node
    }

    /// The node goes by `fence` from now on. Whatever id it went by before never becomes right again, nor does the one that
    /// this server had before its promotion.
    pub fn enter(&mut self, fence: &Fence) {
        let before = self.replication.replace(fence.replication.clone());
        for left in before.into_iter().chain(fence.before.clone()) {
            if left != fence.replication && !self.left.contains(&left) {
                remember(&mut self.left, left);
            }
        }
        let (generation, seq) = (fence.generation, fence.seq);
        if !self.witnesses.iter().any(|witness| witness.generation == generation) {
            remember(&mut self.witnesses, Witness { generation, base: seq, seq });
        }
        self.sees(Position { generation, seq });
    }

    /// The node saw a message, had one acknowledged, or was told that the log had come so far. To be called before a
    /// publisher or a subscriber hears of it.
    pub fn sees(&mut self, position: Position) {
        // Almost always the newest.
        let of = |witness: &&mut Witness| witness.generation == position.generation;
        if let Some(witness) = self.witnesses.iter_mut().rev().find(of) {
            witness.seq = witness.seq.max(position.seq);
        }
    }

    /// Replication ids that it never goes back to.
    pub fn left(&self) -> impl ExactSizeIterator<Item = &Replication> {
        self.left.iter()
    }

    /// What it tells in a handshake.
    pub fn witnesses(&self) -> impl Iterator<Item = &Witness> {
        self.witnesses.iter()
    }
}

fn remember<T>(memory: &mut VecDeque<T>, one: T) {
    if memory.len() == REMEMBERED_MAX {
        memory.pop_front();
    }
    memory.push_back(one);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn generation(number: u64) -> Gen {
        Gen::from_random(number)
    }

    fn fence(number: u64, seq: u64, replication: char, lineage: &[(u64, u64, bool)]) -> Fence {
        let ancestor = |&(number, base, lossy): &_| Ancestor { generation: generation(number), base, lossy };
        Fence {
            generation: generation(number),
            seq,
            era: generation(1),
            replication: Replication::parse(&replication.to_string().repeat(40)).unwrap(),
            before: None,
            evicts: false,
            lineage: lineage.iter().map(ancestor).collect(),
        }
    }

    #[test]
    fn r17_a_cursor_passes_in_silence_only_up_to_what_survived_and_over_no_loss() {
        let judge = |fence: &Fence, number, seq| {
            fence.judge(Position { generation: generation(number), seq }, fence.seq)
        };
        let silent = fence(3, 20, 'c', &[(2, 15, false), (1, 10, false)]);
        assert_eq!([10, 11].map(|seq| judge(&silent, 1, seq)), [Verdict::Whole, Verdict::Lost]);
        assert_eq!([15, 16].map(|seq| judge(&silent, 2, seq)), [Verdict::Whole, Verdict::Lost]);
        assert_eq!([20, 21].map(|seq| judge(&silent, 3, seq)), [Verdict::Whole, Verdict::Unknown]);
        assert_eq!(judge(&silent, 9, 1), Verdict::Unknown);
        let lossy = fence(3, 20, 'c', &[(2, 15, false), (1, 10, true)]);
        assert_eq!([judge(&lossy, 1, 1), judge(&lossy, 2, 1)], [Verdict::Lost, Verdict::Whole]);
        let lossy = fence(3, 20, 'c', &[(2, 15, true), (1, 10, false)]);
        assert_eq!([judge(&lossy, 1, 1), judge(&lossy, 2, 1)], [Verdict::Lost, Verdict::Lost]);
    }

    #[test]
    fn r17_a_node_keeps_the_highest_place_of_every_generation_and_the_ids_it_left() {
        let mut past = Past::new(NodeId::from_random(7));
        past.enter(&fence(1, 5, 'a', &[]));
        past.sees(Position { generation: generation(1), seq: 9 });
        past.sees(Position { generation: generation(1), seq: 8 });
        past.enter(&fence(2, 6, 'b', &[]));
        past.sees(Position { generation: generation(1), seq: 10 });
        past.enter(&Fence { before: Replication::parse(&"c".repeat(40)), ..fence(2, 7, 'b', &[]) });
        let witness = |number, base, seq| Witness { generation: generation(number), base, seq };
        assert_eq!(past.witnesses, [witness(1, 5, 10), witness(2, 6, 7)]);
        assert_eq!(
            past.left().map(Replication::as_str).collect::<Vec<_>>(),
            ["a".repeat(40), "c".repeat(40)]
        );
    }

    #[test]
    fn what_a_node_remembers_is_bounded() {
        let mut past = Past::new(NodeId::from_random(7));
        for number in 1..=1_000 {
            let replication = Replication::parse(&format!("{number:040x}")).unwrap();
            past.enter(&Fence { replication, ..fence(number, number, 'a', &[]) });
        }
        assert_eq!((past.left.len(), past.witnesses.len()), (REMEMBERED_MAX, REMEMBERED_MAX));
        assert_eq!(past.witnesses.back().map(|witness| witness.generation), Some(generation(1_000)));
    }
}
