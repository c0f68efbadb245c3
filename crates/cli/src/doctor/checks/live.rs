//! A stream as a page opens it: whether it is one, how soon it begins, and whether each event passes by itself.

use std::time::{Duration, Instant, SystemTime};

use hyper::StatusCode;

use super::super::finding::{Code, Finding, Verdict};
use super::super::route::{Problem, Route, STEP_MAX, nonce, seconds, shown};
use super::super::stream::{End, Head, Heard, Stream};

const FIRST: &str = "first event";
const PASSES: &str = "events pass";

/// How long an event may take once its publish was answered, before it counts as held back.
const EVENT_MAX: Duration = Duration::from_millis(1_500);
/// What the quickest of several events may take longer than its publish took: far above a busy machine's noise, far below
/// the 200 ms for which Linux keeps back what is said to have a sequel.
const LATER_THAN_PUBLISH_MAX: Duration = Duration::from_millis(80);
/// Events whose delay is taken.
const EVENTS: usize = 5;
/// What a held stream is filled with, to see when it gives: pieces of 16 KiB, up to 256 KiB.
const PIECE_BYTES: usize = 16 << 10;
const PIECES_MAX: usize = 16;

/// What a stream was seen to do.
#[derive(Debug, Default)]
pub(crate) struct Live {
    /// The head, and how long after the request.
    pub head: Option<(Duration, Box<Head>)>,
    /// When `$ready` came.
    pub ready: Option<Duration>,
    /// It ended, and how, and whether a `retry:` was the last that came.
    pub ended: Option<(End, bool)>,
    /// What became of events that we published; nothing where we may not.
    pub passage: Option<Passage>,
    /// A message's `time`, and when it was published by this machine's clock.
    pub dated: Option<(u64, SystemTime)>,
}

/// What became of published events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Passage {
    /// Each came: how long after its publish left, and how long the publish took to be answered.
    Each { events: Vec<Duration>, publishes: Vec<Duration> },
    /// One did not come by itself within a time.
    Held {
        within: Duration,
        /// Bytes published until anything came; nothing where nothing did.
        gave_after: Option<usize>,
        /// Bytes published in all.
        filled: usize,
        /// The node said that it sent it to somebody.
        was_sent: bool,
    },
    /// Publishing failed.
    Unpublished(String),
}

/// Opens a stream and, if `may_publish`, publishes to it.
pub(crate) async fn measure(route: &Route, may_publish: bool) -> Live {
    let channel = route.channel("live");
    let mut live = Live::default();
    let mut stream = match Stream::open(route, route.get(&channel, &[("format", "json")])).await {
        Ok(stream) => stream,
        Err(why) => {
            live.ended = Some((End::Broken(why), false));
            return live;
        }
    };
    begin(&mut stream, &mut live).await;
    let is_stream = live.head.as_ref().is_none_or(|(_, head)| head.status == StatusCode::OK);
    if may_publish && live.ended.is_none() && is_stream {
        let passage = if live.ready.is_some() {
            pass(route, &channel, &mut stream, &mut live).await
        } else {
            fill(route, &channel, &mut stream, STEP_MAX).await
        };
        live.passage = Some(passage);
    }
    live
}

/// Listens until `$ready`.
async fn begin(stream: &mut Stream, live: &mut Live) {
    let deadline = stream.asked + STEP_MAX;
    let mut was_retry = false;
    while live.ready.is_none() {
        match stream.next(deadline).await {
            None => return,
            Some(Heard::Head(head)) => live.head = Some((head.at - stream.asked, head)),
            Some(Heard::Event { at, event }) if event.kind == "$ready" => {
                live.ready = Some(at - stream.asked);
            }
            Some(Heard::Event { .. }) => {}
            Some(Heard::Quiet { is_retry, .. }) => was_retry = is_retry,
            Some(Heard::End { how, .. }) => {
                live.ended = Some((how, was_retry));
                return;
            }
        }
    }
}

/// Publishes one event after the other, each once the one before is here.
async fn pass(route: &Route, channel: &str, stream: &mut Stream, live: &mut Live) -> Passage {
    let (mut events, mut publishes) = (Vec::new(), Vec::new());
    for _ in 0..EVENTS {
        let word = nonce();
        let receipt = match route.publish(channel, word.clone()).await {
            Ok(receipt) => receipt,
            Err(why) => return Passage::Unpublished(why.words()),
        };
        let Some((at, event)) = stream.event(EVENT_MAX, |event| event.data.contains(&word)).await else {
            let held = fill(route, channel, stream, EVENT_MAX).await;
            return match held {
                Passage::Held { within, gave_after, filled, .. } => {
                    Passage::Held { within, gave_after, filled, was_sent: receipt.streams > 0 }
                }
                other => other,
            };
        };
        events.push(at.saturating_duration_since(receipt.sent));
        publishes.push(receipt.answered - receipt.sent);
        let envelope: serde_json::Value = serde_json::from_str(&event.data).unwrap_or_default();
        let time = envelope.get("time").and_then(serde_json::Value::as_u64);
        live.dated = live.dated.or(time.map(|time| (time, receipt.at)));
    }
    Passage::Each { events, publishes }
}

