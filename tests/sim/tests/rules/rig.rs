//! A node of few shards and the hands to move it.

use std::cell::RefCell;
use std::time::Duration;

use bytes::Bytes;
use tidewire_hub::channel::Channel;
use tidewire_hub::limits::{Limits, Retention};
use tidewire_hub::message::Payload;
use tidewire_hub::position::Position;
use tidewire_hub::publish::{Key, Publish};
use tidewire_hub::reason::Reason;
use tidewire_sim::ear::{Dialect, Ear, SseStyle};
use tidewire_sim::heard::{Content, Heard};
use tidewire_sim::kernel::{Mischief, Net, Time};
use tidewire_sim::ledger::Ledger;
use tidewire_sim::node::{Build, Node};
use tidewire_sim::rng::Rng;
use tidewire_sim::socket::{Fd, Received, Sock};
use tidewire_sim::speech::{self, Head};
use tidewire_sim::tally::Tally;

/// What a rig is made of.
pub struct Setup {
    pub limits: Limits,
    pub retention: Retention,
    pub inboxes: Vec<usize>,
}

/// A node under the hands of a test.
pub struct Rig {
    pub node: Node,
    time: Time,
    ticked_ms: u64,
}

/// One connection, as its client holds it.
pub struct Peer {
    net: Net,
    pub fd: Fd,
    ear: RefCell<Ear>,
}

/// Bytes of send buffer that hold everything.
pub const ROOMY: usize = 64 << 20;

impl Rig {
    /// One shard with the bounds of production.
    pub fn new() -> Rig {
        Rig::with(|_| {})
    }

    /// The same with other bounds.
    pub fn with(change: impl FnOnce(&mut Setup)) -> Rig {
        let mut setup =
            Setup { limits: Limits::default(), retention: Retention::default(), inboxes: vec![16_384] };
        change(&mut setup);
        let (time, ledger, tally) = (Time::default(), Ledger::new(&setup.limits), Tally::default());
        let build = Build {
            inbox_messages_max: &setup.inboxes,
            retention: setup.retention,
            limits: &setup.limits,
            mischief: Mischief::default(),
            mutant: None,
            time: &time,
            ledger: &ledger,
            tally: &tally,
        };
        let node = Node::start(&build, &mut Rng::new(1));
        let mut rig = Rig { node, time, ticked_ms: 0 };
        rig.settle();
        rig
    }

    /// Opens a connection to one shard with `room` bytes of send buffer, and sends nothing yet.
    pub fn connect(&mut self, shard: usize, dialect: Dialect, room: usize) -> Peer {
        let net = self.node.nets[shard].clone();
        let fd = net.connect(room).expect("the listener is open");
        Peer { net, fd, ear: RefCell::new(Ear::new(dialect)) }
    }

    /// Opens a connection to the first shard, sends `head`, and lets the node answer.
    pub fn ask(&mut self, dialect: Dialect, head: &Head) -> Peer {
        let peer = self.connect(0, dialect, ROOMY);
        self.say(&peer, &head.bytes());
        peer
    }

    /// An SSE stream of these channels, joined by commas.
    pub fn sse(&mut self, channels: &str) -> Peer {
        self.sse_with(channels, |head| head)
    }

    /// The same, with more in its head.
    pub fn sse_with(&mut self, channels: &str, more: impl FnOnce(Head) -> Head) -> Peer {
        let style = if channels.contains(',') { SseStyle::Multi } else { SseStyle::Single };
        self.ask(Dialect::Sse(style), &more(head(channels).sse()))
    }

    /// A raw WebSocket.
    pub fn raw(&mut self, channels: &str) -> Peer {
        self.ask(Dialect::Raw, &head(channels).websocket(false))
    }

    /// A `tidewire.v1` WebSocket.
    pub fn v1(&mut self, channels: &str) -> Peer {
        self.ask(Dialect::V1, &head(channels).websocket(true))
    }

    /// A poll.
    pub fn poll(&mut self, channels: &str, query: &str) -> Peer {
        self.ask(Dialect::Poll, &head(channels).query(query))
    }

    /// Sends bytes, and lets the node answer.
    pub fn say(&mut self, peer: &Peer, bytes: &[u8]) {
        peer.net.client(peer.fd, |socket| socket.send(bytes));
        self.settle();
    }

    /// Sends a text frame.
    pub fn speak(&mut self, peer: &Peer, text: &str) {
        self.say(peer, &speech::frame(speech::TEXT, text.as_bytes()));
    }

    /// Publishes text.
    pub fn publish(&mut self, channel: &str, text: &str) -> Position {
        let place = self.publish_quietly(channel, text);
        self.settle();
        place
    }

    /// Publishes text, and lets no shard make a turn.
    pub fn publish_quietly(&self, channel: &str, text: &str) -> Position {
        self.try_publish(channel, text, None).expect("a publish without a reason to refuse it")
    }

    /// Publishes text, perhaps with a key.
    pub fn try_publish(&self, channel: &str, text: &str, key: Option<&str>) -> Result<Position, Reason> {
        let publish = Publish {
            channel: Channel::parse(channel).unwrap(),
            event: None,
            payload: Payload::text(Bytes::from(text.to_owned())).unwrap(),
            key: key.map(|key| Key::parse(key).unwrap()),
            publisher: "test".into(),
            trace: None,
        };
        let outcome = self.node.place(publish);
        outcome
            .expect("the memory broker answers at once")
            .map(|receipt| receipt.position.expect("a message of the log has a place"))
    }

