//! The outlet of those who listen inside this process: a place and a bounded queue for each, filled where the sequencer
//! stands, and emptied by whoever awaits it.
//!
//! ```text
//!          Admit            queue full            emptied: leave, resume behind the last
//! Asked ----------> Live -----------------> Behind -------------------------------------> Asked
//!   ^  `--> Paging    (the page was not all)
//!   `---------' emptied: the next page
//! ```
//!
//! A place that is behind loses nothing that the log keeps: it goes on from the log, and hears of a gap where that cannot
//! bridge. The sequencer is never held up: whatever it says is taken at once.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use tidewire_hub::admit::{Admit, ConnId, Gap, GapReason, Loss};
use tidewire_hub::channel::{Channel, ChannelSet};
use tidewire_hub::deliver::{Command, Full, Outlet};
use tidewire_hub::message::Message;
use tidewire_hub::position::{Gen, Position};
use tidewire_hub::reason::Reason;

use crate::error::Error;

/// What waits to be taken.
#[derive(Clone, Debug)]
pub(crate) enum Waiting {
    Message(Arc<Message>),
    Gap(Gap),
}

/// What one look at a place comes to.
#[derive(Debug)]
pub(crate) enum Step {
    /// This is next.
    Take(Waiting),
    /// The broker has to be asked for what follows this position; first, what joining counted is to be taken back.
    Ask { after: Position, leave: bool },
    /// Nothing yet.
    Wait,
    /// Nothing more.
    End(Option<Error>),
}

/// How much may wait for one place.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    pub(crate) messages_max: usize,
    pub(crate) bytes_max: usize,
}

/// All places of this process.
#[derive(Default)]
pub(crate) struct Hearing {
    places: Mutex<Places>,
    /// Takes back what joining counted for a place that is not there any more.
    give_back: std::sync::OnceLock<Box<dyn Fn(ChannelSet) + Send + Sync>>,
}

#[derive(Default)]
struct Places {
    last: u64,
    ended: bool,
    all: HashMap<u64, Place>,
    members: HashMap<Channel, Vec<u64>>,
    generation: Option<Gen>,
    /// Up to where this outlet has been fed.
    fed: Option<Position>,
}

struct Place {
    channels: ChannelSet,
    room: Room,
    phase: Phase,
    /// Everything up to this seq was in a page.
    joined_at: u64,
    queue: VecDeque<Waiting>,
    bytes: usize,
    waker: Option<Waker>,
}

enum Phase {
    Asked,
    Paging(Position),
    Live,
    Behind { after: Position, lost: BTreeSet<Channel> },
    Ended(Option<Error>),
}

impl Hearing {
    /// Names who takes back what was counted for a place that has gone meanwhile. It is called where the sequencer stands,
    /// and must not call that. Only the first call counts.
    pub(crate) fn give_back_with(&self, give_back: impl Fn(ChannelSet) + Send + Sync + 'static) {
        let _ = self.give_back.set(Box::new(give_back));
    }

    /// Makes a place that the broker is about to be asked for.
    pub(crate) fn enter(&self, channels: ChannelSet, room: Room) -> Result<ConnId, Error> {
        let mut places = self.places();
        if places.ended {
            return Err(Error::of(Reason::Draining));
        }
        places.last += 1;
        let number = places.last;
        let place = Place {
            channels,
            room,
            phase: Phase::Asked,
            joined_at: 0,
            queue: VecDeque::new(),
            bytes: 0,
            waker: None,
        };
        places.all.insert(number, place);
        Ok(ConnId(number))
    }

    /// Gives up a place. What joining had counted for it is told, to be taken back.
    pub(crate) fn leave(&self, conn: ConnId) -> Option<ChannelSet> {
        let mut places = self.places();
        let place = places.all.remove(&conn.0)?;
        let is_seated = matches!(place.phase, Phase::Live | Phase::Behind { .. });
        is_seated.then(|| {
            places.unseat(conn.0, &place.channels);
            place.channels
        })
    }

