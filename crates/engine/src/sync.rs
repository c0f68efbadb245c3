//! The lock of the inbox: the standard one, or loom's where its interleavings are explored.

#[cfg(loom)]
pub(crate) use loom::sync::Mutex;
#[cfg(not(loom))]
pub(crate) use std::sync::Mutex;
