//! Quiet connections: how long each kind lives when nobody says anything, and whether what keeps it alive comes through.

use std::time::{Duration, Instant};

use futures_util::SinkExt as _;
use tokio::time::timeout_at;
use tokio_tungstenite::tungstenite::Message;

use super::super::finding::{Code, Verdict};
use super::super::route::{Route, seconds};
use super::super::stream::{End, Heard, Stream};
use super::socket;

/// The latest that a heartbeat comes by default, with room for a slow way: 15 s and a fifth.
const HEARTBEAT_MAX: Duration = Duration::from_secs(20);

/// A connection that was left alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Watched {
    /// How long it was watched.
    pub watched: Duration,
    pub beats: Beats,
    /// When it ended, and in what words.
    pub ended: Option<(Duration, String)>,
    /// The server said goodbye: a `retry:` or a close frame was the last that came.
    pub is_goodbye: bool,
}

/// What came meanwhile: heartbeats of a stream, pings of a WebSocket. None is kept, as a server may send as many as it likes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Beats {
    count: u64,
    last: Duration,
    /// The longest silence before any of them.
    apart: Duration,
}

impl Beats {
    fn hear(&mut self, at: Duration) {
        self.count += 1;
        self.apart = self.apart.max(at.saturating_sub(self.last));
        self.last = at;
    }
}

/// What is watched, with its words and its codes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kind {
    check: &'static str,
    beat: &'static str,
    cut: Code,
    capped: Code,
    /// Only of streams it is known when the first has to come: a WebSocket's pings are 20 s apart.
    is_beat_due: bool,
}

pub(crate) const STREAM: Kind = Kind {
    check: "quiet stream",
    beat: "heartbeat",
    cut: Code::StreamCut,
    capped: Code::StreamCapped,
    is_beat_due: true,
};

pub(crate) const SOCKET: Kind = Kind {
    check: "quiet WebSocket",
    beat: "ping",
    cut: Code::SocketCut,
    capped: Code::SocketCapped,
    is_beat_due: false,
};

/// Watches a stream for `idle`.
pub(crate) async fn watch_stream(route: &Route, idle: Duration) -> Result<Watched, String> {
    let mut stream = Stream::open(route, route.get(&route.channel("idle"), &[])).await?;
    let is_ready = |event: &crate::sse::Event| event.kind == "$ready";
    let (ready, _) =
        stream.event(Duration::from_secs(3), is_ready).await.ok_or("its first event did not come")?;
    let mut seen = Watched { watched: idle, beats: Beats::default(), ended: None, is_goodbye: false };
    while let Some(heard) = stream.next(ready + idle).await {
        match heard {
            Heard::Event { at, .. } => seen.beats.hear(at - ready),
            Heard::Quiet { at, is_retry } => {
                seen.beats.hear(at - ready);
                seen.is_goodbye = is_retry;
            }
            Heard::End { at, how } => {
                let words = match how {
                    End::Clean => "it ended".to_owned(),
                    End::Broken(_) => "it was cut off".to_owned(),
                };
                seen.ended = Some((at - ready, words));
                break;
            }
            Heard::Head(_) => {}
        }
    }
    Ok(seen)
}

/// Watches a WebSocket for `idle`.
pub(crate) async fn watch_socket(route: &Route, idle: Duration) -> Result<Watched, String> {
    let opened = socket::open(route, &route.channel("idle"), None).await;
    let (mut socket, _) = opened.map_err(|_| "it did not open")?;
    let began = Instant::now();
    let mut seen = Watched { watched: idle, beats: Beats::default(), ended: None, is_goodbye: false };
    let deadline = began + idle;
    while let Some(next) = socket::next(&mut socket, deadline).await {
        let at = began.elapsed();
        match next {
            Some(Ok(Message::Close(close))) => {
                let words = close.map(|close| format!("it was closed with {}", u16::from(close.code)));
                seen.ended = Some((at, words.unwrap_or_else(|| "it was closed".into())));
                seen.is_goodbye = true;
                break;
            }
            Some(Ok(_)) => {
                seen.beats.hear(at);
                // The library has queued the pong.
                let _ = timeout_at(deadline.into(), socket.flush()).await;
            }
            Some(Err(_)) | None => {
                seen.ended = Some((at, "it was cut off".into()));
                break;
            }
        }
    }
    Ok(seen)
}

