//! There is no service manager to tell anything on this system.

use std::sync::Arc;
use std::time::Duration;

use crate::census::Census;
use crate::control::Plane;
use crate::node::Node;

/// Nobody.
pub struct Manager;

impl Manager {
    /// Nobody.
    #[must_use]
    pub fn of_environment() -> Arc<Manager> {
        Arc::new(Manager)
    }

    pub(crate) fn watch(self: &Arc<Manager>, _: Arc<Node>, _: Plane, _: Arc<Census>) {}

    pub(crate) fn reloading(&self) {}

    pub(crate) fn reloaded(&self, _: bool) {}

    pub(crate) fn stopping(&self, _: Duration) {}
}
