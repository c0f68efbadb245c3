//! What this machine, or the container around us, has to give.

use std::path::Path;
use std::time::{Duration, SystemTime};

/// Open files allowed, after raising the soft limit to the hard one; nothing where there is no limit to read.
///
/// The soft limit is 1 024 on most systems for the sake of programs that use `select`; a server is not one.
#[must_use]
pub fn open_files_max() -> Option<usize> {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

        let limit = getrlimit(Resource::Nofile);
        // Refused in some sandboxes; then the soft limit stays and is what counts.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
        let current = getrlimit(Resource::Nofile).current?;
        usize::try_from(current).ok()
    }
    #[cfg(not(unix))]
    None
}

/// The name of this machine, where it has a plain one.
#[must_use]
pub fn name() -> Option<String> {
    #[cfg(unix)]
    {
        let name = rustix::system::uname().nodename().to_str().ok()?.to_owned();
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-".contains(&byte);
        (!name.is_empty() && name.bytes().all(plain)).then_some(name)
    }
    #[cfg(not(unix))]
    None
}

/// Lets no crash write this process's memory to a disk: it holds secrets (security rule S49).
pub fn forbid_core_dumps() {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

        let limit = getrlimit(Resource::Core);
        // Less than any core has, and the one limit that Linux heeds where cores go into a pipe (core(5)). The hard
        // limit stays, so that whoever debugs can raise it again.
        let most = limit.maximum.map_or(1, |maximum| maximum.min(1));
        let _ = setrlimit(Resource::Core, Rlimit { current: Some(most), ..limit });
    }
}

/// Bytes of memory: the smallest of the machine's and those of the control groups around this process. 1 GiB where
/// nothing can be read.
#[must_use]
pub fn memory_bytes() -> usize {
    let machine = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| total_of_meminfo(&text));
    control_group_limits().chain(machine).min().unwrap_or(1 << 30)
}

/// Whether the clock is kept right by the network; nothing where nobody says.
///
/// Tokens end by the clock (security rule S54). The kernel would know, but asking it takes unsafe code; what is read
/// here is what systemd's time service leaves behind, and whether the clock stands before this program was written.
#[must_use]
pub fn clock_is_synchronised() -> Option<bool> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    if now < WRITTEN {
        return Some(false);
    }
    synchronised_by(Path::new("/run/systemd/timesync"))
}

/// The beginning of 2026, since 1970.
const WRITTEN: Duration = Duration::from_secs(1_767_225_600);

fn synchronised_by(service: &Path) -> Option<bool> {
    service.is_dir().then(|| service.join("synchronized").exists())
}

fn control_group_limits() -> impl Iterator<Item = usize> {
    let own = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let path = own.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or("/").to_owned();
    // A limit may stand on any group above ours.
    let unified: Vec<String> = Path::new(&path)
        .ancestors()
        .map(|group| {
            format!("/sys/fs/cgroup{}/memory.max", group.display().to_string().trim_end_matches('/'))
        })
        .collect();
    let first_version = "/sys/fs/cgroup/memory/memory.limit_in_bytes".to_owned();
    // "max", the word for no limit, is not a number.
    let read = |path: String| std::fs::read_to_string(path).ok()?.trim().parse::<usize>().ok();
    unified.into_iter().chain([first_version]).filter_map(read)
}

fn total_of_meminfo(text: &str) -> Option<usize> {
    let total = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    total.trim().strip_suffix("kB")?.trim().parse::<usize>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_total_of_meminfo_is_in_bytes() {
        assert_eq!(total_of_meminfo("MemTotal:       16384 kB\nMemFree: 1 kB\n"), Some(16 << 20));
        assert_eq!(total_of_meminfo("MemFree: 1 kB\n"), None);
    }

    #[test]
    fn s54_a_time_service_says_whether_the_clock_is_right() {
        let folder = std::env::temp_dir().join(format!("tidewire-timesync-{}", std::process::id()));
        assert_eq!(synchronised_by(&folder), None);
        std::fs::create_dir(&folder).unwrap();
        assert_eq!(synchronised_by(&folder), Some(false));
        std::fs::write(folder.join("synchronized"), "").unwrap();
        assert_eq!(synchronised_by(&folder), Some(true));
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn every_machine_has_some_memory() {
        assert!(memory_bytes() >= 1 << 20);
    }
}
