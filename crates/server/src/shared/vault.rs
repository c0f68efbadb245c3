//! The vault in Redis: a ticket that one node sold opens a stream on any other, once.

use std::time::Duration;

use bytes::Bytes;
use redis::{Cmd, Value};
use tidewire_auth::vault::{Key, Vault, VaultError};
use tidewire_broker::redis::{Aside, Error};
use tidewire_hub::broker::{Done, Now};
use tokio::runtime::Handle;

use super::names::Names;

/// A vault in Redis, which expires what it keeps by its own clock. It is [`VaultError::Full`] when Redis is.
///
/// A call is sent once and takes as long as `aside` gives it, with as many at once: what comes beyond is
/// [`VaultError::Unavailable`], and so is whatever is in doubt. A ticket that was being taken then counts as spent.
#[derive(Clone, Debug)]
pub struct RedisVault {
    aside: Aside,
    names: Names,
    runtime: Handle,
}

impl RedisVault {
    /// A vault that asks over `aside`, on `runtime`.
    #[must_use]
    pub fn new(aside: Aside, names: Names, runtime: Handle) -> RedisVault {
        RedisVault { aside, names, runtime }
    }

    fn ask<T: Send + 'static>(
        &self,
        command: Cmd,
        read: fn(Value) -> Result<T, VaultError>,
        done: Done<Result<T, VaultError>>,
    ) {
        let aside = self.aside.clone();
        // Bounded by the calls that `aside` has in flight: one too many is answered at once.
        self.runtime.spawn(async move {
            done(match aside.ask(&[command]).await.map(|mut answers| answers.pop()) {
                Ok(Some(answer)) => read(answer),
                Ok(None) => Err(VaultError::Unavailable),
                Err(Error::NoSpace) => Err(VaultError::Full),
                Err(_) => Err(VaultError::Unavailable),
            });
        });
    }
}

impl Vault for RedisVault {
    fn put(&self, key: Key, value: Bytes, ttl: Duration, _now: Now, done: Done<Result<(), VaultError>>) {
        let ttl_ms = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX).clamp(1, TTL_MS_MAX);
        let mut set = redis::cmd("SET");
        set.arg(self.names.of_vault(key)).arg(&value[..]).arg("PX").arg(ttl_ms);
        self.ask(set, stored, done);
    }

    fn take(&self, key: Key, _now: Now, done: Done<Result<Option<Bytes>, VaultError>>) {
        let mut take = redis::cmd("GETDEL");
        take.arg(self.names.of_vault(key));
        self.ask(take, found, done);
    }

    fn get(&self, key: Key, _now: Now, done: Done<Result<Option<Bytes>, VaultError>>) {
        let mut get = redis::cmd("GET");
        get.arg(self.names.of_vault(key));
        self.ask(get, found, done);
    }
}

/// Redis refuses a time to live that overflows. Nothing here lives for a year.
const TTL_MS_MAX: u64 = 366 * 86_400_000;

fn stored(answer: Value) -> Result<(), VaultError> {
    match answer {
        Value::Okay => Ok(()),
        Value::ServerError(error) if error.code() == "OOM" => Err(VaultError::Full),
        _ => Err(VaultError::Unavailable),
    }
}

fn found(answer: Value) -> Result<Option<Bytes>, VaultError> {
    match answer {
        Value::BulkString(value) => Ok(Some(value.into())),
        Value::Nil => Ok(None),
        _ => Err(VaultError::Unavailable),
    }
}