    /// Looks what is next for a place; where that is nothing yet, `waker` is woken by what comes.
    pub(crate) fn step(&self, conn: ConnId, waker: &Waker) -> Step {
        let mut places = self.places();
        let Some(place) = places.all.get_mut(&conn.0) else { return Step::End(None) };
        if let Some(next) = place.queue.pop_front() {
            place.bytes -= next.bytes();
            return Step::Take(next);
        }
        match &mut place.phase {
            Phase::Asked | Phase::Live => {
                place.waker = Some(waker.clone());
                Step::Wait
            }
            Phase::Paging(after) => {
                let after = *after;
                place.phase = Phase::Asked;
                Step::Ask { after, leave: false }
            }
            Phase::Behind { after, lost } if !lost.is_empty() => {
                let (cursor, channels) = (*after, std::mem::take(lost).into_iter().collect());
                Step::Take(Waiting::Gap(Gap { channels, reason: GapReason::SlowConsumer, cursor }))
            }
            Phase::Behind { after, .. } => {
                let after = *after;
                place.phase = Phase::Asked;
                let channels = place.channels.clone();
                places.unseat(conn.0, &channels);
                Step::Ask { after, leave: true }
            }
            Phase::Ended(error) => Step::End(error.clone()),
        }
    }

    /// Whether the broker has answered a place for the first time.
    pub(crate) fn is_answered(&self, conn: ConnId, waker: &Waker) -> bool {
        let mut places = self.places();
        match places.all.get_mut(&conn.0) {
            Some(place) if matches!(place.phase, Phase::Asked) => {
                place.waker = Some(waker.clone());
                false
            }
            _ => true,
        }
    }

    /// Why a place is told nothing at all.
    pub(crate) fn refusal(&self, conn: ConnId) -> Option<Error> {
        match self.places().all.get(&conn.0)? {
            Place { phase: Phase::Ended(error), queue, .. } if queue.is_empty() => error.clone(),
            _ => None,
        }
    }

    /// Up to where a place that has taken everything has heard all there is.
    pub(crate) fn position(&self, conn: ConnId) -> Option<Position> {
        let places = self.places();
        let place = places.all.get(&conn.0).filter(|place| place.queue.is_empty())?;
        let generation = places.generation?;
        let fed = places.fed.filter(|fed| fed.generation == generation).map_or(0, |fed| fed.seq);
        matches!(place.phase, Phase::Live).then_some(Position { generation, seq: fed.max(place.joined_at) })
    }

    /// How many places there are.
    pub(crate) fn count(&self) -> usize {
        self.places().all.len()
    }

    fn places(&self) -> MutexGuard<'_, Places> {
        // Nothing panics while it holds this lock.
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Outlet for Hearing {
    fn send(&self, command: Command) -> Result<(), Full> {
        let mut wakers = Vec::new();
        let mut back = None;
        let mut places = self.places();
        match command {
            Command::Deliver(message) => places.deliver(&message, &mut wakers),
            Command::Admit(admit) => back = places.admit(*admit, &mut wakers),
            Command::Position(position) => places.fed = Some(position),
            Command::Fence { position, survived } => places.fence(position, survived),
            Command::Lost(loss) => places.lose(&loss, &mut wakers),
            Command::Refuse { conn, reason, detail, .. } => {
                places.end(conn, Some(Error::new(reason, detail)), &mut wakers);
            }
            Command::Close { conn, reason } => places.end(conn, Some(Error::of(reason)), &mut wakers),
            Command::Drain { .. } => places.drain(&mut wakers),
            // These concern visitors, of whom there are none here.
            Command::Presence(_)
            | Command::Answer { .. }
            | Command::Reply { .. }
            | Command::Leave { .. }
            | Command::Continue { .. }
            | Command::Renew { .. }
            | Command::Revoke(_)
            | Command::Survey(_)
            | Command::Limit(_) => {}
        }
        drop(places);
        wakers.into_iter().for_each(Waker::wake);
        if let (Some(channels), Some(give_back)) = (back, self.give_back.get()) {
            give_back(channels);
        }
        Ok(())
    }
}

impl Places {
    fn deliver(&mut self, message: &Arc<Message>, wakers: &mut Vec<Waker>) {
        let id = message.id();
        self.fed = id.or(self.fed);
        let Some(members) = self.members.get(&message.channel) else { return };
        for number in members {
            let Some(place) = self.all.get_mut(number) else { continue };
            if id.is_some_and(|id| id.seq <= place.joined_at) {
                continue;
            }
            let has_room = place.has_room();
            match &mut place.phase {
                Phase::Live if has_room => place.push(Waiting::Message(message.clone())),
                Phase::Live => {
                    // What came over the bridge is in no log to go on from.
                    let lost = message.bridged.then(|| message.channel.clone()).into_iter().collect();
                    place.phase = Phase::Behind { after: message.before(), lost };
                }
                Phase::Behind { lost, .. } if message.bridged => {
                    lost.insert(message.channel.clone());
                }
                _ => continue,
            }
            wakers.extend(place.waker.take());
        }
    }

