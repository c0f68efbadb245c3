//! The bridge to plain Redis channels: what anybody publishes there is relayed, and what clients send is published there.
//!
//! ```text
//! PUBLISH, by anybody ──▶ a subscribed link of its own ──▶ Relay ──▶ who listens here
//! what a client sends ──▶ Aside ──▶ PUBLISH ──▶ everybody who is subscribed in Redis, this node too
//! ```
//!
//! The link hears every bridged channel from the start, not only those that somebody listens to: a subscription that
//! followed interest would have to be confirmed before each join, and a thousand names cost Redis no more than a thousand
//! entries for each node. It comes back by itself, for ever. What is published while it is away is lost, and said to be:
//! when it is lost, to those who listen; and when Redis confirms that a channel is heard again, before anything that is
//! heard there, for those who have come meanwhile.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, PushInfo, PushKind, Value};
use tidewire_hub::bridge::{Bridged, Outward, Relay};
use tidewire_hub::broker::{Done, Figure, Now};
use tidewire_hub::channel::Channel;
use tidewire_hub::message::Payload;
use tidewire_hub::publish::{Publish, Receipt, Receivers};
use tidewire_hub::reason::Reason;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::address::Address;
use super::aside::{Aside, pause};
use super::endpoint;
use super::error::Error;
use super::link::Timeouts;

/// How often the link is asked whether it still hears. Together with the time an answer may take it is noticed within three
/// seconds that it does not.
const PROBE_INTERVAL: Duration = Duration::from_secs(1);

/// What a bridge is made of.
#[derive(Clone, Debug)]
pub struct Crossing {
    /// Where the Redis is.
    pub address: Address,
    /// Which channels, under the names that they have in Redis.
    pub bridged: Bridged,
    /// The largest payload that is relayed, in bytes. What is larger is lost, and said to be.
    pub payload_bytes_max: usize,
    /// How long things may take.
    pub timeouts: Timeouts,
}

/// Tells the time of what is relayed.
pub type Clock = Arc<dyn Fn() -> Now + Send + Sync>;

/// A running bridge. It ends when it is dropped.
pub struct Bridge {
    shared: Arc<Shared>,
    runtime: Handle,
    link: JoinHandle<()>,
}

/// What a bridge has done since it was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Crossed {
    /// Whether it hears at the moment.
    pub is_up: bool,
    /// Messages relayed.
    pub relayed: u64,
    /// Messages that were too large to be relayed.
    pub too_large: u64,
    /// Messages of clients that Redis took.
    pub sent: u64,
    /// How often the link was lost.
    pub disturbances: u64,
}

struct Shared {
    crossing: Crossing,
    channels: HashMap<Box<[u8]>, Channel>,
    relay: Arc<dyn Relay>,
    clock: Clock,
    current: Mutex<Current>,
    out: Mutex<Aside>,
    is_up: AtomicBool,
    relayed: AtomicU64,
    too_large: AtomicU64,
    sent: AtomicU64,
    disturbances: AtomicU64,
}

/// The link that is heard. What an earlier one still brings has been said to be lost, and may come again over this one.
#[derive(Clone, Copy, Default)]
struct Current {
    number: u64,
    /// Redis has confirmed a channel on it, so that its end is a loss.
    hears: bool,
}

impl Bridge {
    /// Starts to relay. Where there is no Redis it goes on trying, with pauses of at most a second.
    ///
    /// # Panics
    /// Outside a tokio runtime, in which its tasks live.
    #[must_use]
    pub fn start(crossing: Crossing, relay: Arc<dyn Relay>, clock: Clock) -> Bridge {
        let named = |channel: &Channel| (channel.as_str().as_bytes().into(), channel.clone());
        let shared = Arc::new(Shared {
            channels: crossing.bridged.iter().map(named).collect(),
            out: Mutex::new(Aside::new(crossing.address.clone(), crossing.timeouts)),
            crossing,
            relay,
            clock,
            current: Mutex::default(),
            is_up: AtomicBool::default(),
            relayed: AtomicU64::default(),
            too_large: AtomicU64::default(),
            sent: AtomicU64::default(),
            disturbances: AtomicU64::default(),
        });
        let link = tokio::spawn(keep(shared.clone()));
        Bridge { shared, runtime: Handle::current(), link }
    }

