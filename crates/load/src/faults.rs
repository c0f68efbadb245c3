//! Everything that must not happen.

use serde::Serialize;

use crate::ledger::Wrong;

/// What went wrong, in one run or in many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Faults {
    /// Judged by the ledger.
    #[serde(flatten)]
    pub wrong: Wrong,
    /// Streams that the server ended.
    pub cut: u64,
    /// Publishes that were refused.
    pub refused: u64,
    /// Gaps that were announced.
    pub gaps: u64,
}

impl Faults {
    /// Whether there are none.
    pub fn is_clean(&self) -> bool {
        *self == Faults::default()
    }

    /// Adds those of another run.
    pub fn add(&mut self, more: Faults) {
        self.wrong.lost += more.wrong.lost;
        self.wrong.duplicated += more.wrong.duplicated;
        self.wrong.out_of_order += more.wrong.out_of_order;
        self.wrong.corrupt += more.wrong.corrupt;
        self.cut += more.cut;
        self.refused += more.refused;
        self.gaps += more.gaps;
    }
}
