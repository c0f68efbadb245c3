//! The ledger: what was published, what every subscriber heard, and what must follow from it.
//!
//! It shares no code with the server and reads no clock: time is an argument, in milliseconds since the run began.
//!
//! | invariant | |
//! |---|---|
//! | I1 | every acknowledged message that was sent after a subscriber had joined is delivered to it, or lies in a gap it got |
//! | I2 | on a channel, first deliveries rise, and all subscribers' orders fit into one |
//! | I3 | an id is one message for ever; an idempotency key is placed once; repetitions come only right after a resume |
//! | I4 | nothing is delivered that was not published, nor on a channel that was not asked for |
//! | I5 | no gap is told without a cause |
//! | I6 | 3 s after a fault has healed, new messages flow to every subscriber, and `/readyz` is right |
//! | I7 | when everybody has left, descriptors and memory are back |

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::fmt;

use crate::cause::{self, Cause, Caused};
use crate::heard::{GapHeard, Seen};
use crate::id::Id;
use crate::order;

/// Milliseconds since the run began.
pub type Ms = u64;

/// A publish, by its place in the ledger.
pub type Uid = u32;

/// What did not hold, and how.
#[derive(Clone, Debug)]
pub struct Violation {
    /// `I1` to `I7`, or `wire`.
    pub invariant: &'static str,
    /// When it was noticed.
    pub at: Ms,
    /// Where and how.
    pub story: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {:.1} s: {}", self.invariant, self.at as f64 / 1_000.0, self.story)
    }
}

/// The pages.
#[derive(Debug, Default)]
pub struct Ledger {
    publishes: Vec<Publish>,
    keys: HashMap<String, Uid>,
    ids: HashMap<Id, Uid>,
    accounts: Vec<Account>,
    /// What was done, newest last.
    pub causes: Vec<Caused>,
    /// What happened around a violation, for its story.
    notes: VecDeque<(Ms, String)>,
    kept: BTreeMap<&'static str, usize>,
    /// What did not hold.
    pub violations: Vec<Violation>,
    /// What was counted by the way.
    pub counts: BTreeMap<String, u64>,
}

/// One publish.
#[derive(Debug)]
struct Publish {
    key: String,
    channel: String,
    text: String,
    sent: Ms,
    /// When it was acknowledged first.
    acked: Option<Ms>,
    /// Where it was placed, by anybody's word, and when that was heard first.
    places: Vec<(Id, Ms)>,
}

/// One subscriber.
#[derive(Debug)]
struct Account {
    name: String,
    tracks: BTreeMap<String, Track>,
    joined: Option<Ms>,
    cursor: Option<(String, Ms)>,
    opened: u32,
    /// It left before the end, so nothing is owed to it.
    left: bool,
}

/// What one subscriber heard of one channel.
#[derive(Debug, Default)]
struct Track {
    delivered: HashSet<(Uid, u64)>,
    first: Vec<(Uid, u64)>,
    highest: Option<Id>,
    /// Something new has come since the last resume or gap, so a repetition would be one in the middle.
    fresh: bool,
    gaps: Vec<GapTold>,
    /// When the newest of what was delivered had been sent.
    newest_sent: Option<Ms>,
    recent: VecDeque<(Ms, String)>,
}

#[derive(Debug)]
struct GapTold {
    from: Option<Id>,
    to: Option<Id>,
    at: Ms,
    /// One of several channels: its own messages go on somewhere behind the cursor, which is that of all of them. It ends
    /// with the first that comes.
    open: bool,
}

/// Lines of a story about one channel of one subscriber.
const RECENT_MAX: usize = 4_000;

/// Violations that are told; more are counted.
const VIOLATIONS_MAX: usize = 200;

impl Ledger {
    /// Channels that begin with `prefix` keep so many messages; the longest prefix counts.
    pub fn keeps(&mut self, prefix: &'static str, messages: usize) {
        self.kept.insert(prefix, messages);
    }

    /// Something happened that a story may need.
    pub fn note(&mut self, now: Ms, what: impl Into<String>) {
        self.notes.push_back((now, what.into()));
        if self.notes.len() > 20_000 {
            self.notes.pop_front();
        }
    }

