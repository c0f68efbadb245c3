//! The client of one partition's log: a link to one Redis, and a call for each script.
//!
//! Calls may be made at once from many tasks; Redis takes them in the order they were first polled. Each answer reaches
//! the call that asked for it, also when others have been dropped meanwhile (security rule S53): the link is the `redis`
//! crate's plain multiplexed connection, which keeps a place for an answer that nobody waits for any more.
//!
//! Sketch: a flush is one buffer and one write, whatever it holds; a publish costs its body once, and about 300 bytes.

use std::fmt;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Cmd, ConnectionInfo, IntoConnectionInfo, Pipeline, Value};
use tidewire_hub::channel::Channel;
use tidewire_hub::limits::{PageLimit, Retention};
use tidewire_hub::position::{Gen, Position};
use tidewire_hub::publish::Publish;

use super::envelope::encode_body;
use super::error::Error;
use super::fence::{Fence, NodeId, Past, Replication};
use super::history::History;
use super::keys::{Names, fingerprint};
use super::reply;
use super::script::{self, Script};

/// Messages of one flush. What is more goes out in further ones, each of which compares the replication id again.
pub const FLUSH_MESSAGES_MAX: usize = 1_024;

/// Channels of one read. What is more is asked in further ones.
pub const READ_CHANNELS_MAX: usize = 100;

/// Messages that a tail goes back, at most.
pub const TAIL_MESSAGES_MAX: usize = 1_000;

/// Flushes and calls that wait for the link to take them. Beyond: callers wait.
const WAITING_CALLS_MAX: usize = 1_024;

/// Bytes that gather before they are written out, whoever else waits.
const WRITE_BYTES_MAX: usize = 256 << 10;

/// How long a record outlives its channel's history (delivery rule R20): a week, and a day that the floor may lag.
const RECORD_EXTRA: Duration = Duration::from_secs(8 * 24 * 3_600);

/// How long things may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// Until the link stands, user and password included. Default 1 s.
    pub dial: Duration,
    /// Until a call is answered. Beyond: [`Error::Broken`], and its outcome is unknown (fault F6). Default 1 s.
    pub answer: Duration,
}

impl Default for Timeouts {
    fn default() -> Timeouts {
        Timeouts { dial: Duration::from_secs(1), answer: Duration::from_secs(1) }
    }
}

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

/// What a look at the fence tells (delivery rule R18).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// The newest message; nothing where there is no fence.
    pub head: Option<Position>,
    /// Whether the server takes writes.
    pub is_master: bool,
    /// Its replication id.
    pub replication: Replication,
}

/// A link to the log of one partition. Clones share it; dropping the last one closes it.
#[derive(Clone)]
pub struct Log {
    connection: MultiplexedConnection,
    names: Names,
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Log({:?})", self.names)
    }
}

