//! Clients: subscribers that speak real bytes, come back after every cut, and misbehave by chance.

use std::cell::Cell;
use std::collections::VecDeque;

use serde_json::{Value, json};
use tidewire_hub::position::{Cursor, Position};

use crate::ear::{Dialect, Ear, SseStyle};
use crate::heard::{GapHeard, Heard, PageHeard, Seen};
use crate::kernel::{Net, Time};
use crate::ledger::{Invariant, Ledger, Violation};
use crate::profile::Profile;
use crate::rng::Rng;
use crate::socket::{Fd, Received, Sock};
use crate::speech::{self, Head};
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
    name: String,
    rng: Rng,
    wish: Vec<String>,
    witness: Witness,
    line: Option<Line>,
    /// It does nothing before then.
    busy_until: u64,
    /// It does not come back any more.
    leaving: bool,
    frames: u64,
    /// What it did and heard last, for the story of a failure.
    trace: VecDeque<String>,
}

/// One connection of it.
struct Line {
    net: Net,
    fd: Fd,
    ear: Ear,
    dialect: Dialect,
    /// The server has said where the subscription begins, or need not.
    begun: bool,
    /// It has sent its last byte.
    finished: bool,
    /// It answers no pings.
    mute: bool,
    poll: Option<Poll>,
    /// `subscribe` frames without an answer yet.
    joining: Vec<Joining>,
    /// `unsubscribe` frames without an answer yet.
    leaving: Vec<(u64, String)>,
    /// `publish` frames without an answer yet.
    publishing: Vec<(u64, String)>,
}

/// A poll that waits for its answer.
struct Poll {
    asked: Asked,
    tag: Option<String>,
    head: u64,
}

struct Joining {
    frame: u64,
    channel: String,
    asked: Asked,
    messages: Vec<Seen>,
    gap: Option<GapHeard>,
}

