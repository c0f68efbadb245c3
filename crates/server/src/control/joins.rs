//! How often a connection may change its channels (security rule S36).

use std::num::NonZeroU32;
use std::sync::Arc;

use arc_swap::ArcSwap;
use governor::{DefaultKeyedRateLimiter, Quota};
use tidewire_hub::admit::{ConnId, OutletId};

/// Counts joins and leaves for each connection that changes its channels; the others cost nothing.
pub(super) struct Joins {
    limiter: ArcSwap<Limiter>,
}

type Limiter = DefaultKeyedRateLimiter<(OutletId, ConnId)>;

impl Joins {
    /// So many a minute, which may all come at once.
    pub(super) fn new(per_minute: u32) -> Joins {
        Joins { limiter: ArcSwap::from_pointee(limiter(per_minute)) }
    }

    /// Holds to another rate from now on, and forgets what came before.
    pub(super) fn limit(&self, per_minute: u32) {
        self.limiter.store(Arc::new(limiter(per_minute)));
    }

    /// Whether this connection may join or leave `count` channels now.
    pub(super) fn allow(&self, outlet: OutletId, conn: ConnId, count: usize) -> bool {
        let count = u32::try_from(count).ok().and_then(NonZeroU32::new).unwrap_or(NonZeroU32::MIN);
        // The outer error says that the burst alone is beyond the quota, the inner one that it is used up.
        matches!(self.limiter.load().check_key_n(&(outlet, conn), count), Ok(Ok(())))
    }

    /// Forgets connections that are back at their full quota: that many entries at most are kept as connections
    /// joined or left within the last minute.
    pub(super) fn forget_the_idle(&self) {
        self.limiter.load().retain_recent();
    }
}

fn limiter(per_minute: u32) -> Limiter {
    let per_minute = NonZeroU32::new(per_minute).unwrap_or(NonZeroU32::MIN);
    Limiter::keyed(Quota::per_minute(per_minute))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s36_joins_and_leaves_of_one_connection_are_counted_together_and_of_two_apart() {
        let joins = Joins::new(10);
        let (outlet, one, other) = (OutletId(0), ConnId(1), ConnId(2));
        assert!(joins.allow(outlet, one, 8));
        assert!(!joins.allow(outlet, one, 8));
        assert!(joins.allow(outlet, one, 2));
        assert!(joins.allow(outlet, other, 10));
        assert!(!joins.allow(outlet, ConnId(3), 11));
    }
}
