//! The backends: memory, and a real Redis of its own.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tidewire_broker::memory;
use tidewire_broker::redis::broker::{self, Redis};
use tidewire_broker::redis::sequencer::Standing;
use tidewire_broker::redis::{Address, Durability, Timeouts};
use tidewire_hub::admit::{ConnId, OutletId};
use tidewire_hub::bridge::Bridged;
use tidewire_hub::channel::ChannelSet;
use tidewire_hub::grant::Grant;
use tidewire_hub::position::Gen;
use tidewire_hub::presence::Attendance;
use tokio::runtime::Runtime;

use crate::bench::{Backend, Bench, Clock, Setting, wait_for};
use crate::server::Server;

struct Nothing;

impl Backend for Nothing {}

/// The broker in memory. Every call is answered before it returns, and time is turned by hand.
pub(crate) fn memory(setting: Setting) -> Bench {
    let options = memory::Options {
        limits: Arc::new(setting.limits),
        retentions: setting.retentions,
        generation: Gen::from_random(0x5eed),
        revocations: Arc::default(),
    };
    let memory = memory::Memory::new(&options).attended_by(setting.attendance.unwrap_or(Arc::new(Nobody)));
    Bench::new(Box::new(memory), Clock::default(), Box::new(Nothing))
}

/// Is told who joins, and tells nobody.
struct Nobody;

impl Attendance for Nobody {
    fn joined(&self, _: OutletId, _: ConnId, _: &Grant, _: &ChannelSet) {}
}

/// One node, over a Redis of its own.
pub(crate) fn redis(setting: Setting) -> Bench {
    let store = Store::start(&[]);
    let mut bench = store.node(setting);
    bench.backend = Box::new(Owned { store, since: Instant::now() });
    bench
}

/// A Redis that nodes share, and the threads that they run on.
pub(crate) struct Store {
    pub(crate) server: Server,
    pub(crate) runtime: Arc<Runtime>,
}

impl Store {
    pub(crate) fn start(options: &[&str]) -> Store {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = Arc::new(runtime.unwrap());
        let server = runtime.block_on(Server::start(options));
        Store { server, runtime }
    }

    /// A node that is in the log, and hears it.
    pub(crate) fn node(&self, setting: Setting) -> Bench {
        let (clock, since) = (Clock::default(), Instant::now());
        let told = clock.clone();
        let options = broker::Options {
            address: Address::parse(&self.server.url(), None).unwrap(),
            prefix: "tidewire".into(),
            limits: Arc::new(setting.limits),
            retentions: setting.retentions,
            revocations: Arc::default(),
            random: Arc::new(|| RandomState::new().hash_one(0)),
            clock: Arc::new(move || told.at(since.elapsed())),
            timeouts: Timeouts::default(),
            durability: Durability::Stored,
            bridged: Bridged::default(),
            attendance: setting.attendance.unwrap_or(Arc::new(Nobody)),
        };
        let _inside = self.runtime.enter();
        let redis = Redis::start(options);
        wait_for("a node that hears", || (redis.link().standing == Standing::Live).then_some(()));
        let bench =
            Bench::new(Box::new(redis), clock, Box::new(Running { since, _runtime: self.runtime.clone() }));
        bench.take();
        bench
    }

    /// What the server answers to a command.
    pub(crate) fn ask(&self, words: &[&str]) {
        self.runtime.block_on(self.server.ask(words));
    }
}

/// Time that runs by itself: Redis has no other.
struct Running {
    since: Instant,
    _runtime: Arc<Runtime>,
}

impl Backend for Running {
    fn elapsed(&self) -> Duration {
        self.since.elapsed()
    }
}

struct Owned {
    #[expect(dead_code, reason = "it ends with the bench")]
    store: Store,
    since: Instant,
}

impl Backend for Owned {
    fn elapsed(&self) -> Duration {
        self.since.elapsed()
    }
}
