//! The only clock of a node. Everything below the server gets time as an argument (invariant 1).

use std::time::{Instant, SystemTime};

use tidewire_hub::broker::Now;

/// Tells the moment of a call.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    started: Instant,
}

impl Clock {
    /// A clock whose steady side begins now.
    #[must_use]
    pub fn start() -> Clock {
        Clock { started: Instant::now() }
    }

    /// Now, on both sides.
    #[must_use]
    pub fn now(&self) -> Now {
        let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Now { monotonic_ms: millis(self.started.elapsed()), wall_ms: millis(since_1970) }
    }
}

fn millis(duration: std::time::Duration) -> u64 {
    // 2^64 milliseconds are half a billion years.
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
