//! The Redis broker: the sequencer behind a lock, and the tasks that carry out its orders.
//!
//! ```text
//! keep ── dial, shake hands, dial the ear ──> a session: flush, subscribe, read, probe, renew ──> until one of them fails
//!   ^                                                                                              |
//!   └──────────────── wait 50 ms to 1 s, longer each time, with jitter ────────────────────────────┘
//! ```
//!
//! There is one recovery for whatever goes wrong with the link: it is given up and the node comes in again (delivery rule
//! R13). What the link brings is taken on the task that reads it, so that a message is in the outlets' inboxes one lock
//! after it left the socket.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tidewire_hub::admit::{OutletId, Page, Subscribe, Transport};
use tidewire_hub::bridge::{Bridged, Relay};
use tidewire_hub::broker::{Broker, ChannelInfo, Done, Figure, Now, State, Totals};
use tidewire_hub::channel::{Channel, ChannelSet};
use tidewire_hub::deliver::Outlet;
use tidewire_hub::limits::{Limits, PageLimit, Retentions};
use tidewire_hub::message::Payload;
use tidewire_hub::position::{Gen, Start};
use tidewire_hub::publish::{Publish, Receipt};
use tidewire_hub::reason::Reason;
use tidewire_hub::revocation::{Revocation, Revocations};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use super::address::Address;
use super::endpoint::Endpoint;
use super::error::Error;
use super::fence::NodeId;
use super::hear::{Ear, Heard};
use super::link::Timeouts;
use super::log::{Durability, Log};
use super::sequencer::{Astray, Sequencer, Session, Standing, Tally};

/// What a Redis broker is made of.
#[derive(Clone)]
pub struct Options {
    /// Where Redis is.
    pub address: Address,
    /// What names in Redis begin with.
    pub prefix: Box<str>,
    /// Bounds on channels and memory.
    pub limits: Arc<Limits>,
    /// What each channel keeps.
    pub retentions: Retentions,
    /// Rights that were taken back, shared with the gate.
    pub revocations: Arc<Revocations>,
    /// Numbers that nobody can foresee, never the same twice (delivery rule R15).
    pub random: Arc<dyn Fn() -> u64 + Send + Sync>,
    /// Tells the time.
    pub clock: Arc<dyn Fn() -> Now + Send + Sync>,
    /// How long things may take.
    pub timeouts: Timeouts,
    /// When a message counts as placed.
    pub durability: Durability,
    /// Channels that are bridged, which the log knows nothing of.
    pub bridged: Bridged,
}

/// How long a node's registration lasts without being renewed (decision 13). Who is gone for longer counts as dead.
const LEASE: Duration = Duration::from_secs(10);

/// How often the fence is looked at over the link that brings messages: with the time an answer may take, a link that is
/// alive and deaf is noticed within 2 s (delivery rule R18).
const PROBE_EVERY: Duration = Duration::from_secs(1);

/// How often what waits is looked through.
const PASS_EVERY: Duration = Duration::from_millis(50);

/// How long the first wait between two attempts to come in is, and how long the longest.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// How long it may take to come in again before anybody is told: a failover that takes less is nobody's business.
const HICCUP_MAX: Duration = Duration::from_millis(500);

/// How long after its last handshake a node that hears nothing counts as deaf, rather than its Redis as away: as long as an
/// attempt to come in takes at most.
const DEAF_FOR: Duration = Duration::from_secs(3);

/// A broker whose log is kept in Redis. Dropping it ends its tasks.
pub struct Redis {
    shared: Arc<Shared>,
    keeper: tokio::task::JoinHandle<()>,
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

/// How the link to Redis is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkState {
    /// Where the node stands.
    pub standing: Standing,
    /// How long it has not been live.
    pub since: Duration,
    /// The last round trip of a probe.
    pub probe: Option<Duration>,
    /// Counts since the start.
    pub tally: Tally,
    /// Subscriptions and reads that wait.
    pub waiting: usize,
}

struct Shared {
    options: Options,
    sequencer: Mutex<Sequencer>,
    /// There is a message to place.
    to_flush: Notify,
    /// There is a channel to ask for.
    to_hear: Notify,
    /// There is something to read.
    to_read: Notify,
    /// Somebody wants to know where the log is.
    to_probe: Notify,
    /// The link has to be given up.
    astray: Notify,
    watched: Mutex<Watched>,
}