type Verdict = Result<(), Violation>;

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
    fn poll(&mut self, around: &Around<'_>) {
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
    fn poll_again(&mut self, around: &Around<'_>, asked: Asked, tag: String) {
        let head_now = around.ledger.book().now().head();
        self.witness.connect(&self.wish, asked.clone());
        let head = Head::new(&self.wish).start(&asked, false).field(&format!("If-None-Match: {tag}"));
        self.note(around, format!("polls again, {asked:?}, {tag}"));
        let Some(line) = &mut self.line else { return };
        line.begun = false;
        line.poll = Some(Poll { asked, tag: Some(tag), head: head_now });
        self.send(&head.bytes());
    }

    fn heard(&mut self, around: &Around<'_>, heard: Heard) -> Verdict {
        self.note(around, format!("hears {heard}"));
        let told = self.take(around, heard);
        told.map_err(|violation| Violation {
            story: format!("{}: {}", self.name, violation.story),
            ..violation
        })
    }

    fn take(&mut self, around: &Around<'_>, heard: Heard) -> Verdict {
        let Some(line) = &mut self.line else { return Ok(()) };
        let book = around.ledger.book();
        match heard {
            Heard::Opened if line.dialect == Dialect::Raw => {
                // Raw says nothing more. Where it resumes, a gap would come as a close before anything else.
                line.begun = !self.witness.resumes();
                if line.begun { self.witness.begin(&book, None) } else { Ok(()) }
            }
            Heard::Opened => Ok(()),
            Heard::Ready { cursor, .. } => {
                line.begun = true;
                around.tally.count("subscriptions begun");
                self.witness.begin(&book, cursor)
            }
            Heard::Message(seen) => {
                if !line.begun {
                    if line.dialect != Dialect::Raw {
                        return Err(Violation::new(Invariant::Wire, "a message before `$ready`"));
                    }
                    line.begun = true;
                    self.witness.begin(&book, None)?;
                }
                self.witness.message(&book, &seen)
            }
            Heard::Heartbeat(place) => {
                around.tally.count("heartbeats");
                self.witness.id(&book, place)
            }
            Heard::Gap(gap) => {
                count_gap(around.tally, &gap);
                self.witness.gap(&book, &gap)
            }
            Heard::Page(page) if line.dialect == Dialect::Poll => {
                drop(book);
                self.polled(around, page)
            }
            Heard::Page(page) => {
                drop(book);
                self.joined(around, page)
            }
            Heard::NotModified => {
                around.tally.count("not modified");
                let Some(Poll { tag: Some(tag), head, .. }) = line.poll.take() else {
                    return Err(Violation::new(Invariant::Wire, "a 304 that was not asked for"));
                };
                line.begun = true;
                let newest = tag.trim_matches('"').trim_end_matches("-json1").to_owned();
                let life = book.now();
                let known = match Cursor::parse(newest.as_bytes()) {
                    Cursor::At(place) if place.generation == life.generation() => place.seq,
                    _ => {
                        return Err(Violation::new(
                            Invariant::I1,
                            format!("a 304 to {tag}, of another life (R7)"),
                        ));
                    }
                };
                let missed = self.wish.iter().find_map(|channel| life.between(channel, known, head).next());
                match missed {
                    Some(seq) => Err(Violation::new(Invariant::I1, format!("a 304 hides {seq} (R7)"))),
                    None => Ok(()),
                }
            }
            Heard::Ack(value) => {
                drop(book);
                self.acked(around, &value)
            }
            Heard::Ping(payload) => {
                if !line.mute && !line.finished {
                    self.send(&speech::frame(speech::PONG, &payload));
                }
                Ok(())
            }
            Heard::Closed(code, reason) => {
                drop(book);
                self.closed(around, code, &reason)
            }
            Heard::Ended => {
                around.tally.count("streams ended cleanly");
                Ok(())
            }
            Heard::Refused(status, code) => {
                around.tally.count("refusals");
                if code != "draining" && code != "timeout" {
                    return Err(Violation::new(Invariant::Wire, format!("refused with {status} {code}")));
                }
                Ok(())
            }
        }
    }

    fn polled(&mut self, around: &Around<'_>, page: PageHeard) -> Verdict {
        let book = around.ledger.book();
        let Some(line) = &mut self.line else { return Ok(()) };
        let Some(poll) = line.poll.take() else {
            return Err(Violation::new(Invariant::Wire, "an answer to no poll"));
        };
        line.begun = true;
        let Some(cursor) = page.cursor else {
            return Err(Violation::new(Invariant::Wire, "a poll's answer without a cursor"));
        };
        if let Some(gap) = &page.gap {
            count_gap(around.tally, gap);
            self.witness.gap(&book, gap)?;
        }
        self.witness.begin_page(&book, &page.messages, cursor)?;
        for seen in &page.messages {
            self.witness.message(&book, seen)?;
        }
        self.witness.id(&book, cursor)?;
        drop(book);
        around.tally.count("polls answered");
        match page.etag {
            Some(tag) if self.rng.chance(300) && matches!(poll.asked, Asked::After(_)) => {
                self.poll_again(around, poll.asked, tag);
            }
            // A request behind the one before, or after a while.
            _ if page.more || self.rng.chance(200) => self.poll(around),
            _ => {}
        }
        Ok(())
    }

    /// A `subscribe` frame has been answered.
    fn joined(&mut self, around: &Around<'_>, page: PageHeard) -> Verdict {
        let Some(line) = &mut self.line else { return Ok(()) };
        let Some(index) = line.joining.iter().position(|joining| Some(joining.frame) == page.asked_by) else {
            return Err(Violation::new(Invariant::Wire, "an answer to no `subscribe`"));
        };
        let mut joining = line.joining.remove(index);
        joining.messages.extend(page.messages);
        joining.gap = joining.gap.or(page.gap);
        let Some(cursor) = page.cursor else {
            if !page.more {
                return Err(Violation::new(Invariant::Wire, "neither joined nor more, R11"));
            }
            if let Some(last) = joining.messages.last().and_then(|seen| seen.id) {
                joining.asked = Asked::After(last.to_string());
            }
            self.ask_to_join(joining);
            return Ok(());
        };
        around.tally.count("channels joined by frame");
        let book = around.ledger.book();
        let life = book.now();
        let start = match &joining.asked {
            Asked::After(cursor) => match Cursor::parse(cursor.as_bytes()) {
                Cursor::At(place) => Some(place),
                Cursor::Unreadable => None,
            },
            Asked::Earliest => {
                Some(Position { generation: life.generation(), seq: life.base(&joining.channel) })
            }
            _ => None,
        };
        self.witness.expect(&joining.channel, start);
        if let Some(gap) = &joining.gap {
            count_gap(around.tally, gap);
            self.witness.gap(&book, gap)?;
        }
        for seen in &joining.messages {
            self.witness.replayed(&book, seen)?;
        }
        self.witness.join(&book, &joining.channel, cursor)?;
        self.wish.push(joining.channel);
        Ok(())
    }

    fn acked(&mut self, around: &Around<'_>, value: &Value) -> Verdict {
        let Some(line) = &mut self.line else { return Ok(()) };
        let frame = value["id"].as_u64();
        if let Some(index) = line.leaving.iter().position(|(asked, _)| Some(*asked) == frame) {
            let (_, channel) = line.leaving.remove(index);
            self.witness.leave(&channel);
            self.wish.retain(|name| *name != channel);
            around.tally.count("channels left by frame");
            return Ok(());
        }
        if let Some(index) = line.publishing.iter().position(|(asked, _)| Some(*asked) == frame) {
            let (_, text) = line.publishing.remove(index);
            let Some(id) = value["message_id"].as_str() else {
                let code = value["code"].as_str().unwrap_or_default();
                let may = ["draining", "key_reused"].contains(&code);
                return if may { Ok(()) } else { Err(Violation::new(Invariant::Wire, value.to_string())) };
            };
            let book = around.ledger.book();
            let record = match Cursor::parse(id.as_bytes()) {
                Cursor::At(place) => book.life(place.generation).and_then(|life| life.at(place.seq)),
                Cursor::Unreadable => None,
            };
            let placed = record.is_some_and(|record| record.payload == text.as_bytes());
            around.tally.count("publishes acknowledged by frame");
            return if placed {
                Ok(())
            } else {
                Err(Violation::new(Invariant::I3, format!("{id} is not {text}")))
            };
        }
        if value["type"] == "pong" { Ok(()) } else { Err(Violation::new(Invariant::Wire, value.to_string())) }
    }

    fn closed(&mut self, around: &Around<'_>, code: u16, reason: &str) -> Verdict {
        let Some(line) = &mut self.line else { return Ok(()) };
        let place = match Cursor::parse(reason.as_bytes()) {
            Cursor::At(place) => Some(place),
            Cursor::Unreadable => None,
        };
        let book = around.ledger.book();
        match (code, place, line.dialect) {
            (4410, Some(cursor), Dialect::Raw) => {
                around.tally.count("gaps by a raw close");
                self.witness.gap(&book, &GapHeard { channels: None, reason: None, cursor })?;
            }
            (1012 | 4408, place, _) => {
                around.tally.count(if code == 1012 { "closed: draining" } else { "closed: slow or silent" });
                if !line.begun && line.dialect == Dialect::Raw {
                    self.witness.begin(&book, None)?;
                }
                if let Some(place) = place {
                    self.witness.id(&book, place)?;
                }
            }
            (1000, ..) => {}
            _ => return Err(Violation::new(Invariant::Wire, format!("closed with {code} {reason}"))),
        }
        drop(book);
        if !line.finished {
            self.send(&speech::frame(speech::CLOSE, &code.to_be_bytes()));
        }
        Ok(())
    }

    /// Nothing has come: does something of its own accord.
    fn act(&mut self, around: &Around<'_>) -> Verdict {
        let Some(line) = &mut self.line else { return Ok(()) };
        if line.dialect == Dialect::Poll && line.poll.is_none() {
            self.poll(around);
            return Ok(());
        }
        if around.calm || line.finished {
            return Ok(());
        }
        if self.rng.chance(around.profile.unrest) {
            self.misbehave(around);
        } else if line.begun && line.dialect == Dialect::V1 && self.rng.chance(60) {
            self.speak(around);
        } else if line.begun && line.dialect == Dialect::Raw && self.wish.len() == 1 && self.rng.chance(30) {
            let text = self.payload(around);
            around.tally.count("publishes over raw");
            let opcode = if self.rng.chance(300) { speech::BINARY } else { speech::TEXT };
            self.send(&speech::frame(opcode, text.as_bytes()));
        }
        Ok(())
    }

    fn misbehave(&mut self, around: &Around<'_>) {
        match self.rng.below(10) {
            0 | 1 => {
                around.tally.count("fault: reset by the client");
                self.cut(around);
            }
            2 => {
                around.tally.count("fault: finished by the client");
                self.hang_up(around, "hangs up");
            }
            3 => {
                around.tally.count("fault: half-closed by the client");
                self.note(around, "ends its half".into());
                if let Some(line) = &mut self.line {
                    line.finished = true;
                    line.net.client(line.fd, Sock::finish);
                }
            }
            4..=7 => {
                around.tally.count("fault: stopped reading");
                self.note(around, "stops reading for a moment".into());
                self.busy_until = around.time.now_ms() + self.rng.range(20, 3_000);
            }
            _ => {
                around.tally.count("fault: stopped reading for long");
                self.note(around, "stops reading".into());
                self.busy_until = around.time.now_ms() + self.rng.range(3_000, 20_000);
            }
        }
    }

    /// Sends one `tidewire.v1` frame.
    fn speak(&mut self, around: &Around<'_>) {
        self.frames += 1;
        let frame = self.frames;
        let Some(line) = &mut self.line else { return };
        let text = match self.rng.below(5) {
            0 | 1 => {
                let taken = |name: &&String| {
                    !self.wish.contains(*name) && line.joining.iter().all(|joining| joining.channel != **name)
                };
                let free: Vec<&String> = around.profile.channels.iter().filter(taken).collect();
                if free.is_empty() {
                    return;
                }
                let channel = (*self.rng.pick(&free)).clone();
                let asked = match (self.witness.cursor, self.rng.below(3)) {
                    (Some(cursor), 0) => Asked::After(cursor.to_string()),
                    (_, 1) => Asked::Earliest,
                    _ => Asked::Live,
                };
                let (messages, gap) = (Vec::new(), None);
                return self.ask_to_join(Joining { frame, channel, asked, messages, gap });
            }
            2 if self.wish.len() > 1 && line.leaving.is_empty() => {
                let channel = self.rng.pick(&self.wish).clone();
                line.leaving.push((frame, channel.clone()));
                json!({"type": "unsubscribe", "id": frame, "channels": [channel]})
            }
            3 => json!({"type": "ping", "id": frame}),
            _ => {
                let text = self.payload(around);
                let channel = self.rng.pick(&around.profile.channels).clone();
                if let Some(line) = &mut self.line {
                    line.publishing.push((frame, text.clone()));
                }
                json!({"type": "publish", "id": frame, "channel": channel, "data": text})
            }
        };
        self.send(&speech::frame(speech::TEXT, text.to_string().as_bytes()));
    }

    fn ask_to_join(&mut self, mut joining: Joining) {
        self.frames += 1;
        joining.frame = self.frames;
        let cursor = match &joining.asked {
            Asked::After(cursor) => json!(cursor),
            Asked::Earliest => json!("earliest"),
            _ => Value::Null,
        };
        let text = json!({
            "type": "subscribe", "id": joining.frame, "channels": [joining.channel], "cursor": cursor,
        });
        if let Some(line) = &mut self.line {
            line.joining.push(joining);
        }
        self.send(&speech::frame(speech::TEXT, text.to_string().as_bytes()));
    }

    fn payload(&mut self, around: &Around<'_>) -> String {
        around.uids.set(around.uids.get() + 1);
        format!("{} from {}", around.uids.get(), self.name)
    }

    fn send(&mut self, bytes: &[u8]) {
        if let Some(line) = &self.line
            && !line.finished
        {
            line.net.client(line.fd, |socket| socket.send(bytes));
        }
    }

    fn cut(&mut self, around: &Around<'_>) {
        if let Some(line) = &self.line {
            line.net.client(line.fd, Sock::reset);
        }
        self.drop_line(around, "cuts its connection");
    }

    fn hang_up(&mut self, around: &Around<'_>, why: &str) {
        if let Some(line) = &mut self.line {
            line.finished = true;
            // Nothing reads the rest, as when a program closes its socket.
            line.net.client(line.fd, Sock::finish);
        }
        self.drop_line(around, why);
    }

    fn drop_line(&mut self, around: &Around<'_>, why: &str) {
        self.note(around, format!("is without connection: {why}"));
        self.line = None;
        let most = if around.calm { 20 } else { 1_000 };
        self.busy_until = around.time.now_ms() + self.rng.range(1, most);
    }

    fn note(&mut self, around: &Around<'_>, what: String) {
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

fn count_gap(tally: &Tally, gap: &GapHeard) {
    tally.count(match gap.reason.as_deref() {
        Some("epoch") => "gaps: epoch",
        Some("trimmed") => "gaps: trimmed",
        _ => "gaps: other",
    });
}
