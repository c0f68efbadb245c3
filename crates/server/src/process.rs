//! What the system says of this process: how much memory it has, and how long its cores were busy.

/// One look. Nothing where there is no `/proc`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Process {
    /// Memory in use that is in RAM.
    pub(crate) memory_bytes: u64,
    /// CPU time since the start, of all threads.
    pub(crate) cpu_ms: u64,
}

impl Process {
    /// Looks: two small files that the kernel makes up while they are read.
    pub(crate) fn look() -> Option<Process> {
        let read = |path: &str| std::fs::read_to_string(path).ok();
        Some(Process {
            memory_bytes: memory_bytes(&read("/proc/self/status")?)?,
            cpu_ms: cpu_ms(&read("/proc/self/stat")?)?,
        })
    }
}

/// Open files of this process, and how many there may be.
pub(crate) fn files() -> Option<(u64, u64)> {
    let path = "/proc/self/fd";
    // Since Linux 6.2 the folder says how many it holds; before that they are counted, which takes a while where there
    // are very many.
    let open = match std::fs::metadata(path).ok()?.len() {
        0 => std::fs::read_dir(path).ok()?.count() as u64,
        open => open,
    };
    let limits = std::fs::read_to_string("/proc/self/limits").ok()?;
    Some((open, open_files_max(&limits)?))
}

/// When this process began, in seconds since 1970.
pub(crate) fn started_s() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let machine = std::fs::read_to_string("/proc/stat").ok()?;
    let booted = machine.lines().find_map(|line| line.strip_prefix("btime "))?;
    Some(booted.trim().parse::<u64>().ok()? as f64 + started_ticks(&stat)? as f64 / 100.0)
}

/// The soft limit of `/proc/self/limits`.
fn open_files_max(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    let soft = line.split_ascii_whitespace().next()?;
    if soft == "unlimited" { Some(u64::MAX) } else { soft.parse().ok() }
}

/// `starttime` of `/proc/self/stat`, in ticks of 10 ms since the machine booted.
fn started_ticks(stat: &str) -> Option<u64> {
    stat.rsplit_once(") ")?.1.split_ascii_whitespace().nth(19)?.parse().ok()
}

/// `VmRSS` of `/proc/self/status`.
fn memory_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1_024)
}

/// `utime` and `stime` of `/proc/self/stat`, in ticks of 10 ms. Fields are counted behind the name, which may hold anything.
fn cpu_ms(stat: &str) -> Option<u64> {
    let fields = stat.rsplit_once(") ")?.1;
    let mut ticks = fields.split_ascii_whitespace().skip(11).map(str::parse::<u64>);
    let (user, system) = (ticks.next()?.ok()?, ticks.next()?.ok()?);
    user.checked_add(system)?.checked_mul(10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_and_memory_are_read_as_the_kernel_writes_them() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194304 1 0 0 0 150 50 0 0 20 0 8 0 99 1 1";
        assert_eq!(cpu_ms(stat), Some(2_000));
        assert_eq!(memory_bytes("Name:\ta\nVmRSS:\t    2048 kB\nThreads:\t8\n"), Some(2 << 20));
        assert_eq!((cpu_ms(""), memory_bytes("VmRSS: lots")), (None, None));
        assert_eq!((started_ticks(stat), started_ticks("")), (Some(99), None));
        let limits = "Limit  Soft Limit  Hard Limit  Units\nMax open files            1024                 4096    files\n";
        assert_eq!((open_files_max(limits), open_files_max("")), (Some(1_024), None));
    }
}
