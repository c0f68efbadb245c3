//! A run: servers, members, readers and publishers, and everything that happens to them, out of one seed.

use std::collections::{BTreeSet, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use tidewire_broker::redis::sequencer::{Sequencer, Standing};
use tidewire_broker::redis::{NodeId, Placing};
use tidewire_hub::broker::Broker as _;
use tidewire_hub::broker::Now;
use tidewire_hub::channel::Channel;
use tidewire_hub::limits::{Limits, Retention};
use tidewire_hub::message::Payload;
use tidewire_hub::publish::{Key, Publish};

use super::judge::{Placed, Truth, uid_of};
use super::link::{Answer, Call};
use super::member::{LEASE_MS, Member, Shared};
use super::reader::{Around, Reader};
use super::server::Server;
use super::store::{Store, Told};
use crate::kernel::{Mischief, Net, Time};
use crate::ledger::{Invariant, Ledger, Violation};
use crate::node::{Build, Node};
use crate::rng::Rng;
use crate::tally::Tally;
use crate::world::Failure;

/// A bug on purpose, between the parts of production.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A lost link is dialled again behind the sequencer's back, and nobody is held.
    SkipHold,
    /// One channel of a read comes back as if it had nothing.
    ForgetRead,
    /// The loss at a lossy promotion is not told.
    DropLoss,
    /// A node does not tell in its handshake what it saw.
    ForgetWitness,
    /// The link brings one message in many not at all.
    LoseTold,
}

impl Fault {
    /// All of them.
    pub const ALL: [Fault; 5] =
        [Fault::SkipHold, Fault::ForgetRead, Fault::DropLoss, Fault::ForgetWitness, Fault::LoseTold];
}

/// Runs one seed for so many steps, perhaps with a bug on purpose. What happened is added to `tally`.
///
/// # Errors
/// An invariant that did not hold.
pub fn run(seed: u64, steps: usize, fault: Option<Fault>, tally: &Tally) -> Result<(), Failure> {
    let mine = Tally::default();
    let mut world = World::new(seed, fault, mine.clone());
    let outcome = catch_unwind(AssertUnwindSafe(|| world.run(steps)));
    let outcome = outcome.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no words");
        Err(Violation::new(Invariant::I7, format!("panicked: {text}")))
    });
    tally.take_in(&mine);
    outcome.map_err(|violation| Failure { seed, story: world.story(&violation), violation })
}

type Verdict = Result<(), Violation>;

struct World {
    rng: Rng,
    fault: Option<Fault>,
    time: Time,
    tally: Tally,
    truth: Truth,
    servers: [Server; 2],
    master: usize,
    /// How much had been placed when the server that is not the master was replaced.
    replaced: Option<usize>,
    snapshot: Store,
    members: Vec<Member>,
    readers: Vec<Reader>,
    channels: Vec<String>,
    retention: Retention,
    limits: Limits,
    inboxes: Vec<usize>,
    mischief: Mischief,
    /// In permille of the messages: as large as many of them fill a read.
    large: u32,
    room: usize,
    unrest: u32,
    /// In permille of the steps: something befalls the servers or a link.
    trouble: u32,
    uids: u64,
    told: u64,
    ticked_ms: u64,
    calm: bool,
    events: VecDeque<String>,
}

impl World {
    fn new(seed: u64, fault: Option<Fault>, tally: Tally) -> World {
        let mut rng = Rng::new(seed);
        let count = 1 + rng.below(3);
        let channels: Vec<String> = (0..1 + rng.below(4)).map(|index| format!("c:{index}")).collect();
        let messages_max = if rng.chance(500) { rng.range(3, 40) as usize } else { 1_000 };
        let readers =
            (0..2 + rng.below(5)).map(|index| Reader::new(format!("reader {index}"), rng.fork(), &channels));
        let readers = readers.collect();
        let servers = [Server::new(true, &mut rng), Server::new(false, &mut rng)];
        let shards = 1 + rng.below(2);
        let mut world = World {
            fault,
            time: Time::default(),
            tally,
            truth: Truth::default(),
            servers,
            master: 0,
            replaced: None,
            snapshot: Store::default(),
            members: Vec::new(),
            readers,
            channels,
            retention: Retention { messages_max, ttl: Duration::from_secs(3_600) },
            limits: Limits {
                poll_wait_max: Duration::from_secs(3),
                queue_messages_max: if rng.chance(300) { rng.range(3, 60) as usize } else { 1_000 },
                memory_budget: 64 << 20,
                ..Limits::default()
            },
            inboxes: (0..shards).map(|_| if rng.chance(500) { 1 + rng.below(6) } else { 16_384 }).collect(),
            mischief: Mischief {
                short_write: rng.range(0, 150) as u32,
                would_block: rng.range(0, 80) as u32,
                cancelled: rng.range(0, 80) as u32,
                postponed: rng.range(0, 300) as u32,
                ..Mischief::default()
            },
            large: if rng.chance(300) { 700 } else { 20 },
            room: 64 << rng.below(8),
            unrest: rng.range(2, 30) as u32,
            trouble: rng.range(1, 20) as u32,
            uids: 0,
            told: 0,
            ticked_ms: 0,
            calm: false,
            events: VecDeque::new(),
            rng,
        };
        world.replicate();
        for _ in 0..count {
            let member = world.bear();
            world.members.push(member);
        }
        world
    }

