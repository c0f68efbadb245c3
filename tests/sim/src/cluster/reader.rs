//! A reader: one client that comes, is cut, and comes back to another node, always with the last id that it received.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use tidewire_hub::position::Position;

use super::judge::{Book, Truth, uid_of};
use crate::ear::{Dialect, Ear, SseStyle};
use crate::heard::{Content, GapHeard, Heard, PageHeard, Seen};
use crate::kernel::Net;
use crate::ledger::{Invariant, Violation};
use crate::rng::Rng;
use crate::socket::{Fd, Received, Sock};
use crate::speech::{self, Head};
use crate::tally::Tally;
use crate::witness::Asked;

pub(super) struct Reader {
    pub(super) name: String,
    rng: Rng,
    pub(super) wish: Vec<String>,
    cursor: Option<Position>,
    line: Option<Line>,
    busy_until: u64,
    /// How much had been placed when it began to be owed something.
    began: Option<usize>,
    seen: BTreeSet<u64>,
    /// When the newest that it heard on each channel was placed.
    newest: BTreeMap<String, usize>,
    gaps: Vec<Told>,
    /// What was gone when it was told of a gap.
    excused: BTreeSet<u64>,
    pub(super) trace: VecDeque<String>,
}

struct Line {
    net: Net,
    fd: Fd,
    ear: Ear,
    dialect: Dialect,
    polling: bool,
    /// Heard on this connection since it began, or since its last gap.
    heard: BTreeSet<u64>,
}

/// A gap that it was told.
struct Told {
    at: usize,
    channels: Option<Vec<String>>,
    /// Not of what is trimmed.
    is_break: bool,
}

/// What surrounds a reader.
pub(super) struct Around<'a> {
    pub(super) nets: &'a [Net],
    pub(super) truth: &'a Truth,
    pub(super) tally: &'a Tally,
    pub(super) now_ms: u64,
    pub(super) room: usize,
    pub(super) unrest: u32,
    pub(super) calm: bool,
}

type Verdict = Result<(), Violation>;

const TRACE: usize = 400;

impl Reader {
    pub(super) fn new(name: String, mut rng: Rng, channels: &[String]) -> Reader {
        let mut wish: Vec<String> = channels.iter().filter(|_| rng.chance(500)).cloned().collect();
        if wish.is_empty() {
            wish.push(rng.pick(channels).clone());
        }
        Reader {
            name,
            rng,
            wish,
            cursor: None,
            line: None,
            busy_until: 0,
            began: None,
            seen: BTreeSet::new(),
            newest: BTreeMap::new(),
            gaps: Vec::new(),
            excused: BTreeSet::new(),
            trace: VecDeque::new(),
        }
    }

    /// Does one thing.
    pub(super) fn step(&mut self, around: &Around<'_>) -> Verdict {
        if around.now_ms < self.busy_until && !around.calm {
            return Ok(());
        }
        let Some(line) = &mut self.line else {
            if around.now_ms >= self.busy_until {
                self.connect(around);
            }
            return Ok(());
        };
        let most = if around.calm { 4 << 20 } else { 1 + self.rng.below(2_000) };
        match line.net.client(line.fd, |socket| socket.receive(most)) {
            Received::Bytes(bytes) => {
                let heard = line.ear.hear(&bytes).map_err(|broken| self.wrong(Invariant::Wire, &broken))?;
                heard.into_iter().try_for_each(|heard| self.hear(around, heard))
            }
            Received::Nothing => {
                self.act(around);
                Ok(())
            }
            Received::End => {
                let heard = line.ear.end().map_err(|broken| self.wrong(Invariant::Wire, &broken))?;
                heard.into_iter().try_for_each(|heard| self.hear(around, heard))?;
                self.drop_line(around, "ended");
                Ok(())
            }
            Received::Cut | Received::Reset => {
                self.drop_line(around, "cut");
                Ok(())
            }
        }
    }

    fn connect(&mut self, around: &Around<'_>) {
        let plain = if self.wish.len() == 1 { SseStyle::Single } else { SseStyle::Multi };
        let dialects = [Dialect::Sse(plain), Dialect::Sse(SseStyle::Envelope), Dialect::V1, Dialect::Poll];
        let (dialect, net) = (*self.rng.pick(&dialects), self.rng.pick(around.nets).clone());
        let room = if around.calm { 4 << 20 } else { 64 + self.rng.below(around.room) };
        let Some(fd) = net.connect(room) else {
            self.busy_until = around.now_ms + self.rng.range(10, 300);
            return;
        };
        let (ear, heard) = (Ear::new(dialect), BTreeSet::new());
        self.line = Some(Line { net, fd, ear, dialect, polling: false, heard });
        self.note(
            around,
            &format!(
                "connects as {dialect:?} to {:?} after {:?}",
                self.wish,
                self.cursor.map(|at| at.to_string())
            ),
        );
        if self.cursor.is_some() {
            around.tally.count("resumes");
        }
        self.ask(around);
    }

