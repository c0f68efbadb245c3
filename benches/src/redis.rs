//! A `redis-server` of our own: on a free port, with nothing on disk, and not on the core of the nodes, since it has a
//! machine of its own where it matters.

use std::collections::HashMap;
use std::io::{self, BufRead as _, BufReader, Read, Write as _};
use std::net::{SocketAddrV4, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::server::{GENERATOR_CORE, free_address};
use crate::sys;

/// A Redis that answers. Dropping it kills the process.
pub struct Redis {
    child: Child,
    address: SocketAddrV4,
}

const READY_MAX: Duration = Duration::from_secs(5);
/// Nothing that we ask is answered with more.
const ANSWER_BYTES_MAX: usize = 1 << 20;

impl Redis {
    /// Starts one and waits until it answers.
    pub fn start() -> io::Result<Redis> {
        let address = free_address()?;
        let mut command = Command::new("redis-server");
        command.args(["--bind", "127.0.0.1", "--port", &address.port().to_string(), "--save", ""]);
        command.args(["--appendonly", "no"]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        // A child inherits where its parent may run, and keeps it.
        sys::pin_to_core(GENERATOR_CORE)?;
        let child = command.spawn().map_err(|error| {
            let what = format!("cannot start redis-server (Debian: apt-get install redis-server): {error}");
            io::Error::new(error.kind(), what)
        })?;
        let redis = Redis { child, address };
        let begun = Instant::now();
        while redis.ask("PING").is_err() {
            if begun.elapsed() > READY_MAX {
                return Err(io::Error::other("redis-server does not answer"));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(redis)
    }

    /// Where nodes find it.
    pub fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// Its process.
    pub fn process(&self) -> u32 {
        self.child.id()
    }

    /// How often each command was called, those of scripts included.
    pub fn calls(&self) -> io::Result<HashMap<String, u64>> {
        let page = self.ask("INFO commandstats")?;
        Ok(page.lines().filter_map(calls_of).collect())
    }

    /// Writes down when each stream is read, until it is asked for.
    pub fn watch_reads(&self) -> io::Result<ReadWatch> {
        ReadWatch::begin(self.address)
    }

    /// One command, one answer of one line or one bulk.
    fn ask(&self, command: &str) -> io::Result<String> {
        let mut socket = TcpStream::connect_timeout(&self.address.into(), Duration::from_secs(1))?;
        socket.set_read_timeout(Some(Duration::from_secs(2)))?;
        socket.write_all(format!("{command}\r\n").as_bytes())?;
        let mut reader = BufReader::new(socket);
        let mut first = String::new();
        reader.read_line(&mut first)?;
        let Some(length) = first.strip_prefix('$') else { return Ok(first) };
        let length: usize = length.trim_end().parse().map_err(io::Error::other)?;
        let mut bulk = vec![0; length.min(ANSWER_BYTES_MAX)];
        reader.read_exact(&mut bulk)?;
        String::from_utf8(bulk).map_err(io::Error::other)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `cmdstat_xrange:calls=3,usec=…`
fn calls_of(line: &str) -> Option<(String, u64)> {
    let (name, rest) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
    Some((name.to_owned(), rest.split(',').next()?.parse().ok()?))
}

/// Reads of streams as they happen, by `MONITOR`: who averages over a second would not see two reads in one.
pub struct ReadWatch {
    socket: TcpStream,
    thread: JoinHandle<()>,
    seen: mpsc::Receiver<(f64, String)>,
}

impl ReadWatch {
    fn begin(address: SocketAddrV4) -> io::Result<ReadWatch> {
        let mut socket = TcpStream::connect(address)?;
        socket.write_all(b"MONITOR\r\n")?;
        let lines = BufReader::new(socket.try_clone()?).lines();
        let (sender, seen) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            for read in lines.map_while(Result::ok).filter_map(|line| read_of(&line)) {
                let _ = sender.send(read);
            }
        });
        Ok(ReadWatch { socket, thread, seen })
    }

    /// Ends it: how many reads there were, and how many of one stream in any second, at most.
    pub fn end(self) -> (usize, usize) {
        let _ = self.socket.shutdown(std::net::Shutdown::Both);
        let _ = self.thread.join();
        let mut by_stream: HashMap<String, Vec<f64>> = HashMap::new();
        for (at, stream) in self.seen.try_iter() {
            by_stream.entry(stream).or_default().push(at);
        }
        let count = by_stream.values().map(Vec::len).sum();
        (count, by_stream.values().map(|times| most_in_a_second(times)).max().unwrap_or(0))
    }
}

/// The time and the stream of a read. The history script reads what a channel has from the beginning once, to know what
/// is missing, and then from the cursor: those with a `-` are the former, one a read.
fn read_of(line: &str) -> Option<(f64, String)> {
    // +1700000000.123456 [0 lua] "XRANGE" "stream" "-" "+" "COUNT" "1"
    let (time, rest) = line.strip_prefix('+')?.split_once(' ')?;
    let mut words = rest.split('"').skip(1).step_by(2);
    let is_read = words.next()?.eq_ignore_ascii_case("xrange");
    let stream = words.next()?;
    (is_read && words.next()? == "-").then_some((time.parse().ok()?, stream.to_owned()))
}

/// `times` ascend.
fn most_in_a_second(times: &[f64]) -> usize {
    let within =
        |(from, start): (usize, &f64)| times[from..].iter().take_while(|at| **at < start + 1.0).count();
    times.iter().enumerate().map(within).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_of_a_stream_is_told_from_what_else_redis_does() {
        let read = r#"+1700000000.5 [0 lua] "XRANGE" "t:{0}:s" "-" "+" "COUNT" "1""#;
        assert_eq!(read_of(read), Some((1_700_000_000.5, "t:{0}:s".to_owned())));
        assert_eq!(read_of(r#"+1700000000.5 [0 lua] "XRANGE" "t:{0}:s" "(3-0" "+" "COUNT" "16""#), None);
        assert_eq!(read_of(r#"+1700000000.5 [0 lua] "GET" "t:{0}:r""#), None);
        assert_eq!(read_of("+OK"), None);
    }

    #[test]
    fn reads_are_counted_in_any_second_not_in_those_of_the_clock() {
        assert_eq!(most_in_a_second(&[0.9, 1.1, 1.8, 2.0]), 3);
        assert_eq!(most_in_a_second(&[0.0, 1.0, 2.0]), 1);
        assert_eq!(most_in_a_second(&[]), 0);
    }

    #[test]
    fn calls_of_a_command_are_read_from_its_line() {
        assert_eq!(calls_of("cmdstat_xrange:calls=3,usec=7"), Some(("xrange".to_owned(), 3)));
        assert_eq!(calls_of("# Commandstats"), None);
    }
}