#[derive(Default)]
struct Watched {
    probe: Option<Duration>,
    not_live_since: Option<Instant>,
    has_been_live: bool,
    entered: Option<Instant>,
    last_error: Option<Error>,
}

impl Redis {
    /// A broker that comes into its log as soon as Redis answers. To be called within a tokio runtime.
    #[must_use]
    pub fn start(options: Options) -> Redis {
        let node = NodeId::from_random((options.random)());
        let now = (options.clock)();
        let Options { limits, retentions, revocations, .. } = &options;
        let sequencer = Sequencer::new(node, limits, retentions.clone(), revocations.clone(), now)
            .bridging(options.bridged.clone());
        let shared = Arc::new(Shared {
            options,
            sequencer: Mutex::new(sequencer),
            to_flush: Notify::new(),
            to_hear: Notify::new(),
            to_read: Notify::new(),
            to_probe: Notify::new(),
            astray: Notify::new(),
            watched: Mutex::new(Watched { not_live_since: Some(Instant::now()), ..Watched::default() }),
        });
        let keeper = tokio::spawn(keep(shared.clone()));
        Redis { shared, keeper }
    }

    /// How the link is.
    #[must_use]
    pub fn link(&self) -> LinkState {
        let sequencer = self.shared.lock();
        let watched = self.shared.watched();
        LinkState {
            standing: sequencer.standing(),
            since: watched.not_live_since.map_or(Duration::ZERO, |since| since.elapsed()),
            probe: watched.probe,
            tally: sequencer.tally(),
            waiting: sequencer.waiting(),
        }
    }
}

impl Shared {
    /// A panic while the log was being changed leaves it in doubt, and there is no honest way on: the process ends, and
    /// whoever was connected resumes elsewhere (delivery rule R23).
    fn lock(&self) -> MutexGuard<'_, Sequencer> {
        self.sequencer.lock().unwrap_or_else(|_| {
            eprintln!(
                "tidewire: the sequencer panicked; ending the process so that no subscriber is left in doubt"
            );
            std::process::abort()
        })
    }

    fn watched(&self) -> MutexGuard<'_, Watched> {
        self.watched.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn now(&self) -> Now {
        (self.options.clock)()
    }

    fn generation(&self) -> Gen {
        Gen::from_random((self.options.random)())
    }

    /// Has the sequencer do something, and gives the answers that came due, with nothing locked.
    fn with<T>(&self, act: impl FnOnce(&mut Sequencer, Now) -> T) -> T {
        let now = self.now();
        let (outcome, finished) = {
            let mut sequencer = self.lock();
            let outcome = act(&mut sequencer, now);
            (outcome, sequencer.take_finished())
        };
        for answer in finished {
            answer();
        }
        outcome
    }

    /// As [`Shared::with`]; whatever leads astray ends the session.
    fn report(&self, act: impl FnOnce(&mut Sequencer, Now) -> Result<(), Astray>) {
        if let Err(astray) = self.with(act) {
            tracing::debug!(?astray, "the link to Redis is given up");
            self.astray.notify_one();
        }
        // An answer may be the reason for the next order.
        self.ring();
    }
}

impl Relay for Redis {
    fn relay(&self, channel: &Channel, payload: Payload, now: Now) {
        self.shared.with(|sequencer, _| sequencer.relay(channel, payload, now));
    }

    fn disturbed(&self, channels: &[Channel]) {
        self.shared.with(|sequencer, _| sequencer.disturbed(channels));
    }
}

impl Shared {
    /// Has everybody look for orders.
    fn ring(&self) {
        self.to_hear.notify_one();
        self.to_read.notify_one();
        self.to_probe.notify_one();
    }
}

impl Broker for Redis {
    fn attach(&self, outlet: Arc<dyn Outlet>) -> OutletId {
        self.shared.lock().attach(outlet)
    }

    fn publish(&self, publish: Publish, _now: Now, done: Done<Result<Receipt, Reason>>) {
        self.shared.with(|sequencer, now| sequencer.publish(publish, now, done));
        self.shared.to_flush.notify_one();
    }

    fn subscribe(&self, subscribe: Subscribe, _now: Now) {
        self.shared.with(|sequencer, now| sequencer.subscribe(subscribe, now));
        self.shared.ring();
    }

    fn leave(&self, outlet: OutletId, transport: Transport, channels: &[Channel], _now: Now) {
        self.shared.with(|sequencer, now| sequencer.leave(outlet, transport, channels, now));
    }

