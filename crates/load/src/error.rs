//! Why a run could not be measured, in words that say what to do.

use std::fmt;
use std::io;

use crate::plan::Target;
use crate::refusal::Refusal;

/// Why there is no figure.
#[derive(Debug)]
pub enum Error {
    /// The plan cannot be meant.
    Plan(String),
    /// Nobody answers there.
    Unreachable {
        /// As it was asked for.
        authority: String,
        /// What the system says.
        why: String,
    },
    /// Nobody answers there any more.
    Gone {
        /// As it was asked for.
        authority: String,
    },
    /// The server refused what the run depends on.
    Refused {
        /// Who was refused.
        role: Role,
        /// In the server's words.
        refusal: Refusal,
    },
    /// This process may not open as many files as the run needs.
    OpenFiles {
        /// What the run needs.
        needed: u64,
        /// What the system allows.
        allowed: u64,
    },
    /// The server accepted a subscriber and ended its stream at once, as it does for clients that must come back later.
    TurnedAway,
    /// Nothing happened for too long.
    Stalled {
        /// Subscribers that have joined.
        joined: usize,
        /// Subscribers of the plan.
        subscribers: usize,
        /// How long nobody did.
        seconds: u64,
    },
    /// What came back is not what a Tidewire server answers.
    Answer(String),
    /// The system refused something else.
    System {
        /// What was tried, as in "cannot …".
        what: &'static str,
        /// What the system says.
        error: io::Error,
    },
}

/// Who was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// One that listens.
    Subscriber,
    /// One that publishes.
    Publisher,
}

impl Error {
    /// What a failed system call means; the limit on open files has words of its own.
    pub fn system(what: &'static str, error: io::Error) -> Error {
        // EMFILE and ENFILE; the standard library has no name for them.
        match error.raw_os_error() {
            Some(23 | 24) => {
                let allowed = crate::sys::open_files();
                Error::OpenFiles { needed: allowed.saturating_add(1), allowed }
            }
            _ => Error::System { what, error },
        }
    }

    /// What a failed connect means.
    pub fn connect(target: &Target, error: io::Error) -> Error {
        let why = match error.kind() {
            io::ErrorKind::ConnectionRefused => "nobody listens there".to_owned(),
            io::ErrorKind::TimedOut => "nobody answers there".to_owned(),
            _ if matches!(error.raw_os_error(), Some(23 | 24)) => {
                return Error::system("open a socket", error);
            }
            _ => error.to_string(),
        };
        Error::Unreachable { authority: target.authority.clone(), why }
    }

    /// The same of a server that has answered before.
    pub fn gone(self) -> Error {
        match self {
            Error::Unreachable { authority, .. } => Error::Gone { authority },
            other => other,
        }
    }

    /// Whether the same may succeed later.
    pub fn may_pass(&self) -> bool {
        match self {
            Error::Unreachable { .. } | Error::Gone { .. } | Error::Stalled { .. } | Error::TurnedAway => {
                true
            }
            Error::Refused { refusal, .. } => refusal.may_pass(),
            Error::Plan(_) | Error::OpenFiles { .. } | Error::Answer(_) | Error::System { .. } => false,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Plan(what) => f.write_str(what),
            Error::Unreachable { authority, why } => {
                write!(f, "cannot reach {authority}: {why}. Start a server there, or name another")
            }
            Error::Gone { authority } => {
                write!(f, "the server at {authority} went away in the middle of it: look at what it said last")
            }
            Error::Refused { role, refusal } => {
                let who = match role {
                    Role::Subscriber => "a subscriber",
                    Role::Publisher => "a publisher",
                };
                write!(f, "{who} was refused: {refusal}")
            }
            Error::OpenFiles { needed, allowed } => write!(
                f,
                "this needs {needed} open files and the system allows {allowed}: raise the limit (ulimit -n, or \
                 LimitNOFILE of a unit), or take fewer subscribers"
            ),
            Error::TurnedAway => f.write_str(
                "the server sent a subscriber away to come back later: it is at a limit, draining, or without its broker. Its \
                 log says why at level debug; limits.arrivals_per_second_max and limits.connections_max bound how many may come",
            ),
            Error::Stalled { joined, subscribers, seconds } => write!(
                f,
                "{joined} of {subscribers} subscribers have joined, and for {seconds} s nobody else did: look at the \
                 server's log, or take fewer subscribers"
            ),
            Error::Answer(what) => f.write_str(what),
            Error::System { what, error } => write!(f, "cannot {what}: {error}"),
        }
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_many_open_files_are_told_with_the_limit_whatever_was_tried() {
        let told = Error::system("open a socket", io::Error::from_raw_os_error(24)).to_string();
        assert!(
            told.contains(&format!("allows {}", crate::sys::open_files())) && told.contains("ulimit -n"),
            "{told}"
        );
    }

    #[test]
    fn a_server_that_was_never_there_is_not_one_that_went_away() {
        let target = Target::at("127.0.0.1:1".parse().unwrap());
        let refused = || Error::connect(&target, io::ErrorKind::ConnectionRefused.into());
        assert!(refused().to_string().contains("nobody listens there. Start a server"));
        assert!(refused().gone().to_string().contains("went away"));
        assert!(refused().may_pass() && refused().gone().may_pass());
    }
}