/// A kind that there is none of, for a reason that is told elsewhere.
pub(crate) fn left_out(kind: Kind, why: &str) -> Verdict {
    Verdict::left_out(kind.check, why)
}

pub(crate) fn judge(kind: Kind, measured: &Result<Watched, String>) -> Verdict {
    let Kind { check, beat, cut, capped, is_beat_due } = kind;
    let seen = match measured {
        Ok(seen) => seen,
        Err(why) => return Verdict::wrong(check, Code::Unanswered, why.clone()),
    };
    let beats = match seen.beats.count {
        0 => format!("no {beat}"),
        1 => format!("1 {beat}"),
        count => format!("{count} {beat}s"),
    };
    let Some((lived, words)) = &seen.ended else {
        if is_beat_due && seen.beats.count == 0 && seen.watched >= HEARTBEAT_MAX {
            let seen = format!("nothing came for {}; one is due after 12 to 18 s", seconds(seen.watched));
            return Verdict::wrong(check, Code::HeartbeatsLost, seen);
        }
        return Verdict::passed(check, format!("open after {}, {beats}", seconds(seen.watched)));
    };
    if seen.is_goodbye {
        let seen = format!(
            "the server ended it after {}, as it does when it drains or a connection gets old",
            seconds(*lived)
        );
        return Verdict::told(check, seen);
    }
    let silence = lived.saturating_sub(seen.beats.last);
    let survived = seen.beats.apart;
    // Who cuts what is silent lets no longer silence pass. But once several heartbeats have passed, it is not silence that he
    // cuts: the last ones before a cut are lost with it, and make the end look up to two of them longer.
    let is_habit = seen.beats.count >= 3 && silence * 2 <= survived * 5;
    if silence > survived && !is_habit {
        let after = if seen.beats.count == 0 { "before the first".into() } else { format!("after {beats}") };
        let found = format!("{words} after {} of silence, {after} {beat}", seconds(silence));
        let found = found.replace(&format!("{beats} {beat}"), &beats);
        return Verdict::wrong(check, cut, found);
    }
    let found = format!(
        "{words} after {}, although {beats} had come through, the last {} before",
        seconds(*lived),
        seconds(silence)
    );
    Verdict::wrong(check, capped, found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(beats_s: &[u64]) -> Beats {
        let mut beats = Beats::default();
        beats_s.iter().for_each(|at| beats.hear(Duration::from_secs(*at)));
        beats
    }

    fn code(watched_s: u64, beats_s: &[u64], ended_s: Option<u64>) -> Option<Code> {
        let of = Duration::from_secs;
        let beats = heard(beats_s);
        let ended = ended_s.map(|at| (of(at), "it was cut off".to_owned()));
        let watched = Watched { watched: of(watched_s), beats, ended, is_goodbye: false };
        judge(STREAM, &Ok(watched)).findings().first().map(|finding| finding.code)
    }

    #[test]
    fn a_cut_after_silence_is_told_from_one_after_a_fixed_time() {
        assert_eq!(code(32, &[14, 29], None), None);
        assert_eq!(code(32, &[], Some(5)), Some(Code::StreamCut));
        // A first heartbeat came in time, a second one did not.
        assert_eq!(code(32, &[12], Some(25)), Some(Code::StreamCut));
        assert_eq!(code(60, &[14, 29], Some(30)), Some(Code::StreamCapped));
        assert_eq!(code(60, &[14], Some(15)), Some(Code::StreamCapped));
        // Found dead at the heartbeat after the next, as behind Caddy's `write` timeout.
        assert_eq!(code(90, &[14, 28, 42], Some(71)), Some(Code::StreamCapped));
        assert_eq!(code(200, &[14, 28, 42], Some(102)), Some(Code::StreamCut));
    }

    #[test]
    fn heartbeats_are_missed_only_once_one_was_due() {
        assert_eq!(code(32, &[], None), Some(Code::HeartbeatsLost));
        assert_eq!(code(10, &[], None), None);
    }

    #[test]
    fn a_server_that_says_goodbye_is_not_a_proxy_that_cuts() {
        let ended = Some((Duration::from_secs(4), "it ended".to_owned()));
        let watched =
            Watched { watched: Duration::from_secs(9), beats: heard(&[4]), ended, is_goodbye: true };
        assert!(judge(STREAM, &Ok(watched)).findings().is_empty());
    }
}
