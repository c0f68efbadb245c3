//! `tidewire config`: what a server would run with, where that came from, and the schema of the file.

use serde_json::{Map, Value, json};
use tidewire_server::config::schema::schema;
use tidewire_server::config::show::Shown;

use crate::args::{Config, ConfigCommand, ShowConfig};
use crate::exit::Failure;
use crate::serve;
use crate::show::print;

pub(crate) fn run(args: &Config) -> Result<(), Failure> {
    match &args.command {
        ConfigCommand::Show(args) => show(args),
        ConfigCommand::Schema => print(format!("{:#}\n", schema()).as_bytes()),
    }
}

fn show(args: &ShowConfig) -> Result<(), Failure> {
    let shown = serve::resolve(&args.serve)?.shown();
    let text = if args.json { as_json(&shown, args.origin) } else { as_lines(&shown, args.origin) };
    print(text.as_bytes())
}

/// Lines that could stand in the file.
fn as_lines(shown: &[Shown], origin: bool) -> String {
    let lines: Vec<String> = shown.iter().map(Shown::line).collect();
    // Values that are longer than this push their own place aside, and nobody else's.
    const WIDTH_MAX: usize = 60;
    let width = lines.iter().map(|line| line.chars().count()).filter(|width| *width <= WIDTH_MAX).max();
    let width = width.unwrap_or_default();
    let line = |(line, Shown { place, .. }): (&String, &Shown)| {
        if origin { format!("{line:width$}  # {place}\n") } else { format!("{line}\n") }
    };
    lines.iter().zip(shown).map(line).collect()
}

fn as_json(shown: &[Shown], origin: bool) -> String {
    let value = |Shown { value, place, .. }: &Shown| {
        if origin { json!({ "value": value, "origin": place }) } else { value.clone() }
    };
    let values: Map<String, Value> = shown.iter().map(|shown| (shown.key.clone(), value(shown))).collect();
    format!("{:#}\n", Value::Object(values))
}
