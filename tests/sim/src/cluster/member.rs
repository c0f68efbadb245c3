//! A member: production's sequencer with its shards and control plane, and the driver that carries out its orders over links
//! of the model, as `crates/broker/src/redis/broker.rs` does with tokio.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tidewire_broker::redis::sequencer::{Astray, Flush, Sequencer, Session, Standing};
use tidewire_broker::redis::{Error, Past, Slice, encode_body};
use tidewire_hub::admit::{OutletId, Page, Subscribe, Transport};
use tidewire_hub::broker::{Broker, ChannelInfo, Done, Now, Totals};
use tidewire_hub::channel::{Channel, ChannelSet};
use tidewire_hub::deliver::Outlet;
use tidewire_hub::limits::{PageLimit, Retentions};
use tidewire_hub::position::{Gen, Start};
use tidewire_hub::publish::{Publish, Receipt};
use tidewire_hub::reason::Reason;
use tidewire_hub::revocation::Revocation;

use super::link::{ANSWER_MS, Answer, Call, Link};
use super::store::Write;
use super::world::Fault;
use crate::node::Node;
use crate::rng::Rng;

/// The sequencer behind a lock, as a broker.
pub(super) struct Shared(pub(super) Mutex<Sequencer>);

impl Shared {
    pub(super) fn lock(&self) -> MutexGuard<'_, Sequencer> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the sequencer do something, and gives the answers that came due, with nothing locked.
    pub(super) fn with<T>(&self, act: impl FnOnce(&mut Sequencer) -> T) -> T {
        let (outcome, finished) = {
            let mut sequencer = self.lock();
            let outcome = act(&mut sequencer);
            (outcome, sequencer.take_finished())
        };
        finished.into_iter().for_each(|answer| answer());
        outcome
    }
}

/// Where the driver stands.
enum State {
    /// It dials at this time.
    Out(u64),
    /// It has dialled, and waits for the answer to its handshake.
    Shaking(Link),
    In(Box<Links>),
}

struct Links {
    session: Session,
    log: Link,
    reader: Link,
    ear: Link,
    is_asking: bool,
    is_probing: bool,
    probe_due: u64,
    is_renewing: bool,
    renew_due: u64,
}

/// One node.
pub(super) struct Member {
    pub(super) node: Node,
    pub(super) shared: Arc<Shared>,
    state: State,
    /// Links that were given up, over which answers to flushes may still come.
    orphans: Vec<Link>,
    flushes: BTreeMap<u64, (Flush, u64)>,
    next_flush: u64,
    fault: Option<Fault>,
    rng: Rng,
}

impl Member {
    pub(super) fn new(node: Node, shared: Arc<Shared>, fault: Option<Fault>, rng: Rng) -> Member {
        let (orphans, flushes) = (Vec::new(), BTreeMap::new());
        Member { node, shared, state: State::Out(0), orphans, flushes, next_flush: 0, fault, rng }
    }

    pub(super) fn standing(&self) -> Standing {
        self.shared.lock().standing()
    }

    /// Its links, those that were given up last.
    pub(super) fn links(&mut self) -> Vec<&mut Link> {
        let mut links: Vec<&mut Link> = match &mut self.state {
            State::Out(_) => Vec::new(),
            State::Shaking(link) => vec![link],
            State::In(links) => vec![&mut links.log, &mut links.reader, &mut links.ear],
        };
        links.extend(self.orphans.iter_mut());
        links
    }

    /// The link that brings messages, if it has one.
    pub(super) fn ear(&mut self) -> Option<&mut Link> {
        match &mut self.state {
            State::In(links) => Some(&mut links.ear),
            _ => None,
        }
    }

    /// Takes the orders that there are, and gives up what is late. `server` is who takes itself for the master.
    pub(super) fn work(&mut self, server: Option<usize>) {
        let now = self.node.now();
        self.give_up_flushes(now.monotonic_ms);
        match &mut self.state {
            State::Out(at) => {
                if let (true, Some(server)) = (*at <= now.monotonic_ms, server) {
                    let mut link = Link::to(server);
                    let past = self.shared.lock().past();
                    let past = match self.fault {
                        Some(Fault::ForgetWitness) => Past::new(past.node()),
                        _ => past,
                    };
                    let fresh = [Gen::from_random(self.rng.next()), Gen::from_random(self.rng.next())];
                    link.call(Call::Handshake(Box::new(past), fresh), now.monotonic_ms);
                    self.state = State::Shaking(link);
                }
            }
            State::Shaking(link) => {
                if link.is_late(now.monotonic_ms) {
                    self.leave();
                }
            }
            State::In(links) => {
                let late =
                    [&links.log, &links.reader, &links.ear].iter().any(|link| link.is_late(now.monotonic_ms));
                if late {
                    return self.leave();
                }
                self.order(now);
            }
        }
    }

