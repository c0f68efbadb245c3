//! Reloading: a running node reads its configuration again, takes over what may change while it runs, and says what is
//! different. What cannot be used is refused as a whole, and everything stays as it was.

use std::fmt;
use std::sync::Arc;

use tidewire_hub::broker::Figure;
use tidewire_hub::limits::Limits;

use crate::admin::Console;
use crate::census;
use crate::config::{Change, ConfigError, Resolved, Settings};
use crate::control::Plane;
use crate::demo;
use crate::entrance::{Entrance, Unusable};
use crate::node::Node;
use crate::spans::Spans;

/// Where a node's configuration comes from, and where its log and its spans go.
pub trait Surroundings: Send + Sync {
    /// Reads the configuration again.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    fn read(&self) -> Result<Resolved, Vec<ConfigError>>;

    /// Writes other log lines from now on, as `settings.log` has it.
    ///
    /// # Errors
    /// What is wrong with that.
    fn log(&self, settings: &Settings) -> Result<(), String>;

    /// Who is told what the node did, for traces. Asked once.
    fn spans(&self) -> Option<Arc<dyn Spans>> {
        None
    }

    /// What is counted of both, for `/metrics`. Asked once, and what it gives with every scrape.
    fn figures(&self) -> Option<Figures> {
        None
    }
}

/// Gives numbers that the table of metrics has a row for.
pub type Figures = Box<dyn Fn() -> Vec<Figure> + Send + Sync>;

/// A running node, as far as a reload changes it.
pub(crate) struct Reloader {
    pub(crate) settings: Settings,
    pub(crate) node: Arc<Node>,
    /// The one that answers machines that watch it. They come by no proxy, so it goes on to believe none.
    pub(crate) watched: Option<Arc<Node>>,
    pub(crate) plane: Plane,
    /// Nothing in dev mode, which takes a restart to leave.
    pub(crate) entrance: Option<Arc<Entrance>>,
    pub(crate) console: Arc<Console>,
    /// Event loops, that of the pipes included.
    pub(crate) outlets: usize,
}

impl Reloader {
    /// Reads the configuration again and goes by it, or says false and stays as it was. What comes of it stands in the log,
    /// whatever its filter.
    pub(crate) fn reload(&mut self, surroundings: &dyn Surroundings) -> bool {
        let outcome = self.try_reload(surroundings);
        let is_in_force = outcome.is_ok();
        match outcome {
            Ok(changes) if changes.is_empty() => tracing::info!("reloaded; nothing is different"),
            Ok(changes) => {
                for change in &changes {
                    tracing::info!("{change}");
                }
                tracing::info!(changes = changes.len(), "reloaded");
            }
            Err(Refused(problems)) => {
                for problem in &problems {
                    tracing::error!("{problem}");
                }
                tracing::error!("the new configuration cannot be used; the old one stays in force");
            }
        }
        is_in_force
    }

    fn try_reload(&mut self, surroundings: &dyn Surroundings) -> Result<Vec<Change>, Refused> {
        let Resolved { settings: mut new, warnings, .. } = surroundings.read()?;
        if new.demo {
            demo::furnish(&mut new);
        }
        let (next, changes) = self.settings.reload(&new)?;
        surroundings.log(&next)?;
        // The last that can fail, and it changes all or nothing.
        if let Some(entrance) = &self.entrance
            && let Err(error) = entrance.reopen(&next)
        {
            let _ = surroundings.log(&self.settings);
            return Err(error.into());
        }
        // Without a random number the old passwords hold, and so does what is shown of them.
        if next.console != self.settings.console {
            self.console.reopen(&next).map_err(|error| error.to_string())?;
        }
        for warning in warnings {
            tracing::warn!("{warning}");
        }
        let limits = Arc::new(next.limits.clone());
        for node in self.watched.iter().chain([&self.node]) {
            node.limit(limits.clone(), &next.namespaces);
        }
        self.node.ways.trust(next.trusted_proxies.clone());
        self.plane.limit(&limits, &share(&limits, self.outlets));
        let retentions = next.retentions();
        if retentions != self.settings.retentions() {
            self.node.broker.retain(retentions);
        }
        self.settings = next;
        Ok(changes)
    }
}

/// The bounds of one of `outlets`. Each takes some more connections than may be: whoever is too many is told so by the
/// control plane, in the language of its request, and does not wait in a queue that nobody looks at.
pub(crate) fn share(limits: &Limits, outlets: usize) -> Arc<Limits> {
    let connections_max = limits.connections_max.saturating_add(census::RESERVE);
    Arc::new(Limits { connections_max, ..limits.shared_by(outlets) })
}

/// Why a new configuration is not taken over.
struct Refused(Vec<String>);

impl<E: fmt::Display> From<Vec<E>> for Refused {
    fn from(problems: Vec<E>) -> Refused {
        Refused(problems.iter().map(ToString::to_string).collect())
    }
}

impl From<String> for Refused {
    fn from(problem: String) -> Refused {
        Refused(vec![problem])
    }
}

impl From<Unusable> for Refused {
    fn from(problem: Unusable) -> Refused {
        Refused(vec![problem.to_string()])
    }
}