    fn ask(&mut self, around: &Around<'_>) {
        let waits = self.rng.chance(400);
        let asked = match self.cursor {
            Some(cursor) => Asked::After(cursor.to_string()),
            // It was given no id, so it cannot say where it was.
            None => {
                self.began = None;
                match self.rng.below(6) {
                    0 => Asked::Earliest,
                    1 => Asked::Tail(1 + self.rng.below(40) as u32),
                    _ => Asked::Live,
                }
            }
        };
        let Some(line) = &mut self.line else { return };
        let mut head = Head::new(&self.wish).start(&asked, false);
        head = match line.dialect {
            Dialect::Sse(SseStyle::Envelope) => head.sse().query("format=json"),
            Dialect::Sse(_) => head.sse(),
            Dialect::V1 => head.websocket(true),
            _ if waits => head.query("wait=1"),
            _ => head,
        };
        line.polling = line.dialect == Dialect::Poll;
        line.heard.clear();
        line.net.client(line.fd, |socket| socket.send(&head.bytes()));
        if line.polling {
            self.note(around, "polls");
        }
    }

    fn act(&mut self, around: &Around<'_>) {
        let idle = self.line.as_ref().is_some_and(|line| line.dialect == Dialect::Poll && !line.polling);
        if idle && (around.calm || self.rng.chance(200)) {
            return self.ask(around);
        }
        if !around.calm && self.rng.chance(around.unrest) {
            if self.rng.chance(500) {
                if let Some(line) = &self.line {
                    line.net.client(line.fd, Sock::reset);
                }
                around.tally.count("fault: reset by the client");
                self.drop_line(around, "resets");
            } else {
                around.tally.count("fault: stopped reading");
                self.busy_until = around.now_ms + self.rng.range(20, 3_000);
            }
        }
    }

    fn hear(&mut self, around: &Around<'_>, heard: Heard) -> Verdict {
        self.note(around, &format!("hears {heard}"));
        let truth = around.truth.clone();
        let book = truth.book();
        match heard {
            Heard::Ready { cursor, .. } => {
                self.begin(&book, cursor);
                Ok(())
            }
            Heard::Message(seen) => self.message(&book, &seen),
            Heard::Heartbeat(place) => {
                self.cursor = Some(place);
                Ok(())
            }
            Heard::Gap(gap) => self.gap(around, &book, &gap),
            Heard::Page(page) => self.page(around, &book, &page),
            Heard::Ping(payload) => {
                if let Some(line) = &self.line {
                    line.net.client(line.fd, |socket| socket.send(&speech::frame(speech::PONG, &payload)));
                }
                Ok(())
            }
            Heard::Refused(_, code) => {
                around.tally.count("refusals");
                // What is answered now may have been refused while faults went on.
                let may = ["broker_unavailable", "overloaded", "timeout"].contains(&code.as_str());
                if let Some(line) = &mut self.line {
                    line.polling = false;
                }
                if may { Ok(()) } else { Err(self.wrong(Invariant::I6, &format!("refused: {code}"))) }
            }
            _ => Ok(()),
        }
    }

    fn begin(&mut self, book: &Book, cursor: Option<Position>) {
        self.began.get_or_insert(book.now());
        self.cursor = cursor.or(self.cursor);
    }

    fn message(&mut self, book: &Book, seen: &Seen) -> Verdict {
        let (Content::Text(text) | Content::Shown(text)) = &seen.content else {
            return Err(self.wrong(Invariant::I4, "bytes that nobody published"));
        };
        let found = uid_of(text.as_bytes()).zip(seen.id);
        let at = found.and_then(|(uid, place)| {
            Some((uid, place, book.recognise(uid, seen.channel.as_deref(), place)?))
        });
        let Some((uid, place, at)) = at else {
            return Err(self.wrong(Invariant::I3, &format!("{seen} was never placed there")));
        };
        let channel = book.placed[at].channel.clone();
        if !self.wish.contains(&channel) {
            return Err(self.wrong(Invariant::I4, &format!("{seen} was not asked for")));
        }
        self.cursor = Some(place);
        if self.line.as_mut().is_some_and(|line| !line.heard.insert(uid)) {
            return Err(self.wrong(Invariant::I3, &format!("{seen} came twice on one connection")));
        }
        let is_new = self.seen.insert(uid);
        let newest = self.newest.entry(channel).or_default();
        if is_new && at < *newest {
            return Err(self.wrong(Invariant::I2, &format!("{seen} came after what was placed behind it")));
        }
        *newest = at.max(*newest);
        Ok(())
    }

