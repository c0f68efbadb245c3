//! What a server and the generator spend between two readings.

use std::io;
use std::time::Instant;

pub use tidewire_load::meter::{Holding, core_cpu_ns, threads_cpu_ns, tree_cpu_ns};

use crate::server::{GENERATOR_CORE, SERVER_CORE};

/// CPU time of the server and of the generator, and the wall clock, at one instant.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    server_ns: u64,
    generator_ns: u64,
    /// Of the whole machine, on the two cores that a run uses.
    server_core_ns: u64,
    generator_core_ns: u64,
    at: Instant,
}

/// What passed between two readings.
#[derive(Clone, Copy, Debug)]
pub struct Spent {
    /// CPU seconds of the server, its threads and children.
    pub server_s: f64,
    /// CPU seconds of the generator.
    pub generator_s: f64,
    /// Seconds that others took from one of the two cores, whichever lost more: the noise of the machine.
    pub others_s: f64,
    /// Seconds on the wall.
    pub wall_s: f64,
}

impl Reading {
    /// Reads both meters now.
    pub fn take(server: u32) -> io::Result<Reading> {
        Ok(Reading {
            server_ns: tree_cpu_ns(server)?,
            generator_ns: threads_cpu_ns(std::process::id())?,
            server_core_ns: core_cpu_ns(SERVER_CORE)?,
            generator_core_ns: core_cpu_ns(GENERATOR_CORE)?,
            at: Instant::now(),
        })
    }

    /// What passed since then.
    pub fn spent_until(self, later: Reading) -> Spent {
        let seconds = |from: u64, to: u64| to.saturating_sub(from) as f64 / 1e9;
        let server_s = seconds(self.server_ns, later.server_ns);
        let generator_s = seconds(self.generator_ns, later.generator_ns);
        let server_core_s = seconds(self.server_core_ns, later.server_core_ns);
        let generator_core_s = seconds(self.generator_core_ns, later.generator_core_ns);
        Spent {
            server_s,
            generator_s,
            // Cores are counted in ticks and threads in nanoseconds, so the difference may fall below nothing.
            others_s: (server_core_s - server_s).max(generator_core_s - generator_s).max(0.0),
            wall_s: later.at.duration_since(self.at).as_secs_f64(),
        }
    }
}

impl Spent {
    /// How busy the server's core was, in percent.
    pub fn server_percent(self) -> f64 {
        100.0 * self.server_s / self.wall_s
    }

    /// How busy the generator's core was, in percent.
    pub fn generator_percent(self) -> f64 {
        100.0 * self.generator_s / self.wall_s
    }

    /// How much of a core others took, in percent.
    pub fn others_percent(self) -> f64 {
        100.0 * self.others_s / self.wall_s
    }
}
