//! What to measure: the server, the crowd and the schedule.

use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::time::Duration;

use crate::error::Error;
use crate::payload::PAYLOAD_BYTES_MIN;

/// One run of the generator.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The server.
    pub target: Target,
    /// How subscribers listen.
    pub transport: Transport,
    /// How many there are. Each hears one channel.
    pub subscribers: usize,
    /// How many channels they are spread over, and messages too, in turn.
    pub channels: usize,
    /// What the channels are called, before `:0`, `:1` and so on.
    pub prefix: String,
    /// Messages a second, over all channels.
    pub rate: f64,
    /// Bytes of each payload, at least [`PAYLOAD_BYTES_MIN`].
    pub payload_bytes: usize,
    /// At the same rate, before anything is measured.
    pub warm_up: Duration,
    /// How long is measured.
    pub duration: Duration,
    /// From one short poll of a subscriber to its next.
    pub poll_interval: Duration,
    /// How long a long poll asks to wait.
    pub poll_wait: Duration,
    /// Connections that publish; `None` takes as many as the rate may need.
    pub publishers: Option<usize>,
    /// Threads that read; `None` takes half of the cores.
    pub threads: Option<usize>,
    /// The process that serves; `None` looks for the one that listens, on this machine.
    pub process: Option<u32>,
}

/// How a subscriber listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub enum Transport {
    /// Server-Sent Events over HTTP/1.1.
    #[serde(rename = "sse")]
    Sse,
    /// A raw WebSocket: one frame a message.
    #[serde(rename = "ws")]
    WebSocket,
    /// One long poll after the other, over a kept-alive connection.
    #[serde(rename = "longpoll")]
    LongPoll,
    /// A short poll an interval, over a kept-alive connection.
    #[serde(rename = "poll")]
    ShortPoll,
}

/// Where requests go, and what stands in their heads.
#[derive(Clone, Debug)]
pub struct Target {
    /// The address to connect to.
    pub address: SocketAddr,
    /// As `Host` says it.
    pub authority: String,
    /// What stands before every path, without a slash at its end.
    pub base: String,
    /// A token or API key.
    pub token: Option<String>,
    /// More lines of every head, each with its line break, as a browser has them.
    pub head: String,
}

/// More than the largest machine has ports for.
const SUBSCRIBERS_MAX: usize = 10_000_000;
/// A ledger for each has to fit into memory.
const CHANNELS_MAX: usize = 1_000_000;
/// Beyond this one thread cannot keep a schedule.
const RATE_MAX: f64 = 1e6;
/// Messages of one run are numbered with 32 bits.
const MESSAGES_MAX: f64 = 4e9;
/// Publishers that answer in ten milliseconds keep a hundred messages a second each.
const PUBLISHER_RATE: f64 = 100.0;
const PUBLISHERS_LEAST: f64 = 4.0;
const PUBLISHERS_MOST: f64 = 256.0;

impl Plan {
    /// A hundred SSE subscribers of one channel, a hundred messages a second, ten seconds.
    pub fn new(target: Target) -> Plan {
        Plan {
            target,
            transport: Transport::Sse,
            subscribers: 100,
            channels: 1,
            prefix: "bench".to_owned(),
            rate: 100.0,
            payload_bytes: 128,
            warm_up: Duration::from_secs(1),
            duration: Duration::from_secs(10),
            poll_interval: Duration::from_secs(1),
            poll_wait: Duration::from_secs(25),
            publishers: None,
            threads: None,
            process: None,
        }
    }

    /// Says what cannot be meant.
    pub fn check(&self) -> Result<(), Error> {
        let messages = self.rate * (self.warm_up + self.duration).as_secs_f64();
        let wrong = if self.subscribers == 0 || self.subscribers > SUBSCRIBERS_MAX {
            format!("there are 1 to {SUBSCRIBERS_MAX} subscribers, not {}", self.subscribers)
        } else if self.channels == 0 || self.channels > self.subscribers.min(CHANNELS_MAX) {
            // A channel that nobody hears would measure nothing.
            let most = self.subscribers.min(CHANNELS_MAX);
            format!("{} subscribers hear 1 to {most} channels, not {}", self.subscribers, self.channels)
        } else if !(self.rate > 0.0 && self.rate <= RATE_MAX) {
            format!("the rate is more than 0 and at most {RATE_MAX} messages a second, not {}", self.rate)
        } else if messages > MESSAGES_MAX {
            format!(
                "{messages:.0} messages are more than a ledger holds; take a shorter time or a lower rate"
            )
        } else if self.payload_bytes < PAYLOAD_BYTES_MIN {
            format!(
                "a payload has at least {PAYLOAD_BYTES_MIN} bytes, for its number and the time it was due, not {}",
                self.payload_bytes
            )
        } else if self.duration.is_zero() {
            "the time to measure is 0".to_owned()
        } else if self.transport == Transport::ShortPoll && self.poll_interval < POLL_INTERVAL_MIN {
            format!("the time between polls is at least {} ms", POLL_INTERVAL_MIN.as_millis())
        } else if self.publishers == Some(0) || self.threads == Some(0) {
            "publishers and threads are at least 1".to_owned()
        } else {
            return Ok(());
        };
        Err(Error::Plan(wrong))
    }

