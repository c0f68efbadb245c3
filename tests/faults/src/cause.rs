//! Causes: what the campaign did that excuses a gap. A gap without one is false (invariant I5).

use crate::ledger::Ms;

/// What may have been lost, by what was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The store, or the fence in it, is gone: nothing from before is known.
    StoreLost,
    /// A promotion or a restart that may have lost the newest messages.
    TailLost,
    /// A promotion or a restart that lost nothing.
    NothingLost,
    /// Streams or records were damaged; the log goes on.
    HistoryDamaged,
    /// A node's process died without a word.
    NodeDied,
    /// The only node began another life, and kept nothing (memory mode).
    Restarted,
}

/// A cause and when it held.
#[derive(Clone, Copy, Debug)]
pub struct Caused {
    /// What.
    pub cause: Cause,
    /// Since when.
    pub from: Ms,
    /// Until when; nothing while it holds.
    pub until: Option<Ms>,
}

/// A cursor that was received so soon after a cause ended may have been given before.
const UNDER_WAY: Ms = 2_500;

/// A dead node is awaited for a lease, and counts as a loss when that runs out (decision 13).
const LEASE: Ms = 40_000;

/// Whether a gap of this reason may be told to who received its cursor at `cursor_at`.
#[must_use]
pub fn excuses(causes: &[Caused], reason: &str, cursor_at: Ms) -> bool {
    causes.iter().any(|caused| {
        let slack = if died_near(causes, caused) { LEASE } else { UNDER_WAY };
        let in_time = caused.until.is_none_or(|until| cursor_at <= until + slack);
        let fits = match caused.cause {
            Cause::StoreLost => ["failover", "store_reset", "epoch", "trimmed"].contains(&reason),
            Cause::TailLost => ["failover", "epoch"].contains(&reason),
            Cause::NothingLost => reason == "failover" && died_near(causes, caused),
            Cause::HistoryDamaged => ["trimmed", "store_reset", "failover", "epoch"].contains(&reason),
            Cause::NodeDied => false,
            Cause::Restarted => reason == "epoch",
        };
        in_time && fits
    })
}

/// Whether a message may have been placed twice, first at `first` and again at `again`: what was lost with the tail
/// took its idempotency key with it.
#[must_use]
pub fn forgets_keys(causes: &[Caused], first: Ms, again: Ms) -> bool {
    causes.iter().any(|caused| {
        let lossy = [Cause::StoreLost, Cause::TailLost, Cause::Restarted].contains(&caused.cause);
        lossy && caused.from <= again && caused.until.is_none_or(|until| first <= until + UNDER_WAY)
    })
}

/// After a promotion, nodes that had a part in the log are asked what they saw; one that cannot answer is a loss.
fn died_near(causes: &[Caused], promotion: &Caused) -> bool {
    let (from, until) = (promotion.from, promotion.until.unwrap_or(Ms::MAX - LEASE));
    let near = |death: &&Caused| death.from + LEASE >= from && death.from <= until + LEASE;
    causes.iter().filter(|caused| caused.cause == Cause::NodeDied).any(|death| near(&death))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caused(cause: Cause, from: Ms, until: Ms) -> Caused {
        Caused { cause, from, until: Some(until) }
    }

    #[test]
    fn i5_a_gap_needs_a_cause_that_fits_and_is_recent() {
        let causes = [caused(Cause::TailLost, 10_000, 12_000)];
        assert!(excuses(&causes, "failover", 11_000));
        assert!(!excuses(&causes, "trimmed", 11_000));
        assert!(!excuses(&causes, "failover", 20_000), "whoever comes from after it lost nothing by it");
        assert!(!excuses(&[], "failover", 11_000));
    }

    #[test]
    fn i5_a_planned_failover_is_a_gap_only_where_a_node_that_died_cannot_be_asked() {
        let planned = caused(Cause::NothingLost, 10_000, 12_000);
        assert!(!excuses(&[planned], "failover", 11_000));
        assert!(excuses(&[planned, caused(Cause::NodeDied, 5_000, 5_000)], "failover", 30_000));
        assert!(!excuses(&[planned, caused(Cause::NodeDied, 90_000, 90_000)], "failover", 11_000));
    }

    #[test]
    fn i3_a_key_is_forgotten_only_with_the_tail_or_the_store() {
        assert!(forgets_keys(&[caused(Cause::StoreLost, 10, 20)], 5, 15));
        assert!(!forgets_keys(&[caused(Cause::NothingLost, 10, 20)], 5, 15));
        assert!(!forgets_keys(&[caused(Cause::StoreLost, 10, 20)], 9_000, 9_100));
    }
}
