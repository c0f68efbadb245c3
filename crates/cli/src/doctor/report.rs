//! What was found, for people at 80 columns and, as one JSON object, for scripts.

use std::io::IsTerminal as _;
use std::time::Duration;

use serde_json::{Value, json};

use crate::exit::Failure;
use crate::show::{plain, plain_json};

use super::finding::{Code, Finding, Level, Outcome, Verdict, findings};
use super::fronts::Fronts;
use super::remedy;
use super::route::{seconds, shown};

/// Columns that are filled.
const WIDTH: usize = 78;
/// Where the words of a check begin.
const WORDS_AT: usize = 20;
/// Where the words about a finding begin.
const ABOUT_AT: usize = 9;

/// All that was seen.
pub(crate) struct Report {
    pub url: String,
    /// The channel that was used, once one was.
    pub channel: Option<String>,
    pub origin: Option<String>,
    pub fronts: Fronts,
    pub verdicts: Vec<Verdict>,
    pub took: Duration,
}

impl Report {
    /// How the command ends: 75 where nobody was reached, 1 where anything is wrong.
    pub(crate) fn outcome(&self) -> Result<(), Failure> {
        let findings = findings(&self.verdicts);
        if let Some(lost) =
            findings.iter().find(|finding| matches!(finding.code, Code::NameUnknown | Code::Unreachable))
        {
            return Err(Failure::TryAgain(format!("{}: {}", shown(&self.url), lost.code.title())));
        }
        match self.count() {
            (0, 0) => Ok(()),
            (problems, warnings) => Err(Failure::Runtime(counted(problems, warnings))),
        }
    }

    fn count(&self) -> (usize, usize) {
        let findings = findings(&self.verdicts);
        let problems = findings.iter().filter(|finding| finding.code.level() == Level::Problem).count();
        (problems, findings.len() - problems)
    }

    /// For people.
    pub(crate) fn text(&self) -> String {
        let has_colour = std::io::stdout().is_terminal()
            && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
            && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
        self.drawn(Ink { has_colour })
    }

    fn drawn(&self, ink: Ink) -> String {
        let mut text = format!("{}\n", ink.bold(&format!("tidewire doctor {}", shown(&self.url))));
        if let Some(channel) = &self.channel {
            text.push_str(&format!("on the channel {}, in {}\n", shown(channel), seconds(self.took)));
        }
        text.push('\n');
        for verdict in &self.verdicts {
            text.push_str(&line(verdict, ink));
        }
        for finding in findings(&self.verdicts) {
            text.push('\n');
            text.push_str(&self.explained(finding, ink));
        }
        text.push('\n');
        match self.count() {
            (0, 0) => text.push_str(&ink.good("Nothing is wrong on this way.")),
            (problems, warnings) => {
                text.push_str(&ink.bold(&format!("{}.", counted(problems, warnings))));
                text.push_str(" `tidewire proxy-config` prints whole configurations.");
            }
        }
        text.push('\n');
        text
    }

    fn explained(&self, finding: &Finding, ink: Ink) -> String {
        let Finding { code, seen } = finding;
        let gap = WIDTH.saturating_sub(2 + code.title().chars().count() + code.name().len()).max(2);
        let mut text = format!(
            "{} {}{}{}\n",
            ink.mark(code.level()),
            ink.bold(code.title()),
            " ".repeat(gap),
            code.name()
        );
        let mut about = |what: &str, words: &str| text.push_str(&paragraph(what, words));
        about("seen", seen);
        about("means", code.means());
        about("where", &self.place(*code));
        let changes = remedy::changes(*code, &self.fronts, self.origin.as_deref());
        for (at, change) in changes.iter().enumerate() {
            let what = if at == 0 { "change" } else { "or" };
            if change.is_words {
                text.push_str(&paragraph(what, &format!("{}: {}", change.place, change.lines)));
                continue;
            }
            text.push_str(&paragraph(what, &format!("{}:", change.place)));
            let indent = " ".repeat(ABOUT_AT);
            text.push_str(&format!("{indent}```\n"));
            for line in change.lines.lines() {
                text.push_str(format!("{indent}{line}").trim_end());
                text.push('\n');
            }
            text.push_str(&format!("{indent}```\n"));
        }
        text
    }

