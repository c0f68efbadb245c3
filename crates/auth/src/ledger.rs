//! The ledger: what each holder has been given and not used up (security rule S24).

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use tidewire_hub::broker::Now;
use tidewire_hub::grant::Holder;

use crate::secret::Digest;

/// Whose account it is: all tokens of one subject have one.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Buyer {
    Developer,
    Key(Arc<str>),
    Subject(Arc<str>),
}

impl Buyer {
    pub(crate) fn of(holder: &Holder) -> Buyer {
        match holder {
            Holder::Developer => Buyer::Developer,
            Holder::Key(name) => Buyer::Key(name.clone()),
            Holder::Token(token) => Buyer::Subject((*token.subject).into()),
        }
    }
}

/// What one account may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Allowance {
    /// Tickets a second; 0 is no bound.
    pub(crate) per_second: u32,
    /// Tickets that are neither spent nor expired; 0 is no bound.
    pub(crate) outstanding_max: usize,
    /// Sessions; beyond it the oldest is closed.
    pub(crate) sessions_max: usize,
    /// Accounts that exist at once.
    pub(crate) accounts_max: usize,
}

/// Why another ticket is not sold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    TooFast,
    TooMany,
    LedgerFull,
}

/// All accounts. One exists for as long as something of it does, and no longer.
pub(crate) struct Ledger {
    accounts: HashMap<Buyer, Account>,
    /// The same accounts in the order they end.
    ending: BTreeSet<(u64, Buyer)>,
    clock: HandClock,
}

struct Account {
    rate: Rate,
    per_second: u32,
    /// What is out there, oldest first, with when it expires.
    tickets: VecDeque<(Digest, u64)>,
    sessions: VecDeque<(Digest, u64)>,
    ends_ms: u64,
}

impl Ledger {
    pub(crate) fn new() -> Ledger {
        Ledger { accounts: HashMap::new(), ending: BTreeSet::new(), clock: HandClock::default() }
    }

    /// Counts a ticket that is being sold.
    pub(crate) fn sell(
        &mut self,
        buyer: &Buyer,
        ticket: Digest,
        expires_ms: u64,
        allowance: &Allowance,
        now: Now,
    ) -> Result<(), Refused> {
        let account = self.account(buyer, allowance, now).ok_or(Refused::LedgerFull)?;
        if allowance.per_second > 0 && account.rate.check().is_err() {
            return Err(Refused::TooFast);
        }
        if allowance.outstanding_max == 0 {
            // A list that nobody bounds is not kept.
            account.tickets.clear();
            return Ok(());
        }
        account.tickets.retain(|(_, expires_ms)| *expires_ms > now.monotonic_ms);
        if account.tickets.len() >= allowance.outstanding_max {
            return Err(Refused::TooMany);
        }
        account.tickets.push_back((ticket, expires_ms));
        self.keep_until(buyer, expires_ms);
        Ok(())
    }

    /// Counts a ticket no longer: it was spent, or it was not sold after all.
    pub(crate) fn spend(&mut self, buyer: &Buyer, ticket: &Digest) {
        if let Some(account) = self.accounts.get_mut(buyer) {
            account.tickets.retain(|(sold, _)| sold != ticket);
        }
    }

    /// Counts a session that is being opened, and names the one that has to go for it. Nothing is opened where there
    /// is no room for the account.
    pub(crate) fn open(
        &mut self,
        buyer: &Buyer,
        session: Digest,
        expires_ms: u64,
        allowance: &Allowance,
        now: Now,
    ) -> Result<Option<Digest>, Refused> {
        let account = self.account(buyer, allowance, now).ok_or(Refused::LedgerFull)?;
        account.sessions.retain(|(_, expires_ms)| *expires_ms > now.monotonic_ms);
        let goes = account.sessions.len() >= allowance.sessions_max.max(1);
        let gone = if goes { account.sessions.pop_front() } else { None };
        account.sessions.push_back((session, expires_ms));
        self.keep_until(buyer, expires_ms);
        Ok(gone.map(|(session, _)| session))
    }

