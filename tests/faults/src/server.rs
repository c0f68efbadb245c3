//! One Redis server, or one sentinel: a process on a free port, behind a proxy of its own.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tokio::time::sleep;

use crate::node::free_port;
use crate::owner::{Owner, Owners};
use crate::process::Process;
use crate::proxy::Proxy;
use crate::redis;

/// What survives when a server is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Everything that was answered.
    Always,
    /// All but the last moment, perhaps.
    EverySecond,
    /// Nothing.
    None,
}

/// A Redis server.
#[derive(Debug)]
pub struct Server {
    /// Which.
    pub number: usize,
    /// Where it listens itself.
    pub port: u16,
    /// Where it says that it listens.
    pub proxy: Proxy,
    durability: Durability,
    process: Process,
    folder: PathBuf,
    owners: Owners,
}

impl Server {
    /// Starts one, and waits until it answers.
    ///
    /// # Errors
    /// It does not start, or does not answer within ten seconds.
    pub async fn start(
        number: usize,
        durability: Durability,
        folder: &Path,
        owners: &Owners,
    ) -> io::Result<Server> {
        let port = free_port()?;
        let proxy = Proxy::start(port, Some(owners.clone())).await?;
        let own = folder.join(format!("redis{number}"));
        std::fs::create_dir_all(&own)?;
        let process = launch(port, proxy.port, durability, None, &own)?;
        owners.register(process.id(), Owner::Redis(number));
        let server = Server { number, port, proxy, durability, process, folder: own, owners: owners.clone() };
        server.answers().await?;
        Ok(server)
    }

    /// What survives when it is killed.
    #[must_use]
    pub fn durability(&self) -> Durability {
        self.durability
    }

    /// Kills it without a word.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again with what it has on disk, and waits until it answers.
    ///
    /// # Errors
    /// As [`Server::start`].
    pub async fn restart(&mut self) -> io::Result<()> {
        self.restart_behind(None).await
    }

    /// The same as a replica of the master announced at a port.
    ///
    /// # Errors
    /// As [`Server::start`].
    pub async fn restart_behind(&mut self, master: Option<u16>) -> io::Result<()> {
        self.process = launch(self.port, self.proxy.port, self.durability, master, &self.folder)?;
        self.owners.register(self.process.id(), Owner::Redis(self.number));
        self.answers().await
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// Its answer to a command, as text; empty where there is none.
    pub async fn text(&self, words: &[&str]) -> String {
        redis::text(self.port, words).await
    }

    /// Whether it is a master.
    pub async fn is_master(&self) -> bool {
        self.text(&["INFO", "replication"]).await.contains("role:master")
    }

    /// How often its log says something.
    #[must_use]
    pub fn log_says(&self, what: &str) -> u64 {
        let log = std::fs::read_to_string(self.folder.join("log.log")).unwrap_or_default();
        log.matches(what).count() as u64
    }

    /// Waits until a command's answer holds `wanted`.
    ///
    /// # Errors
    /// It does not within so long.
    pub async fn until(&self, words: &[&str], wanted: &str, patience: Duration) -> io::Result<()> {
        let since = Instant::now();
        loop {
            let answer = self.text(words).await;
            if answer.contains(wanted) {
                return Ok(());
            }
            if since.elapsed() > patience {
                let what = format!("redis {} does not come to {wanted}: {answer}", self.number);
                return Err(io::Error::other(what));
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    async fn answers(&self) -> io::Result<()> {
        self.until(&["PING"], "PONG", Duration::from_secs(10)).await
    }
}

fn launch(
    port: u16,
    announced: u16,
    durability: Durability,
    master: Option<u16>,
    folder: &Path,
) -> io::Result<Process> {
    let mut command = Command::new("redis-server");
    command.args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", ""]).arg("--dir").arg(folder);
    command.args(["--repl-diskless-sync-delay", "0", "--repl-diskless-load", "swapdb"]);
    command.args(["--replica-announce-ip", "127.0.0.1", "--replica-announce-port", &announced.to_string()]);
    if let Some(master) = master {
        command.args(["--replicaof", "127.0.0.1", &master.to_string()]);
    }
    let append = match durability {
        Durability::Always => ["yes", "always"],
        Durability::EverySecond => ["yes", "everysec"],
        Durability::None => ["no", "everysec"],
    };
    command.args(["--appendonly", append[0], "--appendfsync", append[1]]);
    Process::start(command, folder, "log", Stdio::null())
}

/// A sentinel.
#[derive(Debug)]
pub struct Sentinel {
    /// Where it listens.
    pub port: u16,
    _process: Process,
}

/// What sentinels call the master.
pub const MASTER: &str = "campaign";

impl Sentinel {
    /// Starts one that watches the master announced at `master`.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(number: usize, master: u16, folder: &Path) -> io::Result<Sentinel> {
        let port = free_port()?;
        let own = folder.join(format!("sentinel{number}"));
        std::fs::create_dir_all(&own)?;
        let file = own.join("sentinel.conf");
        std::fs::write(
            &file,
            format!(
                "port {port}\nbind 127.0.0.1\nprotected-mode no\nsentinel monitor {MASTER} 127.0.0.1 {master} 2\n\
                 sentinel down-after-milliseconds {MASTER} 2000\nsentinel failover-timeout {MASTER} 4000\n\
                 sentinel parallel-syncs {MASTER} 1\n"
            ),
        )?;
        let mut command = Command::new("redis-server");
        command.arg(file).arg("--sentinel");
        Ok(Sentinel { port, _process: Process::start(command, &own, "log", Stdio::null())? })
    }
}
