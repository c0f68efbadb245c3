//! What a table says, whether it is drawn in a terminal or on a page: transports across, figures down.

use tidewire_compare::case::{Case, Row};
use tidewire_compare::measurement::{Faults, Measurement, Spread, Transport};
use tidewire_compare::numbers::{
    bandwidth, bytes, count, list, per_second, percent, time_ms, time_us, times,
};

/// A table in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sheet {
    pub title: String,
    pub transports: Vec<Transport>,
    /// Each line's name, and one cell for each transport.
    pub lines: Vec<Line>,
    pub notes: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    pub name: &'static str,
    pub cells: Vec<String>,
}

/// What is not known, or means nothing here.
const NOTHING: &str = "–";

/// What was measured with one crowd at one rate.
pub(crate) fn measured(scene: &[&Measurement]) -> Sheet {
    let Some(first) = scene.first() else {
        return Sheet { title: String::new(), transports: Vec::new(), lines: Vec::new(), notes: Vec::new() };
    };
    let line = |name, cell: &dyn Fn(&Measurement) -> Option<String>| Line {
        name,
        cells: scene.iter().map(|run| cell(run).unwrap_or_else(|| NOTHING.into())).collect(),
    };
    let mut lines = vec![
        line("requests a second", &|run| Some(count(run.requests_per_s()))),
        line("answers without news", &|run| run.empty_share().map(percent)),
        line("bytes up, a message", &|run| run.up_per_message().map(bytes)),
        line("bytes down, a message", &|run| run.down_per_message().map(bytes)),
        line("latency, mean", &|run| Some(time_ms(run.latency?.mean_ms))),
        line("latency, p50", &|run| Some(time_ms(run.latency?.p50_ms))),
        line("latency, p99", &|run| Some(time_ms(run.latency?.p99_ms))),
        line("server CPU, a message", &|run| run.cpu_us_per_message().map(time_us)),
        line("server CPU, of a core", &|run| run.server_cores().map(percent)),
        line("memory, a client", &|run| run.memory_per_client().map(bytes)),
        line("generator, of a core", &|run| Some(percent(run.generator_busy))),
        line("messages delivered", &|run| Some(count(run.deliveries as f64))),
        line("lost", &|run| Some(count(run.faults.lost as f64))),
        line("duplicated", &|run| Some(count(run.faults.duplicated as f64))),
    ];
    if scene.iter().any(|run| run.cpu_spread.is_some()) {
        let spread = |name, of: fn(Spread) -> f64| line(name, &|run| Some(time_us(of(run.cpu_spread?))));
        let after = lines.iter().position(|line| line.name == "server CPU, a message").map_or(0, |at| at + 1);
        lines.insert(after, spread("  best round", |spread| spread.least));
        lines.insert(after + 1, spread("  worst round", |spread| spread.most));
    }
    // The rest is there to be seen when it happens.
    for (at, (name, _)) in scarce(first).into_iter().enumerate() {
        let number = |run: &Measurement| scarce(run)[at].1;
        if scene.iter().any(|run| number(run) > 0) {
            lines.push(line(name, &|run| Some(count(number(run) as f64))));
        }
    }
    let doubt =
        |run: &&Measurement| Some(format!("{} is not judged: {}.", run.transport.title(), run.doubt()?));
    Sheet {
        title: format!("{} clients, {}", count(first.clients as f64), per_second(first.rate)),
        transports: scene.iter().map(|run| run.transport).collect(),
        lines,
        notes: scene.iter().filter_map(doubt).collect(),
    }
}