    /// A cause begins; its number ends it.
    pub fn cause(&mut self, cause: Cause, now: Ms) -> usize {
        self.causes.push(Caused { cause, from: now, until: None });
        self.causes.len() - 1
    }

    /// A cause has ended.
    pub fn cause_ends(&mut self, number: usize, now: Ms) {
        if let Some(caused) = self.causes.get_mut(number) {
            caused.until = Some(now);
        }
    }

    /// A publish leaves for the first time.
    pub fn sends(&mut self, key: &str, channel: &str, text: &str, now: Ms) -> Uid {
        let uid = self.publishes.len() as Uid;
        self.keys.insert(key.to_owned(), uid);
        let (key, channel, text) = (key.to_owned(), channel.to_owned(), text.to_owned());
        self.publishes.push(Publish { key, channel, text, sent: now, acked: None, places: Vec::new() });
        self.count("published");
        uid
    }

    /// A publish is acknowledged, perhaps again.
    pub fn acked(&mut self, uid: Uid, id: &str, now: Ms) {
        let Some(id) = Id::parse(id) else {
            return self.violated("wire", now, format!("`{id}` is no id"));
        };
        let publish = &mut self.publishes[uid as usize];
        if publish.acked.is_none() {
            publish.acked = Some(now);
            self.count("acked");
        }
        self.placed(uid, id, now, "the publisher");
    }

    /// A publish has been given up: refused by everybody who was asked, or unknown.
    pub fn gave_up(&mut self, refused: bool) {
        self.count(if refused { "refused" } else { "unknown" });
    }

    /// A new subscriber.
    pub fn joins(&mut self, name: &str, channels: &[String]) -> usize {
        let tracks = channels.iter().map(|channel| (channel.clone(), Track::default())).collect();
        let name = name.to_owned();
        self.accounts.push(Account { name, tracks, joined: None, cursor: None, opened: 0, left: false });
        self.accounts.len() - 1
    }

    /// A subscriber leaves for good.
    pub fn leaves(&mut self, who: usize) {
        self.accounts[who].left = true;
    }

    /// A subscriber opens a connection: with this cursor it goes on.
    pub fn opens(&mut self, who: usize, node: usize, now: Ms) -> Option<String> {
        let account = &mut self.accounts[who];
        account.opened += 1;
        let cursor = account.cursor.clone().map(|(cursor, _)| cursor);
        let from = cursor.clone().unwrap_or_else(|| "now".into());
        for track in account.tracks.values_mut() {
            track.fresh = false;
            track.tell(now, format!("connects to node {node} from {from}"));
        }
        cursor
    }

    /// What comes next may repeat what came before.
    pub fn resumes(&mut self, who: usize) {
        self.accounts[who].tracks.values_mut().for_each(|track| track.fresh = false);
    }

    /// A connection ended.
    pub fn ended(&mut self, who: usize, why: &str, now: Ms) {
        self.count("connections ended");
        for track in self.accounts[who].tracks.values_mut() {
            track.tell(now, format!("connection ends: {why}"));
        }
    }

    /// `$ready`, or the first cursor of a poll.
    pub fn ready(&mut self, who: usize, cursor: Option<&str>, now: Ms) {
        self.accounts[who].joined.get_or_insert(now);
        if let Some(cursor) = cursor {
            self.reached(who, cursor, now);
        }
    }

    /// A cursor that came without a message.
    pub fn reached(&mut self, who: usize, cursor: &str, now: Ms) {
        if Id::parse(cursor).is_none() {
            return self.violated("wire", now, format!("`{cursor}` is no cursor"));
        }
        let account = &mut self.accounts[who];
        if account.cursor.as_ref().is_none_or(|(known, _)| known != cursor) {
            account.tracks.values_mut().for_each(|track| track.tell(now, format!("cursor {cursor}")));
        }
        account.cursor = Some((cursor.to_owned(), now));
    }

