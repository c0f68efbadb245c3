//! The thread that publishes: whatever is due leaves, on the first publisher that is free.
//!
//! Nothing is queued: messages leave in the order in which they are due, so what is late is a range of numbers.

use std::collections::VecDeque;
use std::sync::atomic::Ordering::{Relaxed, Release};
use std::time::Duration;

use crate::error::{Error, Role};
use crate::payload::Payload;
use crate::plan::Plan;
use crate::publisher::{Publisher, Verdict};
use crate::refusal::Refusal;
use crate::request;
use crate::schedule::Schedule;
use crate::shared::{Shared, add, take_back};
use crate::sys::Epoll;

/// What became of all messages.
#[derive(Default)]
pub struct Sent {
    /// Message -> publisher.
    pub publishers: Vec<u16>,
    /// Messages that were refused, or whose fate nobody knows.
    pub refused: Vec<u32>,
    /// What the server said to the first of them.
    pub refusal: Option<Refusal>,
    /// Messages that were due in the measured time.
    pub due: u64,
    /// How late the latest of the measured time left.
    pub latest_ns: u64,
}

/// The publishers of a run.
pub struct Publishing<'r> {
    plan: &'r Plan,
    shared: &'r Shared,
    run: u32,
    schedule: Schedule,
    epoll: Epoll,
    lines: Vec<Line>,
    /// Publishers without an unanswered message, in turn, so that none is idle for long enough to be closed.
    free: VecDeque<usize>,
    /// Channel -> the head of a publish.
    heads: Vec<Vec<u8>>,
    sent: Sent,
    buffer: Vec<u8>,
}

/// One publisher.
struct Line {
    publisher: Publisher,
    unanswered: Option<u32>,
    /// Since when it waits for something to do.
    free_ns: u64,
    /// Whether the connection has ended.
    closed: bool,
}

const TURN_MAX: usize = 256;
/// Messages that leave between two looks at the answers, when many are due.
const BURST_MAX: usize = 32;
/// Later than this is late.
const LATE_NS: u64 = 1_000_000;
/// The longest time between two looks at whether to stop.
const LOOK: Duration = Duration::from_millis(100);

