//! The log of one partition in real Redis servers. Each test is named for the rule or fault that it is about.

#![allow(clippy::unwrap_used)] // The words of a test outside its functions; a panic is their report too.

mod beside;
mod bridging;
mod damage;
mod failover;
mod finding;
mod hearing;
mod history;
mod hostile;
mod node;
mod presence;
mod publishing;
mod replicating;
mod rights;
#[path = "../support/server.rs"]
mod server;
mod walk;
