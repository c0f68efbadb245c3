//! Brokers: where messages are placed, kept and handed on.
//!
//! One contract, [`tidewire_hub::Broker`]; one room per backend. Memory is the first.

#![forbid(unsafe_code)]

pub mod memory;
