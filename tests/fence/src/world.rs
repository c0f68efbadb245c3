//! The world of the model: servers, nodes and a subscriber, and what every step does to them.

use std::collections::{BTreeMap, BTreeSet};

use crate::store::{Generation, Id, Seq, Store, Uid, Witness};
use crate::{NODES, Rules, SERVERS, Step};

/// One Redis server.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Server {
    store: Store,
    replication: u8,
    /// Whether it takes writes. One that was replaced and does not know it does.
    writable: bool,
}

/// One node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Node {
    alive: bool,
    link: Option<usize>,
    generation: Generation,
    replication: u8,
    /// Replication ids that it has left.
    left: BTreeSet<u8>,
    witnesses: BTreeMap<Generation, Witness>,
}

/// The subscriber.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Subscriber {
    node: Option<usize>,
    cursor: Id,
    heard: BTreeSet<Uid>,
    /// What its gaps cover: of each generation, everything above a seq.
    told: BTreeMap<Generation, Seq>,
    /// Whether a gap came where nothing can have been lost.
    deceived: bool,
}

/// All there is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct World {
    servers: [Server; SERVERS],
    master: usize,
    nodes: [Node; NODES],
    subscriber: Subscriber,
    acknowledged: BTreeMap<Uid, Id>,
    named: BTreeMap<Id, Uid>,
    named_twice: bool,
    /// The newest generation; each is random in truth.
    generation: Generation,
    /// The newest replication id, likewise.
    replication: u8,
    deaths: u8,
}

impl World {
    /// A master with a replica, two nodes linked to it, and a subscriber at the first.
    pub(crate) fn new() -> World {
        let store = Store::new((0..NODES).collect());
        let server = |writable| Server { store: store.clone(), replication: 1, writable };
        let witnesses: BTreeMap<_, _> = [(1, Witness { base: 0, seq: 0 })].into();
        let node =
            Node { alive: true, link: Some(0), generation: 1, replication: 1, witnesses, ..Node::default() };
        let subscriber = Subscriber {
            node: Some(0),
            cursor: store.head(),
            heard: BTreeSet::new(),
            told: BTreeMap::new(),
            deceived: false,
        };
        World {
            servers: [server(true), server(false)],
            master: 0,
            nodes: [node.clone(), node],
            subscriber,
            acknowledged: BTreeMap::new(),
            named: BTreeMap::new(),
            named_twice: false,
            generation: 1,
            replication: 1,
            deaths: 0,
        }
    }

    pub(crate) fn failovers(&self) -> u8 {
        self.replication - 1
    }

    pub(crate) fn publishes(&self) -> u8 {
        u8::try_from(self.acknowledged.len()).unwrap_or(u8::MAX)
    }

    pub(crate) fn deaths(&self) -> u8 {
        self.deaths
    }

    pub(crate) fn names_twice(&self) -> bool {
        self.named_twice
    }

    pub(crate) fn deceives(&self) -> bool {
        self.subscriber.deceived
    }

    pub(crate) fn has_announced(&self) -> bool {
        !self.subscriber.told.is_empty()
    }

    /// Whether the subscriber has every acknowledged message, or was told that it may be missing.
    pub(crate) fn all_is_told(&self) -> bool {
        let Subscriber { heard, told, .. } = &self.subscriber;
        self.acknowledged.iter().all(|(uid, id)| {
            heard.contains(uid) || told.get(&id.generation).is_some_and(|above| id.seq > *above)
        })
    }

    /// Whether there is one master, everybody who lives has reported to it, nobody else is awaited, and the subscriber
    /// is at its head.
    pub(crate) fn is_settled(&self, rules: Rules) -> bool {
        let Server { store, replication, .. } = &self.servers[self.master];
        let here = |node: &Node| node.link == Some(self.master) && node.generation == store.generation;
        (!rules.fence || store.replication == *replication)
            && self.nodes.iter().filter(|node| node.alive).all(here)
            && (!rules.dead_witness || store.awaited.is_empty())
            && !self.servers[1 - self.master].writable
            && self.subscriber.node.is_some()
            && self.subscriber.cursor == store.head()
    }

    /// Takes a step; nothing where it cannot be taken.
    pub(crate) fn take(&mut self, rules: Rules, step: Step) -> Option<()> {
        match step {
            Step::Replicate => self.replicate(),
            Step::FailOver => self.fail_over(),
            Step::Demote => self.demote(),
            Step::Handshake(node, server) => self.handshake(rules, node, server),
            Step::Publish(node) => self.publish(rules, node),
            Step::Deliver => self.deliver(),
            Step::Resume(node) => self.resume(node),
            Step::Die(node) => self.die(node),
            Step::GiveUp(node, dead) => self.give_up(rules, node, dead),
        }
    }

    fn replicate(&mut self) -> Option<()> {
        let replica = self.replica()?;
        self.servers[replica] = Server { writable: false, ..self.servers[self.master].clone() };
        Some(())
    }

    fn fail_over(&mut self) -> Option<()> {
        let replica = self.replica()?;
        self.replication += 1;
        self.servers[replica].replication = self.replication;
        self.servers[replica].writable = true;
        self.master = replica;
        Some(())
    }

    fn demote(&mut self) -> Option<()> {
        let old = 1 - self.master;
        if !self.servers[old].writable {
            return None;
        }
        self.servers[old] = Server { writable: false, ..self.servers[self.master].clone() };
        for node in &mut self.nodes {
            node.link = node.link.filter(|server| *server != old);
        }
        Some(())
    }

