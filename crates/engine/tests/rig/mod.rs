//! One shard over sockets in memory, and a control plane that asks a real partition. The test is the client, and time
//! stands still unless the test lets it pass.

#![allow(clippy::unwrap_used, reason = "a test may unwrap: its panic is its report")]
#![allow(dead_code, reason = "each test file takes what it needs of it")]

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use tidewire_engine::kernel::{Kernel, Ready};
use tidewire_engine::shard::{Parts, Shard};
use tidewire_engine::{Control, Counters, Event, Inbox, Proxies};
use tidewire_hub::admit::{Cause, ConnId, GapReason, Join, Loss, Subscribe, Transport};
use tidewire_hub::bridge::Bridged;
use tidewire_hub::broker::Now;
use tidewire_hub::channel::Channel;
use tidewire_hub::deliver::{Command, Outlet as _};
use tidewire_hub::grant::Grant;
use tidewire_hub::limits::{Limits, POLL_PAGE, Retentions, STREAM_PAGE};
use tidewire_hub::message::Payload;
use tidewire_hub::partition::Partition;
use tidewire_hub::position::{Cursor, Gen, Position, Start};
use tidewire_hub::publish::Publish;
use tidewire_hub::reason::Reason;
use tidewire_hub::survey::{Survey, Surveyed};
use tidewire_transport::request::Wants;
use tidewire_transport::v1::{self, ClientFrame};

/// Who asks for this channel meets a panic.
pub const PANIC: &str = "panic";

/// The one bridged channel.
pub const BRIDGED: &str = "bridged";

/// A shard, its log, and the clients that came.
pub struct Rig {
    shard: Shard<Memory>,
    pub counters: Arc<Counters>,
    pub plane: Arc<Plane>,
    /// Connections that were handed off, in order.
    pub handed_off: Rc<RefCell<Vec<HandedOff>>>,
    partition: Arc<Mutex<Partition>>,
    arrivals: Rc<RefCell<VecDeque<Wire>>>,
    changed: Rc<RefCell<Vec<Change>>>,
    now_ms: Rc<RefCell<u64>>,
    paused: bool,
}

impl Rig {
    pub fn new(limits: Limits) -> Rig {
        Rig::behind(limits, None)
    }

    /// The same where these proxies may stand in front.
    pub fn behind(limits: Limits, proxies: Option<Arc<dyn Proxies>>) -> Rig {
        let limits = Arc::new(limits);
        let inbox = Inbox::new(&limits);
        let mut partition =
            Partition::new(Gen::from_random(7), &limits, Retentions::default(), Arc::default())
                .bridging(Bridged::new(&[Channel::parse(BRIDGED).unwrap()], &[]));
        let outlet = partition.attach(inbox.clone());
        let partition = Arc::new(Mutex::new(partition));
        let plane = Arc::new(Plane::new(partition.clone(), inbox.clone()));
        let control = plane.clone();
        let counters = Arc::<Counters>::default();
        let (arrivals, changed, now_ms) = (Rc::default(), Rc::default(), Rc::default());
        let handed_off = Rc::default();
        let kernel = Memory {
            arrivals: Rc::clone(&arrivals),
            changed: Rc::clone(&changed),
            now_ms: Rc::clone(&now_ms),
            handed_off: Rc::clone(&handed_off),
        };
        let parts = Parts {
            outlet,
            inbox,
            control,
            limits,
            counters: counters.clone(),
            seed: 7,
            explain: false,
            proxies,
        };
        Rig {
            shard: Shard::new(kernel, parts),
            counters,
            plane,
            handed_off,
            partition,
            arrivals,
            changed,
            now_ms,
            paused: false,
        }
    }

    /// Publishes `count` payloads of `bytes` bytes.
    pub fn publish(&self, channel: &str, count: usize, bytes: usize) {
        for _ in 0..count {
            publish(&self.partition, channel, &vec![b'x'; bytes]);
        }
    }

    /// A text comes over the bridge.
    pub fn relay(&mut self, text: &str) {
        self.relay_all(&[text]);
    }

    /// Several come at once.
    pub fn relay_all(&mut self, texts: &[&str]) {
        let channel = Channel::parse(BRIDGED).unwrap();
        for text in texts {
            let payload = Payload::text((*text).to_owned().into()).unwrap();
            self.partition.lock().unwrap().relay(&channel, payload, Now::default());
        }
        self.turns();
    }

    /// The bridge is disturbed.
    pub fn disturb(&mut self) {
        self.partition.lock().unwrap().disturbed(&[Channel::parse(BRIDGED).unwrap()]);
        self.turns();
    }

