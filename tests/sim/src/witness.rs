//! A witness: one subscriber over all its connections, and what it is owed (invariants I1 to I5).
//!
//! Whatever names an id says "everything up to here is known". So at each id every message on every channel of the
//! connection up to it must have been delivered, now or before, or lie in a gap that named its channel.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use tidewire_hub::position::{Cursor, Position};

use crate::heard::{Content, GapHeard, Seen};
use crate::ledger::{Book, Invariant, Life, Record, Violation};

/// What a connection asked to begin with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// With the next message.
    Live,
    /// After a cursor, as it was sent.
    After(String),
    /// With the oldest message.
    Earliest,
    /// With so many of the newest.
    Tail(u32),
}

/// One subscriber.
#[derive(Debug, Default)]
pub struct Witness {
    tracks: BTreeMap<String, Track>,
    /// The last id received, which is what it comes back with.
    pub cursor: Option<Position>,
    connection: Connection,
    /// Messages heard, repetitions included.
    pub delivered: u64,
    /// Messages heard before.
    pub repeated: u64,
}

/// What is known of one channel.
#[derive(Debug, Default)]
struct Track {
    /// Everything up to here has been settled; nothing where it is not known yet what is owed.
    settled: Option<Position>,
    /// Delivered beyond that.
    delivered: BTreeSet<u64>,
    /// A gap was told and nothing came since: what is missing up to here is excused.
    excused: u64,
    /// The newest known on this connection, by delivery or because it began there.
    known: u64,
    /// It has been asked to be left, so nothing more is owed on it.
    let_go: bool,
}

#[derive(Debug, Default)]
struct Connection {
    asked: Option<Asked>,
    /// Messages of this connection rise strictly from here.
    newest: u64,
    /// It began with a place that has no id: what is owed begins with the first message.
    floating: bool,
    gap_told: Option<Position>,
    begun: bool,
}

type Verdict = Result<(), Violation>;

impl Witness {
    /// A connection is opened for these channels.
    pub fn connect(&mut self, channels: &[String], asked: Asked) {
        self.tracks.retain(|name, _| channels.contains(name));
        for channel in channels {
            let track = self.tracks.entry(channel.clone()).or_default();
            (track.known, track.let_go) = (0, false);
            if !matches!(asked, Asked::After(_)) {
                // It begins anew, and what it missed meanwhile is its own choice.
                *track = Track::default();
            }
        }
        if !matches!(asked, Asked::After(_)) {
            self.cursor = None;
        }
        self.connection = Connection { asked: Some(asked), ..Connection::default() };
    }

    /// The channels it listens to.
    pub fn channels(&self) -> impl Iterator<Item = &str> {
        self.tracks.keys().map(String::as_str)
    }

    /// Whether its connection asked to go on from a cursor.
    #[must_use]
    pub fn resumes(&self) -> bool {
        matches!(self.connection.asked, Some(Asked::After(_)))
    }

    /// The server has answered, and the subscription holds from `start` on; nothing where the transport or the start
    /// names no place.
    pub fn begin(&mut self, book: &Book, start: Option<Position>) -> Verdict {
        let life = book.now();
        let asked = self.connection.asked.clone().unwrap_or(Asked::Live);
        self.connection.begun = true;
        if let Asked::After(cursor) = &asked {
            let place = valid(cursor, life);
            if place.is_none() && self.connection.gap_told.is_none() {
                return wrong(
                    Invariant::I1,
                    format!("resumed from {cursor}, which is no place, without a gap (R7)"),
                );
            }
            let expected = self.connection.gap_told.or(place);
            if start.is_some() && start != expected {
                return wrong(
                    Invariant::Wire,
                    format!("resumed from {cursor} and begins at {}", shown(start)),
                );
            }
            if let Some(place) = start.or(expected) {
                self.connection.newest = place.seq;
                self.owe_from(place);
                self.settle(book, place)?;
                self.cursor = Some(place);
                if self.connection.gap_told.is_none() {
                    self.tracks.values_mut().for_each(|track| track.known = track.known.max(place.seq));
                }
            }
            return Ok(());
        }
        match (&asked, start) {
            (Asked::Earliest, None) => {
                for (name, track) in &mut self.tracks {
                    track.settled = Some(Position { generation: life.generation(), seq: 0 });
                    track.excused = life.base(name);
                }
            }
            (Asked::Live, Some(start)) => {
                self.connection.newest = start.seq;
                self.know(start);
                self.cursor = Some(start);
            }
            (Asked::Live | Asked::Tail(_), None) => {
                self.connection.floating = true;
                self.know(Position { generation: life.generation(), seq: life.head() });
                // It joined at some place before now. The newest that are kept may have lost some in between.
                for (name, track) in &mut self.tracks {
                    (track.excused, track.known) = (life.base(name), 0);
                }
            }
            _ => {
                return wrong(Invariant::Wire, format!("asked for {asked:?} and begins at {}", shown(start)));
            }
        }
        Ok(())
    }

