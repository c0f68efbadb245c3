//! What Redis keeps, and what the scripts decide by it (`crates/broker/src/redis/scripts`).

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use tidewire_broker::redis::{
    Ancestor, Error, Fence, History, Lease, NodeId, Past, Placing, Probe, Replication, Slice,
};
use tidewire_hub::channel::Channel;
use tidewire_hub::limits::PageLimit;
use tidewire_hub::position::{Gen, Position};

/// All that is replicated.
#[derive(Clone, Debug, Default)]
pub(super) struct Store {
    fence: Option<Hash>,
    lineage: VecDeque<Ancestor>,
    awaited: BTreeSet<String>,
    dead: Vec<Gen>,
    pub(super) streams: BTreeMap<(u64, Channel), VecDeque<Entry>>,
    records: BTreeMap<(u64, Channel), u64>,
    keys: BTreeMap<(u64, String), (Position, Bytes)>,
}

/// The fence hash.
#[derive(Clone, Debug)]
struct Hash {
    generation: Gen,
    open: Option<Gen>,
    seq: u64,
    era: Gen,
    replication: Replication,
    /// When each node renewed its lease.
    nodes: BTreeMap<String, u64>,
}

/// An entry of a stream.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) seq: u64,
    prev: u64,
    pub(super) body: Bytes,
}

/// The server that a script runs on.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) replication: Replication,
    pub(super) before: Option<Replication>,
    pub(super) is_master: bool,
    pub(super) now_ms: u64,
}

/// One message of a flush.
#[derive(Clone, Debug)]
pub(super) struct Write {
    pub(super) channel: Channel,
    pub(super) body: Bytes,
    pub(super) messages_max: usize,
    /// Publisher, channel and key as one word: the model needs no care with separators.
    pub(super) key: Option<String>,
}

/// What a publish tells over Pub/Sub.
pub(super) struct Told {
    pub(super) channel: Channel,
    pub(super) bytes: Bytes,
    pub(super) position: Position,
}

/// Cannot go wrong: a generation is a number in base 36, and only tells eras apart here.
fn number(generation: Gen) -> u64 {
    generation
        .to_string()
        .bytes()
        .fold(0, |sum, byte| sum * 36 + u64::from((byte as char).to_digit(36).unwrap_or(0)))
}

impl Store {
    /// The keys of the era that is now.
    pub(super) fn era(&self) -> u64 {
        self.fence.as_ref().map_or(0, |fence| number(fence.era))
    }

    pub(super) fn stream(&self, channel: &Channel) -> impl Iterator<Item = &Entry> {
        self.streams.get(&(self.era(), channel.clone())).into_iter().flatten()
    }

    /// `handshake.lua`.
    pub(super) fn handshake(&mut self, at: &Place, past: &Past, fresh: [Gen; 2]) -> Result<Fence, Error> {
        if !at.is_master {
            return Err(Error::ReadOnly);
        }
        if past.left().any(|left| *left == at.replication) {
            return Err(Error::Left);
        }
        let witnesses: Vec<_> = past.witnesses().copied().collect();
        match &mut self.fence {
            None => {
                let generation = fresh[0];
                *self = Store { streams: std::mem::take(&mut self.streams), ..Store::default() };
                self.dead = witnesses.iter().map(|witness| witness.generation).collect();
                self.fence = Some(Hash {
                    generation,
                    open: None,
                    seq: 0,
                    era: generation,
                    replication: at.replication.clone(),
                    nodes: BTreeMap::new(),
                });
            }
            Some(fence) => {
                if fence.replication != at.replication {
                    for renewed in fence.nodes.values_mut() {
                        *renewed = at.now_ms;
                    }
                    self.awaited = fence.nodes.keys().cloned().collect();
                    self.begin(fresh[0], false);
                }
                let (mut gone, mut unknown) = (false, Vec::new());
                for witness in &witnesses {
                    match self.passes(witness.generation, witness.seq) {
                        None if witness.seq > witness.base && !self.dead.contains(&witness.generation) => {
                            gone = true;
                            unknown.push(witness.generation);
                        }
                        Some(false) if self.passes(witness.generation, 0) == Some(true) => gone = true,
                        _ => {}
                    }
                }
                if gone {
                    self.begin(fresh[1], true);
                    self.dead.extend(unknown);
                }
            }
        }
        let node = past.node().to_string();
        self.awaited.remove(&node);
        let fence = self.fence.as_mut().ok_or(Error::Fenced)?;
        fence.open = Some(fence.generation);
        fence.replication = at.replication.clone();
        fence.nodes.insert(node, at.now_ms);
        Ok(Fence {
            generation: fence.generation,
            seq: fence.seq,
            era: fence.era,
            replication: fence.replication.clone(),
            before: at.before.clone(),
            evicts: false,
            lineage: self.lineage.iter().copied().collect(),
        })
    }