    /// What is missing on `channel` is told, by a log of generation `generation`, of which the shard has not heard yet.
    pub fn lose(&mut self, channel: &str, generation: u64) {
        let cursor = Position { generation: Gen::from_random(generation), seq: 0 };
        let channels = BTreeMap::from([(Channel::parse(channel).unwrap(), u64::MAX)]);
        let loss = Loss { reason: GapReason::StoreReset, channels, cursor };
        self.plane.inbox.send(Command::Lost(Arc::new(loss))).unwrap();
        self.turns();
    }

    /// Asks the shard who is connected, from place `from` on.
    pub fn survey(&mut self, from: usize, channel: Option<&str>) -> Surveyed {
        let (answer, answered) = std::sync::mpsc::channel();
        let channel = channel.map(|channel| Channel::parse(channel).unwrap());
        let survey = Survey::new(from, channel, Box::new(move |surveyed| answer.send(surveyed).unwrap()));
        self.plane.inbox.send(Command::Survey(Arc::new(survey))).unwrap();
        self.turns();
        answered.try_recv().unwrap()
    }

    /// Ends a connection as the console does.
    pub fn close(&mut self, conn: ConnId, reason: Reason) {
        self.plane.inbox.send(Command::Close { conn, reason }).unwrap();
        self.turns();
    }

    /// Tells the shard how far it has been fed.
    pub fn tick(&mut self) {
        self.partition.lock().unwrap().tick(Now::default());
        self.turns();
    }

    /// A client that has sent `bytes` and takes `room` bytes of what is written to it.
    pub fn client(&mut self, bytes: &[u8], room: usize) -> Client {
        let wire = Wire::default();
        wire.0.borrow_mut().inward.extend(bytes);
        wire.0.borrow_mut().room = room;
        self.arrivals.borrow_mut().push_back(wire.clone());
        if !self.paused {
            self.turns();
        }
        Client { wire, changed: Rc::clone(&self.changed) }
    }

    /// Connections that come from now on wait until [`Rig::go_on`].
    pub fn pause(&mut self) {
        self.paused = true;
    }

    pub fn go_on(&mut self) {
        self.paused = false;
    }

    /// Turns the loop once.
    pub fn turn(&mut self) {
        self.shard.turn();
    }

    /// Turns the loop often enough for everything that can happen without time.
    pub fn turns(&mut self) {
        for _ in 0..64 {
            self.shard.turn();
        }
    }

    /// What the loop's thread does after a panic.
    pub fn cut(&mut self) {
        self.shard.cut();
    }

    /// How many subscribers the log knows of.
    pub fn subscribers(&self) -> u32 {
        let channels = self.partition.lock().unwrap().channels(100);
        channels.iter().map(|channel| channel.receivers).map(|of| of.sse + of.ws + of.poll).sum()
    }

    /// Lets time pass in steps that the loop does not take for its own lateness.
    pub fn pass(&mut self, ms: u64) {
        for _ in 0..ms / 100 {
            *self.now_ms.borrow_mut() += 100;
            self.turns();
        }
    }
}

/// The other end of a connection.
pub struct Client {
    wire: Wire,
    changed: Rc<RefCell<Vec<Change>>>,
}

/// The client of a connection that was handed off, and what had been read of it.
type HandedOff = (SocketAddr, Vec<u8>);

/// The connection of this token has changed; true where its client has ended its half.
type Change = (u64, bool);

impl Client {
    /// Sends more.
    pub fn send(&self, bytes: &[u8]) {
        self.wire.0.borrow_mut().inward.extend(bytes);
        self.change();
    }

    /// Ends its half of the connection.
    pub fn finish(&self) {
        self.wire.0.borrow_mut().client_finished = true;
        self.change();
    }

    /// How many bytes nobody has read yet.
    pub fn unread(&self) -> usize {
        self.wire.0.borrow().inward.len()
    }

    /// Takes `room` bytes more of what is written.
    pub fn take(&self, room: usize) {
        self.wire.0.borrow_mut().room += room;
        self.change();
    }

    /// Everything taken so far.
    pub fn taken(&self) -> String {
        String::from_utf8_lossy(&self.wire.0.borrow().outward).into_owned()
    }

    /// The same, where it is not text.
    pub fn taken_bytes(&self) -> Vec<u8> {
        self.wire.0.borrow().outward.clone()
    }

    pub fn is_closed(&self) -> bool {
        self.wire.0.borrow().closed
    }

    /// The server's half has ended.
    pub fn is_finished(&self) -> bool {
        self.wire.0.borrow().finished
    }

    fn change(&self) {
        let ends = self.wire.0.borrow();
        self.changed.borrow_mut().extend(ends.token.map(|token| (token, ends.client_finished)));
    }
}

