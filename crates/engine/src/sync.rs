//! The lock of the inbox: the standard one, or loom's where its interleavings are explored.

#[cfg(tidewire_loom)]
pub(crate) use loom::sync::Mutex;
#[cfg(not(tidewire_loom))]
pub(crate) use std::sync::Mutex;
