//! saturate: a fixed number of messages outstanding, so the server is never without work.

use std::io;
use std::time::Duration;

use crate::figure::delivery::{Delivery, PER_SECOND};
use crate::generator::Generator;
use crate::report::{Budget, Round};
use crate::server::Server;
use tidewire_load::plan::Transport;

/// The shape of a run.
pub struct Saturate {
    /// Who all hear every message.
    pub subscribers: usize,
    /// Messages published and not yet seen by every subscriber, at all times.
    pub outstanding: usize,
    /// How long, after a second of warm-up.
    pub seconds: usize,
}

/// Deliveries a second, as a multiple of the floor's, once so many messages are outstanding that several leave together.
const PER_SECOND_BUDGET: Budget = Budget::RatioAtLeast(3.0);
/// From so many on.
const TOGETHER: usize = 16;
/// In milliseconds, then.
const P99_BUDGET: Budget = Budget::AtMost(50.0);

impl Saturate {
    /// For people.
    pub fn title(&self) -> String {
        let Saturate { subscribers, outstanding, seconds } = self;
        format!(
            "saturate: 1 to {subscribers}, {outstanding} messages of 128 bytes outstanding for {seconds} s"
        )
    }

    /// One round with a fresh server.
    pub fn round(&self, server: &Server, transport: Transport) -> io::Result<Round> {
        // Twice as many publishers as messages: an answer that is late must not keep the next message waiting.
        let mut delivery = Delivery::gather(server, transport, self.subscribers, 2 * self.outstanding)?;
        self.press(&mut delivery.generator, 1)?;
        delivery.begin()?;
        self.press(&mut delivery.generator, self.seconds)?;
        let end = delivery.mark()?;
        delivery.drain()?;
        let mut round = delivery.into_round(end);
        if self.outstanding >= TOGETHER {
            round.set_budget(PER_SECOND, PER_SECOND_BUDGET);
            round.set_budget("latency ms, p99", P99_BUDGET);
        }
        Ok(round)
    }

    fn press(&self, generator: &mut Generator, seconds: usize) -> io::Result<()> {
        let until_ns = generator.now_ns() + seconds as u64 * 1_000_000_000;
        while generator.now_ns() < until_ns {
            while generator.outstanding() < self.outstanding && generator.has_idle_publisher() {
                generator.publish(generator.now_ns())?;
            }
            generator.turn(Duration::from_millis(10))?;
        }
        Ok(())
    }
}
