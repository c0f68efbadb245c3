//! Arrivals: who may come in, and how far their subscription reaches.

use std::net::SocketAddr;

use tidewire_hub::admit::{ConnId, Join, OutletId, Subscribe, Transport};
use tidewire_hub::deliver::Command;
use tidewire_hub::grant::Grant;
use tidewire_hub::limits::{POLL_PAGE, PageLimit, STREAM_PAGE};
use tidewire_hub::position::Start;
use tidewire_hub::reason::Reason;
use tidewire_transport::refusal::Refusal;
use tidewire_transport::request::{Request, Wants};

use super::plane::Plane;
use crate::refusals;

impl Plane {
    /// Answers an arrival with exactly one `Admit`, through the broker, or one `Refuse`.
    pub(super) fn arrived(&self, outlet: OutletId, conn: ConnId, peer: SocketAddr, request: &Request) {
        match self.allow(outlet, conn, peer, request) {
            Ok(subscribe) => self.node.broker.subscribe(subscribe, self.node.clock.now()),
            Err(Refusal { reason, detail }) => {
                tracing::debug!(%peer, code = reason.code(), "subscription refused");
                self.send(outlet, Command::Refuse { conn, reason, detail, tag: None });
            }
        }
    }

    fn allow(
        &self,
        outlet: OutletId,
        conn: ConnId,
        peer: SocketAddr,
        request: &Request,
    ) -> Result<Subscribe, Refusal> {
        // The gate first, although shedding is cheaper: a busy answer that a page is to read must name the page's
        // origin, and only an origin that passed may be named (S7). A gate that spends tickets must shed in between.
        let grant = refusals::pass(&*self.node.gate, &request.to_asked(peer.ip()))?;
        if self.census.is_over() {
            return Err(Refusal::new(Reason::Overloaded, "this node has as many connections as it may"));
        }
        check_rights(&grant, request)?;
        let (transport, page, join) = manner(&request.wants);
        let (channels, start) = (request.channels.clone(), request.start);
        Ok(Subscribe { outlet, conn, transport, grant, channels, start, page, join, tag: None })
    }
}

/// Resuming from a cursor needs the right to subscribe; beginning in the past by count or from the start, another.
fn check_rights(grant: &Grant, request: &Request) -> Result<(), Refusal> {
    for channel in request.channels.iter() {
        refusals::may_subscribe(grant, channel)?;
        if matches!(request.start, Start::Earliest | Start::Tail(_)) {
            refusals::may_read_history(grant, channel)?;
        }
    }
    Ok(())
}

fn manner(wants: &Wants) -> (Transport, PageLimit, Join) {
    match wants {
        Wants::Sse { .. } => (Transport::Sse, STREAM_PAGE, Join::WhenCaughtUp),
        Wants::WebSocket { .. } => (Transport::Ws, STREAM_PAGE, Join::WhenCaughtUp),
        Wants::LongPoll { .. } => (Transport::Poll, POLL_PAGE, Join::WhenEmpty),
        Wants::ShortPoll => (Transport::Poll, POLL_PAGE, Join::Never),
    }
}
