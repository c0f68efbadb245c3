//! The document: what was measured on what, a table and charts for each scenario, where we lost, what went wrong.

use std::fmt::Write;

use crate::peers::chart::{self, Bar, Tone};
use crate::peers::figure::{
    BUSY_PERCENT, Better, Figure, GENERATOR, OTHERS, OTHERS_PERCENT, SCENARIOS, Scenario,
};
use crate::peers::results::{Case, Results, digits, spread};
use crate::peers::roster::{self, FLOOR, OURS};
use crate::peers::scenario::WRONG;
use crate::report::median;

/// Around what people have written, which outlives the next run.
const REMARKS: [&str; 2] =
    ["<!-- remarks: kept when this page is written again -->", "<!-- end of remarks -->"];

/// What people have written into the document, to be handed to [`write()`].
pub fn remarks(document: &str) -> String {
    let after = document.split_once(REMARKS[0]).and_then(|(_, after)| after.split_once(REMARKS[1]));
    after.map_or(String::new(), |(remarks, _)| remarks.trim().to_owned())
}

/// The whole document.
pub fn write(results: &Results, remarks: &str) -> String {
    let mut text = String::from(INTRODUCTION);
    write_facts(&mut text, results);
    for scenario in &SCENARIOS {
        write_scenario(&mut text, results, scenario);
    }
    write_losses(&mut text, results);
    let _ = writeln!(text, "{}\n\n{remarks}\n\n{}\n", REMARKS[0], REMARKS[1]);
    write_faults(&mut text, results);
    text
}

/// Every chart, with the name of its file.
pub fn charts(results: &Results) -> Vec<(String, String)> {
    let mut charts = Vec::new();
    for scenario in &SCENARIOS {
        for column in scenario.figures.iter().filter(|column| column.is_drawn) {
            let cases = sorted(results, scenario, column);
            if !cases.is_empty() {
                let bars: Vec<Bar> = cases.iter().map(|case| bar(results, case, column)).collect();
                let title = format!("{}: {}", scenario.title, column.title);
                charts.push((scenario.chart(column), chart::draw(&title, note(column.better), &bars)));
            }
        }
    }
    charts
}

const INTRODUCTION: &str = "\
# Tidewire beside its peers

This page is written by a program, from figures that it measured in one run: `cargo xtask bench peers` installs the peers,
starts each of them in turn, does the same to all, and writes the page again ([how](../benches/README.md)). The raw figures
of every round are in [benchmarks.tsv](benchmarks.tsv), the peers' programs and configurations in
[benches/peers](../benches/peers).

Machines differ and drift. What can be compared is one row with another of the same table, never with a figure of another
machine or another day.

- **Place.** The server has core 0 to itself, the generator core 1. Everybody has a fresh process in every round, and rounds
  alternate: each peer once, then each peer again.
- **CPU** is that of all threads and processes of the server, from the kernel's own account (`schedstat`).
- **A figure** is the median of the rounds, with the least and the most in brackets where it is what the table is about. A
  whisker in a chart is the same.
- **Peers differ in what they do.** The floor, axum's `broadcast`, `ws`, uWebSockets, Express and better-sse keep nothing and
  tell nobody what was missed; nchan and Tidewire keep a history and give every message an id to resume from.
- **Pushpin's subscribers** connect one after another where they are to hear messages. Of many that came at once, it was
  seen to accept some whom it then never sent anything.

";

fn write_facts(text: &mut String, results: &Results) {
    let fact = |name| results.fact(name).unwrap_or("unknown");
    let _ = writeln!(text, "| machine | |\n|---|---|");
    for (title, name) in [
        ("measured", "date"),
        ("processor", "cpu"),
        ("memory", "memory"),
        ("kernel", "kernel"),
        ("system", "system"),
        ("compiler", "rust"),
        ("run", "run"),
    ] {
        let _ = writeln!(text, "| {title} | {} |", fact(name));
    }
    let _ = writeln!(text, "\n| who | version | set up |\n|---|---|---|");
    for peer in roster::PEERS.iter().filter(|peer| takes_part(results, peer.name)) {
        let _ = writeln!(text, "| {} | {} | {} |", peer.title, fact(peer.name), peer.setup);
    }
    let loud = loudest(results);
    if loud > OTHERS_PERCENT {
        let _ = writeln!(
            text,
            "\n**The machine was not quiet**: others took up to {loud:.0} % of a core while a figure was taken. Compare nothing here; \
             measure again."
        );
    }
}

