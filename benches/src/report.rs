//! The table of one figure: medians with their spread, ours beside the floor's, the budget beside both.

use crate::generator::Faults;
use crate::meter::Spent;
use crate::server::Kind;

/// What a row is held to. It is printed, and fails nothing: machines differ and drift.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Budget {
    /// At most this many times the floor's.
    RatioAtMost(f64),
    /// At least this many times the floor's.
    RatioAtLeast(f64),
    /// At most this, whatever the floor's.
    AtMost(f64),
}

/// What one round of one server came to.
pub struct Round {
    rows: Vec<Row>,
    /// Everything that must not happen.
    pub faults: Faults,
    /// Where the round kept time.
    spent: Option<Spent>,
}

struct Row {
    label: &'static str,
    value: f64,
    budget: Option<Budget>,
}

/// All rounds of one figure.
pub struct Table {
    title: String,
    rounds: Vec<(Kind, Round)>,
}

/// A generator busier than this may be what a figure measures.
pub const GENERATOR_BUSY_PERCENT: f64 = 85.0;
/// What the floor needs to be compared with, in the unit of the row.
const FLOOR_LEAST: f64 = 0.1;
/// The row that tells.
pub const OTHERS: &str = "a core taken by others, %";
/// A machine that takes more than this away is not quiet enough to compare on.
pub const OTHERS_PERCENT: f64 = 5.0;

impl Round {
    /// No rows yet.
    pub fn new(faults: Faults) -> Round {
        Round { rows: Vec::new(), faults, spent: None }
    }

    /// Adds a row; the same labels in the same order in every round.
    pub fn row(&mut self, label: &'static str, value: f64) {
        self.rows.push(Row { label, value, budget: None });
    }

    /// Adds the rows that tell how busy both cores were.
    pub fn busy(&mut self, spent: Spent) {
        self.row("server's core busy, %", spent.server_percent());
        self.row("generator's core busy, %", spent.generator_percent());
        self.row(OTHERS, spent.others_percent());
        self.spent = Some(spent);
    }

    /// Holds a row to a budget.
    pub fn set_budget(&mut self, label: &'static str, budget: Budget) {
        for row in self.rows.iter_mut().filter(|row| row.label == label) {
            row.budget = Some(budget);
        }
    }

    /// The rows' labels, in their order.
    pub fn labels(&self) -> impl Iterator<Item = &'static str> {
        self.rows.iter().map(|row| row.label)
    }

    /// What a row came to.
    pub fn value(&self, label: &str) -> Option<f64> {
        self.rows.iter().find(|row| row.label == label).map(|row| row.value)
    }
}

impl Table {
    /// No rounds yet.
    pub fn new(title: String) -> Table {
        Table { title, rounds: Vec::new() }
    }

    /// Adds a round, in the order in which rounds were taken.
    pub fn add(&mut self, kind: Kind, round: Round) {
        self.rounds.push((kind, round));
    }

    /// Whether nothing went wrong in any round.
    pub fn is_clean(&self) -> bool {
        self.rounds.iter().all(|(_, round)| round.faults == Faults::default())
    }

    /// Prints the table.
    pub fn print(&self) {
        println!("\n{}\n", self.title);
        if self.rounds.is_empty() {
            return;
        }
        println!("  {:42} {:>25} {:>25} {:>18}  budget", "median (min-max)", "floor", "tidewire", "ratio");
        for (label, budget) in self.labels() {
            let floor = self.values(Kind::Floor, label);
            let tidewire = self.values(Kind::Tidewire, label);
            let ratio: Vec<f64> = tidewire.iter().zip(&floor).map(|(ours, floor)| ours / floor).collect();
            // Beside next to nothing, a ratio is one of noise.
            let ratio = if floor.iter().any(|value| *value < FLOOR_LEAST) { Vec::new() } else { ratio };
            let verdict =
                budget.map_or(String::new(), |budget| judge(budget, median(&tidewire), median(&ratio)));
            println!(
                "  {label:42} {:>25} {:>25} {:>18}  {verdict}",
                spread(&floor),
                spread(&tidewire),
                spread(&ratio)
            );
        }
        for kind in [Kind::Floor, Kind::Tidewire] {
            self.print_conduct(kind);
        }
    }

