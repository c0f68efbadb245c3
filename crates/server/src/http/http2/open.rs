//! How many streams of a connection are open, and since when none is.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

/// The streams that are open.
#[derive(Debug, Default)]
pub(in crate::http) struct Open {
    count: AtomicUsize,
    none_left: Notify,
}

impl Open {
    /// Counts one more, for as long as it is held.
    pub(super) fn one(self: &Arc<Open>) -> Counts {
        self.count.fetch_add(1, Ordering::AcqRel);
        Counts(self.clone())
    }

    /// Resolves when no stream has been open for so long.
    pub(super) async fn idle(&self, keep_alive_max: Duration) {
        let mut since = Instant::now();
        loop {
            let none_left = self.none_left.notified();
            if self.count.load(Ordering::Acquire) == 0 {
                tokio::select! {
                    () = tokio::time::sleep_until(since + keep_alive_max) => {
                        if self.count.load(Ordering::Acquire) == 0 {
                            return;
                        }
                    }
                    () = none_left => since = Instant::now(),
                }
            } else {
                none_left.await;
                since = Instant::now();
            }
        }
    }
}

/// An open stream, up to the end of its answer.
pub(super) struct Counts(Arc<Open>);

impl Drop for Counts {
    fn drop(&mut self) {
        if self.0.count.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.none_left.notify_one();
        }
    }
}