    fn gap(&mut self, around: &Around<'_>, book: &Book, gap: &GapHeard) -> Verdict {
        let reason = gap.reason.as_deref().unwrap_or("-");
        around.tally.count(match reason {
            "trimmed" => "gaps: trimmed",
            "failover" => "gaps: failover",
            "store_reset" => "gaps: store_reset",
            _ => "gaps: epoch",
        });
        let names = |channel: &String| gap.channels.as_ref().is_none_or(|named| named.contains(channel));
        let is_break = reason != "trimmed";
        let explained = if is_break {
            book.disturbed
        } else {
            let is_gone = |placed: &super::judge::Placed| {
                names(&placed.channel) && !self.seen.contains(&placed.uid) && book.gone.contains(&placed.uid)
            };
            book.placed.iter().any(is_gone)
        };
        if !explained {
            return Err(self.wrong(Invariant::I5, &format!("{gap:?} where nothing was lost")));
        }
        // What is kept follows, and is owed all the same.
        let gone =
            book.placed.iter().filter(|placed| names(&placed.channel) && book.gone.contains(&placed.uid));
        self.excused.extend(gone.map(|placed| placed.uid));
        self.newest.retain(|channel, _| !names(channel));
        self.gaps.push(Told { at: book.now(), channels: gap.channels.clone(), is_break });
        self.cursor = Some(gap.cursor);
        if let Some(line) = &mut self.line {
            line.heard.clear();
        }
        Ok(())
    }

    fn page(&mut self, around: &Around<'_>, book: &Book, page: &PageHeard) -> Verdict {
        if let Some(line) = &mut self.line {
            line.polling = false;
        }
        if let Some(gap) = &page.gap {
            self.gap(around, book, gap)?;
        }
        let start = self.cursor;
        page.messages.iter().try_for_each(|seen| self.message(book, seen))?;
        self.began.get_or_insert(book.now());
        self.cursor = page.cursor.or(start);
        Ok(())
    }

    /// Everything that was acknowledged is known to it, or lies in a gap that it was told of (I1).
    pub(super) fn is_settled(&self, book: &Book, kept: &BTreeSet<u64>) -> Verdict {
        let Some(began) = self.began else { return Err(self.wrong(Invariant::I6, "never began")) };
        for (uid, position) in &book.acknowledged {
            if self.seen.contains(uid) {
                continue;
            }
            let owed = |(_, placed): &(usize, &super::judge::Placed)| {
                placed.uid == *uid && placed.position == *position
            };
            let Some((at, placed)) = book.placed.iter().enumerate().find(owed) else {
                return Err(
                    self.wrong(Invariant::I3, &format!("{position} was acknowledged and never placed"))
                );
            };
            if at < began || !self.wish.contains(&placed.channel) {
                continue;
            }
            let covers = |told: &Told| {
                let names = told.channels.as_ref().is_none_or(|channels| channels.contains(&placed.channel));
                let late = placed.replaced.is_some_and(|replaced| told.is_break && told.at >= replaced);
                names && late
            };
            let is_told = self.excused.contains(uid) || !kept.contains(uid) && self.gaps.iter().any(covers);
            if !is_told {
                let story = format!(
                    "{uid} at {position} on `{}` is missing (kept: {})",
                    placed.channel,
                    kept.contains(uid)
                );
                return Err(self.wrong(Invariant::I1, &story));
            }
        }
        Ok(())
    }

    pub(super) fn has(&self, uid: u64, channel: &str) -> bool {
        self.seen.contains(&uid) || !self.wish.iter().any(|name| name == channel)
    }

    pub(super) fn leave(&mut self) {
        if let Some(line) = self.line.take() {
            line.net.client(line.fd, Sock::reset);
        }
        self.busy_until = u64::MAX;
    }

    /// What it heard: messages.
    pub(super) fn count(&self) -> usize {
        self.seen.len()
    }

    fn drop_line(&mut self, around: &Around<'_>, why: &str) {
        self.note(around, &format!("is without connection: {why}"));
        self.line = None;
        self.busy_until = around.now_ms + self.rng.range(1, if around.calm { 20 } else { 600 });
    }

    fn note(&mut self, around: &Around<'_>, what: &str) {
        if self.trace.len() == TRACE {
            self.trace.pop_front();
        }
        self.trace.push_back(format!("{:>7} {} {what}", around.now_ms, self.name));
    }

    fn wrong(&self, invariant: Invariant, what: &str) -> Violation {
        Violation::new(invariant, format!("{}: {what}", self.name))
    }
}
