//! What fan and saturate share: a crowd that hears every message, and the rows that deliveries have.

use std::io;
use std::time::Duration;

use crate::generator::Generator;
use crate::meter::Reading;
use crate::report::Round;
use crate::server::{Kind, Server};
use tidewire_load::plan::Transport;

/// One round under way.
pub struct Delivery<'s> {
    server: &'s Server,
    /// Whoever measures drives it.
    pub generator: Generator,
    /// The server's own count of writes before the first message.
    writes: Option<f64>,
    from: Mark,
}

/// What meters and counters showed at one instant.
#[derive(Clone, Copy)]
pub struct Mark {
    reading: Reading,
    delivered: u64,
    reads: u64,
}

/// A row that may have a budget.
pub const CPU_PER_MILLION: &str = "CPU s per million deliveries";
/// A row that may have a budget.
pub const PER_SECOND: &str = "deliveries per second";
/// Connections count from here on: a head may leave before the server has joined the subscriber to its channel.
pub const SETTLE: Duration = Duration::from_millis(500);

/// Connects outstanding while the crowd gathers.
const GATHERING: usize = 64;
/// What has not arrived this long after the last message is lost.
const PATIENCE_NS: u64 = 5_000_000_000;

impl<'s> Delivery<'s> {
    /// Connects everybody, and waits until both sides are quiet.
    pub fn gather(
        server: &'s Server,
        transport: Transport,
        subscribers: usize,
        publishers: usize,
    ) -> io::Result<Delivery<'s>> {
        let mut generator = Generator::new(server.address, transport)?;
        generator.subscribe(subscribers, GATHERING)?;
        Delivery::begin_with(server, generator, publishers)
    }

    /// The same with a crowd that has gathered.
    pub fn begin_with(
        server: &'s Server,
        mut generator: Generator,
        publishers: usize,
    ) -> io::Result<Delivery<'s>> {
        generator.open_publishers(publishers)?;
        generator.run_for(SETTLE)?;
        let from = mark(server, &generator)?;
        Ok(Delivery { server, generator, writes: writes_of(server), from })
    }

    /// Ends the warm-up: what comes now is measured.
    pub fn begin(&mut self) -> io::Result<()> {
        self.generator.end_warm_up();
        self.from = mark(self.server, &self.generator)?;
        Ok(())
    }

    /// Publishes `rate` messages a second for `seconds` after a second of warm-up, on a schedule that waits for nobody.
    pub fn publish_on_schedule(&mut self, rate: usize, seconds: usize) -> io::Result<()> {
        let interval_ns = 1_000_000_000 / rate as u64;
        let start_ns = self.generator.now_ns() + interval_ns;
        let first = rate as u64;
        for message in 0..first + (rate * seconds) as u64 {
            let due_ns = start_ns + message * interval_ns;
            if message == first {
                // Half an interval after the last message, when both sides are quiet.
                self.generator.run_until(due_ns - interval_ns / 2, |_| false)?;
                self.begin()?;
            }
            self.generator.run_until(due_ns, |_| false)?;
            self.generator.publish(due_ns)?;
        }
        Ok(())
    }

    /// Reads meters and counters.
    pub fn mark(&self) -> io::Result<Mark> {
        mark(self.server, &self.generator)
    }

    /// Waits until everybody has everything, or is not going to.
    pub fn drain(&mut self) -> io::Result<()> {
        let limit_ns = self.generator.now_ns() + PATIENCE_NS;
        self.generator.run_until(limit_ns, |generator| generator.outstanding() == 0)
    }

    /// The rows of what passed from `begin` to `to`. Drain first: what is still on its way counts as lost.
    pub fn into_round(self, to: Mark) -> Round {
        let tally = self.generator.tally();
        let faults = tally.faults();
        let spent = self.from.reading.spent_until(to.reading);
        let delivered = (to.delivered - self.from.delivered) as f64;
        let mut round = Round::new(faults);
        round.row(CPU_PER_MILLION, spent.server_s * 1e6 / delivered);
        round.row(PER_SECOND, delivered / spent.wall_s);
        let quantile = |share| tally.latency.quantile_ms(share, faults.wrong.lost);
        round.row("latency ms, p50", quantile(0.5));
        round.row("latency ms, p99", quantile(0.99));
        round.row("latency ms, p99.9", quantile(0.999));
        round.row("latency ms, max", quantile(1.0));
        round.row("deliveries per read of the generator", delivered / (to.reads - self.from.reads) as f64);
        // Warm-up included on both sides of this ratio, so that nothing has to be asked in the middle.
        if let (Some(before), Some(after)) = (self.writes, writes_of(self.server)) {
            round.row("writes per delivery", (after - before) / tally.ledger.delivered() as f64);
        }
        round.busy(spent);
        round
    }
}

fn mark(server: &Server, generator: &Generator) -> io::Result<Mark> {
    let reading = Reading::take(server.process())?;
    let tally = generator.tally();
    Ok(Mark { reading, delivered: tally.ledger.delivered(), reads: tally.reads })
}

/// Tidewire may count its writes; the floor makes one a delivery.
fn writes_of(server: &Server) -> Option<f64> {
    match server.kind {
        Kind::Floor => None,
        Kind::Tidewire => server.counter("tidewire_writes_total"),
    }
}