/// Publishes a text.
pub fn publish(partition: &Mutex<Partition>, channel: &str, text: &[u8]) {
    let payload = Payload::text(Bytes::copy_from_slice(text)).unwrap();
    let channel = Channel::parse(channel).unwrap();
    let publish = Publish { channel, event: None, payload, key: None, publisher: "test".into(), trace: None };
    partition.lock().unwrap().publish(publish, Now::default()).unwrap();
}

/// A client's frame, masked with zeros.
pub fn frame(text: &str) -> Vec<u8> {
    let length = u8::try_from(text.len()).unwrap();
    assert!(length < 126, "a test's frames are short");
    [&[0x81, 0x80 | length, 0, 0, 0, 0], text.as_bytes()].concat()
}

/// The request of a `tidewire.v1` WebSocket.
pub fn websocket(path: &str) -> Vec<u8> {
    format!(
        "GET /c/{path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Sec-WebSocket-Protocol: tidewire.v1\r\n\r\n"
    )
    .into_bytes()
}

#[derive(Clone, Default)]
struct Wire(Rc<RefCell<Ends>>);

#[derive(Default)]
struct Ends {
    token: Option<u64>,
    inward: VecDeque<u8>,
    outward: Vec<u8>,
    room: usize,
    finished: bool,
    closed: bool,
    client_finished: bool,
}

struct Memory {
    arrivals: Rc<RefCell<VecDeque<Wire>>>,
    changed: Rc<RefCell<Vec<Change>>>,
    now_ms: Rc<RefCell<u64>>,
    handed_off: Rc<RefCell<Vec<HandedOff>>>,
}

impl Kernel for Memory {
    type Socket = Wire;

    fn now_ms(&self) -> u64 {
        *self.now_ms.borrow()
    }

    fn wait(&mut self, _timeout_ms: Option<u64>, ready: &mut Vec<Ready>) {
        if !self.arrivals.borrow().is_empty() {
            ready.push(Ready::Accept);
        }
        ready.extend(self.changed.borrow_mut().drain(..).map(|(token, finished)| Ready::Socket {
            token,
            readable: true,
            writable: true,
            finished,
            broken: false,
        }));
    }

    fn accept(&mut self) -> io::Result<Wire> {
        self.arrivals.borrow_mut().pop_front().ok_or_else(|| io::ErrorKind::WouldBlock.into())
    }

    fn accepting(&mut self, _on: bool) {}

    fn stop_listening(&mut self) {}

    fn watch(&mut self, socket: &Wire, token: u64) -> io::Result<()> {
        socket.0.borrow_mut().token = Some(token);
        Ok(())
    }

    fn peer(&self, _socket: &Wire) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], 1))
    }

    fn read(&mut self, socket: &Wire, into: &mut [u8]) -> io::Result<usize> {
        let ends = &mut *socket.0.borrow_mut();
        let inward = &mut ends.inward;
        let count = inward.len().min(into.len());
        for (place, byte) in into.iter_mut().zip(inward.drain(..count)) {
            *place = byte;
        }
        if count == 0 && !ends.client_finished { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(count) }
    }

    fn write(&mut self, socket: &Wire, from: &[u8]) -> io::Result<usize> {
        let mut ends = socket.0.borrow_mut();
        let count = from.len().min(ends.room);
        ends.outward.extend_from_slice(&from[..count]);
        ends.room -= count;
        if count == 0 { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(count) }
    }

    fn finish(&mut self, socket: &Wire) {
        socket.0.borrow_mut().finished = true;
    }

    fn close(&mut self, socket: Wire) {
        let mut ends = socket.0.borrow_mut();
        (ends.closed, ends.token) = (true, None);
    }

    fn hand_off(&mut self, socket: Wire, client: SocketAddr, bytes: Vec<u8>, _deadline_ms: u64) {
        self.handed_off.borrow_mut().push((client, bytes));
        self.close(socket);
    }
}

/// Lets everybody do everything.
pub struct Plane {
    partition: Arc<Mutex<Partition>>,
    inbox: Arc<Inbox>,
    /// Who arrived, in order.
    pub arrived: Mutex<Vec<SocketAddr>>,
    /// Publishes as `channel body`, in order; the first request of a connection is told by an asterisk.
    pub posted: Mutex<Vec<String>>,
    /// Refusals as `code path`, in order.
    pub refused: Mutex<Vec<String>>,
    /// Subscriptions that are not decided on, while it sleeps.
    asleep: Mutex<Option<Vec<Subscribe>>>,
    /// Publishes that are not answered, while it sleeps.
    unanswered: Mutex<Vec<Command>>,
}

