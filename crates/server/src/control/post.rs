//! Publishes that an outlet has read: the same door and the same steps as at the API server, on the outlet's thread.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use tidewire_hub::admit::{ConnId, HeadFields, OutletId, SetCookie};
use tidewire_hub::channel::Channel;
use tidewire_hub::deliver::{Command, Outlet};
use tidewire_hub::grant::{Action, Entry};
use tidewire_hub::publish::Receipt;
use tidewire_hub::reason::Reason;
use tidewire_hub::trace::TraceParent;
use tidewire_transport::caller::Caller;
use tidewire_transport::post::{self, Post};
use tidewire_transport::refusal::{self, Refusal};

use super::plane::Plane;
use crate::api::trace_id;
use crate::health::Phase;
use crate::http::TOO_MANY;
use crate::node::Node;
use crate::posts::{self, Said};
use crate::turned_away::Turned;

impl Plane {
    /// Answers a publish with exactly one `Answer`.
    pub(super) fn posted(&self, outlet: OutletId, conn: ConnId, peer: SocketAddr, post: &Post<'_>) {
        let Some(outlet) = self.outlet(outlet) else { return };
        let head = post.head;
        let mut asker = Asker {
            node: self.node.clone(),
            outlet: outlet.clone(),
            conn,
            channel: post.channel.clone(),
            client: peer.ip().to_canonical(),
            asked_from: None,
            origin: None,
            trace: self.node.spans.as_ref().and_then(|_| posts::trace(head.header_values("traceparent"))),
            fields: HeadFields::default(),
            ends: head.ends_connection(),
            answered: false,
        };
        // One connection too many is answered once, and ends (security rule S39).
        if post.first && self.census.is_over() {
            asker.ends = true;
            return asker.refuse(&Refusal::new(Reason::Overloaded, TOO_MANY));
        }
        let caller = match Caller::read(|name| head.header_values(name), head.path(), head.query()) {
            Ok(caller) => caller,
            Err(refusal) => return asker.refuse(&refusal),
        };
        asker.asked_from.clone_from(&caller.origin);
        let way = self.node.ways.look(peer.ip(), false, &caller);
        asker.client = way.client;
        let asked = caller.to_asked(Action::Publish, way.client, way.secure);
        match self.node.screen(&asked) {
            Ok(fields) => asker.fields = fields,
            Err(refusal) => return asker.refuse(&refusal),
        }
        // Only an origin that the gate has just let in is ever named (S7).
        asker.origin.clone_from(&caller.origin);
        let said = Said::read(|name| head.header_values(name));
        let body = Bytes::copy_from_slice(post.body);
        self.node.admit(&asked, None, Box::new(move |outcome| asker.decide(outcome, said, body)));
    }
}

/// Who waits for what comes of a publish. It goes from callback to callback, on whatever thread those are called.
struct Asker {
    node: Arc<Node>,
    outlet: Arc<dyn Outlet>,
    conn: ConnId,
    channel: Channel,
    client: IpAddr,
    /// The origin that the request names, whoever may use it.
    asked_from: Option<Box<str>>,
    /// The origin that may read the answer.
    origin: Option<Box<str>>,
    /// What a refusal is part of; read only where somebody collects traces.
    trace: Option<TraceParent>,
    fields: HeadFields,
    /// Whether the connection ends with the answer.
    ends: bool,
    answered: bool,
}

impl Asker {
    fn decide(mut self, outcome: Result<Entry, Refusal>, said: Said, body: Bytes) {
        let Entry { grant, set_cookie } = match outcome {
            Ok(entry) => entry,
            Err(refusal) => return self.refuse(&refusal),
        };
        self.fields.set_cookie = set_cookie.map(SetCookie);
        match said.publish(&grant, self.channel.clone(), Ok(body)) {
            Ok(publish) => {
                let node = self.node.clone();
                node.publish_then(&grant, publish, Box::new(move |outcome| self.settle(outcome)));
            }
            Err(refusal) => self.refuse(&refusal),
        }
    }

    fn settle(mut self, outcome: Result<Receipt, Refusal>) {
        match outcome {
            Ok(receipt) => {
                let (mut answer, ends) = (Vec::new(), self.ends());
                let origin = self.origin.as_deref();
                post::response(&self.channel, &receipt, origin, &self.fields, ends, &mut answer);
                self.answer(answer, ends);
            }
            Err(refusal) => self.refuse(&refusal),
        }
    }

    fn refuse(mut self, refusal: &Refusal) {
        self.answer_refusal(refusal);
    }