    /// A message arrives. `channel` where the transport names none: the only one asked for.
    pub fn hears(&mut self, who: usize, seen: &Seen, now: Ms) {
        self.count("delivered");
        let key = seen.text.split(' ').next().unwrap_or_default();
        let name = self.accounts[who].name.clone();
        let Some((uid, id)) = self.keys.get(key).copied().zip(Id::parse(&seen.id)) else {
            let start: String = seen.text.chars().take(40).collect();
            return self.violated(
                "I4",
                now,
                format!("{name} got {} {start:?}, which nobody published", seen.id),
            );
        };
        let publish = &self.publishes[uid as usize];
        if seen.channel.as_ref().is_some_and(|channel| *channel != publish.channel) {
            let story = format!("{name} got {key} on {:?}, published on {}", seen.channel, publish.channel);
            return self.violated("I4", now, story);
        }
        if seen.text != publish.text {
            return self.violated("I3", now, format!("{name} got {key} at {id} with another payload"));
        }
        let (channel, sent) = (publish.channel.clone(), publish.sent);
        if !self.accounts[who].tracks.contains_key(&channel) {
            return self.violated(
                "I4",
                now,
                format!("{name} got {key} on {channel}, which it did not ask for"),
            );
        }
        self.placed(uid, id, now, &name);
        let account = &mut self.accounts[who];
        account.cursor = Some((seen.id.clone(), now));
        let Some(track) = account.tracks.get_mut(&channel) else { return };
        track.tell(now, format!("{id} {key}"));
        track.newest_sent = track.newest_sent.max(Some(sent));
        let place = (uid, id.seq);
        if track.delivered.contains(&place) {
            let in_the_middle = track.fresh;
            self.count("duplicates");
            if in_the_middle {
                let story = format!("{key} at {id} came again in the middle of a connection");
                self.violated_on(who, &channel, "I3", now, story);
            }
            return;
        }
        let reordered = track.highest.filter(|high| high.generation == id.generation && id.seq <= high.seq);
        if let Some(gap) = track.gaps.last_mut().filter(|gap| gap.open) {
            (gap.open, gap.to) = (false, Some(Id { seq: id.seq - 1, ..id }));
        }
        track.delivered.insert(place);
        track.first.push(place);
        track.fresh = true;
        if let Some(high) = reordered {
            self.count("reordered");
            self.violated_on(who, &channel, "I2", now, format!("{key} at {id} came after {high}"));
        } else {
            track.highest = Some(id);
        }
    }

    /// A gap is told.
    pub fn gap(&mut self, who: usize, gap: &GapHeard, now: Ms) {
        self.count("gaps");
        self.count(&format!("gaps: {}", gap.reason));
        let account = &mut self.accounts[who];
        let (from, from_at) = match &account.cursor {
            Some((cursor, at)) => (Id::parse(cursor), *at),
            None => (None, account.joined.unwrap_or(now)),
        };
        let to = Id::parse(&gap.cursor);
        account.cursor = Some((gap.cursor.clone(), now));
        // A gap's cursor is the lowest over everybody that the node fed together (rule R5), so it may lie below what was
        // lost here: the loss ends with the first message that follows.
        let open = true;
        let strange = gap.channels.iter().find(|channel| !account.tracks.contains_key(*channel)).cloned();
        for channel in &gap.channels {
            let Some(track) = account.tracks.get_mut(channel) else { continue };
            track.tell(now, format!("gap {} up to {}", gap.reason, gap.cursor));
            track.gaps.push(GapTold { from, to, at: now, open });
            track.fresh = false;
        }
        if let Some(strange) = strange {
            self.violated("I4", now, format!("a gap of {strange}, which was not asked for"));
        }
        for channel in &gap.channels {
            if !cause::excuses(&self.causes, &gap.reason, from_at)
                && !self.trimmed(gap, channel, from, from_at)
            {
                self.count("false gaps");
                let came = now.saturating_sub(from_at);
                let story =
                    format!("a gap for {} that nothing excuses; its cursor was {came} ms old", gap.reason);
                self.violated_on(who, channel, "I5", now, story);
            }
        }
    }

    /// Whether history may have been trimmed beyond this cursor.
    fn trimmed(&self, gap: &GapHeard, channel: &str, from: Option<Id>, from_at: Ms) -> bool {
        let keeps = self.kept.iter().filter(|(prefix, _)| channel.starts_with(**prefix));
        let Some(keeps) = keeps.max_by_key(|(prefix, _)| prefix.len()).map(|(_, keeps)| *keeps) else {
            return false;
        };
        let later = |publish: &&Publish| {
            let places = || publish.places.iter().map(|(id, _)| id);
            let known = from.is_some_and(|from| places().any(|id| id.generation == from.generation));
            let above = |from: Id| places().any(|id| id.generation == from.generation && id.seq > from.seq);
            publish.channel == channel
                && if known { from.is_some_and(above) } else { publish.sent + 10_000 >= from_at }
        };
        gap.reason == "trimmed" && self.publishes.iter().filter(later).count() > keeps
    }

