//! The rig of the control plane's tests: a plane between a broker and an outlet that only take notes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use tidewire_auth::dev::DevGate;
use tidewire_engine::{Control as _, Counters, Event, Inbound, Over};
use tidewire_hub::admit::{Cause, ConnId, OutletId, Page, Subscribe, Transport};
use tidewire_hub::bridge::{Bridged, Outward};
use tidewire_hub::broker::{Broker, ChannelInfo, Done, Now, Totals};
use tidewire_hub::channel::{Channel, ChannelSet};
use tidewire_hub::deliver::{Command, Full, Outlet};
use tidewire_hub::grant::Grant;
use tidewire_hub::limits::{Limits, PageLimit, Retentions};
use tidewire_hub::position::{Gen, Position, Start};
use tidewire_hub::publish::{Publish, Receipt, Receivers};
use tidewire_hub::reason::Reason;
use tidewire_hub::revocation::Revocation;
use tidewire_transport::http1::parse_head;
use tidewire_transport::post::Post;
use tidewire_transport::request::{Request, Route, route};

use super::plane::Plane;
use crate::census::Census;
use crate::node::Node;

/// A plane between a broker and an outlet that only take notes.
pub(super) struct Rig {
    pub(super) plane: Plane,
    broker: Arc<Notes>,
    outlet: Arc<Inbox>,
}

impl Rig {
    pub(super) fn new() -> Rig {
        let (broker, outlet) = (Arc::new(Notes::default()), Arc::new(Inbox::default()));
        // The clock of the rates is the machine's; these tests are about everything else.
        let limits = Arc::new(Limits { channel_publishes_per_second_max: 1_000_000, ..Limits::default() });
        let mut node = Node::new(Arc::new(DevGate::new(false)), broker.clone(), limits);
        node.bridge = Some(broker.clone());
        let node = Arc::new(node);
        let census = Census::new(vec![Arc::new(Counters::default())], 1);
        let outlets = HashMap::from([(OutletId(0), outlet.clone() as Arc<dyn Outlet>)]);
        Rig { plane: Plane::new(node, census, outlets), broker, outlet }
    }

    pub(super) fn node(&self) -> &Node {
        &self.plane.node
    }

    pub(super) fn receive(&self, request: &Request, messages: Vec<Inbound>) {
        let (outlet, conn, grant) = (OutletId(0), ConnId(1), &Arc::new(Grant::everything()));
        self.plane.handle(Event::Received { outlet, conn, grant, place: None, request, messages });
    }

    pub(super) fn arrive(&self, peer: &str, request: &Request) {
        let (outlet, conn, peer) = (OutletId(0), ConnId(1), peer.parse().unwrap());
        self.plane.handle(Event::Arrived { outlet, conn, peer, over: Over::default(), request });
    }

    pub(super) fn post(&self, peer: &str, text: &str) {
        let (outlet, conn, peer) = (OutletId(0), ConnId(1), peer.parse().unwrap());
        let limits = Limits::default();
        let head = parse_head(text.as_bytes(), &limits).unwrap().unwrap();
        let Ok(Route::Publish { channel, body_bytes }) = route(&head, &limits) else {
            panic!("{text:?} is no publish")
        };
        let body = &text.as_bytes()[head.len..head.len + body_bytes];
        let post = &Post { head: &head, channel: &channel, body, first: true };
        self.plane.handle(Event::Posted { outlet, conn, peer, post });
    }

    /// What the outlet was told since the last look.
    pub(super) fn commands(&self) -> Vec<String> {
        std::mem::take(&mut *self.outlet.0.lock().unwrap())
    }

    pub(super) fn published(&self) -> Vec<String> {
        self.broker.published.lock().unwrap().clone()
    }

    pub(super) fn subscribed(&self) -> Vec<String> {
        self.broker.subscribed.lock().unwrap().clone()
    }

    pub(super) fn refuse_with(&self, reason: Reason) {
        *self.broker.refusal.lock().unwrap() = Some(reason);
    }

    pub(super) fn answer_late(&self) {
        *self.broker.waiting.lock().unwrap() = Some(Vec::new());
    }

    pub(super) fn forget_one(&self) {
        drop(self.broker.waiting.lock().unwrap().as_mut().unwrap().remove(0));
    }

    pub(super) fn answer_one(&self) {
        let done = self.broker.waiting.lock().unwrap().as_mut().unwrap().remove(0);
        done(Ok(receipt()));
    }
}

pub(super) fn raw(channels: &str) -> Request {
    websocket(channels, "")
}

pub(super) fn v1(channels: &str) -> Request {
    websocket(channels, "Sec-WebSocket-Protocol: tidewire.v1\r\n")
}

fn websocket(channels: &str, fields: &str) -> Request {
    request(
        channels,
        &format!(
            "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{fields}"
        ),
    )
}

