//! `tidewire man`: the manual pages, one for each command, made of what `--help` says.
//!
//! Hidden: packages write them when they are built, and whoever has a package has `man tidewire`.

use std::path::PathBuf;

use clap::{Args, Command, CommandFactory as _};

use crate::args::Cli;
use crate::exit::Failure;

#[derive(Clone, Debug, Args)]
pub(crate) struct Man {
    /// Where they go: the folder is made if it is not there
    pub folder: PathBuf,
}

pub(crate) fn run(asked: &Man) -> Result<(), Failure> {
    let folder = &asked.folder;
    let written = std::fs::create_dir_all(folder).and_then(|()| clap_mangen::generate_to(command(), folder));
    written.map_err(|error| Failure::Runtime(format!("cannot write to {}: {error}", folder.display())))
}

/// The command line, with what only a page says.
fn command() -> Command {
    // The subcommand `help` would be a page that says to read the other pages.
    Cli::command().disable_help_subcommand(true).after_help(AFTER)
}

const AFTER: &str = "\
EXIT CODES: 0 when it did what was asked, 1 when something went wrong while it ran, 2 when what was typed cannot be meant, \
75 when the same may succeed later, 78 when the configuration cannot be used.

FILES: tidewire.toml in the current folder, or what --config or TIDEWIRE_CONFIG names.";