    fn bear(&mut self) -> Member {
        let now = Now {
            monotonic_ms: self.time.now_ms(),
            wall_ms: 1_700_000_000_000 + self.time.now_ms(),
            micros: 0,
        };
        let (limits, node) = (Arc::new(self.limits.clone()), NodeId::from_random(self.rng.next()));
        let sequencer = Sequencer::new(node, &limits, self.retention.into(), Arc::default(), now);
        let shared = Arc::new(Shared(Mutex::new(sequencer)));
        let ledger = Ledger::new(&self.limits);
        let build = Build {
            inbox_messages_max: &self.inboxes,
            retention: self.retention,
            limits: &self.limits,
            mischief: self.mischief,
            mutant: (self.fault == Some(Fault::DropLoss)).then_some(crate::mutant::Mutant::DropLoss),
            time: &self.time,
            ledger: &ledger,
            tally: &self.tally,
        };
        let node = Node::over(shared.clone(), &build, &mut self.rng);
        if self.calm {
            node.nets.iter().for_each(Net::calm);
        }
        Member::new(node, shared, self.fault, self.rng.fork())
    }

    fn run(&mut self, steps: usize) -> Verdict {
        for _ in 0..steps {
            self.step()?;
        }
        self.heal()?;
        self.part()?;
        let heard: usize = self.readers.iter().map(Reader::count).sum();
        self.tally.add("deliveries", heard as u64);
        if self.tally.sum("fault: ") == 0 || heard == 0 {
            return Err(Violation::new(Invariant::I6, "nothing happened"));
        }
        Ok(())
    }

    fn step(&mut self) -> Verdict {
        let at = self.rng.below(self.members.len());
        match self.rng.below(100) {
            0..=17 => {
                let due = self.members[at].node.due();
                if !due.is_empty() {
                    let shard = *self.rng.pick(&due);
                    self.members[at].node.turn(shard);
                }
            }
            18..=37 => {
                let index = self.rng.below(self.readers.len());
                for _ in 0..1 + self.rng.below(6) {
                    self.reader(index)?;
                }
            }
            38..=52 => {
                let links = self.members[at].links().len();
                if links > 0 {
                    let link = self.rng.below(links);
                    for _ in 0..1 + self.rng.below(8) {
                        self.execute(at, link);
                    }
                }
            }
            53..=68 => {
                let links = self.members[at].links().len();
                if links > 0 {
                    let link = self.rng.below(links);
                    for _ in 0..1 + self.rng.below(8) {
                        self.members[at].hear(link);
                    }
                }
            }
            69..=74 => self.publish(at),
            75..=81 => self.members[at].node.nets.iter().for_each(|net| net.arrive(None)),
            82..=86 => self.replicate(),
            87..=97 => {
                let ms = self.rng.range(1, 30);
                self.pass(ms);
            }
            _ => {
                let ms = self.rng.range(30, 300);
                self.pass(ms);
            }
        }
        if self.rng.chance(self.trouble) {
            self.trouble();
            self.note_gone();
        }
        self.work(at);
        match self.truth.book().violation.take() {
            Some(violation) => Err(violation),
            None => Ok(()),
        }
    }

    fn work(&mut self, at: usize) {
        let target = if self.calm || self.rng.chance(800) { self.master } else { self.rng.below(2) };
        let target = self.servers[target].is_master.then_some(target);
        self.members[at].work(target);
    }