pub(super) fn request(target: &str, fields: &str) -> Request {
    let limits = Limits::default();
    let text = format!("GET /c/{target} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n");
    let head = parse_head(text.as_bytes(), &limits).unwrap().unwrap();
    match route(&head, &limits).unwrap() {
        Route::Subscribe(request) => *request,
        other => panic!("{text:?} is no subscription: {other:?}"),
    }
}

pub(super) fn post(channel: &str, fields: &str, body: &str) -> String {
    let length = body.len();
    format!("POST /c/{channel} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n{fields}\r\n{body}")
}

pub(super) fn receipt() -> Receipt {
    let position = Position { generation: Gen::from_random(1), seq: 1 };
    Receipt { position: Some(position), receivers: Receivers::default() }
}

#[derive(Default)]
struct Inbox(Mutex<Vec<String>>);

impl Outlet for Inbox {
    fn send(&self, command: Command) -> Result<(), Full> {
        let names = |set: &ChannelSet| set.iter().map(Channel::as_str).collect::<Vec<_>>().join(",");
        let note = match command {
            Command::Continue { .. } => "continue".into(),
            Command::Close { reason, .. } => format!("close {}", reason.code()),
            Command::Refuse { reason, .. } => format!("refuse {}", reason.code()),
            Command::Answer { answer, .. } => format!("answer {}", String::from_utf8_lossy(&answer)),
            Command::Reply { text, .. } => format!("reply {text}"),
            Command::Leave { channels, .. } => format!("leave {}", names(&channels)),
            other => format!("{other:?}"),
        };
        self.0.lock().unwrap().push(note);
        Ok(())
    }
}

/// Notes what it is asked, and answers publishes at once, late or with a refusal. `events` is bridged one way, `jobs` both.
struct Notes {
    bridged: Bridged,
    published: Mutex<Vec<String>>,
    subscribed: Mutex<Vec<String>>,
    refusal: Mutex<Option<Reason>>,
    #[expect(clippy::type_complexity)]
    waiting: Mutex<Option<Vec<Done<Result<Receipt, Reason>>>>>,
}

impl Default for Notes {
    fn default() -> Notes {
        let [events, jobs] = ["events", "jobs"].map(|name| Channel::parse(name).unwrap());
        Notes {
            bridged: Bridged::new(&[events, jobs.clone()], &[jobs]),
            published: Mutex::default(),
            subscribed: Mutex::default(),
            refusal: Mutex::default(),
            waiting: Mutex::default(),
        }
    }
}

impl Outward for Notes {
    fn bridged(&self) -> &Bridged {
        &self.bridged
    }

    fn send(&self, publish: Publish, done: Done<Result<Receipt, Reason>>) {
        let payload = String::from_utf8_lossy(publish.payload.as_bytes()).into_owned();
        self.published.lock().unwrap().push(format!("over {} {payload}", publish.channel));
        done(Ok(Receipt { position: None, receivers: Receivers::default() }));
    }
}

impl Broker for Notes {
    fn attach(&self, _: Arc<dyn Outlet>) -> OutletId {
        OutletId(0)
    }

    fn publish(&self, publish: Publish, _: Now, done: Done<Result<Receipt, Reason>>) {
        let payload = String::from_utf8_lossy(publish.payload.as_bytes()).into_owned();
        self.published.lock().unwrap().push(format!("{} {payload}", publish.channel));
        let refusal = *self.refusal.lock().unwrap();
        if let Some(waiting) = self.waiting.lock().unwrap().as_mut() {
            return waiting.push(done);
        }
        done(refusal.map_or(Ok(receipt()), Err));
    }

    fn subscribe(&self, subscribe: Subscribe, _: Now) {
        let names: Vec<_> = subscribe.channels.iter().map(Channel::as_str).collect();
        let tag = match &subscribe.cause {
            Cause::Addition(tag) => tag,
            Cause::Arrival(_) | Cause::Page => "-",
        };
        let note = format!("{} {:?} {tag} {:?}", names.join(","), subscribe.start, subscribe.join);
        self.subscribed.lock().unwrap().push(note);
    }

    fn leave(&self, _: OutletId, _: Transport, _: &[Channel], _: Now) {}
    fn catch_up(&self, _: OutletId, _: Now) {}
    fn read(&self, _: ChannelSet, _: Start, _: PageLimit, _: Now, _: Done<Result<Page, Reason>>) {}
    fn tick(&self, _: Now) {}
    fn retain(&self, _: Retentions) {}
    fn drain(&self) {}

    fn revoke(&self, _: Revocation, done: Done<Result<(), Reason>>) {
        done(Ok(()));
    }

    fn enforce(&self, _: &Arc<Revocation>) {}

    fn channels(&self, _: usize) -> Vec<ChannelInfo> {
        Vec::new()
    }

    fn totals(&self) -> Totals {
        Totals::default()
    }
}
