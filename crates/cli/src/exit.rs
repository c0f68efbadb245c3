//! How a command ends: the exit codes and what is said with them.

use std::fmt;
use std::process::ExitCode;

use crate::show::plain;

/// Why a command did not do what was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// Something went wrong while running. Exit code 1.
    Runtime(String),
    /// What was typed cannot be meant. Exit code 2.
    Usage(String),
    /// The same may succeed later. Exit code 75 (`EX_TEMPFAIL`).
    TryAgain(String),
    /// The configuration cannot be used. Exit code 78 (`EX_CONFIG`).
    Configuration(String),
    /// Whoever read our output has stopped. Not a failure of ours: silence and exit code 0.
    OutputClosed,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Runtime(what)
            | Failure::Usage(what)
            | Failure::TryAgain(what)
            | Failure::Configuration(what) => f.write_str(what),
            Failure::OutputClosed => f.write_str("the output was closed"),
        }
    }
}

/// Says why and gives the code.
pub(crate) fn code(outcome: Result<(), Failure>) -> ExitCode {
    let Err(failure) = outcome else { return ExitCode::SUCCESS };
    let code = match failure {
        Failure::OutputClosed => return ExitCode::SUCCESS,
        Failure::Runtime(_) => 1,
        Failure::Usage(_) => 2,
        Failure::TryAgain(_) => 75,
        Failure::Configuration(_) => 78,
    };
    // Servers are quoted in it.
    eprintln!("tidewire: {}", plain(&failure.to_string()));
    ExitCode::from(code)
}

/// Runs a client command.
pub(crate) fn block_on(command: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::Runtime(format!("cannot start: {error}")))?;
    let outcome = runtime.block_on(command);
    // Dropped, it would wait for a name server that has been given up on.
    runtime.shutdown_background();
    outcome
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn a_command_ends_without_what_it_has_given_up_on() {
        let (_held, never) = mpsc::channel::<()>();
        let patience = Duration::from_secs(20);
        let began = Instant::now();
        let outcome = block_on(async {
            let (runs, is_running) = tokio::sync::oneshot::channel();
            tokio::task::spawn_blocking(move || {
                let _ = runs.send(());
                let _ = never.recv_timeout(patience);
            });
            is_running.await.map_err(|_| Failure::Runtime("it never ran".into()))
        });
        assert_eq!(outcome, Ok(()));
        assert!(began.elapsed() < patience);
    }
}