    /// A poll has been answered with these messages, up to `cursor`.
    pub fn begin_page(&mut self, book: &Book, messages: &[Seen], cursor: Position) -> Verdict {
        if let Some(Asked::After(asked)) = &self.connection.asked {
            let asked = valid(asked, book.now());
            if asked.is_some_and(|asked| cursor.seq < asked.seq) {
                return wrong(
                    Invariant::Wire,
                    format!("a poll went back to {cursor} from {}, R7", shown(asked)),
                );
            }
        }
        match self.connection.asked {
            Some(Asked::Live | Asked::Tail(_)) if messages.is_empty() => {
                (self.connection.begun, self.connection.newest) = (true, cursor.seq);
                self.know(cursor);
                Ok(())
            }
            _ => self.begin(book, None),
        }
    }

    /// A message has come.
    pub fn message(&mut self, book: &Book, seen: &Seen) -> Verdict {
        let life = book.now();
        let place = self.recognise(life, seen)?;
        let seq = place.seq;
        if seq <= self.connection.newest {
            let story = format!("{place} came after {} on one connection", self.connection.newest);
            return wrong(if self.is_known(life, seq) { Invariant::I3 } else { Invariant::I2 }, story);
        }
        self.connection.newest = seq;
        if std::mem::take(&mut self.connection.floating) {
            let before = Position { seq: seq - 1, ..place };
            for track in self.tracks.values_mut().filter(|track| !track.let_go) {
                let settled = track.settled.get_or_insert(before);
                settled.seq = settled.seq.min(before.seq);
            }
        }
        self.deliver(life, place);
        self.settle(book, place)?;
        if seen.id.is_some() {
            self.cursor = Some(place);
        }
        Ok(())
    }

    /// A message in the answer to a `subscribe` frame, which may repeat what came before.
    pub fn replayed(&mut self, book: &Book, seen: &Seen) -> Verdict {
        let life = book.now();
        let place = self.recognise(life, seen)?;
        self.deliver(life, place);
        Ok(())
    }

    /// An id has come, with a message or without.
    pub fn id(&mut self, book: &Book, place: Position) -> Verdict {
        if place.generation != book.now().generation() || place.seq > book.now().head() {
            return wrong(Invariant::I4, format!("{place} was never given to any message"));
        }
        self.settle(book, place)?;
        self.cursor = Some(place);
        Ok(())
    }

    /// A gap has come.
    pub fn gap(&mut self, book: &Book, gap: &GapHeard) -> Verdict {
        let life = book.now();
        if gap.cursor.generation != life.generation() || gap.cursor.seq > life.head() {
            return wrong(Invariant::I4, format!("a gap goes on at {}, which is no place", gap.cursor));
        }
        let all: Vec<String> = self.tracks.keys().cloned().collect();
        let named = gap.channels.clone().unwrap_or_else(|| all.clone());
        if named.is_empty() || named.iter().any(|name| !all.contains(name)) {
            return wrong(Invariant::I4, format!("a gap names {named:?}, and {all:?} were asked for"));
        }
        self.judge_gap(life, gap, &named)?;
        if let Some(Asked::After(cursor)) = &self.connection.asked
            && let Some(place) = valid(cursor, life)
        {
            self.owe_from(place);
        }
        self.connection.gap_told = Some(gap.cursor);
        for name in &named {
            let track = self.tracks.entry(name.clone()).or_default();
            if track.let_go {
                continue;
            }
            if track.settled.is_none_or(|settled| settled.generation != life.generation()) {
                track.settled = Some(Position { generation: life.generation(), seq: 0 });
                track.delivered.clear();
            }
            // One that names no channel excuses everything before the place where it goes on.
            let skipped = if gap.channels.is_none() { gap.cursor.seq } else { 0 };
            track.excused = life.base(name).max(skipped);
        }
        self.id(book, gap.cursor)
    }

