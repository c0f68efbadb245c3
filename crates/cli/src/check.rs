//! `tidewire check`: everything that is wrong with the configuration, and with `--prod` what would be wrong with it on
//! the internet (security rule S54).

use serde::Serialize;
use tidewire_server::config::place::Place;
use tidewire_server::config::{ConfigError, Settings, production};

use crate::args::Check;
use crate::exit::Failure;
use crate::serve;
use crate::show::print;

pub(crate) fn run(args: &Check) -> Result<(), Failure> {
    let sources = serve::sources(&args.serve)?;
    let file = sources.file.as_ref().map(|(name, _)| name.clone());
    let (resolved, problems) = sources.look(Settings::for_this_machine());
    let mut findings = Findings::default();
    findings.problems.extend(problems.into_iter().map(Finding::of));
    findings.warnings.extend(resolved.warnings.iter().cloned().map(Finding::of));
    if let Err(problem) = serve::log_filter(&resolved.settings) {
        let place = resolved.places.of("log").map(Place::to_string);
        findings.problems.push(Finding { place, problem });
    }
    if args.prod {
        let production::Findings { problems, warnings } = production::inspect(&resolved);
        findings.add(problems, warnings);
    }
    let count = findings.problems.len();
    print(findings.text(args, file.as_deref()).as_bytes())?;
    match count {
        0 => Ok(()),
        1 => Err(Failure::Configuration("1 problem".into())),
        count => Err(Failure::Configuration(format!("{count} problems"))),
    }
}

#[derive(Default, Serialize)]
struct Findings {
    problems: Vec<Finding>,
    warnings: Vec<Finding>,
}

#[derive(PartialEq, Eq, Serialize)]
struct Finding {
    place: Option<String>,
    problem: String,
}

impl Finding {
    fn of(ConfigError { place, problem }: ConfigError) -> Finding {
        Finding { place, problem }
    }

    fn line(&self, kind: &str) -> String {
        let place = self.place.as_ref().map(|place| format!("{place}: ")).unwrap_or_default();
        format!("{kind}: {place}{}\n", self.problem)
    }
}

impl Findings {
    /// Adds what production would suffer from. What is wrong anyway is not said twice.
    fn add(&mut self, problems: Vec<ConfigError>, warnings: Vec<ConfigError>) {
        for problem in problems.into_iter().map(Finding::of) {
            if !self.problems.contains(&problem) {
                self.problems.push(problem);
            }
        }
        self.warnings.extend(warnings.into_iter().map(Finding::of));
    }

    fn text(&self, args: &Check, file: Option<&str>) -> String {
        if args.json {
            let ok = self.problems.is_empty();
            let report =
                serde_json::json!({ "ok": ok, "problems": self.problems, "warnings": self.warnings });
            return format!("{report}\n");
        }
        let problems = self.problems.iter().map(|problem| problem.line("error"));
        let warnings = self.warnings.iter().map(|warning| warning.line("warning"));
        let mut text: String = problems.chain(warnings).collect();
        if self.problems.is_empty() {
            let what = file.unwrap_or("no file, so the environment and flags alone");
            let fit = if args.prod { "fit for production" } else { "fine" };
            text.push_str(&format!("{fit}: {what}\n"));
        }
        text
    }
}
