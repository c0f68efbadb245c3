//! What a server says when it refuses: a status, and a problem in its own words (RFC 9457).

use std::fmt;

use serde::{Deserialize, Serialize};

/// A refusal.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Refusal {
    /// The HTTP status; 0 where a stream was refused inside an answer of 200.
    pub status: u16,
    /// The stable code, or nothing where the server is none of ours.
    pub code: String,
    /// What the server says to this request.
    pub detail: String,
    /// What it advises.
    pub hint: String,
}

#[derive(Deserialize)]
struct Problem {
    code: String,
    #[serde(default)]
    detail: String,
    #[serde(default)]
    hint: String,
}

impl Refusal {
    /// Reads the body of a refusal.
    pub fn of(status: u16, body: &[u8]) -> Refusal {
        match serde_json::from_slice::<Problem>(body) {
            Ok(Problem { code, detail, hint }) => Refusal { status, code, detail, hint },
            Err(_) => Refusal { status, ..Refusal::default() },
        }
    }

    /// Whether the same may succeed later.
    pub fn may_pass(&self) -> bool {
        match self.status {
            408 | 429 => true,
            501 => false,
            0 => matches!(
                self.code.as_str(),
                "rate_limited" | "overloaded" | "draining" | "broker_unavailable"
            ),
            status => status >= 500,
        }
    }

    /// What whoever measures can do about it, beyond what the server advises to its clients.
    fn advice(&self) -> Option<&'static str> {
        Some(match (self.code.as_str(), self.status) {
            ("unauthorized" | "expired" | "revoked", _) | (_, 401) => {
                "Give a token that may publish to and subscribe to the channels of the run: --token, or TIDEWIRE_TOKEN"
            }
            ("forbidden", _) | (_, 403) => {
                "The token has to hold publish and subscribe on every channel of the run, as in `bench:*`; --channel \
                 names others"
            }
            ("rate_limited", _) | (_, 429) => {
                "A run is a crowd from one address: raise limits.address_connections_max and \
                 limits.address_arrivals_per_second_max for subscribers, \
                 limits.channel_publishes_per_second_max and limits.subject_publishes_per_second_max for publishers, or \
                 measure a server in dev mode"
            }
            ("overloaded", _) => {
                "Raise limits.connections_max and the server's open files (LimitNOFILE) for more subscribers, \
                 limits.arrivals_per_second_max for faster joining, limits.publishes_in_flight_max for more publishers"
            }
            _ => return None,
        })
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.code.is_empty() {
            write!(f, "the server answered {}", self.status)?;
        } else {
            write!(f, "{} ({})", self.detail, self.code)?;
        }
        match self.advice() {
            Some(advice) => write!(f, ". {advice}."),
            None if self.hint.is_empty() => Ok(()),
            None => write!(f, ". {}", self.hint),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_told_in_the_servers_words_with_what_to_do() {
        let body =
            br#"{"code":"rate_limited","detail":"too many connections","hint":"Slow down.","status":429}"#;
        let told = Refusal::of(429, body).to_string();
        assert!(told.starts_with("too many connections (rate_limited). "), "{told}");
        assert!(told.contains("limits.address_connections_max"), "{told}");
        let told = Refusal::of(401, b"<html>").to_string();
        assert!(told.contains("answered 401") && told.contains("--token"), "{told}");
    }

    #[test]
    fn a_hint_is_passed_on_where_there_is_nothing_to_add() {
        let body = br#"{"code":"too_large","detail":"128 KiB","hint":"Publish less."}"#;
        assert_eq!(Refusal::of(413, body).to_string(), "128 KiB (too_large). Publish less.");
    }
}
