//! The control plane: configuration, HTTP API, metrics, pages. The only room that knows all the others.

#![forbid(unsafe_code)]

pub mod config;
