//! The one room with unsafe code: system calls that the standard library does not offer (invariant 2).
//!
//! Each wrapper is safe to call with any arguments. Batched sends through io_uring are to stand beside `epoll`.

#![allow(unsafe_code)]

pub(crate) mod epoll;
pub(crate) mod listen;
