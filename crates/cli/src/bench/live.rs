//! How a run gets on: one line that is redrawn on a terminal, and a line a second where there is none.

use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use tidewire_load::{Phase, Plan, Progress};

use super::report::{count, ms};

/// Where progress is shown: standard error, so that standard output holds nothing but the result.
pub(super) struct Live {
    terminal: bool,
    subscribers: usize,
    shown: Option<(Phase, Instant)>,
}

/// Between two lines, where there is no terminal.
const LINE: Duration = Duration::from_secs(1);
/// Between two drawings of the line, on a terminal: a figure has to stand for long enough to be read.
const FRAME: Duration = Duration::from_millis(250);
/// The bar's length, in characters.
const BAR: usize = 12;
/// A terminal may be as narrow as this, and a longer line would not be redrawn but scroll.
const COLUMNS: usize = 79;

impl Live {
    pub(super) fn new(plan: &Plan) -> Live {
        Live { terminal: std::io::stderr().is_terminal(), subscribers: plan.subscribers, shown: None }
    }

    /// Shows where the run is, if it is time for it.
    pub(super) fn show(&mut self, progress: &Progress) {
        let pause = if self.terminal { FRAME } else { LINE };
        if self.shown.is_some_and(|(phase, at)| phase == progress.phase && at.elapsed() < pause) {
            return;
        }
        self.shown = Some((progress.phase, Instant::now()));
        let mut out = std::io::stderr().lock();
        // Nobody who reads along is no reason to stop.
        let _ = if self.terminal {
            write!(out, "\r\x1b[2K{}", drawn(progress, self.subscribers)).and_then(|()| out.flush())
        } else {
            writeln!(out, "{}", line(progress, self.subscribers))
        };
    }

    /// Leaves the terminal as it was.
    pub(super) fn end(&mut self) {
        if self.terminal && self.shown.take().is_some() {
            let _ = write!(std::io::stderr().lock(), "\r\x1b[2K");
        }
    }
}

/// One line for a terminal, with a bar.
fn drawn(progress: &Progress, subscribers: usize) -> String {
    let share = match (progress.phase, progress.of) {
        (Phase::Joining, _) => progress.joined as f64 / subscribers as f64,
        (_, Some(of)) => progress.elapsed.as_secs_f64() / of.as_secs_f64(),
        (_, None) => 1.0,
    };
    let full = (share.clamp(0.0, 1.0) * BAR as f64) as usize;
    let bar = format!("{}{}", "━".repeat(full), "─".repeat(BAR - full));
    let line = format!("{:9} {bar} {}", progress.phase.name(), state(progress, subscribers));
    line.chars().take(COLUMNS).collect()
}

/// One line for a log.
fn line(progress: &Progress, subscribers: usize) -> String {
    format!("{}: {}", progress.phase.name(), state(progress, subscribers))
}

fn state(progress: &Progress, subscribers: usize) -> String {
    let mut parts = match progress.phase {
        Phase::Joining => {
            vec![format!("{} of {} joined", count(progress.joined as u64), count(subscribers as u64))]
        }
        Phase::WarmUp | Phase::Measuring => {
            let clock = progress
                .of
                .map(|of| format!("{:.0}/{:.0} s", progress.elapsed.as_secs_f64(), of.as_secs_f64()));
            let mut parts: Vec<String> = clock.into_iter().collect();
            parts.push(format!("{}/s", count(progress.deliveries_per_s as u64)));
            parts
        }
        Phase::Draining => vec![format!("{} delivered", count(progress.deliveries))],
    };
    if let Some(latency) = &progress.latency {
        parts.push(format!("p50 {}", ms(latency.p50_ms)));
        parts.push(format!("p99 {}", ms(latency.p99_ms)));
    }
    for (what, number) in [
        ("late", progress.late),
        ("cut", progress.cut),
        ("refused", progress.refused),
        ("gaps", progress.gaps),
    ] {
        if number > 0 {
            parts.push(format!("{} {what}", count(number)));
        }
    }
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use tidewire_load::measured::Quantiles;

    use super::*;

    fn progress(phase: Phase) -> Progress {
        Progress {
            phase,
            elapsed: Duration::from_secs(3),
            of: Some(Duration::from_secs(10)),
            joined: 500,
            published: 150,
            deliveries: 150_000,
            deliveries_per_s: 50_123.4,
            latency: Some(Quantiles {
                mean_ms: 0.6,
                p50_ms: 0.412,
                p99_ms: 12.3,
                p999_ms: 20.0,
                max_ms: 30.0,
            }),
            cut: 0,
            refused: 0,
            gaps: 0,
            late: 0,
        }
    }

    #[test]
    fn a_line_says_how_far_it_is_and_how_it_goes() {
        assert_eq!(
            line(&progress(Phase::Measuring), 1_000),
            "measuring: 3/10 s, 50 123/s, p50 0.41 ms, p99 12.3 ms"
        );
        let joining = Progress { latency: None, of: None, ..progress(Phase::Joining) };
        assert_eq!(line(&joining, 1_000), "joining: 500 of 1 000 joined");
    }

    #[test]
    fn what_went_wrong_is_said_at_once() {
        let troubled = Progress { cut: 2, refused: 1, ..progress(Phase::Measuring) };
        assert!(line(&troubled, 1_000).ends_with(", 2 cut, 1 refused"));
    }

    #[test]
    fn a_drawn_line_has_a_bar_and_never_wraps() {
        let drawn_line = drawn(&progress(Phase::Measuring), 1_000);
        assert!(drawn_line.starts_with("measuring ━━━───────── 3/10 s, "), "{drawn_line}");
        let troubled = Progress { cut: u64::MAX, refused: u64::MAX, ..progress(Phase::Measuring) };
        assert_eq!(drawn(&troubled, 1_000).chars().count(), COLUMNS);
    }
}
