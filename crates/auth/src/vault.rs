//! Vaults: where the server's side of tickets and sessions is kept, for a while, and given out once.
//!
//! One contract, and one suite that every vault passes (`tests/vault.rs`). Memory is the first.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tidewire_hub::broker::{Done, Now};

use crate::secret::Digest;

/// Under what something is kept: the digest of a secret, which kind of secret included, so that one is never taken
/// for the other (security rule S28).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// A ticket.
    Ticket(Digest),
    /// The session of a stream that a ticket opened.
    Session(Digest),
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Key::Ticket(_) => "Ticket(***)",
            Key::Session(_) => "Session(***)",
        })
    }
}

/// The contract of a vault.
///
/// No call blocks, and every call is answered exactly once, within a second or so: what takes longer is
/// [`VaultError::Unavailable`].
pub trait Vault: Send + Sync {
    /// Keeps `value` under `key` for as long as `ttl`, in place of what was there.
    fn put(&self, key: Key, value: Bytes, ttl: Duration, now: Now, done: Done<Result<(), VaultError>>);

    /// Gives out what is kept under `key` and keeps it no longer, in one step: of any number of callers, on any
    /// number of nodes, exactly one gets it (security rule S20; `GETDEL` in Redis).
    ///
    /// Never repeated: after [`VaultError::Unavailable`] nobody knows whether it was given out (rule S21).
    fn take(&self, key: Key, now: Now, done: Done<Result<Option<Bytes>, VaultError>>);

    /// Shows what is kept under `key`.
    fn get(&self, key: Key, now: Now, done: Done<Result<Option<Bytes>, VaultError>>);
}

/// Why a vault did not do as it was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VaultError {
    /// It has no room; nothing is thrown out for a newcomer. Becomes `overloaded`.
    Full,
    /// It did not answer in time, or not at all.
    Unavailable,
}

/// How much a vault in memory holds, of each kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Values. Default 200 000.
    pub count_max: usize,
    /// Bytes, overhead included. Default 64 MiB.
    pub bytes_max: usize,
}

impl Default for Room {
    fn default() -> Room {
        Room { count_max: 200_000, bytes_max: 64 << 20 }
    }
}

/// A vault in this process's memory. Every call is answered before it returns.
///
/// Tickets and sessions have room of their own: sessions live for hours, and must not crowd out tickets.
#[derive(Debug)]
pub struct MemoryVault {
    tickets: Mutex<Shelf>,
    sessions: Mutex<Shelf>,
}

impl MemoryVault {
    /// An empty vault with so much room for each kind.
    #[must_use]
    pub fn new(room: Room) -> MemoryVault {
        let shelf =
            || Mutex::new(Shelf { room, values: HashMap::new(), expiring: BTreeSet::new(), bytes: 0 });
        MemoryVault { tickets: shelf(), sessions: shelf() }
    }

    fn shelf(&self, key: Key) -> MutexGuard<'_, Shelf> {
        let shelf = match key {
            Key::Ticket(_) => &self.tickets,
            Key::Session(_) => &self.sessions,
        };
        // A panic in here could at worst leave a value that is forgotten late.
        shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for MemoryVault {
    fn default() -> MemoryVault {
        MemoryVault::new(Room::default())
    }
}

impl Vault for MemoryVault {
    fn put(&self, key: Key, value: Bytes, ttl: Duration, now: Now, done: Done<Result<(), VaultError>>) {
        let ttl_ms = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
        let kept = Kept { value, expires_ms: now.monotonic_ms.saturating_add(ttl_ms) };
        let outcome = {
            let mut shelf = self.shelf(key);
            shelf.expire(now);
            shelf.put(key, kept)
        };
        done(outcome);
    }

    fn take(&self, key: Key, now: Now, done: Done<Result<Option<Bytes>, VaultError>>) {
        let kept = self.shelf(key).remove(key);
        done(Ok(kept.filter(|kept| kept.expires_ms > now.monotonic_ms).map(|kept| kept.value)));
    }

    fn get(&self, key: Key, now: Now, done: Done<Result<Option<Bytes>, VaultError>>) {
        let value = {
            let shelf = self.shelf(key);
            let kept = shelf.values.get(&key).filter(|kept| kept.expires_ms > now.monotonic_ms);
            kept.map(|kept| kept.value.clone())
        };
        done(Ok(value));
    }
}

/// What one value costs beside its bytes: its key, twice, and what the two maps need for it.
const OVERHEAD_BYTES: usize = 192;

struct Shelf {
    room: Room,
    values: HashMap<Key, Kept>,
    /// The same keys in the order they expire.
    expiring: BTreeSet<(u64, Key)>,
    bytes: usize,
}

struct Kept {
    value: Bytes,
    expires_ms: u64,
}

impl Shelf {
    fn put(&mut self, key: Key, kept: Kept) -> Result<(), VaultError> {
        self.remove(key);
        let cost = cost(&kept);
        if self.values.len() >= self.room.count_max || self.bytes.saturating_add(cost) > self.room.bytes_max {
            return Err(VaultError::Full);
        }
        self.bytes += cost;
        self.expiring.insert((kept.expires_ms, key));
        self.values.insert(key, kept);
        Ok(())
    }

    fn remove(&mut self, key: Key) -> Option<Kept> {
        let kept = self.values.remove(&key)?;
        self.expiring.remove(&(kept.expires_ms, key));
        self.bytes -= cost(&kept);
        Some(kept)
    }

    /// Makes room where something comes, so that no timer is needed.
    fn expire(&mut self, now: Now) {
        while let Some((_, key)) = self.expiring.first().copied().filter(|(ms, _)| *ms <= now.monotonic_ms) {
            self.remove(key);
        }
    }
}

fn cost(kept: &Kept) -> usize {
    kept.value.len() + OVERHEAD_BYTES
}

impl fmt::Debug for Shelf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shelf").field("values", &self.values.len()).field("bytes", &self.bytes).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s49_debug_output_shows_neither_keys_nor_values() {
        let vault = MemoryVault::default();
        let value = Bytes::from_static(b"canary");
        vault.put(Key::Ticket([7; 32]), value, Duration::from_secs(1), Now::default(), Box::new(|_| ()));
        let shown = format!("{vault:?} {:?}", Key::Ticket([7; 32]));
        assert!(!shown.contains("canary") && !shown.contains('7'), "{shown}");
    }
}
