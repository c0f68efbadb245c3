//! One node: production's shards, control plane and memory broker over fake kernels.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tidewire_auth::dev::DevGate;
use tidewire_broker::memory::Options;
use tidewire_engine::Counters;
use tidewire_engine::event::Control;
use tidewire_engine::inbox::Inbox;
use tidewire_engine::shard::{Parts, Shard};
use tidewire_hub::admit::OutletId;
use tidewire_hub::broker::{Broker, Now};
use tidewire_hub::deliver::Outlet;
use tidewire_hub::limits::{Limits, Retention};
use tidewire_hub::position::Gen;
use tidewire_hub::publish::{Publish, Receipt};
use tidewire_hub::reason::Reason;
use tidewire_server::census::Census;
use tidewire_server::clock::Clock;
use tidewire_server::control::Plane;
use tidewire_server::node::Node as Server;

use crate::kernel::{Mischief, Net, Time};
use crate::ledger::{Invariant, Ledger, Violation};
use crate::mutant::{Bugged, Mutant};
use crate::rng::Rng;
use crate::tally::Tally;
use crate::tap::{Doorbell, Tap};

/// What a node is made of.
pub struct Build<'a> {
    /// Messages that each shard's inbox holds; one shard for each.
    pub inbox_messages_max: &'a [usize],
    /// What channels keep.
    pub retention: Retention,
    /// All other bounds.
    pub limits: &'a Limits,
    /// How the kernels behave.
    pub mischief: Mischief,
    /// A bug on purpose.
    pub mutant: Option<Mutant>,
    /// The clock.
    pub time: &'a Time,
    /// Where everything published is noted.
    pub ledger: &'a Ledger,
    /// Where faults are counted.
    pub tally: &'a Tally,
}

/// A running node.
pub struct Node {
    /// Its shards, nothing in place of one that has drained.
    shards: Vec<Option<Shard<Net>>>,
    /// Their kernels.
    pub nets: Vec<Net>,
    doors: Vec<Arc<Doorbell>>,
    counters: Vec<Arc<Counters>>,
    /// Its broker.
    pub broker: Arc<dyn Broker>,
    plane: Plane,
    outlets: Vec<OutletId>,
    time: Time,
}

impl Node {
    /// Starts a node with a generation of its own.
    #[must_use]
    pub fn start(build: &Build<'_>, rng: &mut Rng) -> Node {
        let generation = Gen::from_random(rng.next());
        let options = Options {
            limits: Arc::new(build.limits.clone()),
            retentions: build.retention.into(),
            generation,
            revocations: Arc::default(),
        };
        let broker = Arc::new(Tap::new(&options, build.ledger.clone(), build.mutant));
        Node::over(broker, build, rng)
    }

    /// Starts a node over a broker that stands already.
    #[must_use]
    pub fn over(broker: Arc<dyn Broker>, build: &Build<'_>, rng: &mut Rng) -> Node {
        let limits = Arc::new(build.limits.clone());
        let mut seats = Vec::new();
        for messages_max in build.inbox_messages_max {
            let inbox = Inbox::with_bounds(*messages_max, limits.memory_budget / 16);
            let outlet: Arc<dyn Outlet> = match build.mutant {
                Some(mutant) => Arc::new(Bugged::new(mutant, inbox.clone())),
                None => inbox.clone(),
            };
            let door = Arc::new(Doorbell::new(outlet, build.mutant));
            let outlet = broker.attach(door.clone());
            seats.push((inbox, door, outlet, Arc::new(Counters::default())));
        }
        let time = build.time.clone();
        let clock = Clock::by_hand(move || now(&time));
        let gate = Arc::new(DevGate::new(false));
        let mut server = Server::new(gate, broker.clone(), limits.clone());
        server.clock = clock;
        let counters: Vec<Arc<Counters>> = seats.iter().map(|(.., counters)| counters.clone()).collect();
        let census = Census::new(counters.clone(), limits.connections_max);
        let named = seats.iter().map(|(_, door, outlet, _)| (*outlet, door.clone() as Arc<dyn Outlet>));
        let outlets: HashMap<OutletId, Arc<dyn Outlet>> = named.collect();
        let plane = Plane::new(Arc::new(server), census, outlets);
        let control: Arc<dyn Control> = match build.mutant {
            Some(Mutant::SkipCatchUp) => Arc::new(Deaf(plane.clone())),
            _ => Arc::new(plane.clone()),
        };
        let mut node = Node {
            shards: Vec::new(),
            nets: Vec::new(),
            doors: Vec::new(),
            counters,
            broker,
            plane,
            outlets: seats.iter().map(|(_, _, outlet, _)| *outlet).collect(),
            time: build.time.clone(),
        };
        for (inbox, door, outlet, counters) in seats {
            let net = Net::new(build.time.clone(), rng.fork(), build.mischief, build.tally.clone());
            let (control, limits, seed) = (control.clone(), limits.clone(), rng.next());
            let parts =
                Parts { outlet, inbox, control, limits, counters, seed, explain: false, proxies: None };
            node.shards.push(Some(Shard::new(net.clone(), parts)));
            node.nets.push(net);
            node.doors.push(door);
        }
        node
    }

    /// Shards that would be woken now.
    #[must_use]
    pub fn due(&self) -> Vec<usize> {
        (0..self.shards.len()).filter(|index| self.is_due(*index)).collect()
    }

