//! The one room with unsafe code: system calls that the standard library does not offer (invariant 2).
//!
//! Each wrapper is safe to call with any arguments.

#![allow(unsafe_code)]

pub(crate) mod epoll;
pub(crate) mod listen;
pub(crate) mod ring;
