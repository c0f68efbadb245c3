//! A link to one Redis: calls of scripts, and their answers.
//!
//! Each answer reaches the call that asked for it, also when others have been dropped meanwhile (security rule S53): this is
//! the `redis` crate's plain multiplexed connection, which keeps a place for an answer that nobody waits for any more. It
//! never comes back by itself (delivery rule R16).

use std::fmt;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Cmd, Value};
use tidewire_hub::channel::Channel;
use tidewire_hub::position::Position;

use super::endpoint::{self, Endpoint};
use super::error::Error;
use super::fence::Replication;
use super::hear::{Hear, Heard};
use super::keys::Names;
use super::reply;
use super::script::{self, Script};

/// How long things may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// Until the link stands, user and password included. Default 1 s.
    pub dial: Duration,
    /// Until a call is answered. Beyond: [`Error::Broken`], and its outcome is unknown (fault F6). Default 1 s.
    pub answer: Duration,
}

impl Default for Timeouts {
    fn default() -> Timeouts {
        Timeouts { dial: Duration::from_secs(1), answer: Duration::from_secs(1) }
    }
}

/// What a look at the fence tells (delivery rule R18).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// The newest message; nothing where there is no fence.
    pub head: Option<Position>,
    /// Whether the server takes writes.
    pub is_master: bool,
    /// Its replication id.
    pub replication: Replication,
}

/// The link itself. Clones share it; dropping the last one closes it.
#[derive(Clone)]
pub(super) struct Link {
    connection: MultiplexedConnection,
    names: Names,
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Link({:?})", self.names)
    }
}

impl Link {
    pub(super) async fn dial(
        endpoint: &Endpoint,
        prefix: &str,
        partition: u16,
        timeouts: Timeouts,
        hear: Option<Hear>,
    ) -> Result<Link, Error> {
        let names = Names::new(prefix, partition, endpoint.database());
        let names = names.ok_or_else(|| Error::malformed("prefix"))?;
        let mut config = AsyncConnectionConfig::new();
        if let Some(hear) = hear {
            let names = names.clone();
            config = config.set_push_sender(move |push| -> Result<(), ()> {
                if let Some(heard) = Heard::read(push, &names) {
                    hear(heard);
                }
                Ok(())
            });
        }
        Ok(Link { connection: endpoint.dial(timeouts, config).await?, names })
    }

    pub(super) fn names(&self) -> &Names {
        &self.names
    }

    /// Calls a script, and once more where Redis had forgotten it.
    pub(super) async fn ask(&self, script: &Script, call: Cmd) -> Result<Value, Error> {
        let mut answers = self.send(std::slice::from_ref(&call)).await?;
        if answers.last().is_some_and(is_forgotten) {
            answers = self.send(&[script.load(), call]).await?;
        }
        answers.pop().ok_or_else(|| Error::malformed("no answer"))
    }

    /// Sends calls in one write and gives as many answers, in their order; an error reply is one of them.
    pub(super) async fn send(&self, calls: &[Cmd]) -> Result<Vec<Value>, Error> {
        endpoint::send(&self.connection, calls).await
    }

    pub(super) async fn probe(&self) -> Result<Probe, Error> {
        reply::probe(self.ask(&script::PROBE, script::PROBE.call(&[self.names.fence()])).await?)
    }

    pub(super) async fn subscribe(&self, channels: &[Channel]) -> Result<(), Error> {
        // The connection's own call, not a plain command: it has a confirmation for every channel.
        match self.told(channels) {
            names if names.is_empty() => Ok(()),
            names => Ok(self.connection.clone().subscribe(names).await?),
        }
    }

    pub(super) async fn subscribe_to_traces(&self) -> Result<(), Error> {
        Ok(self.connection.clone().subscribe(self.names.traces()).await?)
    }

    pub(super) async fn unsubscribe(&self, channels: &[Channel]) -> Result<(), Error> {
        match self.told(channels) {
            names if names.is_empty() => Ok(()),
            names => Ok(self.connection.clone().unsubscribe(names).await?),
        }
    }

    fn told(&self, channels: &[Channel]) -> Vec<String> {
        channels.iter().map(|channel| self.names.told(channel)).collect()
    }
}

pub(super) fn is_forgotten(answer: &Value) -> bool {
    matches!(answer, Value::ServerError(error) if error.kind() == Some(redis::ServerErrorKind::NoScript))
}