    /// The other server, if it follows the master: one that takes itself for a master follows nobody.
    fn replica(&self) -> Option<usize> {
        let other = 1 - self.master;
        (!self.servers[other].writable).then_some(other)
    }

    fn handshake(&mut self, rules: Rules, node: usize, server: usize) -> Option<()> {
        let Server { store, replication, writable } = &mut self.servers[server];
        let dialler = &self.nodes[node];
        if !dialler.alive || !*writable || (rules.no_return && dialler.left.contains(replication)) {
            return None;
        }
        if rules.fence && store.replication != *replication {
            self.generation += 1;
            store.fence(self.generation, *replication);
        }
        if rules.witness {
            let told = dialler.witnesses.iter().filter(|(generation, _)| {
                (rules.every_generation || **generation == dialler.generation)
                    && (rules.dead_generations || store.knows(**generation))
            });
            let lost = told.filter(|(generation, seen)| store.is_lost(**generation, **seen));
            let lost: Vec<Generation> = lost.map(|(generation, _)| *generation).collect();
            if !lost.is_empty() {
                self.generation += 1;
                store.announce(self.generation, lost);
            }
        }
        store.registered.insert(node);
        store.awaited.remove(&node);
        self.enter(node, server);
        Some(())
    }

    /// The node goes by what it finds, and with it the subscriber that it has.
    fn enter(&mut self, node: usize, server: usize) {
        let Server { store, replication, .. } = &self.servers[server];
        let (head, replication) = (store.head(), *replication);
        let one = &mut self.nodes[node];
        if one.replication != replication {
            one.left.insert(one.replication);
        }
        (one.link, one.generation, one.replication) = (Some(server), head.generation, replication);
        one.witnesses.entry(head.generation).or_insert(Witness { base: head.seq, seq: head.seq });
        one.sees(head);
        if self.subscriber.node == Some(node) {
            self.read(server);
        }
    }

    fn publish(&mut self, rules: Rules, node: usize) -> Option<()> {
        let server = self.nodes[node].link?;
        let uid = self.publishes() + 1;
        let Server { store, replication, writable } = &mut self.servers[server];
        let fenced = store.generation != self.nodes[node].generation || store.replication != *replication;
        if !*writable || (rules.fence && fenced) {
            return None;
        }
        store.seq += 1;
        store.log.push((store.seq, uid));
        let id = store.head();
        self.nodes[node].sees(id);
        self.acknowledged.insert(uid, id);
        self.named_twice |= self.named.insert(id, uid).is_some();
        Some(())
    }

    fn deliver(&mut self) -> Option<()> {
        let node = self.subscriber.node?;
        let store = &self.servers[self.nodes[node].link?].store;
        let cursor = self.subscriber.cursor;
        // What comes in another generation is dropped: the node is about to notice.
        if store.generation != self.nodes[node].generation || store.generation != cursor.generation {
            return None;
        }
        let (seq, uid) = *store.log.iter().find(|(seq, _)| *seq > cursor.seq)?;
        self.subscriber.heard.insert(uid);
        self.subscriber.cursor.seq = seq;
        self.nodes[node].sees(self.subscriber.cursor);
        Some(())
    }

    fn resume(&mut self, node: usize) -> Option<()> {
        let server = self.nodes[node].link?;
        if self.servers[server].store.generation != self.nodes[node].generation {
            return None;
        }
        self.subscriber.node = Some(node);
        self.read(server);
        Some(())
    }

    /// Hands the subscriber what it missed, after a gap where one is due.
    fn read(&mut self, server: usize) {
        let store = &self.servers[server].store;
        let reader = &mut self.subscriber;
        let silent = store.passes(reader.cursor);
        if !silent {
            let kept: BTreeSet<Uid> = store.log.iter().map(|(_, uid)| *uid).collect();
            let lost = self.acknowledged.keys().chain(&reader.heard).any(|uid| !kept.contains(uid));
            // A cursor that this server never heard of speaks for itself, and the dead may have known anything.
            reader.deceived |= store.knows(reader.cursor.generation) && !lost && self.deaths == 0;
            for (generation, above) in store.gone_for(reader.cursor) {
                let told = reader.told.entry(generation).or_insert(above);
                *told = above.min(*told);
            }
        }
        let missed = store.log.iter().filter(|(seq, _)| !silent || *seq > reader.cursor.seq);
        reader.heard.extend(missed.map(|(_, uid)| *uid));
        reader.cursor = store.head();
    }

    fn die(&mut self, node: usize) -> Option<()> {
        if !self.nodes[node].alive {
            return None;
        }
        self.deaths += 1;
        self.nodes[node] = Node::default();
        self.subscriber.node = self.subscriber.node.filter(|at| *at != node);
        Some(())
    }

    fn give_up(&mut self, rules: Rules, node: usize, dead: usize) -> Option<()> {
        let server = self.nodes[node].link.filter(|_| rules.dead_witness)?;
        let Server { store, writable, .. } = &mut self.servers[server];
        let fenced = store.generation != self.nodes[node].generation || !*writable;
        if self.nodes[dead].alive || fenced || !store.awaited.remove(&dead) {
            return None;
        }
        store.registered.remove(&dead);
        self.generation += 1;
        store.announce(self.generation, []);
        self.enter(node, server);
        Some(())
    }
}

impl Node {
    fn sees(&mut self, id: Id) {
        if let Some(witness) = self.witnesses.get_mut(&id.generation) {
            witness.seq = witness.seq.max(id.seq);
        }
    }
}
