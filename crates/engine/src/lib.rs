//! The sockets of Tidewire: sharded event loops that decide nothing.
//!
//! What happens goes up as an [`Event`]; what to do comes down as a [`tidewire_hub::Command`] through an [`Inbox`].
//! The same [`shard::Shard`] runs over epoll ([`sockets`]), over pipes in memory that the API server feeds
//! ([`pipes`]), and over the simulation's fake kernel. Unsafe code lives in `sys` only.

#![deny(unsafe_code)]

pub mod counters;
pub mod event;
pub mod inbox;
pub mod kernel;
pub mod pipes;
pub mod proxies;
pub mod shard;
#[cfg(target_os = "linux")]
pub mod sockets;
mod sync;
#[cfg(target_os = "linux")]
mod sys;
pub mod trunk;

pub use counters::Counters;
pub use event::{Control, Event, Inbound, Over};
pub use inbox::Inbox;
pub use proxies::Proxies;
#[cfg(target_os = "linux")]
pub use sockets::HandOff;