    fn print_conduct(&self, kind: Kind) {
        let mut faults = Faults::default();
        let rounds: Vec<&Round> =
            self.rounds.iter().filter(|(of, _)| *of == kind).map(|(_, round)| round).collect();
        if rounds.is_empty() {
            return;
        }
        rounds.iter().for_each(|round| faults.add(round.faults));
        let Faults { wrong, cut, refused, gaps } = faults;
        println!(
            "  {} (rounds: {}): {} lost, {} duplicated, {} out of order, {} corrupt, {cut} cut, {refused} refused, \
             {gaps} gaps",
            kind.name(),
            rounds.len(),
            wrong.lost,
            wrong.duplicated,
            wrong.out_of_order,
            wrong.corrupt,
        );
        let median_of = |percent: fn(Spent) -> f64| {
            let all: Vec<f64> = rounds.iter().filter_map(|round| round.spent.map(percent)).collect();
            median(&all).unwrap_or(0.0)
        };
        if median_of(Spent::generator_percent) > GENERATOR_BUSY_PERCENT {
            println!(
                "    the generator was the bottleneck: what was done a second is its figure, not the server's"
            );
        }
        if median_of(Spent::others_percent) > OTHERS_PERCENT {
            println!(
                "    other processes took these cores: compare nothing, measure again on a quiet machine"
            );
        }
    }

    /// Every label once, in the order of the rounds that have it.
    fn labels(&self) -> Vec<(&'static str, Option<Budget>)> {
        let mut labels: Vec<(&'static str, Option<Budget>)> = Vec::new();
        for row in self.rounds.iter().flat_map(|(_, round)| &round.rows) {
            if !labels.iter().any(|(label, _)| *label == row.label) {
                labels.push((row.label, row.budget));
            }
        }
        labels
    }

    fn values(&self, kind: Kind, label: &str) -> Vec<f64> {
        self.rounds.iter().filter(|(of, _)| *of == kind).filter_map(|(_, round)| round.value(label)).collect()
    }
}

fn judge(budget: Budget, ours: Option<f64>, ratio: Option<f64>) -> String {
    let (text, holds) = match budget {
        Budget::RatioAtMost(most) => (format!("<= {most} x floor"), ratio.map(|ratio| ratio <= most)),
        Budget::RatioAtLeast(least) => (format!(">= {least} x floor"), ratio.map(|ratio| ratio >= least)),
        Budget::AtMost(most) => (format!("<= {most}"), ours.map(|ours| ours <= most)),
    };
    match holds {
        Some(true) => format!("{text}: met"),
        Some(false) => format!("{text}: MISSED"),
        None => text,
    }
}

/// The middle value, or the mean of the two in the middle.
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match (sorted.len() % 2, sorted.get(middle)) {
        (1, Some(value)) => Some(*value),
        (_, Some(value)) => Some((sorted[middle - 1] + value) / 2.0),
        (_, None) => None,
    }
}

/// The median, and in brackets the least and the most.
pub fn spread(values: &[f64]) -> String {
    let Some(middle) = median(values) else { return "-".to_owned() };
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    format!("{} ({}-{})", figure(middle), figure(least), figure(most))
}

/// Three digits that matter, for people.
pub fn figure(value: f64) -> String {
    match value.abs() {
        size if size.is_infinite() => "never".to_owned(),
        size if size >= 100.0 || size == 0.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_is_the_middle_or_the_mean_of_the_two_middles() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median(&[]), None);
    }

    #[test]
    fn a_budget_is_judged_on_the_ratio_or_on_our_own_figure() {
        assert_eq!(judge(Budget::RatioAtMost(1.25), Some(9.0), Some(1.2)), "<= 1.25 x floor: met");
        assert_eq!(judge(Budget::RatioAtLeast(1.0), Some(9.0), Some(0.9)), ">= 1 x floor: MISSED");
        assert_eq!(judge(Budget::AtMost(1.0), Some(0.9), Some(7.0)), "<= 1: met");
        assert_eq!(judge(Budget::RatioAtMost(1.25), Some(9.0), None), "<= 1.25 x floor");
    }

    #[test]
    fn a_loss_in_any_round_is_not_clean() {
        let mut table = Table::new("sample".to_owned());
        table.add(Kind::Floor, Round::new(Faults::default()));
        assert!(table.is_clean());
        table.add(Kind::Tidewire, Round::new(Faults { gaps: 1, ..Faults::default() }));
        assert!(!table.is_clean());
    }
}
