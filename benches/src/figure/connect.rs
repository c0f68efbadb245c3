//! connect: what it costs a server to accept a connection, read its request and answer with a head.

use std::io;

use crate::figure::delivery::SETTLE;
use crate::generator::Generator;
use crate::meter::Reading;
use crate::report::{Budget, Round};
use crate::server::Server;
use tidewire_load::plan::Transport;

/// The shape of a run.
pub struct Connect {
    /// Connections in all, each kept open to the end.
    pub connections: usize,
}

/// CPU per connection, as a multiple of the floor's.
const CPU_BUDGET: Budget = Budget::RatioAtMost(1.3);
/// Between connect and head, at any time.
const OUTSTANDING: usize = 64;

impl Connect {
    /// For people.
    pub fn title(&self) -> String {
        format!("connect: {} connections, {OUTSTANDING} at a time", self.connections)
    }

    /// One round with a fresh server.
    pub fn round(&self, server: &Server, transport: Transport) -> io::Result<Round> {
        let mut generator = Generator::new(server.address, transport)?;
        let before = Reading::take(server.process())?;
        generator.subscribe(self.connections, OUTSTANDING)?;
        let accepted = before.spent_until(Reading::take(server.process())?);
        // A server may put work off until after the head; it belongs to the connection all the same.
        generator.run_for(SETTLE)?;
        let settled = before.spent_until(Reading::take(server.process())?);
        let connections = self.connections as f64;
        let mut round = Round::new(generator.tally().faults());
        round.row("CPU us per connection", settled.server_s * 1e6 / connections);
        round.row("connections per second", connections / accepted.wall_s);
        round.busy(accepted);
        round.set_budget("CPU us per connection", CPU_BUDGET);
        Ok(round)
    }
}