    /// The account of `buyer`, a new one where there is room.
    fn account(&mut self, buyer: &Buyer, allowance: &Allowance, now: Now) -> Option<&mut Account> {
        self.clock.turn_to(now);
        self.close_what_has_ended(now);
        let count = self.accounts.len();
        let account = match self.accounts.entry(buyer.clone()) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(_) if count >= allowance.accounts_max => return None,
            Entry::Vacant(entry) => {
                // Its rate is remembered for the second that it is about.
                let ends_ms = now.monotonic_ms.saturating_add(1_000);
                self.ending.insert((ends_ms, buyer.clone()));
                entry.insert(Account::new(allowance, &self.clock, ends_ms))
            }
        };
        if account.per_second != allowance.per_second {
            (account.rate, account.per_second) = (rate(allowance, &self.clock), allowance.per_second);
        }
        Some(account)
    }

    fn keep_until(&mut self, buyer: &Buyer, ends_ms: u64) {
        let Some(account) = self.accounts.get_mut(buyer).filter(|account| account.ends_ms < ends_ms) else {
            return;
        };
        self.ending.remove(&(account.ends_ms, buyer.clone()));
        self.ending.insert((ends_ms, buyer.clone()));
        account.ends_ms = ends_ms;
    }

    fn close_what_has_ended(&mut self, now: Now) {
        while self.ending.first().is_some_and(|(ends_ms, _)| *ends_ms <= now.monotonic_ms) {
            if let Some((_, buyer)) = self.ending.pop_first() {
                self.accounts.remove(&buyer);
            }
        }
    }
}

impl Account {
    fn new(allowance: &Allowance, clock: &HandClock, ends_ms: u64) -> Account {
        let rate = rate(allowance, clock);
        let per_second = allowance.per_second;
        Account { rate, per_second, tickets: VecDeque::new(), sessions: VecDeque::new(), ends_ms }
    }
}

type Rate = RateLimiter<NotKeyed, InMemoryState, HandClock, NoOpMiddleware<Duration>>;

/// What may be bought in a second may all be bought at once.
fn rate(allowance: &Allowance, clock: &HandClock) -> Rate {
    let per_second = NonZeroU32::new(allowance.per_second).unwrap_or(NonZeroU32::MIN);
    RateLimiter::direct_with_clock(Quota::per_second(per_second), clock.clone())
}

/// The time of the last call. Turned under the lock that the ledger is behind.
#[derive(Clone, Default)]
struct HandClock(Arc<AtomicU64>);

impl HandClock {
    fn turn_to(&self, now: Now) {
        // Two threads may come with their times in the other order.
        self.0.fetch_max(now.monotonic_ms, Ordering::Relaxed);
    }
}

impl Clock for HandClock {
    type Instant = Duration;

    fn now(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::Relaxed))
    }
}

