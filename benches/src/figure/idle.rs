//! idle: what a connection holds while nothing happens, and what is left when it is gone.

use std::io;
use std::time::Duration;

use crate::generator::{Faults, Generator};
use crate::meter::Holding;
use crate::report::{Budget, Round};
use crate::server::Server;
use tidewire_load::plan::Transport;

/// The shape of a run.
pub struct Idle {
    /// Connections at once, over one channel.
    pub connections: usize,
    /// How often all of them open and close.
    pub cycles: usize,
}

/// KiB of user memory per connection.
const MEMORY_BUDGET: Budget = Budget::AtMost(0.6);
/// Files that stay open when everybody has left.
pub const FILES_BUDGET: Budget = Budget::AtMost(0.0);
/// Before memory is read: time for both sides to finish what they put off.
pub const SETTLE: Duration = Duration::from_secs(2);
/// How long a server may take to close what its clients have closed.
const CLOSING_MAX: Duration = Duration::from_secs(10);

impl Idle {
    /// For people.
    pub fn title(&self) -> String {
        let Idle { connections, cycles } = self;
        format!("idle: {connections} connections, opened and closed {cycles} times")
    }

    /// One round with a fresh server.
    pub fn round(&self, server: &Server, transport: Transport) -> io::Result<Round> {
        // The call for readiness was a connection too: it has to be gone before the server is fresh.
        std::thread::sleep(SETTLE);
        let fresh = Holding::take(server.process())?;
        let each = |holding: Holding| (holding.pss_kib - fresh.pss_kib) / self.connections as f64;
        let mut faults = Faults::default();
        let (mut connected, mut left) = (Vec::new(), Vec::new());
        for _ in 0..self.cycles {
            let mut generator = Generator::new(server.address, transport)?;
            generator.subscribe(self.connections, 64)?;
            generator.run_for(SETTLE)?;
            connected.push(Holding::take(server.process())?);
            faults.add(generator.tally().faults());
            generator.leave();
            wait_until_closed(server, &mut generator, fresh.files)?;
            left.push(Holding::take(server.process())?);
        }
        // Every cycle has pushed one of each; with none there is nothing to tell.
        let (Some(first), Some(last)) = (connected.first(), connected.last()) else {
            return Ok(Round::new(faults));
        };
        let (Some(first_left), Some(last_left)) = (left.first(), left.last()) else {
            return Ok(Round::new(faults));
        };
        let slab = (first.slab_kib - fresh.slab_kib) / self.connections as f64;
        let mut round = Round::new(faults);
        round.row("user KiB per connection", each(*first));
        round.row("user KiB per connection, last cycle", each(*last));
        round.row("user KiB per connection kept, first cycle", each(*first_left));
        round.row("user KiB per connection kept, last cycle", each(*last_left));
        round.row("kernel slab KiB per connection, both ends", slab);
        round.row("user MiB fresh", fresh.pss_kib / 1_024.0);
        round.row("user MiB connected", first.pss_kib / 1_024.0);
        round.row("user MiB after all left, last cycle", last_left.pss_kib / 1_024.0);
        round.row("open files fresh", fresh.files as f64);
        round.row("open files connected", first.files as f64);
        round.row("open files kept, last cycle", last_left.files as f64 - fresh.files as f64);
        round.set_budget("user KiB per connection", MEMORY_BUDGET);
        round.set_budget("open files kept, last cycle", FILES_BUDGET);
        Ok(round)
    }
}

/// Returns when the server's open files are back, or when it has had its time; then settles.
pub fn wait_until_closed(server: &Server, generator: &mut Generator, files: u64) -> io::Result<()> {
    let limit_ns = generator.now_ns() + CLOSING_MAX.as_nanos() as u64;
    while generator.now_ns() < limit_ns && Holding::take(server.process())?.files > files {
        generator.run_for(Duration::from_millis(100))?;
    }
    generator.run_for(SETTLE)
}
