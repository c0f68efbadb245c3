//! The comparison in a terminal of 80 columns.

use super::sheet::{self, Sheet};
use tidewire_compare::case::work_out;
use tidewire_compare::comparison::Comparison;
use tidewire_compare::numbers::{bytes, plural, time_ms};
use tidewire_compare::verdict::{Reason, Verdict, judge};

/// Of a terminal that nobody made wider.
const WIDTH: usize = 80;
/// Of the names of lines; what is left is four columns.
const NAME_WIDTH: usize = 24;

/// Everything that was measured, what follows from it, and the verdict.
pub(crate) fn draw(comparison: &Comparison) -> String {
    let mut text = about(comparison);
    for rate in comparison.rates() {
        for clients in comparison.crowds(rate) {
            text.push_str(&format!(
                "\n{}",
                table("Measured", &sheet::measured(&comparison.scene(rate, clients)))
            ));
        }
        let case = work_out(comparison, rate);
        if !case.rows.is_empty() {
            let kind =
                if case.rows.iter().all(|row| row.is_measured(&case)) { "Measured" } else { "Worked out" };
            text.push_str(&format!("\n{}", table(kind, &sheet::worked_out(&case))));
        }
        text.push_str(&format!("\n{}", verdict(&judge(comparison, rate))));
    }
    text
}

fn about(comparison: &Comparison) -> String {
    let setting = &comparison.setting;
    let server = match &setting.url {
        Some(url) => url.clone(),
        None => "a server of its own, fresh for each run".into(),
    };
    wrapped(
        &format!(
            "{server}; messages of {}; polls every {}; {} a run, {}; {}; {}",
            bytes(setting.size as f64),
            time_ms(setting.poll_interval_s * 1e3),
            plural(setting.seconds, "second"),
            plural(setting.rounds, "round"),
            setting.machine,
            setting.version
        ),
        "",
    )
}

fn table(kind: &str, sheet: &Sheet) -> String {
    let column = (WIDTH - NAME_WIDTH) / 4;
    let mut text = format!("{kind}: {}\n\n{:NAME_WIDTH$}", sheet.title, "");
    for transport in &sheet.transports {
        text.push_str(&format!("{:>column$}", transport.title()));
    }
    text.push('\n');
    for line in &sheet.lines {
        text.push_str(&format!("{:NAME_WIDTH$}", line.name));
        for cell in &line.cells {
            text.push_str(&format!("{cell:>column$}"));
        }
        text.push('\n');
    }
    if !sheet.notes.is_empty() {
        text.push('\n');
    }
    for note in &sheet.notes {
        text.push_str(&wrapped(note, ""));
    }
    text
}

fn verdict(verdict: &Verdict) -> String {
    let mut text = wrapped(&format!("Verdict, for {}: {}", verdict.scene(), verdict.headline), "");
    let mut paragraphs = |reasons: &[Reason]| {
        for Reason { about, text: words } in reasons {
            text.push_str(&format!("\n{}", wrapped(&format!("{about}: {words}"), "  ")));
        }
    };
    paragraphs(&verdict.reasons);
    paragraphs(&verdict.otherwise);
    if !verdict.unjudged.is_empty() {
        text.push_str("\nNot judged:\n");
    }
    for why in &verdict.unjudged {
        text.push_str(&wrapped(why, "  "));
    }
    text
}

/// Breaks a paragraph between words; a number keeps its unit.
fn wrapped(paragraph: &str, indent: &str) -> String {
    let (mut text, mut width) = (indent.to_owned(), indent.len());
    for (at, word) in words(paragraph).into_iter().enumerate() {
        let length = word.chars().count();
        if at > 0 && width + 1 + length > WIDTH {
            text.push_str(&format!("\n{indent}"));
            width = indent.len();
        } else if at > 0 {
            text.push(' ');
            width += 1;
        }
        text.push_str(&word);
        width += length;
    }
    text.push('\n');
    text
}

/// What is not torn apart: words, and a number with what stands after it.
fn words(paragraph: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    for word in paragraph.split(' ') {
        match words.last_mut() {
            Some(last) if last.ends_with(|char: char| char.is_ascii_digit()) => {
                last.push_str(&format!(" {word}"));
            }
            _ => words.push(word.into()),
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidewire_compare::sample::compared;

    #[test]
    fn everything_fits_a_terminal_and_what_was_measured_is_told_from_what_was_not() {
        let mut comparison = compared(&[100, 1_000]);
        comparison.runs[2].faults.lost = 3;
        let text = draw(&comparison);
        for line in text.lines() {
            assert!(line.chars().count() <= WIDTH, "{line}");
        }
        for part in [
            "Measured: 100 clients, a message a second",
            "Worked out: 10 000 clients",
            "Worked out, not measured:",
            "Verdict, for 1 000 clients, a message a second: SSE; WebSocket where clients send too.",
            "Not judged:\n  SSE with 100 clients: 3 lost",
        ] {
            let found = text.contains(part) || text.replace('\n', " ").contains(part);
            assert!(found, "{part}\n{text}");
        }
    }

    #[test]
    fn a_line_is_broken_between_words_and_not_within_a_number() {
        let long = format!("{} 10 000 clients", "word ".repeat(14).trim_end());
        let text = wrapped(&long, "  ");
        assert!(text.ends_with("\n  10 000 clients\n"), "{text}");
    }
}