    /// The box, as far as it is known.
    fn place(&self, code: Code) -> String {
        let words = code.place().words();
        match self.fronts.words() {
            Some(front) if !remedy::is_elsewhere(code) && words.contains("proxy") => {
                format!("{words}; {front} shows itself")
            }
            _ => words.to_owned(),
        }
    }

    /// For scripts. Codes, levels and the names of fields are stable; words are not.
    pub(crate) fn json(&self) -> String {
        let checks: Vec<Value> = self.verdicts.iter().map(check).collect();
        let findings: Vec<Value> = findings(&self.verdicts)
            .into_iter()
            .map(|Finding { code, seen }| {
                json!({
                    "code": code,
                    "level": code.level(),
                    "title": code.title(),
                    "seen": seen,
                    "means": code.means(),
                    "where": self.place(*code),
                    "changes": remedy::changes(*code, &self.fronts, self.origin.as_deref()),
                })
            })
            .collect();
        let report = json!({
            "url": self.url,
            "channel": self.channel,
            "ok": findings.is_empty(),
            "front": self.fronts.said,
            "took_ms": u64::try_from(self.took.as_millis()).unwrap_or(u64::MAX),
            "checks": checks,
            "findings": findings,
        });
        format!("{}\n", plain_json(&report.to_string()))
    }
}

fn check(verdict: &Verdict) -> Value {
    let (state, words) = match &verdict.outcome {
        Outcome::Passed(words) => ("passed", words.as_str()),
        Outcome::Told(words) => ("told", words.as_str()),
        Outcome::LeftOut(words) => ("left_out", words.as_str()),
        Outcome::Wrong(findings) => ("wrong", findings.first().map_or("", |finding| finding.seen.as_str())),
    };
    json!({ "check": verdict.check, "state": state, "words": words })
}

