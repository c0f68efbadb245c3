//! The host: this machine's CPU, memory, network and disks, published every second to `demo:host`. Nodes that share a Redis
//! publish there together, each under its own name.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tidewire_hub::reason::Reason;
use tokio::time::{MissedTickBehavior, interval};

use super::Demo;

/// Publishes for ever. Where there is no `/proc` to read, it says so once and stays silent.
pub(super) async fn feed(demo: Arc<Demo>, listen: SocketAddr) {
    let node = node(listen);
    let Some(mut before) = Sample::take() else {
        tracing::warn!("the demo shows this machine on Linux only");
        return;
    };
    let mut seconds = interval(Duration::from_secs(1));
    seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The first tick comes at once, and two samples of one moment have no difference.
    seconds.tick().await;
    let mut subscribers = 0;
    loop {
        seconds.tick().await;
        let Some(now) = Sample::take() else { return };
        let shown = Shown { node: &node, subscribers, time: demo.now_ms(), figures: now.since(&before) };
        before = now;
        match demo.say("demo:host", None, &shown).await {
            Ok(receipt) => {
                subscribers = receipt.receivers.sse + receipt.receivers.ws + receipt.receivers.poll;
            }
            // While draining every publish is refused, and the next one would be too.
            Err(refusal) if refusal.reason == Reason::Draining => return,
            Err(_) => {}
        }
    }
}

#[derive(Serialize)]
struct Shown<'a> {
    /// Which node says so.
    node: &'a str,
    /// Who heard the message before this one.
    subscribers: u32,
    /// Milliseconds since 1970.
    time: u64,
    #[serde(flatten)]
    figures: Figures,
}

#[derive(Serialize)]
struct Figures {
    cpu: Cpu,
    memory: Memory,
    network: Network,
    disk: Disk,
}

/// Percent busy.
#[derive(Serialize)]
struct Cpu {
    total: f64,
    cores: Vec<f64>,
}

#[derive(Clone, Copy, Debug, Serialize, PartialEq)]
struct Memory {
    total_bytes: u64,
    used_bytes: u64,
}

#[derive(Serialize)]
struct Network {
    rx_bytes_per_s: u64,
    tx_bytes_per_s: u64,
}

#[derive(Serialize)]
struct Disk {
    read_bytes_per_s: u64,
    written_bytes_per_s: u64,
}

/// What a node is called: its machine's name, and the port, since a machine may have several.
fn node(listen: SocketAddr) -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name: String = name.trim().chars().take(NODE_CHARS_MAX).collect();
    format!("{}:{}", if name.is_empty() { "node" } else { &name }, listen.port())
}

/// As long as the name of a machine may be (RFC 1035 section 2.3.4).
const NODE_CHARS_MAX: usize = 63;

/// What `/proc` says at one moment.
struct Sample {
    /// The whole machine first, then each core.
    cpus: Vec<Times>,
    memory: Memory,
    rx_bytes: u64,
    tx_bytes: u64,
    read_bytes: u64,
    written_bytes: u64,
    taken: std::time::Instant,
}

/// Ticks since the machine started.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Times {
    busy: u64,
    all: u64,
}

impl Sample {
    /// A few small files that the kernel makes up while they are read: well below a millisecond.
    fn take() -> Option<Sample> {
        let read = |path: &str| std::fs::read_to_string(path).ok();
        let (rx_bytes, tx_bytes) = network(&read("/proc/net/dev")?);
        // A container may not see its disks.
        let (read_bytes, written_bytes) = disks(&read("/proc/diskstats").unwrap_or_default());
        Some(Sample {
            cpus: cpus(&read("/proc/stat")?),
            memory: memory(&read("/proc/meminfo")?)?,
            rx_bytes,
            tx_bytes,
            read_bytes,
            written_bytes,
            taken: std::time::Instant::now(),
        })
    }

    fn since(&self, before: &Sample) -> Figures {
        let percent: Vec<f64> =
            self.cpus.iter().zip(&before.cpus).map(|(now, before)| now.percent(before)).collect();
        let (total, cores) =
            percent.split_first().map_or((0.0, Vec::new()), |(total, cores)| (*total, cores.to_vec()));
        let elapsed = self.taken.duration_since(before.taken).as_secs_f64().max(0.001);
        // Whole bytes are exact enough, and a rate is never negative.
        let rate = |now: u64, before: u64| (now.saturating_sub(before) as f64 / elapsed).round() as u64;
        Figures {
            cpu: Cpu { total, cores },
            memory: self.memory,
            network: Network {
                rx_bytes_per_s: rate(self.rx_bytes, before.rx_bytes),
                tx_bytes_per_s: rate(self.tx_bytes, before.tx_bytes),
            },
            disk: Disk {
                read_bytes_per_s: rate(self.read_bytes, before.read_bytes),
                written_bytes_per_s: rate(self.written_bytes, before.written_bytes),
            },
        }
    }
}

