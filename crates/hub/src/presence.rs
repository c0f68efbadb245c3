//! Presence: who is connected to a channel, by name, however many connections each of them has.
//!
//! ```text
//! Admit{joined} --> Attendance --> Presence --> News (join)  --> every outlet
//! Departed ------>                 Presence --> (grace) -------> News (leave)
//! ```
//!
//! A member comes with its first session and goes some time after its last one, so that a page that is loaded anew, or
//! a node that drains, makes no noise. Sessions are counted one for one by the two moments that count interest
//! (delivery rule R12).
//!
//! Sketch: a member costs its entry, about 100 bytes with its name, which its channels share; a join is two look-ups.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::admit::{ConnId, OutletId};
use crate::broker::{Done, Figure, Now};
use crate::channel::{Channel, ChannelSet};
use crate::grant::{Grant, Holder};
use crate::reason::Reason;

/// Members that one answer lists at most. Its count is of all of them.
pub const LISTED_MAX: usize = 1_000;

/// Changes of one channel that are told in a second. Beyond: [`Change::Missed`] once the second is over, since a thousand
/// members who come back together would otherwise be told a million times.
pub const TOLD_PER_SECOND_MAX: u32 = 100;

/// Members whose grace runs, at most. Beyond: whoever has waited for longest is gone at once.
const WAITING_MAX: usize = 100_000;

/// Who a member is, as others see it. It comes from credentials alone (security rule S29).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subject(Arc<str>);

impl Subject {
    /// The subject of a token; `key:` and the name of an API key; in dev mode, where nobody has a name, `guest-` and
    /// one made of `guest`, which stands for the connection.
    #[must_use]
    pub fn of(holder: &Holder, guest: u64) -> Subject {
        match holder {
            Holder::Token(token) => Subject((&*token.subject).into()),
            Holder::Key(name) => Subject(format!("key:{name}").into()),
            Holder::Developer => Subject(guest_name(guest).into()),
        }
    }

    /// One that another node has told of.
    #[must_use]
    pub fn told(name: &str) -> Subject {
        Subject(name.into())
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Subject {
    // A log that names everybody who came is a list of users.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Subject(***)")
    }
}

/// What those who may see the presence of a channel are told, at most once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct News {
    /// Where.
    pub channel: Channel,
    /// What.
    pub change: Change,
}

/// How the members of a channel have changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The first session of this subject has come.
    Join(Subject),
    /// The last one has gone, and none has come within the grace.
    Leave(Subject),
    /// There were changes that nobody was told of: only the list knows.
    Missed,
}

/// The members of a channel at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Members {
    /// In the order of their names, at most as many as were asked for.
    pub listed: Vec<Member>,
    /// How many there are.
    pub count: usize,
}

/// One member of a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Who.
    pub subject: Subject,
    /// Connections it has; 0 while its grace runs.
    pub sessions: u32,
}

/// The contract of who is told of joins. Called in the joining step of the sequencer, before the `Admit` is in the inbox,
/// so that the departure of the same connection always comes after it. Must not block, nor call the broker.
pub trait Attendance: Send + Sync {
    /// A connection has joined these channels.
    fn joined(&self, outlet: OutletId, conn: ConnId, grant: &Grant, channels: &ChannelSet);
}

/// The contract of where membership is kept over all nodes. Without one, the members of this node are all there are.
///
/// It is told of every change on this node and tells of a [`News`] itself, to this node's outlets too: only it knows
/// which session is the first or the last of all. No call blocks.
pub trait Roster: Send + Sync {
    /// `subject` has so many sessions on this node now; nothing means that it is no member here any more. Called in the
    /// order of the changes.
    fn update(&self, channel: &Channel, subject: &Subject, sessions: Option<u32>);

    /// The members over all nodes, at most `count_max` of them by name. `overloaded` while they cannot be known.
    fn members(&self, channel: Channel, count_max: usize, done: Done<Result<Members, Reason>>);

    /// What it counts, for `/metrics`.
    fn figures(&self) -> Vec<Figure> {
        Vec::new()
    }
}

/// The members of the channels of one node.
#[derive(Debug, Default)]
pub struct Presence {
    channels: HashMap<Channel, BTreeMap<Subject, Sessions>>,
    /// Those without a session, in the order in which they lost it. One who is back since stays until its turn.
    waiting: VecDeque<Waiting>,
    count: usize,
}

#[derive(Debug)]
struct Sessions {
    count: u32,
    /// When the last one went.
    gone_ms: u64,
}

#[derive(Debug)]
struct Waiting {
    gone_ms: u64,
    channel: Channel,
    subject: Subject,
}

/// What a session that has come makes of its subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Joined {
    /// Whether it was no member before.
    pub is_new: bool,
    /// Sessions it has now.
    pub sessions: u32,
}

