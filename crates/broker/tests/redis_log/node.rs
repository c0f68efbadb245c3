//! A node in a test's words: its link, what it remembers, and what it goes by.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tidewire_broker::redis::{
    Address, Durability, Endpoint, Error, Fence, History, Log, NodeId, Past, Placing, Request, Slice,
    Timeouts, Verdict,
};
use tidewire_hub::channel::Channel;
use tidewire_hub::limits::{POLL_PAGE, PageLimit, Retention};
use tidewire_hub::message::Payload;
use tidewire_hub::position::{Gen, Position};
use tidewire_hub::publish::{Key, Publish};

use crate::server::Server;

pub(crate) const PREFIX: &str = "tidewire";
pub(crate) const HOUR: Duration = Duration::from_secs(3_600);
pub(crate) const PATIENT: Timeouts =
    Timeouts { dial: Duration::from_secs(5), answer: Duration::from_secs(5) };
pub(crate) const LEASE: Duration = Duration::from_secs(30);

/// A node: its link, what it remembers, and what it goes by.
pub(crate) struct Node {
    pub(crate) log: Log,
    pub(crate) past: Past,
    pub(crate) fence: Fence,
    /// The newest place that it knows of.
    head: u64,
    pub(crate) retention: Retention,
}

impl Node {
    /// A new node at `server`.
    pub(crate) async fn at(server: &Server) -> Node {
        Node::at_url(&server.url()).await
    }

    pub(crate) async fn at_url(url: &str) -> Node {
        let (log, mut past) = (dial(url).await.unwrap(), Past::new(NodeId::from_random(random())));
        let fence = log.handshake(&past, fresh()).await.unwrap();
        past.enter(&fence);
        Node { head: fence.seq, log, past, fence, retention: Retention::default() }
    }

    /// From now on its messages count as placed once a replica has them, which may take this long.
    pub(crate) fn waits_for_a_replica(&mut self, within: Duration) {
        self.log = self.log.clone().with(Durability::Replicated { within });
    }

    /// Goes to `server`, or comes in again where it is.
    pub(crate) async fn comes_to(&mut self, server: &Server) -> Result<(), Error> {
        self.goes_to(&server.url()).await
    }

    /// As [`Node::comes_to`]; it waits for no replica there.
    pub(crate) async fn goes_to(&mut self, url: &str) -> Result<(), Error> {
        self.log = dial(url).await?;
        self.fence = self.log.handshake(&self.past, fresh()).await?;
        self.past.enter(&self.fence);
        self.head = self.fence.seq;
        Ok(())
    }

    pub(crate) async fn publishes(&mut self, publish: &Publish) -> Result<Placing, Error> {
        self.publish_all(&[publish]).await.pop().unwrap()
    }

    pub(crate) async fn publish_all(&mut self, publishes: &[&Publish]) -> Vec<Result<Placing, Error>> {
        let Node { log, past, fence, head, retention } = self;
        let request =
            |publish| Request { publish, time_ms: 1_700_000_000_000, retention: *retention, key_ttl: HOUR };
        let requests: Vec<_> = publishes.iter().map(|publish| request(publish)).collect();
        let outcomes = log.publish(fence, past.node(), &requests).await;
        for outcome in &outcomes {
            if let Ok(Placing::Placed(position)) = outcome {
                past.sees(*position);
                *head = position.seq;
            }
        }
        outcomes
    }

    /// Publishes text that has to be placed, and gives its place.
    pub(crate) async fn places(&mut self, channel: &str, text: &str) -> Position {
        match self.publishes(&message(channel, text)).await {
            Ok(Placing::Placed(position)) => position,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn reads(&self, channels: &[(&str, u64)], page: PageLimit) -> History {
        let wanted: Vec<_> = channels.iter().map(|(name, after)| (channel(name), *after)).collect();
        self.log.read(&self.fence, &wanted, page).await.unwrap()
    }

    pub(crate) async fn slice(&self, channel: &str, after: u64) -> Slice {
        self.reads(&[(channel, after)], POLL_PAGE).await.slices.pop().unwrap()
    }

    pub(crate) async fn renews(&mut self, lease: Duration) -> Result<(u64, u32, u32), Error> {
        let renewed = self.log.renew(&self.fence, self.past.node(), lease, fresh()[0]).await?;
        self.past.sees(Position { generation: self.fence.generation, seq: renewed.seq });
        self.head = renewed.seq;
        Ok((renewed.seq, renewed.nodes, renewed.awaited))
    }

    pub(crate) fn judges(&self, cursor: Position) -> Verdict {
        self.fence.judge(cursor, self.head)
    }
}

pub(crate) async fn dial(url: &str) -> Result<Log, Error> {
    Log::dial(&endpoint(url).await, PREFIX, 0, PATIENT).await
}

/// The server that a URL stands for.
pub(crate) async fn endpoint(url: &str) -> Endpoint {
    Address::parse(url, None).unwrap().master(PATIENT).await.unwrap()
}

pub(crate) fn random() -> u64 {
    RandomState::new().hash_one(0)
}

pub(crate) fn fresh() -> [Gen; 2] {
    [Gen::from_random(random()), Gen::from_random(random())]
}

pub(crate) fn channel(name: &str) -> Channel {
    Channel::parse(name).unwrap()
}

pub(crate) fn message(name: &str, text: &str) -> Publish {
    Publish {
        channel: channel(name),
        event: None,
        payload: Payload::text(Bytes::copy_from_slice(text.as_bytes())).unwrap(),
        key: None,
        publisher: Arc::from("alice"),
        trace: None,
    }
}

pub(crate) fn keyed(name: &str, text: &str, key: &str) -> Publish {
    Publish { key: Key::parse(key), ..message(name, text) }
}

pub(crate) fn seqs(slice: &Slice) -> Vec<(u64, u64)> {
    slice.messages.iter().map(|message| (message.position.seq, message.prev)).collect()
}
