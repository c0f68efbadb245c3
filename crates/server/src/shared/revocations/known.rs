//! What a node knows of the stream of revocations: which records there are, where they stand, and what has to be done so
//! that stream and node agree. No I/O; time is an argument.

use std::collections::btree_map::Entry as Slot;
use std::collections::{BTreeMap, BTreeSet};

use smallvec::SmallVec;
use tidewire_hub::revocation::Revoked;

use super::record::{Id, Record};

/// How far the clocks of two nodes may be apart: an entry stays so much longer than its record says, so that the first clock
/// does not delete what the last one would write again.
pub(super) const SKEW_MS: u64 = 60_000;

/// Records, and where they stand in the stream.
#[derive(Debug)]
pub(super) struct Known {
    records: BTreeMap<Revoked, Standing>,
    /// The same in the order they end.
    ending: BTreeSet<(u64, Revoked)>,
    /// The entries that hold them.
    entries: BTreeMap<Id, Revoked>,
    /// Entries of the stream that say nothing any more.
    obsolete: Vec<Id>,
    /// The newest entry that was read.
    position: Id,
    /// A record was passed over for want of room.
    overflowed: bool,
    /// Whether the stream holds all that is known, nobody knows: a write was not answered.
    in_doubt: bool,
    records_max: usize,
    pub(super) figures: Figures,
}

/// What was counted since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Records that are remembered now.
    pub records: usize,
    /// Entries that could not be read.
    pub malformed: u64,
    /// Entries for which there was no room.
    pub dropped: u64,
    /// Times that the stream was read from its beginning.
    pub reread: u64,
    /// Records that had been lost in Redis, and were written again.
    pub rewritten: u64,
}

#[derive(Debug)]
struct Standing {
    /// As much as all entries about it say together.
    record: Record,
    /// The entries that say it, none of which covers another: one, but for two nodes that wrote at once.
    entries: SmallVec<[(Id, Record); 1]>,
}

/// No room for another record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Full;

impl Known {
    pub(super) fn new(records_max: usize) -> Known {
        Known {
            records: BTreeMap::new(),
            ending: BTreeSet::new(),
            entries: BTreeMap::new(),
            obsolete: Vec::new(),
            position: Id::default(),
            overflowed: false,
            in_doubt: false,
            records_max,
            figures: Figures::default(),
        }
    }

    /// `record` with what is known about the same already, so that one entry says it all.
    pub(super) fn widen(&self, record: Record) -> Result<Record, Full> {
        match self.records.get(&record.what) {
            Some(standing) => Ok(widest(record, &standing.record)),
            None if self.records.len() >= self.records_max => Err(Full),
            None => Ok(record),
        }
    }

    /// Remembers a record. Whether it says more than what was known.
    pub(super) fn learn(&mut self, record: &Record) -> Result<bool, Full> {
        let count = self.records.len();
        let standing = match self.records.entry(record.what.clone()) {
            Slot::Occupied(slot) => slot.into_mut(),
            Slot::Vacant(_) if count >= self.records_max => {
                self.overflowed = true;
                self.figures.dropped += 1;
                return Err(Full);
            }
            Slot::Vacant(slot) => {
                self.ending.insert((record.until_ms, record.what.clone()));
                slot.insert(Standing { record: record.clone(), entries: SmallVec::new() });
                self.figures.records = count + 1;
                return Ok(true);
            }
        };
        if standing.record.covers(record) {
            return Ok(false);
        }
        let wider = widest(record.clone(), &standing.record);
        self.ending.remove(&(standing.record.until_ms, record.what.clone()));
        self.ending.insert((wider.until_ms, record.what.clone()));
        standing.record = wider;
        Ok(true)
    }

    /// Takes an entry that was read. Whether it says more than what was known.
    pub(super) fn heard(&mut self, id: Id, record: Option<Record>, wall_ms: u64) -> Option<Record> {
        self.position = self.position.max(id);
        let Some(record) = record else {
            self.figures.malformed += 1;
            return None;
        };
        if record.until_ms.saturating_add(SKEW_MS) <= wall_ms {
            self.obsolete.push(id);
            return None;
        }
        let wider = self.learn(&record).ok()?;
        let standing = self.records.get_mut(&record.what)?;
        let (entries, obsolete) = (&mut self.entries, &mut self.obsolete);
        standing.entries.retain(|(older, known)| {
            let stays = !record.covers(known);
            if !stays {
                entries.remove(older);
                obsolete.push(*older);
            }
            stays
        });
        if standing.entries.iter().any(|(_, known)| known.covers(&record)) {
            obsolete.push(id);
        } else {
            standing.entries.push((id, record.clone()));
            entries.insert(id, record.what.clone());
        }
        wider.then_some(record)
    }

