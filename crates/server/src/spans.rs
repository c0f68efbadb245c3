//! Spans: what a node did, told to whoever collects traces (decision 35).
//!
//! The node says what happened once it is over and answered; nobody waits for whoever is told. Where there is nobody, nothing is
//! even looked at.

use std::time::{Duration, SystemTime};

use tidewire_hub::position::Position;
use tidewire_hub::reason::Reason;
use tidewire_hub::trace::TraceParent;

/// Takes spans. It is called on threads that have clients to serve, so it neither waits nor blocks, and it drops what it has no
/// room for.
pub trait Spans: Send + Sync {
    /// A publish is over.
    fn published(&self, span: &Published);

    /// A request was refused.
    fn refused(&self, span: &Refused<'_>);
}

/// A publish that was handed to the broker, or to the bridge. Neither its channel nor its payload: those are their users'.
#[derive(Clone, Debug)]
pub struct Published {
    /// What it is part of.
    pub parent: Option<TraceParent>,
    /// When it was handed over.
    pub began: SystemTime,
    /// Until the broker had answered.
    pub took: Duration,
    /// Bytes of the payload.
    pub payload_bytes: usize,
    /// The id of its message, where it has one; or why there is no message.
    pub outcome: Result<Option<Position>, Reason>,
}

/// A request that was refused.
#[derive(Clone, Copy, Debug)]
pub struct Refused<'a> {
    /// What it is part of, where it said so.
    pub parent: Option<&'a TraceParent>,
    /// When, in milliseconds since 1970.
    pub time_ms: u64,
    /// Why.
    pub reason: Reason,
    /// How it asked: a method, or the transport of a subscription. May be empty.
    pub asked: &'static str,
    /// What the client was given to quote, which stands in the log as well.
    pub trace_id: Option<&'a str>,
}