    /// What it has done.
    #[must_use]
    pub fn crossed(&self) -> Crossed {
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let shared = &self.shared;
        Crossed {
            is_up: shared.is_up.load(Ordering::Relaxed),
            relayed: count(&shared.relayed),
            too_large: count(&shared.too_large),
            sent: count(&shared.sent),
            disturbances: count(&shared.disturbances),
        }
    }
}

impl Outward for Bridge {
    fn bridged(&self) -> &Bridged {
        &self.shared.crossing.bridged
    }

    fn send(&self, publish: Publish, done: Done<Result<Receipt, Reason>>) {
        if let Err(reason) = self.bridged().may_send(&publish) {
            return done(Err(reason));
        }
        let mut command = redis::cmd("PUBLISH");
        command.arg(publish.channel.as_str()).arg(&publish.payload.as_bytes()[..]);
        let (shared, out) = (self.shared.clone(), locked(&self.shared.out).clone());
        // As many at most as the client has calls in flight; one more is refused in its first step.
        self.runtime.spawn(async move {
            let outcome = out.ask(&[command]).await.and_then(|answers| taken(&answers));
            if outcome.is_ok() {
                shared.sent.fetch_add(1, Ordering::Relaxed);
            }
            done(outcome.map_err(|error| reason_of(&error)));
        });
    }

    fn figures(&self) -> Vec<Figure> {
        let Crossed { is_up, relayed, too_large, sent, disturbances } = self.crossed();
        vec![
            Figure::count("bridge_up", u64::from(is_up)),
            Figure::count("bridge_relayed", relayed),
            Figure::count("bridge_sent", sent),
            Figure::count("bridge_too_large", too_large),
            Figure::count("bridge_disturbances", disturbances),
        ]
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        self.link.abort();
        // Whatever its connection still hears is nobody's any more.
        *locked(&self.shared.current) = Current::default();
    }
}

impl fmt::Debug for Bridge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bridge({}, {:?})", self.shared.crossing.address, self.crossed())
    }
}

/// Keeps a link, one after the other.
async fn keep(shared: Arc<Shared>) {
    let mut failures = 0;
    for number in 1.. {
        tokio::time::sleep(pause(failures)).await;
        failures = if listen(&shared, number).await { 1 } else { failures.saturating_add(1) };
    }
}

/// Listens until the link is lost. False where it never stood.
async fn listen(shared: &Arc<Shared>, number: u64) -> bool {
    let ended = Arc::new(Notify::new());
    *locked(&shared.current) = Current { number, hears: false };
    let Ok(link) = shared.dial(number, &ended).await else { return false };
    let stood = shared.watch(&link, &ended).await;
    shared.is_up.store(false, Ordering::Relaxed);
    // From here on nothing is relayed that came over it, so that all it has missed lies behind what is said now.
    let mut current = locked(&shared.current);
    if std::mem::take(&mut *current).hears {
        shared.disturbances.fetch_add(1, Ordering::Relaxed);
        shared.relay.disturbed(&shared.channels());
    }
    stood
}

impl Shared {
    async fn dial(
        self: &Arc<Shared>,
        number: u64,
        ended: &Arc<Notify>,
    ) -> Result<MultiplexedConnection, Error> {
        let master = self.crossing.address.master(self.crossing.timeouts).await?;
        // Weakly, since the connection keeps it.
        let (owner, ended) = (Arc::downgrade(self), ended.clone());
        let config = AsyncConnectionConfig::new().set_push_sender(move |push: PushInfo| -> Result<(), ()> {
            if push.kind == PushKind::Disconnection {
                ended.notify_one();
            } else if let Some(owner) = owner.upgrade() {
                owner.hear(number, push);
            }
            Ok(())
        });
        let link = master.dial(self.crossing.timeouts, config).await?;
        // What clients send goes to the same server. An old master would take it too, and keep it to itself.
        *locked(&self.out) = Aside::new(self.crossing.address.clone(), self.crossing.timeouts);
        Ok(link)
    }