    /// Lets one shard make a turn, whether or not it is due.
    pub fn turn(&mut self, index: usize) {
        self.doors[index].open();
        if let Some(shard) = &mut self.shards[index]
            && !shard.turn()
        {
            self.shards[index] = None;
        }
    }

    /// Time has passed, and shards that sleep have slept for it, until their next deadline at most. In the fake kernel a
    /// wait returns at once, so a turn without news stands for the time inside it; else a shard would take its own sleep
    /// for a loop that was late (R30).
    pub fn sleep(&mut self) {
        for index in 0..self.shards.len() {
            if !self.doors[index].has_mail() && !self.nets[index].has_news() {
                self.turn(index);
            }
        }
    }

    /// Turns every shard that is due until none is. False where that does not end.
    #[must_use]
    pub fn settle(&mut self) -> bool {
        for _ in 0..100_000 {
            let due = self.due();
            if due.is_empty() {
                return true;
            }
            for index in due {
                self.turn(index);
            }
        }
        false
    }

    /// When something is due if nothing happens before.
    #[must_use]
    pub fn wake_at(&self) -> Option<u64> {
        let alive = self.shards.iter().zip(&self.nets).filter(|(shard, _)| shard.is_some());
        alive.filter_map(|(_, net)| net.wake_at()).min()
    }

    /// Whether every shard has drained.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.shards.iter().all(Option::is_none)
    }

    /// About once a second.
    pub fn tick(&self) {
        self.plane.tick();
    }

    /// Refuses new publishes and ends every connection within this time.
    pub fn drain(&self, within: Duration) {
        self.broker.drain();
        self.plane.drain(within);
    }

    /// Ends the process without a word.
    pub fn crash(&self) {
        self.nets.iter().for_each(Net::crash);
    }

    /// Publishes, and gives the answer where it comes at once.
    #[must_use]
    pub fn place(&self, publish: Publish) -> Option<Result<Receipt, Reason>> {
        let outcome = Arc::new(Mutex::new(None));
        let told = outcome.clone();
        let done = Box::new(move |answer| {
            *told.lock().unwrap_or_else(PoisonError::into_inner) = Some(answer);
        });
        self.broker.publish(publish, self.now(), done);
        outcome.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// What a counter of one shard says.
    #[must_use]
    pub fn counter(&self, shard: usize, name: &str) -> u64 {
        self.counters[shard].snapshot().find(|(other, _)| *other == name).map_or(0, |(_, count)| count)
    }

    /// What a counter of all shards says together.
    #[must_use]
    pub fn sum(&self, name: &str) -> u64 {
        (0..self.counters.len()).map(|shard| self.counter(shard, name)).sum()
    }

    /// How things stand, for the story of a failure.
    #[must_use]
    pub fn describe(&self) -> String {
        let shard = |index: usize| {
            let (rung, due) = (self.doors[index].is_rung(), self.nets[index].is_due());
            let (mail, wake_at) = (self.doors[index].has_mail(), self.nets[index].wake_at());
            let counts: Vec<String> = self.counters[index]
                .snapshot()
                .filter(|(_, count)| *count > 0)
                .map(|(name, count)| format!("{name} {count}"))
                .collect();
            format!(
                "shard {index}: rung {rung} mail {mail} due {due} wake at {wake_at:?}, {}",
                counts.join(", ")
            )
        };
        let shards: Vec<String> = (0..self.shards.len()).map(shard).collect();
        format!("  at {}: {:?}\n  {}\n", self.time.now_ms(), self.broker.totals(), shards.join("\n  "))
    }

    /// The inbox of one shard, with its bell.
    #[must_use]
    pub fn door(&self, shard: usize) -> &Arc<Doorbell> {
        &self.doors[shard]
    }

    /// The name of one shard towards the broker.
    #[must_use]
    pub fn outlet(&self, shard: usize) -> OutletId {
        self.outlets[shard]
    }

    /// The moment that it is.
    #[must_use]
    pub fn now(&self) -> Now {
        now(&self.time)
    }

    /// Everybody has left: nothing may be held (invariant I7).
    ///
    /// # Errors
    /// What is still held.
    pub fn is_empty(&self) -> Result<(), Violation> {
        let held = |what: String| Err(Violation::new(Invariant::I7, what));
        for info in self.broker.channels(usize::MAX) {
            let receivers = info.receivers;
            if receivers.sse + receivers.ws + receivers.poll > 0 {
                return held(format!("{} still counts {receivers:?}", info.channel));
            }
        }
        for (index, net) in self.nets.iter().enumerate() {
            if net.open() > 0 {
                return held(format!("shard {index} holds {} sockets: {}", net.open(), net.describe_open()));
            }
            for name in ["open", "open_sse", "open_ws", "open_poll", "queued_bytes"] {
                let count = self.counter(index, name);
                if count > 0 {
                    return held(format!("shard {index} counts {count} {name}"));
                }
            }
        }
        Ok(())
    }

    fn is_due(&self, index: usize) -> bool {
        self.shards[index].is_some() && (self.doors[index].is_rung() || self.nets[index].is_due())
    }
}

fn now(time: &Time) -> Now {
    let monotonic_ms = time.now_ms();
    Now { monotonic_ms, wall_ms: 1_700_000_000_000 + monotonic_ms, micros: 0 }
}

/// A control plane that does not hear that an inbox was emptied.
struct Deaf(Plane);

impl Control for Deaf {
    fn handle(&self, event: tidewire_engine::Event<'_>) {
        if !matches!(event, tidewire_engine::Event::Emptied { .. }) {
            self.0.handle(event);
        }
    }
}
