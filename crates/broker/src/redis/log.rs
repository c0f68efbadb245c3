//! The client of one partition's log: a call for each script.
//!
//! Calls may be made at once from many tasks; Redis takes them in the order they were first polled.
//!
//! Sketch: a flush is one buffer and one write, whatever it holds, and a call for every 32 messages; a message costs its body
//! once, and about 250 bytes.

use std::time::Duration;

use redis::{Cmd, Value};
use tidewire_hub::channel::Channel;
use tidewire_hub::limits::{PageLimit, Retention};
use tidewire_hub::position::{Gen, Position};
use tidewire_hub::publish::Publish;
use tidewire_hub::trace::TraceParent;

use super::endpoint::Endpoint;
use super::envelope::encode_body;
use super::error::Error;
use super::fence::{Fence, NodeId, Past};
use super::history::History;
use super::keys::{Names, fingerprint};
use super::link::{Link, Probe, Timeouts, is_forgotten};
use super::reply;
use super::script;

/// Messages of one flush. What is more goes out in further ones, each of which compares the replication id again.
pub const FLUSH_MESSAGES_MAX: usize = 1_024;

/// Messages of one call of the script, which Redis does in one go. Beyond some twenty, more save next to nothing.
const CALL_MESSAGES_MAX: usize = 32;

/// Bytes of payload of one call, but for a single message that has more.
const CALL_BYTES_MAX: usize = 64 << 10;

/// Channels of one read. What is more is asked in further ones.
pub const READ_CHANNELS_MAX: usize = 100;

/// Messages that a tail goes back, at most.
pub const TAIL_MESSAGES_MAX: usize = 1_000;

/// How long a record outlives its channel's history (delivery rule R20): a week, and a day that the floor may lag.
const RECORD_EXTRA: Duration = Duration::from_secs(8 * 24 * 3_600);

/// A message on its way.
#[derive(Clone, Copy, Debug)]
pub struct Request<'p> {
    /// What is published.
    pub publish: &'p Publish,
    /// Milliseconds since 1970.
    pub time_ms: u64,
    /// What its channel keeps.
    pub retention: Retention,
    /// How long its idempotency key is remembered; not looked at where it has none.
    pub key_ttl: Duration,
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placing {
    /// It stands here.
    Placed(Position),
    /// Its key is known: the same was published before, and stands here. Possibly in an older generation.
    Repeated(Position),
    /// Its key is known with another payload, event or type: `key_reused` (delivery rule R22).
    KeyReused,
}

/// What a node learns when it renews its lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The place of the newest message, which the node has then seen ([`Past::sees`]).
    pub seq: u64,
    /// Nodes that have a lease.
    pub nodes: u32,
    /// Those that have not told yet what they saw before the last promotion.
    pub awaited: u32,
}

/// When a message counts as placed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// Once the master has it.
    #[default]
    Stored,
    /// Once a replica has it too, in memory. One `WAIT` goes out behind each flush, and whatever is called on the same link
    /// meanwhile waits as long: reads and renewals of a lease are better off on another one.
    Replicated {
        /// How long a flush waits for its replica, at least 1 ms: less than [`Timeouts::answer`], or the link breaks first.
        within: Duration,
    },
}

/// A link to one Redis, for the log of one partition. Clones share it; dropping the last one closes it.
#[derive(Clone, Debug)]
pub struct Log {
    link: Link,
    durability: Durability,
}

impl Log {
    /// Dials a server for the partition of `prefix`.
    ///
    /// The link never comes back by itself: once a call says [`Error::Broken`], dial again, and shake hands before
    /// anything else (delivery rule R16).
    ///
    /// # Errors
    /// [`Error::Auth`], [`Error::TooOld`] before Redis 6, [`Error::Broken`] where nobody answers, [`Error::Malformed`] for
    /// a prefix that cannot be one.
    pub async fn dial(
        endpoint: &Endpoint,
        prefix: &str,
        partition: u16,
        timeouts: Timeouts,
    ) -> Result<Log, Error> {
        let link = Link::dial(endpoint, prefix, partition, timeouts, None).await?;
        Ok(Log { link, durability: Durability::Stored })
    }

