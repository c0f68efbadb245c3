//! The plane itself: every event an outlet reports, and where it is decided.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use tidewire_engine::{Control, Event};
use tidewire_hub::admit::{Cause, ConnId, Join, OutletId, Subscribe, Transport};
use tidewire_hub::deliver::{Command, Outlet};
use tidewire_hub::limits::{Limits, STREAM_PAGE};
use tidewire_hub::position::{Cursor, Start};
use tidewire_hub::reason::Reason;
use tidewire_transport::request::Request;

use super::joins::Joins;
use super::passes::Passes;
use crate::census::Census;
use crate::node::Node;
use crate::posts;
use crate::turned_away::Turned;

/// Decides on events.
#[derive(Clone)]
pub struct Plane {
    pub(super) node: Arc<Node>,
    pub(super) census: Arc<Census>,
    pub(super) joins: Arc<Joins>,
    outlets: Arc<HashMap<OutletId, Arc<dyn Outlet>>>,
}

impl Plane {
    /// A plane for these outlets. Events of any other are not answered.
    #[must_use]
    pub fn new(node: Arc<Node>, census: Arc<Census>, outlets: HashMap<OutletId, Arc<dyn Outlet>>) -> Plane {
        let joins = Arc::new(Joins::new(node.limits().joins_per_minute_max));
        Plane { node, census, joins, outlets: Arc::new(outlets) }
    }

    /// Lets time pass. Called about once a second.
    pub fn tick(&self) {
        self.joins.forget_the_idle();
        self.node.publishes.forget_the_idle();
        let now = self.node.clock.now();
        if let Some(crowd) = &self.node.crowd {
            crowd.forget_the_idle(now);
        }
        self.node.broker.tick(now);
        self.node.presence.tick(self.node.limits().presence_grace, now);
    }

    /// The moment that it is.
    #[must_use]
    pub fn now(&self) -> tidewire_hub::broker::Now {
        self.node.clock.now()
    }

    /// Holds to other bounds from now on, and has every outlet hold to its share of them.
    pub fn limit(&self, limits: &Limits, share: &Arc<Limits>) {
        self.joins.limit(limits.joins_per_minute_max);
        for outlet in self.outlets.keys() {
            self.send(*outlet, Command::Limit(share.clone()));
        }
    }

    /// Tells every outlet to end its connections within this time.
    pub fn drain(&self, within: std::time::Duration) {
        for outlet in self.outlets.keys() {
            self.send(*outlet, Command::Drain { within });
        }
    }

    /// Where subscriptions are let in that the API server has decided on.
    #[must_use]
    pub fn passes(&self) -> &Arc<Passes> {
        &self.node.passes
    }

    /// The outlets of this node, in the order of their numbers.
    #[must_use]
    pub fn outlets(&self) -> Vec<(OutletId, Arc<dyn Outlet>)> {
        let mut outlets: Vec<_> = self.outlets.iter().map(|(id, outlet)| (*id, outlet.clone())).collect();
        outlets.sort_unstable_by_key(|(id, _)| id.0);
        outlets
    }

    /// Ends a connection, if it is still there.
    pub fn close(&self, outlet: OutletId, conn: ConnId, reason: Reason) {
        self.send(outlet, Command::Close { conn, reason });
    }

    fn turned_away(&self, turned: Turned, peer: Option<SocketAddr>, request: Option<&Request>) -> Turned {
        let peer = peer.map(|peer| peer.ip().to_canonical());
        let Some((request, caller)) = request.and_then(|request| Some((request, request.caller.as_deref()?)))
        else {
            return turned.of(peer, None, "", "");
        };
        let client = peer.map(|peer| self.node.ways.look(peer, false, caller).client);
        turned.of(client, caller.origin.as_deref(), asked(request.wants.transport()), &caller.path)
    }

    pub(super) fn outlet(&self, outlet: OutletId) -> Option<&Arc<dyn Outlet>> {
        self.outlets.get(&outlet)
    }

    pub(super) fn send(&self, outlet: OutletId, command: Command) {
        if let Some(outlet) = self.outlet(outlet) {
            // Only a `Deliver` can find an inbox full, and only the broker sends those.
            let _ = outlet.send(command);
        }
    }
}

fn asked(transport: Transport) -> &'static str {
    match transport {
        Transport::Sse => "sse",
        Transport::Ws => "ws",
        Transport::Poll => "poll",
    }
}

