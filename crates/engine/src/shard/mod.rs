//! A shard: one event loop with its connections, told by an inbox and telling by events.
//!
//! ```text
//!  kernel ──ready──▶ accept, read ──Event──▶ control plane ──▶ broker
//!                                                                │ Command
//!  sockets ◀──one write each── flush ◀──queues── obey ◀──inbox───┘
//! ```
//!
//! [`Shard::turn`] is the loop's one screen. A turn takes what is ready, obeys the inbox in its order, writes each
//! socket once, then looks at deadlines, and only then closes what has ended.

mod admission;
mod deadlines;
mod ending;
mod flush;
mod frames;
mod introduction;
mod inward;
mod lanes;
mod latency;
mod members;
mod obey;
mod post;
mod presence;
mod queue;
mod rights;
mod run;
mod send;
mod slot;
mod speech;
mod survey;
mod time;
mod turn;

pub(crate) use run::{run, seed};
pub use turn::{Parts, Shard};
