//! What a process costs, read from `/proc`: CPU in nanoseconds, memory, open files.

use std::fs;
use std::io;

/// What a process holds at one instant.
#[derive(Clone, Copy, Debug)]
pub struct Holding {
    /// Proportional set size in KiB: shared pages are split among those who share them.
    pub pss_kib: f64,
    /// Kernel memory of the whole machine in KiB, both ends of every connection in it.
    pub slab_kib: f64,
    /// Open files.
    pub files: u64,
}

impl Holding {
    /// Reads one process.
    pub fn take(process: u32) -> io::Result<Holding> {
        Ok(Holding {
            pss_kib: kib_field(&format!("/proc/{process}/smaps_rollup"), "Pss:")?,
            slab_kib: kib_field("/proc/meminfo", "Slab:")?,
            files: fs::read_dir(format!("/proc/{process}/fd"))?.count() as u64,
        })
    }
}

/// CPU of a process and all its descendants. A thread that ended has taken its figure with it, so readings belong
/// around phases in which a server keeps its threads.
pub fn tree_cpu_ns(process: u32) -> io::Result<u64> {
    let mut sum = threads_cpu_ns(process)?;
    for thread in fs::read_dir(format!("/proc/{process}/task"))? {
        let children = fs::read_to_string(thread?.path().join("children")).unwrap_or_default();
        for child in children.split_ascii_whitespace().filter_map(|id| id.parse().ok()) {
            // A child may end between the two reads.
            sum += tree_cpu_ns(child).unwrap_or(0);
        }
    }
    Ok(sum)
}

/// CPU of all threads of a process that have not ended.
pub fn threads_cpu_ns(process: u32) -> io::Result<u64> {
    let mut sum = 0;
    for thread in fs::read_dir(format!("/proc/{process}/task"))? {
        // A thread may end between the two reads.
        let Ok(line) = fs::read_to_string(thread?.path().join("schedstat")) else { continue };
        let on_cpu = line.split_ascii_whitespace().next().and_then(|field| field.parse::<u64>().ok());
        sum += on_cpu.ok_or_else(|| io::Error::other("schedstat does not begin with nanoseconds"))?;
    }
    Ok(sum)
}

/// How often threads of a process were put on a core: each wait and each wake-up between threads is one.
pub fn times_scheduled(process: u32) -> io::Result<u64> {
    let mut sum = 0;
    for thread in fs::read_dir(format!("/proc/{process}/task"))? {
        // A thread may end between the two reads.
        let Ok(line) = fs::read_to_string(thread?.path().join("schedstat")) else { continue };
        let times = line.split_ascii_whitespace().nth(2).and_then(|field| field.parse::<u64>().ok());
        sum += times.ok_or_else(|| io::Error::other("schedstat has no third field"))?;
    }
    Ok(sum)
}

/// Busy time of one core, whoever it worked for, and time that the hypervisor took from it.
pub fn core_cpu_ns(core: usize) -> io::Result<u64> {
    let text = fs::read_to_string("/proc/stat")?;
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("cpu{core} ")));
    let line = line.ok_or_else(|| io::Error::other(format!("/proc/stat has no core {core}")))?;
    // user nice system idle iowait irq softirq steal, in ticks of 10 ms (proc(5)).
    let ticks =
        line.split_ascii_whitespace().take(8).enumerate().filter(|(field, _)| !matches!(field, 3 | 4));
    Ok(ticks.filter_map(|(_, value)| value.parse::<u64>().ok()).sum::<u64>() * 10_000_000)
}

fn kib_field(path: &str, name: &str) -> io::Result<f64> {
    let text = fs::read_to_string(path)?;
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let value = line.and_then(|rest| rest.split_ascii_whitespace().next()?.parse().ok());
    value.ok_or_else(|| io::Error::other(format!("{path} has no {name}")))
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command, Stdio};

    use super::*;

    /// A process that works until it is dropped. This process would not do: its threads come and go with the tests.
    struct Busy(Child);

    impl Drop for Busy {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    #[test]
    fn a_busy_process_uses_cpu_memory_and_files() {
        let mut shell = Command::new("sh");
        shell.args(["-c", "while :; do :; done"]);
        shell.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let busy = Busy(shell.spawn().unwrap());
        let process = busy.0.id();
        let before_ns = tree_cpu_ns(process).unwrap();
        while tree_cpu_ns(process).unwrap() == before_ns {
            std::thread::yield_now();
        }
        let holding = Holding::take(process).unwrap();
        assert!(holding.pss_kib > 0.0 && holding.slab_kib > 0.0 && holding.files > 2);
    }
}
