//! The only clock of a node. Everything below the server gets time as an argument (invariant 1).

use std::fmt;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use tidewire_hub::broker::Now;

/// Tells the moment of a call.
#[derive(Clone)]
pub struct Clock(Source);

#[derive(Clone)]
enum Source {
    System { started: Instant },
    Hand(Arc<dyn Fn() -> Now + Send + Sync>),
}

impl Clock {
    /// The system's clock. Its steady side begins now.
    #[must_use]
    pub fn start() -> Clock {
        Clock(Source::System { started: Instant::now() })
    }

    /// When the steady side began: event loops measure from then on too. Of a clock that is turned by hand, now.
    #[must_use]
    pub fn epoch(&self) -> Instant {
        match &self.0 {
            Source::System { started } => *started,
            Source::Hand(_) => Instant::now(),
        }
    }

    /// A clock that somebody else turns: the simulation's.
    #[must_use]
    pub fn by_hand(now: impl Fn() -> Now + Send + Sync + 'static) -> Clock {
        Clock(Source::Hand(Arc::new(now)))
    }

    /// Now, on both sides.
    #[must_use]
    pub fn now(&self) -> Now {
        match &self.0 {
            Source::System { started } => {
                let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
                let elapsed = started.elapsed();
                // Below a thousand, so it fits.
                let micros = u16::try_from(elapsed.subsec_micros() % 1_000).unwrap_or_default();
                Now { monotonic_ms: millis(elapsed), wall_ms: millis(since_1970), micros }
            }
            Source::Hand(now) => now(),
        }
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Clock").field(&self.now()).finish()
    }
}

fn millis(duration: std::time::Duration) -> u64 {
    // 2^64 milliseconds are half a billion years.
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
