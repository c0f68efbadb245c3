//! Idempotency keys: what makes a repeated publish harmless (delivery rule R22).

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use crate::channel::Channel;
use crate::position::Position;
use crate::publish::{Key, Publish};
use crate::reason::Reason;

/// The keys of a partition. A key belongs to publisher and channel; full, it refuses and never forgets early.
#[derive(Debug)]
pub(crate) struct Keys {
    entries: HashMap<Arc<Owner>, Entry>,
    /// In the order they expire, which is the order they came in.
    expiring: VecDeque<(u64, Arc<Owner>)>,
    fingerprints: [RandomState; 2],
    count_max: usize,
    ttl: Duration,
}

/// Whose key it is. A tuple of typed parts, never a joined string (security rule S28).
#[derive(Debug, PartialEq, Eq, Hash)]
struct Owner {
    publisher: Arc<str>,
    channel: Channel,
    key: Key,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    position: Position,
    fingerprint: Fingerprint,
}

/// 128 bits under a random key stand for payload, event and type: keeping the payload itself would cost its memory.
type Fingerprint = [u64; 2];

impl Keys {
    pub(crate) fn new(count_max: usize, ttl: Duration) -> Keys {
        let fingerprints = [RandomState::new(), RandomState::new()];
        Keys { entries: HashMap::new(), expiring: VecDeque::new(), fingerprints, count_max, ttl }
    }

    /// The position of the same publish, if its key is remembered.
    ///
    /// # Errors
    /// [`Reason::KeyReused`] when something else was published with this key, [`Reason::KeysFull`] when a new key
    /// would not fit.
    pub(crate) fn find(&self, publish: &Publish) -> Result<Option<Position>, Reason> {
        let Some(owner) = owner(publish) else { return Ok(None) };
        match self.entries.get(&owner) {
            Some(entry) if entry.fingerprint == self.fingerprint(publish) => Ok(Some(entry.position)),
            Some(_) => Err(Reason::KeyReused),
            None if self.entries.len() >= self.count_max => Err(Reason::KeysFull),
            None => Ok(None),
        }
    }

    /// Remembers the key of a publish that has found its place.
    pub(crate) fn remember(&mut self, publish: &Publish, position: Position, now_ms: u64) {
        let Some(owner) = owner(publish) else { return };
        let owner = Arc::new(owner);
        let entry = Entry { position, fingerprint: self.fingerprint(publish) };
        let ttl_ms = u64::try_from(self.ttl.as_millis()).unwrap_or(u64::MAX);
        self.expiring.push_back((now_ms.saturating_add(ttl_ms), owner.clone()));
        self.entries.insert(owner, entry);
    }

    /// Forgets what has expired.
    pub(crate) fn expire(&mut self, now_ms: u64) {
        while self.expiring.front().is_some_and(|(expires_ms, _)| *expires_ms <= now_ms) {
            if let Some((_, owner)) = self.expiring.pop_front() {
                self.entries.remove(&owner);
            }
        }
    }

    pub(crate) fn count(&self) -> usize {
        self.entries.len()
    }

    fn fingerprint(&self, publish: &Publish) -> Fingerprint {
        let event = publish.event.as_ref().map(crate::message::EventName::as_str);
        let what = (publish.payload.is_binary(), event, publish.payload.as_bytes());
        [self.fingerprints[0].hash_one(what), self.fingerprints[1].hash_one(what)]
    }
}

fn owner(publish: &Publish) -> Option<Owner> {
    let key = publish.key.clone()?;
    Some(Owner { publisher: publish.publisher.clone(), channel: publish.channel.clone(), key })
}