/// What is shown only where it happened.
fn scarce(run: &Measurement) -> [(&'static str, u64); 6] {
    let Faults { out_of_order, corrupt, refused, cut, gaps, .. } = run.faults;
    [
        ("out of order", out_of_order),
        ("corrupt", corrupt),
        ("refused", refused),
        ("cut", cut),
        ("gaps", gaps),
        ("sent late", run.late_itself),
    ]
}

/// What a crowd would take.
pub(crate) fn worked_out(case: &Case) -> Sheet {
    let line = |name, cell: &dyn Fn(&Row) -> Option<String>| Line {
        name,
        cells: case.rows.iter().map(|row| cell(row).unwrap_or_else(|| NOTHING.into())).collect(),
    };
    let lines = vec![
        line("requests a second", &|row| Some(count(row.requests_per_s))),
        line("answers without news", &|row| row.empty_share.map(percent)),
        line("bandwidth, up", &|row| Some(bandwidth(row.up_bytes_per_s))),
        line("bandwidth, down", &|row| Some(bandwidth(row.down_bytes_per_s))),
        line("server, cores", &|row| row.cores.map(count)),
        line("server, memory", &|row| row.memory.map(bytes)),
        line("age, on average", &|row| Some(time_ms(row.age_ms))),
        line("age, p99", &|row| Some(time_ms(row.age_p99_ms))),
    ];
    Sheet {
        title: case_title(case),
        transports: case.rows.iter().map(|row| row.transport).collect(),
        lines,
        notes: basis(case),
    }
}

/// The case in one line.
pub(crate) fn case_title(case: &Case) -> String {
    format!(
        "{} clients, {}, a poll every {}",
        count(case.clients as f64),
        per_second(case.rate),
        time_ms(case.poll_interval_s * 1e3)
    )
}

/// What the case rests on: whether it was measured, by how much it was multiplied, and how far that is off.
fn basis(case: &Case) -> Vec<String> {
    let Some(first) = case.rows.first() else { return Vec::new() };
    let measured = count(first.measured_clients as f64);
    if first.is_measured(case) {
        return vec![format!("Measured with all {measured} clients: nothing is worked out.")];
    }
    let factor = times(case.clients as f64, first.measured_clients as f64);
    let mut notes = vec![format!(
        "Worked out, not measured: {measured} clients were measured, and what they took is multiplied ({factor}). Age is as it was with them, and holds only while the server has the cores."
    )];
    if case.clients > 100 * first.measured_clients {
        notes.push(
            "A factor of more than 100 gives an order of magnitude, not a figure: measure a larger crowd."
                .into(),
        );
    }
    let tried: Vec<String> = case
        .rows
        .iter()
        .filter_map(|row| {
            let off = row.tried?.off;
            let sign = if off < 0.0 { "−" } else { "+" };
            Some(format!("{sign}{} for {}", percent(off.abs()), row.transport.name()))
        })
        .collect();
    if let Some(trial) = case.rows.iter().find_map(|row| row.tried).filter(|_| !tried.is_empty()) {
        notes.push(format!(
            "Tried on what was measured, from {} to {} clients, the same rule was off in CPU by {}: what does not grow with a crowd, such as publishing, weighs more in a small one.",
            count(trial.from_clients as f64),
            count(trial.to_clients as f64),
            list(&tried)
        ));
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidewire_compare::case::work_out;
    use tidewire_compare::sample::compared;

    fn cells<'a>(sheet: &'a Sheet, name: &str) -> Vec<&'a str> {
        let line = sheet.lines.iter().find(|line| line.name == name);
        line.unwrap_or_else(|| panic!("{name}")).cells.iter().map(String::as_str).collect()
    }

    #[test]
    fn a_scene_has_a_column_for_each_transport_and_says_what_it_cannot_know() {
        let comparison = compared(&[1_000]);
        let sheet = measured(&comparison.scene(1.0, 1_000));
        assert_eq!(sheet.title, "1 000 clients, a message a second");
        assert_eq!(cells(&sheet, "requests a second"), ["200", "1 000", "0", "0"]);
        assert_eq!(cells(&sheet, "answers without news"), ["0 %", "0 %", "–", "–"]);
        assert_eq!(cells(&sheet, "latency, p99"), ["4.95 s", "9 ms", "4 ms", "4 ms"]);
        assert_eq!(cells(&sheet, "lost"), ["0", "0", "0", "0"]);
        assert!(sheet.notes.is_empty() && sheet.lines.iter().all(|line| line.name != "gaps"));
    }

    #[test]
    fn several_rounds_show_how_far_they_lay_apart() {
        let mut comparison = compared(&[1_000]);
        comparison.runs[2].cpu_spread = Some(Spread { least: 5.0, most: 7.0 });
        let sheet = measured(&comparison.scene(1.0, 1_000));
        assert_eq!(cells(&sheet, "  best round"), ["–", "–", "5 µs", "–"]);
        assert_eq!(cells(&sheet, "  worst round"), ["–", "–", "7 µs", "–"]);
    }

    #[test]
    fn whatever_went_wrong_is_shown_beside_what_went_well() {
        let mut comparison = compared(&[1_000]);
        comparison.runs[1].faults.gaps = 2;
        comparison.runs[2].faults.duplicated = 5;
        let sheet = measured(&comparison.scene(1.0, 1_000));
        assert_eq!(cells(&sheet, "gaps"), ["0", "2", "0", "0"]);
        assert_eq!(cells(&sheet, "duplicated"), ["0", "0", "5", "0"]);
        assert_eq!(
            sheet.notes,
            ["Long polling is not judged: 2 gaps announced.", "SSE is not judged: 5 duplicated."]
        );
    }

    #[test]
    fn what_was_worked_out_says_from_what_and_how_far_the_rule_was_off() {
        let mut comparison = compared(&[100, 1_000]);
        comparison.runs[0].server.as_mut().unwrap().cpu_s *= 1.25;
        let small = worked_out(&work_out(&compared(&[20]), 1.0));
        assert!(small.notes[1].contains("order of magnitude"), "{}", small.notes[1]);
        let sheet = worked_out(&work_out(&comparison, 1.0));
        assert_eq!(sheet.title, "10 000 clients, a message a second, a poll every 5 s");
        assert_eq!(cells(&sheet, "requests a second"), ["2 000", "10 000", "0", "0"]);
        assert_eq!(cells(&sheet, "age, on average")[0], "2.5 s");
        assert!(sheet.notes[0].starts_with("Worked out, not measured: 1 000 clients were measured"));
        assert!(sheet.notes[1].contains("+25 % for short polling"), "{}", sheet.notes[1]);
    }

    #[test]
    fn what_was_measured_is_never_called_worked_out() {
        let mut comparison = compared(&[100, 1_000]);
        comparison.setting.crowd = 1_000;
        let sheet = worked_out(&work_out(&comparison, 1.0));
        assert_eq!(sheet.notes, ["Measured with all 1 000 clients: nothing is worked out."]);
    }
}
