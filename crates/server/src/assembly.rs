//! What every node is made of, whoever holds its listeners: a server, or an application that Tidewire is part of.
//!
//! ```text
//! Ground    log, revocations, presence, what nodes share       before anybody decides who comes in
//!   │ seat: outlets             │ furnish: a node behind its gate
//!   v                           v
//! Assembly  plane, metrics, the outlet over pipes              everything but listeners
//! ```

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tidewire_engine::pipes::Pipes;
use tidewire_engine::{Control, Counters};
use tidewire_hub::admit::OutletId;
use tidewire_hub::broker::Broker;
use tidewire_hub::deliver::Outlet;
use tidewire_hub::limits::Limits;
use tidewire_hub::position::Gen;
use tidewire_hub::revocation::Revocations;
use tokio::sync::{oneshot, watch};
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::brokers::{self, Brokers};
use crate::census::Census;
use crate::clock::Clock;
use crate::config::Settings;
use crate::control::Plane;
use crate::crowd::Crowd;
use crate::entrance::Entrance;
use crate::metrics::Metrics;
use crate::node::Node;
use crate::outlets::Seat;
use crate::presence::{Keeper, Teller};
use crate::serve::Fatal;
use crate::shared::Beside;
use crate::ways::Ways;

/// What is there before anybody decides who comes in: where messages are kept, and what nodes share.
pub struct Ground {
    /// Bounds.
    pub limits: Arc<Limits>,
    /// Rights that were taken back.
    pub revocations: Arc<Revocations>,
    /// Places and keeps messages.
    pub broker: Arc<dyn Broker>,
    /// The links to Redis beside the log's, where there is one.
    pub beside: Option<Beside>,
    clock: Clock,
    teller: Arc<Teller>,
    keeper: Arc<Keeper>,
    brokers: Brokers,
}

impl Ground {
    /// What `settings` describe. Called on the runtime that drives it.
    ///
    /// # Errors
    /// The system has no random numbers, or Redis cannot be dialled as configured.
    pub fn open(settings: &Settings) -> Result<Ground, Fatal> {
        let limits = Arc::new(settings.limits.clone());
        let revocations: Arc<Revocations> = Arc::default();
        let clock = Clock::start();
        let teller: Arc<Teller> = Arc::default();
        let keeper = Arc::new(brokers::keeper(settings, &teller)?);
        let brokers = brokers::start(settings, &limits, &revocations, &clock, keeper.clone())?;
        let (broker, beside) = (brokers.broker.clone(), Beside::open(&settings.broker)?);
        Ok(Ground { limits, revocations, broker, beside, clock, teller, keeper, brokers })
    }

    /// Makes an outlet known to the broker. See [`Seat::new`].
    #[must_use]
    pub fn seat(&self, share: &Limits, explain: bool) -> Seat {
        Seat::new(&*self.broker, share, explain)
    }

    /// The generation of a log that nodes share, as it changes.
    #[must_use]
    pub fn generations(&self) -> Option<watch::Receiver<Option<Gen>>> {
        self.brokers.generations.clone()
    }

    /// Gives a node that has its gate everything else that `settings` describe.
    ///
    /// # Errors
    /// The system has no random number for this node's name among others.
    pub fn furnish(&self, mut node: Node, settings: &Settings) -> Result<Arc<Node>, Fatal> {
        node.clock = self.clock.clone();
        node.bridge = self.brokers.bridge.clone();
        node.ways = Ways::new(settings.trusted_proxies.clone());
        node.strict_readiness = settings.strict_readiness;
        node.revocations = self.revocations.clone();
        if let Some(beside) = &self.beside {
            node.ledger =
                Some(beside.ledger(self.revocations.clone(), self.broker.clone(), node.clock.clone()));
            let rates = beside.rates(node.clock.clone())?;
            node.publishes = node.publishes.sharing(&rates);
            node.crowd =
                node.crowd.is_some().then(|| Arc::new(Crowd::new(self.limits.clone()).sharing(&rates)));
        }
        node.presence = self.keeper.clone();
        node.publishes.limit(&self.limits, &settings.namespaces);
        Ok(Arc::new(node))
    }
}

/// Everything of a node but its listeners.
pub struct Assembly {
    /// What requests can reach.
    pub node: Arc<Node>,
    /// Decides on what outlets report.
    pub plane: Plane,
    /// Counts connections.
    pub census: Arc<Census>,
    /// The way to the outlet over pipes.
    pub pipes: Pipes,
    /// What that outlet counts.
    pub pipe_counters: Arc<Counters>,
    /// What all outlets of the engine count, those over sockets first.
    pub counters: Vec<Arc<Counters>>,
    /// What `/metrics` shows.
    pub metrics: Arc<Metrics>,
}

impl Assembly {
    /// Puts `node` together with outlets: those over `sockets`, which nobody serves yet, one over `pipes`, which is started,
    /// and any `others`. `census` counts connections.
    ///
    /// # Errors
    /// The system has no thread for the outlet over pipes.
    pub fn new(
        ground: &Ground,
        node: Arc<Node>,
        census: Arc<Census>,
        share: &Limits,
        sockets: &[Seat],
        pipes: Seat,
        others: HashMap<OutletId, Arc<dyn Outlet>>,
    ) -> Result<Assembly, Fatal> {
        let mut outlets = Seat::inboxes(sockets.iter().chain([&pipes]));
        outlets.extend(others);
        ground.teller.tell_to(outlets.values().cloned());
        let plane = Plane::new(node.clone(), census.clone(), outlets);
        let pipe_counters = pipes.counters();
        let counters: Vec<_> = sockets.iter().chain([&pipes]).map(Seat::counters).collect();
        let metrics = Arc::new(Metrics::new(node.clone(), counters.clone(), census.clone()));
        let control: Arc<dyn Control> = Arc::new(plane.clone());
        let pipes = pipes.run_pipes(control, share, node.clock.epoch())?;
        Ok(Assembly { node, plane, census, pipes, pipe_counters, counters, metrics })
    }
}

/// Lets time pass for everybody who has no clock.
pub async fn tick(plane: Plane, revocations: Arc<Revocations>, entrance: Option<Arc<Entrance>>) {
    let mut seconds = interval(Duration::from_secs(1));
    seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        seconds.tick().await;
        plane.tick();
        let now = plane.now();
        revocations.expire(now);
        if let Some(entrance) = &entrance {
            entrance.tick(now);
        }
    }
}

/// Tickets are good for one life of the store that they are in (security rule S21).
pub async fn follow(mut generations: watch::Receiver<Option<Gen>>, entrance: Arc<Entrance>) {
    loop {
        if let Some(generation) = *generations.borrow_and_update() {
            entrance.gate.tickets().set_generation(generation.number());
        }
        if generations.changed().await.is_err() {
            return;
        }
    }
}

/// How long the broker has for being told that this node leaves.
const GOODBYE_MAX: Duration = Duration::from_millis(500);

/// Tells the broker that this node leaves.
pub async fn say_goodbye(node: &Node) {
    let (done, said) = oneshot::channel();
    // Whoever stops waiting has left.
    node.broker.part(Box::new(move |()| {
        let _ = done.send(());
    }));
    let _ = timeout(GOODBYE_MAX, said).await;
}
