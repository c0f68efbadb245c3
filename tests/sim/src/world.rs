//! A run: one node, its subscribers and publishers, and everything that happens to them, out of one seed.

use std::cell::Cell;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use bytes::Bytes;
use tidewire_hub::channel::Channel;
use tidewire_hub::message::{EventName, Payload};
use tidewire_hub::position::Position;
use tidewire_hub::publish::{Key, Publish};

use crate::client::{Around, Client};
use crate::kernel::{Net, Time};
use crate::ledger::{Invariant, Ledger, Violation};
use crate::mutant::Mutant;
use crate::node::{Build, Node};
use crate::profile::Profile;
use crate::rng::Rng;
use crate::tally::Tally;

/// A run that failed.
#[derive(Debug)]
pub struct Failure {
    /// What makes it happen again.
    pub seed: u64,
    /// Which invariant, and how.
    pub violation: Violation,
    /// What the subscriber did and heard last.
    pub story: String,
}

/// Runs one seed for so many steps, perhaps with a bug on purpose. What happened is added to `tally`.
///
/// # Errors
/// An invariant that did not hold.
pub fn run(seed: u64, steps: usize, mutant: Option<Mutant>, tally: &Tally) -> Result<(), Failure> {
    let mine = Tally::default();
    let mut world = World::new(seed, mutant, mine.clone());
    // A panic in production code is a finding like any other, and needs its seed as much.
    let outcome = catch_unwind(AssertUnwindSafe(|| world.run(steps)));
    let outcome = outcome.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no words");
        Err(Violation::new(Invariant::I7, format!("panicked: {text}")))
    });
    tally.take_in(&mine);
    outcome.map_err(|violation| Failure { seed, story: world.story(&violation), violation })
}

struct World {
    rng: Rng,
    profile: Profile,
    mutant: Option<Mutant>,
    time: Time,
    ledger: Ledger,
    tally: Tally,
    node: Node,
    clients: Vec<Client>,
    uids: Cell<u64>,
    ticked_ms: u64,
    restarts_left: usize,
    /// The node drains and ends at this time at the latest.
    drains_until: Option<u64>,
    /// Publishes that came with a key, to be repeated before this time. Later they would be new messages with an old
    /// payload, which raw subscribers could not tell apart.
    keyed: VecDeque<(u64, Publish)>,
    calm: bool,
}

type Verdict = Result<(), Violation>;

impl World {
    fn new(seed: u64, mutant: Option<Mutant>, tally: Tally) -> World {
        let mut rng = Rng::new(seed);
        let profile = Profile::new(&mut rng);
        let (time, ledger) = (Time::default(), Ledger::new(&profile.limits));
        let node = start(&profile, mutant, &time, &ledger, &tally, &mut rng);
        let clients = (0..profile.clients)
            .map(|index| Client::new(format!("client {index}"), rng.fork(), &profile))
            .collect();
        World {
            rng,
            restarts_left: profile.restarts,
            profile,
            mutant,
            time,
            ledger,
            tally,
            node,
            clients,
            uids: Cell::new(0),
            ticked_ms: 0,
            drains_until: None,
            keyed: VecDeque::new(),
            calm: false,
        }
    }

    fn run(&mut self, steps: usize) -> Verdict {
        let mut step = 0;
        // A quiet run goes on until a fault has shown itself, within reason: one without would have tried nothing.
        while step < steps || (step < 4 * steps && !self.faults_showed()) {
            self.step()?;
            if self.restarts_left > 0 && step * (self.profile.restarts + 1) > steps * self.spent_restarts() {
                self.restart();
            }
            step += 1;
        }
        self.heal()?;
        self.part()?;
        self.count_what_happened()
    }

    fn faults_showed(&self) -> bool {
        ["seen: ", "resumes", "gaps", "barriers", "slow consumers"]
            .iter()
            .any(|name| self.tally.sum(name) > 0)
    }

    fn spent_restarts(&self) -> usize {
        self.profile.restarts - self.restarts_left + 1
    }

    /// One thing happens.
    fn step(&mut self) -> Verdict {
        match self.rng.below(100) {
            0..=24 => {
                let due = self.node.due();
                if !due.is_empty() {
                    let shard = *self.rng.pick(&due);
                    self.node.turn(shard);
                } else if self.rng.chance(30) {
                    self.tally.count("fault: turn without a cause");
                    let shard = self.rng.below(self.node.nets.len());
                    self.node.turn(shard);
                }
            }
            25..=59 => {
                let index = self.rng.below(self.clients.len());
                for _ in 0..1 + self.rng.below(6) {
                    self.with_client(index, Client::step)?;
                }
            }
            60..=67 if self.rng.chance(self.profile.bustle) => self.publish(),
            60..=67 => {}
            68..=89 => self.node.nets.iter().for_each(|net| net.arrive(Some(self.profile.slice_max))),
            90..=98 => self.pass(1, 40),
            _ if self.rng.chance(150) => {
                self.tally.count("fault: time leaps");
                self.pass(1_000, 20_000);
            }
            _ => self.pass(40, 400),
        }
        self.end_drain();
        self.look_at_the_books()
    }

