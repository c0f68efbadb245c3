//! What history must still hold: computed again from what was published, and never asked of the code under test.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use tidewire_hub::limits::{Limits, Retention};
use tidewire_hub::message::Message;

/// The memory of one life of the log, as `docs/protocol.md` and the limits describe it.
#[derive(Debug)]
pub struct Kept {
    messages_max: usize,
    ttl_ms: u64,
    bytes_max: usize,
    bytes: usize,
    order: VecDeque<Placed>,
    channels: BTreeMap<String, Channel>,
}

#[derive(Debug, Default)]
struct Channel {
    kept: VecDeque<(u64, usize)>,
    base: u64,
}

#[derive(Debug)]
struct Placed {
    seq: u64,
    at_ms: u64,
    channel: String,
}

impl Kept {
    /// Nothing, under these rules.
    #[must_use]
    pub fn new(limits: &Limits, retention: Retention) -> Kept {
        Kept {
            messages_max: retention.messages_max,
            ttl_ms: u64::try_from(retention.ttl.min(Duration::from_secs(1 << 40)).as_millis())
                .unwrap_or(u64::MAX),
            bytes_max: limits.memory_budget / 4 * 3,
            bytes: 0,
            order: VecDeque::new(),
            channels: BTreeMap::new(),
        }
    }

    /// A message has its place.
    pub fn place(&mut self, channel: &str, seq: u64, payload_len: usize, now_ms: u64) {
        let cost = payload_len + size_of::<Message>() + 64;
        self.order.push_back(Placed { seq, at_ms: now_ms, channel: channel.to_owned() });
        let log = self.channels.entry(channel.to_owned()).or_default();
        log.kept.push_back((seq, cost));
        self.bytes += cost;
        while log.kept.len() > self.messages_max {
            self.bytes -= log.forget_oldest();
        }
        while self.bytes > self.bytes_max {
            self.forget_front();
        }
    }

    /// Time has passed, and somebody looked.
    pub fn tick(&mut self, now_ms: u64) {
        while self.order.front().is_some_and(|placed| placed.at_ms + self.ttl_ms <= now_ms) {
            self.forget_front();
        }
    }

    /// Everything on `channel` up to this seq is forgotten, everything above it is kept.
    #[must_use]
    pub fn base(&self, channel: &str) -> u64 {
        self.channels.get(channel).map_or(0, |log| log.base)
    }

    fn forget_front(&mut self) {
        let Some(placed) = self.order.pop_front() else { return };
        let Some(log) = self.channels.get_mut(&placed.channel) else { return };
        while log.kept.front().is_some_and(|(seq, _)| *seq <= placed.seq) {
            self.bytes -= log.forget_oldest();
        }
    }
}

impl Channel {
    fn forget_oldest(&mut self) -> usize {
        let (seq, cost) = self.kept.pop_front().unwrap_or_default();
        self.base = self.base.max(seq);
        cost
    }
}