impl Times {
    fn percent(&self, before: &Times) -> f64 {
        let (busy, all) = (self.busy.saturating_sub(before.busy), self.all.saturating_sub(before.all));
        if all == 0 { 0.0 } else { (busy as f64 / all as f64 * 1_000.0).round() / 10.0 }
    }
}

/// Lines `cpu`, `cpu0`, `cpu1`, … of `/proc/stat`: user, nice, system, idle, iowait, irq, softirq, steal, …
fn cpus(stat: &str) -> Vec<Times> {
    let lines = stat.lines().filter(|line| line.starts_with("cpu"));
    let times = |line: &str| {
        // Guest time is part of user time already.
        let fields: Vec<u64> = line.split_ascii_whitespace().skip(1).take(8).flat_map(str::parse).collect();
        let all = fields.iter().sum();
        let idle: u64 = fields.iter().skip(3).take(2).sum();
        Times { busy: all - idle, all }
    };
    lines.map(times).collect()
}

fn memory(meminfo: &str) -> Option<Memory> {
    let bytes = |name: &str| {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(name))?;
        let kib: u64 = line.trim_start_matches(':').trim().strip_suffix("kB")?.trim().parse().ok()?;
        kib.checked_mul(1024)
    };
    let (total_bytes, available) = (bytes("MemTotal")?, bytes("MemAvailable")?);
    Some(Memory { total_bytes, used_bytes: total_bytes.saturating_sub(available) })
}

/// Received and sent bytes of every interface but loopback, from `/proc/net/dev`.
fn network(dev: &str) -> (u64, u64) {
    let interfaces = dev.lines().filter_map(|line| line.split_once(':'));
    interfaces.filter(|(name, _)| name.trim() != "lo").fold((0, 0), |(rx, tx), (_, numbers)| {
        let field =
            |at: usize| numbers.split_ascii_whitespace().nth(at).and_then(|number| number.parse().ok());
        (rx + field(0).unwrap_or(0u64), tx + field(8).unwrap_or(0u64))
    })
}

/// Read and written bytes of every whole disk, from `/proc/diskstats`: its sectors are of 512 bytes whatever the disk's are.
fn disks(stats: &str) -> (u64, u64) {
    let mut seen: Vec<&str> = Vec::new();
    let (mut read, mut written) = (0u64, 0u64);
    for line in stats.lines() {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let [_, _, name, _, _, sectors_read, _, _, _, sectors_written, ..] = fields[..] else { continue };
        // What a partition or a mapping does is counted by the disk below it.
        let is_part = ["loop", "ram", "dm-", "md", "zram"].iter().any(|kind| name.starts_with(kind))
            || seen.iter().any(|disk| name.starts_with(disk));
        if is_part {
            continue;
        }
        seen.push(name);
        let bytes = |sectors: &str| sectors.parse::<u64>().unwrap_or(0).saturating_mul(512);
        read = read.saturating_add(bytes(sectors_read));
        written = written.saturating_add(bytes(sectors_written));
    }
    (read, written)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_core_is_as_busy_as_its_ticks_between_two_looks() {
        let before = cpus("cpu  10 0 10 80 0 0 0 0 0 0\ncpu0 10 0 10 80 0 0 0 0 5 0\nintr 1\n");
        let now = cpus("cpu  30 0 20 140 10 0 0 0 0 0\ncpu0 30 0 20 140 10 0 0 0 9 0\nintr 2\n");
        assert_eq!(before[0], Times { busy: 20, all: 100 });
        let percent: Vec<f64> = now.iter().zip(&before).map(|(now, before)| now.percent(before)).collect();
        assert_eq!(percent, [30.0, 30.0]);
    }

    #[test]
    fn memory_that_can_be_had_is_not_used() {
        let memory = memory("MemTotal:  1000 kB\nMemFree: 10 kB\nMemAvailable:   600 kB\n").unwrap();
        assert_eq!(memory, Memory { total_bytes: 1_024_000, used_bytes: 409_600 });
    }

    #[test]
    fn a_partition_is_counted_by_its_disk() {
        let stats = "   7 0 loop0 9 0 9 0 9 0 9 0 0 0 0\n 254 0 vda 5 0 10 0 5 0 20 0 0 0 0\n\
                      254 1 vda1 5 0 10 0 5 0 20 0 0 0 0\n 259 0 nvme0n1 1 0 1 0 1 0 1 0 0 0 0\n short\n";
        assert_eq!(disks(stats), (11 * 512, 21 * 512));
    }

    #[test]
    fn loopback_is_no_network() {
        let dev = "Inter-| Receive | Transmit\n face |bytes packets\n  lo: 7 0 0 0 0 0 0 0 7 0 0\n\
                   eth0:  100 1 0 0 0 0 0 0   200 2 0\n  eth1: 1 0 0 0 0 0 0 0 2 0 0\n";
        assert_eq!(network(dev), (101, 202));
    }
}
