//! The vault in Redis: the contract that every vault passes, and what only one that is shared can do.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tidewire_auth::vault::{Key, Vault, VaultError};
use tidewire_broker::redis::Timeouts;
use tidewire_hub::broker::{Done, Now};
use tidewire_server::shared::{Names, RedisVault};
use tokio::runtime::Runtime;

use crate::contract::{Bench, TTL, contract, ticket};
use crate::server::Server;
use crate::{PATIENT, aside};

/// A vault with a server and a runtime of its own. Dropped in that order.
struct Alone {
    vault: RedisVault,
    server: Server,
    runtime: Runtime,
}

impl Alone {
    fn new(options: &[&str], timeouts: Timeouts) -> Alone {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let server = runtime.block_on(Server::start(options));
        let vault = vault(&server, timeouts, &runtime);
        Alone { vault, server, runtime }
    }
}

fn vault(server: &Server, timeouts: Timeouts, runtime: &Runtime) -> RedisVault {
    RedisVault::new(aside(server, timeouts), Names::new("tidewire"), runtime.handle().clone())
}

impl Vault for Alone {
    fn put(&self, key: Key, value: Bytes, ttl: Duration, now: Now, done: Done<Result<(), VaultError>>) {
        self.vault.put(key, value, ttl, now, done);
    }

    fn take(&self, key: Key, now: Now, done: Done<Result<Option<Bytes>, VaultError>>) {
        self.vault.take(key, now, done);
    }

    fn get(&self, key: Key, now: Now, done: Done<Result<Option<Bytes>, VaultError>>) {
        self.vault.get(key, now, done);
    }
}

/// Redis expires by a clock that nobody turns.
fn wait(_: &mut Bench, time: Duration) {
    thread::sleep(time + Duration::from_millis(5));
}

contract!(redis, Arc::new(Alone::new(&[], PATIENT)), wait);

#[test]
fn s20_three_nodes_race_for_one_ticket_and_exactly_one_of_eight_gets_it() {
    const TICKETS: usize = 3_000;
    let alone = Alone::new(&[], PATIENT);
    let vaults: Vec<RedisVault> = (0..3).map(|_| vault(&alone.server, PATIENT, &alone.runtime)).collect();
    let nodes: Vec<Bench> = (0..8).map(|racer| Bench::new(Arc::new(vaults[racer % 3].clone()))).collect();
    for number in 0..TICKETS {
        nodes[number % 8].put(ticket("nodes", number), "a");
    }
    let winners: Vec<AtomicUsize> = (0..TICKETS).map(|_| AtomicUsize::new(0)).collect();
    thread::scope(|scope| {
        for node in &nodes {
            let winners = &winners;
            scope.spawn(move || {
                for (number, winners) in winners.iter().enumerate() {
                    if node.take(ticket("nodes", number)).is_some() {
                        winners.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    assert!(winners.iter().all(|winners| winners.load(Ordering::Relaxed) == 1));
    let keys = alone.runtime.block_on(alone.server.text(&["DBSIZE"]));
    assert_eq!(keys, "0", "what was taken leaves nothing behind");
}

#[test]
fn s19_what_lies_in_redis_names_no_secret_and_expires_by_itself() {
    let alone = Arc::new(Alone::new(&[], PATIENT));
    let Key::Ticket(digest) = ticket("lies", 0) else { unreachable!() };
    Bench::new(alone.clone()).put(Key::Ticket(digest), "a");
    let key = format!("{{tidewire:aside}}:t:{}", tidewire_auth::secret::hex(&digest));
    let left: i64 = alone.runtime.block_on(alone.server.text(&["PTTL", &key])).parse().unwrap();
    assert!((1..=30_000).contains(&left), "{left}");
}

#[test]
fn a_full_redis_is_a_full_vault_and_still_gives_out() {
    let alone = Arc::new(Alone::new(&[], PATIENT));
    let bench = Bench::new(alone.clone());
    bench.put(ticket("oom", 0), "a");
    alone.runtime.block_on(alone.server.ask(&["CONFIG", "SET", "maxmemory", "1"]));
    assert_eq!(bench.put_for(ticket("oom", 1), "b", TTL), Err(VaultError::Full));
    assert_eq!(bench.take(ticket("oom", 0)).as_deref(), Some("a"));
}

#[test]
fn s21_a_silent_redis_is_unavailable_within_a_second_and_a_take_is_never_repeated() {
    let alone = Arc::new(Alone::new(&[], Timeouts { answer: Duration::from_millis(800), ..PATIENT }));
    let bench = Bench::new(alone.clone());
    let key = ticket("silent", 0);
    bench.put(key, "a");
    alone.server.signal("STOP");
    let (sender, answer) = std::sync::mpsc::channel();
    let asked = Instant::now();
    alone.take(key, Now::default(), Box::new(move |outcome| sender.send(outcome).unwrap()));
    assert_eq!(answer.recv_timeout(Duration::from_secs(5)).unwrap(), Err(VaultError::Unavailable));
    assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
    alone.server.signal("CONT");
    // It reached Redis all the same: whoever asks again gets nothing, and Redis was asked once for each call.
    alone.runtime.block_on(alone.server.until(&["INFO", "commandstats"], "cmdstat_getdel:calls=1,"));
    assert_eq!(bench.take(key), None);
    alone.runtime.block_on(alone.server.until(&["INFO", "commandstats"], "cmdstat_getdel:calls=2,"));
}