    /// Subscribes, and asks every second whether it still hears. False where Redis never confirmed all channels.
    async fn watch(&self, link: &MultiplexedConnection, ended: &Notify) -> bool {
        let Ok(role) = role(link).await else { return false };
        let names: Vec<&str> = self.crossing.bridged.iter().map(Channel::as_str).collect();
        if names.is_empty() || link.clone().subscribe(names).await.is_err() {
            return false;
        }
        self.is_up.store(true, Ordering::Relaxed);
        loop {
            tokio::select! {
                () = ended.notified() => return true,
                () = tokio::time::sleep(PROBE_INTERVAL) => {}
            }
            // Whoever was master and is not, or was told to follow another one, may have missed what was published there.
            let now = tokio::select! {
                () = ended.notified() => return true,
                now = self::role(link) => now,
            };
            if now.as_ref() != Ok(&role) {
                return true;
            }
        }
    }

    /// What the link brings, in its order.
    fn hear(&self, number: u64, push: PushInfo) {
        let mut current = locked(&self.current);
        if current.number != number {
            return;
        }
        let mut data = push.data.into_iter();
        let Some(Value::BulkString(name)) = data.next() else { return };
        let Some(channel) = self.channels.get(&name[..]) else { return };
        match (push.kind, data.next()) {
            (PushKind::Subscribe, _) => {
                current.hears = true;
                self.relay.disturbed(std::slice::from_ref(channel));
            }
            (PushKind::Message, Some(Value::BulkString(bytes))) => self.relay(channel, bytes.into()),
            _ => {}
        }
    }

    fn relay(&self, channel: &Channel, bytes: Bytes) {
        if bytes.len() > self.crossing.payload_bytes_max {
            self.too_large.fetch_add(1, Ordering::Relaxed);
            return self.relay.disturbed(std::slice::from_ref(channel));
        }
        let payload = Payload::text(bytes.clone()).unwrap_or_else(|_| Payload::binary(bytes));
        self.relayed.fetch_add(1, Ordering::Relaxed);
        self.relay.relay(channel, payload, (self.clock)());
    }

    fn channels(&self) -> Vec<Channel> {
        self.channels.values().cloned().collect()
    }
}

/// What the server says it is, and whom it follows in what state; nothing where the user may not ask. Any answer shows that
/// all before it has been heard.
async fn role(link: &MultiplexedConnection) -> Result<String, Error> {
    let mut question = redis::cmd("INFO");
    question.arg("replication");
    let answer = match endpoint::send(link, &[question]).await?.pop() {
        Some(Value::ServerError(_)) | None => return Ok(String::new()),
        Some(answer) => redis::from_redis_value::<String>(answer).map_err(|_| Error::malformed("info"))?,
    };
    let told = ["role:", "master_host:", "master_port:", "master_link_status:", "master_sync_in_progress:"];
    let lines = answer.lines().filter(|line| told.iter().any(|name| line.starts_with(name)));
    Ok(lines.collect::<Vec<_>>().join(" "))
}

fn taken(answers: &[Value]) -> Result<Receipt, Error> {
    match answers {
        [Value::Int(_)] => Ok(Receipt { position: None, receivers: Receivers::default() }),
        [Value::ServerError(error)] => Err(Error::of_reply(error)),
        _ => Err(Error::malformed("publish")),
    }
}

fn reason_of(error: &Error) -> Reason {
    match error {
        Error::Crowded => Reason::Overloaded,
        error if error.is_refusal() => Reason::BrokerUnavailable,
        _ => Reason::OutcomeUnknown,
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Each holder leaves it whole: what is written under the lock is one assignment.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
