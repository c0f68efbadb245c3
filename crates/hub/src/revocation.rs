//! Revocations: rights that were taken back before they ended by themselves (security rule S26).

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::broker::Now;
use crate::channel::Channel;
use crate::grant::{Grant, Holder, Token};

/// One record: what was taken back, from whom, and for how long that has to be remembered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revocation {
    /// What was taken back.
    pub what: Revoked,
    /// When, in seconds since 1970. Tokens that were issued at that second or before are concerned.
    pub at_s: u64,
    /// Until when it is remembered, on the steady clock of this node ([`Now::monotonic_ms`]): no shorter than the
    /// longest life of a token, since a token that outlives its revocation is good again.
    pub until_ms: u64,
}

/// What a revocation takes back. It concerns tokens, and tickets that were bought with one; developers and API keys
/// have their rights from the configuration, and lose them there.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Revoked {
    /// Every token of this subject that was issued until then.
    Subject(Box<str>),
    /// The token with this `jti`.
    Token(Box<str>),
    /// This channel, from every token that was issued until then.
    Channel(Channel),
}

impl Revocation {
    /// Whether it ends `grant` as a whole.
    #[must_use]
    pub fn ends(&self, grant: &Grant) -> bool {
        let Holder::Token(token) = &grant.holder else { return false };
        match &self.what {
            Revoked::Subject(subject) => *subject == token.subject && token.issued_at_s <= self.at_s,
            Revoked::Token(id) => token.id.as_ref() == Some(id),
            Revoked::Channel(_) => false,
        }
    }

    /// Whether it takes `channel` from `grant`.
    #[must_use]
    pub fn bars(&self, grant: &Grant, channel: &Channel) -> bool {
        let Holder::Token(token) = &grant.holder else { return false };
        matches!(&self.what, Revoked::Channel(barred) if barred == channel && token.issued_at_s <= self.at_s)
    }
}

impl fmt::Debug for Revoked {
    // A log of who was thrown out is a list of users, and of what they hold.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Revoked::Subject(_) => f.write_str("Subject(***)"),
            Revoked::Token(_) => f.write_str("Token(***)"),
            Revoked::Channel(channel) => f.debug_tuple("Channel").field(channel).finish(),
        }
    }
}

/// Records that a table of its own size holds: more would be a table of users rather than of exceptions.
const RECORDS_MAX: usize = 100_000;

/// The revocations in force: a bounded table that gate and sequencer share.
///
/// Who asks while there are none, which is nearly always, pays for one load of a number.
#[derive(Debug)]
pub struct Revocations {
    /// Records in `table`, so that nobody takes the lock for an empty one.
    count: AtomicUsize,
    table: RwLock<Table>,
    records_max: usize,
}

/// No room for another record. The oldest is not given up for it: that would let somebody back in, in silence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

impl Revocations {
    /// An empty table for at most `records_max` records.
    #[must_use]
    pub fn new(records_max: usize) -> Revocations {
        Revocations { count: AtomicUsize::new(0), table: RwLock::default(), records_max }
    }

    /// Remembers a revocation. One of the same subject, token or channel becomes one with it, and takes no more room.
    ///
    /// # Errors
    /// [`Full`], and nothing has changed.
    pub fn record(&self, revocation: &Revocation) -> Result<(), Full> {
        let mut table = self.write();
        let table = &mut *table;
        let known = match &revocation.what {
            Revoked::Subject(subject) => table.subjects.get(&**subject),
            Revoked::Token(id) => table.tokens.get(&**id),
            Revoked::Channel(channel) => table.channels.get(channel),
        };
        let known = known.copied();
        if known.is_none() && table.expiring.len() >= self.records_max {
            return Err(Full);
        }
        let Revocation { what, at_s, until_ms } = revocation.clone();
        let mut taken = Taken { at_s, until_ms };
        if let Some(known) = known {
            table.expiring.remove(&(known.until_ms, what.clone()));
            taken = Taken { at_s: at_s.max(known.at_s), until_ms: until_ms.max(known.until_ms) };
        }
        table.expiring.insert((taken.until_ms, what.clone()));
        match what {
            Revoked::Subject(subject) => table.subjects.insert(subject, taken),
            Revoked::Token(id) => table.tokens.insert(id, taken),
            Revoked::Channel(channel) => table.channels.insert(channel, taken),
        };
        self.count.store(table.expiring.len(), Ordering::Release);
        Ok(())
    }

