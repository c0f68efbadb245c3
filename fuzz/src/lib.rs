//! What the fuzzers share: ways to cut an input, and readers that are not ours to compare with.

#![forbid(unsafe_code)]

pub mod cut;
pub mod event_stream;
