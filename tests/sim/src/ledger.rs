//! The ledger: everything that was published, in the order that was promised. What subscribers hear is judged against
//! it by [`crate::witness`].

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tidewire_hub::broker::Now;
use tidewire_hub::limits::{Limits, Retention};
use tidewire_hub::position::{Gen, Position};
use tidewire_hub::publish::{Publish, Receipt};
use tidewire_hub::reason::Reason;

use crate::retention::Kept;

/// The invariants that a run must keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Invariant {
    /// Every acknowledged message between two ids of a subscriber was delivered, or lies in a gap it got.
    I1,
    /// On a channel, messages rise strictly once repetitions are taken out.
    I2,
    /// The same id is the same message; repetitions only after a resume; one message for each key.
    I3,
    /// Nothing is delivered that was not published, nor on a channel that was not asked for.
    I4,
    /// No gap is told where nothing was lost.
    I5,
    /// When faults stop, every connection that is left hears what is new.
    I6,
    /// When everybody has left, nothing is held.
    I7,
    /// What goes over the wire is what `docs/protocol.md` allows.
    Wire,
}

/// An invariant that did not hold, and how.
#[derive(Clone, Debug)]
pub struct Violation {
    /// Which one.
    pub invariant: Invariant,
    /// Where and how.
    pub story: String,
}

impl Violation {
    /// A violation with its story.
    pub fn new(invariant: Invariant, story: impl Into<String>) -> Violation {
        Violation { invariant, story: story.into() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.invariant, self.story)
    }
}

/// What was published. Cloning shares it.
#[derive(Clone)]
pub struct Ledger(Arc<Mutex<Book>>);

/// The pages of the ledger.
pub struct Book {
    lives: Vec<Life>,
    keys: HashMap<(String, String, String), Keyed>,
    key_ttl_ms: u64,
    /// What the broker itself did wrong, told when the run is judged.
    pub violations: Vec<Violation>,
}

/// One generation of the log.
pub struct Life {
    generation: Gen,
    records: Vec<Record>,
    channels: BTreeMap<String, Vec<u64>>,
    kept: Kept,
}

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Where.
    pub channel: String,
    /// Its event.
    pub event: Option<String>,
    /// What it holds.
    pub payload: Bytes,
    /// Whether that is binary.
    pub binary: bool,
}

struct Keyed {
    record: Record,
    position: Position,
    at_ms: u64,
}

impl Ledger {
    /// An empty ledger.
    #[must_use]
    pub fn new(limits: &Limits) -> Ledger {
        let key_ttl_ms = u64::try_from(limits.key_ttl.as_millis()).unwrap_or(u64::MAX);
        let (lives, keys, violations) = (Vec::new(), HashMap::new(), Vec::new());
        Ledger(Arc::new(Mutex::new(Book { lives, keys, key_ttl_ms, violations })))
    }

    /// The pages.
    pub fn book(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Book {
    /// A new life of the log begins; what the one before remembered of keys is gone.
    pub fn begin(&mut self, generation: Gen, limits: &Limits, retention: Retention) {
        let kept = Kept::new(limits, retention);
        self.lives.push(Life { generation, records: Vec::new(), channels: BTreeMap::new(), kept });
        self.keys.clear();
    }

    /// Notes what came of a publish, and whether that was right (invariant I3).
    pub fn published(&mut self, publish: &Publish, outcome: &Result<Receipt, Reason>, now: Now) {
        let record = Record {
            channel: publish.channel.as_str().to_owned(),
            event: publish.event.as_ref().map(|event| event.as_str().to_owned()),
            payload: publish.payload.as_bytes().clone(),
            binary: publish.payload.is_binary(),
        };
        let owner = publish
            .key
            .as_ref()
            .map(|key| (publish.publisher.to_string(), record.channel.clone(), key.as_str().to_owned()));
        let known = owner.as_ref().and_then(|owner| self.keys.get(owner));
        if let Some(known) = known.filter(|known| known.at_ms + self.key_ttl_ms > now.monotonic_ms) {
            let right = match outcome {
                Ok(receipt) => known.record == record && receipt.position == Some(known.position),
                Err(reason) => *reason == Reason::KeyReused && known.record != record,
            };
            if !right {
                let story = format!("a key came again and the answer was {outcome:?}");
                self.violations.push(Violation::new(Invariant::I3, story));
            }
            return;
        }
        let Ok(receipt) = outcome else { return };
        let Some(life) = self.lives.last_mut() else { return };
        let position = receipt.position.expect("no channel here is bridged");
        if position != (Position { generation: life.generation, seq: life.records.len() as u64 + 1 }) {
            let story = format!("{position} was given after {} messages of its life", life.records.len());
            self.violations.push(Violation::new(Invariant::I2, story));
            return;
        }
        life.kept.place(&record.channel, position.seq, record.payload.len(), now.monotonic_ms);
        life.channels.entry(record.channel.clone()).or_default().push(position.seq);
        life.records.push(record.clone());
        if let Some(owner) = owner {
            self.keys.insert(owner, Keyed { record, position, at_ms: now.monotonic_ms });
        }
    }

    /// Lets time pass.
    pub fn tick(&mut self, now: Now) {
        if let Some(life) = self.lives.last_mut() {
            life.kept.tick(now.monotonic_ms);
        }
    }

    /// The life that is now.
    ///
    /// # Panics
    /// Before the first one has begun.
    #[must_use]
    pub fn now(&self) -> &Life {
        self.lives.last().expect("a node begins a life before anything is heard")
    }

    /// The life of this generation.
    #[must_use]
    pub fn life(&self, generation: Gen) -> Option<&Life> {
        self.lives.iter().find(|life| life.generation == generation)
    }
}

impl Life {
    /// Its generation.
    #[must_use]
    pub fn generation(&self) -> Gen {
        self.generation
    }

    /// The seq of its newest message.
    #[must_use]
    pub fn head(&self) -> u64 {
        self.records.len() as u64
    }

    /// The message at `seq`.
    #[must_use]
    pub fn at(&self, seq: u64) -> Option<&Record> {
        self.records.get(usize::try_from(seq.checked_sub(1)?).ok()?)
    }

    /// The places of a channel's messages above `after` and up to `to`.
    pub fn between(&self, channel: &str, after: u64, to: u64) -> impl Iterator<Item = u64> {
        let seqs = self.channels.get(channel).map_or(&[][..], Vec::as_slice);
        let from = seqs.partition_point(|seq| *seq <= after);
        seqs[from..].iter().copied().take_while(move |seq| *seq <= to)
    }

    /// Everything on `channel` up to here may be gone by now, and nothing above it.
    #[must_use]
    pub fn base(&self, channel: &str) -> u64 {
        self.kept.base(channel)
    }

    /// The place of a message with this payload, the first one above `after` if there is one: raw WebSockets carry
    /// nothing else, and a payload may come again once its key has been forgotten.
    #[must_use]
    pub fn find(&self, payload: &[u8], binary: bool, after: u64) -> Option<u64> {
        let fits = |record: &Record| record.payload == payload && record.binary == binary;
        let above = self.records.iter().skip(usize::try_from(after).unwrap_or(usize::MAX)).position(fits);
        let above = above.map(|index| after + index as u64 + 1);
        above.or_else(|| self.records.iter().rposition(fits).map(|index| index as u64 + 1))
    }
}
