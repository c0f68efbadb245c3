//! How many streams of a connection are open, and since when none is.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::census::Census;

/// The streams that are open.
#[derive(Debug)]
pub(in crate::http) struct Open {
    census: Arc<Census>,
    count: AtomicUsize,
    none_left: Notify,
}

impl Open {
    /// Of a connection that is counted for as long as this lives.
    pub(in crate::http) fn of(census: Arc<Census>) -> Arc<Open> {
        census.http2_connection(true);
        Arc::new(Open { census, count: AtomicUsize::new(0), none_left: Notify::new() })
    }

    /// Counts one more, for as long as it is held.
    pub(super) fn one(self: &Arc<Open>) -> Counts {
        self.count.fetch_add(1, Ordering::AcqRel);
        self.census.http2_stream(true);
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

impl Drop for Open {
    fn drop(&mut self) {
        self.census.http2_connection(false);
    }
}

/// An open stream, up to the end of its answer.
pub(super) struct Counts(Arc<Open>);

impl Drop for Counts {
    fn drop(&mut self) {
        self.0.census.http2_stream(false);
        if self.0.count.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.none_left.notify_one();
        }
    }
}
