//! The life of a client: it connects, hears, is cut, and comes back.

use std::cell::Cell;
use std::collections::VecDeque;

use tidewire_hub::position::Position;

use crate::ear::{Dialect, Ear, SseStyle};
use crate::heard::{GapHeard, Seen};
use crate::kernel::{Net, Time};
use crate::ledger::{Invariant, Ledger, Violation};
use crate::profile::Profile;
use crate::rng::Rng;
use crate::socket::{Fd, Received, Sock};
use crate::speech::Head;
use crate::tally::Tally;
use crate::witness::{Asked, Witness};

/// What surrounds a client.
pub struct Around<'a> {
    /// Where it may connect.
    pub nets: &'a [Net],
    /// What was published.
    pub ledger: &'a Ledger,
    /// What time it is.
    pub time: &'a Time,
    /// Where deeds are counted.
    pub tally: &'a Tally,
    /// The circumstances.
    pub profile: &'a Profile,
    /// Makes payloads distinct.
    pub uids: &'a Cell<u64>,
    /// Nobody misbehaves any more.
    pub calm: bool,
}

/// One subscriber.
pub struct Client {
    pub(super) name: String,
    pub(super) rng: Rng,
    pub(super) wish: Vec<String>,
    pub(super) witness: Witness,
    pub(super) line: Option<Line>,
    /// It does nothing before then.
    pub(super) busy_until: u64,
    /// It does not come back any more.
    pub(super) leaving: bool,
    pub(super) frames: u64,
    /// What it did and heard last, for the story of a failure.
    pub(super) trace: VecDeque<String>,
}

/// One connection of it.
pub(super) struct Line {
    pub(super) net: Net,
    pub(super) fd: Fd,
    pub(super) ear: Ear,
    pub(super) dialect: Dialect,
    /// The server has said where the subscription begins, or need not.
    pub(super) begun: bool,
    /// It has sent its last byte.
    pub(super) finished: bool,
    /// It answers no pings.
    pub(super) mute: bool,
    pub(super) poll: Option<Poll>,
    /// `subscribe` frames without an answer yet.
    pub(super) joining: Vec<Joining>,
    /// `unsubscribe` frames without an answer yet.
    pub(super) leaving: Vec<(u64, String)>,
    /// `publish` frames without an answer yet.
    pub(super) publishing: Vec<(u64, String)>,
}

/// A poll that waits for its answer.
pub(super) struct Poll {
    pub(super) asked: Asked,
    pub(super) tag: Option<String>,
    pub(super) head: u64,
}

pub(super) struct Joining {
    pub(super) frame: u64,
    pub(super) channel: String,
    pub(super) asked: Asked,
    pub(super) messages: Vec<Seen>,
    pub(super) gap: Option<GapHeard>,
}

pub(super) type Verdict = Result<(), Violation>;

/// Lines of a client's story that are kept.
const TRACE: usize = 160;

impl Client {
    /// A subscriber that has not connected yet.
    #[must_use]
    pub fn new(name: String, mut rng: Rng, profile: &Profile) -> Client {
        let mut wish: Vec<String> = Vec::new();
        for channel in &profile.channels {
            if wish.is_empty() || rng.chance(400) {
                wish.push(channel.clone());
            }
        }
        let last = wish.len() - 1;
        let swap = rng.below(wish.len());
        wish.swap(last, swap);
        Client {
            name,
            rng,
            wish,
            witness: Witness::default(),
            line: None,
            busy_until: 0,
            leaving: false,
            frames: 0,
            trace: VecDeque::new(),
        }
    }

