//! The Redis broker: the sequencer behind a lock. The tasks that carry out its orders are in `keep`.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tidewire_hub::admit::{OutletId, Page, Subscribe, Transport};
use tidewire_hub::bridge::{Bridged, Relay};
use tidewire_hub::broker::{Broker, ChannelInfo, Done, Figure, Now, State, Totals, Value};
use tidewire_hub::channel::{Channel, ChannelSet};
use tidewire_hub::deliver::Outlet;
use tidewire_hub::histogram::Histogram;
use tidewire_hub::limits::{Limits, PageLimit, Retentions};
use tidewire_hub::message::Payload;
use tidewire_hub::position::{Gen, Start};
use tidewire_hub::presence::Attendance;
use tidewire_hub::publish::{Publish, Receipt};
use tidewire_hub::reason::Reason;
use tidewire_hub::revocation::{Revocation, Revocations};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::address::Address;
use super::error::Error;
use super::fence::NodeId;
use super::keep::keep;
use super::link::Timeouts;
use super::log::Durability;
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
    /// Is told who joins, in the step that joins.
    pub attendance: Arc<dyn Attendance>,
    /// Channels that are bridged, which the log knows nothing of.
    pub bridged: Bridged,
}

/// How long it may take to come in again before anybody is told: a failover that takes less is nobody's business.
const HICCUP_MAX: Duration = Duration::from_millis(500);

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

pub(super) struct Shared {
    pub(super) options: Options,
    pub(super) sequencer: Mutex<Sequencer>,
    /// There is a message to place.
    pub(super) to_flush: Notify,
    /// There is a channel to ask for.
    pub(super) to_hear: Notify,
    /// There is something to read.
    pub(super) to_read: Notify,
    /// Somebody wants to know where the log is.
    pub(super) to_probe: Notify,
    /// The node leaves, and somebody waits for it to be known.
    pub(super) parting: Mutex<Option<Done<()>>>,
    pub(super) to_part: Notify,
    /// The generation that the node came into last.
    pub(super) generations: watch::Sender<Option<Gen>>,
    /// The link of this session has to be given up.
    pub(super) strayed: Mutex<Option<Session>>,
    pub(super) astray: Notify,
    pub(super) watched: Mutex<Watched>,
    /// How long flushes of publishes took, from sending to the answer.
    pub(super) round_trips: Histogram,
}

#[derive(Default)]
pub(super) struct Watched {
    pub(super) probe: Option<Duration>,
    pub(super) not_live_since: Option<Instant>,
    pub(super) has_been_live: bool,
    /// When Redis first shook hands since the log was live, where it still does: from then on the node could hear.
    pub(super) entered: Option<Instant>,
    pub(super) last_error: Option<Error>,
}

impl Watched {
    /// Redis has shaken hands, or has not: then it is away, and a node that hears nothing of it is not deaf.
    pub(super) fn has_entered(&mut self, it_has: bool) {
        self.entered = it_has.then(|| self.entered.unwrap_or_else(Instant::now));
    }
}

impl Redis {
    /// A broker that comes into its log as soon as Redis answers. To be called within a tokio runtime.
    #[must_use]
    pub fn start(options: Options) -> Redis {
        let node = NodeId::from_random((options.random)());
        let now = (options.clock)();
        let Options { limits, retentions, revocations, .. } = &options;
        let mut sequencer = Sequencer::new(node, limits, retentions.clone(), revocations.clone(), now)
            .bridging(options.bridged.clone());
        sequencer.attend(options.attendance.clone());
        let shared = Arc::new(Shared {
            options,
            sequencer: Mutex::new(sequencer),
            to_flush: Notify::new(),
            to_hear: Notify::new(),
            to_read: Notify::new(),
            to_probe: Notify::new(),
            parting: Mutex::default(),
            to_part: Notify::new(),
            generations: watch::Sender::default(),
            strayed: Mutex::default(),
            astray: Notify::new(),
            watched: Mutex::new(Watched { not_live_since: Some(Instant::now()), ..Watched::default() }),
            round_trips: Histogram::default(),
        });
        let keeper = tokio::spawn(keep(shared.clone()));
        Redis { shared, keeper }
    }

