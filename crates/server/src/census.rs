//! Who is here: the connections of every outlet and those of the API server, against one bound (security rule S39).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

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
    connections_max: usize,
}

impl Census {
    /// A census over these outlets.
    #[must_use]
    pub fn new(sockets: Vec<Arc<Counters>>, connections_max: usize) -> Arc<Census> {
        Arc::new(Census { sockets, http: AtomicUsize::new(0), connections_max })
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