    /// Whether a gap is told that nothing explains (invariant I5).
    fn judge_gap(&self, life: &Life, gap: &GapHeard, named: &[String]) -> Verdict {
        let asked = match &self.connection.asked {
            Some(Asked::After(cursor)) if !self.connection.begun => Some(cursor),
            _ => None,
        };
        let place = asked.and_then(|cursor| valid(cursor, life));
        let is_epoch = asked.is_some() && place.is_none();
        let lost = |name: &String| {
            let known = self.tracks.get(name).map_or(0, |track| track.known);
            let known = known.max(place.map_or(0, |place| place.seq));
            life.base(name) > known
        };
        let explained = match gap.reason.as_deref() {
            Some("epoch") => is_epoch && named.len() == self.tracks.len(),
            Some("trimmed") => !is_epoch && named.iter().all(lost),
            None => is_epoch || named.iter().any(lost),
            Some(_) => false,
        };
        if explained {
            return Ok(());
        }
        let bases: Vec<u64> = named.iter().map(|name| life.base(name)).collect();
        let known: Vec<u64> = named.iter().map(|name| self.tracks[name].known).collect();
        wrong(Invariant::I5, format!("{gap:?}, asked {asked:?}, known {known:?}, trimmed up to {bases:?}"))
    }

    /// A channel joins an open connection, with everything up to `place` told.
    pub fn join(&mut self, book: &Book, channel: &str, place: Position) -> Verdict {
        let track = self.tracks.entry(channel.to_owned()).or_default();
        track.settled.get_or_insert(place);
        // A shard remembers for a connection, not for each of its channels, where it joined. One that adds a channel
        // with a cursor ahead of its shard may be told of a loss that it has no part in.
        track.known = 0;
        self.id(book, place)
    }

    /// A channel is about to be asked for on an open connection, after `place` or from now on.
    pub fn expect(&mut self, channel: &str, place: Option<Position>) {
        let known = place.map_or(0, |place| place.seq);
        self.tracks.insert(channel.to_owned(), Track { settled: place, known, ..Track::default() });
    }

    /// A channel is about to be left. What still comes on it may come, and what does not is not missing.
    pub fn let_go(&mut self, channel: &str) {
        if let Some(track) = self.tracks.get_mut(channel) {
            (track.settled, track.let_go) = (None, true);
        }
    }

    /// A channel is left.
    pub fn leave(&mut self, channel: &str) {
        self.tracks.remove(channel);
    }

    /// Whether this message was delivered to it, or announced as lost.
    #[must_use]
    pub fn has(&self, channel: &str, place: Position) -> bool {
        self.tracks.get(channel).is_some_and(|track| {
            let settled = track
                .settled
                .is_some_and(|settled| settled.generation == place.generation && settled.seq >= place.seq);
            settled || track.delivered.contains(&place.seq) || place.seq <= track.excused
        })
    }

    /// What has no beginning yet begins here.
    fn owe_from(&mut self, place: Position) {
        for track in self.tracks.values_mut().filter(|track| !track.let_go) {
            track.settled.get_or_insert(place);
        }
    }

    fn know(&mut self, place: Position) {
        for track in self.tracks.values_mut() {
            (track.settled, track.known) = (Some(place), place.seq);
        }
    }