    /// Whether one of them ends `grant` as a whole.
    #[must_use]
    pub fn ends(&self, grant: &Grant) -> bool {
        self.bearer(grant).is_some_and(|token| {
            let table = self.read();
            let of_subject = table.subjects.get(&token.subject);
            of_subject.is_some_and(|taken| taken.concerns(token))
                || token.id.as_ref().is_some_and(|id| table.tokens.contains_key(id))
        })
    }

    /// Whether one of them takes `channel` from `grant`.
    #[must_use]
    pub fn bars(&self, grant: &Grant, channel: &Channel) -> bool {
        self.bearer(grant)
            .is_some_and(|token| self.read().channels.get(channel).is_some_and(|taken| taken.concerns(token)))
    }

    /// Forgets those whose time is over. Called about once a second.
    pub fn expire(&self, now: Now) {
        if self.is_empty() {
            return;
        }
        let mut table = self.write();
        while table.expiring.first().is_some_and(|(until_ms, _)| *until_ms <= now.monotonic_ms) {
            match table.expiring.pop_first() {
                Some((_, Revoked::Subject(subject))) => drop(table.subjects.remove(&subject)),
                Some((_, Revoked::Token(id))) => drop(table.tokens.remove(&id)),
                Some((_, Revoked::Channel(channel))) => drop(table.channels.remove(&channel)),
                None => {}
            }
        }
        self.count.store(table.expiring.len(), Ordering::Release);
    }

    /// How many are in force.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count() == 0
    }

    /// The token behind a grant, if it is one and there is anything to look it up in.
    fn bearer<'g>(&self, grant: &'g Grant) -> Option<&'g Token> {
        match &grant.holder {
            Holder::Token(token) if !self.is_empty() => Some(token),
            _ => None,
        }
    }

    // A panic between two changes of the table leaves at worst a record that is forgotten late or remembered by one
    // map only; barring everybody for it would be worse.
    fn read(&self) -> RwLockReadGuard<'_, Table> {
        self.table.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Table> {
        self.table.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Revocations {
    fn default() -> Revocations {
        Revocations::new(RECORDS_MAX)
    }
}

/// One map for each kind, so that a subject is never taken for a token's name (security rule S28).
#[derive(Default)]
struct Table {
    subjects: HashMap<Box<str>, Taken>,
    tokens: HashMap<Box<str>, Taken>,
    channels: HashMap<Channel, Taken>,
    /// The same records in the order they end.
    expiring: BTreeSet<(u64, Revoked)>,
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table").field("records", &self.expiring.len()).finish_non_exhaustive()
    }
}

#[derive(Clone, Copy)]
struct Taken {
    at_s: u64,
    until_ms: u64,
}

