//! How many publishes are taken: at once, and a second on one channel (security rule S37).

use std::num::NonZeroU32;
use std::sync::Arc;

use arc_swap::ArcSwap;
use governor::{DefaultKeyedRateLimiter, Quota};
use tidewire_hub::channel::Channel;
use tidewire_hub::limits::Limits;
use tidewire_hub::reason::Reason;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Room for publishes of either kind, over HTTP and over WebSocket.
#[derive(Debug)]
pub struct Publishes {
    in_flight: Arc<Semaphore>,
    by_channel: ArcSwap<DefaultKeyedRateLimiter<Channel>>,
}

impl Publishes {
    /// Room as `limits` have it; what a channel takes in a second may all come at once.
    #[must_use]
    pub fn new(limits: &Limits) -> Publishes {
        let in_flight = Semaphore::new(limits.publishes_in_flight_max.min(Semaphore::MAX_PERMITS));
        Publishes { in_flight: Arc::new(in_flight), by_channel: ArcSwap::from_pointee(by_channel(limits)) }
    }

    /// Holds to other rates from now on. How many are answered at once stays as it was at the start.
    pub fn limit(&self, limits: &Limits) {
        self.by_channel.store(Arc::new(by_channel(limits)));
    }

    /// Lets one publish to `channel` begin. It counts as being answered until the permit is dropped.
    ///
    /// # Errors
    /// `overloaded` when too many are being answered, `rate_limited` when the channel takes no more this second.
    pub fn begin(&self, channel: &Channel) -> Result<OwnedSemaphorePermit, Reason> {
        let permit = self.in_flight.clone().try_acquire_owned().map_err(|_| Reason::Overloaded)?;
        self.by_channel.load().check_key(channel).map_err(|_| Reason::RateLimited)?;
        Ok(permit)
    }

    /// Forgets channels that are back at their full quota; called about once a second, so that as many entries at
    /// most are kept as channels were published to within about two.
    pub fn forget_the_idle(&self) {
        let by_channel = self.by_channel.load();
        by_channel.retain_recent();
        by_channel.shrink_to_fit();
    }
}

fn by_channel(limits: &Limits) -> DefaultKeyedRateLimiter<Channel> {
    let per_second = NonZeroU32::new(limits.channel_publishes_per_second_max).unwrap_or(NonZeroU32::MIN);
    DefaultKeyedRateLimiter::keyed(Quota::per_second(per_second))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s37_a_channel_takes_so_many_publishes_a_second_and_another_its_own() {
        let limits = Limits { channel_publishes_per_second_max: 2, ..Limits::default() };
        let publishes = Publishes::new(&limits);
        let [a, b] = ["a", "b"].map(|name| Channel::parse(name).unwrap());
        let begin = |channel| publishes.begin(channel).map(drop);
        assert_eq!([begin(&a), begin(&a), begin(&a)], [Ok(()), Ok(()), Err(Reason::RateLimited)]);
        assert_eq!(begin(&b), Ok(()));
    }

    #[test]
    fn s37_so_many_publishes_are_answered_at_once() {
        let limits = Limits { publishes_in_flight_max: 1, ..Limits::default() };
        let publishes = Publishes::new(&limits);
        let channel = Channel::parse("a").unwrap();
        let first = publishes.begin(&channel).unwrap();
        assert_eq!(publishes.begin(&channel).map(drop), Err(Reason::Overloaded));
        drop(first);
        assert!(publishes.begin(&channel).is_ok());
    }
}
