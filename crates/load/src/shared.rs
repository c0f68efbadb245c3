//! What the threads of a run know of each other: counts, a clock, and when to stop.
//!
//! Every count has one writer, which adds with plain loads and stores that nobody waits for; the thread that reports reads
//! them now and then, a moment old.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed, Ordering::Release};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::error::Error;
use crate::latency::Latency;
use crate::measured::Traffic;

/// Shared by all threads of a run.
pub struct Shared {
    clock: Instant,
    stop: AtomicBool,
    failure: Mutex<Option<Error>>,
    /// Messages that were due from here on are measured.
    pub from_ns: AtomicU64,
    /// Messages that were due from here on no longer are.
    pub to_ns: AtomicU64,
    /// Of publishers.
    pub publishing: Publishing,
    /// Of each thread that reads.
    pub readers: Vec<Readers>,
}

/// Written by the thread that publishes.
#[derive(Default)]
pub struct Publishing {
    /// Messages that were given their number, which is that of the next.
    pub numbered: AtomicU64,
    /// Deliveries that they make due, without those of refused ones.
    pub due: AtomicU64,
    /// Messages that were refused.
    pub refused: AtomicU64,
    /// Late ones, see [`crate::measured::Punctuality`].
    pub late_for_answers: AtomicU64,
    /// As above.
    pub late_itself: AtomicU64,
    /// Requests and bytes.
    pub traffic: Counts,
    /// Whether everything was sent and answered.
    pub is_over: AtomicBool,
}

/// Written by one thread that reads.
pub struct Readers {
    /// Subscribers that have joined.
    pub joined: AtomicU64,
    /// Deliveries, each counted once.
    pub delivered: AtomicU64,
    /// Streams that the server ended.
    pub cut: AtomicU64,
    /// Gaps that were announced.
    pub gaps: AtomicU64,
    /// Requests and bytes.
    pub traffic: Counts,
    latency: Mutex<Latency>,
}

/// [`Traffic`] while it is counted.
#[derive(Default)]
pub struct Counts {
    /// Requests sent.
    pub requests: AtomicU64,
    /// Answers that brought nothing.
    pub without_news: AtomicU64,
    /// Bytes sent.
    pub bytes_up: AtomicU64,
    /// Bytes received.
    pub bytes_down: AtomicU64,
    /// Connections opened anew.
    pub reopened: AtomicU64,
}

impl Shared {
    /// For so many threads that read.
    pub fn new(threads: usize) -> Shared {
        Shared {
            clock: Instant::now(),
            stop: AtomicBool::new(false),
            failure: Mutex::new(None),
            from_ns: AtomicU64::new(u64::MAX),
            to_ns: AtomicU64::new(u64::MAX),
            publishing: Publishing::default(),
            readers: (0..threads).map(|_| Readers::new()).collect(),
        }
    }

    /// Nanoseconds on the clock that payloads carry.
    pub fn now_ns(&self) -> u64 {
        self.clock.elapsed().as_nanos() as u64
    }

    /// Has every thread end.
    pub fn stop(&self) {
        self.stop.store(true, Relaxed);
    }

    /// Whether to end.
    pub fn is_stopped(&self) -> bool {
        self.stop.load(Relaxed)
    }

    /// Ends the run for a reason; the first one is told.
    pub fn fail(&self, error: Error) {
        lock(&self.failure).get_or_insert(error);
        self.stop();
    }

    /// Why the run ended, if it had to.
    pub fn take_failure(&self) -> Option<Error> {
        lock(&self.failure).take()
    }

    /// A count over all threads that read.
    pub fn sum(&self, count: fn(&Readers) -> &AtomicU64) -> u64 {
        self.readers.iter().map(|readers| count(readers).load(Relaxed)).sum()
    }

    /// Requests and bytes of all subscribers.
    pub fn traffic(&self) -> Traffic {
        self.readers.iter().fold(Traffic::default(), |sum, readers| sum.plus(readers.traffic.read()))
    }

    /// Latencies of all subscribers.
    pub fn latency(&self) -> Latency {
        let mut all = Latency::new();
        self.readers.iter().for_each(|readers| all.add(&readers.latency()));
        all
    }
}

impl Readers {
    fn new() -> Readers {
        Readers {
            joined: AtomicU64::new(0),
            delivered: AtomicU64::new(0),
            cut: AtomicU64::new(0),
            gaps: AtomicU64::new(0),
            traffic: Counts::default(),
            latency: Mutex::new(Latency::new()),
        }
    }

    /// Held for a turn by the thread that writes, and for a moment by the one that reports.
    pub fn latency(&self) -> MutexGuard<'_, Latency> {
        lock(&self.latency)
    }
}

impl Counts {
    /// As they are now.
    pub fn read(&self) -> Traffic {
        Traffic {
            requests: self.requests.load(Relaxed),
            without_news: self.without_news.load(Relaxed),
            bytes_up: self.bytes_up.load(Relaxed),
            bytes_down: self.bytes_down.load(Relaxed),
            reopened: self.reopened.load(Relaxed),
        }
    }
}

impl Traffic {
    /// Both.
    pub fn plus(self, more: Traffic) -> Traffic {
        Traffic {
            requests: self.requests + more.requests,
            without_news: self.without_news + more.without_news,
            bytes_up: self.bytes_up + more.bytes_up,
            bytes_down: self.bytes_down + more.bytes_down,
            reopened: self.reopened + more.reopened,
        }
    }

    /// What was counted since `earlier`.
    pub fn since(self, earlier: Traffic) -> Traffic {
        Traffic {
            requests: self.requests - earlier.requests,
            without_news: self.without_news - earlier.without_news,
            bytes_up: self.bytes_up - earlier.bytes_up,
            bytes_down: self.bytes_down - earlier.bytes_down,
            reopened: self.reopened - earlier.reopened,
        }
    }
}

/// Adds to a count that nobody else writes.
pub fn add(count: &AtomicU64, more: u64) {
    count.store(count.load(Relaxed) + more, Release);
}

/// Takes back what was added to a count that nobody else writes.
pub fn take_back(count: &AtomicU64, less: u64) {
    count.store(count.load(Relaxed) - less, Release);
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A thread that panicked has left counts that are still counts.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