impl Plane {
    pub fn new(partition: Arc<Mutex<Partition>>, inbox: Arc<Inbox>) -> Plane {
        let (arrived, posted, refused) = (Mutex::default(), Mutex::default(), Mutex::default());
        let (asleep, unanswered) = (Mutex::default(), Mutex::default());
        Plane { partition, inbox, arrived, posted, refused, asleep, unanswered }
    }

    /// Answers nobody from now on.
    pub fn sleep(&self) {
        *self.asleep.lock().unwrap() = Some(Vec::new());
    }

    /// Answers everybody who asked meanwhile.
    pub fn wake(&self) {
        let asked = self.asleep.lock().unwrap().take();
        asked.into_iter().flatten().for_each(|subscribe| self.subscribe(subscribe));
        self.unanswered.lock().unwrap().drain(..).for_each(|answer| self.inbox.send(answer).unwrap());
    }

    fn subscribe(&self, subscribe: Subscribe) {
        match &mut *self.asleep.lock().unwrap() {
            Some(asked) => asked.push(subscribe),
            None => self.partition.lock().unwrap().subscribe(subscribe, Now::default()),
        }
    }
}

impl Control for Plane {
    fn handle(&self, event: Event<'_>) {
        let grant = Arc::new(Grant::everything());
        match event {
            Event::Arrived { outlet, conn, peer, request, .. } => {
                self.arrived.lock().unwrap().push(peer);
                let (transport, page, join) = match request.wants {
                    Wants::Sse { .. } => (Transport::Sse, STREAM_PAGE, Join::WhenCaughtUp),
                    Wants::WebSocket { .. } => (Transport::Ws, STREAM_PAGE, Join::WhenCaughtUp),
                    Wants::LongPoll { .. } => (Transport::Poll, POLL_PAGE, Join::WhenEmpty),
                    Wants::ShortPoll => (Transport::Poll, POLL_PAGE, Join::Never),
                };
                assert!(!request.channels.as_slice().iter().any(|channel| channel.as_str() == PANIC));
                let (channels, start) = (request.channels.clone(), request.start);
                let cause = Cause::Arrival(Box::default());
                self.subscribe(Subscribe {
                    outlet,
                    conn,
                    transport,
                    grant,
                    channels,
                    start,
                    page,
                    join,
                    cause,
                });
            }
            Event::Posted { conn, post, .. } => {
                let body = String::from_utf8_lossy(post.body);
                let first = if post.first { "*" } else { "" };
                self.posted.lock().unwrap().push(format!("{} {body}{first}", post.channel));
                let answer = format!("answer to {body};").into_bytes();
                let answer = Command::Answer { conn, answer, ends: post.head.ends_connection() };
                match &*self.asleep.lock().unwrap() {
                    Some(_) => self.unanswered.lock().unwrap().push(answer),
                    None => self.inbox.send(answer).unwrap(),
                }
            }
            Event::Received { outlet, conn, messages, .. } => {
                for message in messages {
                    let text = std::str::from_utf8(&message.bytes).unwrap();
                    let asked = v1::parse(text, &Limits::default()).unwrap();
                    let ClientFrame::Subscribe { channels, cursor } = asked.frame else { continue };
                    let (transport, page, join) = (Transport::Ws, POLL_PAGE, Join::WhenCaughtUp);
                    let start = cursor.unwrap_or(Start::Live);
                    let (cause, grant) = (Cause::Addition("null".into()), grant.clone());
                    self.subscribe(Subscribe {
                        outlet,
                        conn,
                        transport,
                        grant,
                        channels,
                        start,
                        page,
                        join,
                        cause,
                    });
                }
                self.inbox.send(Command::Continue { conn }).unwrap();
            }
            Event::Drained { outlet, conn, transport, channels, cursor, .. } => {
                let (channels, start) = (channels.clone(), Start::After(Cursor::At(cursor)));
                let (page, join, cause) = (STREAM_PAGE, Join::WhenCaughtUp, Cause::Page);
                self.subscribe(Subscribe {
                    outlet,
                    conn,
                    transport,
                    grant,
                    channels,
                    start,
                    page,
                    join,
                    cause,
                });
            }
            Event::Departed { outlet, transport, channels, .. } => {
                self.partition.lock().unwrap().leave(outlet, transport, &channels);
            }
            Event::Refused { head, refusal, trace_id, .. } => {
                let path = head.map_or("-", |head| head.path());
                assert!(trace_id.is_none_or(|id| id.len() == 16));
                self.refused.lock().unwrap().push(format!("{} {path}", refusal.reason.code()));
            }
            Event::Emptied { outlet } => self.partition.lock().unwrap().catch_up(outlet),
        }
    }
}
