//! What stands for the demonstrations in a binary that was built without them: nothing, and words that say so.

use std::sync::Arc;

use axum::Router;
use tidewire_auth::DevGate;
use tidewire_hub::revocation::Revocations;

use crate::config::{Settings, Unusable};
use crate::node::Node;

/// Nothing is to be furnished.
pub fn furnish(_: &mut Settings) {}

/// No demonstrations.
pub struct Demos;

/// Opens nothing, and says why.
///
/// # Errors
/// None.
pub fn open(_: &Settings) -> Result<Demos, Unusable> {
    tracing::warn!("`demo`: this binary was built without the demonstrations (cargo feature `demo`)");
    Ok(Demos)
}

impl Demos {
    /// Dev mode's own gate.
    ///
    /// # Errors
    /// None.
    pub fn gate(&self, dev: DevGate, _: Arc<Revocations>) -> Result<DevGate, Unusable> {
        Ok(dev)
    }

    /// Answers nothing.
    pub fn start(self, _: &Settings, _: &Arc<Node>) -> Router {
        Router::new()
    }
}