    /// The place of a message, which must be the one that was published there (invariants I3 and I4).
    fn recognise(&self, life: &Life, seen: &Seen) -> Result<Position, Violation> {
        let generation = life.generation();
        let seq = match (&seen.id, &seen.content) {
            (Some(id), _) if id.generation == generation => Some(id.seq),
            (Some(_), _) | (None, Content::Shown(_)) => None,
            (None, Content::Text(text)) => life.find(text.as_bytes(), false, self.connection.newest),
            (None, Content::Binary(bytes)) => life.find(bytes, true, self.connection.newest),
        };
        let found = seq.and_then(|seq| Some((seq, life.at(seq)?)));
        let Some((seq, record)) = found else {
            return wrong(Invariant::I4, format!("{seen:?} was never published"));
        };
        if !self.tracks.contains_key(&record.channel) {
            return wrong(
                Invariant::I4,
                format!("{seen:?} is of `{}`, which was not asked for", record.channel),
            );
        }
        if !is_same(seen, record) {
            return wrong(Invariant::I3, format!("{seen:?} was published as {record:?}"));
        }
        Ok(Position { generation, seq })
    }

    fn is_known(&self, life: &Life, seq: u64) -> bool {
        let track = life.at(seq).and_then(|record| self.tracks.get(&record.channel));
        track.is_some_and(|track| {
            track.delivered.contains(&seq) || track.settled.is_some_and(|settled| seq <= settled.seq)
        })
    }

    fn deliver(&mut self, life: &Life, place: Position) {
        self.delivered += 1;
        if self.is_known(life, place.seq) {
            self.repeated += 1;
        }
        let Some(record) = life.at(place.seq) else { return };
        let Some(track) = self.tracks.get_mut(&record.channel) else { return };
        // What a gap excuses ends with the first message after it.
        track.excused = track.excused.min(place.seq);
        track.known = track.known.max(place.seq);
        track.delivered.insert(place.seq);
    }

    /// Everything up to `place` must be known on every channel (invariant I1).
    fn settle(&mut self, book: &Book, place: Position) -> Verdict {
        let life = book.now();
        if place.generation != life.generation() {
            return wrong(Invariant::I4, format!("{place} is of another life"));
        }
        for (name, track) in &mut self.tracks {
            let Some(settled) = track.settled else { continue };
            if settled.generation != life.generation() {
                let story = format!("`{name}` went on from {settled} to {place} without a gap");
                return wrong(Invariant::I1, story);
            }
            let missing = life
                .between(name, settled.seq, place.seq)
                .find(|seq| !track.delivered.contains(seq) && *seq > track.excused);
            if let Some(seq) = missing {
                let story = format!("{seq} on `{name}` is missing, after {settled}, at {place}");
                return wrong(Invariant::I1, story);
            }
            if place.seq > settled.seq {
                track.settled = Some(place);
                track.delivered = track.delivered.split_off(&(place.seq + 1));
            }
        }
        Ok(())
    }
}

/// The place that a cursor names in this life, if it names one.
fn valid(cursor: &str, life: &Life) -> Option<Position> {
    match Cursor::parse(cursor.as_bytes()) {
        Cursor::At(place) if place.generation == life.generation() && place.seq <= life.head() => Some(place),
        _ => None,
    }
}

fn is_same(seen: &Seen, record: &Record) -> bool {
    let content = match &seen.content {
        Content::Text(text) => !record.binary && record.payload == text.as_bytes(),
        Content::Binary(bytes) => record.binary && record.payload == bytes,
        Content::Shown(shown) if record.binary => {
            *shown == base64::engine::general_purpose::STANDARD.encode(&record.payload)
        }
        Content::Shown(shown) => {
            let text = String::from_utf8_lossy(&record.payload);
            *shown == text.replace("\r\n", "\n").replace('\r', "\n")
        }
    };
    content
        && seen.channel.as_ref().is_none_or(|channel| *channel == record.channel)
        && seen.event.as_ref().is_none_or(|event| *event == record.event)
}

fn shown(place: Option<Position>) -> String {
    place.map_or("no id".into(), |place| place.to_string())
}

fn wrong<T>(invariant: Invariant, story: String) -> Result<T, Violation> {
    Err(Violation::new(invariant, story))
}
