//! What kind of run a seed makes: how many of everything, how little room, and how much mischief.

use std::time::Duration;

use tidewire_hub::limits::{Limits, Retention};

use crate::kernel::Mischief;
use crate::rng::Rng;

/// One run's circumstances.
#[derive(Clone, Debug)]
pub struct Profile {
    /// Event loops.
    pub shards: usize,
    /// Subscribers.
    pub clients: usize,
    /// Channels.
    pub channels: Vec<String>,
    /// Messages that each shard's inbox holds.
    pub inbox_messages_max: Vec<usize>,
    /// What channels keep.
    pub retention: Retention,
    /// All other bounds.
    pub limits: Limits,
    /// What the kernel does wrong.
    pub mischief: Mischief,
    /// Bytes of send buffer that a connection gets, at most.
    pub room_max: usize,
    /// Bytes of payload, at most.
    pub payload_max: usize,
    /// A slice of what a client sends, at most.
    pub slice_max: usize,
    /// Restarts of the whole node.
    pub restarts: usize,
    /// Whether a restart is announced by a drain.
    pub drains: bool,
    /// In permille of the occasions: somebody publishes.
    pub bustle: u32,
    /// In permille of a client's steps: it cuts its connection, stops reading, or asks for nonsense.
    pub unrest: u32,
}

impl Profile {
    /// The circumstances of a seed.
    #[must_use]
    pub fn new(rng: &mut Rng) -> Profile {
        let shards = 1 + rng.below(3);
        let count = 1 + rng.below(4);
        let tight = rng.chance(400);
        let messages_max = if rng.chance(600) { rng.range(2, 40) as usize } else { 1_000 };
        let ttl =
            if rng.chance(300) { Duration::from_secs(rng.range(2, 20)) } else { Duration::from_secs(3_600) };
        let limits = Limits {
            memory_budget: if tight { 16 << 10 << rng.below(3) } else { 64 << 20 },
            queue_messages_max: if rng.chance(400) { rng.range(3, 60) as usize } else { 1_000 },
            queue_age_max: Duration::from_secs(rng.range(2, 15)),
            key_ttl: Duration::from_secs(rng.range(3, 300)),
            poll_wait_max: Duration::from_secs(3),
            ..Limits::default()
        };
        Profile {
            shards,
            clients: 2 + rng.below(7),
            channels: (0..count).map(|index| format!("c:{index}")).collect(),
            inbox_messages_max: (0..shards)
                .map(|_| if rng.chance(500) { 1 + rng.below(6) } else { 16_384 })
                .collect(),
            retention: Retention { messages_max, ttl },
            limits,
            mischief: Mischief {
                short_write: rng.range(0, 150) as u32,
                would_block: rng.range(0, 80) as u32,
                cancelled: rng.range(0, 80) as u32,
                postponed: rng.range(0, 400) as u32,
                spurious: rng.range(0, 60) as u32,
                stale: rng.range(0, 60) as u32,
                emfile: rng.range(0, 200) as u32,
            },
            room_max: 64 << rng.below(8),
            payload_max: if !tight && rng.chance(100) { 16 << 10 } else { 8 << rng.below(7) },
            slice_max: 1 << rng.below(10),
            restarts: if rng.chance(300) { 1 + rng.below(2) } else { 0 },
            drains: rng.chance(500),
            bustle: if rng.chance(200) { 20 } else { 1_000 },
            unrest: rng.range(2, 30) as u32,
        }
    }
}
