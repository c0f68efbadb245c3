//! The heart of Tidewire: nouns, contracts and routing.
//!
//! Nothing here knows a socket, a clock or a runtime: time and bytes are arguments (invariant 1 of `ARCHITECTURE.md`).
//!
//! ```text
//! PUBLISH     Publish -----> Message -------> Command::Deliver
//!             in bounds      placed, kept     into every interested outlet's inbox
//! SUBSCRIBE   Subscribe ---> Admit
//!             asked          history up to one position, and everything after it
//! ```

#![forbid(unsafe_code)]

pub mod admit;
mod barrier;
pub mod bridge;
pub mod broker;
pub mod channel;
pub mod deliver;
pub mod grant;
pub mod histogram;
mod history;
mod keys;
pub mod limits;
pub mod lineage;
pub mod message;
mod order;
pub mod partition;
pub mod pattern;
pub mod position;
pub mod presence;
pub mod publish;
pub mod reason;
mod resume;
pub mod revocation;
pub mod survey;
pub mod trace;

pub use admit::{
    Admit, Cause, ConnId, Gap, GapReason, HeadFields, Join, Loss, OutletId, Page, Place, Subscribe, Terms,
    Transport,
};
pub use bridge::{Bridged, Outward, Relay};
pub use broker::{Broker, Now};
pub use channel::{Channel, ChannelSet};
pub use deliver::{Command, Outlet};
pub use grant::{
    Action, Asked, Denied, Entry, Gate, Grant, Holder, Scope, Screened, Ticket, TicketOrder, Tickets, Token,
};
pub use histogram::Histogram;
pub use limits::{Limits, Retention, Retentions};
pub use message::{EventName, Message, Payload};
pub use partition::Partition;
pub use pattern::Pattern;
pub use position::{Cursor, Gen, Position, Start};
pub use publish::{Publish, Receipt};
pub use reason::Reason;
pub use revocation::{Revocation, Revocations, Revoked};
pub use trace::TraceParent;