impl Presence {
    /// Counts one session more.
    pub fn join(&mut self, channel: &Channel, subject: &Subject) -> Joined {
        let members = match self.channels.get_mut(channel) {
            Some(members) => members,
            None => self.channels.entry(channel.clone()).or_default(),
        };
        if let Some(sessions) = members.get_mut(subject) {
            sessions.count += 1;
            return Joined { is_new: false, sessions: sessions.count };
        }
        members.insert(subject.clone(), Sessions { count: 1, gone_ms: 0 });
        self.count += 1;
        Joined { is_new: true, sessions: 1 }
    }

    /// Counts one session less, and returns how many are left. With the last one the grace begins.
    pub fn leave(&mut self, channel: &Channel, subject: &Subject, now: Now) -> u32 {
        let members = self.channels.get_mut(channel).expect("who leaves has joined (R12)");
        let sessions = members.get_mut(subject).expect("who leaves has joined (R12)");
        sessions.count = sessions.count.checked_sub(1).expect("sessions are counted one for one (R12)");
        if sessions.count == 0 {
            sessions.gone_ms = now.monotonic_ms;
            let (channel, subject) = (channel.clone(), subject.clone());
            self.waiting.push_back(Waiting { gone_ms: now.monotonic_ms, channel, subject });
        }
        sessions.count
    }

    /// Takes out whoever has had no session for longer than `grace`, and returns them in the order in which they went.
    /// Called about once a second.
    pub fn tick(&mut self, grace: Duration, now: Now) -> Vec<(Channel, Subject)> {
        let grace_ms = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
        let mut left = Vec::new();
        while let Some(first) = self.waiting.front() {
            let is_over = first.gone_ms.saturating_add(grace_ms) <= now.monotonic_ms;
            if !is_over && self.waiting.len() <= WAITING_MAX {
                break;
            }
            let Some(Waiting { gone_ms, channel, subject }) = self.waiting.pop_front() else { break };
            let Some(members) = self.channels.get_mut(&channel) else { continue };
            // One who came back and went again waits in a later place.
            let is_gone = |sessions: &Sessions| sessions.count == 0 && sessions.gone_ms == gone_ms;
            if members.get(&subject).is_some_and(is_gone) {
                members.remove(&subject);
                self.count -= 1;
                if members.is_empty() {
                    self.channels.remove(&channel);
                }
                left.push((channel, subject));
            }
        }
        if self.waiting.is_empty() {
            self.waiting.shrink_to(1_024);
        }
        left
    }

    /// The members of a channel, at most `count_max` of them by name.
    #[must_use]
    pub fn members(&self, channel: &Channel, count_max: usize) -> Members {
        let Some(members) = self.channels.get(channel) else { return Members::default() };
        let listed = members.iter().take(count_max);
        let listed = listed
            .map(|(subject, sessions)| Member { subject: subject.clone(), sessions: sessions.count })
            .collect();
        Members { listed, count: members.len() }
    }

    /// Members of all channels together.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }
}

/// Holds back what a channel tells beyond [`TOLD_PER_SECOND_MAX`].
#[derive(Debug, Default)]
pub struct Pace {
    told: HashMap<Channel, u32>,
    missed: HashSet<Channel>,
}

impl Pace {
    /// Whether another change of this channel may be told in this second. What may not is missed.
    pub fn allow(&mut self, channel: &Channel) -> bool {
        let told = self.told.entry(channel.clone()).or_default();
        *told += 1;
        let is_allowed = *told <= TOLD_PER_SECOND_MAX;
        if !is_allowed {
            self.miss(channel);
        }
        is_allowed
    }

    /// A change of this channel was not told.
    pub fn miss(&mut self, channel: &Channel) {
        if !self.missed.contains(channel) {
            self.missed.insert(channel.clone());
        }
    }

    /// Begins the next second, and returns the channels that missed something in this one.
    pub fn tick(&mut self) -> impl Iterator<Item = Channel> + use<> {
        self.told = HashMap::new();
        std::mem::take(&mut self.missed).into_iter()
    }
}

