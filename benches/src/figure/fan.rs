//! fan: one message to many subscribers, on a schedule that does not wait for the server.

use std::io;

use crate::figure::delivery::{CPU_PER_MILLION, Delivery};
use crate::report::{Budget, Round};
use crate::server::Server;
use tidewire_load::plan::Transport;

/// The shape of a run.
pub struct Fan {
    /// Who all hear every message.
    pub subscribers: usize,
    /// Messages a second.
    pub rate: usize,
    /// How long, after a second of warm-up.
    pub seconds: usize,
}

/// CPU per delivery, as a multiple of the floor's.
const CPU_BUDGET: Budget = Budget::RatioAtMost(0.85);
/// More than can be unanswered at a healthy server; with none idle a message leaves late, and its latency says so.
const PUBLISHERS: usize = 16;

impl Fan {
    /// For people.
    pub fn title(&self) -> String {
        let Fan { subscribers, rate, seconds } = self;
        format!("fan: 1 to {subscribers}, {rate} messages a second of 128 bytes for {seconds} s")
    }

    /// One round with a fresh server.
    pub fn round(&self, server: &Server, transport: Transport) -> io::Result<Round> {
        let mut delivery = Delivery::gather(server, transport, self.subscribers, PUBLISHERS)?;
        delivery.publish_on_schedule(self.rate, self.seconds)?;
        delivery.drain()?;
        let end = delivery.mark()?;
        let mut round = delivery.into_round(end);
        round.set_budget(CPU_PER_MILLION, CPU_BUDGET);
        Ok(round)
    }
}
