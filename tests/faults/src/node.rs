//! One node: a `tidewire` process behind a proxy of its own, on sockets that outlive it where it is handed them.

use std::hash::{BuildHasher as _, RandomState};
use std::io;
use std::iter;
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tokio::time::sleep;

use crate::http::Connection;
use crate::owner::{Owner, Owners};
use crate::process::Process;
use crate::proxy::Proxy;

/// A node.
#[derive(Debug)]
pub struct Node {
    /// Which.
    pub number: usize,
    /// What clients connect to.
    pub proxy: Proxy,
    process: Option<Process>,
    port: u16,
    admin: u16,
    /// Kept open here, so that nobody is refused while no process has it (`LISTEN_FDS`).
    listener: Option<TcpListener>,
    settings: Vec<String>,
    binary: PathBuf,
    folder: PathBuf,
    owners: Owners,
}

/// What every node of a campaign is told: short intervals, so that a dead connection is noticed while somebody looks.
const SETTINGS: [&str; 6] = [
    "limits.heartbeat=1s",
    "limits.ping=1s",
    "limits.silence_max=3s",
    "limits.retry=200ms",
    "drain_within=400ms",
    "namespace.short.messages_max=40",
];

/// What `namespace.short` keeps.
pub const SHORT_KEEPS: usize = 40;

impl Node {
    /// Starts node `number`, with these settings more; every other one is handed its listening socket.
    ///
    /// # Errors
    /// It does not start, or is not ready within ten seconds.
    pub async fn start(
        number: usize,
        binary: &Path,
        folder: &Path,
        settings: &[String],
        owners: &Owners,
    ) -> io::Result<Node> {
        let listener = free_listener()?;
        let port = listener.local_addr()?.port();
        let mut node = Node {
            number,
            proxy: Proxy::start(port, None).await?,
            process: None,
            port,
            admin: free_port()?,
            listener: (number.is_multiple_of(2)).then_some(listener),
            settings: settings.to_vec(),
            binary: binary.to_owned(),
            folder: folder.to_owned(),
            owners: owners.clone(),
        };
        node.launch()?;
        node.until_ready(Duration::from_secs(10)).await?;
        Ok(node)
    }

    /// Ends the process without a word, in the middle of whatever it does.
    pub fn kill(&mut self) {
        if let Some(process) = &mut self.process {
            process.kill();
        }
    }

    /// Asks it to leave, and waits until it has.
    ///
    /// # Errors
    /// It is still there after five seconds.
    pub async fn drain(&mut self) -> io::Result<String> {
        let Some(process) = &mut self.process else { return Err(io::ErrorKind::NotFound.into()) };
        process.signal(Signal::TERM);
        let since = Instant::now();
        loop {
            if let Some(status) = process.has_ended() {
                return Ok(status);
            }
            if since.elapsed() > Duration::from_secs(5) {
                return Err(io::Error::other("it does not leave within five seconds"));
            }
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// Starts the process.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn launch(&mut self) -> io::Result<()> {
        let mut command = Command::new("sh");
        let listens = match &self.listener {
            // The process that reads LISTEN_PID is the one that it names; the socket comes as standard input.
            Some(_) => r#"LISTEN_FDS=1 LISTEN_PID=$$ exec "$@" 3<&0 0</dev/null"#,
            None => r#"exec "$@""#,
        };
        command.args(["-c", listens, "sh"]).arg(&self.binary).arg("serve").args(["--dev"]);
        command.args(["--listen", &format!("127.0.0.1:{}", self.port)]);
        command.args(["--admin-listen", &format!("127.0.0.1:{}", self.admin)]);
        for setting in SETTINGS.iter().copied().chain(self.settings.iter().map(String::as_str)) {
            command.args(["--set", setting]);
        }
        let input = match &self.listener {
            Some(listener) => Stdio::from(OwnedFd::from(listener.try_clone()?)),
            None => Stdio::null(),
        };
        let process = Process::start(command, &self.folder, &format!("node{}", self.number), input)?;
        self.owners.register(process.id(), Owner::Node(self.number));
        self.process = Some(process);
        Ok(())
    }

    /// Sends its process a signal.
    pub fn signal(&self, signal: Signal) {
        if let Some(process) = &self.process {
            process.signal(signal);
        }
    }

    /// What `/readyz` answers: status and body. Nothing where there is no answer.
    pub async fn readyz(&self) -> Option<(u16, String)> {
        self.watch("/readyz").await
    }

    /// A counter or gauge of `/metrics`, summed over its labels, without the `tidewire_` before and the `_total` behind it.
    pub async fn metric(&self, name: &str) -> Option<u64> {
        let (_, text) = self.watch("/metrics").await?;
        let names = [format!("tidewire_{name}"), format!("tidewire_{name}_total")];
        let samples = text.lines().filter_map(|line| line.rsplit_once(' '));
        let found =
            samples.filter(|(found, _)| names.iter().any(|name| found.split('{').next() == Some(name)));
        let numbers: Vec<u64> = found.filter_map(|(_, value)| value.parse().ok()).collect();
        (!numbers.is_empty()).then(|| numbers.iter().sum())
    }

    /// Descriptors and resident kibibytes of its process.
    #[must_use]
    pub fn vitals(&self) -> Option<(usize, u64)> {
        let id = self.process.as_ref()?.id();
        let descriptors = std::fs::read_dir(format!("/proc/{id}/fd")).ok()?.count();
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).ok()?;
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        Some((descriptors, resident.trim().split(' ').next()?.parse().ok()?))
    }