    fn answer_refusal(&mut self, refusal: &Refusal) {
        let (trace, ends) = (trace_id(refusal.reason), self.ends());
        let origin = self.origin.as_deref();
        let turned = Turned::new(self.node.clock.now().wall_ms, refusal, Some(&trace));
        let path = format!("/c/{}", self.channel);
        let turned = turned.of(Some(self.client), self.asked_from.as_deref(), "POST", &path);
        self.node.refused(turned, self.trace.as_ref());
        self.answer(refusal::http_response(refusal, origin, &self.fields, Some(&trace), ends), ends);
    }

    fn answer(&mut self, answer: Vec<u8>, ends: bool) {
        self.answered = true;
        // Only a `Deliver` or a change of presence can find an inbox full.
        let _ = self.outlet.send(Command::Answer { conn: self.conn, answer, ends });
    }

    /// A node that goes away lets nobody settle in.
    fn ends(&self) -> bool {
        self.ends || self.node.health.phase() == Phase::Draining
    }
}

impl Drop for Asker {
    /// Whoever was to answer has forgotten it.
    fn drop(&mut self) {
        if !self.answered {
            let detail = "the broker gave no answer; the outcome is unknown";
            self.answer_refusal(&Refusal::new(Reason::Internal, detail));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::rig::{Rig, post};

    #[test]
    fn a_publish_goes_through_the_door_and_is_answered_once() {
        let rig = Rig::new();
        rig.post("127.0.0.1:5000", &post("a", "", "hello"));
        assert_eq!(rig.published(), ["a hello"]);
        let answers = rig.commands();
        let [answer] = &answers[..] else { panic!("{answers:?}") };
        assert!(answer.starts_with("answer HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.ends_with(r#""channel":"a","receivers":{"sse":0,"ws":0,"poll":0}}"#), "{answer}");
    }

    #[test]
    fn s6_who_the_gate_refuses_publishes_nothing_and_is_told_why() {
        let rig = Rig::new();
        rig.post("10.0.0.1:5000", &post("a", "", "hello"));
        rig.post("127.0.0.1:5000", &post("a", "Origin: https://evil.example\r\n", "hello"));
        assert!(rig.published().is_empty());
        let answers = rig.commands();
        assert!(
            answers[0].contains(r#""code":"forbidden""#) && answers[1].contains(r#""code":"origin_refused""#)
        );
        assert!(answers.iter().all(|answer| answer.contains(r#""trace_id":""#)), "{answers:?}");
        assert!(!answers[1].contains("Access-Control"), "s7: a foreign page reads nothing: {}", answers[1]);
    }

    #[test]
    fn s7_an_origin_that_was_let_in_is_named() {
        let rig = Rig::new();
        rig.post("127.0.0.1:5000", &post("a", "Origin: http://localhost:3000\r\n", "hello"));
        rig.post(
            "127.0.0.1:5000",
            &post("a", "Origin: http://localhost:3000\r\nTidewire-Event: open\r\n", "x"),
        );
        let answers = rig.commands();
        assert!(
            answers.iter().all(|answer| {
                answer.contains("\r\nAccess-Control-Allow-Origin: http://localhost:3000\r\n")
            })
        );
        assert!(answers[1].contains(r#""code":"event_invalid""#), "{}", answers[1]);
    }

    #[test]
    fn a_broker_that_answers_late_is_waited_for() {
        let rig = Rig::new();
        rig.answer_late();
        rig.post("127.0.0.1:5000", &post("a", "", "hello"));
        assert!(rig.commands().is_empty());
        rig.answer_one();
        assert!(rig.commands()[0].starts_with("answer HTTP/1.1 200 OK\r\n"));
    }

    #[test]
    fn a_broker_that_forgets_a_publish_leaves_nobody_waiting() {
        let rig = Rig::new();
        rig.answer_late();
        rig.post("127.0.0.1:5000", &post("a", "", "hello"));
        rig.forget_one();
        assert!(rig.commands()[0].contains(r#""code":"internal""#));
    }

    #[test]
    fn s39_one_connection_too_many_is_answered_once_and_ends() {
        let rig = Rig::new();
        let _two = [rig.plane.census.count(), rig.plane.census.count()];
        rig.post("127.0.0.1:5000", &post("a", "", "hello"));
        let answers = rig.commands();
        assert!(answers[0].contains("\r\nConnection: close\r\n") && answers[0].contains("overloaded"));
        assert!(rig.published().is_empty());
    }
}
