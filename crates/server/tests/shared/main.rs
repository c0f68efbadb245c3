//! What nodes share beside the log, in real Redis servers. Each test is named for the rule or fault that it is about.

#![allow(clippy::unwrap_used)] // The words of a test outside its functions; a panic is their report too.

mod allowed;
#[path = "../../../auth/tests/vault/contract.rs"]
mod contract;
mod rating;
mod relay;
mod revoking;
#[path = "../../../broker/tests/support/server.rs"]
#[allow(dead_code)] // The log's tests ask more of it.
mod server;
mod vault;

use std::time::Duration;

use server::Server;
use tidewire_broker::redis::{Address, Aside, Timeouts};

/// For tests in which nothing is late.
const PATIENT: Timeouts = Timeouts { dial: Duration::from_secs(5), answer: Duration::from_secs(5) };

fn aside(server: &Server, timeouts: Timeouts) -> Aside {
    Aside::new(Address::parse(&server.url(), None).unwrap(), timeouts)
}