    /// Connections that publish.
    pub fn publisher_count(&self) -> usize {
        let enough = (self.rate / PUBLISHER_RATE).ceil().clamp(PUBLISHERS_LEAST, PUBLISHERS_MOST);
        self.publishers.unwrap_or(enough as usize)
    }

    /// Threads that read.
    pub fn thread_count(&self) -> usize {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        self.threads.unwrap_or((cores / 2).max(1)).min(self.subscribers)
    }

    /// The name of a channel.
    pub fn channel(&self, index: usize) -> String {
        format!("{}:{index}", self.prefix)
    }

    /// The channel that a subscriber hears.
    pub fn channel_of(&self, subscriber: usize) -> usize {
        subscriber % self.channels
    }

    /// How many hear a channel.
    pub fn readers_of(&self, channel: usize) -> usize {
        let (each, more) = (self.subscribers / self.channels, self.subscribers % self.channels);
        each + usize::from(channel < more)
    }
}

/// Timers below this would be the generator's own load.
const POLL_INTERVAL_MIN: Duration = Duration::from_millis(10);

impl Transport {
    /// All of them.
    pub const ALL: [Transport; 4] =
        [Transport::Sse, Transport::WebSocket, Transport::LongPoll, Transport::ShortPoll];

    /// As users write it.
    pub fn name(self) -> &'static str {
        match self {
            Transport::Sse => "sse",
            Transport::WebSocket => "ws",
            Transport::LongPoll => "longpoll",
            Transport::ShortPoll => "poll",
        }
    }

    /// Whether every message, or every silence, costs a request.
    pub fn polls(self) -> bool {
        matches!(self, Transport::LongPoll | Transport::ShortPoll)
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Target {
    /// A server at an address, with nothing before its paths and no token.
    pub fn at(address: SocketAddr) -> Target {
        Target {
            address,
            authority: address.to_string(),
            base: String::new(),
            token: None,
            head: String::new(),
        }
    }

    /// Looks up a host.
    pub fn resolve(host: &str, port: u16, authority: &str, base: &str) -> Result<Target, Error> {
        let unknown = |why: String| Error::Unreachable { authority: authority.to_owned(), why };
        let mut addresses = (host, port).to_socket_addrs().map_err(|error| unknown(error.to_string()))?;
        let address = addresses.next().ok_or_else(|| unknown("it has no address".to_owned()))?;
        Ok(Target { address, authority: authority.to_owned(), base: base.to_owned(), ..Target::at(address) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> Plan {
        Plan::new(Target::at("127.0.0.1:8080".parse().unwrap()))
    }

    #[test]
    fn every_subscriber_has_a_channel_and_every_channel_its_readers() {
        let plan = Plan { subscribers: 10, channels: 4, ..plan() };
        for channel in 0..plan.channels {
            let readers = (0..plan.subscribers).filter(|one| plan.channel_of(*one) == channel).count();
            assert_eq!(readers, plan.readers_of(channel));
        }
    }

    #[test]
    fn what_cannot_be_meant_is_told_with_its_bound() {
        assert!(plan().check().is_ok());
        for (wrong, words) in [
            (Plan { subscribers: 0, ..plan() }, "1 to 10000000 subscribers"),
            (Plan { channels: 101, ..plan() }, "1 to 100 channels"),
            (Plan { rate: 0.0, ..plan() }, "more than 0"),
            (Plan { rate: f64::NAN, ..plan() }, "more than 0"),
            (Plan { payload_bytes: 47, ..plan() }, "at least 48 bytes"),
            (Plan { duration: Duration::ZERO, ..plan() }, "is 0"),
            (Plan { rate: 1e6, duration: Duration::from_secs(1_000_000), ..plan() }, "a ledger holds"),
            (
                Plan { transport: Transport::ShortPoll, poll_interval: Duration::ZERO, ..plan() },
                "at least 10 ms",
            ),
            (Plan { publishers: Some(0), ..plan() }, "at least 1"),
        ] {
            let error = wrong.check().unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn there_are_publishers_enough_for_the_rate_and_few_for_a_low_one() {
        let count = |rate| Plan { rate, ..plan() }.publisher_count();
        assert_eq!((count(0.2), count(1_000.0), count(1e6)), (4, 10, 256));
        assert_eq!(Plan { publishers: Some(7), ..plan() }.publisher_count(), 7);
    }
}