    fn catch_up(&self, outlet: OutletId, _now: Now) {
        self.shared.lock().catch_up(outlet);
    }

    fn read(
        &self,
        channels: ChannelSet,
        start: Start,
        page: PageLimit,
        _now: Now,
        done: Done<Result<Page, Reason>>,
    ) {
        self.shared.with(|sequencer, now| sequencer.read(channels, start, page, now, done));
        self.shared.ring();
    }

    fn tick(&self, now: Now) {
        self.shared.lock().tick(now);
    }

    fn revoke(&self, revocation: Revocation, done: Done<Result<(), Reason>>) {
        let revocation = Arc::new(revocation);
        let outcome = self.shared.options.revocations.record(&revocation).map_err(|_| Reason::Overloaded);
        if outcome.is_ok() {
            self.shared.lock().revoke(&revocation);
        }
        done(outcome);
    }

    fn retain(&self, retentions: Retentions) {
        self.shared.lock().retain(retentions);
    }

    /// What is published now can be read on other nodes, so nothing is refused.
    fn drain(&self) {}

    fn channels(&self, count_max: usize) -> Vec<ChannelInfo> {
        self.shared.lock().channels(count_max)
    }

    fn totals(&self) -> Totals {
        self.shared.lock().totals()
    }

    fn figures(&self) -> Vec<Figure> {
        figures(&self.link())
    }

    fn state(&self) -> State {
        let is_live = self.shared.lock().standing() == Standing::Live;
        let watched = self.shared.watched();
        let is_within = |since: Option<Instant>, most| since.is_none_or(|since| since.elapsed() < most);
        if is_live || (watched.has_been_live && is_within(watched.not_live_since, HICCUP_MAX)) {
            State::Ready
        } else if !watched.has_been_live {
            State::Starting
        } else if watched.entered.is_some() && is_within(watched.entered, DEAF_FOR) {
            State::Deaf
        } else {
            State::Away
        }
    }
}

/// What `/metrics` shows of the link to Redis.
fn figures(link: &LinkState) -> Vec<Figure> {
    let LinkState { standing, since, probe, tally, waiting } = link;
    let micros = |time: &Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    let rises = |name, help, number| Figure { name, help, number, rises: true };
    let stands = |name, help, number| Figure { name, help, number, rises: false };
    let probe = probe.as_ref().map_or(0, micros);
    vec![
        stands("broker_up", "Whether messages come and go", u64::from(*standing == Standing::Live)),
        stands("broker_lag_milliseconds", "For how long nothing has been heard", micros(since) / 1_000),
        stands("broker_probe_microseconds", "The last round trip over the link that brings messages", probe),
        stands("broker_waiting", "Subscriptions and reads that wait for the broker", *waiting as u64),
        rises("broker_entries", "Times that this node came into the log", tally.entries),
        rises("broker_losses", "Times that the log may have lost what was seen here", tally.losses),
        rises("broker_holes", "Messages that followed one that never came", tally.holes),
        rises("broker_junk", "What came over the link and was no message of this log", tally.junk),
        rises("broker_reads", "Reads of history", tally.reads),
        rises("broker_flushes", "Flushes of messages to be placed", tally.flushes),
        rises("broker_placed", "Messages placed by this node", tally.placed),
    ]
}

/// Keeps the node in the log: comes in, stays for as long as the link is good, and comes in again.
async fn keep(shared: Arc<Shared>) {
    let passing = tokio::spawn(pass(shared.clone()));
    let _ends_with_us = Abort(passing);
    let mut wait = BACKOFF.0;
    loop {
        let began = Instant::now();
        let error = match come_in(&shared).await {
            Ok(links) => {
                let session = links.session;
                let error = stay(&shared, links).await;
                shared.with(|sequencer, now| sequencer.lost(session, now));
                error
            }
            Err(error) => error,
        };
        shared.watched().not_live_since.get_or_insert_with(Instant::now);
        // The same complaint once, not once a second.
        let is_news = shared.watched().last_error.replace(error.clone()) != Some(error.clone());
        match error {
            _ if !is_news => {}
            // Nothing but other settings, or another server, will help.
            Error::Auth | Error::TooOld { .. } => tracing::error!(%error, "this node cannot use its Redis"),
            Error::Fenced => tracing::info!("the log has to be entered anew"),
            _ => tracing::warn!(%error, "Redis is away"),
        }
        if began.elapsed() > BACKOFF.1 {
            wait = BACKOFF.0;
        }
        let jitter = (shared.options.random)() % 1_000;
        sleep(wait / 2 + wait * u32::try_from(jitter).unwrap_or(0) / 2_000).await;
        wait = (wait * 2).min(BACKOFF.1);
    }
}