    fn reader(&mut self, index: usize) -> Verdict {
        let nets: Vec<Net> =
            self.members.iter().flat_map(|member| member.node.nets.iter().cloned()).collect();
        let around = Around {
            nets: &nets,
            truth: &self.truth,
            tally: &self.tally,
            now_ms: self.time.now_ms(),
            room: self.room,
            unrest: self.unrest,
            calm: self.calm,
        };
        self.readers[index].step(&around)
    }

    /// The messages that a server keeps.
    fn kept(&self, server: usize) -> BTreeSet<u64> {
        let store = &self.servers[server].store;
        let channels = self.channels.iter().filter_map(|name| Channel::parse(name.as_str()).ok());
        let uids = channels.flat_map(|channel| {
            store.stream(&channel).filter_map(|entry| uid_of(&entry.body[10..])).collect::<Vec<_>>()
        });
        uids.collect()
    }

    fn publish(&mut self, at: usize) {
        self.uids += 1;
        let channel = self.rng.pick(&self.channels).clone();
        let padding = if self.rng.chance(self.large) { self.rng.below(60_000) } else { self.rng.below(40) };
        let publish = message(self.uids, &channel, padding, self.rng.chance(400));
        self.place(at, publish, self.uids);
    }

    fn place(&mut self, at: usize, publish: Publish, uid: u64) {
        let (truth, tally) = (self.truth.clone(), self.tally.clone());
        let done =
            Box::new(move |outcome: Result<tidewire_hub::publish::Receipt, tidewire_hub::reason::Reason>| {
                match outcome {
                    Ok(receipt) => {
                        tally.count("publishes acknowledged");
                        truth.book().acknowledged.insert(uid, receipt.position.expect("a place in the log"));
                    }
                    Err(_) => tally.count("publishes refused or unknown"),
                }
            });
        let now = self.members[at].node.now();
        self.members[at].shared.publish(publish, now, done);
    }

    fn pass(&mut self, ms: u64) {
        self.time.pass(ms);
        let ticks = self.time.now_ms() >= self.ticked_ms + 1_000;
        for at in 0..self.members.len() {
            let member = &mut self.members[at];
            member.node.sleep();
            let now = member.node.now();
            member.shared.with(|sequencer| sequencer.pass(now));
            if ticks {
                member.node.tick();
            }
            member.forget_orphans();
            self.work(at);
        }
        if ticks {
            self.ticked_ms = self.time.now_ms();
        }
    }

    /// The server takes the next call of a link.
    fn execute(&mut self, at: usize, number: usize) {
        let now_ms = self.time.now_ms();
        let Some(link) = self.members[at].links().into_iter().nth(number) else { return };
        let index = link.server;
        let server = &mut self.servers[index];
        if link.cut || server.paused_until > now_ms {
            return;
        }
        let Some(call) = link.out.pop_front() else { return };
        let place = server.place(now_ms);
        let store = &mut server.store;
        let mut told: Vec<(Told, u64)> = Vec::new();
        let mut has_come = false;
        let answer = match call {
            Call::Handshake(past, fresh) => {
                let outcome = store.handshake(&place, &past, fresh);
                if let Ok(fence) = &outcome {
                    self.truth.book().enter(fence);
                    has_come = true;
                }
                Some(Answer::Entered(outcome))
            }
            Call::Flush { number, fence, node, writes } => {
                let mut outcomes = Vec::new();
                for (index, write) in writes.iter().enumerate() {
                    let (outcome, tells) = store.publish(&place, &fence, node, write, index == 0);
                    let uid = uid_of(&write.body[10..]).unwrap_or(0);
                    if let (Ok(Placing::Placed(_)), Some(tells)) = (&outcome, tells) {
                        told.push((tells, uid));
                    }
                    outcomes.push(outcome);
                }
                Some(Answer::Flushed(number, outcomes))
            }
            Call::Read(read, fence) => {
                let outcome = store.history(&place, &fence, &read.wanted, read.page);
                Some(Answer::Read(read, outcome))
            }
            Call::Tail(tail, fence) => {
                let outcome = store.tail(&place, &fence, &tail.channels, tail.count);
                Some(Answer::Tail(tail, outcome))
            }
            Call::Renew(fence, node, fresh) => {
                Some(Answer::Renewed(store.renew(&place, &fence, node, LEASE_MS, fresh)))
            }
            Call::Listen(without, with) => {
                without.iter().for_each(|channel| {
                    link.heard.remove(channel);
                });
                link.heard.extend(with);
                None
            }
            Call::Confirm(order) => Some(Answer::Confirmed(order, store.probe(&place))),
            Call::Probe(look) => Some(Answer::Probed(look, store.probe(&place))),
        };
        let has_written = !told.is_empty();
        // What is told goes out before the answer, on whatever link.
        for (tells, uid) in told {
            let replaced = self.replaced.filter(|_| index != self.master);
            let (channel, position) = (tells.channel.to_string(), tells.position);
            self.truth.book().place(Placed { uid, channel, position, replaced });
            self.told += 1;
            if self.fault == Some(Fault::LoseTold) && self.told % 16 == 5 {
                continue;
            }
            for member in &mut self.members {
                if let Some(ear) = member.ear().filter(|ear| ear.server == index && !ear.cut)
                    && ear.heard.contains(&tells.channel)
                {
                    ear.back.push_back(Answer::Heard(tells.channel.clone(), tells.bytes.clone()));
                }
            }
        }
        if let Some(link) = self.members[at].links().into_iter().nth(number) {
            link.back.extend(answer);
        }
        if has_written {
            self.note_gone();
        }
        // Decision 13 says what is not covered: a registration that is lost with the tail.
        if has_come && index == self.master {
            self.replicate();
        }
    }

