//! Gates: who may do what. Each file is one way to decide; all of them implement [`tidewire_hub::Gate`].

#![forbid(unsafe_code)]

pub mod dev;
pub mod origin;