    fn with_client(
        &mut self,
        index: usize,
        act: impl FnOnce(&mut Client, &Around<'_>) -> Verdict,
    ) -> Verdict {
        let around = Around {
            nets: &self.node.nets,
            ledger: &self.ledger,
            time: &self.time,
            tally: &self.tally,
            profile: &self.profile,
            uids: &self.uids,
            calm: self.calm,
        };
        act(&mut self.clients[index], &around)
    }

    fn pass(&mut self, least_ms: u64, most_ms: u64) {
        self.time.pass(self.rng.range(least_ms, most_ms));
        self.node.sleep();
        if self.time.now_ms() >= self.ticked_ms + 1_000 {
            self.ticked_ms = self.time.now_ms();
            self.node.tick();
        }
    }

    /// Somebody publishes: something new, or what was published before with the same key.
    fn publish(&mut self) {
        let mut publish = self.compose();
        let now_ms = self.time.now_ms();
        self.keyed.retain(|(until, _)| *until > now_ms);
        let known = self.keyed.len();
        let again = known > 0 && self.rng.chance(150);
        if again {
            let (_, before) = self.keyed[self.rng.below(known)].clone();
            let reused = self.rng.chance(300);
            self.tally.count(if reused { "fault: key reused" } else { "fault: publish repeated" });
            // The same key with another payload is refused; the same publish again changes nothing.
            let payload = if reused { publish.payload } else { before.payload };
            publish = Publish { payload, ..before };
        }
        let outcome = self.node.place(publish.clone());
        // A key lives from its first publish on: a repetition does not renew it.
        if !again && outcome.is_some_and(|outcome| outcome.is_ok()) && publish.key.is_some() {
            let ttl_ms = u64::try_from(self.profile.limits.key_ttl.as_millis()).unwrap_or(u64::MAX);
            self.keyed.push_back((now_ms + ttl_ms, publish));
            if self.keyed.len() > 8 {
                self.keyed.pop_front();
            }
        }
    }

    fn compose(&mut self) -> Publish {
        let uid = self.uids.get() + 1;
        self.uids.set(uid);
        let name = self.rng.pick(&self.profile.channels);
        let channel = Channel::parse(name.as_str()).expect("a profile's channels are names");
        let mut text = format!("{uid}");
        let length = self.rng.below(self.profile.payload_max);
        for _ in 0..length.min(40) {
            text.push(*self.rng.pick(&['a', 'ü', '\n', '"', '\r', ' ', ':', '.']));
        }
        text.extend(std::iter::repeat_n('x', length.saturating_sub(40)));
        let payload = if self.rng.chance(200) {
            Payload::binary(Bytes::from(text.into_bytes()))
        } else {
            Payload::text(Bytes::from(text)).expect("a String is UTF-8")
        };
        let event =
            self.rng.chance(200).then(|| EventName::parse("trade").expect("a name of visible letters"));
        let key = self.rng.chance(200).then(|| Key::parse(&format!("key-{uid}")).expect("visible ASCII"));
        let publisher = if self.rng.chance(500) { "one" } else { "other" };
        Publish { channel, event, payload, key, publisher: publisher.into(), trace: None }
    }

    fn restart(&mut self) {
        self.restarts_left -= 1;
        if self.profile.drains {
            self.tally.count("fault: node drained");
            let within = self.rng.range(50, 1_500);
            self.node.drain(Duration::from_millis(within));
            self.drains_until = Some(self.time.now_ms() + 20_000);
        } else {
            self.tally.count("fault: node killed");
            self.node.crash();
            self.begin_life();
        }
    }

    fn end_drain(&mut self) {
        let Some(until) = self.drains_until else { return };
        if self.node.is_over() || self.time.now_ms() >= until {
            self.tally.count(if self.node.is_over() { "drains ended empty" } else { "drains cut short" });
            self.node.crash();
            self.drains_until = None;
            self.begin_life();
        }
    }

    fn begin_life(&mut self) {
        self.count_node();
        self.keyed.clear();
        let rng = &mut self.rng;
        self.node = start(&self.profile, self.mutant, &self.time, &self.ledger, &self.tally, rng);
    }

    /// Faults stop. Three seconds later everybody is back, and what is new reaches every connection (invariant I6).
    fn heal(&mut self) -> Verdict {
        if self.drains_until.take().is_some() {
            self.node.crash();
            self.begin_life();
        }
        self.calm = true;
        self.node.nets.iter().for_each(Net::calm);
        // Whoever is without a connection comes back; whoever is slow is let go.
        self.live(3_000)?;
        let channels = self.profile.channels.clone();
        for _ in 0..8 {
            let mut fresh: Vec<(String, Position)> = Vec::new();
            for channel in &channels {
                let mut publish = self.compose();
                publish.channel = Channel::parse(channel).expect("a profile's channels are names");
                publish.key = None;
                let receipt = self.node.place(publish).and_then(Result::ok);
                let receipt = receipt
                    .ok_or_else(|| Violation::new(Invariant::I6, "a publish is refused after faults"))?;
                let position = receipt.position.expect("no channel here is bridged");
                fresh.push((channel.clone(), position));
            }
            // Nothing is in the way any more, so what takes longer waits for somebody to be woken by chance.
            self.live(300)?;
            for (channel, place) in &fresh {
                for client in &self.clients {
                    client.has_heard(channel, *place)?;
                }
            }
        }
        Ok(())
    }

    /// Lets so much time pass with everybody at ease, and nobody woken without a cause.
    fn live(&mut self, ms: u64) -> Verdict {
        let until = self.time.now_ms() + ms;
        while self.time.now_ms() < until {
            for _ in 0..4 {
                self.node.nets.iter().for_each(|net| net.arrive(None));
                if !self.node.settle() {
                    return Err(Violation::new(Invariant::I6, "a shard turns without an end"));
                }
                for index in 0..self.clients.len() {
                    self.with_client(index, Client::step)?;
                }
            }
            let next = self.node.wake_at().unwrap_or(u64::MAX).saturating_sub(self.time.now_ms());
            let step = next.clamp(1, 25);
            self.pass(step, step);
            self.look_at_the_books()?;
        }
        Ok(())
    }

    /// Everybody leaves. Then nothing is held (invariant I7).
    fn part(&mut self) -> Verdict {
        for index in 0..self.clients.len() {
            self.with_client(index, |client, around| {
                client.leave(around);
                Ok(())
            })?;
        }
        let until = self.time.now_ms() + 120_000;
        while self.time.now_ms() < until && self.node.is_empty().is_err() {
            self.node.nets.iter().for_each(|net| net.arrive(None));
            if !self.node.settle() {
                return Err(Violation::new(Invariant::I7, "a shard turns without an end"));
            }
            let next = self.node.wake_at().unwrap_or(u64::MAX).saturating_sub(self.time.now_ms());
            let step = next.clamp(1, 1_000);
            self.pass(step, step);
        }
        self.node.is_empty()
    }

    fn look_at_the_books(&self) -> Verdict {
        match self.ledger.book().violations.pop() {
            Some(violation) => Err(violation),
            None => Ok(()),
        }
    }

    fn count_node(&self) {
        self.tally.add("barriers", self.node.broker.totals().barriers);
        self.tally.add("messages published", self.node.broker.totals().published);
        self.tally.add("slow consumers", self.node.sum("slow_consumers"));
        self.tally.add("accept pauses", self.node.sum("accept_pauses"));
    }

    /// A run in which nothing went wrong for the code to survive has shown nothing.
    fn count_what_happened(&self) -> Verdict {
        self.count_node();
        let heard = self.clients.iter().map(Client::heard_count);
        let (delivered, repeated) = heard.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        self.tally.add("deliveries", delivered);
        self.tally.add("deliveries repeated", repeated);
        if self.tally.sum("fault: ") == 0 {
            return Err(Violation::new(Invariant::I6, "no fault was injected"));
        }
        if delivered == 0 || !self.faults_showed() {
            return Err(Violation::new(Invariant::I6, "the faults had no visible effect"));
        }
        Ok(())
    }

    fn story(&self, violation: &Violation) -> String {
        let named = self.clients.iter().find(|client| violation.story.starts_with(client.name()));
        let all = || self.clients.iter().map(Client::end_of_story).collect();
        named.map_or_else(all, Client::story) + &self.node.describe()
    }
}

fn start(
    profile: &Profile,
    mutant: Option<Mutant>,
    time: &Time,
    ledger: &Ledger,
    tally: &Tally,
    rng: &mut Rng,
) -> Node {
    let build = Build {
        inbox_messages_max: &profile.inbox_messages_max,
        retention: profile.retention,
        limits: &profile.limits,
        mischief: profile.mischief,
        mutant,
        time,
        ledger,
        tally,
    };
    Node::start(&build, rng)
}