/// Publishes until anything comes.
async fn fill(route: &Route, channel: &str, stream: &mut Stream, within: Duration) -> Passage {
    let mut filled = 0;
    let mut was_sent = false;
    for piece in 0..=PIECES_MAX {
        // First something small: what waits for the next event comes now.
        let bytes = if piece == 0 { 64 } else { PIECE_BYTES };
        match route.publish(channel, vec![b'.'; bytes]).await {
            Ok(receipt) => was_sent |= receipt.streams > 0,
            Err(why) if filled == 0 => return Passage::Unpublished(why.words()),
            Err(_) => break,
        }
        filled += bytes;
        let patience = if piece == 0 { Duration::from_millis(500) } else { Duration::from_millis(30) };
        match stream.next(Instant::now() + patience).await {
            None | Some(Heard::End { .. }) => {}
            Some(_) => return Passage::Held { within, gave_after: Some(filled), filled, was_sent },
        }
    }
    let came = stream.next(Instant::now() + Duration::from_millis(500)).await;
    let gave_after = came.filter(|heard| !matches!(heard, Heard::End { .. })).map(|_| filled);
    Passage::Held { within, gave_after, filled, was_sent }
}

impl Live {
    /// Whether what is said on a stream is heard at once, so that others can be judged by it.
    pub(crate) fn passes(&self) -> bool {
        self.ready.is_some() && !matches!(self.passage, Some(Passage::Held { .. }))
    }
}

/// The head, and how soon the first event came.
pub(crate) fn judge_first(live: &Live) -> Verdict {
    let Some((head_after, head)) = &live.head else {
        return match &live.ended {
            Some((End::Broken(why), _)) => Verdict::wrong(FIRST, Code::StreamRefused, why.clone()),
            _ => Verdict::left_out(FIRST, format!("nothing came within {}: see below", seconds(STEP_MAX))),
        };
    };
    if head.status != StatusCode::OK {
        let detail =
            serde_json::from_slice::<Problem>(&head.body).map(|problem| format!(": {}", problem.detail));
        let seen = format!(
            "asked for as EventSource does, it answers {}{}",
            head.status,
            detail.unwrap_or_default()
        );
        return Verdict::wrong(FIRST, Code::StreamRefused, seen);
    }
    let mut findings = Vec::new();
    let kind = head.header("content-type").unwrap_or_default();
    if !kind.starts_with("text/event-stream") {
        findings.push(Finding::new(Code::StreamType, format!("Content-Type is `{}`", shown(kind))));
    }
    if let Some(length) = head.header("content-length") {
        let seen = format!("Content-Length is {}, for what Tidewire sends without one", shown(length));
        findings.push(Finding::new(Code::StreamLength, seen));
    }
    let Some(ready) = live.ready else {
        return match &live.ended {
            Some((_, true)) if findings.is_empty() => Verdict::wrong(
                FIRST,
                Code::TurnedAway,
                "the stream held a `retry:` and ended, as it does when there is no room",
            ),
            Some((End::Clean, _)) if findings.is_empty() => {
                Verdict::wrong(FIRST, Code::StreamRefused, "the stream ended before its first event")
            }
            Some((End::Broken(why), _)) if findings.is_empty() => {
                Verdict::wrong(FIRST, Code::StreamRefused, why.clone())
            }
            _ => Verdict::of(
                FIRST,
                findings,
                format!("the head came after {}, and no event", seconds(*head_after)),
            ),
        };
    };
    Verdict::of(
        FIRST,
        findings,
        format!("head after {}, $ready after {}", seconds(*head_after), seconds(ready)),
    )
}

