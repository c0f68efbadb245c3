//! The settings of a node, resolved: every value has its type and its default.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tidewire_hub::limits::{Limits, Retention};

use super::machine;

/// Everything a node is told. Keys and their meaning stand in [`super::keys`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Where clients connect.
    pub listen: SocketAddr,
    /// Where `/livez`, `/readyz` and `/metrics` answer; nothing means on `listen`.
    pub admin_listen: Option<SocketAddr>,
    /// Whether this is dev mode.
    pub dev: bool,
    /// Whether dev mode may be reached from other machines.
    pub dev_public: bool,
    /// Whether the demo page is served and fed.
    pub demo: bool,
    /// Bounds.
    pub limits: Limits,
    /// What a channel keeps.
    pub history: Retention,
    /// What drives the sockets.
    pub io: Io,
    /// Event loops.
    pub shards: usize,
    /// How long connections may take to leave; nothing means 2 s in dev mode and 10 s elsewhere.
    pub drain_within: Option<Duration>,
    /// Which log lines are written, as `tracing-subscriber` reads it.
    pub log: String,
}

/// What drives the sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Io {
    /// The best that this system has.
    Auto,
    /// The engine's event loops over epoll. Linux.
    Epoll,
    /// tokio and hyper for everything. Every system.
    Tokio,
}

impl Settings {
    /// The defaults on this machine: what depends on its memory, cores and limits is looked up now.
    #[must_use]
    pub fn for_this_machine() -> Settings {
        let mut limits = Limits { memory_budget: machine::memory_bytes() / 4 * 3, ..Limits::default() };
        if let Some(open_files) = machine::open_files_max() {
            limits.connections_max = (open_files / 10 * 9).saturating_sub(64).max(1);
        }
        Settings {
            listen: (Ipv4Addr::LOCALHOST, 8080).into(),
            admin_listen: None,
            dev: true,
            dev_public: false,
            demo: false,
            limits,
            history: Retention::default(),
            io: Io::Auto,
            shards: std::thread::available_parallelism().map_or(1, usize::from),
            drain_within: None,
            log: "warn".into(),
        }
    }

    /// How long connections may take to leave.
    #[must_use]
    pub fn drain_within(&self) -> Duration {
        self.drain_within.unwrap_or(Duration::from_secs(if self.dev { 2 } else { 10 }))
    }

    /// Whether the engine drives the sockets of `listen`.
    #[must_use]
    pub fn engine_listens(&self) -> bool {
        cfg!(target_os = "linux") && self.io != Io::Tokio
    }

    /// What no single key can get wrong.
    pub(super) fn contradiction(&self) -> Option<String> {
        if !self.dev {
            let why = "`dev = false` needs credentials, and this version has none to configure";
            return Some(format!("{why}; leave `dev` out"));
        }
        if !self.dev_public && !self.listen.ip().is_loopback() {
            return Some(format!(
                "dev mode lets everybody publish and subscribe, so it does not listen on {}; \
                 listen on 127.0.0.1, or say --dev-public if everybody who can reach this machine may",
                self.listen
            ));
        }
        if self.io == Io::Epoll && !cfg!(target_os = "linux") {
            return Some("`engine.io = \"epoll\"` needs Linux; `auto` takes tokio here".into());
        }
        if self.limits.ping >= self.limits.silence_max {
            return Some(
                "`limits.ping` must be shorter than `limits.silence_max`, or every WebSocket is ended".into(),
            );
        }
        (self.admin_listen == Some(self.listen) && self.listen.port() != 0)
            .then(|| "`admin_listen` and `listen` are the same address; leave `admin_listen` out".into())
    }
}
