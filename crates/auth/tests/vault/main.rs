//! Vaults: the contract, and what memory alone promises.

#![allow(clippy::unwrap_used)] // The suite's own words are not test functions, yet a panic is their report too.

mod contract;

use std::sync::Arc;
use std::time::Duration;

use tidewire_auth::vault::{MemoryVault, Room, VaultError};

use contract::{Bench, TTL, contract, session, ticket};

/// Turns the clock of a backend that goes by the time it is told.
fn turn(bench: &mut Bench, time: Duration) {
    bench.now.monotonic_ms += u64::try_from(time.as_millis()).unwrap();
}

// What memory alone promises: how much it holds.

fn small(count_max: usize, bytes_max: usize) -> Bench {
    Bench::new(Arc::new(MemoryVault::new(Room { count_max, bytes_max })))
}

#[test]
fn a_full_vault_says_so_and_throws_nothing_out() {
    let mut bench = small(2, 1 << 20);
    bench.put_for(ticket("full", 0), "a", TTL).unwrap();
    bench.put_for(ticket("full", 1), "b", TTL).unwrap();
    assert_eq!(bench.put_for(ticket("full", 2), "c", TTL), Err(VaultError::Full));
    assert_eq!(bench.put_for(ticket("full", 1), "b2", TTL), Ok(()), "in its own place there is room");
    assert_eq!(bench.put_for(session("full", 0), "s", TTL), Ok(()), "sessions have room of their own");
    assert_eq!(bench.get(ticket("full", 0)).as_deref(), Some("a"));
    turn(&mut bench, TTL);
    assert_eq!(bench.put_for(ticket("full", 2), "c", TTL), Ok(()), "what has expired makes room");
}

#[test]
fn a_vault_is_full_by_bytes_too_and_gives_them_back() {
    let bench = small(1_000, 10_000);
    let large = "x".repeat(5_000);
    bench.put(ticket("heavy", 0), &large);
    assert_eq!(bench.put_for(ticket("heavy", 1), &large, TTL), Err(VaultError::Full));
    assert!(bench.take(ticket("heavy", 0)).is_some());
    bench.put(ticket("heavy", 1), &large);
}

contract!(memory, Arc::new(MemoryVault::default()), turn);
