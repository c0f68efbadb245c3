//! The raw figures of a run: in memory, and as a file of tab-separated values that the document can be written from again.

use std::fmt::Write;

use crate::report::{figure, median};

/// Everything that a run came to.
#[derive(Debug, Default, PartialEq)]
pub struct Results {
    /// What was measured on and with, by name.
    pub facts: Vec<(String, String)>,
    rows: Vec<Row>,
    failures: Vec<(Case, String)>,
}

/// A peer under one scenario.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// The scenario's name.
    pub scenario: String,
    /// The peer's name.
    pub peer: String,
    /// The transport's name.
    pub transport: String,
}

/// One figure of one round.
#[derive(Debug, PartialEq)]
struct Row {
    case: Case,
    round: usize,
    figure: String,
    value: f64,
}

/// The columns of the file, below the facts.
const HEADER: &str = "scenario\tpeer\ttransport\tround\tfigure\tvalue";
/// In the place of a figure: the value is the reason.
const FAILED: &str = "failed";

impl Case {
    /// A case, by the three names.
    pub fn new(scenario: &str, peer: &str, transport: &str) -> Case {
        let [scenario, peer, transport] = [scenario, peer, transport].map(str::to_owned);
        Case { scenario, peer, transport }
    }
}

impl Results {
    /// Adds one figure of one round.
    pub fn add(&mut self, case: &Case, round: usize, figure: &str, value: f64) {
        self.rows.push(Row { case: case.clone(), round, figure: figure.to_owned(), value });
    }

    /// Writes down that a case could not be measured, and why. Once is enough.
    pub fn fail(&mut self, case: &Case, reason: &str) {
        if self.failure(case).is_none() {
            // A reason is one cell.
            self.failures.push((case.clone(), reason.split_whitespace().collect::<Vec<_>>().join(" ")));
        }
    }

    /// Why a case could not be measured.
    pub fn failure(&self, case: &Case) -> Option<&str> {
        self.failures.iter().find(|(failed, _)| failed == case).map(|(_, reason)| reason.as_str())
    }

    /// All rounds of a figure.
    pub fn values(&self, case: &Case, figure: &str) -> Vec<f64> {
        let rows = self.rows.iter().filter(|row| row.case == *case && row.figure == figure);
        rows.map(|row| row.value).collect()
    }

    /// Every case of a scenario that was measured or tried, in the order of the run.
    pub fn cases(&self, scenario: &str) -> Vec<Case> {
        let mut cases: Vec<Case> = Vec::new();
        for case in self.rows.iter().map(|row| &row.case).chain(self.failures.iter().map(|(case, _)| case)) {
            if case.scenario == scenario && !cases.contains(case) {
                cases.push(case.clone());
            }
        }
        cases
    }

    /// A fact by its name.
    pub fn fact(&self, name: &str) -> Option<&str> {
        self.facts.iter().find(|(of, _)| of == name).map(|(_, text)| text.as_str())
    }

    /// The file.
    pub fn to_tsv(&self) -> String {
        let mut text = String::new();
        for (name, fact) in &self.facts {
            let _ = writeln!(text, "# {name}\t{fact}");
        }
        let _ = writeln!(text, "{HEADER}");
        for Row { case: Case { scenario, peer, transport }, round, figure, value } in &self.rows {
            let _ = writeln!(text, "{scenario}\t{peer}\t{transport}\t{round}\t{figure}\t{}", number(*value));
        }
        for (Case { scenario, peer, transport }, reason) in &self.failures {
            let _ = writeln!(text, "{scenario}\t{peer}\t{transport}\t0\t{FAILED}\t{reason}");
        }
        text
    }

    /// Reads the file. The error names the line.
    pub fn from_tsv(text: &str) -> Result<Results, String> {
        let mut results = Results::default();
        for (at, line) in text.lines().enumerate().filter(|(_, line)| *line != HEADER && !line.is_empty()) {
            let wrong = || format!("line {} holds no figure: {line}", at + 1);
            if let Some(fact) = line.strip_prefix("# ") {
                let (name, fact) = fact.split_once('\t').ok_or_else(wrong)?;
                results.facts.push((name.to_owned(), fact.to_owned()));
                continue;
            }
            let cells: Vec<&str> = line.split('\t').collect();
            let [scenario, peer, transport, round, figure, value] = cells[..] else { return Err(wrong()) };
            let case = Case::new(scenario, peer, transport);
            if figure == FAILED {
                results.fail(&case, value);
            } else {
                let round = round.parse().map_err(|_| wrong())?;
                results.add(&case, round, figure, value.parse().map_err(|_| wrong())?);
            }
        }
        Ok(results)
    }
}

/// The median, and in brackets the least and the most, where there is more than one.
pub fn spread(values: &[f64]) -> String {
    let Some(middle) = median(values) else { return "–".to_owned() };
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    match values.len() {
        1 => digits(middle),
        _ => format!("{} ({}–{})", digits(middle), digits(least), digits(most)),
    }
}

/// Three digits that matter, for people, and spaces between thousands.
pub fn digits(value: f64) -> String {
    let text = figure(value);
    let Some(head) = text.len().checked_sub(3).filter(|_| value.is_finite() && value >= 10_000.0) else {
        return text;
    };
    let (head, tail) = text.split_at(head);
    match head.len().checked_sub(3).filter(|at| *at > 0) {
        Some(at) => format!("{} {} {tail}", &head[..at], &head[at..]),
        None => format!("{head} {tail}"),
    }
}

/// Five digits that matter: more would be noise, and counts stay whole.
fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 10_000.0 || value.fract() == 0.0 => format!("{value:.0}"),
        size if size >= 100.0 => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read() {
        let mut results = Results::default();
        results.facts.push(("kernel".to_owned(), "Linux 6.18".to_owned()));
        let (fan, idle) = (Case::new("fan", "nchan", "sse"), Case::new("idle", "pushpin", "ws"));
        results.add(&fan, 1, "cpu", 8.125);
        results.add(&fan, 2, "cpu", 8.25);
        results.add(&fan, 2, "p99", f64::INFINITY);
        results.fail(&idle, "it ended with 1:\n\tno such file");
        let read = Results::from_tsv(&results.to_tsv()).unwrap();
        assert_eq!(read, results);
        assert_eq!(read.values(&fan, "cpu"), [8.125, 8.25]);
        assert_eq!(read.failure(&idle), Some("it ended with 1: no such file"));
        assert_eq!((read.cases("idle"), read.fact("kernel")), (vec![idle], Some("Linux 6.18")));
    }

    #[test]
    fn a_line_that_holds_no_figure_is_named() {
        assert_eq!(
            Results::from_tsv("# kernel\tLinux\nfan\tws\n"),
            Err("line 2 holds no figure: fan\tws".to_owned())
        );
    }

    #[test]
    fn people_read_three_digits_and_thousands_apart() {
        let texts = [0.123, 5.678, 1_679.0, 12_345.6, 512_530.0, 1_234_567.0, f64::INFINITY].map(digits);
        assert_eq!(texts, ["0.12", "5.68", "1679", "12 346", "512 530", "1 234 567", "never"]);
        assert_eq!(spread(&[3.0, 1.0, 2.0]), "2.00 (1.00–3.00)");
        assert_eq!((spread(&[2.0]), spread(&[])), ("2.00".to_owned(), "–".to_owned()));
    }

    #[test]
    fn digits_that_are_noise_are_not_written() {
        assert_eq!(
            [123_456.789, 234.567_89, 5.123_456, 7.0].map(number),
            ["123457", "234.57", "5.1235", "7"]
        );
    }
}
