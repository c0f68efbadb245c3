//! Why a call failed: whose fault it is, and whether anything happened.

use std::fmt;

use redis::{ErrorKind, RedisError, ServerError, ServerErrorKind};

/// Why Redis did not do what it was asked. Holds no data of users and no secret, so it may be logged (security rule S49).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// Another generation or replication id than the node's, or the node is no longer registered. Nothing happened.
    /// Re-dial, shake hands, then try again in the old order (delivery rule R16).
    Fenced,
    /// The server is a replica. Nothing happened. Find the master ([`Address::master`](super::Address::master)), and dial
    /// that.
    ReadOnly,
    /// The server is one that this node has left for another: an old master. Nothing happened. As [`Error::ReadOnly`].
    Left,
    /// Memory is full (`maxmemory`). Nothing happened; no seq was consumed (R15). Later may be better.
    NoSpace,
    /// No sentinel names a master that answers as one. Nothing happened. Later may be better: a failover takes a moment.
    NoMaster {
        /// How many sentinels were asked.
        asked: usize,
    },
    /// Redis is older than 7.0. Only an upgrade helps.
    TooOld {
        /// What it says it is, at most 32 bytes; empty where it does not say.
        version: Box<str>,
    },
    /// Wrong user or password, or the user may not do what is needed. Only other settings help.
    Auth,
    /// Redis refuses for now, by the code it gives: it is loading, busy, or has too few replicas. Nothing happened.
    Refused {
        /// Its error code, at most 32 bytes.
        code: Box<str>,
    },
    /// The message stands here, and no replica had it in time. A failover may lose it, so to its publisher the outcome is
    /// unknown; a repetition with its key settles it.
    Unreplicated,
    /// As many calls are in flight as may be. Nothing happened; later may be better.
    Crowded,
    /// The link broke, or no answer came in time. Whether it happened is unknown.
    Broken,
    /// The answer is not one that our scripts give, or a script failed half-way. Whether it happened is unknown.
    Malformed {
        /// What was wrong, for whoever reads logs; at most 64 bytes.
        what: Box<str>,
    },
}

impl Error {
    /// Whether it is certain that nothing was written.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        !matches!(self, Error::Broken | Error::Malformed { .. } | Error::Unreplicated)
    }

    pub(super) fn malformed(what: &str) -> Error {
        Error::Malformed { what: plain(what, 64) }
    }

    pub(super) fn too_old(version: &str) -> Error {
        Error::TooOld { version: plain(version, 32) }
    }

    /// What an error reply to one command means. Only its code is looked at: the rest may quote anything.
    pub(super) fn of_reply(error: &ServerError) -> Error {
        Error::of_code(error.kind(), error.code())
    }

    fn of_code(kind: Option<ServerErrorKind>, code: &str) -> Error {
        match (kind, code) {
            (Some(ServerErrorKind::ReadOnly), _) => Error::ReadOnly,
            (Some(ServerErrorKind::NoPerm), _) | (_, "WRONGPASS" | "NOAUTH") => Error::Auth,
            (_, "OOM") => Error::NoSpace,
            // Each of these is said before the first write.
            (
                _,
                "LOADING" | "BUSY" | "MASTERDOWN" | "NOREPLICAS" | "MISCONF" | "CLUSTERDOWN" | "TRYAGAIN",
            ) => Error::Refused { code: plain(code, 32) },
            _ => Error::malformed(code),
        }
    }
}

impl From<RedisError> for Error {
    fn from(error: RedisError) -> Error {
        match error.kind() {
            ErrorKind::AuthenticationFailed => Error::Auth,
            ErrorKind::RESP3NotSupported => Error::too_old(""),
            ErrorKind::Server(kind) => Error::of_code(Some(kind), error.code().unwrap_or_default()),
            ErrorKind::Extension => Error::of_code(None, error.code().unwrap_or_default()),
            ErrorKind::UnexpectedReturnType => Error::malformed("type"),
            _ => Error::Broken,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Fenced => write!(f, "the log has a new generation; the node has to come in again"),
            Error::ReadOnly => write!(f, "this Redis is a replica; the node needs its master"),
            Error::Left => write!(f, "this Redis is an old master that the node has left"),
            Error::NoSpace => write!(f, "Redis has reached maxmemory; raise it, or keep less history"),
            Error::NoMaster { asked } => {
                write!(f, "none of {asked} sentinels names a master that answers as one")
            }
            Error::TooOld { version } if version.is_empty() => write!(f, "Redis is too old; 7.0 is needed"),
            Error::TooOld { version } => write!(f, "Redis {version} is too old; 7.0 is needed"),
            Error::Auth => write!(f, "Redis refuses the user, its password, or what it may do"),
            Error::Refused { code } => write!(f, "Redis refuses for now ({code})"),
            Error::Unreplicated => write!(f, "no replica of this Redis had the message in time"),
            Error::Crowded => write!(f, "too many calls wait for Redis"),
            Error::Broken => write!(f, "the link to Redis broke, or it did not answer in time"),
            Error::Malformed { what } => write!(f, "Redis answered what no script of ours does ({what})"),
        }
    }
}

impl std::error::Error for Error {}

/// Letters, digits and what stands in versions, at most so many of them: it comes from the network and goes to a log.
fn plain(text: &str, bytes_max: usize) -> Box<str> {
    let shown = |char: &char| char.is_ascii_alphanumeric() || " ._-".contains(*char);
    text.chars().filter(shown).take(bytes_max).collect::<String>().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s49_what_is_kept_of_an_error_is_short_and_plain() {
        let what = "x\u{1b}[31m\n".repeat(100);
        let Error::Malformed { what } = Error::malformed(&what) else { panic!() };
        assert!(what.len() == 64 && what.bytes().all(|byte| byte.is_ascii_alphanumeric()));
    }

    #[test]
    fn what_may_have_happened_is_no_refusal() {
        for code in ["OOM", "LOADING", "NOREPLICAS", "NOAUTH", "WRONGPASS", "MISCONF"] {
            assert!(Error::of_code(None, code).is_refusal(), "{code}");
        }
        for error in [Error::of_code(None, "ERR"), Error::Broken, Error::Unreplicated] {
            assert!(!error.is_refusal(), "{error}");
        }
    }
}