    /// Somebody says that a publish stands at `id`.
    fn placed(&mut self, uid: Uid, id: Id, now: Ms, by: &str) {
        let other = *self.ids.entry(id).or_insert(uid);
        let key = self.publishes[uid as usize].key.clone();
        if other != uid {
            let other = self.publishes[other as usize].key.clone();
            return self.violated(
                "I3",
                now,
                format!("{id} is {key} for {by}, and {other} for somebody else"),
            );
        }
        let publish = &mut self.publishes[uid as usize];
        if publish.places.iter().any(|(known, _)| *known == id) {
            return;
        }
        let elsewhere = publish.places.iter().find(|(known, _)| known.seq != id.seq).copied();
        publish.places.push((id, now));
        if let Some((known, at)) = elsewhere {
            if cause::forgets_keys(&self.causes, at, now) {
                self.count("placed again after a loss");
            } else {
                let story = format!("{key} stands at {known} ({at} ms) and at {id}: one key, two messages");
                self.violated("I3", now, story);
            }
        }
    }

    /// Subscribers that have not heard, on some channel, what was sent at `since` or later.
    #[must_use]
    pub fn behind(&self, since: Ms) -> Vec<(usize, String)> {
        let present = self.accounts.iter().enumerate().filter(|(_, account)| !account.left);
        let stale = |track: &Track| track.newest_sent.is_none_or(|sent| sent < since);
        let each = |(who, account): (usize, &Account)| {
            let stale = account.tracks.iter().filter(|(_, track)| stale(track));
            stale.map(|(channel, _)| (who, channel.clone())).collect::<Vec<_>>()
        };
        present.flat_map(each).collect()
    }

    /// How many deliveries of acknowledged messages are owed and not excused.
    #[must_use]
    pub fn missing(&self) -> usize {
        self.owed().0.len()
    }

    /// What is owed: by subscriber, and how many more are excused by a gap.
    fn owed(&self) -> (Vec<(usize, usize)>, u64) {
        let (mut missing, mut announced) = (Vec::new(), 0);
        for (who, account) in self.accounts.iter().enumerate().filter(|(_, account)| !account.left) {
            let Some(joined) = account.joined else { continue };
            for (uid, publish) in self.publishes.iter().enumerate() {
                let Some(track) = account.tracks.get(&publish.channel) else { continue };
                if publish.acked.is_none() || publish.sent <= joined || track.has(uid as Uid, publish) {
                    continue;
                }
                if track.gaps.iter().any(|gap| gap.excuses(publish)) {
                    announced += 1;
                } else {
                    missing.push((who, uid));
                }
            }
        }
        (missing, announced)
    }

    /// Everything must be settled now: whatever was acknowledged has arrived, or is excused (I1, I2).
    pub fn audit(&mut self, now: Ms) {
        let (missing, announced) = self.owed();
        *self.counts.entry("lost and announced".into()).or_default() += announced;
        *self.counts.entry("lost and unannounced".into()).or_default() += missing.len() as u64;
        let mut told = HashSet::new();
        for (who, uid) in missing {
            let publish = &self.publishes[uid];
            let channel = publish.channel.clone();
            let places: Vec<String> =
                publish.places.iter().map(|(id, at)| format!("{id} ({at} ms)")).collect();
            let (sent, acked) = (publish.sent, publish.acked.unwrap_or_default());
            let story = format!(
                "{} was sent at {sent} ms, acknowledged at {acked} ms, stands at {places:?}, and never came",
                publish.key
            );
            // One story a channel and subscriber: the first that is missing.
            if told.insert((who, channel.clone())) {
                self.violated_on(who, &channel, "I1", acked.max(sent).min(now), story);
            }
        }
        let channels: HashSet<String> =
            self.publishes.iter().map(|publish| publish.channel.clone()).collect();
        for channel in channels {
            let tracks = self.accounts.iter().filter_map(|account| account.tracks.get(&channel));
            let orders: Vec<Vec<(Uid, u64)>> = tracks.map(|track| track.first.clone()).collect();
            if let Some((one, other)) = order::disagreement(&orders) {
                self.count("reordered");
                let key = |place: (Uid, u64)| &self.publishes[place.0 as usize].key;
                let story =
                    format!("on {channel} some have {} before {}, others after", key(one), key(other));
                self.violated("I2", now, story);
            }
        }
    }