    /// Does one thing.
    ///
    /// # Errors
    /// What it heard breaks an invariant.
    pub fn step(&mut self, around: &Around<'_>) -> Verdict {
        if around.time.now_ms() < self.busy_until && !around.calm {
            return Ok(());
        }
        let Some(line) = &mut self.line else {
            if !self.leaving && around.time.now_ms() >= self.busy_until {
                self.connect(around);
            }
            return Ok(());
        };
        let reach = 1 << self.rng.below(12);
        let most = if around.calm { 4 << 20 } else { 1 + self.rng.below(reach) };
        match line.net.client(line.fd, |socket| socket.receive(most)) {
            Received::Bytes(bytes) => {
                let heard = line.ear.hear(&bytes).map_err(|broken| self.broken(&broken))?;
                heard.into_iter().try_for_each(|heard| self.heard(around, heard))
            }
            Received::Nothing => self.act(around),
            Received::End => {
                let heard = line.ear.end().map_err(|broken| self.broken(&broken))?;
                heard.into_iter().try_for_each(|heard| self.heard(around, heard))?;
                self.hang_up(around, "the server ended");
                Ok(())
            }
            Received::Cut => {
                around.tally.count("seen: cut by the server");
                self.hang_up(around, "the server cut it");
                Ok(())
            }
            Received::Reset => {
                around.tally.count("seen: reset by the server");
                self.drop_line(around, "reset");
                Ok(())
            }
        }
    }

    /// Ends its connection for good, in one of the ways there are.
    pub fn leave(&mut self, around: &Around<'_>) {
        self.leaving = true;
        if self.rng.chance(500) {
            self.cut(around);
        } else {
            self.hang_up(around, "leaves");
        }
    }

    /// Whether it has heard this message on every channel that it listens to; a name where it has not.
    ///
    /// # Errors
    /// The channel that is silent.
    pub fn has_heard(&self, channel: &str, place: Position) -> Verdict {
        if self.line.is_none() {
            return Err(self.silent(channel, "is not connected"));
        }
        let listens = self.witness.channels().any(|name| name == channel);
        if !listens || self.witness.has(channel, place) {
            return Ok(());
        }
        let socket = self.line.as_ref().map(|line| line.net.client(line.fd, |socket| socket.describe()));
        Err(self.silent(channel, &format!("has not heard {place}: {socket:?}")))
    }

    /// What it did and heard last.
    #[must_use]
    pub fn story(&self) -> String {
        self.trace.iter().map(|line| format!("  {line}\n")).collect()
    }

