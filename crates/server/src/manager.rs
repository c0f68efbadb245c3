//! The service manager: what systemd, or whoever speaks its protocol, is told of this node's life.
//!
//! sd_notify(3): one datagram a message, to the socket that `NOTIFY_SOCKET` names. Without that variable nothing is sent.
//!
//! ```text
//! starting ──/readyz turns green──▶ READY=1 ──SIGHUP──▶ RELOADING=1 … READY=1 ──SIGTERM──▶ STOPPING=1
//! ```
//!
//! Ours, and not a crate's: `sd-notify` knows no abstract sockets, which some managers use, and waits for a manager that
//! has stopped reading. A node goes on serving while whoever watches it is stuck.

use std::env;
use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use tidewire_hub::deliver::{Command, Outlet};
use tidewire_hub::survey::Survey;
use tokio::sync::oneshot;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::census::Census;
use crate::control::Plane;
use crate::health::Phase;
use crate::node::Node;

/// How often a node that starts is looked at, for it to be called ready soon after it is.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// How often the manager hears how the node is, where it asks for no more.
const STATUS_EVERY: Duration = Duration::from_secs(5);

/// What a drain may take beside its own time: goodbyes, and threads that end.
const DRAIN_MARGIN: Duration = Duration::from_secs(5);

/// Who started this process, and wants to know how it is.
pub struct Manager {
    socket: Option<UnixDatagram>,
    /// Within which it has to hear from us, or it ends us; nothing where it does not watch.
    watchdog: Option<Duration>,
    /// How far it has been told. Held while it is told, so that what it hears last is what was so last.
    told: Mutex<Told>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Nothing,
    Ready,
    Stopping,
}

impl Manager {
    /// The one that the environment names. One that cannot be reached is said in the log, and served without.
    #[must_use]
    pub fn of_environment() -> Arc<Manager> {
        let socket = env::var_os("NOTIFY_SOCKET").filter(|path| !path.is_empty()).and_then(|path| {
            connect(path)
                .inspect_err(
                    |error| tracing::warn!(%error, "the service manager at NOTIFY_SOCKET cannot be told"),
                )
                .ok()
        });
        let watchdog = watchdog(|name| env::var(name).ok(), std::process::id());
        Arc::new(Manager { socket, watchdog, told: Mutex::new(Told::Nothing) })
    }

    /// Tells that the node is ready once `/readyz` says so, and from then on how it is, for as long as its event loops turn.
    pub(crate) fn watch(self: &Arc<Manager>, node: Arc<Node>, plane: Plane, census: Arc<Census>) {
        if self.socket.is_some() {
            tokio::spawn(self.clone().attend(node, plane, census));
        }
    }

    async fn attend(self: Arc<Manager>, node: Arc<Node>, plane: Plane, census: Arc<Census>) {
        let mut looks = interval(LOOK_EVERY);
        let mut shown = "";
        loop {
            looks.tick().await;
            let (is_ready, word) = node.readiness();
            if is_ready {
                break;
            }
            if node.health.phase() == Phase::Draining {
                return;
            }
            if word != shown {
                self.tell(Told::Nothing, &format!("STATUS=not ready: {word}"));
                shown = word;
            }
        }
        self.advance(Told::Ready, &format!("READY=1\nSTATUS={}", status(&node, &census)));
        // Half of its patience, as sd_watchdog_enabled(3) advises.
        let every = self.watchdog.map_or(STATUS_EVERY, |patience| (patience / 2).min(STATUS_EVERY));
        let mut beats = interval(every.max(LOOK_EVERY));
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            beats.tick().await;
            // A loop that drains ends with its last connection, and that takes no longer than the drain.
            let drains = node.health.phase() == Phase::Draining;
            if self.watchdog.is_some() {
                if !drains && !all_turn(&plane, every).await {
                    tracing::error!("an event loop does not turn; the service manager will end this process");
                    continue;
                }
                self.send("WATCHDOG=1");
            }
            self.tell(Told::Ready, &format!("STATUS={}", status(&node, &census)));
        }
    }

    /// Tells that the configuration is being read again.
    pub(crate) fn reloading(&self) {
        let now = clock_gettime(ClockId::Monotonic);
        let now_us = i128::from(now.tv_sec) * 1_000_000 + i128::from(now.tv_nsec) / 1_000;
        // A manager that waits for us to start would take the end of a reload for a node that is ready.
        let status = "STATUS=reading the configuration again";
        self.tell(Told::Ready, &format!("RELOADING=1\nMONOTONIC_USEC={now_us}\n{status}"));
    }

    /// Tells that it has been, and whether it is in force.
    pub(crate) fn reloaded(&self, is_in_force: bool) {
        let status = match is_in_force {
            true => "reloaded",
            false => "the new configuration cannot be used, and the old one stays in force: see the log",
        };
        self.tell(Told::Ready, &format!("READY=1\nSTATUS={status}"));
    }

    /// Tells that the node leaves, and how long that may take.
    pub(crate) fn stopping(&self, within: Duration) {
        let extended = (within + DRAIN_MARGIN).as_micros();
        let status = format!("STATUS=draining within {within:?}");
        self.advance(Told::Stopping, &format!("STOPPING=1\nEXTEND_TIMEOUT_USEC={extended}\n{status}"));
    }

    /// Tells `message`, after which the manager knows `told`. Nobody who has been told that the node leaves hears that it is ready.
    fn advance(&self, told: Told, message: &str) {
        let mut now = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if *now != Told::Stopping {
            *now = told;
            self.send(message);
        }
    }

    /// Tells `message` to a manager that has been told so much, and no more.
    fn tell(&self, told: Told, message: &str) {
        let now = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if *now == told {
            self.send(message);
        }
    }

    fn send(&self, message: &str) {
        let Some(socket) = &self.socket else { return };
        if let Err(error) = socket.send(message.as_bytes()) {
            tracing::debug!(%error, "the service manager was not told");
        }
    }
}