impl Taken {
    fn concerns(self, token: &Token) -> bool {
        token.issued_at_s <= self.at_s
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    const AT_S: u64 = 1_000;

    fn channel(name: &str) -> Channel {
        Channel::parse(name).unwrap()
    }

    fn bearer(subject: &str, id: Option<&str>, issued_at_s: u64) -> Grant {
        let token = Token { subject: subject.into(), id: id.map(Into::into), issued_at_s };
        Grant { holder: Holder::Token(Arc::new(token)), admin: false, ..Grant::everything() }
    }

    fn key(name: &str) -> Grant {
        Grant { holder: Holder::Key(name.into()), ..Grant::everything() }
    }

    fn revocation(what: Revoked) -> Revocation {
        Revocation { what, at_s: AT_S, until_ms: 60_000 }
    }

    fn table(records: impl IntoIterator<Item = Revoked>) -> Revocations {
        let table = Revocations::default();
        for what in records {
            table.record(&revocation(what)).unwrap();
        }
        table
    }

    fn at(monotonic_ms: u64) -> Now {
        Now { monotonic_ms, wall_ms: 0, micros: 0 }
    }

    /// What a single record says and what the table says are the same thing.
    #[track_caller]
    fn check(what: &Revoked, grant: &Grant, on: &Channel, ends: bool, bars: bool) {
        let record = revocation(what.clone());
        let table = table([what.clone()]);
        assert_eq!((record.ends(grant), record.bars(grant, on)), (ends, bars), "the record");
        assert_eq!((table.ends(grant), table.bars(grant, on)), (ends, bars), "the table");
    }

    #[test]
    fn s26_a_subject_loses_every_token_issued_until_then() {
        let (what, on) = (Revoked::Subject("alice".into()), channel("alice"));
        for issued_at_s in [0, AT_S - 1, AT_S] {
            check(&what, &bearer("alice", Some("1"), issued_at_s), &on, true, false);
        }
        check(&what, &bearer("alice", None, AT_S + 1), &on, false, false);
        check(&what, &bearer("alice2", None, 0), &on, false, false);
        check(&what, &bearer("bob", Some("alice"), 0), &on, false, false);
    }

    #[test]
    fn s26_a_token_is_revoked_by_its_name_whenever_it_was_issued() {
        let (what, on) = (Revoked::Token("t1".into()), channel("t1"));
        check(&what, &bearer("alice", Some("t1"), AT_S + 9), &on, true, false);
        check(&what, &bearer("alice", Some("t2"), 0), &on, false, false);
        check(&what, &bearer("t1", None, 0), &on, false, false);
    }

    #[test]
    fn s26_a_channel_is_taken_from_tokens_issued_until_then_and_nothing_else_is() {
        let what = Revoked::Channel(channel("chat"));
        check(&what, &bearer("alice", None, AT_S), &channel("chat"), false, true);
        check(&what, &bearer("alice", None, AT_S), &channel("chat:1"), false, false);
        check(&what, &bearer("alice", None, AT_S + 1), &channel("chat"), false, false);
        check(&what, &bearer("chat", Some("chat"), 0), &channel("news"), false, false);
    }

    #[test]
    fn s26_developers_and_api_keys_have_their_rights_from_the_configuration() {
        let on = channel("billing");
        let everything = [
            Revoked::Subject("billing".into()),
            Revoked::Token("billing".into()),
            Revoked::Channel(on.clone()),
        ];
        for what in everything {
            check(&what, &key("billing"), &on, false, false);
            check(&what, &Grant::everything(), &on, false, false);
        }
    }

    #[test]
    fn s26_a_revocation_is_remembered_for_as_long_as_it_says() {
        let table = table([Revoked::Subject("alice".into()), Revoked::Token("t1".into())]);
        let alice = bearer("alice", None, 0);
        table.expire(at(59_999));
        assert!(table.ends(&alice));
        table.expire(at(60_000));
        assert!(!table.ends(&alice) && table.is_empty());
    }

    #[test]
    fn s26_a_second_revocation_of_one_subject_widens_the_first() {
        let table = Revocations::new(1);
        let [early, late] = [(500, 90_000), (AT_S, 60_000)].map(|(at_s, until_ms)| Revocation {
            what: Revoked::Subject("alice".into()),
            at_s,
            until_ms,
        });
        table.record(&late).unwrap();
        table.record(&early).unwrap();
        assert_eq!(table.count(), 1, "one record, however often");
        table.expire(at(60_000));
        assert!(
            table.ends(&bearer("alice", None, AT_S)),
            "neither the later second nor the later end is lost"
        );
        table.expire(at(90_000));
        assert!(table.is_empty());
    }

    #[test]
    fn s26_a_full_table_says_so_and_forgets_nobody() {
        let table = Revocations::new(2);
        let subject = |name: &str| revocation(Revoked::Subject(name.into()));
        table.record(&subject("a")).unwrap();
        table.record(&subject("b")).unwrap();
        assert_eq!(table.record(&subject("c")), Err(Full));
        assert_eq!(table.record(&subject("a")), Ok(()), "who is in it already takes no more room");
        assert!(table.ends(&bearer("a", None, 0)) && table.ends(&bearer("b", None, 0)));
        assert!(!table.ends(&bearer("c", None, 0)));
    }

    #[test]
    fn s49_debug_output_names_nobody_who_was_thrown_out() {
        let table = table([Revoked::Subject("alice".into()), Revoked::Token("alice".into())]);
        let shown = format!("{table:?} {:?}", revocation(Revoked::Subject("alice".into())));
        assert!(!shown.contains("alice"), "{shown}");
    }
}
