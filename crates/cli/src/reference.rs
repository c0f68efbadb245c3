//! `docs/cli.md`, made of the command line itself: a page that cannot drift. The build of the tests compares it.

use clap::builder::StyledStr;
use clap::{Arg, Command, CommandFactory as _};

use crate::args::Cli;

#[test]
fn the_reference_of_the_command_line_says_what_help_says() {
    let page = page();
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/cli.md");
    if std::env::var_os("UPDATE_REFERENCE").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == page,
        "docs/cli.md has drifted: UPDATE_REFERENCE=1 cargo test -p tidewire-cli reference"
    );
}

const HEAD: &str = "\
# Command line

`tidewire` is the server and everything that one types to look at it and talk to it. Without a command it serves.

Commands that talk to a server take its address from `--url` or `TIDEWIRE_URL`, and a token or API key from
`TIDEWIRE_TOKEN`, which nobody sees in a list of processes. A `-` where data is expected is standard input.

| exit code | means |
|---|---|
| 0 | it did what was asked |
| 1 | something went wrong while it ran |
| 2 | what was typed cannot be meant |
| 75 | the same may succeed later |
| 78 | the configuration cannot be used |

This page is generated from the definition of the command line.
";

fn page() -> String {
    let mut root = Cli::command().disable_help_subcommand(true);
    root.build();
    let mut page = String::from(HEAD);
    // What `tidewire` alone takes is what `serve` takes.
    for command in root.get_subcommands() {
        section(command, &mut page);
    }
    page
}

fn section(command: &Command, page: &mut String) {
    if command.is_hide_set() {
        return;
    }
    let name = command.get_bin_name().unwrap_or_else(|| command.get_name());
    page.push_str(&format!("\n## `{name}`\n\n"));
    for words in [command.get_about(), command.get_long_about()].into_iter().flatten() {
        page.push_str(&format!("{}\n\n", stopped(sentence(words))));
    }
    let usage = command.clone().render_usage().to_string();
    page.push_str(&format!("```text\n{}\n```\n", usage.trim_start_matches("Usage: ")));
    let shown: Vec<&Arg> =
        command.get_arguments().filter(|arg| !arg.is_hide_set() && arg.get_id() != "help").collect();
    if !shown.is_empty() {
        page.push_str("\n| | what it is | default |\n|---|---|---|\n");
        for arg in shown {
            page.push_str(&row(arg));
        }
    }
    if let Some(more) = command.get_after_help() {
        page.push_str(&format!("\n```text\n{more}\n```\n"));
    }
    for command in command.get_subcommands() {
        section(command, page);
    }
}

fn row(arg: &Arg) -> String {
    let values: Vec<String> = match arg.get_value_names() {
        Some(names) if arg.get_action().takes_values() => names.iter().map(ToString::to_string).collect(),
        _ => Vec::new(),
    };
    let short = arg.get_short().map(|short| format!("-{short}"));
    let long = arg.get_long().map(|long| format!("--{long}"));
    let flags: Vec<String> = [short, long].into_iter().flatten().collect();
    let typed = match (flags.is_empty(), values.is_empty()) {
        (true, _) => values.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
        (false, true) => flags.join(", "),
        (false, false) => format!("{} {}", flags.join(", "), values.join(" ")),
    };
    // `[default: …]` stands in the words where it is no single value; here it has a column.
    let words = arg.get_help().map(sentence).unwrap_or_default();
    let (words, told) = match words.split_once(" [default: ") {
        Some((words, told)) => (words.to_owned(), told.trim_end_matches(['.', ']']).to_owned()),
        None => (words, String::new()),
    };
    let mut notes = vec![stopped(words)];
    let possible: Vec<String> = arg
        .get_possible_values()
        .iter()
        .filter(|value| arg.get_action().takes_values() && !value.is_hide_set())
        .map(|value| format!("`{}`", value.get_name()))
        .collect();
    if !possible.is_empty() {
        notes.push(format!("One of {}.", possible.join(", ")));
    }
    if let Some(variable) = arg.get_env() {
        notes.push(format!("Also `{}`.", variable.to_string_lossy()));
    }
    let set = arg.get_default_values().iter().map(|value| format!("`{}`", value.to_string_lossy()));
    let is_switch = !arg.get_action().takes_values();
    let default = if is_switch {
        told
    } else {
        set.chain((!told.is_empty()).then_some(told)).collect::<Vec<_>>().join(", ")
    };
    format!("| `{typed}` | {} | {} |\n", notes.join(" ").replace('|', "\\|"), default.replace('|', "\\|"))
}

fn stopped(words: String) -> String {
    if words.ends_with('.') { words } else { format!("{words}.") }
}

fn sentence(words: &StyledStr) -> String {
    words.to_string().split_whitespace().collect::<Vec<_>>().join(" ")
}
