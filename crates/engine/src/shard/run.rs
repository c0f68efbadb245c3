//! Running: what the thread of a shard does.

use std::hash::{BuildHasher, RandomState};
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::kernel::Kernel;

use super::turn::Shard;

/// Turns a shard until it has drained. A panic cuts its connections, which resume, and it goes on (delivery rule R23).
pub(crate) fn run<K: Kernel>(mut shard: Shard<K>) {
    while catch_unwind(AssertUnwindSafe(|| while shard.turn() {})).is_err() {
        shard.cut();
    }
}

/// A seed for jitter from the system's random source, which the standard library's hasher draws on.
pub(crate) fn seed() -> u64 {
    RandomState::new().hash_one(0u8)
}
