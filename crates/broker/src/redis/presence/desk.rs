//! The task that writes a node's members, renews its lease, and takes out whoever is gone.
//!
//! ```text
//!            ┌── lease run out, or another version there ──┐
//!            ▼                                             │
//! enter under a new name ──▶ write all ──▶ give up the old name ──▶ write what changes, renew, reap
//! ```
//!
//! One way back for all that may happen: whether the lease ran out, the store came back empty or a replica without the
//! newest writes was promoted, the node writes everything under a new name before it takes out the old one. Whoever is
//! a member all the while is never gone in between.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::calls::{Calls, Renewed};
use super::roster::{PresenceTimes, Shared};
use crate::redis::error::Error;
use crate::redis::fence::NodeId;

/// Own names that are taken out at once. Others wait until their leases have run out.
const GIVEN_UP_MAX: usize = 8;

/// Before a call is tried again.
const PAUSE: Duration = Duration::from_millis(200);

pub(super) struct Desk {
    shared: Arc<Shared>,
    calls: Calls,
    times: PresenceTimes,
    random: Box<dyn FnMut() -> u64 + Send>,
    node: NodeId,
    /// Writes under this name so far.
    version: u64,
    /// The store that this node has last been in.
    store: Option<String>,
    /// The store was lost since everything was last written: whoever was a member there is no news.
    was_lost: bool,
    /// Whether it has a lease, as far as it knows.
    is_in: bool,
    /// Names that this node has given up and whose members may still be there, for as long as their leases last.
    given_up: Vec<NodeId>,
}

impl Desk {
    pub(super) fn new(
        shared: Arc<Shared>,
        calls: Calls,
        times: PresenceTimes,
        mut random: Box<dyn FnMut() -> u64 + Send>,
    ) -> Desk {
        let node = NodeId::from_random(random());
        let (store, given_up) = (None, Vec::new());
        Desk {
            shared,
            calls,
            times,
            random,
            node,
            version: 0,
            store,
            was_lost: false,
            is_in: false,
            given_up,
        }
    }

    /// Works for ever.
    pub(super) async fn work(mut self) {
        loop {
            // Nothing is lost by an error: what is not written stays unwritten, and a lease that has run out says so.
            if let Err(_error) = self.stay().await {
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    /// Comes in, and goes on until it is out or a call fails.
    async fn stay(&mut self) -> Result<(), Error> {
        if !self.is_in {
            self.enter().await?;
        }
        let mut renewal = Instant::now() + self.times.renewal;
        loop {
            if !self.write(false).await? {
                self.is_in = false;
                return Ok(());
            }
            if Instant::now() >= renewal {
                let renewed = self.renew(false).await?;
                if !renewed.is_in {
                    self.is_in = false;
                    return Ok(());
                }
                renewal = Instant::now() + self.times.renewal;
                for dead in renewed.dead {
                    self.calls.reap(&dead, false).await?;
                }
            }
            tokio::select! {
                () = self.shared.changed.notified() => {}
                () = tokio::time::sleep_until(renewal) => {}
            }
        }
    }

    async fn enter(&mut self) -> Result<(), Error> {
        if self.version > 0 {
            self.given_up.truncate(GIVEN_UP_MAX - 1);
            self.given_up.insert(0, self.node);
        }
        (self.node, self.version) = (NodeId::from_random((self.random)()), 0);
        let Renewed { store, dead, .. } = self.renew(true).await?;
        self.was_lost |= self.store.as_ref().is_some_and(|known| *known != store);
        self.store = Some(store);
        self.shared.write_all();
        if !self.write(self.was_lost).await? {
            return Ok(());
        }
        (self.is_in, self.was_lost) = (true, false);
        while let Some(old) = self.given_up.last() {
            self.calls.reap(&old.to_string(), true).await?;
            self.given_up.pop();
        }
        for dead in dead {
            self.calls.reap(&dead, false).await?;
        }
        Ok(())
    }

    /// Writes all that is not written. False where the lease has run out.
    async fn write(&mut self, quiet: bool) -> Result<bool, Error> {
        loop {
            let batch = self.shared.take();
            if batch.rows.is_empty() {
                self.shared.written(&batch);
                return Ok(true);
            }
            // After a call whose outcome is unknown the same version is written again, which is harmless.
            match self.calls.write(self.node, self.version + 1, &batch.rows, quiet).await {
                Ok(true) => {
                    self.version += 1;
                    self.shared.written(&batch);
                }
                Ok(false) => {
                    self.shared.unwritten(batch);
                    return Ok(false);
                }
                Err(error) => {
                    self.shared.unwritten(batch);
                    return Err(error);
                }
            }
        }
    }

    async fn renew(&mut self, enter: bool) -> Result<Renewed, Error> {
        let fresh = (self.random)();
        self.calls.renew(self.node, self.version, self.times.lease, fresh, enter).await
    }
}