impl fmt::Debug for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ledger").field("accounts", &self.accounts.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALLOWANCE: Allowance =
        Allowance { per_second: 10, outstanding_max: 20, sessions_max: 2, accounts_max: 3 };

    fn at(monotonic_ms: u64) -> Now {
        Now { monotonic_ms, wall_ms: 0, micros: 0 }
    }

    fn subject(name: &str) -> Buyer {
        Buyer::Subject(name.into())
    }

    fn ticket(number: u8) -> Digest {
        [number; 32]
    }

    /// Sells a ticket that lasts 30 s.
    fn sell(ledger: &mut Ledger, buyer: &Buyer, number: u8, now_ms: u64) -> Result<(), Refused> {
        ledger.sell(buyer, ticket(number), now_ms + 30_000, &ALLOWANCE, at(now_ms))
    }

    #[test]
    fn s24_a_subject_buys_ten_tickets_a_second() {
        let (mut ledger, alice) = (Ledger::new(), subject("alice"));
        for number in 0..10 {
            assert_eq!(sell(&mut ledger, &alice, number, 1_000), Ok(()));
        }
        assert_eq!(sell(&mut ledger, &alice, 10, 1_000), Err(Refused::TooFast));
        assert_eq!(sell(&mut ledger, &subject("bob"), 0, 1_000), Ok(()), "another's rate is another's");
        assert_eq!(
            sell(&mut ledger, &alice, 10, 1_100),
            Ok(()),
            "a tenth of a second later there is one more"
        );
        assert_eq!(sell(&mut ledger, &alice, 11, 1_100), Err(Refused::TooFast));
    }

    #[test]
    fn s24_twenty_tickets_are_out_at_once_and_the_spent_and_the_expired_are_not() {
        let (mut ledger, alice) = (Ledger::new(), subject("alice"));
        for number in 0..20 {
            assert_eq!(
                sell(&mut ledger, &alice, number, 1_000 + 100 * u64::from(number)),
                Ok(()),
                "{number}"
            );
        }
        assert_eq!(sell(&mut ledger, &alice, 20, 5_000), Err(Refused::TooMany));
        ledger.spend(&alice, &ticket(7));
        assert_eq!(sell(&mut ledger, &alice, 20, 5_000), Ok(()));
        assert_eq!(sell(&mut ledger, &alice, 21, 5_000), Err(Refused::TooMany));
        assert_eq!(sell(&mut ledger, &alice, 21, 31_000), Ok(()), "the first has expired");
    }

    #[test]
    fn s24_limits_that_are_off_count_nothing() {
        let (mut ledger, alice) = (Ledger::new(), subject("alice"));
        let off = Allowance { per_second: 0, outstanding_max: 0, ..ALLOWANCE };
        for number in 0..=255 {
            assert_eq!(ledger.sell(&alice, ticket(number), 31_000, &off, at(1_000)), Ok(()));
        }
        assert!(ledger.accounts[&alice].tickets.is_empty(), "and remember nothing");
    }

    #[test]
    fn s24_a_reload_changes_the_rate_of_accounts_that_exist() {
        let (mut ledger, alice) = (Ledger::new(), subject("alice"));
        sell(&mut ledger, &alice, 0, 1_000).unwrap();
        let slower = Allowance { per_second: 1, ..ALLOWANCE };
        assert_eq!(ledger.sell(&alice, ticket(1), 31_000, &slower, at(1_000)), Ok(()));
        assert_eq!(ledger.sell(&alice, ticket(2), 31_000, &slower, at(1_000)), Err(Refused::TooFast));
    }

    #[test]
    fn s24_a_full_ledger_sells_to_nobody_new_and_empties_by_itself() {
        let mut ledger = Ledger::new();
        for name in ["a", "b", "c"] {
            sell(&mut ledger, &subject(name), 0, 1_000).unwrap();
        }
        assert_eq!(sell(&mut ledger, &subject("d"), 0, 1_000), Err(Refused::LedgerFull));
        assert_eq!(sell(&mut ledger, &subject("a"), 1, 1_000), Ok(()));
        assert_eq!(sell(&mut ledger, &subject("d"), 0, 31_000), Ok(()), "what was sold has expired");
        assert_eq!((ledger.accounts.len(), ledger.ending.len()), (1, 1));
    }

    #[test]
    fn s23_a_subject_with_too_many_sessions_loses_the_oldest() {
        let (mut ledger, alice) = (Ledger::new(), subject("alice"));
        let mut open = |number, now_ms| ledger.open(&alice, ticket(number), 60_000, &ALLOWANCE, at(now_ms));
        assert_eq!(open(1, 1_000), Ok(None));
        assert_eq!(open(2, 1_000), Ok(None));
        assert_eq!(open(3, 1_000), Ok(Some(ticket(1))));
        assert_eq!(open(4, 60_000), Ok(None), "the others are over");
    }

    #[test]
    fn s28_a_subject_is_never_taken_for_a_key_of_its_name() {
        let mut ledger = Ledger::new();
        for number in 0..10 {
            sell(&mut ledger, &subject("shop"), number, 1_000).unwrap();
        }
        assert_eq!(sell(&mut ledger, &Buyer::Key("shop".into()), 0, 1_000), Ok(()));
    }
}