    fn order(&mut self, now: Now) {
        let State::In(links) = &mut self.state else { return };
        let at = now.monotonic_ms;
        let mut sequencer = self.shared.lock();
        while let Some(flush) = sequencer.next_flush() {
            let (fence, node) = (flush.fence.clone(), flush.node);
            let requests = flush.requests();
            let writes = requests.iter().map(|request| {
                let Publish { channel, event, payload, key, publisher, .. } = request.publish;
                let key = key.as_ref().map(|key| format!("{publisher} {channel} {}", key.as_str()));
                let body = encode_body(event.as_ref(), payload, request.time_ms);
                Write { channel: channel.clone(), body, messages_max: request.retention.messages_max, key }
            });
            let (writes, number) = (writes.collect(), self.next_flush);
            drop(requests);
            self.next_flush += 1;
            links.log.call(Call::Flush { number, fence, node, writes }, at);
            self.flushes.insert(number, (flush, at));
        }
        if !links.is_asking
            && let Some(order) = sequencer.next_subscriptions()
        {
            links.is_asking = true;
            links.ear.call(Call::Listen(order.unsubscribe.clone(), Vec::new()), at);
            links.ear.call(Call::Listen(Vec::new(), order.subscribe.clone()), at);
            links.ear.call(Call::Confirm(order), at);
        }
        if let Some(fence) = sequencer.fence() {
            while let Some(read) = sequencer.next_read(now) {
                links.reader.call(Call::Read(read, fence.clone()), at);
            }
            while let Some(tail) = sequencer.next_tail() {
                links.reader.call(Call::Tail(tail, fence.clone()), at);
            }
            if !links.is_renewing && links.renew_due <= at {
                (links.is_renewing, links.renew_due) = (true, at + LEASE_MS / 4);
                let (node, fresh) = (sequencer.past().node(), Gen::from_random(self.rng.next()));
                links.reader.call(Call::Renew(fence, node, fresh), at);
            }
        }
        if !links.is_probing && (links.probe_due <= at || sequencer.wants_probe()) {
            (links.is_probing, links.probe_due) = (true, at + 1_000);
            let look = sequencer.look();
            links.ear.call(Call::Probe(look), at);
        }
    }

    /// The next answer arrives on one of its links, by number.
    pub(super) fn hear(&mut self, at: usize) {
        let now = self.node.now();
        let own = match &self.state {
            State::Out(_) => 0,
            State::Shaking(_) => 1,
            State::In(_) => 3,
        };
        if at >= own {
            let Some(orphan) = self.orphans.get_mut(at - own) else { return };
            match orphan.next_answer() {
                Some(Answer::Flushed(number, outcomes)) => {
                    let _ = self.flushed(number, outcomes);
                }
                Some(Answer::Ended) => {
                    self.orphans.remove(at - own);
                }
                _ => {}
            }
            return;
        }
        let Some(answer) = self.links()[at].next_answer() else { return };
        let shared = self.shared.clone();
        let State::In(links) = &mut self.state else {
            return match answer {
                Answer::Entered(Ok(fence)) => self.enter(fence),
                _ => self.leave(),
            };
        };
        let session = links.session;
        let outcome = match answer {
            Answer::Heard(channel, bytes) => {
                shared.with(|sequencer| sequencer.heard(session, channel, bytes, now))
            }
            Answer::Confirmed(order, probe) => {
                links.is_asking = false;
                shared.with(|sequencer| sequencer.confirmed(&order, &probe, now))
            }
            Answer::Probed(look, probe) => {
                links.is_probing = false;
                shared.with(|sequencer| sequencer.probed(look, &probe, now))
            }
            Answer::Read(read, mut outcome) => {
                if let (Some(Fault::ForgetRead), Ok(history)) = (self.fault, &mut outcome) {
                    let (channel, after) = &read.wanted[0];
                    history.slices[0] =
                        Slice::new((channel, *after), history.head.generation, (0, None), [], false);
                }
                shared.with(|sequencer| sequencer.read_done(&read, outcome, now))
            }
            Answer::Tail(tail, outcome) => {
                shared.with(|sequencer| sequencer.tail_done(&tail, outcome.as_ref().copied(), now))
            }
            Answer::Renewed(Ok(lease)) => {
                links.is_renewing = false;
                shared.with(|sequencer| sequencer.renewed(session, &lease));
                Ok(())
            }
            Answer::Flushed(number, outcomes) => self.flushed(number, outcomes),
            // As a client would that dials and subscribes again by itself.
            Answer::Ended if self.fault == Some(Fault::SkipHold) && at == 2 => {
                let mut ear = Link::to(links.ear.server);
                ear.heard = std::mem::take(&mut links.ear.heard);
                (links.ear, links.is_asking, links.is_probing) = (ear, false, false);
                Ok(())
            }
            Answer::Ended | Answer::Renewed(Err(_)) | Answer::Entered(_) => Err(Astray::Fenced),
        };
        if outcome.is_err() {
            self.leave();
        }
    }

