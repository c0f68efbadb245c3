//! Who is here: the connections of every outlet and those of the API server, against one bound (security rule S39).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use tidewire_engine::Counters;

/// Connections beyond the bound that are still taken, to be told that they are too many. They fit into the tenth of
/// the open files that the bound leaves free.
pub const RESERVE: usize = 32;

/// Counts connections.
#[derive(Debug)]
pub struct Census {
    /// The counters of the outlets that hold sockets of their own. A pipe's socket is counted among `http`.
    sockets: Vec<Arc<Counters>>,
    http: AtomicUsize,
    /// Accepted by the API server itself, since the start.
    http_accepted: AtomicU64,
    http2: AtomicUsize,
    http2_streams: AtomicUsize,
    connections_max: usize,
}

impl Census {
    /// A census over these outlets.
    #[must_use]
    pub fn new(sockets: Vec<Arc<Counters>>, connections_max: usize) -> Arc<Census> {
        Arc::new(Census {
            sockets,
            http: AtomicUsize::new(0),
            http_accepted: AtomicU64::new(0),
            http2: AtomicUsize::new(0),
            http2_streams: AtomicUsize::new(0),
            connections_max,
        })
    }

    /// Connections open now.
    #[must_use]
    pub fn connections(&self) -> usize {
        let engine: u64 = self.sockets.iter().map(|counters| counters.open.get()).sum();
        self.http() + usize::try_from(engine).unwrap_or(usize::MAX)
    }

    /// Connections that the API server holds now.
    #[must_use]
    pub fn http(&self) -> usize {
        self.http.load(Ordering::Acquire)
    }

    /// Connections accepted since the start, by whomever.
    #[must_use]
    pub fn accepted(&self) -> u64 {
        let engine: u64 = self.sockets.iter().map(|counters| counters.accepted.get()).sum();
        engine + self.http_accepted.load(Ordering::Relaxed)
    }

    /// Counts a connection that the API server has accepted from a listener of its own.
    pub fn accept(&self) {
        self.http_accepted.fetch_add(1, Ordering::Relaxed);
    }

    /// Connections that speak HTTP/2, and the streams open on all of them.
    #[must_use]
    pub fn http2(&self) -> (usize, usize) {
        (self.http2.load(Ordering::Relaxed), self.http2_streams.load(Ordering::Relaxed))
    }

    /// One more or one less connection that speaks HTTP/2.
    pub(crate) fn http2_connection(&self, comes: bool) {
        count(&self.http2, comes);
    }

    /// One more or one less stream of HTTP/2.
    pub(crate) fn http2_stream(&self, comes: bool) {
        count(&self.http2_streams, comes);
    }

    /// The most that may be.
    #[must_use]
    pub fn connections_max(&self) -> usize {
        self.connections_max
    }

    /// Whether there are so many more connections than may be that there is no room even to tell them so.
    #[must_use]
    pub fn is_overrun(&self) -> bool {
        self.connections() > self.connections_max.saturating_add(RESERVE)
    }

    /// Whether there are more connections than may be. Whoever asks counts among them already.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.connections() > self.connections_max
    }

    /// Counts a connection of the API server for as long as the answer lives.
    #[must_use]
    pub fn count(self: &Arc<Census>) -> Counted {
        self.http.fetch_add(1, Ordering::AcqRel);
        Counted(self.clone())
    }
}

fn count(number: &AtomicUsize, comes: bool) {
    if comes {
        number.fetch_add(1, Ordering::Relaxed)
    } else {
        number.fetch_sub(1, Ordering::Relaxed)
    };
}

/// One connection of the API server.
#[derive(Debug)]
pub struct Counted(Arc<Census>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.http.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s39_a_connection_counts_until_it_is_gone() {
        let census = Census::new(vec![Arc::new(Counters::default())], 1);
        let first = census.count();
        assert!(!census.is_over());
        let second = census.count();
        assert!(census.is_over());
        drop((first, second));
        assert_eq!(census.connections(), 0);
    }
}
