//! The allocator: jemalloc, because a storm of connections must not leave its memory behind.
//!
//! Chosen by what stays resident after everybody has left; see `docs/decisions/0006-jemalloc.md`.

#![allow(unsafe_code)] // An exported symbol is an unsafe attribute; there is no unsafe block here.

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Read by jemalloc before `main`: a thread of its own gives unused pages back after a second, and two arenas are
/// enough for a few threads.
#[unsafe(export_name = "malloc_conf")]
static MALLOC_CONF: &[u8] = b"background_thread:true,dirty_decay_ms:1000,muzzy_decay_ms:0,narenas:2\0";