    /// Begins to read the stream anew, from its beginning.
    pub(super) fn reread(&mut self) {
        self.position = Id::default();
        self.entries.clear();
        self.obsolete.clear();
        for standing in self.records.values_mut() {
            standing.entries.clear();
        }
        (self.overflowed, self.in_doubt) = (false, false);
        self.figures.reread += 1;
    }

    /// A write was not answered, so that the stream has to be read again.
    pub(super) fn doubt(&mut self) {
        self.in_doubt = true;
    }

    pub(super) fn is_in_doubt(&self) -> bool {
        self.in_doubt
    }

    /// What the stream does not say, once all of it has been read.
    pub(super) fn missing(&self, wall_ms: u64) -> Vec<Record> {
        let is_missing = |standing: &&Standing| {
            let Standing { record, entries } = standing;
            record.until_ms > wall_ms
                && !(entries.iter().any(|(_, said)| said.at_s >= record.at_s)
                    && entries.iter().any(|(_, said)| said.until_ms >= record.until_ms))
        };
        self.records.values().filter(is_missing).map(|standing| standing.record.clone()).collect()
    }

    /// Forgets those whose time is over. Whether the stream has to be read again, since there is room now for what was
    /// passed over.
    pub(super) fn expire(&mut self, wall_ms: u64) -> bool {
        let before = self.records.len();
        while self.ending.first().is_some_and(|(until_ms, _)| until_ms.saturating_add(SKEW_MS) <= wall_ms) {
            let Some((_, what)) = self.ending.pop_first() else { break };
            for (id, _) in self.records.remove(&what).into_iter().flat_map(|standing| standing.entries) {
                self.entries.remove(&id);
                self.obsolete.push(id);
            }
        }
        self.figures.records = self.records.len();
        self.overflowed && self.records.len() < before
    }

    /// Entries that may be deleted, at most `count_max` of them, each once.
    pub(super) fn take_obsolete(&mut self, count_max: usize) -> Vec<Id> {
        let at = self.obsolete.len().saturating_sub(count_max);
        self.obsolete.split_off(at)
    }

    /// The newest entry that the stream has to hold: where it does not, its end was lost.
    pub(super) fn tip(&self) -> Option<Id> {
        self.entries.last_key_value().map(|(id, _)| *id)
    }

    /// The newest entry that was read.
    pub(super) fn position(&self) -> Id {
        self.position
    }
}

