//! Counters of one outlet. Its own thread writes them, anybody reads them.

use std::sync::atomic::{AtomicU64, Ordering};

use tidewire_hub::admit::GapReason;

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// What one outlet has done and holds. Plain loads and stores: one thread writes, so nothing contends.
        #[derive(Debug, Default)]
        pub struct Counters { $($(#[$doc])* pub $name: Counter,)* }

        impl Counters {
            /// Every counter by name, as it stands.
            pub fn snapshot(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($name), self.$name.get()),)*].into_iter()
            }
        }
    };
}

counters! {
    /// Connections accepted.
    accepted,
    /// Connections open now, in any state.
    open,
    /// SSE streams open now.
    open_sse,
    /// WebSockets open now.
    open_ws,
    /// Long polls waiting now.
    open_poll,
    /// Event loops whose sends leave in batches through io_uring.
    loops_uring,
    /// Event loops whose sends leave socket by socket.
    loops_epoll,
    /// Connections handed to the API server.
    handed_off,
    /// Publishes read without the API server.
    posts,
    /// Subscriptions let in.
    admitted,
    /// Requests refused.
    refused,
    /// Messages queued to subscribers.
    delivered,
    /// Messages encoded, once for each encoding that was needed.
    encoded,
    /// Writes to sockets.
    writes,
    /// System calls that they took.
    write_calls,
    /// Bytes written to sockets.
    bytes_out,
    /// Writes that a socket did not take whole.
    writes_short,
    /// Bytes of frames waiting now.
    queued_bytes,
    /// Heartbeats and pings sent.
    heartbeats,
    /// Gaps told because history was trimmed.
    gaps_trimmed,
    /// Gaps told because a cursor was unreadable or of another generation.
    gaps_epoch,
    /// Gaps told because the broker failed over.
    gaps_failover,
    /// Gaps told because the broker lost its store.
    gaps_store_reset,
    /// Gaps told to readers that were too slow.
    gaps_slow_consumer,
    /// Gaps told because of a disturbance that nothing bridges.
    gaps_transient,
    /// Messages received from WebSockets.
    received,
    /// Connections ended for reading too slowly.
    slow_consumers,
    /// Connections ended because their rights were revoked.
    revoked,
    /// Connections ended by a deadline.
    timeouts,
    /// Connections ended for breaking a protocol.
    protocol_errors,
    /// Turns of the loop.
    turns,
    /// Times that accepting paused, at a limit or out of file descriptors.
    accept_pauses,
    /// Panics survived by cutting this outlet's connections.
    panics,
}

impl Counters {
    /// Counts a gap that was told.
    pub(crate) fn gap(&self, reason: GapReason) {
        let counter = match reason {
            GapReason::Trimmed => &self.gaps_trimmed,
            GapReason::Epoch => &self.gaps_epoch,
            GapReason::Failover => &self.gaps_failover,
            GapReason::StoreReset => &self.gaps_store_reset,
            GapReason::SlowConsumer => &self.gaps_slow_consumer,
            GapReason::Transient => &self.gaps_transient,
        };
        counter.add(1);
    }
}

/// One number, written by one thread.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// The number as it stands.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Not a read-modify-write: a locked addition costs more than the rest of a delivery.
    pub(crate) fn add(&self, more: u64) {
        self.0.store(self.get().wrapping_add(more), Ordering::Relaxed);
    }

    pub(crate) fn set(&self, number: u64) {
        self.0.store(number, Ordering::Relaxed);
    }

    pub(crate) fn sub(&self, less: u64) {
        self.0.store(self.get().saturating_sub(less), Ordering::Relaxed);
    }
}
