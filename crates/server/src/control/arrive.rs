//! Arrivals: who may come in, and how far their subscription reaches.

use std::net::SocketAddr;
use std::sync::Arc;

use tidewire_engine::Over;
use tidewire_hub::admit::{Cause, ConnId, HeadFields, Join, OutletId, Place, SetCookie, Subscribe, Terms};
use tidewire_hub::channel::ChannelSet;
use tidewire_hub::deliver::Command;
use tidewire_hub::grant::{Action, Entry, Grant};
use tidewire_hub::limits::{POLL_PAGE, PageLimit, STREAM_PAGE};
use tidewire_hub::position::Start;
use tidewire_hub::reason::Reason;
use tidewire_transport::refusal::Refusal;
use tidewire_transport::request::{Request, Wants};

use super::passes::Pass;
use super::plane::Plane;
use crate::crowd::Seat;
use crate::refusals;

/// A subscription on its way through the gate: what is needed once that has answered, from whatever thread.
struct Arrival {
    plane: Plane,
    outlet: OutletId,
    conn: ConnId,
    channels: ChannelSet,
    start: Start,
    wants: Manner,
    seat: Option<Seat>,
    head: HeadFields,
}

impl Plane {
    /// Answers an arrival with exactly one `Admit`, through the broker, or one `Refuse`.
    pub(super) fn arrived(
        &self,
        outlet: OutletId,
        conn: ConnId,
        peer: SocketAddr,
        over: Over,
        request: &Request,
    ) {
        let mut arrival = Arrival {
            plane: self.clone(),
            outlet,
            conn,
            channels: request.channels.clone(),
            start: request.start,
            wants: Manner::of(&request.wants),
            seat: None,
            head: HeadFields::default(),
        };
        let inquiry = match over.pass {
            0 => None,
            number => match self.passes().redeem(number) {
                Some(Pass::Granted { grant, channels }) => return arrival.pass(grant, channels),
                Some(Pass::Inquiry(inquiry)) => Some(inquiry),
                None => {
                    return arrival
                        .refuse(Refusal::new(Reason::Internal, "the pass of this request is spent"));
                }
            },
        };
        let Some(caller) = &request.caller else {
            return arrival.refuse(Refusal::new(Reason::Internal, "the request has no caller"));
        };
        let way = self.node.ways.look(peer.ip(), over.tls, caller);
        let action = Action::Subscribe(request.wants.transport());
        let asked = caller.to_asked(action, way.client, way.secure);
        // The gate first, although shedding is cheaper: a busy answer that a page is to read must name the page's
        // origin, and only an origin that passed may be named (S7). A ticket is spent only behind both (R12).
        match self.node.screen(&asked) {
            Ok(head) => arrival.head = head,
            Err(refusal) => return arrival.refuse(refusal),
        }
        match self.has_room(way.client, over.shared, &request.wants) {
            Ok(seat) => arrival.seat = seat,
            Err(refusal) => return arrival.refuse(refusal),
        }
        self.node.admit(&asked, inquiry.as_ref(), Box::new(move |outcome| arrival.decide(outcome)));
    }

    /// `shared` says that the connection has its own seat, and that this is one of its streams.
    fn has_room(
        &self,
        client: std::net::IpAddr,
        shared: bool,
        wants: &Wants,
    ) -> Result<Option<Seat>, Refusal> {
        self.node.has_time()?;
        if self.census.is_over() {
            return Err(Refusal::new(Reason::Overloaded, "this node has as many connections as it may"));
        }
        match &self.node.crowd {
            // A short poll is answered at once and holds nothing.
            Some(crowd) if *wants != Wants::ShortPoll && shared => crowd.accompany().map(Some),
            Some(crowd) if *wants != Wants::ShortPoll => crowd.arrive(client).map(Some),
            _ => Ok(None),
        }
    }
}

impl Arrival {
    /// Lets in whom the API server has let in: it knows who comes, and is on this machine's side of every door.
    fn pass(mut self, grant: Arc<Grant>, channels: ChannelSet) {
        if let Err(refusal) = self.plane.node.has_time() {
            return self.refuse(refusal);
        }
        self.channels = channels;
        self.decide(Ok(Entry { grant, set_cookie: None }));
    }

    fn decide(mut self, outcome: Result<Entry, Refusal>) {
        let entry = match outcome {
            Ok(entry) => entry,
            Err(refusal) => return self.refuse(refusal),
        };
        let Entry { grant, set_cookie } = entry;
        self.head.set_cookie = set_cookie.map(SetCookie);
        if let Err(refusal) = refusals::may_listen(&grant, &self.channels, self.start) {
            return self.refuse(refusal);
        }
        let counted = self.seat.as_ref().map(|seat| seat.listen(&grant.holder, &self.channels));
        if let Some(Err(refusal)) = counted {
            return self.refuse(refusal);
        }
        let Arrival { plane, outlet, conn, channels, start, wants, seat, head } = self;
        let Manner { transport, page, join } = wants;
        let terms = Terms { lasts: plane.node.lasts(&grant), place: seat.map(Place::new), head };
        let cause = Cause::Arrival(Box::new(terms));
        let subscribe = Subscribe { outlet, conn, transport, grant, channels, start, page, join, cause };
        plane.node.broker.subscribe(subscribe, plane.node.clock.now());
    }

    fn refuse(self, refusal: Refusal) {
        let Arrival { plane, outlet, conn, head, .. } = self;
        let Refusal { reason, detail } = refusal;
        let cause = Cause::Arrival(Box::new(Terms { head, ..Terms::default() }));
        plane.send(outlet, Command::Refuse { conn, reason, detail, cause });
    }
}

/// How a transport is asked of the broker.
struct Manner {
    transport: tidewire_hub::admit::Transport,
    page: PageLimit,
    join: Join,
}

impl Manner {
    fn of(wants: &Wants) -> Manner {
        let (page, join) = match wants {
            Wants::Sse { .. } | Wants::WebSocket { .. } => (STREAM_PAGE, Join::WhenCaughtUp),
            Wants::LongPoll { .. } => (POLL_PAGE, Join::WhenEmpty),
            Wants::ShortPoll => (POLL_PAGE, Join::Never),
        };
        Manner { transport: wants.transport(), page, join }
    }
}