    /// The same link, for messages that count as placed when `durability` says.
    #[must_use]
    pub fn with(self, durability: Durability) -> Log {
        Log { durability, ..self }
    }

    /// What things are called.
    #[must_use]
    pub fn names(&self) -> &Names {
        self.link.names()
    }

    /// Comes in: tells what the node saw, registers it, and learns what the log is. `fresh` are two generations from the
    /// node's random source, never used before (delivery rule R15). The caller enters the fence that it is given
    /// ([`Past::enter`]) before anything else.
    ///
    /// # Errors
    /// [`Error::ReadOnly`] and [`Error::Left`] where the server is not the master to go to, [`Error::TooOld`],
    /// [`Error::Auth`] also where the user may not wait for replicas and has to, and what every call may say.
    pub async fn handshake(&self, past: &Past, fresh: [Gen; 2]) -> Result<Fence, Error> {
        // What a flush could only find out once its messages stand.
        if let (Durability::Replicated { .. }, Some(Value::ServerError(error))) =
            (self.durability, self.link.send(&[wait_for(0, Duration::ZERO)]).await?.pop())
        {
            // A replica says so in words of its own here, and in ours below.
            match Error::of_reply(&error) {
                Error::Malformed { .. } => {}
                error => return Err(error),
            }
        }
        let names = self.link.names();
        let keys = [names.fence(), names.lineage(), names.awaited(), names.dead(), names.notes()];
        let mut call = script::HANDSHAKE.call(&keys);
        call.arg(past.node().to_string());
        call.arg(fresh[0].to_string()).arg(fresh[1].to_string()).arg(past.left().len());
        for left in past.left() {
            call.arg(left.as_str());
        }
        for witness in past.witnesses() {
            call.arg(witness.generation.to_string()).arg(witness.base).arg(witness.seq);
        }
        reply::fence(self.link.ask(&script::HANDSHAKE, call).await?)
    }

