//! A client for what is not the log's: tickets, presence, revocations, rates.
//!
//! ```text
//! ask ──▶ is there a connection? ──▶ send, once
//!             │ no
//!             ▼
//!         one dial at a time, after a pause that grows ──▶ all who wait go on, or get its error
//! ```
//!
//! The log's links are given up by whoever holds them, in an order of its own (delivery rule R16). Here no call depends on
//! another one, so a broken connection is dialled again by itself; a call is sent once, whatever becomes of it.

use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Cmd, PushKind, ServerErrorKind, Value};
use tokio::sync::{Semaphore, watch};

use super::address::Address;
use super::endpoint;
use super::error::Error;
use super::link::Timeouts;

/// Calls in flight, those that wait for a connection included. Beyond: [`Error::Crowded`], at once.
pub const ASIDE_CALLS_MAX: usize = 1_024;

const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// One connection to the master, for calls that do not depend on each other. Clones share it. It is dialled by the first
/// call, in whose runtime it then lives.
#[derive(Clone)]
pub struct Aside {
    shared: Arc<Shared>,
}

struct Shared {
    address: Address,
    timeouts: Timeouts,
    calls: Semaphore,
    state: Mutex<State>,
}

struct State {
    standing: Standing,
    /// Dials, counted: what happens to an earlier connection says nothing about this one.
    dial: u64,
    /// Dials and connections that failed since the last answer.
    failures: u32,
}

enum Standing {
    Down,
    Dialling(watch::Receiver<Option<Dialled>>),
    Up(MultiplexedConnection),
}

/// A connection and the number of its dial.
type Dialled = Result<(u64, MultiplexedConnection), Error>;

impl Aside {
    /// A client for what `address` stands for. Nothing is dialled yet.
    #[must_use]
    pub fn new(address: Address, timeouts: Timeouts) -> Aside {
        let state = State { standing: Standing::Down, dial: 0, failures: 0 };
        let shared =
            Shared { address, timeouts, calls: Semaphore::new(ASIDE_CALLS_MAX), state: Mutex::new(state) };
        Aside { shared: Arc::new(shared) }
    }

    /// Sends commands in one write and gives as many answers, in their order; an error reply is one of them, but for
    /// `READONLY`. Other calls may come between them: what belongs together is a script, or `MULTI` and `EXEC` in `commands`.
    ///
    /// Takes `timeouts.answer` at most, a dial included. Never repeats a command: after [`Error::Broken`] and
    /// [`Error::Malformed`] it is unknown whether they happened.
    ///
    /// # Errors
    /// [`Error::Crowded`] with [`ASIDE_CALLS_MAX`] calls in flight. [`Error::ReadOnly`] where the server has become a
    /// replica: its writes did not happen, and the next call goes to the master. What [`Address::master`] and a dial say.
    pub async fn ask(&self, commands: &[Cmd]) -> Result<Vec<Value>, Error> {
        let shared = &self.shared;
        if commands.is_empty() {
            return Ok(Vec::new());
        }
        let Ok(_call) = shared.calls.try_acquire() else { return Err(Error::Crowded) };
        let mut sent = None;
        let asked = tokio::time::timeout(shared.timeouts.answer, async {
            let (dial, connection) = shared.connection().await?;
            sent = Some(dial);
            endpoint::send(&connection, commands).await
        });
        let outcome = match asked.await {
            Ok(Ok(answers)) if answers.iter().any(is_read_only) => Err(Error::ReadOnly),
            Ok(outcome) => outcome,
            Err(_) => Err(Error::Broken),
        };
        // Who could not even send has nothing to say about the connection.
        if let Some(dial) = sent {
            match &outcome {
                Ok(_) => shared.answered(dial),
                Err(_) => shared.give_up(dial),
            }
        }
        outcome
    }
}

impl fmt::Debug for Aside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Aside({})", self.shared.address)
    }
}

impl Shared {
    async fn connection(self: &Arc<Shared>) -> Dialled {
        let (number, mut dialling) = {
            let mut state = self.state();
            match &state.standing {
                Standing::Up(connection) => return Ok((state.dial, connection.clone())),
                Standing::Dialling(dialling) => (state.dial, dialling.clone()),
                Standing::Down => {
                    let (sender, dialling) = watch::channel(None);
                    state.standing = Standing::Dialling(dialling.clone());
                    state.dial += 1;
                    // A task of its own: whoever called first may give up before sentinels have been asked.
                    tokio::spawn(dial(self.clone(), state.dial, pause(state.failures), sender));
                    (state.dial, dialling)
                }
            }
        };
        match dialling.wait_for(Option::is_some).await {
            Ok(dialled) => dialled.clone().unwrap_or(Err(Error::Broken)),
            // Its runtime has ended, and it with it. The next call dials in its own.
            Err(_) => {
                let mut state = self.state();
                if state.dial == number {
                    state.standing = Standing::Down;
                }
                Err(Error::Broken)
            }
        }
    }

    fn answered(&self, dial: u64) {
        let mut state = self.state();
        if state.dial == dial {
            state.failures = 0;
        }
    }

    fn give_up(&self, dial: u64) {
        let mut state = self.state();
        if state.dial == dial && matches!(state.standing, Standing::Up(_)) {
            state.standing = Standing::Down;
            state.failures = state.failures.saturating_add(1);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change to it is one assignment after another, none of which panics.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn dial(shared: Arc<Shared>, dial: u64, pause: Duration, told: watch::Sender<Option<Dialled>>) {
    tokio::time::sleep(pause).await;
    let connection = connect(&shared, dial).await;
    {
        let mut state = shared.state();
        state.standing = match &connection {
            Ok(connection) => Standing::Up(connection.clone()),
            Err(_) => Standing::Down,
        };
        if connection.is_err() {
            state.failures = state.failures.saturating_add(1);
        }
    }
    let _ = told.send(Some(connection.map(|connection| (dial, connection))));
}

async fn connect(shared: &Arc<Shared>, dial: u64) -> Result<MultiplexedConnection, Error> {
    let master = shared.address.master(shared.timeouts).await?;
    // Weakly, since the connection keeps it.
    let owner = Arc::downgrade(shared);
    let config =
        AsyncConnectionConfig::new().set_push_sender(move |push: redis::PushInfo| -> Result<(), ()> {
            // Otherwise the next call would find out, and fail.
            if let (PushKind::Disconnection, Some(owner)) = (push.kind, owner.upgrade()) {
                owner.give_up(dial);
            }
            Ok(())
        });
    master.dial(shared.timeouts, config).await
}

/// Before a dial after so many failures: none before the first one, then doubling, and never the same for two nodes that
/// lost the same server.
pub(super) fn pause(failures: u32) -> Duration {
    if failures == 0 {
        return Duration::ZERO;
    }
    let longest = PAUSE_MIN.saturating_mul(1 << (failures - 1).min(10)).min(PAUSE_MAX);
    longest.mul_f64(0.5 + (RandomState::new().hash_one(failures) % 512) as f64 / 1_024.0)
}

fn is_read_only(answer: &Value) -> bool {
    matches!(answer, Value::ServerError(error) if error.kind() == Some(ServerErrorKind::ReadOnly))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_second() {
        assert_eq!(pause(0), Duration::ZERO);
        for (failures, longest_ms) in [(1, 50), (2, 100), (3, 200), (5, 800), (6, 1_000), (u32::MAX, 1_000)] {
            let longest = Duration::from_millis(longest_ms);
            assert!((longest / 2..=longest).contains(&pause(failures)), "{failures}");
        }
    }
}
