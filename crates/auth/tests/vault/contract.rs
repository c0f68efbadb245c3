//! The contract that every vault passes: one suite, and one row for each backend, in the tests of its room.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use tidewire_auth::vault::{Key, Vault, VaultError};
use tidewire_hub::broker::Now;

/// A vault and a clock turned by hand.
pub(crate) struct Bench {
    vault: Arc<dyn Vault>,
    pub(crate) now: Now,
}

/// How long the suite waits for a backend that answers from elsewhere.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long values last in the suite: short, for a backend whose clock nobody can turn.
pub(crate) const TTL: Duration = Duration::from_millis(400);

impl Bench {
    pub(crate) fn new(vault: Arc<dyn Vault>) -> Bench {
        Bench { vault, now: Now { monotonic_ms: 1_000, wall_ms: 1_700_000_000_000, micros: 0 } }
    }

    pub(crate) fn put_for(&self, key: Key, value: &str, ttl: Duration) -> Result<(), VaultError> {
        let (sender, answer) = mpsc::channel();
        let value = Bytes::copy_from_slice(value.as_bytes());
        self.vault.put(key, value, ttl, self.now, Box::new(move |outcome| sender.send(outcome).unwrap()));
        answer.recv_timeout(PATIENCE).unwrap()
    }

    pub(crate) fn put(&self, key: Key, value: &str) {
        self.put_for(key, value, Duration::from_secs(30)).unwrap();
    }

    pub(crate) fn take(&self, key: Key) -> Option<String> {
        let (sender, answer) = mpsc::channel();
        self.vault.take(key, self.now, Box::new(move |outcome| sender.send(outcome).unwrap()));
        answer.recv_timeout(PATIENCE).unwrap().unwrap().map(|value| text(&value))
    }

    pub(crate) fn get(&self, key: Key) -> Option<String> {
        let (sender, answer) = mpsc::channel();
        self.vault.get(key, self.now, Box::new(move |outcome| sender.send(outcome).unwrap()));
        answer.recv_timeout(PATIENCE).unwrap().unwrap().map(|value| text(&value))
    }
}

fn text(value: &Bytes) -> String {
    String::from_utf8(value.to_vec()).unwrap()
}

/// A key of its own for each test and number, so that backends that outlive the suite are not confused by it.
pub(crate) fn ticket(test: &str, number: usize) -> Key {
    Key::Ticket(tidewire_auth::secret::digest(&format!("{test} {number} {}", std::process::id())))
}

pub(crate) fn session(test: &str, number: usize) -> Key {
    match ticket(test, number) {
        Key::Ticket(digest) | Key::Session(digest) => Key::Session(digest),
    }
}

/// Names every rule of the contract; each backend runs all of them.
macro_rules! contract {
    ($backend:ident, $new:expr, $wait:expr) => {
        mod $backend {
            use super::*;
            use $crate::contract::{self, Bench};

            fn bench() -> Bench {
                Bench::new($new)
            }

            #[test]
            fn s20_what_was_taken_is_gone() {
                contract::s20_what_was_taken_is_gone(&bench());
            }

            #[test]
            fn s20_ten_thousand_tickets_raced_for_by_eight_have_ten_thousand_winners() {
                contract::s20_ten_thousand_tickets_raced_for_by_eight_have_ten_thousand_winners(&bench());
            }

            #[test]
            fn what_was_shown_is_still_there() {
                contract::what_was_shown_is_still_there(&bench());
            }

            #[test]
            fn s19_what_has_expired_is_gone() {
                contract::s19_what_has_expired_is_gone(bench(), $wait);
            }

            #[test]
            fn s28_a_ticket_is_never_taken_for_a_session() {
                contract::s28_a_ticket_is_never_taken_for_a_session(&bench());
            }

            #[test]
            fn what_is_put_again_is_replaced() {
                contract::what_is_put_again_is_replaced(&bench());
            }

            #[test]
            fn any_bytes_come_back_as_they_were() {
                contract::any_bytes_come_back_as_they_were(&bench());
            }
        }
    };
}
pub(crate) use contract;

pub(crate) fn s20_what_was_taken_is_gone(bench: &Bench) {
    let key = ticket("taken", 0);
    assert_eq!(bench.take(key), None, "nothing was there");
    bench.put(key, "a");
    assert_eq!(bench.take(key).as_deref(), Some("a"));
    assert_eq!(bench.take(key), None);
    assert_eq!(bench.get(key), None);
}

pub(crate) fn s20_ten_thousand_tickets_raced_for_by_eight_have_ten_thousand_winners(bench: &Bench) {
    const TICKETS: usize = 10_000;
    for number in 0..TICKETS {
        bench.put(ticket("race", number), "a");
    }
    let winners: Vec<AtomicUsize> = (0..TICKETS).map(|_| AtomicUsize::new(0)).collect();
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for (number, winners) in winners.iter().enumerate() {
                    if bench.take(ticket("race", number)).is_some() {
                        winners.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    assert!(winners.iter().all(|winners| winners.load(Ordering::Relaxed) == 1));
}

pub(crate) fn what_was_shown_is_still_there(bench: &Bench) {
    let key = session("shown", 0);
    assert_eq!(bench.get(key), None);
    bench.put(key, "a");
    assert_eq!(bench.get(key).as_deref(), Some("a"));
    assert_eq!(bench.get(key).as_deref(), Some("a"));
    assert_eq!(bench.take(key).as_deref(), Some("a"));
}

pub(crate) fn s19_what_has_expired_is_gone(mut bench: Bench, wait: fn(&mut Bench, Duration)) {
    let keys = [ticket("expired", 0), ticket("expired", 1), session("expired", 2)];
    for key in keys {
        bench.put_for(key, "a", TTL).unwrap();
    }
    assert_eq!(bench.get(keys[0]).as_deref(), Some("a"));
    wait(&mut bench, TTL);
    for key in keys {
        assert_eq!(bench.get(key), None);
        assert_eq!(bench.take(key), None);
    }
}

pub(crate) fn s28_a_ticket_is_never_taken_for_a_session(bench: &Bench) {
    bench.put(ticket("kinds", 0), "ticket");
    assert_eq!(bench.take(session("kinds", 0)), None);
    assert_eq!(bench.get(session("kinds", 0)), None);
    bench.put(session("kinds", 0), "session");
    assert_eq!(bench.take(ticket("kinds", 0)).as_deref(), Some("ticket"));
    assert_eq!(bench.take(session("kinds", 0)).as_deref(), Some("session"));
}

pub(crate) fn what_is_put_again_is_replaced(bench: &Bench) {
    let key = session("replaced", 0);
    bench.put(key, "a");
    bench.put(key, "b");
    assert_eq!(bench.take(key).as_deref(), Some("b"));
    assert_eq!(bench.take(key), None);
}

pub(crate) fn any_bytes_come_back_as_they_were(bench: &Bench) {
    for (number, value) in
        ["", "{\"a\":\"\\u00e9\"}", "\0\r\n ", &"x".repeat(16 << 10)].into_iter().enumerate()
    {
        let key = ticket("bytes", number);
        bench.put(key, value);
        assert_eq!(bench.take(key).as_deref(), Some(value));
    }
}