fn status(node: &Node, census: &Census) -> String {
    let (_, word) = node.readiness();
    format!("{word}; connections: {}", census.connections())
}

/// Whether every event loop answers within `patience`. It is asked for connections behind the last place: there are none, so
/// that the answer costs a turn of the loop and nothing more. That we run at all shows that the runtime does.
async fn all_turn(plane: &Plane, patience: Duration) -> bool {
    let asked: Vec<_> = plane.outlets().into_iter().map(|(_, outlet)| ask(&*outlet)).collect();
    let answers = async {
        for answer in asked {
            if answer.await.is_err() {
                return false;
            }
        }
        true
    };
    timeout(patience, answers).await.unwrap_or(false)
}

fn ask(outlet: &dyn Outlet) -> oneshot::Receiver<()> {
    let (done, answered) = oneshot::channel();
    let done = Box::new(move |_| {
        let _ = done.send(());
    });
    // Only a `Deliver` or a change of presence can find an inbox full.
    let _ = outlet.send(Command::Survey(Arc::new(Survey::new(usize::MAX, None, done))));
    answered
}

fn connect(path: OsString) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    let path = path.into_vec();
    match path.strip_prefix(b"@") {
        Some(name) => socket.connect_addr(&abstract_address(name)?)?,
        None => socket.connect(OsString::from_vec(path))?,
    }
    Ok(socket)
}

#[cfg(target_os = "linux")]
fn abstract_address(name: &[u8]) -> io::Result<SocketAddr> {
    <SocketAddr as std::os::linux::net::SocketAddrExt>::from_abstract_name(name)
}

#[cfg(not(target_os = "linux"))]
fn abstract_address(_: &[u8]) -> io::Result<SocketAddr> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "abstract sockets are Linux's"))
}

/// `WATCHDOG_USEC`, where it is meant for this process (sd_watchdog_enabled(3)).
fn watchdog(variable: impl Fn(&str) -> Option<String>, own: u32) -> Option<Duration> {
    let is_ours = variable("WATCHDOG_PID").is_none_or(|pid| pid.parse() == Ok(own));
    let patience = variable("WATCHDOG_USEC")?.parse().ok().map(Duration::from_micros)?;
    (is_ours && !patience.is_zero()).then_some(patience)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watchdog_is_obeyed_by_the_process_that_it_watches() {
        let of = |pid: Option<&str>, usec: Option<&str>| {
            let (pid, usec) = (pid.map(String::from), usec.map(String::from));
            watchdog(|name| if name == "WATCHDOG_PID" { pid.clone() } else { usec.clone() }, 7)
        };
        assert_eq!(of(Some("7"), Some("2000000")), Some(Duration::from_secs(2)));
        assert_eq!(of(None, Some("2000000")), Some(Duration::from_secs(2)));
        assert_eq!(of(Some("8"), Some("2000000")), None);
        for none in [None, Some("0"), Some("soon"), Some("-1")] {
            assert_eq!(of(Some("7"), none), None, "{none:?}");
        }
    }

    #[test]
    fn a_manager_that_does_not_read_holds_nobody_up() {
        let folder = env::temp_dir().join(format!("tidewire-manager-{}", std::process::id()));
        let _deaf = UnixDatagram::bind(&folder).unwrap();
        let socket = Some(connect(folder.clone().into()).unwrap());
        let manager = Manager { socket, watchdog: None, told: Mutex::new(Told::Ready) };
        // More than any queue of datagrams holds.
        (0..100_000).for_each(|_| manager.reloaded(true));
        std::fs::remove_file(folder).unwrap();
    }
}
