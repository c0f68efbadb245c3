//! The table of faults. A new one is one row here and one function, which does harm and heals it again.

mod clients;
mod links;
mod nodes;
mod stage;
mod store;

use std::future::Future;
use std::io;
use std::pin::Pin;

use crate::cluster::Shape;

pub use stage::Stage;

/// One fault.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    /// Its number in the list of faults, and a letter where one number has several.
    pub number: &'static str,
    /// What happens.
    pub name: &'static str,
    /// Which clusters can suffer it.
    pub fits: fn(Shape) -> bool,
    /// Does it, and heals it.
    pub inject: for<'s> fn(&'s mut Stage) -> Doing<'s>,
    /// Counters of which one has to rise, or nobody felt it.
    pub felt: &'static [&'static str],
}

impl Fault {
    /// Whether a replica becomes the master, so that it matters who sees to that.
    #[must_use]
    pub fn promotes(&self) -> bool {
        ["F8", "F9"].contains(&self.number)
    }
}

/// A fault under way. What it gives is an error where the harness itself could not do its part.
pub type Doing<'s> = Pin<Box<dyn Future<Output = io::Result<()>> + Send + 's>>;

const ANY: fn(Shape) -> bool = |_| true;
const REDIS: fn(Shape) -> bool = |shape| shape != Shape::Memory;
const ALONE: fn(Shape) -> bool = |shape| matches!(shape, Shape::Alone(_));
const PAIR: fn(Shape) -> bool = |shape| shape == Shape::Pair;
const TWO: fn(Shape) -> bool = |shape| matches!(shape, Shape::Pair | Shape::Sentinels);

/// Counters of the ledger and of the proxies, by which a fault is felt.
const ENDED: &str = "connections ended";
const REFUSED: &str = "publish tries refused";
const UNANSWERED: &str = "publish tries without answer";
const SLOW: &str = "slow publishes";
const DIALS: &str = "broker dials";
/// What the fault itself has seen.
const SEEN: &str = "seen by the fault";
const GAPS: &str = "gaps";

/// Every fault.
#[rustfmt::skip]
pub const FAULTS: &[Fault] = &[
    Fault { number: "F1", name: "node killed in the middle of a fan-out", fits: ANY, felt: &[ENDED], inject: |stage| Box::pin(nodes::killed(stage)) },
    Fault { number: "F2", name: "node drained and started again", fits: ANY, felt: &[ENDED], inject: |stage| Box::pin(nodes::drained(stage)) },
    Fault { number: "F5", name: "Redis killed and started again", fits: ALONE, felt: &[REFUSED, UNANSWERED, SLOW], inject: |stage| Box::pin(store::killed(stage)) },
    Fault { number: "F6", name: "Redis stopped", fits: ALONE, felt: &[REFUSED, UNANSWERED, SLOW], inject: |stage| Box::pin(store::stopped(stage)) },
    Fault { number: "F7", name: "planned failover", fits: PAIR, felt: &[DIALS, REFUSED, SLOW], inject: |stage| Box::pin(store::planned_failover(stage)) },
    Fault { number: "F8", name: "master killed while its replica lags", fits: TWO, felt: &[GAPS, REFUSED, UNANSWERED], inject: |stage| Box::pin(store::lost_tail(stage)) },
    Fault { number: "F9", name: "the same, and the first dials refused", fits: TWO, felt: &[SEEN], inject: |stage| Box::pin(store::refused_dials(stage)) },
    Fault { number: "F10", name: "Pub/Sub link alive and deaf", fits: REDIS, felt: &[DIALS], inject: |stage| Box::pin(links::deaf(stage)) },
    Fault { number: "F11", name: "Pub/Sub buffer over its limit", fits: REDIS, felt: &[SEEN], inject: |stage| Box::pin(links::overflow(stage)) },
    Fault { number: "F12", name: "one-way partition of a node", fits: REDIS, felt: &[REFUSED, UNANSWERED, SLOW, DIALS], inject: |stage| Box::pin(links::one_way(stage)) },
    Fault { number: "F13", name: "slow way to Redis", fits: REDIS, felt: &[SLOW], inject: |stage| Box::pin(links::slow(stage)) },
    Fault { number: "F13b", name: "links to Redis cut byte by byte", fits: REDIS, felt: &[DIALS], inject: |stage| Box::pin(links::sliced(stage)) },
    Fault { number: "F14", name: "FLUSHALL", fits: REDIS, felt: &[GAPS], inject: |stage| Box::pin(store::flushed(stage)) },
    Fault { number: "F14b", name: "fence deleted", fits: REDIS, felt: &[GAPS], inject: |stage| Box::pin(store::fence_deleted(stage)) },
    Fault { number: "F14c", name: "records deleted", fits: REDIS, felt: &[SEEN], inject: |stage| Box::pin(store::records_deleted(stage)) },
    Fault { number: "F14d", name: "streams deleted", fits: REDIS, felt: &[SEEN], inject: |stage| Box::pin(store::streams_deleted(stage)) },
    Fault { number: "F15", name: "scripts flushed", fits: REDIS, felt: &[SEEN], inject: |stage| Box::pin(store::scripts_flushed(stage)) },
    Fault { number: "F18", name: "client connections stalled, then reset", fits: ANY, felt: &[ENDED], inject: |stage| Box::pin(clients::stalled(stage)) },
    Fault { number: "F18b", name: "client connections cut after some bytes", fits: ANY, felt: &[ENDED], inject: |stage| Box::pin(clients::cut(stage)) },
    Fault { number: "F18c", name: "client connections sliced and late", fits: ANY, felt: &[SLOW], inject: |stage| Box::pin(clients::sliced(stage)) },
    Fault { number: "F19", name: "client connections half-open", fits: ANY, felt: &[ENDED], inject: |stage| Box::pin(clients::half_open(stage)) },
    Fault { number: "F20", name: "slow consumers under a flood", fits: ANY, felt: &[ENDED], inject: |stage| Box::pin(clients::slow(stage)) },
    Fault { number: "F23", name: "all clients of a node cut at once", fits: ANY, felt: &[ENDED], inject: |stage| Box::pin(clients::herd(stage)) },
    Fault { number: "F30", name: "every publish repeated", fits: ANY, felt: &["repeated though acked"], inject: |stage| Box::pin(clients::replays(stage)) },
    Fault { number: "F33", name: "junk on Pub/Sub names", fits: REDIS, felt: &[SEEN], inject: |stage| Box::pin(store::junk_told(stage)) },
    Fault { number: "F33b", name: "junk in streams", fits: REDIS, felt: &[SEEN], inject: |stage| Box::pin(store::junk_kept(stage)) },
];
