//! `tidewire completions`: a script that has a shell complete commands, flags and their values.

use clap::{Args, Command, CommandFactory as _};
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
    clap_complete::generate(asked.shell, &mut shown(&Cli::command()), "tidewire", &mut script);
    print(&script)
}

/// The same command line without what `--help` hides, which most scripts would offer all the same. clap lets nobody take a
/// part away, so this is another one, of what scripts are made of.
fn shown(command: &Command) -> Command {
    // clap keeps names for as long as the process lives, and this one ends when it has printed.
    let name: &'static str = command.get_name().to_owned().leak();
    let anew = Command::new(name)
        .about(command.get_about().cloned().unwrap_or_default())
        .args(command.get_arguments().filter(|argument| !argument.is_hide_set()).cloned())
        .subcommands(command.get_subcommands().filter(|command| !command.is_hide_set()).map(shown));
    if command.get_version().is_some() { anew.version(env!("CARGO_PKG_VERSION")) } else { anew }
}
