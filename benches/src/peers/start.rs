//! A peer as a process of its own: configured, started alone on core 0, ready, and ended with everything that it started.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::{SocketAddrV4, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::meter;
use crate::peers::dialect::{Address, Dialect};
use crate::peers::roster::{Peer, Program};
use crate::server::{GENERATOR_CORE, SERVER_CORE, free_address};
use crate::sys;
use tidewire_load::plan::Transport;

/// A peer that answers. Dropping it kills all of its processes.
pub struct Started {
    server: Child,
    /// A backend, which is the user's program and not the peer's: it is not counted.
    backend: Option<Child>,
    /// Where and how it is spoken to.
    pub address: Address,
}

/// What a server's processes hold.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    /// Proportional set size in KiB, of all processes.
    pub pss_kib: f64,
    /// Kernel memory of the whole machine in KiB.
    pub slab_kib: f64,
    /// Open files of all processes.
    pub files: usize,
}

/// Pushpin's processes lose what reaches them before they have found each other.
const PUSHPIN_GATHERS: Duration = Duration::from_secs(3);
const READY_MAX: Duration = Duration::from_secs(10);

impl Started {
    /// Starts a peer and waits until it is ready. The error ends with the last thing that it said.
    pub fn start(peer: &Peer, transport: Transport, tidewire: &Path) -> io::Result<Started> {
        let folder = target().join("run").join(peer.name);
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder)?;
        let subscribe = free_address()?;
        let publish = if peer.dialect == Dialect::Pushpin { free_address()? } else { subscribe };
        let backend = match peer.program {
            Program::Pushpin => {
                let address = free_address()?;
                fs::write(folder.join("routes"), format!("* {address},over_http\n"))?;
                Some(spawn(&mut node("grip.js", address), &folder.join("backend.log"))?)
            }
            _ => None,
        };
        let log = folder.join("server.log");
        let server = spawn(&mut command(peer.program, &folder, subscribe, publish, tidewire)?, &log);
        let server = match (server, backend) {
            (Ok(server), backend) => (server, backend),
            (Err(error), backend) => {
                backend.into_iter().for_each(end);
                return Err(error);
            }
        };
        let address = Address { dialect: peer.dialect, transport, subscribe, publish };
        let mut started = Started { server: server.0, backend: server.1, address };
        started.wait_until_ready().map_err(|error| {
            let said = fs::read_to_string(&log).unwrap_or_default();
            io::Error::other(match said.lines().rev().find(|line| !line.trim().is_empty()) {
                Some(last) => format!("{error}: {}", last.trim()),
                None => error.to_string(),
            })
        })?;
        Ok(started)
    }

    /// Its first process; all others are below it.
    pub fn process(&self) -> u32 {
        self.server.id()
    }

    /// CPU seconds of the backend, if it has one.
    pub fn backend_s(&self) -> f64 {
        let spent = self.backend.as_ref().and_then(|backend| meter::threads_cpu_ns(backend.id()).ok());
        spent.unwrap_or(0) as f64 / 1e9
    }

    /// What its processes hold now.
    pub fn memory(&self) -> io::Result<Memory> {
        let mut sum = Memory { pss_kib: 0.0, slab_kib: 0.0, files: 0 };
        for process in tree(self.process()) {
            let holding = meter::Holding::take(process)?;
            sum.pss_kib += holding.pss_kib;
            sum.files += holding.files as usize;
            sum.slab_kib = holding.slab_kib;
        }
        Ok(sum)
    }

    fn wait_until_ready(&mut self) -> io::Result<()> {
        let Address { dialect, subscribe, publish, .. } = self.address;
        if dialect == Dialect::Pushpin {
            std::thread::sleep(PUSHPIN_GATHERS);
        }
        let begun = Instant::now();
        // The floor takes this for a subscriber, which leaves at once.
        while !(answers(subscribe) && TcpStream::connect(publish).is_ok()) {
            if let Some(status) = self.server.try_wait()? {
                return Err(io::Error::other(format!("it ended with {status}")));
            }
            if begun.elapsed() > READY_MAX {
                return Err(io::Error::other("it does not answer GET /livez"));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        let below: Vec<String> = tree(self.process()).iter().skip(1).map(u32::to_string).collect();
        // The one that would start the others again goes first.
        let _ = self.server.kill();
        if !below.is_empty() {
            let _ = Command::new("kill").arg("-KILL").args(below).stderr(Stdio::null()).status();
        }
        let _ = self.server.wait();
        self.backend.take().into_iter().for_each(end);
    }
}

/// Where everything goes that is not source: packages, programs that were built, configurations, logs.
pub fn target() -> PathBuf {
    source().join("../target/peers")
}

/// The folder of this crate.
pub fn source() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The program built from `benches/peers/axum`.
pub fn axum() -> PathBuf {
    target().join("axum/release/tidewire-peer-axum")
}

fn command(
    program: Program,
    folder: &Path,
    subscribe: SocketAddrV4,
    publish: SocketAddrV4,
    tidewire: &Path,
) -> io::Result<Command> {
    let port = subscribe.port().to_string();
    Ok(match program {
        Program::Floor => {
            let mut command = Command::new(std::env::current_exe()?);
            command.args(["floor", "--listen", &subscribe.to_string()]);
            command
        }
        Program::Tidewire(io) => {
            let mut command = Command::new(tidewire);
            command.args(["serve", "--listen", &subscribe.to_string()]).env("TIDEWIRE_ENGINE__IO", io);
            command
        }
        Program::Node(file) => node(file, subscribe),
        Program::Axum => {
            let mut command = Command::new(axum());
            command.arg(port);
            command
        }
        Program::Nchan => {
            fill("nchan.conf", folder, &[("@PORT@", &port)])?;
            let mut command = Command::new("nginx");
            command.arg("-p").arg(folder).args(["-c", "nchan.conf", "-e", "stderr"]);
            // Debian keeps it where only root looks.
            command.env("PATH", format!("{}:/usr/sbin", std::env::var("PATH").unwrap_or_default()));
            command
        }
        Program::Pushpin => {
            let folder_name = folder.canonicalize()?.display().to_string();
            let control = publish.port().to_string();
            let fields = [("@FOLDER@", folder_name.as_str()), ("@PORT@", &port), ("@CONTROL@", &control)];
            fill("pushpin.conf", folder, &fields)?;
            fill("zurl.conf", folder, &fields)?;
            // One tree of processes, so that what Zurl costs is counted too.
            let mut command = Command::new("sh");
            command.current_dir(folder);
            command.args(["-c", "zurl --config=zurl.conf & exec pushpin --config=pushpin.conf"]);
            command
        }
    })
}

fn node(file: &str, address: SocketAddrV4) -> Command {
    let mut command = Command::new("node");
    command.arg(source().join("peers").join(file)).arg(address.port().to_string());
    command.env("NODE_ENV", "production").env("NODE_PATH", target().join("node_modules"));
    command
}

/// Copies a configuration of `benches/peers` into the peer's folder, with its fields filled in.
fn fill(file: &str, folder: &Path, fields: &[(&str, &str)]) -> io::Result<()> {
    let text = fs::read_to_string(source().join("peers").join(file))?;
    let text = fields.iter().fold(text, |text, (field, value)| text.replace(field, value));
    fs::write(folder.join(file), text)
}

fn spawn(command: &mut Command, log: &Path) -> io::Result<Child> {
    let log = File::create(log)?;
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    // A child inherits where its parent may run, and keeps it.
    sys::pin_to_core(SERVER_CORE)?;
    let child = command.spawn();
    sys::pin_to_core(GENERATOR_CORE)?;
    let name =
        Path::new(command.get_program()).file_name().unwrap_or_default().to_string_lossy().into_owned();
    child.map_err(|error| io::Error::new(error.kind(), format!("cannot start {name}: {error}")))
}

fn end(mut child: Child) {
    let _ = child.kill();
    let _ = child.wait();
}

/// A process and all below it, parents before their children.
fn tree(process: u32) -> Vec<u32> {
    let mut all = vec![process];
    let mut next = 0;
    while let Some(process) = all.get(next) {
        let threads = fs::read_dir(format!("/proc/{process}/task"));
        for thread in threads.into_iter().flatten().flatten() {
            let children = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
            all.extend(children.split_ascii_whitespace().filter_map(|id| id.parse::<u32>().ok()));
        }
        next += 1;
    }
    all
}

/// Whether the address says 200 to `GET /livez`.
fn answers(address: SocketAddrV4) -> bool {
    let ask = || -> io::Result<[u8; 12]> {
        let mut socket = TcpStream::connect_timeout(&address.into(), Duration::from_secs(1))?;
        socket.set_read_timeout(Some(Duration::from_secs(1)))?;
        write!(socket, "GET /livez HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
        let mut status = [0; 12];
        socket.read_exact(&mut status)?;
        Ok(status)
    };
    ask().is_ok_and(|status| status.ends_with(b" 200"))
}