    /// The generation of the log, as it changes: what is promised for the life of a store is promised for one of them.
    #[must_use]
    pub fn generations(&self) -> watch::Receiver<Option<Gen>> {
        self.shared.generations.subscribe()
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
    pub(super) fn lock(&self) -> MutexGuard<'_, Sequencer> {
        self.sequencer.lock().unwrap_or_else(|_| {
            eprintln!(
                "tidewire: the sequencer panicked; ending the process so that no subscriber is left in doubt"
            );
            std::process::abort()
        })
    }

    pub(super) fn watched(&self) -> MutexGuard<'_, Watched> {
        self.watched.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub(super) fn strayed(&self) -> Option<Session> {
        *self.strayed.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub(super) fn parting(&self) -> MutexGuard<'_, Option<Done<()>>> {
        self.parting.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub(super) fn now(&self) -> Now {
        (self.options.clock)()
    }

    pub(super) fn generation(&self) -> Gen {
        Gen::from_random((self.options.random)())
    }

    /// Has the sequencer do something, and gives the answers that came due, with nothing locked.
    pub(super) fn with<T>(&self, act: impl FnOnce(&mut Sequencer, Now) -> T) -> T {
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
    pub(super) fn report(&self, act: impl FnOnce(&mut Sequencer, Now) -> Result<(), Astray>) {
        let outcome = self.with(|sequencer, now| {
            let session = sequencer.session();
            act(sequencer, now).map_err(|astray| (astray, session))
        });
        if let Err((astray, session)) = outcome {
            tracing::debug!(?astray, "the link to Redis is given up");
            self.stray(session);
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
    /// Has this session end, if it is still the one.
    pub(super) fn stray(&self, session: Option<Session>) {
        *self.strayed.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = session;
        self.astray.notify_one();
    }

    /// Has everybody look for orders.
    pub(super) fn ring(&self) {
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

    fn enforce(&self, revocation: &Arc<Revocation>) {
        self.shared.lock().revoke(revocation);
    }

    fn retain(&self, retentions: Retentions) {
        self.shared.lock().retain(retentions);
    }

    /// What is published now can be read on other nodes, so nothing is refused.
    fn drain(&self) {}

    fn part(&self, done: Done<()>) {
        *self.shared.parting() = Some(done);
        self.shared.to_part.notify_one();
    }

    fn channels(&self, count_max: usize) -> Vec<ChannelInfo> {
        self.shared.lock().channels(count_max)
    }

    fn channel(&self, name: &Channel) -> Option<ChannelInfo> {
        self.shared.lock().channel(name)
    }

    fn totals(&self) -> Totals {
        self.shared.lock().totals()
    }

    fn figures(&self) -> Vec<Figure> {
        let mut figures = figures(&self.link());
        figures.push(Figure { name: "broker", value: Value::Times(self.shared.round_trips.observed()) });
        figures
    }

    fn state(&self) -> State {
        let is_live = self.shared.lock().standing() == Standing::Live;
        let watched = self.shared.watched();
        let is_within = |since: Option<Instant>, most| since.is_none_or(|since| since.elapsed() < most);
        if is_live || (watched.has_been_live && is_within(watched.not_live_since, HICCUP_MAX)) {
            State::Ready
        } else if !watched.has_been_live {
            State::Starting
        } else if is_within(watched.entered, HICCUP_MAX) {
            State::Away
        } else {
            State::Deaf
        }
    }
}

/// What `/metrics` shows of the link to Redis.
fn figures(link: &LinkState) -> Vec<Figure> {
    let LinkState { standing, since, probe, tally, waiting } = link;
    let mut figures = vec![
        Figure::count("broker_up", u64::from(*standing == Standing::Live)),
        Figure::time("broker_silence", *since),
        Figure::count("broker_waiting", *waiting as u64),
        // The first time is no return.
        Figure::count("broker_reconnects", tally.entries.saturating_sub(1)),
        Figure::count("broker_losses", tally.losses),
        Figure::count("broker_holes", tally.holes),
        Figure::count("broker_junk", tally.junk),
        Figure::count("broker_reads", tally.reads),
        Figure::count("broker_flushes", tally.flushes),
        Figure::count("broker_placed", tally.placed),
    ];
    figures.extend(probe.map(|probe| Figure::time("broker_probe", probe)));
    figures
}
