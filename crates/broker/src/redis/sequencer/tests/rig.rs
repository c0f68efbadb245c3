//! A node under the hands of a test, which plays Redis.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use tidewire_hub::admit::{Cause, ConnId, Join, OutletId, Page, Subscribe, Transport};
use tidewire_hub::bridge::Bridged;
use tidewire_hub::broker::Now;
use tidewire_hub::channel::{Channel, ChannelSet};
use tidewire_hub::deliver::{Command, Full, Outlet};
use tidewire_hub::grant::Grant;
use tidewire_hub::limits::{Limits, Retention, Retentions, STREAM_PAGE};
use tidewire_hub::message::Payload;
use tidewire_hub::position::{Cursor, Gen, Position, Start};
use tidewire_hub::publish::{Key, Publish, Receipt};
use tidewire_hub::reason::Reason;

use crate::redis::envelope::encode_body;
use crate::redis::fence::{Ancestor, Fence, NodeId, Replication};
use crate::redis::history::{History, Slice};
use crate::redis::link::Probe;
use crate::redis::sequencer::{Astray, Flush, Read, Sequencer, Session};

/// The generation that a store begins with here.
pub(super) const FIRST: u64 = 1;

#[derive(Default)]
pub(super) struct Inbox {
    commands: Mutex<Vec<Command>>,
    /// Messages that still fit.
    room: Mutex<Option<usize>>,
}

impl Outlet for Inbox {
    fn send(&self, command: Command) -> Result<(), Full> {
        if let (Command::Deliver(_), Some(room)) = (&command, &mut *self.room.lock().unwrap()) {
            *room = room.checked_sub(1).ok_or(Full)?;
        }
        self.commands.lock().unwrap().push(command);
        Ok(())
    }
}

/// One entry of a channel's stream: its seq, the one before it, and its text.
pub(super) type Entry<'t> = (u64, u64, &'t str);

/// What became of publishes, in the order of the answers.
pub(super) type Outcomes = Arc<Mutex<Vec<(String, Result<Receipt, Reason>)>>>;

pub(super) struct Node {
    pub(super) sequencer: Sequencer,
    pub(super) outlet: OutletId,
    pub(super) inbox: Arc<Inbox>,
    pub(super) fence: Fence,
    pub(super) session: Session,
    pub(super) outcomes: Outcomes,
    now: Now,
}

impl Node {
    pub(super) fn new() -> Node {
        Node::with(Limits::default())
    }

    pub(super) fn with(limits: Limits) -> Node {
        Node::keeping(usize::MAX, limits)
    }

    /// One whose channels keep so many messages.
    fn keeping(messages_max: usize, limits: Limits) -> Node {
        let retentions = Retentions::new(Retention { messages_max, ..Retention::default() }, []);
        let now = Now { monotonic_ms: 1_000, wall_ms: 1_700_000_000_000, micros: 0 };
        let (limits, node) = (Arc::new(limits), NodeId::from_random(7));
        let mut sequencer = Sequencer::new(node, &limits, retentions, Arc::default(), now)
            .bridging(Bridged::new(&[channel("bridged")], &[]));
        let inbox = Arc::new(Inbox::default());
        let outlet = sequencer.attach(inbox.clone());
        let (session, outcomes) = (Session::default(), Outcomes::default());
        Node { sequencer, outlet, inbox, fence: fence(FIRST, 0, &[]), session, outcomes, now }
    }

    /// One that is in the log, whose newest message is at `seq`, and hears nothing yet.
    pub(super) fn live_at(seq: u64) -> Node {
        let mut node = Node::new();
        node.enters(fence(FIRST, seq, &[]));
        node.confirms(seq);
        node
    }

    /// One with a stream of these channels, each of which had a message at most at `seq`.
    pub(super) fn streaming(names: &str, seq: u64) -> Node {
        Node::new().with_a_stream(names, seq)
    }

    /// The same, where channels keep so many messages.
    pub(super) fn streaming_few(names: &str, seq: u64, messages_max: usize) -> Node {
        Node::keeping(messages_max, Limits::default()).with_a_stream(names, seq)
    }

    fn with_a_stream(self, names: &str, seq: u64) -> Node {
        let mut node = self;
        node.enters(fence(FIRST, seq, &[]));
        node.confirms(seq);
        node.streams(names, Start::Live);
        node.confirms(seq);
        node.take();
        node
    }

    pub(super) fn enters(&mut self, fence: Fence) {
        self.fence = fence.clone();
        self.session = self.sequencer.entered(fence);
    }

    pub(super) fn loses(&mut self) {
        self.sequencer.lost(self.session, self.now);
    }

    /// Loses the link and comes in again, where nothing has changed but the head.
    pub(super) fn comes_again(&mut self, seq: u64) {
        self.loses();
        self.enters(Fence { seq, ..self.fence.clone() });
        self.confirms(seq);
    }

