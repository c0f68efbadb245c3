//! Counters of one outlet. Its own thread writes them, anybody reads them.

use std::sync::atomic::{AtomicU64, Ordering};

use tidewire_hub::admit::{GapReason, Transport};
use tidewire_hub::histogram::Histogram;
use tidewire_hub::reason::Reason;

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// What one outlet has done and holds. Plain loads and stores: one thread writes, so nothing contends.
        #[derive(Debug, Default)]
        pub struct Counters {
            $($(#[$doc])* pub $name: Counter,)*
            /// Why streams and WebSockets ended.
            pub ends: Ends,
            /// From when this node took a message until everybody here had been written it once, by the end of the turn;
            /// once a message.
            pub delivery: Histogram,
        }

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
    /// Messages queued to SSE streams.
    delivered_sse,
    /// Messages queued to WebSockets.
    delivered_ws,
    /// Messages in answers to polls.
    delivered_poll,
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
    /// Microseconds in which the loop did not wait.
    busy_us,
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

    /// Counts messages on their way to a connection of this kind.
    pub(crate) fn deliver(&self, transport: Transport, count: u64) {
        let counter = match transport {
            Transport::Sse => &self.delivered_sse,
            Transport::Ws => &self.delivered_ws,
            Transport::Poll => &self.delivered_poll,
        };
        counter.add(count);
    }
}

/// How many streams and WebSockets ended, by why.
#[derive(Debug)]
pub struct Ends {
    /// The client went, or its connection broke.
    pub by_client: Counter,
    by_reason: Box<[Counter]>,
}

impl Default for Ends {
    fn default() -> Ends {
        let by_reason = Reason::ALL.iter().map(|_| Counter::default()).collect();
        Ends { by_client: Counter::default(), by_reason }
    }
}

impl Ends {
    /// How many this server ended, by its reason.
    pub fn by_reason(&self) -> impl Iterator<Item = (Reason, u64)> {
        Reason::ALL.iter().copied().zip(self.by_reason.iter().map(Counter::get))
    }

    pub(crate) fn count(&self, reason: Option<Reason>) {
        let counter = reason.and_then(|reason| self.by_reason.get(reason as usize));
        counter.unwrap_or(&self.by_client).add(1);
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
