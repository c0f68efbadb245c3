//! Surveys: who is connected to an outlet, for whoever runs the server.
//!
//! An outlet looks at [`LOOKED_AT_MAX`] places for connections and answers; whoever wants to know more asks again from where
//! it stopped. So a survey of a million connections holds up no message for longer than that takes.

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use crate::admit::{ConnId, Place, Transport};
use crate::broker::Done;
use crate::channel::Channel;
use crate::grant::Grant;

/// Places for connections that one survey looks at.
pub const LOOKED_AT_MAX: usize = 4_096;

/// Channels that are named of one connection; how many it has is told all the same.
pub const CHANNELS_NAMED_MAX: usize = 8;

/// A question to one outlet, answered once.
pub struct Survey {
    /// The first place to look at, from 0.
    pub from: usize,
    /// Tell of connections to this channel alone.
    pub channel: Option<Channel>,
    done: Mutex<Option<Done<Surveyed>>>,
}

/// Who was found.
#[derive(Clone, Debug, Default)]
pub struct Surveyed {
    /// Connections that hear channels or catch up with them.
    pub found: Vec<Sighting>,
    /// Where to go on; nothing where there is nobody behind.
    pub next: Option<usize>,
}

/// One connection, as it was seen.
#[derive(Clone, Debug)]
pub struct Sighting {
    /// Which one, for a [`crate::Command::Close`].
    pub conn: ConnId,
    /// How it receives.
    pub transport: Transport,
    /// Whether it is a WebSocket that speaks `tidewire.v1`.
    pub is_framed: bool,
    /// What it may do, and who it is.
    pub grant: Arc<Grant>,
    /// Who is at the other end: the next proxy, where one is in front.
    pub peer: SocketAddr,
    /// What it counts as.
    pub place: Option<Place>,
    /// Its channels, [`CHANNELS_NAMED_MAX`] at most.
    pub channels: Vec<Channel>,
    /// How many channels it has.
    pub channel_count: usize,
    /// How long ago it was let in, in milliseconds.
    pub age_ms: u64,
    /// Messages queued to it since, live ones; the count begins again after four thousand million.
    pub messages: u32,
    /// Bytes that wait for it.
    pub backlog_bytes: usize,
}

impl Survey {
    /// Asks from place `from` on. `done` is called once, on the outlet's thread, unless the outlet ends before.
    #[must_use]
    pub fn new(from: usize, channel: Option<Channel>, done: Done<Surveyed>) -> Survey {
        Survey { from, channel, done: Mutex::new(Some(done)) }
    }

    /// Answers. Only the first answer counts.
    pub fn answer(&self, surveyed: Surveyed) {
        let done = self.done.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(done) = done {
            done(surveyed);
        }
    }
}

impl fmt::Debug for Survey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Survey").field("from", &self.from).finish_non_exhaustive()
    }
}