impl<'r> Publishing<'r> {
    /// Connects the publishers.
    pub fn open(
        plan: &'r Plan,
        shared: &'r Shared,
        run: u32,
        schedule: Schedule,
    ) -> Result<Publishing<'r>, Error> {
        let mut publishing = Publishing {
            plan,
            shared,
            run,
            schedule,
            epoll: Epoll::new(TURN_MAX).map_err(|error| Error::system("watch sockets", error))?,
            lines: Vec::new(),
            free: VecDeque::new(),
            heads: (0..plan.channels)
                .map(|channel| request::publish(&plan.target, &plan.channel(channel), plan.payload_bytes))
                .collect(),
            sent: Sent::default(),
            buffer: vec![0; 64 << 10],
        };
        for index in 0..plan.publisher_count() {
            let publisher = publishing.connect(index)?;
            publishing.lines.push(Line { publisher, unanswered: None, free_ns: 0, closed: false });
            publishing.free.push_back(index);
        }
        Ok(publishing)
    }

    /// Publishes everything that the schedule has, and waits for all answers.
    pub fn run(mut self) -> Result<Sent, Error> {
        let (mut next, mut tokens) = (0, Vec::new());
        while !self.shared.is_stopped() {
            let mut burst = 0;
            while let Some(due_ns) = self.schedule.due_ns(next) {
                let now_ns = self.shared.now_ns();
                if due_ns > now_ns || burst == BURST_MAX {
                    break;
                }
                let Some(index) = self.free.pop_front() else { break };
                self.publish(index, next as u32, due_ns, now_ns)?;
                (next, burst) = (next + 1, burst + 1);
            }
            let wait = match self.schedule.due_ns(next) {
                None if self.free.len() == self.lines.len() => break,
                // The next answer frees a publisher and wakes us.
                None => LOOK,
                Some(_) if self.free.is_empty() => LOOK,
                Some(due_ns) => LOOK.min(Duration::from_nanos(due_ns.saturating_sub(self.shared.now_ns()))),
            };
            self.epoll
                .wait(&mut tokens, Some(wait))
                .map_err(|error| Error::system("watch sockets", error))?;
            for &token in &tokens {
                self.answer(token as usize)?;
            }
        }
        self.sent.due = self.schedule.count_from(self.shared.from_ns.load(Relaxed));
        self.shared.publishing.is_over.store(true, Release);
        Ok(self.sent)
    }

    fn publish(&mut self, index: usize, number: u32, due_ns: u64, now_ns: u64) -> Result<(), Error> {
        if self.lines[index].closed {
            self.lines[index].publisher = self.connect(index).map_err(Error::gone)?;
            self.lines[index].closed = false;
            add(&self.shared.publishing.traffic.reopened, 1);
        }
        self.note_lateness(self.lines[index].free_ns, due_ns, now_ns);
        let channel = number as usize % self.plan.channels;
        let payload = Payload { run: self.run, number, due_ns }.encode(self.plan.payload_bytes);
        let counts = &self.shared.publishing;
        // Before the first byte: a subscriber may see the message at once, and has to know that it exists.
        add(&counts.numbered, 1);
        add(&counts.due, self.plan.readers_of(channel) as u64);
        add(&counts.traffic.requests, 1);
        add(&counts.traffic.bytes_up, (self.heads[channel].len() + payload.len()) as u64);
        self.sent.publishers.push(index as u16);
        let line = &mut self.lines[index];
        line.unanswered = Some(number);
        // A connection that broke meanwhile says so when it is read.
        let _ = line.publisher.publish(&self.heads[channel], &payload);
        Ok(())
    }

    fn note_lateness(&mut self, free_ns: u64, due_ns: u64, now_ns: u64) {
        let late_ns = now_ns - due_ns;
        if due_ns < self.shared.from_ns.load(Relaxed) {
            return;
        }
        self.sent.latest_ns = self.sent.latest_ns.max(late_ns);
        if late_ns > LATE_NS {
            // A publisher that was free in time could have sent it, had we come to it.
            let counts = &self.shared.publishing;
            add(if free_ns > due_ns { &counts.late_for_answers } else { &counts.late_itself }, 1);
        }
    }

    fn answer(&mut self, index: usize) -> Result<(), Error> {
        let line = &mut self.lines[index];
        let verdict =
            line.publisher.read(&mut self.buffer).map_err(|error| Error::Answer(error.to_string()))?;
        let counts = &self.shared.publishing;
        let refusal = match verdict {
            Verdict::Incomplete => return Ok(()),
            Verdict::Published { bytes, closes } => {
                add(&counts.traffic.bytes_down, bytes as u64);
                line.closed = closes;
                None
            }
            Verdict::Refused { bytes, closes, refusal } => {
                add(&counts.traffic.bytes_down, bytes as u64);
                line.closed = closes;
                Some(refusal)
            }
            Verdict::Ended => {
                line.closed = true;
                let detail = "the connection ended before the answer".to_owned();
                Some(Refusal { code: "cut".to_owned(), detail, ..Refusal::default() })
            }
        };
        if line.closed {
            // A socket at its end would wake every turn.
            let gone = line.publisher.leave(&self.epoll);
            gone.map_err(|error| Error::system("watch sockets", error))?;
        }
        // An idle connection that the server closes had nothing to lose.
        let Some(number) = line.unanswered.take() else { return Ok(()) };
        line.free_ns = self.shared.now_ns();
        self.free.push_back(index);
        match refusal {
            Some(refusal) => self.refused(number, refusal),
            None => Ok(()),
        }
    }

    fn refused(&mut self, number: u32, refusal: Refusal) -> Result<(), Error> {
        // What will be refused for ever is no run.
        if !refusal.may_pass() && refusal.status != 0 {
            return Err(Error::Refused { role: Role::Publisher, refusal });
        }
        let channel = number as usize % self.plan.channels;
        take_back(&self.shared.publishing.due, self.plan.readers_of(channel) as u64);
        add(&self.shared.publishing.refused, 1);
        self.sent.refused.push(number);
        self.sent.refusal.get_or_insert(refusal);
        Ok(())
    }

    fn connect(&self, index: usize) -> Result<Publisher, Error> {
        let opened = Publisher::connect(self.plan.target.address, &self.epoll, index as u64);
        opened.map_err(|error| Error::connect(&self.plan.target, error))
    }
}

/// A number for this run, which no other run has at the same time.
pub fn run_number() -> u32 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    std::process::id().rotate_left(16) ^ now.subsec_nanos() ^ now.as_secs() as u32
}