    /// Waits until it can take clients.
    ///
    /// # Errors
    /// It ended, or is not ready in time.
    pub async fn until_ready(&mut self, patience: Duration) -> io::Result<()> {
        let since = Instant::now();
        loop {
            if self.readyz().await.is_some_and(|(status, _)| status == 200) {
                return Ok(());
            }
            if let Some(status) = self.process.as_mut().and_then(Process::has_ended) {
                return Err(io::Error::other(format!(
                    "node {} ended with {status}:\n{}",
                    self.number,
                    self.said()
                )));
            }
            if since.elapsed() > patience {
                return Err(io::Error::other(format!("node {} is not ready:\n{}", self.number, self.said())));
            }
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// Whether its process has ended though nobody asked it to, and how.
    pub fn has_ended(&mut self) -> Option<String> {
        self.process.as_mut().and_then(Process::has_ended)
    }

    /// The end of what it said.
    #[must_use]
    pub fn said(&self) -> String {
        let said =
            std::fs::read_to_string(self.folder.join(format!("node{}.log", self.number))).unwrap_or_default();
        let lines: Vec<&str> = said.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }

    async fn watch(&self, path: &str) -> Option<(u16, String)> {
        let mut connection = Connection::open(self.admin, Duration::from_secs(1)).await.ok()?;
        let head = connection.ask(&format!("GET {path}"), &[("Connection", "close")], None).await.ok()?;
        let body = connection.body(&head).await.ok()?;
        connection.forget();
        Some((head.status, String::from_utf8_lossy(&body).into_owned()))
    }
}

/// A port that nobody listens on, and that no client is given while its server is down: those are above 32 767.
///
/// # Errors
/// There is none, or no socket can be had.
pub fn free_port() -> io::Result<u16> {
    Ok(free_listener()?.local_addr()?.port())
}

fn free_listener() -> io::Result<TcpListener> {
    let open = || {
        let port = 10_240 + (RandomState::new().hash_one(()) % 22_528) as u16;
        TcpListener::bind((Ipv4Addr::LOCALHOST, port))
    };
    let is_taken =
        |tried: &io::Result<_>| tried.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::AddrInUse);
    iter::repeat_with(open)
        .take(PORTS_TRIED_MAX)
        .find(|tried| !is_taken(tried))
        .unwrap_or(Err(io::ErrorKind::AddrInUse.into()))
}

/// Ports that are tried before it is given up.
const PORTS_TRIED_MAX: usize = 100;