    /// Counts one.
    pub fn count(&mut self, what: &str) {
        match self.counts.get_mut(what) {
            Some(count) => *count += 1,
            None => drop(self.counts.insert(what.to_owned(), 1)),
        }
    }

    /// Something does not hold.
    pub fn violated(&mut self, invariant: &'static str, at: Ms, story: impl Into<String>) {
        self.count(&format!("violations of {invariant}"));
        if self.violations.len() < VIOLATIONS_MAX {
            let story = format!("{}\n{}", story.into(), self.around(at, &VecDeque::new()));
            self.violations.push(Violation { invariant, at, story });
        }
    }

    /// Something does not hold for one channel of one subscriber; the story is told from there.
    pub fn violated_on(
        &mut self,
        who: usize,
        channel: &str,
        invariant: &'static str,
        at: Ms,
        story: impl Into<String>,
    ) {
        self.count(&format!("violations of {invariant}"));
        if self.violations.len() < VIOLATIONS_MAX {
            let account = &self.accounts[who];
            let none = VecDeque::new();
            let recent = account.tracks.get(channel).map_or(&none, |track| &track.recent);
            let around = self.around(at, recent);
            let story = format!("{} on {channel}: {}\n{around}", account.name, story.into());
            self.violations.push(Violation { invariant, at, story });
        }
    }

    fn around(&self, at: Ms, recent: &VecDeque<(Ms, String)>) -> String {
        // What was done counts for longer than what was heard.
        let near = |when: Ms, before: Ms| (at.saturating_sub(before)..at + 5_000).contains(&when);
        let done = self.notes.iter();
        let done =
            done.filter(|(when, what)| near(*when, if what.starts_with('F') { 60_000 } else { 15_000 }));
        let before = recent.iter().filter(|(when, _)| *when <= at).rev().take(12);
        let after = recent.iter().filter(|(when, _)| *when > at).take(12);
        let mut lines: Vec<(Ms, String)> = Vec::new();
        for (when, what) in done {
            match (what.strip_prefix(FAILED), lines.last_mut()) {
                // One line for many that failed for the same reason.
                (Some(why), Some((_, last))) if last.starts_with(FAILED) => {
                    if !last.contains(why) {
                        last.push_str(&format!("; {why}"));
                    }
                }
                (Some(_), _) => lines.push((*when, what.clone())),
                (None, _) => lines.push((*when, format!("! {what}"))),
            }
        }
        lines.extend(before.chain(after).map(|(when, what)| (*when, format!("  {what}"))));
        lines.sort_by_key(|(when, _)| *when);
        lines.iter().map(|(when, what)| format!("    {when:>8} ms {what}\n")).collect()
    }

    /// A try to publish failed.
    pub fn failed(&mut self, now: Ms, why: &str) {
        self.note(now, format!("{FAILED}{why}"));
    }
}

/// Begins the note of a try to publish that failed.
const FAILED: &str = "  publish: ";

impl Track {
    fn tell(&mut self, now: Ms, what: String) {
        self.recent.push_back((now, what));
        if self.recent.len() > RECENT_MAX {
            self.recent.pop_front();
        }
    }

    fn has(&self, uid: Uid, publish: &Publish) -> bool {
        publish.places.iter().any(|(id, _)| self.delivered.contains(&(uid, id.seq)))
    }
}

impl GapTold {
    /// Whether a message may be missing by this gap: sent before it was told, not below the cursor that it was told
    /// for, and not known to stand beyond it.
    fn excuses(&self, publish: &Publish) -> bool {
        let stands = |at: Option<Id>, side: fn(u64, u64) -> bool| {
            at.is_some_and(|at| {
                publish.places.iter().any(|(id, _)| id.generation == at.generation && side(id.seq, at.seq))
            })
        };
        publish.sent <= self.at
            && !stands(self.from, |seq, from| seq <= from)
            && (self.open || !stands(self.to, |seq, to| seq > to))
    }
}