/// A name for somebody who has none: eight characters that look alike for no two connections.
fn guest_name(guest: u64) -> String {
    // SplitMix64 (Steele, Lea, Flood 2014): neighbours get names that do not look like neighbours.
    let mut mixed = guest.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^= mixed >> 31;
    let mut name = String::from("guest-");
    for _ in 0..8 {
        name.push(char::from(b"0123456789abcdefghjkmnpqrstvwxyz"[(mixed & 31) as usize]));
        mixed >>= 5;
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grant::Token;

    const GRACE: Duration = Duration::from_secs(5);

    fn channel() -> Channel {
        Channel::parse("chat:1").unwrap()
    }

    fn at(monotonic_ms: u64) -> Now {
        Now { monotonic_ms, wall_ms: 0, micros: 0 }
    }

    fn alice() -> Subject {
        Subject::told("alice")
    }

    fn left(presence: &mut Presence, monotonic_ms: u64) -> Vec<String> {
        let left = presence.tick(GRACE, at(monotonic_ms));
        left.into_iter().map(|(channel, subject)| format!("{channel} {}", subject.as_str())).collect()
    }

    #[test]
    fn a_subject_is_one_member_however_many_sessions_it_has() {
        let (mut presence, chat) = (Presence::default(), channel());
        assert_eq!(presence.join(&chat, &alice()), Joined { is_new: true, sessions: 1 });
        assert_eq!(presence.join(&chat, &alice()), Joined { is_new: false, sessions: 2 });
        assert_eq!(presence.join(&chat, &Subject::told("bob")), Joined { is_new: true, sessions: 1 });
        let members = presence.members(&chat, LISTED_MAX);
        let listed: Vec<_> = members.listed.iter().map(|one| (one.subject.as_str(), one.sessions)).collect();
        assert_eq!((listed, members.count), (vec![("alice", 2), ("bob", 1)], 2));
        assert_eq!(presence.leave(&chat, &alice(), at(0)), 1);
        assert!(left(&mut presence, 60_000).is_empty(), "a session is left");
    }

    #[test]
    fn who_has_no_session_leaves_after_the_grace_and_once() {
        let (mut presence, chat) = (Presence::default(), channel());
        presence.join(&chat, &alice());
        assert_eq!(presence.leave(&chat, &alice(), at(1_000)), 0);
        assert!(left(&mut presence, 5_999).is_empty());
        let members = presence.members(&chat, LISTED_MAX);
        assert_eq!((members.count, members.listed[0].sessions), (1, 0), "still a member, without a session");
        assert_eq!(left(&mut presence, 6_000), ["chat:1 alice"]);
        assert!(left(&mut presence, 60_000).is_empty());
        assert_eq!((presence.members(&chat, 9), presence.count()), (Members::default(), 0));
        assert!(presence.channels.is_empty(), "a channel without members costs nothing");
    }

    #[test]
    fn who_comes_back_within_the_grace_has_never_been_away() {
        let (mut presence, chat) = (Presence::default(), channel());
        presence.join(&chat, &alice());
        presence.leave(&chat, &alice(), at(0));
        assert!(!presence.join(&chat, &alice()).is_new);
        assert!(left(&mut presence, 5_000).is_empty());
        presence.leave(&chat, &alice(), at(7_000));
        assert!(left(&mut presence, 11_999).is_empty(), "the grace begins anew");
        assert_eq!(left(&mut presence, 12_000), ["chat:1 alice"]);
    }

    #[test]
    fn those_whose_grace_runs_are_so_many_at_most() {
        let (mut presence, chat) = (Presence::default(), channel());
        for n in 0..WAITING_MAX + 2 {
            let subject = Subject::told(&n.to_string());
            presence.join(&chat, &subject);
            presence.leave(&chat, &subject, at(0));
        }
        assert_eq!(left(&mut presence, 0), ["chat:1 0", "chat:1 1"]);
    }

    #[test]
    fn a_list_is_bounded_and_its_count_is_not() {
        let (mut presence, chat) = (Presence::default(), channel());
        for name in ["c", "a", "b"] {
            presence.join(&chat, &Subject::told(name));
        }
        let Members { listed, count } = presence.members(&chat, 2);
        let names: Vec<_> = listed.iter().map(|one| one.subject.as_str()).collect();
        assert_eq!((names, count), (vec!["a", "b"], 3));
    }

    #[test]
    fn a_crowd_that_comes_at_once_is_told_of_in_part_and_then_as_missed() {
        let (mut pace, chat, other) = (Pace::default(), channel(), Channel::parse("chat:2").unwrap());
        let told = (0..1_000).filter(|_| pace.allow(&chat)).count();
        assert_eq!((told, pace.allow(&other)), (100, true));
        assert!(pace.tick().eq([chat.clone()]));
        assert!(pace.allow(&chat), "the next second is a new one");
        pace.miss(&other);
        assert_eq!(pace.tick().collect::<Vec<_>>(), [other]);
    }

    #[test]
    fn s29_a_member_is_called_as_its_credentials_say() {
        let token = Token { subject: "alice".into(), id: None, issued_at_s: 0 };
        assert_eq!(Subject::of(&Holder::Token(Arc::new(token)), 1).as_str(), "alice");
        assert_eq!(Subject::of(&Holder::Key("billing".into()), 1).as_str(), "key:billing");
        let guests = [1, 2].map(|guest| Subject::of(&Holder::Developer, guest));
        assert!(guests[0] != guests[1] && guests[0] == Subject::of(&Holder::Developer, 1));
        assert!(guests[0].as_str().starts_with("guest-") && guests[0].as_str().len() == 14);
    }

    #[test]
    fn s49_debug_output_names_nobody() {
        let news = News { channel: channel(), change: Change::Join(alice()) };
        assert!(!format!("{news:?}").contains("alice"));
    }
}