impl Log {
    /// Dials `url` (`redis://[user[:password]@]host[:port][/database]`) for the partition of `prefix`.
    ///
    /// The link never comes back by itself: once a call says [`Error::Broken`], dial again, and shake hands before
    /// anything else (delivery rule R16).
    ///
    /// # Errors
    /// [`Error::Auth`], [`Error::TooOld`] before Redis 6, [`Error::Broken`] where nobody answers, [`Error::Malformed`] for
    /// a URL or prefix that cannot be read.
    pub async fn dial(url: &str, prefix: &str, partition: u16, timeouts: Timeouts) -> Result<Log, Error> {
        let info: ConnectionInfo = url.into_connection_info().map_err(|_| Error::malformed("url"))?;
        let settings = info.redis_settings().clone().set_protocol(redis::ProtocolVersion::RESP3);
        // One command less that the user has to be allowed (security rule S53).
        let settings = settings.set_skip_set_lib_name();
        let database = u32::try_from(settings.db()).map_err(|_| Error::malformed("database"))?;
        let names = Names::new(prefix, partition, database).ok_or_else(|| Error::malformed("prefix"))?;
        let client = Client::open(info.set_redis_settings(settings)).map_err(|_| Error::malformed("url"))?;
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(timeouts.dial))
            .set_response_timeout(Some(timeouts.answer))
            .set_pipeline_buffer_size(WAITING_CALLS_MAX)
            .set_write_backpressure_boundary(WRITE_BYTES_MAX);
        let connection = client.get_multiplexed_async_connection_with_config(&config).await?;
        Ok(Log { connection, names })
    }

    /// What things are called.
    #[must_use]
    pub fn names(&self) -> &Names {
        &self.names
    }

    /// Comes in: tells what the node saw, registers it, and learns what the log is. `fresh` are two generations from the
    /// node's random source, never used before (delivery rule R15). The caller enters the fence that it is given
    /// ([`Past::enter`]) before anything else.
    ///
    /// # Errors
    /// [`Error::ReadOnly`] and [`Error::Left`] where the server is not the master to go to, [`Error::TooOld`], and what
    /// every call may say.
    pub async fn handshake(&self, past: &Past, fresh: [Gen; 2]) -> Result<Fence, Error> {
        let names = &self.names;
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
        reply::fence(self.ask(&script::HANDSHAKE, call).await?)
    }

    /// Places messages, in their order, [`FLUSH_MESSAGES_MAX`] in a flush. One outcome each, in the same order: some may
    /// be placed and others not. Bytes in flight are the caller's to bound.
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
        let mut keys = vec![self.names.fence()];
        for (channel, _) in wanted {
            keys.extend([self.names.stream(fence.era, channel), self.names.record(fence.era, channel)]);
        }
        let mut call = script::HISTORY.call(&keys);
        call.arg(fence.generation.to_string()).arg(fence.replication.as_str());
        call.arg((page.messages_max / wanted.len()).max(1)).arg(page.bytes_max / wanted.len());
        for (_, after) in wanted {
            call.arg((*after).min(super::envelope::SEQ_MAX));
        }
        History::read(self.ask(&script::HISTORY, call).await?, fence.generation, wanted)
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
        let mut keys = vec![self.names.fence()];
        keys.extend(channels.iter().map(|channel| self.names.stream(fence.era, channel)));
        let mut call = script::TAIL.call(&keys);
        call.arg(fence.generation.to_string()).arg(fence.replication.as_str());
        call.arg(count.min(TAIL_MESSAGES_MAX));
        reply::tail(self.ask(&script::TAIL, call).await?, fence.generation)
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
        let names = &self.names;
        let mut call = script::LEASE.call(&[names.fence(), names.lineage(), names.awaited(), names.notes()]);
        call.arg(fence.generation.to_string()).arg(fence.replication.as_str());
        call.arg(node.to_string()).arg(millis(lease)).arg(fresh.to_string());
        reply::lease(self.ask(&script::LEASE, call).await?)
    }

    /// Looks at the fence. Works on replicas too.
    ///
    /// # Errors
    /// What every call may say.
    pub async fn probe(&self) -> Result<Probe, Error> {
        reply::probe(self.ask(&script::PROBE, script::PROBE.call(&[self.names.fence()])).await?)
    }

    async fn flush(&self, fence: &Fence, node: NodeId, flush: &[Request<'_>]) -> Vec<Result<Placing, Error>> {
        let calls: Vec<Cmd> = flush
            .iter()
            .enumerate()
            .map(|(at, request)| self.publish_call(fence, node, request, at == 0))
            .collect();
        let mut answers = match self.send(&calls).await {
            Ok(answers) => answers,
            Err(error) => return vec![Err(error); flush.len()],
        };
        let forgotten: Vec<usize> = (0..answers.len()).filter(|at| is_forgotten(&answers[*at])).collect();
        if !forgotten.is_empty() {
            let again =
                forgotten.iter().map(|at| self.publish_call(fence, node, &flush[*at], *at == forgotten[0]));
            let again: Vec<Cmd> = [script::PUBLISH.load()].into_iter().chain(again).collect();
            match self.send(&again).await {
                Ok(repeated) => {
                    for (at, answer) in forgotten.into_iter().zip(repeated.into_iter().skip(1)) {
                        answers[at] = answer;
                    }
                }
                // Those were not placed before; whether they are now is unknown. The others keep their outcome.
                Err(error) => {
                    let outcome = |(at, answer)| match forgotten.binary_search(&at) {
                        Ok(_) => Err(error.clone()),
                        Err(_) => reply::placing(answer, fence.generation),
                    };
                    return answers.into_iter().enumerate().map(outcome).collect();
                }
            }
        }
        answers.into_iter().map(|answer| reply::placing(answer, fence.generation)).collect()
    }

    fn publish_call(&self, fence: &Fence, node: NodeId, request: &Request<'_>, is_first: bool) -> Cmd {
        let Request { publish, time_ms, retention, key_ttl } = request;
        let Publish { channel, event, payload, key, publisher } = publish;
        let (names, era) = (&self.names, fence.era);
        let mut keys = vec![names.fence(), names.stream(era, channel), names.record(era, channel)];
        keys.extend(key.as_ref().map(|key| names.idempotency(era, publisher, channel, key)));
        let mut call = script::PUBLISH.call(&keys);
        // The first of a flush compares the replication id, and shuts the fence for the others if it has changed (R16).
        call.arg(fence.generation.to_string()).arg(if is_first { fence.replication.as_str() } else { "" });
        call.arg(format!("n:{node}")).arg(names.told(channel));
        call.arg(&encode_body(event.as_ref(), payload, *time_ms)[..]);
        call.arg(retention.messages_max).arg(millis(retention.ttl));
        call.arg(millis(retention.ttl.saturating_add(RECORD_EXTRA)));
        if key.is_some() {
            call.arg(fingerprint(event.as_ref(), payload)).arg(millis(*key_ttl));
        }
        call
    }

    /// Calls a script, and once more where Redis had forgotten it.
    async fn ask(&self, script: &Script, call: Cmd) -> Result<Value, Error> {
        let mut answers = self.send(std::slice::from_ref(&call)).await?;
        if answers.last().is_some_and(is_forgotten) {
            answers = self.send(&[script.load(), call]).await?;
        }
        answers.pop().ok_or_else(|| Error::malformed("no answer"))
    }

    /// Sends calls in one write and gives as many answers, in their order; an error reply is one of them.
    async fn send(&self, calls: &[Cmd]) -> Result<Vec<Value>, Error> {
        let mut pipeline = Pipeline::with_capacity(calls.len());
        for call in calls {
            pipeline.add_command(call.clone());
        }
        let answers = self.connection.clone().send_packed_commands(&pipeline, 0, calls.len()).await?;
        if answers.len() == calls.len() { Ok(answers) } else { Err(Error::malformed("count")) }
    }
}

fn is_forgotten(answer: &Value) -> bool {
    matches!(answer, Value::ServerError(error) if error.kind() == Some(redis::ServerErrorKind::NoScript))
}

/// Milliseconds as Redis takes them: at least one, and no more than ten years, beyond which it overflows.
fn millis(time: Duration) -> u64 {
    const TEN_YEARS_MS: u64 = 10 * 366 * 24 * 3_600_000;
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX).clamp(1, TEN_YEARS_MS)
}
