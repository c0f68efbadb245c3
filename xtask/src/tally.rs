//! Counting: what each runner says of itself at its end, summed to `N passed, N failed`.

use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign};

/// Tests that passed and failed. Shown as the line that CI reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Tests that passed.
    pub passed: u64,
    /// Tests that failed, or could not be run to an end.
    pub failed: u64,
}

impl Tally {
    /// Reads the closing lines of cargo test, node's test runner, pytest and our own programs out of `output`.
    ///
    /// A program that counts nothing is one check, as its exit status says; one that failed in another way than by a
    /// failed test (it did not compile, it crashed) is one failure more.
    pub fn read(output: &str, succeeded: bool) -> Tally {
        let mut tally = Tally::default();
        for line in output.lines() {
            tally += closing_line(line.trim()).unwrap_or_default();
        }
        if succeeded && tally == Tally::default() {
            tally.passed = 1;
        }
        if !succeeded && tally.failed == 0 {
            tally.failed = 1;
        }
        tally
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)
    }
}

impl Add for Tally {
    type Output = Tally;

    fn add(mut self, other: Tally) -> Tally {
        self += other;
        self
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Tally) {
        self.passed += other.passed;
        self.failed += other.failed;
    }
}

impl Sum for Tally {
    fn sum<I: Iterator<Item = Tally>>(tallies: I) -> Tally {
        tallies.fold(Tally::default(), Tally::add)
    }
}

/// What a line counts, if it is a runner's closing line:
///
/// ```text
/// test result: ok. 12 passed; 0 failed; 1 ignored; ...     cargo test
/// ℹ pass 12                                                node --test, and `# pass 12` in its TAP form
/// 2 failed, 12 passed, 1 error in 3.21s                    pytest
/// 12 passed, 0 failed                                      our own
/// ```
fn closing_line(line: &str) -> Option<Tally> {
    if let Some(result) = line.strip_prefix("test result: ") {
        let (_, counts) = result.split_once(". ")?;
        return Some(counts.split("; ").filter_map(count_before_word).fold(Tally::default(), add));
    }
    if let Some(count) = line.strip_prefix("ℹ ").or_else(|| line.strip_prefix("# ")) {
        let (word, number) = count.split_once(' ')?;
        return Some(add(Tally::default(), (number.parse().ok()?, word)));
    }
    let counts = line.trim_matches(['=', ' ']);
    let counts = counts.split_once(" in ").map_or(counts, |(counts, _)| counts);
    // Prose may hold numbers too: only a line of nothing but counts is one.
    let known = |(_, word): &(u64, &str)| !word.contains(' ');
    let counts: Option<Vec<_>> =
        counts.split(", ").map(|part| count_before_word(part).filter(known)).collect();
    Some(counts?.into_iter().fold(Tally::default(), add))
}

fn count_before_word(part: &str) -> Option<(u64, &str)> {
    let (number, word) = part.trim().split_once(' ')?;
    Some((number.parse().ok()?, word))
}

fn add(mut tally: Tally, (number, word): (u64, &str)) -> Tally {
    match word {
        "passed" | "pass" => tally.passed += number,
        "failed" | "fail" | "cancelled" | "error" | "errors" => tally.failed += number,
        _ => {}
    }
    tally
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(output: &str, succeeded: bool, passed: u64, failed: u64) {
        assert_eq!(Tally::read(output, succeeded), Tally { passed, failed }, "{output}");
    }

    #[test]
    fn every_runner_is_understood() {
        let cargo = "running 2 tests\n\ntest result: ok. 2 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s\n\
                     test result: FAILED. 3 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s\n";
        check(cargo, false, 5, 1);
        check(
            "ℹ tests 14\nℹ suites 0\nℹ pass 12\nℹ fail 1\nℹ cancelled 1\nℹ skipped 0\nℹ duration_ms 12.5\n",
            false,
            12,
            2,
        );
        check("# tests 2\n# pass 2\n# fail 0\n", true, 2, 0);
        check("2 failed, 300 passed, 1 skipped, 1 error in 12.34s\n", false, 300, 3);
        check("======= 300 passed in 72.10s (0:01:12) =======", true, 300, 0);
        check("517 cases: 9 non-strict, 282 passed, 216 unimplemented\n282 passed, 0 failed\n", true, 282, 0);
    }

    #[test]
    fn a_program_that_counts_nothing_is_one_check() {
        check("warning: something 3 passed by\n", true, 1, 0);
        check("", false, 0, 1);
    }

    #[test]
    fn a_crash_after_passing_tests_is_a_failure() {
        check("test result: ok. 9 passed; 0 failed; 0 ignored\nerror: could not compile\n", false, 9, 1);
    }
}
