//! What this node's members are, and which of that Redis does not know yet.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tidewire_hub::broker::{Done, Figure};
use tidewire_hub::channel::Channel;
use tidewire_hub::presence::{self, Members, News, Subject};
use tidewire_hub::reason::Reason;
use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use super::calls::{Calls, Names, Row};
use super::desk::Desk;
use super::ear;
use crate::redis::address::Address;
use crate::redis::aside::Aside;
use crate::redis::link::Timeouts;

/// Rows of one write. Redis answers nobody else meanwhile: about a millisecond.
const ROWS_AT_ONCE: usize = 256;

/// How long membership outlives what it depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PresenceTimes {
    /// How long the members of a node that has died stay, at least. Default 10 s.
    pub lease: Duration,
    /// How often a node renews its lease and looks for nodes that have died. Default 3 s.
    pub renewal: Duration,
}

impl Default for PresenceTimes {
    fn default() -> PresenceTimes {
        PresenceTimes { lease: Duration::from_secs(10), renewal: Duration::from_secs(3) }
    }
}

/// Membership over all nodes of one prefix, in Redis. Dropping it ends its tasks at once, and its members stay until the
/// lease has run out: that is the grace of whoever comes back to another node.
pub struct Roster {
    shared: Arc<Shared>,
    calls: Calls,
    timeouts: Timeouts,
    runtime: Handle,
    tasks: [JoinHandle<()>; 2],
}

impl Roster {
    /// Begins to keep this node's members, and to hand what all nodes tell to `hear`, which must not block. `random` is
    /// the node's random source.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    #[must_use]
    pub fn start(
        address: &Address,
        prefix: &str,
        timeouts: Timeouts,
        times: PresenceTimes,
        hear: impl Fn(News) + Send + Sync + 'static,
        random: impl FnMut() -> u64 + Send + 'static,
    ) -> Roster {
        let names = Names::new(prefix, address.database());
        let (told, aside) = (names.told(), Aside::new(address.clone(), timeouts));
        let calls = Calls { aside, names };
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            changed: Notify::new(),
            written: watch::channel(0).0,
            hear: Box::new(hear),
            junk: AtomicU64::new(0),
        });
        let desk = Desk::new(shared.clone(), calls.clone(), times, Box::new(random));
        let tasks = [
            tokio::spawn(desk.work()),
            tokio::spawn(ear::listen(shared.clone(), address.clone(), timeouts, told)),
        ];
        Roster { shared, calls, timeouts, runtime: Handle::current(), tasks }
    }

    /// What came over Pub/Sub and could not be read, since the start (fault F33).
    #[must_use]
    pub fn junk(&self) -> u64 {
        self.shared.junk.load(Ordering::Relaxed)
    }
}

impl presence::Roster for Roster {
    fn update(&self, channel: &Channel, subject: &Subject, sessions: Option<u32>) {
        let mut state = self.shared.state();
        let member = (channel.clone(), subject.clone());
        match sessions {
            Some(sessions) => drop(state.members.insert(member.clone(), sessions)),
            None => drop(state.members.remove(&member)),
        }
        state.unwritten.insert(member);
        state.changes += 1;
        drop(state);
        self.shared.changed.notify_one();
    }

    fn members(&self, channel: Channel, count_max: usize, done: Done<Result<Members, Reason>>) {
        let (calls, answer) = (self.calls.clone(), self.timeouts.answer);
        let mut written = self.shared.written.subscribe();
        let changes = self.shared.state().changes;
        // Bounded by whoever asks: each waits for one answer.
        self.runtime.spawn(async move {
            // What this node knows already is in the list, or whoever has just come would not find themselves in it.
            let known = async { written.wait_for(|written| *written >= changes).await.is_ok() };
            let listed = match tokio::time::timeout(answer, known).await {
                Ok(true) => calls.list(&channel, count_max).await.map_err(|_| Reason::Overloaded),
                Ok(false) | Err(_) => Err(Reason::Overloaded),
            };
            done(listed);
        });
    }

    fn figures(&self) -> Vec<Figure> {
        vec![Figure::count("presence_junk", self.junk())]
    }
}

impl Drop for Roster {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// What the tasks of a roster share.
pub(super) struct Shared {
    state: Mutex<State>,
    /// There is something to write.
    pub(super) changed: Notify,
    /// How many changes are known to Redis.
    written: watch::Sender<u64>,
    pub(super) hear: Box<dyn Fn(News) + Send + Sync>,
    pub(super) junk: AtomicU64,
}

#[derive(Default)]
struct State {
    /// The members of this node with their sessions.
    members: HashMap<(Channel, Subject), u32>,
    /// Those of whom Redis may have something else. Bounded by the members that there are and have been since the last
    /// write that came through.
    unwritten: HashSet<(Channel, Subject)>,
    changes: u64,
}

/// Some rows to write.
pub(super) struct Batch {
    pub(super) rows: Vec<Row>,
    /// Changes that Redis knows once they are written; nothing where there are more rows.
    changes: Option<u64>,
}

impl Shared {
    /// Takes what is to be written next. It comes back by [`Shared::written`] or [`Shared::unwritten`].
    pub(super) fn take(&self) -> Batch {
        let mut state = self.state();
        let state = &mut *state;
        let taken: Vec<_> = state.unwritten.iter().take(ROWS_AT_ONCE).cloned().collect();
        for member in &taken {
            state.unwritten.remove(member);
        }
        let row = |member: (Channel, Subject)| {
            let sessions = state.members.get(&member).copied();
            (member.0, member.1, sessions)
        };
        let rows = taken.into_iter().map(row).collect();
        Batch { rows, changes: state.unwritten.is_empty().then_some(state.changes) }
    }

    /// Redis has this batch.
    pub(super) fn written(&self, batch: &Batch) {
        if let Some(changes) = batch.changes {
            self.written.send_replace(changes);
        }
    }

    /// Redis may not have this batch.
    pub(super) fn unwritten(&self, batch: Batch) {
        let rows = batch.rows.into_iter().map(|(channel, subject, _)| (channel, subject));
        self.state().unwritten.extend(rows);
    }

    /// Redis has nothing of this node.
    pub(super) fn write_all(&self) {
        let mut state = self.state();
        state.unwritten = state.members.keys().cloned().collect();
    }

    /// The channels with members on this node.
    pub(super) fn channels(&self) -> HashSet<Channel> {
        self.state().members.keys().map(|(channel, _)| channel.clone()).collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it is held, and were it so, a row too many would be written.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