fn write_scenario(text: &mut String, results: &Results, scenario: &Scenario) {
    let cases = results.cases(scenario.name);
    let Some(first) = scenario.figures.first().filter(|_| !cases.is_empty()) else { return };
    let _ = writeln!(text, "\n## {}\n\n{}\n", scenario.title, scenario.story);
    for column in scenario.figures.iter().filter(|column| column.is_drawn) {
        let (title, file) = (column.title, scenario.chart(column));
        let _ = writeln!(text, "![{}: {title}](benchmarks/{})\n", scenario.title, file.replace(' ', "%20"));
    }
    let titles: Vec<&str> = scenario.figures.iter().skip(1).map(|column| column.title).collect();
    let sorted = sorted(results, scenario, first);
    // Where the floor is nothing, or was not measured, nothing is a multiple of it.
    let has_ratio = sorted.iter().any(|case| floor_ratio(results, case, first).is_some());
    let ratio_title = if has_ratio { "× floor | " } else { "" };
    let _ = writeln!(text, "| | | {} | {ratio_title}{} |", first.title, titles.join(" | "));
    let _ = writeln!(text, "|---|---|{}", "--:|".repeat(scenario.figures.len() + usize::from(has_ratio)));
    let mut has_busy = false;
    for case in sorted {
        let values = results.values(&case, first.name);
        let busy = median(&results.values(&case, GENERATOR)).is_some_and(|busy| busy > BUSY_PERCENT);
        let is_busy = busy && first.better == Better::More;
        has_busy |= is_busy;
        let mut cells = vec![format!("{}{}", spread(&values), if is_busy { " *" } else { "" })];
        if has_ratio {
            cells.push(floor_ratio(results, &case, first).unwrap_or("–".to_owned()));
        }
        for column in scenario.figures.iter().skip(1) {
            cells.push(median(&results.values(&case, column.name)).map_or("–".to_owned(), digits));
        }
        let title = title(&case);
        let title = if case.peer.starts_with(OURS) { format!("**{title}**") } else { title.to_owned() };
        let _ = writeln!(text, "| {title} | {} | {} |", transport(&case), cells.join(" | "));
    }
    if has_busy {
        let _ = writeln!(
            text,
            "\n\\* The generator's core was busier than {BUSY_PERCENT:.0} %: the rate is the generator's, and the server could do more."
        );
    }
    for case in cases {
        if let Some(reason) = results.failure(&case) {
            // In one round, or in all.
            let what =
                if results.values(&case, first.name).is_empty() { "not measured" } else { "not every round" };
            let _ = writeln!(text, "\n{}, {}: {what}: {reason}.", title(&case), transport(&case));
        }
    }
}

/// A figure in which somebody was better than Tidewire.
struct Loss {
    figure: String,
    transport: &'static str,
    ours: String,
    winner: &'static str,
    theirs: String,
    by: String,
}

fn write_losses(text: &mut String, results: &Results) {
    let losses = losses(results);
    let _ = writeln!(text, "\n## Where we lost\n");
    if losses.is_empty() {
        let _ = writeln!(
            text,
            "In this run nobody was ahead of Tidewire in any figure, over the same transport.\n"
        );
        return;
    }
    let _ = writeln!(
        text,
        "Every figure in which anybody was ahead of Tidewire over the same transport, the floor included.\n\n\
         | figure | | Tidewire | ahead | theirs | by |\n|---|---|--:|---|--:|--:|"
    );
    for Loss { figure, transport, ours, winner, theirs, by } in losses {
        let _ = writeln!(text, "| {figure} | {transport} | {ours} | {winner} | {theirs} | {by} |");
    }
    text.push('\n');
}

fn losses(results: &Results) -> Vec<Loss> {
    let mut losses = Vec::new();
    for scenario in &SCENARIOS {
        for column in scenario.figures.iter().filter(|column| column.better != Better::Neither) {
            let cases = sorted(results, scenario, column);
            for ours in cases.iter().filter(|case| case.peer == OURS) {
                let rivals = cases
                    .iter()
                    .filter(|case| case.transport == ours.transport && !case.peer.starts_with(OURS));
                losses.extend(rivals.filter_map(|rival| loss(results, scenario, column, ours, rival)));
            }
        }
    }
    losses
}