    fn enter(&mut self, fence: tidewire_broker::redis::Fence) {
        let now = self.node.now();
        let session = self.shared.with(|sequencer| sequencer.entered(fence));
        let State::Shaking(log) = std::mem::replace(&mut self.state, State::Out(0)) else { return };
        let (reader, ear, at) = (Link::to(log.server), Link::to(log.server), now.monotonic_ms);
        let links = Links {
            session,
            log,
            reader,
            ear,
            is_asking: false,
            is_probing: false,
            probe_due: at + 1_000,
            is_renewing: false,
            renew_due: at,
        };
        self.state = State::In(Box::new(links));
    }

    /// Gives its links up, and comes in again after a while.
    pub(super) fn leave(&mut self) {
        let now = self.node.now();
        let again = State::Out(now.monotonic_ms + self.rng.range(25, 400));
        if let State::In(links) = std::mem::replace(&mut self.state, again) {
            self.shared.with(|sequencer| sequencer.lost(links.session, now));
            self.orphans.push(links.log);
        }
    }

    fn flushed(
        &mut self,
        number: u64,
        outcomes: Vec<Result<tidewire_broker::redis::Placing, Error>>,
    ) -> Result<(), Astray> {
        let now = self.node.now();
        let Some((flush, _)) = self.flushes.remove(&number) else { return Ok(()) };
        self.shared.with(|sequencer| sequencer.flush_done(flush, outcomes, now))
    }

    fn give_up_flushes(&mut self, now_ms: u64) {
        let open = match &self.state {
            State::In(links) => !links.log.cut,
            _ => false,
        };
        let gone = self.orphans.is_empty() && !open;
        let late: Vec<u64> = self
            .flushes
            .iter()
            .filter(|(_, (_, since))| gone || since + ANSWER_MS < now_ms)
            .map(|(number, _)| *number)
            .collect();
        for number in late {
            let count = self.flushes.get(&number).map_or(0, |(flush, _)| flush.requests().len());
            let _ = self.flushed(number, vec![Err(Error::Broken); count]);
        }
    }

    /// Everybody has been answered over links that were given up.
    pub(super) fn forget_orphans(&mut self) {
        self.orphans.retain(|link| !link.out.is_empty() || !link.back.is_empty());
    }
}

/// How long a registration lasts.
pub(super) const LEASE_MS: u64 = 10_000;

impl Broker for Shared {
    fn attach(&self, outlet: Arc<dyn Outlet>) -> OutletId {
        self.lock().attach(outlet)
    }

    fn publish(&self, publish: Publish, now: Now, done: Done<Result<Receipt, Reason>>) {
        self.with(|sequencer| sequencer.publish(publish, now, done));
    }

    fn subscribe(&self, subscribe: Subscribe, now: Now) {
        self.with(|sequencer| sequencer.subscribe(subscribe, now));
    }

    fn leave(&self, outlet: OutletId, transport: Transport, channels: &[Channel], now: Now) {
        self.with(|sequencer| sequencer.leave(outlet, transport, channels, now));
    }

    fn catch_up(&self, outlet: OutletId, _now: Now) {
        self.lock().catch_up(outlet);
    }

    fn read(
        &self,
        channels: ChannelSet,
        start: Start,
        page: PageLimit,
        now: Now,
        done: Done<Result<Page, Reason>>,
    ) {
        self.with(|sequencer| sequencer.read(channels, start, page, now, done));
    }

    fn tick(&self, now: Now) {
        self.lock().tick(now);
    }

    fn revoke(&self, revocation: Revocation, done: Done<Result<(), Reason>>) {
        self.lock().revoke(&Arc::new(revocation));
        done(Ok(()));
    }

    fn enforce(&self, revocation: &Arc<Revocation>) {
        self.lock().revoke(revocation);
    }

    fn retain(&self, retentions: Retentions) {
        self.lock().retain(retentions);
    }

    fn drain(&self) {}

    fn channels(&self, count_max: usize) -> Vec<ChannelInfo> {
        self.lock().channels(count_max)
    }

    fn totals(&self) -> Totals {
        self.lock().totals()
    }
}
