//! The way to the server: requests with a deadline each, on connections that do not come too fast.

use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::http::request::Builder;
use hyper::{HeaderMap, Request, StatusCode, Version};
use serde::{Deserialize, Deserializer};
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::http::{self, Socket};
use crate::target::Target;

/// How long anything may take that should take milliseconds.
pub(crate) const STEP_MAX: Duration = Duration::from_secs(3);

/// From one connection to the next: below the 20 a second that a server allows one address
/// (`limits.address_arrivals_per_second_max`).
const CONNECT_INTERVAL: Duration = Duration::from_millis(60);

/// A page of a poll with what this command published, and little more.
const BODY_BYTES_MAX: usize = 2 << 20;

/// A server, and the channels to use there.
pub(crate) struct Route {
    pub target: Target,
    channel: String,
    /// Whether the channel is our own, so that others may be made beside it.
    ours: bool,
    next: Mutex<Instant>,
}

/// An answer, read to its end.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub status: StatusCode,
    pub version: Version,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// From the request to the end of the answer.
    pub took: Duration,
    /// Between the request and the answer's head, by this machine's clock.
    pub at: SystemTime,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The code of a refusal in Tidewire's own form (`docs/protocol.md`, "Refusals").
    pub(crate) fn problem(&self) -> Option<Problem> {
        let is_problem =
            self.header("content-type").is_some_and(|kind| kind.starts_with("application/problem+json"));
        is_problem.then(|| serde_json::from_slice(&self.body).ok()).flatten()
    }

    /// The page of a poll.
    pub(crate) fn page(&self) -> Option<Page> {
        serde_json::from_slice(&self.body).ok()
    }

    /// The status, and who says so.
    pub(crate) fn words(&self) -> String {
        match (self.problem(), self.header("server")) {
            (Some(problem), _) => format!("{}: {}", self.status, problem.detail),
            (None, Some(server)) => format!("{} by `{}`", self.status, shown(server)),
            (None, None) => self.status.to_string(),
        }
    }
}

/// A refusal in Tidewire's own words, as far as they are shown.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Problem {
    #[serde(deserialize_with = "in_brief")]
    pub code: String,
    #[serde(deserialize_with = "in_brief")]
    pub detail: String,
}

fn in_brief<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    String::deserialize(deserializer).map(|text| brief(&text))
}

/// A page of a poll, as far as it is looked at.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Page {
    pub messages: Vec<Said>,
    pub cursor: String,
    pub gap: Option<serde_json::Value>,
}

/// A message in its envelope.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Said {
    pub data: Option<String>,
}

/// A publish that was answered.
#[derive(Clone, Debug)]
pub(crate) struct Receipt {
    pub sent: Instant,
    /// The same, by this machine's clock.
    pub at: SystemTime,
    pub answered: Instant,
    /// Streams that the node which answered counted on the channel.
    pub streams: u64,
}

impl Route {
    pub(crate) fn new(target: Target, channel: Option<&str>) -> Route {
        let ours = channel.is_none();
        let channel = channel.map_or_else(|| format!("doctor:{}", nonce()), str::to_owned);
        Route { target, channel, ours, next: Mutex::new(Instant::now()) }
    }

    /// The channel for one check. Where the channel is our own, each check has one to itself.
    pub(crate) fn channel(&self, check: &str) -> String {
        if self.ours { format!("{}:{check}", self.channel) } else { self.channel.clone() }
    }

    /// The channel as it was given or made.
    pub(crate) fn name(&self) -> &str {
        &self.channel
    }

    /// The path of a channel.
    pub(crate) fn path(&self, channel: &str, query: &[(&str, &str)]) -> String {
        self.target.path(&Target::channels(channel), query)
    }

    /// A request to a channel.
    pub(crate) fn get(&self, channel: &str, query: &[(&str, &str)]) -> Builder {
        http::request(&self.target, "GET", &self.path(channel, query))
    }

    /// Opens a connection, in its turn.
    pub(crate) async fn connect(&self) -> Result<Box<dyn Socket>, String> {
        self.wait_for_turn().await;
        match timeout(STEP_MAX, http::connect(&self.target)).await {
            Ok(connected) => connected.map_err(|refused| refused.to_string()),
            Err(_) => Err(format!("no connection within {}", seconds(STEP_MAX))),
        }
    }

    /// Waits until one more connection is no hurry.
    pub(crate) async fn wait_for_turn(&self) {
        let at = {
            let mut next = self.next.lock().await;
            let at = (*next).max(Instant::now());
            *next = at + CONNECT_INTERVAL;
            at
        };
        tokio::time::sleep_until(at.into()).await;
    }

