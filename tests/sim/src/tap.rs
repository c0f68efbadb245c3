//! The tap: production's broker with the ledger listening in, and with a bug in front where a mutant asks for one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tidewire_broker::memory::{Memory, Options};
use tidewire_hub::admit::{OutletId, Page, Subscribe, Transport};
use tidewire_hub::broker::{Broker, ChannelInfo, Done, Now, Totals};
use tidewire_hub::channel::{Channel, ChannelSet};
use tidewire_hub::deliver::{Command, Full, Outlet};
use tidewire_hub::limits::{PageLimit, Retentions};
use tidewire_hub::position::Start;
use tidewire_hub::publish::{Publish, Receipt};
use tidewire_hub::reason::Reason;
use tidewire_hub::revocation::Revocation;

use crate::ledger::Ledger;
use crate::mutant::Mutant;

/// A memory broker whose every publish is noted.
pub struct Tap {
    broker: Memory,
    ledger: Ledger,
    mutant: Option<Mutant>,
    left: AtomicU64,
}

impl Tap {
    /// A new life of the log.
    #[must_use]
    pub fn new(options: &Options, ledger: Ledger, mutant: Option<Mutant>) -> Tap {
        ledger.book().begin(options.generation, &options.limits, options.retentions.common());
        Tap { broker: Memory::new(options), ledger, mutant, left: AtomicU64::new(0) }
    }
}

impl Broker for Tap {
    fn attach(&self, outlet: Arc<dyn Outlet>) -> OutletId {
        self.broker.attach(outlet)
    }

    fn publish(&self, publish: Publish, now: Now, done: Done<Result<Receipt, Reason>>) {
        let (ledger, noted) = (self.ledger.clone(), publish.clone());
        let key = publish.key.clone().filter(|_| self.mutant != Some(Mutant::IgnoreKeys));
        let heard = move |outcome| {
            ledger.book().published(&noted, &outcome, now);
            done(outcome);
        };
        self.broker.publish(Publish { key, ..publish }, now, Box::new(heard));
    }

    fn subscribe(&self, subscribe: Subscribe, now: Now) {
        self.broker.subscribe(subscribe, now);
    }

    fn leave(&self, outlet: OutletId, transport: Transport, channels: &[Channel], now: Now) {
        let count = self.left.fetch_add(1, Ordering::Relaxed);
        if self.mutant != Some(Mutant::ForgetLeave) || count % 4 != 3 {
            self.broker.leave(outlet, transport, channels, now);
        }
    }

    fn catch_up(&self, outlet: OutletId, now: Now) {
        self.broker.catch_up(outlet, now);
    }

    fn read(
        &self,
        channels: ChannelSet,
        start: Start,
        page: PageLimit,
        now: Now,
        done: Done<Result<Page, Reason>>,
    ) {
        self.broker.read(channels, start, page, now, done);
    }

    fn tick(&self, now: Now) {
        self.ledger.book().tick(now);
        self.broker.tick(now);
    }

    fn revoke(&self, revocation: Revocation, done: Done<Result<(), Reason>>) {
        self.broker.revoke(revocation, done);
    }

    fn enforce(&self, revocation: &Arc<Revocation>) {
        self.broker.enforce(revocation);
    }

    fn retain(&self, retentions: Retentions) {
        self.broker.retain(retentions);
    }

    fn drain(&self) {
        self.broker.drain();
    }

    fn channels(&self, count_max: usize) -> Vec<ChannelInfo> {
        self.broker.channels(count_max)
    }

    fn totals(&self) -> Totals {
        self.broker.totals()
    }
}

/// A shard's inbox with the bell that wakes the shard.
pub struct Doorbell {
    outlet: Arc<dyn Outlet>,
    rung: AtomicBool,
    waits: AtomicBool,
    rings: AtomicU64,
    deaf: bool,
}

impl Doorbell {
    /// A bell at the door of `outlet`.
    #[must_use]
    pub fn new(outlet: Arc<dyn Outlet>, mutant: Option<Mutant>) -> Doorbell {
        let deaf = mutant == Some(Mutant::LoseWakeUp);
        let (rung, waits, rings) = (AtomicBool::new(false), AtomicBool::new(false), AtomicU64::new(0));
        Doorbell { outlet, rung, waits, rings, deaf }
    }

    /// The shard looks into its inbox.
    pub fn open(&self) {
        self.rung.store(false, Ordering::Relaxed);
        self.waits.store(false, Ordering::Relaxed);
    }

    /// Whether something waits in the inbox, rung for or not.
    #[must_use]
    pub fn has_mail(&self) -> bool {
        self.waits.load(Ordering::Relaxed)
    }

    /// Whether it has been rung since the shard looked last.
    #[must_use]
    pub fn is_rung(&self) -> bool {
        self.rung.load(Ordering::Relaxed)
    }
}

impl Outlet for Doorbell {
    fn send(&self, command: Command) -> Result<(), Full> {
        self.waits.store(true, Ordering::Relaxed);
        let ring = self.rings.fetch_add(1, Ordering::Relaxed);
        if !self.deaf || ring % 8 != 7 {
            self.rung.store(true, Ordering::Relaxed);
        }
        self.outlet.send(command)
    }
}