    /// Places messages, in their order, [`FLUSH_MESSAGES_MAX`] in a flush. One outcome each, in the same order: some may
    /// be placed and others not. Bytes in flight are the caller's to bound.
    ///
    /// With [`Durability::Replicated`], what stands and has no replica in time is [`Error::Unreplicated`]. Once it has one, a
    /// repetition of its key is answered with its place (delivery rule R21).
    ///
    /// A publisher's messages that depend on each other's order must not be in one call: where Redis has forgotten the
    /// script half-way, some are sent again (fault F15).
    pub async fn publish(
        &self,
        fence: &Fence,
        node: NodeId,
        requests: &[Request<'_>],
    ) -> Vec<Result<Placing, Error>> {
        let mut outcomes = Vec::with_capacity(requests.len());
        for flush in requests.chunks(FLUSH_MESSAGES_MAX) {
            outcomes.extend(self.flush(fence, node, flush).await);
        }
        outcomes
    }

    /// Reads what channels keep after a seq of each, at most `page` in all and at least one message of each channel, and
    /// whether a cursor there has lost something (delivery rules R18 to R20). Not on the link that is subscribed: a large
    /// answer ends that.
    ///
    /// # Errors
    /// [`Error::Malformed`] for no channel or more than [`READ_CHANNELS_MAX`], and what every call may say.
    pub async fn read(
        &self,
        fence: &Fence,
        wanted: &[(Channel, u64)],
        page: PageLimit,
    ) -> Result<History, Error> {
        if wanted.is_empty() || wanted.len() > READ_CHANNELS_MAX {
            return Err(Error::malformed("channels"));
        }
        let mut keys = vec![self.link.names().fence()];
        for (channel, _) in wanted {
            keys.extend([
                self.link.names().stream(fence.era, channel),
                self.link.names().record(fence.era, channel),
            ]);
        }
        let mut call = script::HISTORY.call(&keys);
        call.arg(fence.generation.to_string()).arg(fence.replication.as_str());
        call.arg((page.messages_max / wanted.len()).max(1)).arg(page.bytes_max / wanted.len());
        for (_, after) in wanted {
            call.arg((*after).min(super::envelope::SEQ_MAX));
        }
        History::read(self.link.ask(&script::HISTORY, call).await?, fence.generation, wanted)
    }

    /// Finds the place before the newest `count` messages over all of these channels, and the newest place of that instant:
    /// whoever reads from the first gets just those. `count` has a bound of [`TAIL_MESSAGES_MAX`].
    ///
    /// # Errors
    /// As [`Log::read`].
    pub async fn before_newest(
        &self,
        fence: &Fence,
        channels: &[Channel],
        count: usize,
    ) -> Result<(u64, Position), Error> {
        if channels.is_empty() || channels.len() > READ_CHANNELS_MAX {
            return Err(Error::malformed("channels"));
        }
        let mut keys = vec![self.link.names().fence()];
        keys.extend(channels.iter().map(|channel| self.link.names().stream(fence.era, channel)));
        let mut call = script::TAIL.call(&keys);
        call.arg(fence.generation.to_string()).arg(fence.replication.as_str());
        call.arg(count.min(TAIL_MESSAGES_MAX));
        reply::tail(self.link.ask(&script::TAIL, call).await?, fence.generation)
    }

    /// Renews the node's lease, and gives up the nodes whose last renewal is longer ago than `lease`. To be called several
    /// times in a lease, by every node. `fresh` as in [`Log::handshake`]: where a node is given up that had not told what
    /// it saw, the log has a new generation, and the answer is [`Error::Fenced`].
    ///
    /// # Errors
    /// [`Error::Fenced`] also where the node itself was given up, and what every call may say.
    pub async fn renew(
        &self,
        fence: &Fence,
        node: NodeId,
        lease: Duration,
        fresh: Gen,
    ) -> Result<Lease, Error> {
        let names = self.link.names();
        let mut call = script::LEASE.call(&[names.fence(), names.lineage(), names.awaited(), names.notes()]);
        call.arg(fence.generation.to_string()).arg(fence.replication.as_str());
        call.arg(node.to_string()).arg(millis(lease)).arg(fresh.to_string());
        reply::lease(self.link.ask(&script::LEASE, call).await?)
    }

    /// Takes the node off the list of those that a promotion waits for: it leaves in good order, and neither publishes nor
    /// hears anything afterwards.
    ///
    /// # Errors
    /// [`Error::Fenced`] where it is not on the list, and what every call may say.
    pub async fn farewell(&self, fence: &Fence, node: NodeId) -> Result<(), Error> {
        let mut call = script::FAREWELL.call(&[self.link.names().fence()]);
        call.arg(fence.generation.to_string()).arg(fence.replication.as_str()).arg(node.to_string());
        reply::out(self.link.ask(&script::FAREWELL, call).await?)
    }

    /// Looks at the fence. Works on replicas too.
    ///
    /// # Errors
    /// What every call may say.
    pub async fn probe(&self) -> Result<Probe, Error> {
        self.link.probe().await
    }

    async fn flush(&self, fence: &Fence, node: NodeId, flush: &[Request<'_>]) -> Vec<Result<Placing, Error>> {
        let calls: Vec<&[Request<'_>]> = calls(flush).collect();
        let written = |at: &usize, first| self.publish_call(fence, node, calls[*at], first);
        let all: Vec<usize> = (0..calls.len()).collect();
        let mut answers: Vec<_> = match self.send_durably(all.iter().map(|at| written(at, *at == 0))).await {
            Ok(answers) => answers.into_iter().map(Ok).collect(),
            Err(error) => return vec![Err(error); flush.len()],
        };
        let is_forgotten = |at: &usize| answers[*at].as_ref().is_ok_and(|(answer, _)| is_forgotten(answer));
        let forgotten: Vec<usize> = all.iter().copied().filter(is_forgotten).collect();
        if !forgotten.is_empty() {
            let again = forgotten.iter().map(|at| written(at, *at == forgotten[0]));
            match self.send_durably([script::PUBLISH.load()].into_iter().chain(again)).await {
                Ok(repeated) => {
                    for (at, answer) in forgotten.into_iter().zip(repeated.into_iter().skip(1)) {
                        answers[at] = Ok(answer);
                    }
                }
                // Those were not placed before; whether they are now is unknown. The others keep their outcome.
                Err(error) => {
                    for at in forgotten {
                        answers[at] = Err(error.clone());
                    }
                }
            }
        }
        let outcomes = |(answer, call): (Result<(Value, bool), Error>, &&[Request<'_>])| match answer {
            Ok((answer, durable)) => reply::placings(answer, fence.generation, call.len())
                .into_iter()
                .map(|outcome| match outcome {
                    Ok(Placing::Placed(_) | Placing::Repeated(_)) if !durable => Err(Error::Unreplicated),
                    outcome => outcome,
                })
                .collect(),
            Err(error) => vec![Err(error); call.len()],
        };
        answers.into_iter().zip(&calls).flat_map(outcomes).collect()
    }

    /// Sends calls in one write, and gives with each answer whether what it wrote is as durable as asked.
    async fn send_durably(&self, calls: impl Iterator<Item = Cmd>) -> Result<Vec<(Value, bool)>, Error> {
        let mut calls: Vec<Cmd> = calls.collect();
        let Durability::Replicated { within } = self.durability else {
            return Ok(self.link.send(&calls).await?.into_iter().map(|answer| (answer, true)).collect());
        };
        calls.push(wait_for(1, within));
        let mut answers = self.link.send(&calls).await?;
        // Redis gives up waiting with an error where it is demoted meanwhile.
        let replicated = matches!(answers.pop(), Some(Value::Int(1..)));
        Ok(answers.into_iter().map(|answer| (answer, replicated)).collect())
    }

    fn publish_call(&self, fence: &Fence, node: NodeId, requests: &[Request<'_>], is_first: bool) -> Cmd {
        let (names, era) = (self.link.names(), fence.era);
        let mut keys = vec![names.fence()];
        for Request { publish: Publish { channel, key, publisher, .. }, .. } in requests {
            keys.extend([names.stream(era, channel), names.record(era, channel)]);
            keys.extend(key.as_ref().map(|key| names.idempotency(era, publisher, channel, key)));
        }
        let mut call = script::PUBLISH.call(&keys);
        // The first of a flush compares the replication id, and shuts the fence for the others if it has changed (R16).
        call.arg(fence.generation.to_string()).arg(if is_first { fence.replication.as_str() } else { "" });
        call.arg(format!("n:{node}")).arg(names.traces());
        for Request { publish, time_ms, retention, key_ttl } in requests {
            let Publish { channel, event, payload, key, trace, .. } = publish;
            call.arg(names.told(channel)).arg(&encode_body(event.as_ref(), payload, *time_ms)[..]);
            call.arg(retention.messages_max).arg(millis(retention.ttl));
            call.arg(millis(retention.ttl.saturating_add(RECORD_EXTRA)));
            match key {
                Some(_) => call.arg(fingerprint(event.as_ref(), payload)).arg(millis(*key_ttl)),
                None => call.arg("").arg(""),
            };
            call.arg(trace.as_ref().map_or("", TraceParent::as_str));
        }
        call
    }
}

/// The calls of a flush: as many messages in each as are placed without keeping others waiting for long.
fn calls<'f, 'p>(mut flush: &'f [Request<'p>]) -> impl Iterator<Item = &'f [Request<'p>]> {
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let mut fits = |request: &Request<'_>| {
            bytes += request.publish.payload.as_bytes().len();
            bytes <= CALL_BYTES_MAX
        };
        let count = flush.iter().take(CALL_MESSAGES_MAX).take_while(|request| fits(request)).count();
        let (call, rest) = flush.split_at(count.max(1).min(flush.len()));
        flush = rest;
        (!call.is_empty()).then_some(call)
    })
}

/// Waits until so many replicas have all that this link has written. Outside of scripts, where it would not wait.
fn wait_for(replicas: u32, within: Duration) -> Cmd {
    let mut wait = redis::cmd("WAIT");
    wait.arg(replicas).arg(millis(within));
    wait
}

/// Milliseconds as Redis takes them: at least one, and no more than ten years, beyond which it overflows.
fn millis(time: Duration) -> u64 {
    const TEN_YEARS_MS: u64 = 10 * 366 * 24 * 3_600_000;
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX).clamp(1, TEN_YEARS_MS)
}