    /// The link confirms whatever it is asked for, at this head.
    pub(super) fn confirms(&mut self, seq: u64) -> Vec<Channel> {
        let Some(order) = self.sequencer.next_subscriptions() else { return Vec::new() };
        let probe = self.probe(seq);
        self.sequencer.confirmed(&order, &probe, self.now).unwrap();
        order.subscribe
    }

    pub(super) fn probe(&self, seq: u64) -> Probe {
        let head = Some(Position { generation: self.fence.generation, seq });
        Probe { head, is_master: true, replication: self.fence.replication.clone() }
    }

    /// The fence is looked at over the link, which has brought everything up to `seq`.
    pub(super) fn looks(&mut self, seq: u64) -> Result<(), Astray> {
        let (look, probe) = (self.sequencer.look(), self.probe(seq));
        self.sequencer.probed(look, &probe, self.now)
    }

    pub(super) fn hears(&mut self, name: &str, (seq, prev, text): Entry<'_>) -> Result<(), Astray> {
        let generation = self.fence.generation;
        let mut bytes = format!("1 {generation} {seq} {prev} +\n").into_bytes();
        bytes.extend_from_slice(&body(text));
        self.sequencer.heard(self.session, channel(name), bytes.into(), self.now)
    }

    /// The bridge brings a message on the channel `bridged`.
    pub(super) fn relays(&mut self, text: &str) {
        let payload = Payload::text(text.to_owned().into()).unwrap();
        self.sequencer.relay(&channel("bridged"), payload, self.now);
    }

    pub(super) fn subscribes(&mut self, names: &str, start: Start, join: Join, cause: Cause) {
        let subscribe = Subscribe {
            outlet: self.outlet,
            conn: ConnId(7),
            transport: Transport::Sse,
            grant: Arc::new(Grant::everything()),
            channels: ChannelSet::parse(names, 1_000).unwrap(),
            start,
            page: STREAM_PAGE,
            join,
            cause,
        };
        self.sequencer.subscribe(subscribe, self.now);
    }

    pub(super) fn streams(&mut self, names: &str, start: Start) {
        self.subscribes(names, start, Join::WhenCaughtUp, Cause::Arrival(Box::default()));
    }

    pub(super) fn goes_on(&mut self, names: &str, start: Start) {
        self.subscribes(names, start, Join::WhenCaughtUp, Cause::Page);
    }

    /// The next read that it orders, as channels and seqs.
    pub(super) fn orders(&mut self) -> Option<(Read, Vec<(String, u64)>)> {
        let read = self.sequencer.next_read(self.now)?;
        let wanted = read.wanted.iter().map(|(channel, after)| (channel.to_string(), *after)).collect();
        Some((read, wanted))
    }

