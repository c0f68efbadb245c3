//! Limits that hold for all nodes together: each tells the others once a second what it let through, and takes its share.
//!
//! ```text
//! meter    counts, and holds to shares: the fast path, which asks nobody
//! share    how large the share is
//! rounds   which keys are told, and what comes back
//! report   the one call to Redis, once a second
//! ```
//!
//! What a client gets by going to many nodes at once is bounded by what they let through until they know of each other: two
//! intervals or so. It is owed from then on, so that on average the limit holds (decision 17). Where Redis is away, each node
//! has its own limits, and shares end by themselves.

mod meter;
mod report;
mod rounds;
mod share;

pub(crate) use meter::{Key, Meter, passes};
pub use report::Rates;
pub(crate) use share::Limit;
