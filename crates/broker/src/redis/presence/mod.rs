//! Who is connected to a channel of any node: each node's members under its own lease, and one count over all.
//!
//! ```text
//! roster   what this node's members are, and which of that Redis does not know yet
//! desk     the task that writes it, renews the lease, and takes out whoever is gone
//! calls    scripts and their answers
//! ear      the connection over which every node is told of joins and leaves
//! ```
//!
//! A node writes what its members have; only a script knows who is the first or the last over all nodes, and it tells so in
//! the same step. A node that dies leaves its members behind, until its lease has run out and another one takes them
//! out. All of it is lost with the store, and written again.

mod calls;
mod desk;
mod ear;
mod roster;

pub use roster::{PresenceTimes, Roster};