    fn replicate(&mut self) {
        if !self.servers[1 - self.master].is_master {
            let (store, id) = {
                let master = &self.servers[self.master];
                (master.store.clone(), master.replication().clone())
            };
            self.servers[1 - self.master].follow(store, &id);
        }
    }

    fn trouble(&mut self) {
        let (at, now_ms) = (self.rng.below(self.members.len()), self.time.now_ms());
        match self.rng.below(100) {
            0..=34 => {
                let arrives = self.rng.below(6);
                let only_ear = self.rng.chance(500);
                if let (true, Some(ear)) = (only_ear, self.members[at].ear()) {
                    self.tally.count("fault: ear cut");
                    ear.cut(arrives);
                } else {
                    let links = self.members[at].links().len();
                    if links > 0 {
                        self.tally.count("fault: link cut");
                        let number = self.rng.below(links);
                        self.members[at].links()[number].cut(arrives);
                    }
                }
            }
            35..=54 => {
                let server = self.rng.below(2);
                let ms = self.rng.range(50, 2_500);
                self.tally.count("fault: server stopped for a while");
                self.servers[server].paused_until = now_ms + ms;
            }
            55..=64 => self.fail_over(),
            65..=79 => self.demote(),
            80..=83 if self.replaced.is_none() => {
                let kind = self.rng.below(3);
                self.event(&format!("master restarts, kind {kind}"));
                self.tally.count("fault: server restarted");
                self.truth.book().disturbed = true;
                self.cut_all(self.master);
                if kind == 1 {
                    self.servers[self.master].store = self.snapshot.clone();
                }
                self.servers[self.master].restart(kind < 2, &mut self.rng);
                self.replicate();
            }
            84 if self.replaced.is_none() => {
                self.event("FLUSHALL");
                self.tally.count("fault: store flushed");
                self.truth.book().disturbed = true;
                self.servers[self.master].store = Store::default();
                self.replicate();
            }
            85..=89 => self.snapshot = self.servers[self.master].store.clone(),
            90..=93 if self.replaced.is_none() => {
                self.event(&format!("member {at} is killed"));
                self.tally.count("fault: node killed");
                self.truth.book().disturbed = true;
                self.members[at].node.crash();
                let member = self.bear();
                self.members[at] = member;
            }
            _ => {}
        }
    }

    /// The replica is promoted with what it has. The old master goes on without knowing.
    fn fail_over(&mut self) {
        let replica = 1 - self.master;
        if self.servers[replica].is_master {
            return;
        }
        if self.rng.chance(500) {
            self.replicate();
        }
        self.event(&format!("server {replica} is promoted"));
        self.tally.count("fault: promotion");
        self.servers[replica].promote(&mut self.rng);
        self.master = replica;
        let mut book = self.truth.book();
        book.disturbed = true;
        self.replaced = Some(book.now());
        drop(book);
        // Some notice at once, while what they sent is still on its way to the old master, and back.
        for member in &mut self.members {
            if let (true, Some(ear)) = (self.rng.chance(400), member.ear()) {
                ear.cut(0);
            }
        }
    }

    /// The old master learns of the new one, and takes its store. Links to it may stay, and be deaf.
    fn demote(&mut self) {
        let old = 1 - self.master;
        if !self.servers[old].is_master {
            return;
        }
        self.event(&format!("server {old} is demoted"));
        self.servers[old].is_master = false;
        self.replaced = None;
        self.replicate();
        if self.calm || self.rng.chance(500) {
            self.cut_all(old);
        } else {
            self.tally.count("fault: links to a replica stay");
        }
    }

