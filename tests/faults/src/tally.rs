//! What a campaign did, and what came of it.

use std::collections::BTreeMap;
use std::fmt;

use crate::ledger::Violation;

/// Counts over all rounds.
#[derive(Debug, Default)]
pub struct Tally {
    /// Per fault, by its number.
    pub faults: BTreeMap<&'static str, Row>,
    /// Counts of the ledgers.
    pub counts: BTreeMap<String, u64>,
    /// What did not hold.
    pub violations: Vec<(u64, Violation)>,
    /// What the harness itself could not do.
    pub broken: Vec<String>,
    /// Rounds run to their end.
    pub rounds: u64,
}

/// One fault.
#[derive(Clone, Debug, Default)]
pub struct Row {
    /// What it is.
    pub name: &'static str,
    /// How often it was done.
    pub injected: u64,
    /// How often somebody felt it.
    pub felt: u64,
    /// How long it took, after it had healed, until new messages had reached everybody: the longest, in milliseconds.
    pub slowest_ms: u64,
}

/// A fault that was done so often and never felt is no fault.
const UNFELT_MAX: u64 = 3;

impl Tally {
    /// How many faults were done.
    #[must_use]
    pub fn injected(&self) -> u64 {
        self.faults.values().map(|row| row.injected).sum()
    }

    /// Why the campaign has failed; nothing where it has not.
    #[must_use]
    pub fn failures(&self) -> Vec<String> {
        let count = |name: &str| self.counts.get(name).copied().unwrap_or(0);
        let mut failures = self.broken.clone();
        let violations: u64 = self
            .counts
            .iter()
            .filter(|(name, _)| name.starts_with("violations"))
            .map(|(_, count)| count)
            .sum();
        if violations > 0 {
            failures.push(format!("{violations} violations"));
        }
        if self.injected() == 0 {
            failures.push("no fault was injected".into());
        } else if self.faults.values().all(|row| row.felt == 0) {
            failures.push("no fault had a visible effect".into());
        }
        if count("acked") == 0 || count("delivered") == 0 {
            failures.push("nothing was published, or nothing delivered".into());
        }
        for (number, row) in &self.faults {
            if row.injected >= UNFELT_MAX && row.felt == 0 {
                failures.push(format!("{number} was injected {} times and never felt", row.injected));
            }
        }
        failures
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:5} {:42} {:>8} {:>6} {:>12}", "fault", "", "injected", "felt", "slowest, ms")?;
        for (number, row) in &self.faults {
            let Row { name, injected, felt, slowest_ms } = row;
            writeln!(f, "{number:5} {name:42} {injected:>8} {felt:>6} {slowest_ms:>12}")?;
        }
        writeln!(f)?;
        let always = ["published", "acked", "unknown", "refused", "delivered", "duplicates", "gaps"];
        let never = ["lost and unannounced", "reordered", "false gaps", "violations of I6"];
        let count = |name: &str| self.counts.get(name).copied().unwrap_or(0);
        for name in always.iter().chain(&never) {
            writeln!(f, "{name:30} {:>10}", count(name))?;
        }
        let others =
            self.counts.iter().filter(|(name, _)| !always.iter().chain(&never).any(|known| known == name));
        for (name, count) in others {
            writeln!(f, "{name:30} {count:>10}")?;
        }
        writeln!(f, "{:30} {:>10}", "faults injected", self.injected())?;
        write!(f, "{:30} {:>10}", "rounds", self.rounds)
    }
}
