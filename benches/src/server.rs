//! The servers under test: a fresh process for every round, alone on core 0.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::sys;
use crate::wire::{Way, Wire};

/// Which server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The bare epoll loop of `floor.rs`.
    Floor,
    /// `tidewire serve`, in dev mode, as anybody would start it.
    Tidewire,
}

/// Where servers run.
pub const SERVER_CORE: usize = 0;
/// Where the generator runs.
pub const GENERATOR_CORE: usize = 1;

/// A server that answers. Dropping it kills the process.
pub struct Server {
    child: Child,
    /// Which one it is.
    pub kind: Kind,
    /// Where it listens.
    pub address: SocketAddrV4,
    /// How it is reached there.
    way: Way,
}

impl Kind {
    /// As users write it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Floor => "floor",
            Kind::Tidewire => "tidewire",
        }
    }
}

impl Server {
    /// Starts a server and waits until it is ready. `show` lets it write to the terminal.
    pub fn start(kind: Kind, tidewire: &Path, show: bool) -> io::Result<Server> {
        Server::start_with(kind, tidewire, &[], free_address()?, show)
    }

    /// The same at an address that is given, with more options.
    pub fn start_with(
        kind: Kind,
        tidewire: &Path,
        options: &[String],
        address: SocketAddrV4,
        show: bool,
    ) -> io::Result<Server> {
        Server::start_over(Way::Plain, kind, tidewire, options, address, show)
    }

    /// The same where requests go another way. Who has TLS has options that say so.
    pub fn start_over(
        way: Way,
        kind: Kind,
        tidewire: &Path,
        options: &[String],
        address: SocketAddrV4,
        show: bool,
    ) -> io::Result<Server> {
        let mut command = match kind {
            Kind::Floor => {
                let mut command = Command::new(std::env::current_exe()?);
                command.args(["floor", "--listen", &address.to_string()]);
                command
            }
            Kind::Tidewire => {
                let mut command = Command::new(tidewire);
                command.args(["serve", "--listen", &address.to_string()]).args(options);
                command
            }
        };
        command.stdin(Stdio::null());
        if !show {
            command.stdout(Stdio::null()).stderr(Stdio::null());
        }
        // A child inherits where its parent may run, and keeps it.
        sys::pin_to_core(SERVER_CORE)?;
        let child = command.spawn();
        sys::pin_to_core(GENERATOR_CORE)?;
        let child = child.map_err(|error| {
            io::Error::new(error.kind(), format!("cannot start {}: {error}", command.get_program().display()))
        })?;
        let mut server = Server { child, kind, address, way };
        server.wait_until_ready()?;
        Ok(server)
    }

    /// Its process.
    pub fn process(&self) -> u32 {
        self.child.id()
    }

    /// A counter of its `/metrics`, summed over its labels; `None` where it has no such thing.
    pub fn counter(&self, name: &str) -> Option<f64> {
        sum_of_samples(&get(self.address, &self.way, "/metrics", 1 << 20).ok()?, name)
    }

    fn wait_until_ready(&mut self) -> io::Result<()> {
        let begun = Instant::now();
        // The floor takes this for a subscriber, which leaves at once.
        while !get(self.address, &self.way, "/livez", 12).is_ok_and(|head| head.ends_with(" 200")) {
            if let Some(status) = self.child.try_wait()? {
                let what = format!("the server ended with {status}; --show-server shows what it says");
                return Err(io::Error::other(what));
            }
            if begun.elapsed() > READY_MAX {
                let what = "the server does not answer GET /livez; --show-server shows what it says";
                return Err(io::Error::other(what));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // A drain would only take time: every figure has been read.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const READY_MAX: Duration = Duration::from_secs(10);

/// A port that was free a moment ago.
pub fn free_address() -> io::Result<SocketAddrV4> {
    match TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()? {
        SocketAddr::V4(address) => Ok(address),
        SocketAddr::V6(_) => Err(io::Error::other("an IPv4 address was asked for")),
    }
}

/// At most `bytes_max` of an answer, head included.
fn get(address: SocketAddrV4, way: &Way, path: &str, bytes_max: u64) -> io::Result<String> {
    let mut wire = Wire::connect(address, way, b"http/1.1")?;
    wire.write_all(
        format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").as_bytes(),
    )?;
    let mut bytes = Vec::new();
    match wire.take(bytes_max).read_to_end(&mut bytes) {
        // A server need not say over TLS that its answer is whole.
        Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => Err(error),
        _ => String::from_utf8(bytes).map_err(io::Error::other),
    }
}

/// Adds up every sample of one name in a Prometheus text page, whatever its labels.
fn sum_of_samples(page: &str, name: &str) -> Option<f64> {
    let samples = page.lines().filter_map(|line| {
        let rest = line.strip_prefix(name)?;
        let value = match rest.rsplit_once('}') {
            Some((labels, value)) if labels.starts_with('{') => value,
            _ if rest.starts_with(' ') => rest,
            _ => return None,
        };
        value.split_ascii_whitespace().next()?.parse::<f64>().ok()
    });
    samples.fold(None, |sum, sample| Some(sum.unwrap_or(0.0) + sample))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_is_summed_over_its_labels_and_not_over_its_namesakes() {
        let page =
            "# TYPE a_total counter\na_total{shard=\"0\"} 3\na_total{shard=\"1\"} 4\na_total_more 9\nb 1\n";
        assert_eq!(sum_of_samples(page, "a_total"), Some(7.0));
        assert_eq!(sum_of_samples(page, "b"), Some(1.0));
        assert_eq!(sum_of_samples(page, "a"), None);
    }
}