/// A task that ends with whoever holds this.
struct Abort(tokio::task::JoinHandle<()>);

impl Drop for Abort {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn pass(shared: Arc<Shared>) {
    let mut moments = interval(PASS_EVERY);
    moments.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        moments.tick().await;
        shared.with(Sequencer::pass);
        let standing = shared.lock().standing();
        let mut watched = shared.watched();
        if standing == Standing::Live {
            (watched.not_live_since, watched.has_been_live) = (None, true);
            if let Some(error) = watched.last_error.take().filter(|error| *error != Error::Fenced) {
                tracing::info!(after = %error, "Redis is back");
            }
        } else {
            watched.not_live_since.get_or_insert_with(Instant::now);
        }
        drop(watched);
        shared.ring();
    }
}

/// The links of one session, all of them to one server.
struct Links {
    session: Session,
    /// Places messages.
    log: Log,
    /// Reads and renews: large answers must not hold up acknowledgements, nor a `WAIT` a lease.
    reader: Log,
    /// Brings messages.
    ear: Ear,
}

async fn come_in(shared: &Arc<Shared>) -> Result<Links, Error> {
    let Options { address, prefix, timeouts, durability, .. } = &shared.options;
    let endpoint = address.master(*timeouts).await?;
    let log = Log::dial(&endpoint, prefix, 0, *timeouts).await?.with(*durability);
    let past = shared.lock().past();
    let fresh = [shared.generation(), shared.generation()];
    let fence = log.handshake(&past, fresh).await?;
    if fence.evicts {
        tracing::warn!("Redis throws keys away when memory is full: set maxmemory-policy to noeviction");
    }
    let session = shared.with(|sequencer, now| sequencer.entered(fence, now));
    shared.watched().entered = Some(Instant::now());
    match dial_others(shared, &endpoint, session).await {
        Ok((reader, ear)) => Ok(Links { session, log, reader, ear }),
        Err(error) => {
            shared.with(|sequencer, now| sequencer.lost(session, now));
            Err(error)
        }
    }
}

async fn dial_others(
    shared: &Arc<Shared>,
    endpoint: &Endpoint,
    session: Session,
) -> Result<(Log, Ear), Error> {
    let Options { prefix, timeouts, .. } = &shared.options;
    let reader = Log::dial(endpoint, prefix, 0, *timeouts).await?;
    let hearing = shared.clone();
    let hear = Arc::new(move |heard: Heard| match heard {
        Heard::Told { channel, bytes } => {
            let outcome = hearing.with(|sequencer, now| {
                sequencer.heard(session, channel, bytes, now).map(|()| sequencer.wants_probe())
            });
            match outcome {
                Ok(wants_probe) if wants_probe => hearing.to_probe.notify_one(),
                Ok(_) => {}
                Err(_) => hearing.astray.notify_one(),
            }
        }
        Heard::Ended => hearing.astray.notify_one(),
    });
    let ear = Ear::dial(endpoint, prefix, 0, *timeouts, hear).await?;
    Ok((reader, ear))
}

/// Carries out orders until the link is lost or given up.
async fn stay(shared: &Arc<Shared>, links: Links) -> Error {
    let Links { session, log, reader, ear } = links;
    tokio::select! {
        error = flush(shared, &log) => error,
        error = hear(shared, &ear) => error,
        error = read(shared, &reader) => error,
        error = probe(shared, &ear) => error,
        error = renew(shared, session, &reader) => error,
        () = astray(shared, session) => Error::Fenced,
    }
}

async fn astray(shared: &Shared, session: Session) {
    loop {
        shared.astray.notified().await;
        // One that was meant for the session before says nothing about this one; its own link is gone with it.
        if shared.lock().session() == Some(session) {
            return;
        }
    }
}