    /// What it did and heard at the very last.
    #[must_use]
    pub fn end_of_story(&self) -> String {
        self.trace.iter().skip(self.trace.len().saturating_sub(5)).map(|line| format!("  {line}\n")).collect()
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Messages heard, and those of them heard before.
    #[must_use]
    pub fn heard_count(&self) -> (u64, u64) {
        (self.witness.delivered, self.witness.repeated)
    }

    fn connect(&mut self, around: &Around<'_>) {
        let dialect = self.choose_dialect();
        let mut room = 64 + self.rng.below(around.profile.room_max);
        if around.calm {
            room = 4 << 20;
        }
        let net = self.rng.pick(around.nets).clone();
        let Some(fd) = net.connect(room) else {
            self.busy_until = around.time.now_ms() + self.rng.range(10, 500);
            return;
        };
        let mute = !around.calm && self.rng.chance(50);
        let (joining, leaving, publishing) = (Vec::new(), Vec::new(), Vec::new());
        let ear = Ear::new(dialect);
        let line = Line {
            net,
            fd,
            ear,
            dialect,
            begun: false,
            finished: false,
            mute,
            poll: None,
            joining,
            leaving,
            publishing,
        };
        self.line = Some(line);
        if dialect == Dialect::Poll {
            return self.poll(around);
        }
        let asked = self.choose_start(around);
        self.witness.connect(&self.wish, asked.clone());
        let by_header = self.rng.chance(500);
        let mut head = Head::new(&self.wish).start(&asked, by_header);
        head = match dialect {
            Dialect::Sse(style) => {
                let head = head.sse();
                if style == SseStyle::Envelope { head.query("format=json") } else { head }
            }
            Dialect::Raw => head.websocket(false),
            _ => head.websocket(true),
        };
        head.http10 = matches!(dialect, Dialect::Sse(_)) && self.rng.chance(300);
        self.note(around, format!("connects as {dialect:?} to {:?}, {asked:?}", self.wish));
        self.send(&head.bytes());
    }

    fn choose_dialect(&mut self) -> Dialect {
        let plain = if self.wish.len() == 1 { SseStyle::Single } else { SseStyle::Multi };
        match self.rng.below(10) {
            0..=2 => Dialect::Sse(plain),
            3 => Dialect::Sse(SseStyle::Envelope),
            4 | 5 => Dialect::Raw,
            6 | 7 => Dialect::V1,
            _ => Dialect::Poll,
        }
    }

    fn choose_start(&mut self, around: &Around<'_>) -> Asked {
        let nonsense = !around.calm && self.rng.chance(u32::min(80, around.profile.unrest * 3));
        if nonsense {
            around.tally.count("fault: cursor that is no place");
            let head = Position { generation: around.ledger.book().now().generation(), seq: u64::MAX / 2 };
            let known = ["xyz", "1.1", "zzzz.zz", "~"];
            return Asked::After(match self.rng.below(5) {
                4 => head.to_string(),
                other => known[other].to_owned(),
            });
        }
        match (self.witness.cursor, self.rng.below(20)) {
            (Some(cursor), at) if at <= 17 || around.calm => {
                around.tally.count("resumes");
                Asked::After(cursor.to_string())
            }
            (_, 18) => Asked::Earliest,
            (None, 0..=3) | (_, 19) => Asked::Tail(1 + self.rng.below(5) as u32),
            _ => Asked::Live,
        }
    }

    /// Sends the next poll.
    pub(super) fn poll(&mut self, around: &Around<'_>) {
        let asked = self.choose_start(around);
        let book = around.ledger.book();
        let head_now = book.now().head();
        drop(book);
        self.witness.connect(&self.wish, asked.clone());
        let (by_header, waits) = (self.rng.chance(300), self.rng.chance(500));
        let mut head = Head::new(&self.wish).start(&asked, by_header);
        if waits {
            head = head.query(&format!("wait={}", self.rng.range(0, 2)));
        }
        self.note(around, format!("polls {:?}, {asked:?}, waits {waits}", self.wish));
        let Some(line) = &mut self.line else { return };
        line.begun = false;
        line.poll = Some(Poll { asked, tag: None, head: head_now });
        self.send(&head.bytes());
    }

    /// Asks the poll before once more, with the tag of its answer.
    pub(super) fn poll_again(&mut self, around: &Around<'_>, asked: Asked, tag: String) {
        let head_now = around.ledger.book().now().head();
        self.witness.connect(&self.wish, asked.clone());
        let head = Head::new(&self.wish).start(&asked, false).field(&format!("If-None-Match: {tag}"));
        self.note(around, format!("polls again, {asked:?}, {tag}"));
        let Some(line) = &mut self.line else { return };
        line.begun = false;
        line.poll = Some(Poll { asked, tag: Some(tag), head: head_now });
        self.send(&head.bytes());
    }

    pub(super) fn send(&mut self, bytes: &[u8]) {
        if let Some(line) = &self.line
            && !line.finished
        {
            line.net.client(line.fd, |socket| socket.send(bytes));
        }
    }

    pub(super) fn cut(&mut self, around: &Around<'_>) {
        if let Some(line) = &self.line {
            line.net.client(line.fd, Sock::reset);
        }
        self.drop_line(around, "cuts its connection");
    }

    pub(super) fn hang_up(&mut self, around: &Around<'_>, why: &str) {
        if let Some(line) = &mut self.line {
            line.finished = true;
            // Nothing reads the rest, as when a program closes its socket.
            line.net.client(line.fd, Sock::finish);
        }
        self.drop_line(around, why);
    }

    pub(super) fn drop_line(&mut self, around: &Around<'_>, why: &str) {
        self.note(around, format!("is without connection: {why}"));
        self.line = None;
        let most = if around.calm { 20 } else { 1_000 };
        self.busy_until = around.time.now_ms() + self.rng.range(1, most);
    }

    pub(super) fn note(&mut self, around: &Around<'_>, what: impl std::fmt::Display) {
        if self.trace.len() == TRACE {
            self.trace.pop_front();
        }
        self.trace.push_back(format!("{:>7} {} {what}", around.time.now_ms(), self.name));
    }

    fn broken(&self, broken: &str) -> Violation {
        Violation::new(Invariant::Wire, format!("{}: {broken}", self.name))
    }

    fn silent(&self, channel: &str, what: &str) -> Violation {
        Violation::new(Invariant::I6, format!("{} on `{channel}` {what}", self.name))
    }
}
