//! What is shared beside the log is called in Redis.
//!
//! ```text
//! {tidewire:aside}:t:<64 hex>      a ticket
//! {tidewire:aside}:s:<64 hex>      a session
//! {tidewire:aside}:revocations     the stream of revocations
//! {tidewire:aside}:r:<32 hex>      what each node let through of one limit
//! {tidewire:aside}:lookout         there while somebody looks at a console
//! ```

use std::fmt;

use tidewire_auth::secret;
use tidewire_auth::vault::Key;

/// The names of one cluster. Nothing that a user chose stands in any of them (security rule S47).
#[derive(Clone)]
pub struct Names {
    tag: Box<str>,
}

impl Names {
    /// The names under `prefix`, as `broker.prefix` has it.
    ///
    /// The log's hash tags end in a number, and this one does not, so that in a cluster nothing of it weighs on a partition.
    #[must_use]
    pub fn new(prefix: &str) -> Names {
        Names { tag: format!("{{{prefix}:aside}}").into() }
    }

    pub(super) fn revocations(&self) -> String {
        format!("{}:revocations", self.tag)
    }

    pub(super) fn lookout(&self) -> String {
        format!("{}:lookout", self.tag)
    }

    pub(super) fn rate(&self, digest: &str) -> String {
        format!("{}:r:{digest}", self.tag)
    }

    pub(super) fn of_vault(&self, key: Key) -> String {
        let (kind, digest) = match &key {
            Key::Ticket(digest) => ('t', digest),
            Key::Session(digest) => ('s', digest),
        };
        format!("{}:{kind}:{}", self.tag, secret::hex(digest))
    }
}

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Names({})", self.tag)
    }
}