    /// Sends a request without a body on a connection of its own and reads the answer.
    pub(crate) async fn ask(&self, request: Builder, within: Duration) -> Result<Answer, String> {
        self.send(request, Bytes::new(), within).await.map(|(answer, _)| answer)
    }

    /// Publishes.
    pub(crate) async fn publish(
        &self,
        channel: &str,
        payload: impl Into<Bytes>,
    ) -> Result<Receipt, Unpublished> {
        let request = http::request(&self.target, "POST", &self.path(channel, &[]))
            .header("content-type", "text/plain");
        let (answer, sent) = self.send(request, payload.into(), STEP_MAX).await.map_err(Unpublished::Lost)?;
        let answered = Instant::now();
        if answer.status != StatusCode::OK {
            return Err(Unpublished::Refused(Box::new(answer)));
        }
        let receipt: serde_json::Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let Some(receivers) = receipt.get("receivers") else {
            return Err(Unpublished::Refused(Box::new(answer)));
        };
        let streams = receivers.get("sse").and_then(serde_json::Value::as_u64).unwrap_or_default();
        let at = SystemTime::now() - sent.elapsed();
        Ok(Receipt { sent, at, answered, streams })
    }

    async fn send(
        &self,
        request: Builder,
        body: Bytes,
        within: Duration,
    ) -> Result<(Answer, Instant), String> {
        let request: Request<Full<Bytes>> =
            request.body(Full::new(body)).map_err(|error| error.to_string())?;
        let socket = self.connect().await?;
        let (sent, clock) = (Instant::now(), SystemTime::now());
        let read = async {
            let response =
                http::exchange(socket, &self.target, request).await.map_err(|refused| refused.to_string())?;
            let at = clock + sent.elapsed() / 2;
            let (head, body) = response.into_parts();
            let body = Limited::new(body, BODY_BYTES_MAX).collect().await;
            let body = body.map_err(|error| format!("the answer broke: {error}"))?.to_bytes();
            let (status, version, headers) = (head.status, head.version, head.headers);
            Ok((Answer { status, version, headers, body, took: sent.elapsed(), at }, sent))
        };
        timeout(within, read).await.map_err(|_| format!("no answer within {}", seconds(within)))?
    }
}

/// Why a publish was not answered with a receipt.
#[derive(Clone, Debug)]
pub(crate) enum Unpublished {
    Lost(String),
    Refused(Box<Answer>),
}

impl Unpublished {
    pub(crate) fn words(&self) -> String {
        match self {
            Unpublished::Lost(why) => why.clone(),
            Unpublished::Refused(answer) => answer.words(),
        }
    }
}

/// A word that nobody else uses.
pub(crate) fn nonce() -> String {
    format!("{:013x}", getrandom::u64().unwrap_or_default() >> 12)
}

/// A duration as people say it.
pub(crate) fn seconds(duration: Duration) -> String {
    match duration.as_millis() {
        0 => "less than 1 ms".into(),
        millis @ 1..1_000 => format!("{millis} ms"),
        1_000..120_000 => format!("{:.1} s", duration.as_secs_f32()),
        _ => long(duration.as_secs()),
    }
}

fn long(s: u64) -> String {
    match s {
        0..7_200 => format!("{} min {} s", s / 60, s % 60),
        7_200..172_800 => format!("{} h {} min", s / 3_600, s % 3_600 / 60),
        _ => format!("{} days", s / 86_400),
    }
}

/// Characters that are quoted of anybody: a few sentences.
const QUOTED_MAX: usize = 400;

/// What somebody else wrote, bounded. Printing makes it harmless.
pub(crate) fn brief(text: &str) -> String {
    text.chars().take(QUOTED_MAX).collect()
}

/// What somebody else wrote, for a terminal: one line, short, and nothing that moves the cursor.
pub(crate) fn shown(text: &str) -> String {
    text.chars().filter(|char| char.is_ascii_graphic() || *char == ' ').take(60).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_has_the_unit_that_people_would_take() {
        let said = |ms: u64| seconds(Duration::from_millis(ms));
        let (min, h, day) = (60_000, 3_600_000, 86_400_000);
        assert_eq!(
            [0, 7, 1_250, 119_000, 2 * min, 3 * h + 12 * min, 730 * day].map(said),
            ["less than 1 ms", "7 ms", "1.2 s", "119.0 s", "2 min 0 s", "3 h 12 min", "730 days"]
        );
        assert_eq!(seconds(Duration::MAX), "213503982334601 days");
    }

    #[test]
    fn of_a_refusal_a_few_sentences_are_kept() {
        let long = format!(r#"{{"code":"forbidden","detail":"{}"}}"#, "é".repeat(1 << 20));
        let problem: Problem = serde_json::from_str(&long).unwrap();
        assert_eq!((problem.code.as_str(), problem.detail.chars().count()), ("forbidden", QUOTED_MAX));
    }
}