    /// Gives back the channels that were counted for nobody.
    fn admit(&mut self, admit: Admit, wakers: &mut Vec<Waker>) -> Option<ChannelSet> {
        let Admit { conn, channels, page, joined, .. } = admit;
        self.generation = Some(page.cursor.generation);
        let asked = self.all.get_mut(&conn.0).filter(|place| matches!(place.phase, Phase::Asked));
        let Some(place) = asked else { return joined.then_some(channels) };
        if let Some(gap) = page.gap {
            place.push(Waiting::Gap(gap));
        }
        page.messages.into_iter().for_each(|message| place.push(Waiting::Message(message)));
        wakers.extend(place.waker.take());
        if !joined {
            place.phase = Phase::Paging(page.cursor);
            return None;
        }
        (place.phase, place.joined_at) = (Phase::Live, page.cursor.seq);
        for channel in channels.iter() {
            self.members.entry(channel.clone()).or_default().push(conn.0);
        }
        None
    }

    /// Something is missing for everybody on these channels who had joined before it was published.
    fn lose(&mut self, loss: &Loss, wakers: &mut Vec<Waker>) {
        let numbers = loss.channels.keys().filter_map(|channel| self.members.get(channel)).flatten();
        let told: BTreeSet<u64> = numbers.copied().collect();
        for number in told {
            let Some(place) = self.all.get_mut(&number) else { continue };
            let joined_at = place.joined_at;
            let is_lost =
                |channel: &&Channel| loss.channels.get(*channel).is_some_and(|newest| *newest > joined_at);
            let channels: Vec<Channel> = place.channels.iter().filter(is_lost).cloned().collect();
            if channels.is_empty() {
                continue;
            }
            // One that came with a cursor ahead of this outlet goes on from there, unless that is of another log.
            let is_same_log = self.generation == Some(loss.cursor.generation);
            let seq = if is_same_log { loss.cursor.seq.max(joined_at) } else { loss.cursor.seq };
            let cursor = Position { seq, ..loss.cursor };
            let has_room = place.has_room();
            match &mut place.phase {
                Phase::Live if has_room => {
                    place.push(Waiting::Gap(Gap { channels, reason: loss.reason, cursor }));
                }
                Phase::Live => {
                    place.phase = Phase::Behind { after: cursor, lost: channels.into_iter().collect() };
                }
                Phase::Behind { lost, .. } => lost.extend(channels),
                _ => continue,
            }
            wakers.extend(place.waker.take());
        }
    }

    /// The log has another generation. A place is cut back to what it has in common with the one before.
    fn fence(&mut self, position: Position, survived: u64) {
        (self.generation, self.fed) = (Some(position.generation), Some(position));
        for place in self.all.values_mut() {
            place.joined_at = place.joined_at.min(survived);
        }
    }

    fn end(&mut self, conn: ConnId, error: Option<Error>, wakers: &mut Vec<Waker>) {
        let Some(place) = self.all.get_mut(&conn.0) else { return };
        // What joining counted stays counted until the place is given up; a place that ended is not fed.
        if let Phase::Asked | Phase::Paging(_) = place.phase {
            place.phase = Phase::Ended(error);
        }
        wakers.extend(place.waker.take());
    }

    /// The node leaves: what waits is still taken, and then there is nothing more. Nobody counts any longer.
    fn drain(&mut self, wakers: &mut Vec<Waker>) {
        self.ended = true;
        self.members.clear();
        for place in self.all.values_mut() {
            place.phase = Phase::Ended(None);
            wakers.extend(place.waker.take());
        }
    }

    fn unseat(&mut self, number: u64, channels: &ChannelSet) {
        for channel in channels.iter() {
            if let Some(members) = self.members.get_mut(channel) {
                members.retain(|member| *member != number);
                if members.is_empty() {
                    self.members.remove(channel);
                }
            }
        }
    }
}

impl Place {
    fn has_room(&self) -> bool {
        self.queue.len() < self.room.messages_max && self.bytes < self.room.bytes_max
    }

    fn push(&mut self, waiting: Waiting) {
        self.bytes += waiting.bytes();
        self.queue.push_back(waiting);
    }
}

impl Waiting {
    fn bytes(&self) -> usize {
        match self {
            Waiting::Message(message) => message.payload.as_bytes().len(),
            Waiting::Gap(_) => 0,
        }
    }
}

#[cfg(test)]
#[path = "hearing/tests.rs"]
mod tests;