fn widest(record: Record, other: &Record) -> Record {
    Record {
        at_s: record.at_s.max(other.at_s),
        until_ms: record.until_ms.max(other.until_ms),
        what: record.what,
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::id;
    use super::*;

    const HOUR_MS: u64 = 3_600_000;

    fn record(name: &str, at_s: u64, until_ms: u64) -> Record {
        Record { what: Revoked::Subject(name.into()), at_s, until_ms }
    }

    fn known() -> Known {
        Known::new(100)
    }

    #[test]
    fn s26_who_hears_a_record_learns_it_once() {
        let (mut known, alice) = (known(), record("alice", 1, HOUR_MS));
        assert_eq!(known.heard(id(1), Some(alice.clone()), 0), Some(alice.clone()));
        assert_eq!(known.heard(id(2), Some(alice), 0), None);
        assert_eq!((known.position(), known.tip(), known.figures.records), (id(2), Some(id(2)), 1));
        assert_eq!(known.take_obsolete(9), [id(1)], "one entry says it");
        assert_eq!(known.take_obsolete(9), []);
    }

    #[test]
    fn s26_two_entries_that_say_different_things_both_stay_until_one_says_both() {
        let mut known = known();
        known.heard(id(1), Some(record("alice", 1, 2 * HOUR_MS)), 0);
        known.heard(id(2), Some(record("alice", 9, HOUR_MS)), 0);
        assert_eq!(known.take_obsolete(9), []);
        assert!(known.missing(0).is_empty(), "together they say all of it");
        let both = known.widen(record("alice", 5, 5)).unwrap();
        assert_eq!(both, record("alice", 9, 2 * HOUR_MS));
        assert_eq!(known.heard(id(3), Some(both), 0), None);
        let mut gone = known.take_obsolete(9);
        gone.sort();
        assert_eq!(gone, [id(1), id(2)]);
    }

    #[test]
    fn s26_an_older_entry_that_comes_again_behind_a_wider_one_is_obsolete() {
        let mut known = known();
        known.heard(id(1), Some(record("alice", 9, HOUR_MS)), 0);
        known.heard(id(2), Some(record("alice", 1, HOUR_MS)), 0);
        assert_eq!((known.take_obsolete(9), known.tip()), (vec![id(2)], Some(id(1))));
    }

    #[test]
    fn s26_what_a_store_lost_is_missing_and_what_it_still_says_is_not() {
        let mut known = known();
        for (at, name) in ["a", "b", "c"].into_iter().enumerate() {
            known.heard(id(at as u64), Some(record(name, 1, HOUR_MS)), 0);
        }
        known.learn(&record("d", 1, HOUR_MS)).unwrap();
        known.reread();
        known.heard(id(1), Some(record("b", 1, HOUR_MS)), 0);
        let mut missing = known.missing(HOUR_MS - 1);
        missing.sort_by(|a, b| a.what.cmp(&b.what));
        assert_eq!(missing, ["a", "c", "d"].map(|name| record(name, 1, HOUR_MS)));
        assert!(known.missing(HOUR_MS).is_empty(), "what is over is not written again");
    }

    #[test]
    fn s26_what_a_store_says_less_of_than_before_is_missing() {
        let mut known = known();
        known.heard(id(1), Some(record("a", 1, HOUR_MS)), 0);
        known.heard(id(2), Some(record("a", 2, HOUR_MS)), 0);
        known.reread();
        known.heard(id(1), Some(record("a", 1, HOUR_MS)), 0);
        assert_eq!(known.missing(0), [record("a", 2, HOUR_MS)]);
    }

    #[test]
    fn s26_what_has_ended_is_forgotten_and_deleted_after_every_clock_agrees() {
        let mut known = known();
        known.heard(id(1), Some(record("a", 1, HOUR_MS)), 0);
        assert!(!known.expire(HOUR_MS + SKEW_MS - 1));
        assert_eq!((known.take_obsolete(9), known.figures.records), (vec![], 1));
        known.expire(HOUR_MS + SKEW_MS);
        assert_eq!((known.take_obsolete(9), known.figures.records), (vec![id(1)], 0));
        assert_eq!((known.tip(), known.position()), (None, id(1)));
        assert_eq!(known.heard(id(2), Some(record("b", 1, 5)), 5 + SKEW_MS), None, "it came late");
        assert_eq!(known.take_obsolete(9), [id(2)]);
    }

    #[test]
    fn s26_a_full_node_says_so_and_reads_again_once_there_is_room() {
        let mut known = Known::new(1);
        known.heard(id(1), Some(record("a", 1, 5)), 0);
        assert_eq!(known.widen(record("b", 1, HOUR_MS)), Err(Full));
        assert_eq!(known.widen(record("a", 2, 4)), Ok(record("a", 2, 5)));
        assert_eq!(known.heard(id(2), Some(record("b", 1, HOUR_MS)), 0), None);
        assert_eq!((known.figures.dropped, known.position()), (1, id(2)));
        assert!(!known.expire(5) && known.expire(5 + SKEW_MS));
        known.reread();
        assert!(known.heard(id(2), Some(record("b", 1, HOUR_MS)), 0).is_some());
        assert!(!known.expire(2 * HOUR_MS), "nothing was passed over since");
    }

    #[test]
    fn f33_a_malformed_entry_is_counted_and_passed() {
        let mut known = known();
        assert_eq!(known.heard(id(7), None, 0), None);
        assert_eq!((known.figures.malformed, known.position(), known.tip()), (1, id(7), None));
    }
}
