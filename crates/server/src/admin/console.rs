//! The console itself: what its answers are made from.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arc_swap::{ArcSwap, ArcSwapOption};
use serde::Serialize;
use tidewire_auth::secret::NoEntropy;
use tidewire_hub::channel::Channel;
use tokio::sync::Semaphore;

use super::attempts::Attempts;
use super::figures::{Figures, Sources};
use super::password::Passwords;
use super::sessions::Sessions;
use crate::config::Settings;
use crate::control::Plane;
use crate::node::Node;
use crate::shared::Lookout;

/// Where nodes tell each other and the page what they do.
pub(crate) const CHANNEL: &str = "$console";

/// Passwords that are looked at once: each takes 19 MiB and some milliseconds of a core.
const CHECKS_MAX: usize = 2;

/// What a console is made of.
pub struct Parts {
    /// The node that clients come to, whatever listener the console is on.
    pub node: Arc<Node>,
    /// Its control plane.
    pub plane: Plane,
    /// What it counts.
    pub sources: Sources,
    /// Whether another node's console is open; nothing where there is no other node.
    pub lookout: Option<Lookout>,
    /// Who may come in.
    pub passwords: Passwords,
    /// Where clients connect.
    pub clients: Clients,
}

/// Where clients connect, as far as lines to copy need it.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Clients {
    /// The port of `listen`.
    pub port: u16,
    /// Whether it speaks TLS.
    pub secure: bool,
}

/// The console. It answers as if there were none while it has no password.
pub struct Console {
    pub(super) node: Arc<Node>,
    pub(super) plane: Plane,
    pub(super) sources: Sources,
    pub(super) lookout: Option<Lookout>,
    pub(super) sessions: Sessions,
    pub(super) attempts: Attempts,
    pub(super) checks: Arc<Semaphore>,
    /// One survey of the connections at a time.
    pub(super) surveys: Semaphore,
    /// What this node did in the last second.
    pub(super) latest: ArcSwapOption<Figures>,
    pub(super) channel: Option<Channel>,
    pub(super) clients: Clients,
    passwords: ArcSwap<Passwords>,
    watchers: Arc<AtomicUsize>,
}

impl Console {
    /// A console that nobody is logged in to.
    #[must_use]
    pub fn new(parts: Parts) -> Console {
        let Parts { node, plane, sources, lookout, passwords, clients } = parts;
        Console {
            node,
            plane,
            sources,
            lookout,
            sessions: Sessions::default(),
            attempts: Attempts::default(),
            checks: Arc::new(Semaphore::new(CHECKS_MAX)),
            surveys: Semaphore::new(1),
            latest: ArcSwapOption::empty(),
            channel: Channel::parse_among_servers(CHANNEL).ok(),
            clients,
            passwords: ArcSwap::from_pointee(passwords),
            watchers: Arc::default(),
        }
    }

    /// Whether there is a password, and so a console.
    #[must_use]
    pub fn is_on(&self) -> bool {
        !self.passwords.load().is_empty()
    }

    /// Goes by other passwords from now on, and ends every session.
    ///
    /// # Errors
    /// The system has no random number; then nothing has changed.
    pub(crate) fn reopen(&self, settings: &Settings) -> Result<(), NoEntropy> {
        let console = &settings.console;
        let passwords = Passwords::of(console.password.as_ref(), console.viewer_password.as_ref())?;
        self.passwords.store(Arc::new(passwords));
        self.sessions.end_all();
        Ok(())
    }

    /// The passwords that hold now.
    pub(super) fn passwords(&self) -> Arc<Passwords> {
        self.passwords.load_full()
    }

    /// Whether somebody looks at this node's figures.
    pub(super) fn is_watched(&self) -> bool {
        self.watchers.load(Ordering::Acquire) > 0
    }

    /// Counts who looks, until what is given back is dropped.
    pub(super) fn watch(&self) -> Watching {
        self.watchers.fetch_add(1, Ordering::AcqRel);
        Watching(self.watchers.clone())
    }
}

/// Somebody looks.
pub(super) struct Watching(Arc<AtomicUsize>);

impl Drop for Watching {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}
