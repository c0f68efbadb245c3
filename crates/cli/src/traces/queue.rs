//! What waits to be exported: a bounded number of spans, and a count of those that were not.
//!
//! The SDK's batch processor has the thread and the batches. What it drops it counts for itself, so its door is kept here, and its
//! own bound, which is the same, is never met.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use opentelemetry::Context;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, Span, SpanData, SpanExporter, SpanProcessor,
};

/// How often it is said that spans were not exported.
const SAID_EVERY: Duration = Duration::from_secs(60);

/// Spans that wait, and those that were lost.
#[derive(Debug)]
pub(super) struct Queue {
    spans_max: usize,
    waiting: AtomicUsize,
    dropped: AtomicU64,
    failed: AtomicU64,
    said: Mutex<Said>,
}

/// What the log has of the losses.
#[derive(Debug, Default)]
struct Said {
    at: Option<Instant>,
    lost: Lost,
}

/// Spans that were not exported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Lost {
    /// There was no room for them.
    pub(super) dropped: u64,
    /// No collector took them.
    pub(super) failed: u64,
}

impl Queue {
    pub(super) fn new(spans_max: usize) -> Queue {
        let (waiting, said) = (AtomicUsize::new(0), Mutex::default());
        Queue { spans_max, waiting, dropped: AtomicU64::new(0), failed: AtomicU64::new(0), said }
    }

    /// What was lost since the start.
    pub(super) fn lost(&self) -> Lost {
        Lost { dropped: self.dropped.load(Ordering::Relaxed), failed: self.failed.load(Ordering::Relaxed) }
    }

    /// Makes room for one more, or counts it as dropped.
    fn take(&self) -> bool {
        let more = |waiting: usize| (waiting < self.spans_max).then_some(waiting + 1);
        let taken = self.waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok();
        if !taken {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        taken
    }

    /// So many have been exported, or could not be.
    fn leave(&self, spans: usize, error: Option<&OTelSdkError>) {
        self.waiting.fetch_sub(spans, Ordering::Relaxed);
        if error.is_some() {
            self.failed.fetch_add(spans as u64, Ordering::Relaxed);
        }
        self.say(error, Instant::now());
    }

    /// Says how many were lost, once a minute.
    fn say(&self, error: Option<&OTelSdkError>, now: Instant) {
        let mut said = self.said();
        if said.at.is_none_or(|at| now.saturating_duration_since(at) >= SAID_EVERY)
            && self.say_now(&mut said, error)
        {
            said.at = Some(now);
        }
    }

    /// The same at the end, with those that still wait.
    pub(super) fn say_what_is_left(&self, error: Option<&OTelSdkError>) {
        let left = self.waiting.swap(0, Ordering::Relaxed);
        self.failed.fetch_add(left as u64, Ordering::Relaxed);
        self.say_now(&mut self.said(), error);
    }

    /// Says how many were lost since it last did, unless there are none.
    fn say_now(&self, said: &mut Said, error: Option<&OTelSdkError>) -> bool {
        let (lost, before) = (self.lost(), said.lost);
        if lost == before {
            return false;
        }
        let (dropped, failed) = (lost.dropped - before.dropped, lost.failed - before.failed);
        said.lost = lost;
        // It names neither the address nor what was sent with it.
        let error = error.map(tracing::field::display);
        tracing::warn!(dropped, failed, error, "spans were not exported");
        true
    }

    fn said(&self) -> MutexGuard<'_, Said> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The door of the queue.
#[derive(Debug)]
pub(super) struct Door {
    queue: Arc<Queue>,
    batches: BatchSpanProcessor,
}

impl Door {
    pub(super) fn new(queue: Arc<Queue>, exporter: impl SpanExporter + 'static) -> Door {
        let config = BatchConfigBuilder::default().with_max_queue_size(queue.spans_max).build();
        let exporter = Counted { queue: queue.clone(), exporter };
        Door { queue, batches: BatchSpanProcessor::builder(exporter).with_batch_config(config).build() }
    }
}

impl SpanProcessor for Door {
    fn on_start(&self, span: &mut Span, context: &Context) {
        self.batches.on_start(span, context);
    }

    fn on_end(&self, span: SpanData) {
        if self.queue.take() {
            self.batches.on_end(span);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.batches.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.batches.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.batches.set_resource(resource);
    }
}

/// Counts what becomes of every batch.
#[derive(Debug)]
struct Counted<E> {
    queue: Arc<Queue>,
    exporter: E,
}

impl<E: SpanExporter> SpanExporter for Counted<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        let outcome = self.exporter.export(batch).await;
        self.queue.leave(spans, outcome.as_ref().err());
        outcome
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn shutdown(&self) -> OTelSdkResult {
        self.exporter.shutdown()
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_drops_and_counts_and_has_room_again() {
        let queue = Queue::new(2);
        assert_eq!([queue.take(), queue.take(), queue.take()], [true, true, false]);
        assert_eq!(queue.lost(), Lost { dropped: 1, failed: 0 });
        queue.leave(2, None);
        assert!(queue.take());
    }

    #[test]
    fn what_was_lost_is_said_once_a_minute() {
        let (queue, now) = (Queue::new(1), Instant::now());
        let lose = || queue.failed.fetch_add(3, Ordering::Relaxed);
        let unsaid = || queue.lost().failed - queue.said().lost.failed;
        lose();
        queue.say(None, now);
        assert_eq!(unsaid(), 0, "said at once");
        lose();
        queue.say(None, now + SAID_EVERY / 2);
        assert_eq!(unsaid(), 3, "kept for later");
        queue.say(None, now + SAID_EVERY);
        assert_eq!((unsaid(), queue.lost().failed), (0, 6));
    }
}
