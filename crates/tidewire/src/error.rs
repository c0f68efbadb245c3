//! What can go wrong, in closed lists.

use std::fmt;

use tidewire_hub::reason::{Reason, Retry};
use tidewire_server::Fatal;
use tidewire_transport::refusal::Refusal;

/// Why something was not done. Its code is one of the protocol's (`docs/errors.md`), and means the same here.
#[derive(Clone, PartialEq, Eq)]
pub struct Error {
    reason: Reason,
    detail: Box<str>,
}

impl Error {
    pub(crate) fn new(reason: Reason, detail: impl Into<Box<str>>) -> Error {
        Error { reason, detail: detail.into() }
    }

    pub(crate) fn of(reason: Reason) -> Error {
        Error::new(reason, reason.hint())
    }

    /// The stable code: `channel_invalid`, `too_large`, `draining`, …
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.reason.code()
    }

    /// Why, in the terms of what was asked. It holds no secret.
    #[must_use]
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// Whether the same may succeed later. A publish whose outcome is unknown is repeated with the same key, or may happen
    /// twice.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        self.reason.retry() != Retry::Never
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Error {
        Error { reason: refusal.reason, detail: refusal.detail }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error").field("code", &self.code()).field("detail", &self.detail).finish()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.detail, self.code())
    }
}

impl std::error::Error for Error {}

/// Why Tidewire did not start.
#[derive(Debug)]
#[non_exhaustive]
pub enum StartError {
    /// Nobody said who may come in: there is no [`on_authorize`](crate::Builder::on_authorize), no
    /// [`anybody`](crate::Builder::anybody), and no key in a [`config_file`](crate::Builder::config_file).
    NobodyDecides,
    /// It was not started on a tokio runtime, where what [`on_authorize`](crate::Builder::on_authorize) does is run.
    NoRuntime,
    /// A setting cannot be used. The words name it.
    Setting(Box<str>),
    /// Redis did not answer in time. Whoever was thrown out is not known before it does.
    RedisUnreachable,
    /// The system has no thread or no random number left.
    System(std::io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::NobodyDecides => f.write_str(
                "nobody decides who may come in: call `on_authorize`, name a `config_file` with keys under `auth`, or say \
                 what `anybody` may do",
            ),
            StartError::NoRuntime => f.write_str("there is no tokio runtime here: call `start` within one"),
            StartError::Setting(problem) => f.write_str(problem),
            StartError::RedisUnreachable => {
                f.write_str("Redis did not answer within ten seconds: look at the address, and whether it runs")
            }
            StartError::System(error) => write!(f, "cannot start: {error}"),
        }
    }
}

impl std::error::Error for StartError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            StartError::System(error) => Some(error),
            _ => None,
        }
    }
}

impl From<std::io::Error> for StartError {
    fn from(error: std::io::Error) -> StartError {
        StartError::System(error)
    }
}

impl From<Fatal> for StartError {
    fn from(fatal: Fatal) -> StartError {
        match fatal {
            Fatal::System(error) => StartError::System(error),
            fatal => StartError::Setting(fatal.to_string().into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_what_to_do_next_and_whether_later_helps() {
        let busy = Error::of(Reason::Overloaded);
        assert!(busy.is_temporary() && busy.code() == "overloaded");
        let never = Error::new(Reason::TooLarge, "the payload has 70000 bytes; 65536 is the most");
        assert!(!never.is_temporary() && never.to_string().contains("70000"));
        assert!(StartError::NobodyDecides.to_string().contains("on_authorize"));
    }
}
