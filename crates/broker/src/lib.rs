//! Brokers: where messages are placed, kept and handed on.
//!
//! One contract, [`tidewire_hub::Broker`]; one room per backend. Memory first, then Redis in layers.

#![forbid(unsafe_code)]

pub mod memory;
pub mod redis;