    /// `publish.lua`. `compares` is the first of a flush.
    pub(super) fn publish(
        &mut self,
        at: &Place,
        by: &Fence,
        node: NodeId,
        write: &Write,
        compares: bool,
    ) -> (Result<Placing, Error>, Option<Told>) {
        if !at.is_master {
            return (Err(Error::ReadOnly), None);
        }
        let era = number(by.era);
        let Some(fence) = &mut self.fence else { return (Err(Error::Fenced), None) };
        if fence.open != Some(by.generation) || !fence.nodes.contains_key(&node.to_string()) {
            return (Err(Error::Fenced), None);
        }
        if compares && at.replication != by.replication {
            fence.open = None;
            return (Err(Error::Fenced), None);
        }
        let key = write.key.clone().map(|key| (era, key));
        if let Some((position, body)) = key.as_ref().and_then(|key| self.keys.get(key)) {
            // The fingerprint covers payload and event; the time stands in the bytes before.
            let same = body.get(10..) == write.body.get(10..);
            return (Ok(if same { Placing::Repeated(*position) } else { Placing::KeyReused }), None);
        }
        let at = (era, write.channel.clone());
        let last = self.records.get(&at).copied();
        let (chained, prev) = (if last.is_some() { '+' } else { '-' }, last.unwrap_or(0));
        fence.seq += 1;
        let (seq, generation) = (fence.seq, by.generation);
        let stream = self.streams.entry(at.clone()).or_default();
        if write.messages_max == 0 {
            stream.clear();
        } else {
            stream.push_back(Entry { seq, prev, body: write.body.clone() });
            while stream.len() > write.messages_max {
                stream.pop_front();
            }
        }
        self.records.insert(at, seq);
        let position = Position { generation, seq };
        if let Some(key) = key {
            self.keys.insert(key, (position, write.body.clone()));
        }
        let mut bytes = format!("1 {generation} {seq} {prev} {chained}\n").into_bytes();
        bytes.extend_from_slice(&write.body);
        let told = Told { channel: write.channel.clone(), bytes: bytes.into(), position };
        (Ok(Placing::Placed(position)), Some(told))
    }

    /// `history.lua`.
    pub(super) fn history(
        &self,
        at: &Place,
        by: &Fence,
        wanted: &[(Channel, u64)],
        page: PageLimit,
    ) -> Result<History, Error> {
        let head = self.read_by(at, by)?;
        let (messages_max, bytes_max) =
            ((page.messages_max / wanted.len()).max(1), page.bytes_max / wanted.len());
        let slice = |(channel, after): &(Channel, u64)| {
            let of = (number(by.era), channel.clone());
            let (stream, last) = (self.streams.get(&of), self.records.get(&of).copied());
            let first = stream.and_then(VecDeque::front);
            let base = first.map(|entry| entry.prev).or(last).unwrap_or(0);
            let (mut entries, mut bytes, mut more) = (Vec::new(), 0, false);
            for entry in stream.into_iter().flatten().filter(|entry| entry.seq > *after) {
                if !entries.is_empty()
                    && (entries.len() >= messages_max || bytes + entry.body.len() > bytes_max)
                {
                    more = true;
                    break;
                }
                bytes += entry.body.len();
                entries.push((entry.seq, entry.prev, entry.body.clone()));
            }
            Slice::new((channel, *after), by.generation, (base, last), entries, more)
        };
        Ok(History { head, slices: wanted.iter().map(slice).collect() })
    }