    /// Answers a read of one channel at `head`. `more` says that the stream has more than `entries`.
    pub(super) fn answers(&mut self, read: &Read, head: u64, base: u64, entries: &[Entry<'_>], more: bool) {
        assert_eq!(read.wanted.len(), 1);
        self.answer(read, head, |_| (Some(base), entries.to_vec(), more));
    }

    /// Answers a read at `head` by what each channel has.
    pub(super) fn answers_all(
        &mut self,
        read: &Read,
        head: u64,
        entries: impl Fn(&str) -> Vec<Entry<'static>>,
    ) {
        self.answer(read, head, |name| (None, entries(name), false));
    }

    /// The same, where a stream may have more.
    pub(super) fn answers_cut(
        &mut self,
        read: &Read,
        head: u64,
        entries: impl Fn(&str) -> (Vec<Entry<'static>>, bool),
    ) {
        self.answer(read, head, |name| {
            let (entries, more) = entries(name);
            (None, entries, more)
        });
    }

    fn answer<'t>(
        &mut self,
        read: &Read,
        head: u64,
        stream: impl Fn(&str) -> (Option<u64>, Vec<Entry<'t>>, bool),
    ) {
        let generation = self.fence.generation;
        let slice = |(channel, after): &(Channel, u64)| {
            let (base, entries, more) = stream(channel.as_str());
            let base = base.or(entries.first().map(|(_, prev, _)| *prev)).unwrap_or(0);
            let last = entries.last().map(|(seq, ..)| *seq).or(Some(base));
            let entries = entries.iter().filter(|(seq, ..)| seq > after);
            let entries: Vec<_> = entries.map(|(seq, prev, text)| (*seq, *prev, body(text))).collect();
            Slice::new((channel, *after), generation, (base, last), entries, more)
        };
        let slices = read.wanted.iter().map(slice).collect();
        let history = History { head: Position { generation, seq: head }, slices };
        self.sequencer.read_done(read, Ok(history), self.now).unwrap();
    }

    /// Carries out the next read, which has to be one of `name` after `after`.
    pub(super) fn reads(&mut self, name: &str, after: u64, head: u64, base: u64, entries: &[Entry<'_>]) {
        let (read, wanted) = self.orders().expect("a read is ordered");
        assert_eq!(wanted, [(name.to_owned(), after)]);
        self.answers(&read, head, base, entries, false);
    }

    pub(super) fn passes(&mut self, ms: u64) {
        self.now.monotonic_ms += ms;
        self.sequencer.pass(self.now);
    }

    pub(super) fn now(&self) -> Now {
        self.now
    }

    pub(super) fn has_room_for(&self, messages: Option<usize>) {
        *self.inbox.room.lock().unwrap() = messages;
    }

    /// Publishes text, perhaps with a key.
    pub(super) fn publishes(&mut self, text: &str, key: Option<&str>) {
        let publish = Publish {
            channel: channel("a"),
            event: None,
            payload: Payload::text(text.to_owned().into()).unwrap(),
            key: key.map(|key| Key::parse(key).unwrap()),
            publisher: "test".into(),
            trace: None,
        };
        let (told, name) = (self.outcomes.clone(), text.to_owned());
        let done = Box::new(move |outcome| told.lock().unwrap().push((name, outcome)));
        self.sequencer.publish(publish, self.now, done);
    }

    /// The texts of the next flush.
    pub(super) fn flushes(&mut self) -> (Flush, Vec<String>) {
        let flush = self.sequencer.next_flush().expect("a flush is ordered");
        let text = |publish: &Publish| publish.payload.as_text().unwrap().to_owned();
        let texts = flush.requests().iter().map(|request| text(request.publish)).collect();
        (flush, texts)
    }

    /// What publishers were told since the last look: the seq, or why not.
    pub(super) fn told(&mut self) -> Vec<(String, Result<u64, Reason>)> {
        self.sequencer.take_finished().into_iter().for_each(|answer| answer());
        let outcomes = std::mem::take(&mut *self.outcomes.lock().unwrap());
        outcomes
            .into_iter()
            .map(|(text, one)| (text, one.map(|receipt| receipt.position.expect("a place in the log").seq)))
            .collect()
    }

    /// What the outlet was told since the last look, a line each.
    pub(super) fn take(&mut self) -> Vec<String> {
        std::mem::take(&mut *self.inbox.commands.lock().unwrap()).iter().map(line).collect()
    }
}

fn line(command: &Command) -> String {
    match command {
        Command::Admit(admit) => {
            let kind = if admit.joined { "joined" } else { "page" };
            let gap = admit.page.gap.as_ref().map(|gap| {
                let channels: Vec<&str> = gap.channels.iter().map(Channel::as_str).collect();
                format!(" gap {} [{}] {}", gap.reason.as_str(), channels.join(","), gap.cursor.seq)
            });
            let messages = texts(&admit.page);
            format!("{kind}{} [{messages}] {}", gap.unwrap_or_default(), admit.page.cursor.seq)
        }
        Command::Refuse { reason, .. } => format!("refused {reason:?}"),
        Command::Deliver(message) => {
            format!("{} @{}", message.payload.as_text().unwrap(), message.position.seq)
        }
        Command::Lost(loss) => {
            let channels: Vec<&str> = loss.channels.keys().map(Channel::as_str).collect();
            format!("lost {} [{}] {}", loss.reason.as_str(), channels.join(","), loss.cursor.seq)
        }
        Command::Position(position) => format!("position {}", position.seq),
        Command::Fence { position, survived: u64::MAX } => format!("fence {}", position.seq),
        Command::Fence { position, survived } => format!("fence {} survived {survived}", position.seq),
        other => panic!("unexpected {other:?}"),
    }
}

pub(super) fn texts(page: &Page) -> String {
    let texts: Vec<&str> = page.messages.iter().map(|one| one.payload.as_text().unwrap()).collect();
    texts.join(" ")
}

pub(super) fn body(text: &str) -> Bytes {
    encode_body(None, &Payload::text(text.to_owned().into()).unwrap(), 5)
}

pub(super) fn channel(name: &str) -> Channel {
    Channel::parse(name).unwrap()
}

/// A place in the first generation.
pub(super) fn after(seq: u64) -> Start {
    after_in(FIRST, seq)
}

pub(super) fn after_in(generation: u64, seq: u64) -> Start {
    Start::After(Cursor::At(Position { generation: Gen::from_random(generation), seq }))
}

/// A log of `generation` at `seq`, in the store that began with [`FIRST`]. Ancestors: generation, base, whether lossy.
pub(super) fn fence(generation: u64, seq: u64, ancestors: &[(u64, u64, bool)]) -> Fence {
    let ancestor =
        |&(generation, base, lossy): &_| Ancestor { generation: Gen::from_random(generation), base, lossy };
    Fence {
        generation: Gen::from_random(generation),
        seq,
        era: Gen::from_random(FIRST),
        replication: Replication::parse(&format!("{generation:040x}")).unwrap(),
        before: None,
        evicts: false,
        lineage: ancestors.iter().map(ancestor).collect(),
    }
}
