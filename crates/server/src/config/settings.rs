//! The settings of a node, resolved: every value has its type and its default.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use tidewire_hub::limits::{Limits, Retention, Retentions};

use super::auth::Auth;
use super::broker::BrokerSettings;
use super::console::ConsoleSettings;
use super::machine;
use super::namespace::NamespaceSettings;
use super::tls::TlsSettings;

/// Everything a node is told. Keys and their meaning stand in [`super::keys`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Where clients connect.
    pub listen: SocketAddr,
    /// Whether these listeners are its own: not where an application serves it, which then decides who comes in as well.
    pub has_listeners: bool,
    /// Where `/livez`, `/readyz`, `/metrics` and the console answer; nothing means on `listen`.
    pub admin_listen: Option<SocketAddr>,
    /// Whether this is dev mode.
    pub dev: bool,
    /// Whether dev mode may be reached from other machines.
    pub dev_public: bool,
    /// Whether the demonstrations are served.
    pub demo: bool,
    /// The file that keeps their state; nothing means the usual place.
    pub demo_store: Option<PathBuf>,
    /// Whether `/readyz` is red also while the broker is away for everybody.
    pub strict_readiness: bool,
    /// What clients are shown who connect over TLS.
    pub tls: TlsSettings,
    /// Where messages are kept.
    pub broker: BrokerSettings,
    /// Who may come in, and how that is verified.
    pub auth: Auth,
    /// Who may come in to the console.
    pub console: ConsoleSettings,
    /// Networks of proxies that are believed when they say who a client is (security rule S41).
    pub trusted_proxies: Vec<IpNet>,
    /// Whether connections of trusted proxies begin with a PROXY protocol header, version 2.
    pub proxy_protocol: bool,
    /// Bounds.
    pub limits: Limits,
    /// What a channel keeps.
    pub history: Retention,
    /// What is different in a namespace, by its name. [`Settings::retentions`] and [`crate::publishes`] have what holds there.
    pub namespaces: BTreeMap<Box<str>, NamespaceSettings>,
    /// What drives the sockets.
    pub io: Io,
    /// Event loops.
    pub shards: usize,
    /// How long connections may take to leave.
    pub(super) drain_within: Duration,
    /// Which log lines are written, as `tracing-subscriber` reads it.
    pub log: String,
    /// How they are written.
    pub log_format: LogFormat,
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// As text on a terminal and in dev mode, as JSON otherwise.
    Auto,
    /// A JSON object each.
    Json,
    /// For people.
    Text,
}

/// What drives the sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Io {
    /// The best that this system has.
    Auto,
    /// The engine's event loops over epoll, with sends in batches through io_uring. Linux.
    Uring,
    /// The engine's event loops over epoll alone. Linux.
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
        Settings::within(limits)
    }

    /// The defaults within these bounds. Nothing is asked of this machine.
    #[must_use]
    pub fn within(limits: Limits) -> Settings {
        Settings {
            listen: (Ipv4Addr::LOCALHOST, 8080).into(),
            has_listeners: true,
            admin_listen: None,
            dev: true,
            dev_public: false,
            demo: false,
            demo_store: None,
            strict_readiness: false,
            tls: TlsSettings::default(),
            broker: BrokerSettings::default(),
            auth: Auth::default(),
            console: ConsoleSettings::default(),
            trusted_proxies: Vec::new(),
            proxy_protocol: false,
            limits,
            history: Retention::default(),
            namespaces: BTreeMap::new(),
            io: Io::Auto,
            shards: std::thread::available_parallelism().map_or(1, usize::from),
            drain_within: drain_within(true),
            log: "warn".into(),
            log_format: LogFormat::Auto,
        }
    }

    /// How long connections may take to leave.
    #[must_use]
    pub fn drain_within(&self) -> Duration {
        self.drain_within
    }

    /// Whether the engine drives the sockets of `listen`. It knows no TLS.
    #[must_use]
    pub fn engine_listens(&self) -> bool {
        cfg!(target_os = "linux") && self.io != Io::Tokio && !self.tls.is_on()
    }

    /// What channels keep.
    #[must_use]
    pub fn retentions(&self) -> Retentions {
        let Retention { messages_max, ttl } = self.history;
        let own = self.namespaces.iter().map(|(name, own)| {
            let retention = Retention {
                messages_max: own.messages_max.unwrap_or(messages_max),
                ttl: own.ttl.unwrap_or(ttl),
            };
            (name.clone(), retention)
        });
        // What nodes tell each other for the console is worth something for a second.
        let told = (crate::admin::CHANNEL.into(), Retention { messages_max: 0, ..self.history });
        Retentions::new(self.history, own.chain([told]))
    }
}

/// Where machines that watch us connect outside dev mode.
pub(super) fn admin_listen() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 9090).into()
}

/// A developer waits for every restart; elsewhere everybody comes back at once if it is too short.
pub(super) fn drain_within(dev: bool) -> Duration {
    Duration::from_secs(if dev { 2 } else { 10 })
}