    /// `tail.lua`.
    pub(super) fn tail(
        &self,
        at: &Place,
        by: &Fence,
        channels: &[Channel],
        count: usize,
    ) -> Result<u64, Error> {
        let head = self.read_by(at, by)?;
        let mut seqs: Vec<u64> =
            channels.iter().flat_map(|channel| self.stream(channel)).map(|entry| entry.seq).collect();
        seqs.sort_unstable_by(|one, other| other.cmp(one));
        seqs.truncate(count);
        Ok(seqs.last().map_or(head.seq, |seq| seq - 1))
    }

    /// `lease.lua`.
    pub(super) fn renew(
        &mut self,
        at: &Place,
        by: &Fence,
        node: NodeId,
        lease_ms: u64,
        fresh: Gen,
    ) -> Result<Lease, Error> {
        if !at.is_master {
            return Err(Error::ReadOnly);
        }
        let Some(fence) = self.fence.as_mut() else { return Err(Error::Fenced) };
        let node = node.to_string();
        if fence.open != Some(by.generation)
            || !fence.nodes.contains_key(&node)
            || at.replication != by.replication
        {
            return Err(Error::Fenced);
        }
        fence.nodes.insert(node, at.now_ms);
        let over: Vec<String> = fence
            .nodes
            .iter()
            .filter(|(_, renewed)| at.now_ms.saturating_sub(**renewed) > lease_ms)
            .map(|(node, _)| node.clone())
            .collect();
        let mut lost = false;
        for node in over {
            lost |= self.awaited.remove(&node);
            fence.nodes.remove(&node);
        }
        if lost {
            self.begin(fresh, true);
            if let Some(fence) = &mut self.fence {
                fence.open = Some(fence.generation);
            }
            return Err(Error::Fenced);
        }
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        Ok(Lease { seq: fence.seq, nodes: count(fence.nodes.len()), awaited: count(self.awaited.len()) })
    }

    /// `probe.lua`.
    pub(super) fn probe(&self, at: &Place) -> Probe {
        let head = self.fence.as_ref().map(|fence| Position { generation: fence.generation, seq: fence.seq });
        Probe { head, is_master: at.is_master, replication: at.replication.clone() }
    }

    fn read_by(&self, at: &Place, by: &Fence) -> Result<Position, Error> {
        let fence = self.fence.as_ref().ok_or(Error::Fenced)?;
        let is_right = fence.open == Some(by.generation) && at.is_master && at.replication == by.replication;
        is_right.then_some(Position { generation: by.generation, seq: fence.seq }).ok_or(Error::Fenced)
    }

    fn begin(&mut self, generation: Gen, lossy: bool) {
        let Some(fence) = &mut self.fence else { return };
        self.lineage.push_front(Ancestor { generation: fence.generation, base: fence.seq, lossy });
        self.lineage.truncate(128);
        fence.generation = generation;
    }

    /// Whether a cursor goes on in silence; nothing where its generation is not known.
    fn passes(&self, generation: Gen, seq: u64) -> Option<bool> {
        let fence = self.fence.as_ref()?;
        if generation == fence.generation {
            return Some(seq <= fence.seq);
        }
        let mut silent = true;
        for ancestor in &self.lineage {
            silent &= !ancestor.lossy;
            if ancestor.generation == generation {
                return Some(silent && seq <= ancestor.base);
            }
        }
        None
    }
}