fn loss(results: &Results, scenario: &Scenario, column: &Figure, ours: &Case, rival: &Case) -> Option<Loss> {
    let (mine, theirs) = (results.values(ours, column.name), results.values(rival, column.name));
    let (my_median, their_median) = (median(&mine)?, median(&theirs)?);
    if !column.better.prefers(their_median, my_median) {
        return None;
    }
    // Of the rounds, none of theirs was worse than any of ours, or it is no more than noise.
    let is_clear = theirs.iter().all(|theirs| mine.iter().all(|mine| column.better.prefers(*theirs, *mine)));
    let by = 100.0 * (my_median - their_median).abs() / my_median.abs();
    Some(Loss {
        figure: format!("{}: {}", scenario.name, column.title),
        transport: transport(ours),
        ours: digits(my_median),
        winner: title(rival),
        theirs: digits(their_median),
        by: if is_clear { format!("{by:.0} %") } else { format!("{by:.0} %, within the spread") },
    })
}

fn write_faults(text: &mut String, results: &Results) {
    let _ = writeln!(
        text,
        "## What went wrong\n\nEvery delivery of every run is held to a ledger: each message once, in one order for everybody, none \
         missing, to the last byte.\n"
    );
    let mut rows = String::new();
    for scenario in &SCENARIOS {
        for case in results.cases(scenario.name) {
            let counts =
                WRONG.map(|name| results.values(&case, name).iter().fold(0.0, |sum, count| sum + count));
            if counts.iter().any(|count| *count > 0.0) {
                let counts = counts.map(|count| format!("{count:.0}")).join(" | ");
                let _ = writeln!(
                    rows,
                    "| {} | {} | {} | {counts} |",
                    scenario.name,
                    title(&case),
                    transport(&case)
                );
            }
        }
    }
    if rows.is_empty() {
        let _ = writeln!(text, "Nothing, with anybody.");
    } else {
        let _ =
            writeln!(text, "| | | | {} |\n|---|---|---|{}", WRONG.join(" | "), "--:|".repeat(WRONG.len()));
        text.push_str(&rows);
    }
}

/// The cases that have a figure, the best first.
fn sorted(results: &Results, scenario: &Scenario, column: &Figure) -> Vec<Case> {
    let cases = results.cases(scenario.name).into_iter();
    let mut cases: Vec<(f64, Case)> =
        cases.filter_map(|case| Some((median(&results.values(&case, column.name))?, case))).collect();
    cases.sort_by(|(one, _), (other, _)| match column.better {
        Better::More => other.total_cmp(one),
        Better::Less | Better::Neither => one.total_cmp(other),
    });
    cases.into_iter().map(|(_, case)| case).collect()
}

/// The median as a multiple of the floor's over the same transport.
fn floor_ratio(results: &Results, case: &Case, column: &Figure) -> Option<String> {
    let floor = Case::new(&case.scenario, FLOOR, &case.transport);
    let of = |case: &Case| median(&results.values(case, column.name));
    let (value, floor) = (of(case)?, of(&floor)?);
    // Beside next to nothing, a ratio is one of noise.
    (floor > 0.1).then(|| format!("{:.2}", value / floor))
}

fn bar(results: &Results, case: &Case, column: &Figure) -> Bar {
    let tone = match case.peer.as_str() {
        FLOOR => Tone::Floor,
        peer if peer.starts_with(OURS) => Tone::Ours,
        _ => Tone::Peer,
    };
    let label = format!("{} · {}", title(case), transport(case));
    Bar { label, values: results.values(case, column.name), tone }
}

fn title(case: &Case) -> &'static str {
    roster::peer(&case.peer).map_or("somebody unknown", |peer| peer.title)
}

fn transport(case: &Case) -> &'static str {
    if case.transport == "sse" { "SSE" } else { "WebSocket" }
}

fn note(better: Better) -> &'static str {
    match better {
        Better::More => "more is better; the median of the rounds, and their range",
        Better::Less | Better::Neither => "less is better; the median of the rounds, and their range",
    }
}

fn takes_part(results: &Results, peer: &str) -> bool {
    let mut cases = SCENARIOS.iter().flat_map(|scenario| results.cases(scenario.name));
    cases.any(|case| case.peer == peer)
}

