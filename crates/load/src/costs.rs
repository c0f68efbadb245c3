//! What the server and this process spend during a run.

use std::collections::BTreeMap;
use std::fs;

use crate::listener;
use crate::measured::{Generator, Memory, Server};
use crate::meter::{self, Holding};

/// The processes that are charged to the server.
pub struct Charged {
    processes: Vec<u32>,
}

/// CPU times at one instant.
pub struct Reading {
    server_ns: Option<u64>,
    /// Thread -> nanoseconds, of this process.
    threads_ns: BTreeMap<String, u64>,
}

impl Charged {
    /// The process that is named, or those that listen at the address, if any are found.
    pub fn find(process: Option<u32>, address: std::net::SocketAddr) -> Charged {
        let mut processes = process.map_or_else(|| listener::processes(address), |process| vec![process]);
        // A server inside this process, as in tests, cannot be told from the generator.
        processes.retain(|process| *process != std::process::id());
        Charged { processes }
    }

    /// Reads all meters now.
    pub fn read(&self) -> Reading {
        let each: Option<Vec<u64>> =
            self.processes.iter().map(|process| meter::tree_cpu_ns(*process).ok()).collect();
        Reading {
            server_ns: each.filter(|all| !all.is_empty()).map(|all| all.iter().sum()),
            threads_ns: threads_ns(),
        }
    }

    /// The memory of all of them, in KiB.
    pub fn memory_kib(&self) -> Option<f64> {
        let each: Option<Vec<f64>> = self
            .processes
            .iter()
            .map(|process| Holding::take(*process).ok().map(|held| held.pss_kib))
            .collect();
        each.filter(|all| !all.is_empty()).map(|all| all.iter().sum())
    }

    /// What they spent for so many deliveries.
    pub fn server(
        &self,
        from: &Reading,
        to: &Reading,
        deliveries: u64,
        memory: Option<Memory>,
    ) -> Option<Server> {
        let cpu_s = to.server_ns?.saturating_sub(from.server_ns?) as f64 / 1e9;
        Some(Server {
            processes: self.processes.clone(),
            name: listener::name(*self.processes.first()?),
            cpu_s,
            cpu_s_per_million: cpu_s * 1e6 / deliveries as f64,
            memory,
        })
    }
}

impl Reading {
    /// What this process spent until `later`.
    pub fn generator_until(&self, later: &Reading, wall_s: f64) -> Generator {
        let spent_s = later.threads_ns.iter().map(|(thread, to)| {
            to.saturating_sub(self.threads_ns.get(thread).copied().unwrap_or(0)) as f64 / 1e9
        });
        let (cpu_s, busiest_s) = spent_s.fold((0.0, 0.0_f64), |(sum, most), one| (sum + one, most.max(one)));
        Generator { cpu_s, busiest_percent: 100.0 * busiest_s / wall_s }
    }
}

fn threads_ns() -> BTreeMap<String, u64> {
    let threads = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let of = |thread: fs::DirEntry| {
        let line = fs::read_to_string(thread.path().join("schedstat")).ok()?;
        let on_cpu = line.split_ascii_whitespace().next()?.parse().ok()?;
        Some((thread.file_name().to_string_lossy().into_owned(), on_cpu))
    };
    threads.filter_map(of).collect()
}
