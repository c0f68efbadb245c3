//! Going away: red light, last messages, an orderly end for everybody, and a bound on the time it takes.

use std::sync::Arc;
use std::time::Duration;

use tidewire_engine::Counters;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout_at};

use crate::census::Census;
use crate::control::Plane;
use crate::health::Phase;
use crate::node::Node;
use crate::outlets::Loops;

/// How a drain ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Everybody had left.
    Empty,
    /// The time was over.
    TimeOver,
    /// A second signal came.
    CutShort,
}

impl Ending {
    /// The word for it in the log.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Ending::Empty => "everybody had left",
            Ending::TimeOver => "the time was over",
            Ending::CutShort => "told twice",
        }
    }
}

/// How often the drain looks whether everybody has left.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// How long it takes acceptors at most to notice a drain, and whom they accepted to be counted.
const COUNTED_WITHIN: Duration = Duration::from_millis(50);

/// How long a connection that has asked for nothing is left open, if there is so much time.
const ASKS_WITHIN: Duration = Duration::from_millis(500);

/// What is left of the time for the last connections to read their last bytes after the wave of ends.
const TAIL: Duration = Duration::from_millis(500);

/// Has the node refuse what it could not finish, and ends every subscriber within `within`, or stops waiting for them.
pub async fn subscribers(
    node: &Node,
    plane: &Plane,
    within: Duration,
    have_left: impl Fn() -> bool,
) -> Ending {
    let due = Instant::now() + within;
    node.health.enter(Phase::Draining);
    // Nobody could read a message that is published now (delivery rule R23).
    node.broker.drain();
    plane.drain(within.saturating_sub(TAIL.min(within / 4)));
    let all_left = async {
        while !have_left() {
            sleep(LOOK_EVERY).await;
        }
    };
    timeout_at(due, all_left).await.map_or(Ending::TimeOver, |()| Ending::Empty)
}

/// Drains the node within `within`.
pub async fn drain(
    node: &Arc<Node>,
    plane: &Plane,
    census: &Arc<Census>,
    loops: &Loops,
    pipes: &Counters,
    closing: &watch::Sender<bool>,
    within: Duration,
) -> Ending {
    let due = Instant::now() + within;
    subscribers(node, plane, within, || loops.running() == 0 && pipes.open.get() == 0).await;
    // Whoever was accepted in the last moment is counted by now. They are about to ask, and would take an end without an
    // answer for a failure.
    sleep(COUNTED_WITHIN.min(within / 4)).await;
    if census.connections() > 0 {
        sleep(ASKS_WITHIN.min(within / 4)).await;
    }
    // Kept-alive connections have been answered with 503 until now. Whatever is being answered is still finished.
    closing.send_replace(true);
    let all_left = async {
        while census.connections() > 0 {
            sleep(LOOK_EVERY).await;
        }
    };
    match timeout_at(due, all_left).await {
        Ok(()) => Ending::Empty,
        Err(_) => Ending::TimeOver,
    }
}
