//! Publishing: a queue, flushes out of it, and what became of each message.
//!
//! Nothing waits for company: a flush takes what has gathered while the ones before it were under way. Two are under way at
//! most, so that Redis works on one while the other travels.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tidewire_hub::broker::{Done, Now};
use tidewire_hub::limits::Retention;
use tidewire_hub::publish::{Publish, Receipt, Receivers};
use tidewire_hub::reason::Reason;

use super::{Astray, Sequencer, Session, Standing};
use crate::redis::error::Error;
use crate::redis::fence::{Fence, NodeId};
use crate::redis::log::{FLUSH_MESSAGES_MAX, Placing, Request};

/// How long a message waits for its place. Beyond: `broker_unavailable`, or `outcome_unknown` where it was sent.
pub const PUBLISH_PATIENCE: Duration = Duration::from_secs(2);

/// How long the link may be away before messages are refused at once.
const AWAY_MAX_MS: u64 = 1_000;

/// Flushes under way at once.
const FLUSHES_MAX: usize = 2;

/// Payload bytes of one flush, unless a single message has more.
const FLUSH_BYTES_MAX: usize = 1 << 20;

/// Payload bytes that wait. Beyond: `overloaded`.
const QUEUE_BYTES_MAX: usize = 64 << 20;

#[derive(Default)]
pub(super) struct Publishing {
    queue: VecDeque<Pending>,
    bytes: usize,
    next: u64,
    flushes: usize,
}

/// A message that has no place yet.
struct Pending {
    /// The order of coming, which a repetition keeps (delivery rule R16).
    number: u64,
    publish: Publish,
    time_ms: u64,
    retention: Retention,
    due_ms: u64,
    /// Whether it was sent once, and nobody knows what became of it.
    is_unknown: bool,
    done: Done<Result<Receipt, Reason>>,
}

/// An order to place messages.
pub struct Flush {
    session: Session,
    /// What they are checked against.
    pub fence: Arc<Fence>,
    /// Who places them.
    pub node: NodeId,
    key_ttl: Duration,
    pending: Vec<Pending>,
}

impl Flush {
    /// The messages, in their order.
    #[must_use]
    pub fn requests(&self) -> Vec<Request<'_>> {
        let mut requests = Vec::with_capacity(self.pending.len());
        for Pending { publish, time_ms, retention, .. } in &self.pending {
            let (time_ms, retention, key_ttl) = (*time_ms, *retention, self.key_ttl);
            requests.push(Request { publish, time_ms, retention, key_ttl });
        }
        requests
    }
}

impl Sequencer {
    /// Queues a message. `done` is called once with its receipt, or with `broker_unavailable`, `overloaded` or
    /// `broker_full` where it has certainly not been placed, or `outcome_unknown`.
    pub fn publish(&mut self, publish: Publish, now: Now, done: Done<Result<Receipt, Reason>>) {
        if self.partition.bridges(&publish.channel) {
            return self.finish(done, Err(Reason::Forbidden));
        }
        let away_ms = self.away_since_ms().map_or(0, |since| now.monotonic_ms.saturating_sub(since));
        let bytes = publish.payload.as_bytes().len();
        if away_ms > AWAY_MAX_MS {
            return self.finish(done, Err(Reason::BrokerUnavailable));
        }
        if self.publishing.bytes + bytes > QUEUE_BYTES_MAX {
            return self.finish(done, Err(Reason::Overloaded));
        }
        let pending = Pending {
            number: self.publishing.next,
            time_ms: now.wall_ms,
            retention: self.retentions.of(&publish.channel),
            publish,
            due_ms: now.monotonic_ms + u64::try_from(PUBLISH_PATIENCE.as_millis()).unwrap_or(u64::MAX),
            is_unknown: false,
            done,
        };
        self.publishing.next += 1;
        self.publishing.bytes += bytes;
        self.publishing.queue.push_back(pending);
    }

