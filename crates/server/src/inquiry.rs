//! Inquiries: who decides on one request with all of it at hand, in place of the gate. An application that Tidewire is part
//! of puts one into each request that it hands over: it knows its visitors by sessions that no gate knows of.
//!
//! Where a request comes from is still the gate's to screen, and there is still room or not, before anybody is asked.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use tidewire_hub::broker::{Done, Now};
use tidewire_hub::grant::{Action, Denied, Entry};

/// Asks for one request. An extension of it; clones ask the same.
#[derive(Clone)]
pub struct Inquiry(Arc<Ask>);

type Ask = dyn Fn(Question, Done<Result<Entry, Denied>>) + Send + Sync;

/// What is known of a request beside itself.
#[derive(Clone, Copy, Debug)]
pub struct Question {
    /// What it is for.
    pub action: Action,
    /// Who its client is: the peer, or what a trusted proxy says (security rule S41).
    pub client: IpAddr,
    /// Whether the client came over TLS, as far as anybody knows.
    pub secure: bool,
    /// When it is.
    pub now: Now,
}

impl Inquiry {
    /// `ask` answers once, possibly late, and does not block.
    pub fn new(ask: impl Fn(Question, Done<Result<Entry, Denied>>) + Send + Sync + 'static) -> Inquiry {
        Inquiry(Arc::new(ask))
    }

    pub(crate) fn ask(&self, question: Question, done: Done<Result<Entry, Denied>>) {
        (self.0)(question, done);
    }
}

impl fmt::Debug for Inquiry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Inquiry")
    }
}
