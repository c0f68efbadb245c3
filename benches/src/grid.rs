//! The table of a figure that has no floor: one column a case, medians over rounds with their spread.

use crate::generator::Faults;
use crate::report::{OTHERS, OTHERS_PERCENT, Round, median, spread};

/// Rounds of several cases.
pub struct Grid {
    title: String,
    cases: Vec<(String, Vec<Round>)>,
}

impl Grid {
    /// No rounds yet.
    pub fn new(title: String) -> Grid {
        Grid { title, cases: Vec::new() }
    }

    /// Adds a round of a case.
    pub fn add(&mut self, case: &str, round: Round) {
        match self.cases.iter_mut().find(|(name, _)| name == case) {
            Some((_, rounds)) => rounds.push(round),
            None => self.cases.push((case.to_owned(), vec![round])),
        }
    }

    /// The median of a row.
    pub fn median(&self, case: &str, label: &str) -> Option<f64> {
        let (_, rounds) = self.cases.iter().find(|(name, _)| name == case)?;
        median(&values(rounds, label))
    }

    /// Whether nothing went wrong in any round.
    pub fn is_clean(&self) -> bool {
        self.cases.iter().flat_map(|(_, rounds)| rounds).all(|round| round.faults == Faults::default())
    }

    /// Prints it.
    pub fn print(&self) {
        println!("\n{}\n", self.title);
        print!("  {:40}", "median (min-max)");
        for (name, _) in &self.cases {
            print!(" {name:>22}");
        }
        println!();
        let mut labels: Vec<&str> = Vec::new();
        for label in self.cases.iter().flat_map(|(_, rounds)| rounds).flat_map(Round::labels) {
            if !labels.contains(&label) {
                labels.push(label);
            }
        }
        for label in labels {
            print!("  {label:40}");
            for (_, rounds) in &self.cases {
                print!(" {:>22}", spread(&values(rounds, label)));
            }
            println!();
        }
        let mut faults = Faults::default();
        self.cases.iter().flat_map(|(_, rounds)| rounds).for_each(|round| faults.add(round.faults));
        let Faults { wrong, cut, refused, gaps } = faults;
        println!(
            "  all rounds: {} lost, {} duplicated, {} out of order, {} corrupt, {cut} cut, {refused} refused, {gaps} gaps",
            wrong.lost, wrong.duplicated, wrong.out_of_order, wrong.corrupt
        );
        if self
            .cases
            .iter()
            .any(|(case, _)| self.median(case, OTHERS).is_some_and(|taken| taken > OTHERS_PERCENT))
        {
            println!("  other processes took these cores: compare nothing, measure again on a quiet machine");
        }
    }
}

fn values(rounds: &[Round], label: &str) -> Vec<f64> {
    rounds.iter().filter_map(|round| round.value(label)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_of_one_case_come_to_one_median_and_a_fault_of_any_is_told() {
        let mut grid = Grid::new("sample".to_owned());
        for value in [1.0, 5.0, 3.0] {
            let mut round = Round::new(Faults::default());
            round.row("height", value);
            grid.add("one", round);
        }
        assert_eq!((grid.median("one", "height"), grid.median("two", "height")), (Some(3.0), None));
        assert!(grid.is_clean());
        grid.add("two", Round::new(Faults { refused: 1, ..Faults::default() }));
        assert!(!grid.is_clean());
    }
}
