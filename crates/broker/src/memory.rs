//! The memory broker: one partition behind a lock. What it forgets with the process, a new generation announces.

use std::sync::{Arc, Mutex, MutexGuard};

use tidewire_hub::admit::{OutletId, Page, Subscribe, Transport};
use tidewire_hub::bridge::{Bridged, Relay};
use tidewire_hub::broker::{Broker, ChannelInfo, Done, Now, Totals};
use tidewire_hub::channel::{Channel, ChannelSet};
use tidewire_hub::deliver::Outlet;
use tidewire_hub::limits::{Limits, PageLimit, Retentions};
use tidewire_hub::message::Payload;
use tidewire_hub::partition::Partition;
use tidewire_hub::position::{Gen, Start};
use tidewire_hub::presence::Attendance;
use tidewire_hub::publish::{Publish, Receipt};
use tidewire_hub::reason::Reason;
use tidewire_hub::revocation::{Revocation, Revocations};

/// What a memory broker is made of.
#[derive(Clone, Debug)]
pub struct Options {
    /// Bounds on channels, keys and memory.
    pub limits: Arc<Limits>,
    /// What each channel keeps.
    pub retentions: Retentions,
    /// Random, and new for every process: whoever comes with a cursor of another one is told of a gap.
    pub generation: Gen,
    /// Rights that were taken back, shared with the gate.
    pub revocations: Arc<Revocations>,
}

/// A broker in this process's memory. Every call is answered before it returns.
pub struct Memory {
    partition: Mutex<Partition>,
    revocations: Arc<Revocations>,
}

impl Memory {
    /// An empty broker.
    #[must_use]
    pub fn new(options: &Options) -> Memory {
        let Options { limits, retentions, generation, revocations } = options;
        let partition = Partition::new(*generation, limits, retentions.clone(), revocations.clone());
        Memory { partition: Mutex::new(partition), revocations: revocations.clone() }
    }

    /// The same with these channels bridged, for whoever brings their messages.
    ///
    /// # Panics
    /// Never before it is shared.
    #[must_use]
    pub fn bridging(self, bridged: Bridged) -> Memory {
        let partition = self.partition.into_inner().expect("nobody has used it yet").bridging(bridged);
        Memory { partition: Mutex::new(partition), ..self }
    }

    /// Has joins told from now on, each in its step of the sequencer.
    #[must_use]
    pub fn attended_by(self, attendance: Arc<dyn Attendance>) -> Memory {
        self.sequencer().attend(attendance);
        self
    }

    /// A panic while the log was being changed leaves it in doubt, and there is no honest way on: the process ends
    /// and its successor announces a new generation (delivery rule R23).
    fn sequencer(&self) -> MutexGuard<'_, Partition> {
        self.partition.lock().unwrap_or_else(|_| {
            eprintln!(
                "tidewire: the sequencer panicked; ending the process so that no subscriber is left in doubt"
            );
            std::process::abort()
        })
    }
}

impl Broker for Memory {
    fn attach(&self, outlet: Arc<dyn Outlet>) -> OutletId {
        self.sequencer().attach(outlet)
    }

    fn publish(&self, publish: Publish, now: Now, done: Done<Result<Receipt, Reason>>) {
        let outcome = self.sequencer().publish(publish, now);
        done(outcome);
    }

    fn subscribe(&self, subscribe: Subscribe, now: Now) {
        self.sequencer().subscribe(subscribe, now);
    }

    fn leave(&self, outlet: OutletId, transport: Transport, channels: &[Channel], _now: Now) {
        self.sequencer().leave(outlet, transport, channels);
    }

    fn catch_up(&self, outlet: OutletId, _now: Now) {
        self.sequencer().catch_up(outlet);
    }

    fn read(
        &self,
        channels: ChannelSet,
        start: Start,
        page: PageLimit,
        _now: Now,
        done: Done<Result<Page, Reason>>,
    ) {
        let read = self.sequencer().read(&channels, start, page);
        done(Ok(read));
    }

    fn tick(&self, now: Now) {
        self.sequencer().tick(now);
    }

    fn revoke(&self, revocation: Revocation, done: Done<Result<(), Reason>>) {
        let revocation = Arc::new(revocation);
        let outcome = self.revocations.record(&revocation).map_err(|_| Reason::Overloaded);
        if outcome.is_ok() {
            self.enforce(&revocation);
        }
        done(outcome);
    }

    fn enforce(&self, revocation: &Arc<Revocation>) {
        self.sequencer().revoke(revocation);
    }

    fn retain(&self, retentions: Retentions) {
        self.sequencer().retain(retentions);
    }

    fn drain(&self) {
        self.sequencer().drain();
    }

    fn channels(&self, count_max: usize) -> Vec<ChannelInfo> {
        self.sequencer().channels(count_max)
    }

    fn channel(&self, name: &Channel) -> Option<ChannelInfo> {
        self.sequencer().channel(name)
    }

    fn totals(&self) -> Totals {
        self.sequencer().totals()
    }
}

impl Relay for Memory {
    fn relay(&self, channel: &Channel, payload: Payload, now: Now) {
        self.sequencer().relay(channel, payload, now);
    }

    fn disturbed(&self, channels: &[Channel]) {
        self.sequencer().disturbed(channels);
    }
}