/// Whether events pass one by one.
pub(crate) fn judge_passing(live: &Live) -> Verdict {
    if live.ended.is_some() || live.head.as_ref().is_some_and(|(_, head)| head.status != StatusCode::OK) {
        return Verdict::left_out(PASSES, "there is no stream");
    }
    match &live.passage {
        None if live.ready.is_none() => {
            let seen = format!("not even the first event came within {}", seconds(STEP_MAX));
            Verdict::wrong(PASSES, Code::StreamBuffered, seen)
        }
        None => Verdict::left_out(PASSES, "takes the right to publish"),
        Some(Passage::Unpublished(why)) => {
            Verdict::wrong(PASSES, Code::Unanswered, format!("a publish failed: {why}"))
        }
        Some(Passage::Held { within, gave_after, filled, was_sent }) => {
            let what = if live.ready.is_some() { "an event" } else { "not even the first event" };
            let came = if live.ready.is_some() { "did not come" } else { "came" };
            let gave = match gave_after {
                Some(bytes) if *bytes < PIECE_BYTES => "it came with the next one".to_owned(),
                Some(bytes) => {
                    format!("something came once {} KiB had been published", bytes >> 10)
                }
                None if *filled < PIECE_BYTES => "nor when another one was published".to_owned(),
                None => format!("nor after {} KiB had been published", filled >> 10),
            };
            let sent = if *was_sent { "; the node says that it has sent it" } else { "" };
            let seen = format!("{what} {came} within {}; {gave}{sent}", seconds(*within));
            Verdict::wrong(PASSES, Code::StreamBuffered, seen)
        }
        Some(Passage::Each { events, publishes }) => {
            let quickest = |all: &[Duration]| all.iter().min().copied().unwrap_or_default();
            let (event, publish) = (quickest(events), quickest(publishes));
            let words = format!("the quickest of {} after {}", events.len(), seconds(event));
            if event > publish + LATER_THAN_PUBLISH_MAX {
                let seen = format!("{words}, when its publish had been answered after {}", seconds(publish));
                return Verdict::wrong(PASSES, Code::StreamDelayed, seen);
            }
            Verdict::passed(PASSES, words)
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use hyper::HeaderMap;

    use super::*;

    fn head(status: u16, fields: &[(&'static str, &'static str)]) -> Option<(Duration, Box<Head>)> {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.insert(*name, value.parse().unwrap());
        }
        let status = StatusCode::from_u16(status).unwrap();
        let head = Head { at: Instant::now(), status, headers, body: Bytes::new() };
        Some((Duration::from_millis(5), Box::new(head)))
    }

    const STREAM: (&str, &str) = ("content-type", "text/event-stream");
    const SOON: Option<Duration> = Some(Duration::from_millis(9));

    fn codes(verdict: &Verdict) -> Vec<Code> {
        verdict.findings().iter().map(|finding| finding.code).collect()
    }

    fn each(event_ms: &[u64], publish_ms: &[u64]) -> Option<Passage> {
        let all = |all: &[u64]| all.iter().copied().map(Duration::from_millis).collect();
        Some(Passage::Each { events: all(event_ms), publishes: all(publish_ms) })
    }

    #[test]
    fn a_stream_that_is_none_any_more_is_named_by_what_it_lost() {
        let whole = Live { head: head(200, &[STREAM]), ready: SOON, ..Live::default() };
        assert_eq!(codes(&judge_first(&whole)), []);
        let plain = Live {
            head: head(200, &[("content-type", "text/plain"), ("content-length", "9")]),
            ..Live::default()
        };
        assert_eq!(codes(&judge_first(&plain)), [Code::StreamType, Code::StreamLength]);
        let refused = Live { head: head(504, &[]), ..Live::default() };
        assert_eq!(codes(&judge_first(&refused)), [Code::StreamRefused]);
        let away = Live { head: head(200, &[STREAM]), ended: Some((End::Clean, true)), ..Live::default() };
        assert_eq!(codes(&judge_first(&away)), [Code::TurnedAway]);
    }

    #[test]
    fn one_quick_event_of_several_shows_that_nothing_holds_them_and_none_that_something_does() {
        let live = |passage| Live { head: head(200, &[STREAM]), ready: SOON, passage, ..Live::default() };
        assert_eq!(codes(&judge_passing(&live(each(&[300, 4, 250], &[3, 3, 3])))), []);
        assert_eq!(codes(&judge_passing(&live(each(&[203, 204, 201], &[3, 3, 3])))), [Code::StreamDelayed]);
        // A long way is no delay of the stream's.
        assert_eq!(codes(&judge_passing(&live(each(&[203, 204, 201], &[180, 190, 200])))), []);
    }

    #[test]
    fn a_held_stream_says_what_made_it_give() {
        let held = |gave_after| {
            let passage = Passage::Held { within: EVENT_MAX, gave_after, filled: 256 << 10, was_sent: true };
            let live =
                Live { head: head(200, &[STREAM]), ready: SOON, passage: Some(passage), ..Live::default() };
            let verdict = judge_passing(&live);
            assert_eq!(codes(&verdict), [Code::StreamBuffered]);
            assert!(!live.passes());
            verdict.findings()[0].seen.clone()
        };
        assert!(held(Some(64)).contains("with the next one"));
        assert!(held(Some(48 << 10)).contains("once 48 KiB"));
        assert!(held(None).contains("nor after 256 KiB"));
        let silent = Live { passage: None, ..Live::default() };
        assert_eq!(codes(&judge_passing(&silent)), [Code::StreamBuffered]);
    }
}