    /// Lets every shard do what it has to do.
    pub fn settle(&mut self) {
        self.node.nets.iter().for_each(|net| net.arrive(None));
        assert!(self.node.settle(), "a shard turns without an end");
    }

    /// Lets time pass, second by second at most, and everything that is due happen.
    pub fn pass(&mut self, time: Duration) {
        let until = self.time.now_ms() + u64::try_from(time.as_millis()).unwrap();
        while self.time.now_ms() < until {
            let next = self.node.wake_at().unwrap_or(u64::MAX).min(until).saturating_sub(self.time.now_ms());
            self.time.pass(next.clamp(1, 1_000));
            self.node.sleep();
            if self.time.now_ms() >= self.ticked_ms + 1_000 {
                self.ticked_ms = self.time.now_ms();
                self.node.tick();
            }
            self.settle();
        }
    }

    /// Lets time pass in which the loop is busy with something else.
    pub fn stall(&mut self, time: Duration) {
        self.time.pass(u64::try_from(time.as_millis()).unwrap());
    }

    /// What a counter of the first shard says.
    pub fn counter(&self, name: &str) -> u64 {
        self.node.counter(0, name)
    }

    /// Who listens to a channel, over any transport.
    pub fn receivers(&self, channel: &str) -> u32 {
        let channels = self.node.broker.channels(usize::MAX);
        let info = channels.iter().find(|info| info.channel.as_str() == channel);
        info.map_or(0, |info| info.receivers.sse + info.receivers.ws + info.receivers.poll)
    }
}

impl Peer {
    /// What has arrived, as bytes.
    pub fn bytes(&self) -> Vec<u8> {
        match self.net.client(self.fd, |socket| socket.receive(usize::MAX)) {
            Received::Bytes(bytes) => bytes,
            _ => Vec::new(),
        }
    }

    /// What has arrived, as one line each: `ready 3`, `one @1`, `gap trimmed [a] 4`, `closed 4408 …`.
    pub fn hears(&self) -> Vec<String> {
        let bytes = self.bytes();
        let heard = self.ear.borrow_mut().hear(&bytes).unwrap_or_else(|broken| panic!("{broken}"));
        heard.iter().filter_map(line).collect()
    }

    /// The same while the node goes on writing into a small send buffer.
    pub fn hears_all(&self, rig: &mut Rig) -> Vec<String> {
        let mut all = Vec::new();
        loop {
            let before = self.waiting();
            all.extend(self.hears());
            rig.settle();
            if before == 0 && self.waiting() == 0 {
                return all;
            }
        }
    }

    /// Whether the server has ended its half, or closed.
    pub fn is_ended(&self) -> bool {
        self.net.client(self.fd, |socket| socket.has_finished() || socket.is_closed())
    }

    /// Whether the server has closed.
    pub fn is_closed(&self) -> bool {
        self.net.client(self.fd, |socket| socket.is_closed())
    }

    /// Ends the client's half.
    pub fn finish(&self, rig: &mut Rig) {
        self.net.client(self.fd, Sock::finish);
        rig.settle();
    }

    /// Sends bytes. No shard makes a turn.
    pub fn send_quietly(&self, bytes: &[u8]) {
        self.net.client(self.fd, |socket| socket.send(bytes));
    }

    /// Lets the send buffer take nothing for a while.
    pub fn refuse_writes(&self, rig: &Rig, time: Duration) {
        let until = rig.time.now_ms() + u64::try_from(time.as_millis()).unwrap();
        self.net.client(self.fd, |socket| socket.refuse_until(until));
    }

    /// Breaks the connection. No shard makes a turn.
    pub fn reset_quietly(&self) {
        self.net.client(self.fd, Sock::reset);
    }

    fn waiting(&self) -> usize {
        self.net.client(self.fd, |socket| socket.waiting())
    }
}

/// The head of a request for these channels, joined by commas.
pub fn head(channels: &str) -> Head {
    Head::new(&[channels.to_owned()])
}

fn line(heard: &Heard) -> Option<String> {
    let seq = |place: Option<Position>| place.map_or("-".into(), |place| place.seq.to_string());
    Some(match heard {
        Heard::Opened => return None,
        Heard::Ready { cursor, .. } => format!("ready {}", seq(*cursor)),
        Heard::Message(seen) => {
            let text = match &seen.content {
                Content::Text(text) | Content::Shown(text) => text.clone(),
                Content::Binary(bytes) => format!("{bytes:?}"),
            };
            format!("{text} @{}", seq(seen.id))
        }
        Heard::Heartbeat(place) => format!("heartbeat {}", place.seq),
        Heard::Gap(gap) => {
            let channels = gap.channels.clone().unwrap_or_default().join(",");
            format!("gap {} [{channels}] {}", gap.reason.as_deref().unwrap_or("-"), gap.cursor.seq)
        }
        Heard::Page(page) => {
            let messages = page.messages.iter().filter_map(|seen| line(&Heard::Message(seen.clone())));
            let gap = page.gap.clone().and_then(|gap| line(&Heard::Gap(gap)));
            let parts: Vec<String> = gap.into_iter().chain(messages).collect();
            format!(
                "page {}[{}] {}",
                if page.more { "and more " } else { "" },
                parts.join(", "),
                seq(page.cursor)
            )
        }
        Heard::NotModified => "not modified".into(),
        Heard::Ack(value) => value["type"].as_str().unwrap_or_default().to_owned(),
        Heard::Ping(_) => "ping".into(),
        Heard::Closed(code, reason) => format!("closed {code} {reason}"),
        Heard::Ended => "ended".into(),
        Heard::Refused(status, code) => format!("refused {status} {code}"),
    })
}
