//! Sentinels, and which server they say is the master.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use redis::{RedisConnectionInfo, Value};

use super::address::{Reach, is_host};
use super::endpoint::{Endpoint, host_and_port};
use super::error::Error;
use super::link::Timeouts;

/// Some sentinels that watch one master. Clones share who was believed last.
#[derive(Clone)]
pub(super) struct Sentinels {
    places: Vec<(String, u16)>,
    master: Box<str>,
    reach: Reach,
    settings: RedisConnectionInfo,
    /// The sentinel to ask first: the dead ones have cost their time already.
    believed: Arc<AtomicUsize>,
}

impl Sentinels {
    pub(super) fn new(
        places: Vec<(String, u16)>,
        master: &str,
        reach: Reach,
        settings: RedisConnectionInfo,
    ) -> Sentinels {
        Sentinels { places, master: master.into(), reach, settings, believed: Arc::default() }
    }

    /// The number of the master's database.
    pub(super) fn database(&self) -> u32 {
        u32::try_from(self.settings.db()).expect("a database was read from a u16")
    }

    pub(super) async fn master(&self, timeouts: Timeouts) -> Result<Endpoint, Error> {
        let (count, first) = (self.places.len(), self.believed.load(Ordering::Relaxed));
        let mut refusal = None;
        for at in (0..count).map(|step| (first + step) % count) {
            let named = match self.ask(at, timeouts).await {
                Ok(named) => named,
                Err(error) => {
                    refusal = Some(error);
                    continue;
                }
            };
            match is_master(&named, timeouts).await {
                Ok(()) => {
                    self.believed.store(at, Ordering::Relaxed);
                    return Ok(named);
                }
                Err(error) => refusal = Some(error),
            }
        }
        // What only other settings mend is no matter of waiting for a master.
        let settings = refusal.filter(|error| matches!(error, Error::Auth | Error::TooOld { .. }));
        Err(settings.unwrap_or(Error::NoMaster { asked: count }))
    }

    async fn ask(&self, at: usize, timeouts: Timeouts) -> Result<Endpoint, Error> {
        let (host, port) = self.places[at].clone();
        let address = self.reach.address(host, port);
        let mut question = redis::cmd("SENTINEL");
        question.arg("GET-MASTER-ADDR-BY-NAME").arg(&*self.master);
        let open = Endpoint::new(address.clone(), RedisConnectionInfo::default());
        let answer = match open.ask_once(timeouts, question.clone()).await {
            // Most sentinels ask for no password, and refuse a user that they do not know.
            Err(Error::Auth) if self.settings.password().is_some() => {
                let closed = Endpoint::new(address, self.settings.clone().set_db(0));
                closed.ask_once(timeouts, question).await?
            }
            answer => answer?,
        };
        let (host, port) = read(answer).ok_or_else(|| Error::malformed("no master"))?;
        Ok(Endpoint::new(self.reach.address(host, port), self.settings.clone()))
    }
}

/// Asks the server itself: a sentinel that was cut off names the master of back then.
async fn is_master(endpoint: &Endpoint, timeouts: Timeouts) -> Result<(), Error> {
    let mut question = redis::cmd("INFO");
    question.arg("replication");
    let info = match endpoint.ask_once(timeouts, question).await? {
        Value::BulkString(info) => info,
        _ => return Err(Error::malformed("no info")),
    };
    let is_master = info.split(|byte| *byte == b'\n').any(|line| line.trim_ascii_end() == b"role:master");
    if is_master { Ok(()) } else { Err(Error::ReadOnly) }
}

/// Host and port as a sentinel gives them: it is whoever answered there, so they are held to what an address may say.
fn read(answer: Value) -> Option<(String, u16)> {
    let Value::Array(parts) = answer else { return None };
    let [Value::BulkString(host), Value::BulkString(port)] = &parts[..] else { return None };
    let host = std::str::from_utf8(host).ok().filter(|host| is_host(host))?;
    let port = std::str::from_utf8(port).ok()?.parse().ok().filter(|port| *port > 0)?;
    Some((host.to_owned(), port))
}

impl fmt::Display for Sentinels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.reach.is_tls() { "rediss" } else { "redis" };
        let places: Vec<_> = self.places.iter().map(|(host, port)| host_and_port(host, *port)).collect();
        write!(f, "{scheme}+sentinel://{}/{}/{}", places.join(","), self.master, self.settings.db())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f33_what_no_sentinel_says_is_no_master() {
        let text = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        let good = Value::Array(vec![text("10.0.0.1"), text("6379")]);
        assert_eq!(read(good), Some(("10.0.0.1".into(), 6379)));
        for bad in [
            Value::Nil,
            Value::Okay,
            Value::Array(vec![]),
            Value::Array(vec![text("a")]),
            Value::Array(vec![text("a"), text("0")]),
            Value::Array(vec![text("a"), text("65536")]),
            Value::Array(vec![text("a\r\nb"), text("1")]),
            Value::Array(vec![text(""), text("1")]),
            Value::Array(vec![text("a"), text("1"), text("1")]),
        ] {
            assert_eq!(read(bad.clone()), None, "{bad:?}");
        }
    }
}
