//! What stands for the demonstrations in a binary that was built without them: nothing, and words that say so.

use std::sync::Arc;

use axum::Router;

use crate::config::Settings;
use crate::node::Node;

/// Nothing is to be furnished.
pub fn furnish(_: &mut Settings) {}

/// Answers nothing, and says why.
pub fn start(_: &Settings, _: &Arc<Node>) -> Router {
    tracing::warn!("`demo`: this binary was built without the demonstrations (cargo feature `demo`)");
    Router::new()
}
