//! Whether the client is still there: it is asked from time to time, and has to say so (RFC 9113 section 6.7).

use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::task::Context;
use std::time::Duration;

use h2::{Ping, PingPong};
use tokio::time::{Instant, Sleep, sleep};

/// A client is asked for a sign of life after so long, and has so long to give one.
const PING_EVERY: Duration = Duration::from_secs(20);
pub(super) const PING_WITHIN: Duration = Duration::from_secs(10);

/// The signs of life of a connection.
pub(super) struct Pings {
    pings: PingPong,
    /// When the client is asked, or must have answered.
    due: Pin<Box<Sleep>>,
    asked: bool,
}

impl Pings {
    pub(super) fn new(pings: PingPong) -> Pings {
        Pings { pings, due: Box::pin(sleep(PING_EVERY)), asked: false }
    }

    /// Asks when it is time.
    ///
    /// # Errors
    /// The client has not answered in time.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        loop {
            if self.asked && self.pings.poll_pong(context).is_ready() {
                self.asked = false;
                self.due.as_mut().reset(Instant::now() + PING_EVERY);
            }
            if self.due.as_mut().poll(context).is_pending() {
                return Ok(());
            }
            if self.asked {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "the client answers no pings"));
            }
            // A connection that is done already is nobody's to be asked about, and says so where it is driven.
            let asked = self.pings.send_ping(Ping::opaque());
            self.asked = asked.is_ok();
            self.due.as_mut().reset(Instant::now() + if self.asked { PING_WITHIN } else { PING_EVERY });
        }
    }
}
