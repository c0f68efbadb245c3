//! `POST /v1/tickets`: exchanges what a client can send once for what it can put into an address (security rules S19 to
//! S24; `docs/protocol.md`, "Control API").

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use tidewire_hub::channel::ChannelSet;
use tidewire_hub::grant::{Grant, TicketOrder};
use tidewire_hub::reason::Reason;
use tokio::sync::oneshot;

use super::Parts;
use super::body;
use super::door::Visitor;
use super::json;
use super::problem::Problem;
use super::publish::no_store;
use crate::refusals;

/// No order is longer: 100 channels of the longest name, and the JSON around them.
const ORDER_BYTES_MAX: usize = 16 << 10;

/// The longest life of a ticket, in seconds (security rule S19).
const TTL_S_MAX: u64 = 120;

pub(super) async fn tickets(
    State(parts): State<Parts>,
    Extension(grant): Extension<Arc<Grant>>,
    Extension(visitor): Extension<Visitor>,
    request: Request<Body>,
) -> Result<Response, Problem> {
    let limits = parts.node.limits();
    let bytes = body::read(request.into_body(), ORDER_BYTES_MAX, limits.body_max).await?;
    let order = read(&bytes)?;
    let channels = order.channels.map(|names| read_channels(&names, limits.channels_per_connection_max));
    let channels = channels.transpose()?;
    for channel in channels.iter().flat_map(|set| set.iter()) {
        refusals::may_subscribe(&grant, channel)?;
        // A ticket would open nothing there.
        if parts.node.revocations.bars(&grant, channel) {
            return Err(Problem::new(Reason::Revoked, format!("the right to `{channel}` was taken back")));
        }
    }
    if order.ttl.is_some_and(|ttl| !(1..=TTL_S_MAX).contains(&ttl)) {
        return Err(Problem::new(
            Reason::BadRequest,
            format!("`ttl` is a number of seconds from 1 to {TTL_S_MAX}"),
        ));
    }
    let bought = parts.node.crowd.as_ref().map(|crowd| crowd.may_buy(&grant.holder));
    if let Some(Err(reason)) = bought {
        return Err(Problem::new(
            reason,
            "this subject buys more tickets a second than it may, at all nodes",
        ));
    }
    let (origin, client) = (visitor.caller.origin.clone(), visitor.way.client);
    let order = TicketOrder { grant, origin, client, channels, ttl_s: order.ttl };
    let (done, outcome) = oneshot::channel();
    let done = Box::new(move |ticket| {
        // Nobody waits any more; an unspent ticket ends by itself.
        let _ = done.send(ticket);
    });
    parts.node.tickets.sell(order, parts.node.clock.now(), done);
    let ticket = match outcome.await {
        Ok(Ok(ticket)) => ticket,
        Ok(Err(denied)) => return Err(Problem(refusals::worded(denied))),
        Err(_) => return Err(Problem::new(Reason::Internal, "the ticket was not issued")),
    };
    parts.node.tally.issued_ticket();
    let answer = Answer { ticket: &ticket.secret, expires_in: ticket.expires_in_s };
    let mut response = Json(answer).into_response();
    no_store(response.headers_mut());
    Ok(response)
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Order {
    channels: Option<Vec<String>>,
    ttl: Option<u64>,
}

#[derive(Serialize)]
struct Answer<'a> {
    ticket: &'a str,
    expires_in: u64,
}

/// An order may be left out: then it asks for everything, as long as configured.
fn read(bytes: &[u8]) -> Result<Order, Problem> {
    if bytes.is_empty() {
        return Ok(Order::default());
    }
    json::read(bytes, "the order")
}

fn read_channels(names: &[String], most: usize) -> Result<ChannelSet, Problem> {
    if names.is_empty() || names.len() > most {
        let detail = format!("`channels` names {} channels; 1 to {most} may be named", names.len());
        return Err(Problem::new(Reason::ChannelCount, detail));
    }
    let channels: Result<Vec<_>, _> = names.iter().map(|name| refusals::channel(name)).collect();
    Ok(ChannelSet::new(channels?))
}