    /// The next messages to place, if there are some and few enough flushes are under way.
    pub fn next_flush(&mut self) -> Option<Flush> {
        let fence = self.fence.clone().filter(|_| self.standing != Standing::Away)?;
        let publishing = &mut self.publishing;
        if publishing.flushes >= FLUSHES_MAX || publishing.queue.is_empty() {
            return None;
        }
        let (mut pending, mut bytes) = (Vec::new(), 0);
        while pending.len() < FLUSH_MESSAGES_MAX
            && let Some(next) = publishing.queue.pop_front()
        {
            let size = next.publish.payload.as_bytes().len();
            if !pending.is_empty() && bytes + size > FLUSH_BYTES_MAX {
                publishing.queue.push_front(next);
                break;
            }
            bytes += size;
            pending.push(next);
        }
        publishing.bytes -= bytes;
        publishing.flushes += 1;
        self.tally.flushes += 1;
        let (node, key_ttl) = (self.past.node(), self.limits.key_ttl);
        Some(Flush { session: self.session, fence, node, key_ttl, pending })
    }

    /// A flush has been answered, one outcome for each of its messages.
    ///
    /// # Errors
    /// The link has to be given up.
    pub fn flush_done(
        &mut self,
        flush: Flush,
        outcomes: Vec<Result<Placing, Error>>,
        now: Now,
    ) -> Result<(), Astray> {
        self.publishing.flushes -= 1;
        let mut again = Vec::new();
        let mut is_astray = false;
        // The node may have told elsewhere, since, what it saw of this log: what it hears of it now, nobody would miss.
        let is_late = flush.session != self.session;
        for (mut pending, outcome) in flush.pending.into_iter().zip(outcomes) {
            let outcome = match outcome {
                Ok(Placing::Placed(_) | Placing::Repeated(_)) if is_late => Err(Error::Broken),
                outcome => outcome,
            };
            let outcome = match outcome {
                Ok(Placing::Placed(position)) => {
                    // Before its publisher hears of it (delivery rule R17).
                    self.past.sees(position);
                    self.tally.placed += 1;
                    let receivers = self.partition.receivers(&pending.publish.channel);
                    Ok(Receipt { position: Some(position), receivers })
                }
                Ok(Placing::Repeated(position)) => {
                    // Whoever placed it may never have heard of it.
                    self.past.sees(position);
                    Ok(Receipt { position: Some(position), receivers: Receivers::default() })
                }
                Ok(Placing::KeyReused) => Err(Reason::KeyReused),
                Err(Error::Fenced | Error::ReadOnly | Error::Left) => {
                    is_astray = true;
                    again.push(pending);
                    continue;
                }
                Err(Error::NoSpace) => Err(Reason::BrokerFull),
                Err(error) if error.is_refusal() => Err(Reason::BrokerUnavailable),
                // With a key it happens once, however often it is sent.
                Err(_) if pending.publish.key.is_some() && now.monotonic_ms < pending.due_ms => {
                    pending.is_unknown = true;
                    again.push(pending);
                    continue;
                }
                Err(_) => Err(Reason::OutcomeUnknown),
            };
            self.finish(pending.done, outcome);
        }
        self.queue_again(again);
        if is_astray && !is_late { Err(Astray::Fenced) } else { Ok(()) }
    }

    /// Whether a flush would find something.
    #[must_use]
    pub fn has_queued(&self) -> bool {
        !self.publishing.queue.is_empty()
    }

    pub(super) fn give_up_publishing(&mut self, now: Now) {
        let is_due = |publishing: &Publishing| {
            publishing.queue.front().is_some_and(|pending| pending.due_ms <= now.monotonic_ms)
        };
        while is_due(&self.publishing)
            && let Some(pending) = self.publishing.queue.pop_front()
        {
            self.publishing.bytes -= pending.publish.payload.as_bytes().len();
            let reason = if pending.is_unknown { Reason::OutcomeUnknown } else { Reason::BrokerUnavailable };
            self.finish(pending.done, Err(reason));
        }
    }

    fn finish(&mut self, done: Done<Result<Receipt, Reason>>, outcome: Result<Receipt, Reason>) {
        self.finished.push(Box::new(move || done(outcome)));
    }

    /// Puts messages back into the old order.
    fn queue_again(&mut self, again: Vec<Pending>) {
        if again.is_empty() {
            return;
        }
        let publishing = &mut self.publishing;
        publishing.bytes += again.iter().map(|one| one.publish.payload.as_bytes().len()).sum::<usize>();
        publishing.queue.extend(again);
        publishing.queue.make_contiguous().sort_unstable_by_key(|pending| pending.number);
    }
}