fn counted(problems: usize, warnings: usize) -> String {
    let counted = |count: usize, what: &str| match count {
        0 => None,
        1 => Some(format!("1 {what}")),
        count => Some(format!("{count} {what}s")),
    };
    let both = [counted(problems, "problem"), counted(warnings, "warning")];
    both.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn line(verdict: &Verdict, ink: Ink) -> String {
    let (mark, words) = match &verdict.outcome {
        Outcome::Passed(words) => (ink.good("✓"), words.clone()),
        Outcome::Told(words) => ("·".to_owned(), words.clone()),
        Outcome::LeftOut(why) => ("–".to_owned(), format!("left out: {why}")),
        Outcome::Wrong(findings) => {
            let worst = findings.iter().map(|finding| finding.code.level()).max().unwrap_or(Level::Warning);
            let titles: Vec<&str> = findings.iter().map(|finding| finding.code.title()).collect();
            (ink.mark(worst), titles.join("; "))
        }
    };
    let mut text = String::new();
    for (at, line) in wrapped(&words, WIDTH - WORDS_AT).into_iter().enumerate() {
        if at == 0 {
            text.push_str(&format!("{mark} {:<width$}{line}\n", verdict.check, width = WORDS_AT - 2));
        } else {
            text.push_str(&format!("{}{line}\n", " ".repeat(WORDS_AT)));
        }
    }
    text
}

fn paragraph(what: &str, words: &str) -> String {
    let mut text = String::new();
    for (at, line) in wrapped(words, WIDTH - ABOUT_AT).into_iter().enumerate() {
        let what = if at == 0 { what } else { "" };
        text.push_str(format!("  {what:<width$}{line}", width = ABOUT_AT - 2).trim_end());
        text.push('\n');
    }
    text
}

/// Lines of at most `width` characters, broken at spaces where there are any.
fn wrapped(words: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    // Servers, proxies and certificates are quoted in it.
    for word in plain(words).split_whitespace() {
        let last = lines.last_mut().expect("there is one from the beginning");
        let length = last.chars().count();
        if length > 0 && length + 1 + word.chars().count() > width {
            lines.push(word.to_owned());
        } else {
            if length > 0 {
                last.push(' ');
            }
            last.push_str(word);
        }
    }
    lines
}

/// Colours, where there are any.
#[derive(Clone, Copy)]
struct Ink {
    has_colour: bool,
}

impl Ink {
    fn of(self, code: &str, text: &str) -> String {
        if self.has_colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    fn bold(self, text: &str) -> String {
        self.of("1", text)
    }

    fn good(self, text: &str) -> String {
        self.of("32", text)
    }

    fn mark(self, level: Level) -> String {
        match level {
            Level::Problem => self.of("31", "✗"),
            Level::Warning => self.of("33", "!"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(verdicts: Vec<Verdict>) -> Report {
        Report {
            url: "https://rt.example".into(),
            channel: Some("doctor:1".into()),
            origin: None,
            fronts: Fronts::default(),
            verdicts,
            took: Duration::from_secs(3),
        }
    }

    #[test]
    fn whatever_is_found_fits_into_80_columns() {
        let seen = "x".repeat(30) + &" and so on".repeat(20);
        for code in Code::EVERY {
            let text = report(vec![Verdict::wrong("events pass", *code, seen.clone())])
                .drawn(Ink { has_colour: false });
            for line in text.lines() {
                assert!(line.chars().count() <= 80, "{code:?}: {line}");
            }
        }
        for proxy in [super::super::fronts::Proxy::Envoy, super::super::fronts::Proxy::Traefik] {
            for code in Code::EVERY {
                let fronts = Fronts { proxies: vec![proxy], ..Fronts::default() };
                let report = Report { fronts, ..report(vec![Verdict::wrong("x", *code, "seen")]) };
                assert!(
                    report.drawn(Ink { has_colour: false }).lines().all(|line| line.chars().count() <= 80),
                    "{code:?}"
                );
            }
        }
    }

    #[test]
    fn problems_come_before_warnings_and_either_ends_with_1() {
        let warned = report(vec![Verdict::wrong("a", Code::ClockProxy, "seen")]);
        assert_eq!(warned.outcome(), Err(Failure::Runtime("1 warning".into())));
        let both = report(vec![
            Verdict::wrong("a", Code::ClockProxy, "seen"),
            Verdict::wrong("b", Code::StreamCut, "seen"),
            Verdict::passed("c", "well"),
        ]);
        assert_eq!(both.outcome(), Err(Failure::Runtime("1 problem, 1 warning".into())));
        let order: Vec<Code> = findings(&both.verdicts).iter().map(|finding| finding.code).collect();
        assert_eq!(order, [Code::StreamCut, Code::ClockProxy]);
        let unreached = report(vec![Verdict::wrong("a", Code::Unreachable, "refused")]);
        assert!(matches!(unreached.outcome(), Err(Failure::TryAgain(_))));
        assert_eq!(report(vec![Verdict::told("a", "x"), Verdict::left_out("b", "y")]).outcome(), Ok(()));
    }

    #[test]
    fn scripts_get_codes_and_lines_and_terminals_without_colours_get_none() {
        let report = report(vec![Verdict::wrong("quiet stream", Code::StreamCut, "cut after 5.0 s")]);
        let json: Value = serde_json::from_str(&report.json()).unwrap();
        assert_eq!(json["findings"][0]["code"], "stream_cut");
        assert_eq!(json["findings"][0]["changes"][0]["in"], "nginx");
        assert_eq!(json["ok"], false);
        assert!(!report.drawn(Ink { has_colour: false }).contains('\x1b'));
        assert!(report.drawn(Ink { has_colour: true }).contains("\x1b[31m✗"));
    }

    #[test]
    fn lines_break_at_spaces_and_long_words_stay_whole() {
        assert_eq!(wrapped("a bb ccc", 4), ["a bb", "ccc"]);
        assert_eq!(wrapped("abcdefgh i", 4), ["abcdefgh", "i"]);
        assert_eq!(wrapped("", 4), [""]);
    }

    #[test]
    fn what_a_server_says_moves_no_cursor() {
        let text = report(vec![Verdict::wrong("a", Code::NotTidewire, "200 \x1b[2J\u{202e}x")])
            .drawn(Ink { has_colour: false });
        assert!(
            text.chars().all(|char| (char == '\n' || !char.is_control()) && char != '\u{202e}'),
            "{text:?}"
        );
    }
}