    /// What a master keeps no more is gone, wherever it is kept.
    fn note_gone(&mut self) {
        for server in (0..2).filter(|server| self.servers[*server].is_master) {
            let kept = self.kept(server);
            self.truth.book().keeps(&kept);
        }
    }

    fn cut_all(&mut self, server: usize) {
        for member in &mut self.members {
            for link in member.links().into_iter().filter(|link| link.server == server) {
                link.cut(0);
            }
        }
    }

    /// Faults stop. Then everybody comes back, nothing is missing, and what is new reaches everybody (I1, I6).
    fn heal(&mut self) -> Verdict {
        self.calm = true;
        self.demote();
        for server in &mut self.servers {
            server.paused_until = 0;
        }
        for member in &self.members {
            member.node.nets.iter().for_each(Net::calm);
        }
        // Whoever died after a promotion is awaited for a whole lease.
        self.live(2 * LEASE_MS)?;
        for (at, member) in self.members.iter().enumerate() {
            if member.standing() != Standing::Live {
                let story = format!("member {at} is {:?} after faults", member.standing());
                return Err(Violation::new(Invariant::I6, story));
            }
        }
        let mut fresh = Vec::new();
        for channel in self.channels.clone() {
            self.uids += 1;
            let at = self.rng.below(self.members.len());
            let publish = message(self.uids, &channel, 10, false);
            self.place(at, publish, self.uids);
            fresh.push((self.uids, channel));
        }
        self.live(3_000)?;
        let (kept, book) = (self.kept(self.master), self.truth.book());
        for reader in &self.readers {
            if let Some((uid, channel)) = fresh.iter().find(|(uid, channel)| !reader.has(*uid, channel)) {
                let acked = book.acknowledged.get(uid);
                let story =
                    format!("{}: {uid} on {channel} did not come (acknowledged: {acked:?})", reader.name);
                return Err(Violation::new(Invariant::I6, story));
            }
            reader.is_settled(&book, &kept)?;
        }
        Ok(())
    }

    fn live(&mut self, ms: u64) -> Verdict {
        let until = self.time.now_ms() + ms;
        while self.time.now_ms() < until {
            for _ in 0..3 {
                for at in 0..self.members.len() {
                    self.members[at].node.nets.iter().for_each(|net| net.arrive(None));
                    if !self.members[at].node.settle() {
                        return Err(Violation::new(Invariant::I6, "a shard turns without an end"));
                    }
                    for number in 0..self.members[at].links().len() {
                        for _ in 0..64 {
                            self.execute(at, number);
                        }
                        for _ in 0..64 {
                            self.members[at].hear(number);
                        }
                    }
                    self.work(at);
                }
                for index in 0..self.readers.len() {
                    self.reader(index)?;
                }
            }
            self.replicate();
            self.pass(25);
        }
        Ok(())
    }

    /// Everybody leaves. Then nothing is held (I7).
    fn part(&mut self) -> Verdict {
        self.readers.iter_mut().for_each(Reader::leave);
        self.live(3_000)?;
        self.members.iter().try_for_each(|member| member.node.is_empty())
    }

    fn event(&mut self, what: &str) {
        let what = format!("{:>7} {what}", self.time.now_ms());
        self.events.push_back(what);
    }

    fn story(&self, violation: &Violation) -> String {
        let named = self.readers.iter().find(|reader| violation.story.starts_with(&reader.name));
        let lines = self.events.iter().chain(named.into_iter().flat_map(|reader| &reader.trace));
        let mut lines: Vec<&String> = lines.collect();
        lines.sort_by_key(|line| line.get(..7).and_then(|time| time.trim().parse::<u64>().ok()));
        lines.into_iter().map(|line| format!("  {line}\n")).collect()
    }
}

fn message(uid: u64, channel: &str, padding: usize, keyed: bool) -> Publish {
    let text = format!("{uid}:{}", "x".repeat(padding));
    Publish {
        channel: Channel::parse(channel).expect("a profile's channels are names"),
        event: None,
        payload: Payload::text(Bytes::from(text)).expect("a String is UTF-8"),
        key: keyed.then(|| Key::parse(&format!("key-{uid}")).expect("visible ASCII")),
        publisher: "one".into(),
        trace: None,
    }
}
