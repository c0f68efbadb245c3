//! The Redis broker: one partition's log in one Redis, and what nodes do with it.
//!
//! ```text
//! keys       what things are called
//! envelope   what is kept and told
//! scripts/   what happens in one step, in Redis
//! fence      what a node remembers, and what it learns from a handshake
//! history    what a read gives
//! address    where Redis is, and who is its master
//! link       calls and answers
//! log        the client: handshake, publish, renew, read, probe
//! hear       a subscribed link, and what it brings
//!
//! sequencer/ what a node does with the log, without sockets, tasks or clocks
//! broker     the sequencer behind a lock
//! keep       the tasks that carry out its orders
//!
//! aside      a client for what is not the log's
//! bridge     plain channels of others, relayed
//! presence   who is connected to a channel of any node
//! ```
//!
//! Down to `hear` nothing decides when: no task, no timer, no repetition but that of a script that Redis has forgotten. A
//! link that is in doubt is given up and dialled anew by whoever holds it (delivery rule R16).

mod address;
mod aside;
mod bridge;
pub mod broker;
mod endpoint;
mod envelope;
mod error;
mod fence;
mod hear;
mod history;
mod keep;
mod keys;
mod link;
mod log;
mod presence;
mod reply;
mod script;
mod sentinel;
pub mod sequencer;

pub use address::{Address, AddressError, SENTINELS_MAX};
pub use aside::{ASIDE_CALLS_MAX, Aside};
pub use bridge::{Bridge, Clock, Crossed, Crossing};
pub use endpoint::Endpoint;
pub use envelope::{Envelope, Junk, PAYLOAD_BYTES_MAX, decode_body, encode_body};
pub use error::Error;
pub use fence::{Ancestor, Fence, NodeId, Past, Replication, Verdict, Witness};
pub use hear::{Ear, Hear, Heard};
pub use history::{History, Slice};
pub use keys::{Names, PREFIX_BYTES_MAX};
pub use link::{Probe, Timeouts};
pub use log::{
    Durability, FLUSH_MESSAGES_MAX, Lease, Log, Placing, READ_CHANNELS_MAX, Request, TAIL_MESSAGES_MAX,
};
pub use presence::{PresenceTimes, Roster};