async fn flush(shared: &Arc<Shared>, log: &Log) -> Error {
    let (failed, mut failures) = tokio::sync::mpsc::channel(1);
    loop {
        while let Some(flush) = shared.lock().next_flush() {
            // On a task of its own: whatever becomes of this session, its messages are answered for.
            let (shared, log, failed) = (shared.clone(), log.clone(), failed.clone());
            tokio::spawn(async move {
                let outcomes = log.publish(&flush.fence, flush.node, &flush.requests()).await;
                let broken = outcomes.iter().find_map(|one| match one {
                    Err(error @ (Error::Broken | Error::Malformed { .. })) => Some(error.clone()),
                    _ => None,
                });
                shared.report(|sequencer, now| sequencer.flush_done(flush, outcomes, now));
                shared.to_flush.notify_one();
                if let Some(error) = broken {
                    // Full means that another flush has said so already.
                    let _ = failed.try_send(error);
                }
            });
        }
        tokio::select! {
            () = shared.to_flush.notified() => {}
            Some(error) = failures.recv() => return error,
        }
    }
}

async fn hear(shared: &Shared, ear: &Ear) -> Error {
    loop {
        let Some(order) = shared.lock().next_subscriptions() else {
            shared.to_hear.notified().await;
            continue;
        };
        let asked = async {
            ear.unsubscribe(&order.unsubscribe).await?;
            ear.subscribe(&order.subscribe).await?;
            ear.probe().await
        };
        match asked.await {
            Ok(probe) => shared.report(|sequencer, now| sequencer.confirmed(&order, &probe, now)),
            Err(error) => return error,
        }
    }
}

async fn read(shared: &Arc<Shared>, reader: &Log) -> Error {
    let mut under_way: JoinSet<Result<(), Error>> = JoinSet::new();
    loop {
        loop {
            let (fence, read, tail) = {
                let now = shared.now();
                let mut sequencer = shared.lock();
                (sequencer.fence(), sequencer.next_read(now), sequencer.next_tail())
            };
            let Some(fence) = fence.filter(|_| read.is_some() || tail.is_some()) else { break };
            if let Some(order) = read {
                let (shared, reader, fence) = (shared.clone(), reader.clone(), fence.clone());
                under_way.spawn(async move {
                    let outcome = reader.read(&fence, &order.wanted, order.page).await;
                    let broken = outcome.as_ref().err().filter(|error| !error.is_refusal()).cloned();
                    shared.report(|sequencer, now| sequencer.read_done(&order, outcome, now));
                    broken.map_or(Ok(()), Err)
                });
            }
            if let Some(order) = tail {
                let (shared, reader) = (shared.clone(), reader.clone());
                under_way.spawn(async move {
                    let outcome = reader.before_newest(&fence, &order.channels, order.count).await;
                    let outcome = outcome.map(|(before, _)| before);
                    let broken = outcome.as_ref().err().filter(|error| !error.is_refusal()).cloned();
                    shared
                        .report(|sequencer, now| sequencer.tail_done(&order, outcome.as_ref().copied(), now));
                    broken.map_or(Ok(()), Err)
                });
            }
        }
        tokio::select! {
            Some(ended) = under_way.join_next(), if !under_way.is_empty() => {
                if let Ok(Err(error)) = ended {
                    return error;
                }
            }
            () = shared.to_read.notified() => {}
        }
    }
}

async fn probe(shared: &Shared, ear: &Ear) -> Error {
    let mut due = Instant::now() + PROBE_EVERY;
    loop {
        while Instant::now() < due && !shared.lock().wants_probe() {
            tokio::select! {
                () = tokio::time::sleep_until(due) => {}
                () = shared.to_probe.notified() => {}
            }
        }
        due = Instant::now() + PROBE_EVERY;
        let look = shared.lock().look();
        let began = Instant::now();
        match ear.probe().await {
            Ok(probe) => {
                shared.watched().probe = Some(began.elapsed());
                shared.report(|sequencer, now| sequencer.probed(look, &probe, now));
            }
            Err(error) => return error,
        }
    }
}

async fn renew(shared: &Shared, session: Session, log: &Log) -> Error {
    let mut due = interval(LEASE / 4);
    due.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        due.tick().await;
        let (fence, node) = {
            let sequencer = shared.lock();
            (sequencer.fence(), sequencer.past().node())
        };
        let Some(fence) = fence else { return Error::Fenced };
        match log.renew(&fence, node, LEASE, shared.generation()).await {
            Ok(lease) => shared.lock().renewed(session, &lease),
            Err(error) => return error,
        }
    }
}
