//! Tokens that were verified before: a signature is checked once, not with every request.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tidewire_hub::broker::Now;
use tidewire_hub::grant::Grant;

use crate::secret::{self, Digest};

/// Tokens remembered at once.
const TOKENS_MAX: usize = 100_000;

/// Bytes of remembered tokens: what a token says takes about as much memory as it is long.
const BYTES_MAX: usize = 64 << 20;

/// Locks that the tokens are spread over.
const SHELVES: usize = 16;

/// Under what a token is remembered: its digest, and nothing that was put together from parts (security rule S28,
/// Mercure CVE-2026-39972).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct TokenKey(Digest);

impl TokenKey {
    pub(crate) fn of(token: &str) -> TokenKey {
        TokenKey(secret::digest(token))
    }
}

/// Tells whether the keys are still those that a token was verified with.
pub(crate) type Generation = (u64, u64);

/// What verified tokens grant, until they expire. Revocation is looked up by whoever asks.
pub(crate) struct TokenCache {
    shelves: [Mutex<Shelf>; SHELVES],
}

#[derive(Default)]
struct Shelf {
    tokens: HashMap<TokenKey, Verified>,
    /// The same keys, oldest first.
    oldest: VecDeque<TokenKey>,
    bytes: usize,
}

struct Verified {
    grant: Arc<Grant>,
    generation: Generation,
    bytes: usize,
}

impl TokenCache {
    pub(crate) fn new() -> TokenCache {
        TokenCache { shelves: std::array::from_fn(|_| Mutex::default()) }
    }

    /// What a token grants, if it was verified with the keys of this generation and has not ended.
    pub(crate) fn find(&self, key: TokenKey, generation: Generation, now: Now) -> Option<Arc<Grant>> {
        let shelf = self.shelf(key);
        let verified = shelf.tokens.get(&key).filter(|verified| verified.generation == generation)?;
        let lasts = verified.grant.lasts_ms(now) != Some(0);
        lasts.then(|| verified.grant.clone())
    }

    /// Remembers a token of so many bytes, verified with the keys of this generation. The oldest go for it.
    pub(crate) fn remember(&self, key: TokenKey, bytes: usize, generation: Generation, grant: Arc<Grant>) {
        let mut shelf = self.shelf(key);
        let shelf = &mut *shelf;
        let verified = Verified { grant, generation, bytes };
        match shelf.tokens.insert(key, verified) {
            // It keeps its place in line: two entries for one key would make the line longer than the table.
            Some(old) => shelf.bytes -= old.bytes,
            None => shelf.oldest.push_back(key),
        }
        shelf.bytes += bytes;
        while shelf.tokens.len() > TOKENS_MAX / SHELVES || shelf.bytes > BYTES_MAX / SHELVES {
            let Some(oldest) = shelf.oldest.pop_front() else { break };
            if let Some(gone) = shelf.tokens.remove(&oldest) {
                shelf.bytes -= gone.bytes;
            }
        }
    }

    fn shelf(&self, key: TokenKey) -> MutexGuard<'_, Shelf> {
        let shelf = &self.shelves[usize::from(key.0[0]) % SHELVES];
        // What is remembered is never in doubt: each entry stands for itself.
        shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    fn count(&self) -> usize {
        self.shelves.iter().map(|shelf| shelf.lock().unwrap().tokens.len()).sum()
    }
}

impl fmt::Debug for TokenCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenCache")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Now = Now { monotonic_ms: 1_000, wall_ms: 0, micros: 0 };

    fn ends_at(ends_at_ms: u64) -> Arc<Grant> {
        Arc::new(Grant { ends_at_ms: Some(ends_at_ms), ..Grant::everything() })
    }

    #[test]
    fn a_token_is_remembered_until_it_expires() {
        let (cache, key) = (TokenCache::new(), TokenKey::of("a"));
        cache.remember(key, 300, (0, 0), ends_at(5_000));
        assert_eq!(cache.find(key, (0, 0), NOW), Some(ends_at(5_000)));
        assert_eq!(cache.find(TokenKey::of("b"), (0, 0), NOW), None);
        assert_eq!(cache.find(key, (0, 0), Now { monotonic_ms: 5_000, wall_ms: 0, micros: 0 }), None);
    }

    #[test]
    fn s16_a_token_is_forgotten_with_the_keys_that_it_was_verified_with() {
        let (cache, key) = (TokenCache::new(), TokenKey::of("a"));
        cache.remember(key, 300, (0, 7), ends_at(5_000));
        assert_eq!(cache.find(key, (0, 8), NOW), None);
        cache.remember(key, 300, (0, 8), ends_at(5_000));
        assert!(cache.find(key, (0, 8), NOW).is_some() && cache.count() == 1);
    }

    #[test]
    fn a_full_cache_forgets_the_oldest() {
        let cache = TokenCache::new();
        let keys: Vec<TokenKey> = (0..TOKENS_MAX * 2).map(|n| TokenKey::of(&n.to_string())).collect();
        let grant = ends_at(5_000);
        for key in &keys {
            cache.remember(*key, 300, (0, 0), grant.clone());
        }
        assert!(cache.count() <= TOKENS_MAX);
        assert!(cache.find(keys[0], (0, 0), NOW).is_none());
        assert!(cache.find(keys[keys.len() - 1], (0, 0), NOW).is_some());
    }

    #[test]
    fn a_full_cache_is_full_by_bytes_too() {
        let cache = TokenCache::new();
        for number in 0..20_000 {
            cache.remember(TokenKey::of(&number.to_string()), 8 << 10, (0, 0), ends_at(5_000));
        }
        assert!(cache.count() <= BYTES_MAX / (8 << 10));
    }
}
