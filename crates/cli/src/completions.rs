//! `tidewire completions`: a script that has a shell complete commands, flags and their values.

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use crate::args::Cli;
use crate::exit::Failure;
use crate::show::print;

#[derive(Clone, Debug, Args)]
#[command(after_help = INSTALL)]
pub(crate) struct Completions {
    /// For which shell
    #[arg(value_enum)]
    pub shell: Shell,
}

/// Where each shell looks. What a Debian package installs goes to the same places below /usr/share.
const INSTALL: &str = "\
Where the script belongs:
  bash        tidewire completions bash > ~/.local/share/bash-completion/completions/tidewire
  zsh         tidewire completions zsh > \"${fpath[1]}/_tidewire\"
  fish        tidewire completions fish > ~/.config/fish/completions/tidewire.fish
  elvish      tidewire completions elvish >> ~/.config/elvish/rc.elv
  powershell  tidewire completions powershell >> $PROFILE
Shells that run already know it once they are started anew.";

pub(crate) fn run(asked: &Completions) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(asked.shell, &mut Cli::command(), "tidewire", &mut script);
    print(&script)
}