/// The most that others took from a core, as the median of a case.
fn loudest(results: &Results) -> f64 {
    let cases = SCENARIOS.iter().flat_map(|scenario| results.cases(scenario.name));
    cases.filter_map(|case| median(&results.values(&case, OTHERS))).fold(0.0, f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Figures of `fan` over SSE: a peer, and its CPU of three rounds.
    fn sample(peers: &[(&str, [f64; 3])]) -> Results {
        let mut results = Results::default();
        for (peer, values) in peers {
            for (round, value) in values.iter().enumerate() {
                results.add(&Case::new("fan", peer, "sse"), round + 1, "cpu", *value);
            }
        }
        results
    }

    fn line<'t>(text: &'t str, part: &str) -> &'t str {
        text.lines().find(|line| line.contains(part)).unwrap_or_else(|| panic!("no {part} in\n{text}"))
    }

    #[test]
    fn a_table_has_the_best_first_and_a_multiple_of_the_floor() {
        let results =
            sample(&[("nchan", [9.0, 8.0, 10.0]), ("floor", [6.0, 6.0, 6.0]), ("tidewire", [3.0, 4.5, 6.0])]);
        let text = write(&results, "");
        assert!(line(&text, "**Tidewire**").starts_with("| **Tidewire** | SSE | 4.50 (3.00–6.00) | 0.75 |"));
        assert!(line(&text, "| nchan | SSE").contains("| 9.00 (8.00–10.0) | 1.50 |"));
        let at = |name: &str| text.find(&format!("| {name} | SSE |")).unwrap();
        assert!(at("**Tidewire**") < at("the floor") && at("the floor") < at("nchan"));
    }

    #[test]
    fn whoever_was_ahead_is_named_and_noise_is_called_noise() {
        let clear = sample(&[("tidewire", [8.0, 8.0, 8.0]), ("nchan", [4.0, 4.0, 4.0])]);
        let expected = "| fan: CPU seconds per million deliveries | SSE | 8.00 | nchan | 4.00 | 50 % |";
        assert_eq!(line(&write(&clear, ""), "| fan:"), expected);
        let noise = sample(&[("tidewire", [8.0, 7.0, 9.0]), ("nchan", [7.5, 7.5, 7.5])]);
        assert!(line(&write(&noise, ""), "| fan:").ends_with("6 %, within the spread |"));
    }

    #[test]
    fn a_run_that_nobody_else_won_says_so() {
        let results = sample(&[("tidewire", [4.0; 3]), ("tidewire-epoll", [3.0; 3]), ("nchan", [8.0; 3])]);
        assert!(write(&results, "").contains("nobody was ahead of Tidewire"));
    }

    #[test]
    fn what_was_not_measured_says_why() {
        let mut results = sample(&[("tidewire", [4.0; 3])]);
        results.fail(&Case::new("fan", "pushpin", "ws"), "does not start: no such program");
        let text = write(&results, "");
        assert!(text.contains("Pushpin, WebSocket: not measured: does not start: no such program."));
    }

    #[test]
    fn a_loss_of_any_peer_is_listed_and_none_is_said() {
        let mut results = sample(&[("nchan", [4.0; 3])]);
        assert!(write(&results, "").contains("Nothing, with anybody."));
        results.add(&Case::new("fan", "nchan", "sse"), 2, "lost", 3.0);
        assert!(write(&results, "").contains("| fan | nchan | SSE | 3 | 0 |"));
    }

    #[test]
    fn what_people_wrote_outlives_the_next_run() {
        let results = sample(&[("tidewire", [4.0; 3])]);
        let text = write(&results, "The profile says: copies.");
        assert_eq!(remarks(&text), "The profile says: copies.");
        assert_eq!(write(&results, &remarks(&text)), text);
        assert_eq!(remarks("no document yet"), "");
    }

    #[test]
    fn a_machine_that_was_not_quiet_is_announced() {
        let mut results = sample(&[("tidewire", [4.0; 3])]);
        results.add(&Case::new("fan", "tidewire", "sse"), 1, OTHERS, 31.0);
        assert!(write(&results, "").contains("**The machine was not quiet**: others took up to 31 %"));
    }

    #[test]
    fn a_chart_is_drawn_for_what_was_measured() {
        let charts = charts(&sample(&[("tidewire", [4.0; 3]), ("nchan", [8.0; 3])]));
        assert_eq!(charts.len(), 1);
        let (name, picture) = &charts[0];
        assert_eq!(name, "fan-cpu.svg");
        assert!(picture.contains("Tidewire · SSE") && picture.contains("nchan · SSE"));
    }
}