impl Control for Plane {
    fn handle(&self, event: Event<'_>) {
        let now = || self.node.clock.now();
        match event {
            Event::Arrived { outlet, conn, peer, over, request } => {
                self.arrived(outlet, conn, peer, over, request);
            }
            Event::Posted { outlet, conn, peer, post } => self.posted(outlet, conn, peer, post),
            Event::Received { outlet, conn, grant, place, request, messages } => {
                self.received(outlet, conn, grant, place, request, messages);
            }
            Event::Drained { outlet, conn, grant, transport, channels, cursor } => {
                // Each page is a resume (delivery rule R10).
                let start = Start::After(Cursor::At(cursor));
                let (grant, channels, join) = (grant.clone(), channels.clone(), Join::WhenCaughtUp);
                let page = STREAM_PAGE;
                let next = Subscribe {
                    outlet,
                    conn,
                    transport,
                    grant,
                    channels,
                    start,
                    page,
                    join,
                    cause: Cause::Page,
                };
                self.node.broker.subscribe(next, now());
            }
            Event::Departed { outlet, conn, grant, transport, channels } => {
                let now = now();
                self.node.broker.leave(outlet, transport, &channels, now);
                self.node.presence.departed(outlet, conn, grant, &channels, now);
            }
            Event::Refused { peer, request, head, refusal, trace_id } => {
                let turned = Turned::new(now().wall_ms, refusal, trace_id);
                let turned = match head {
                    None => self.turned_away(turned, peer, request),
                    Some(head) => {
                        let origin = head.header("origin").map(String::from_utf8_lossy);
                        let peer = peer.map(|peer| peer.ip().to_canonical());
                        turned.of(peer, origin.as_deref(), "", head.path())
                    }
                };
                let trace = self.node.spans.as_ref().and(head);
                let trace = trace.and_then(|head| posts::trace(head.header_values("traceparent")));
                self.node.refused(turned, trace.as_ref());
            }
            Event::Emptied { outlet } => self.node.broker.catch_up(outlet, now()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::rig::{Rig, raw, receipt, request};
    use super::*;
    use tidewire_hub::channel::ChannelSet;
    use tidewire_hub::grant::Grant;

    const HERE: &str = "127.0.0.1:5000";

    #[test]
    fn every_transport_is_asked_of_the_broker_in_its_own_manner() {
        let rig = Rig::new();
        rig.arrive(HERE, &request("a,b?tail=5", "Accept: text/event-stream\r\n"));
        rig.arrive(HERE, &raw("a"));
        rig.arrive(HERE, &request("a?wait=5", ""));
        rig.arrive(HERE, &request("a", ""));
        assert_eq!(
            rig.subscribed(),
            ["a,b Tail(5) - WhenCaughtUp", "a Live - WhenCaughtUp", "a Live - WhenEmpty", "a Live - Never"]
        );
        assert!(rig.commands().is_empty());
    }

    #[test]
    fn s6_who_the_gate_refuses_never_reaches_the_broker() {
        let rig = Rig::new();
        rig.arrive("10.0.0.1:5000", &request("a", ""));
        rig.arrive(HERE, &request("a", "Origin: https://evil.example\r\n"));
        assert_eq!(rig.commands(), ["refuse forbidden", "refuse origin_refused"]);
        assert!(rig.subscribed().is_empty());
    }

    #[test]
    fn s39_one_connection_too_many_is_refused() {
        let rig = Rig::new();
        let _two = [rig.plane.census.count(), rig.plane.census.count()];
        rig.arrive(HERE, &request("a", ""));
        assert_eq!(rig.commands(), ["refuse overloaded"]);
    }

    #[test]
    fn r10_a_drained_page_is_followed_by_a_resume_from_its_end() {
        let rig = Rig::new();
        let (outlet, conn, transport) = (OutletId(0), ConnId(1), Transport::Sse);
        let (grant, channels) = (&Arc::new(Grant::everything()), &ChannelSet::parse("a", 1).unwrap());
        let cursor = receipt().position.unwrap();
        rig.plane.handle(Event::Drained { outlet, conn, grant, transport, channels, cursor });
        let start = Start::After(Cursor::At(cursor));
        assert_eq!(rig.subscribed(), [format!("a {start:?} - WhenCaughtUp")]);
    }
}
