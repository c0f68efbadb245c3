//! Whether a stream is compressed when it is asked for as browsers ask: with `Accept-Encoding`.

use std::time::{Duration, Instant};

use super::super::finding::{Code, Verdict};
use super::super::route::{Route, STEP_MAX, nonce, seconds, shown};
use super::super::stream::{Heard, Stream};

const CHECK: &str = "compression";

/// As Chromium and Firefox say it.
const AS_BROWSERS_ASK: &str = "gzip, deflate, br, zstd";

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Compressed {
    /// Whether a head came at all.
    pub began: bool,
    pub encoding: Option<String>,
    pub cache_control: Option<String>,
    /// How long after a publish any bytes came; nothing where none did, or none was published.
    pub passed: Option<Duration>,
    pub published: bool,
}

pub(crate) async fn measure(route: &Route, may_publish: bool) -> Result<Compressed, String> {
    let channel = route.channel("compressed");
    let request = route.get(&channel, &[]).header("accept-encoding", AS_BROWSERS_ASK);
    let mut stream = Stream::open(route, request).await?;
    let mut seen = Compressed::default();
    while let Some(heard) = stream.next(stream.asked + STEP_MAX).await {
        match heard {
            Heard::Head(head) => {
                seen.began = true;
                seen.encoding = head.header("content-encoding").map(shown);
                seen.cache_control = head.header("cache-control").map(shown);
                break;
            }
            Heard::End { .. } => break,
            _ => {}
        }
    }
    if seen.encoding.is_none() || !may_publish {
        return Ok(seen);
    }
    // Whatever the beginning is made of has come by now, or will not by itself.
    while stream.next(Instant::now() + Duration::from_millis(300)).await.is_some() {}
    if let Ok(receipt) = route.publish(&channel, nonce()).await {
        seen.published = true;
        if let Some(Heard::Event { at, .. } | Heard::Quiet { at, .. }) =
            stream.next(Instant::now() + Duration::from_millis(1_500)).await
        {
            seen.passed = Some(at.saturating_duration_since(receipt.sent));
        }
    }
    Ok(seen)
}

pub(crate) fn judge(measured: &Result<Compressed, String>) -> Verdict {
    let seen = match measured {
        Ok(seen) => seen,
        Err(why) => return Verdict::wrong(CHECK, Code::Unanswered, why.clone()),
    };
    let kept = seen.cache_control.as_deref().is_some_and(|value| value.contains("no-transform"));
    match &seen.encoding {
        _ if !seen.began => {
            let asked = format!("asked for with `Accept-Encoding: {AS_BROWSERS_ASK}`, nothing came within");
            Verdict::wrong(CHECK, Code::CompressionHolds, format!("{asked} {}", seconds(STEP_MAX)))
        }
        Some(encoding) if encoding != "identity" => {
            let (code, events) = match (seen.published, seen.passed) {
                (false, _) => (Code::StreamCompressed, String::new()),
                (true, Some(took)) => {
                    (Code::StreamCompressed, format!("; an event still came, after {}", seconds(took)))
                }
                (true, None) => (Code::CompressionHolds, "; an event did not come within 1.5 s".into()),
            };
            let lost = if kept { "" } else { ", and Cache-Control lost `no-transform`" };
            Verdict::wrong(CHECK, code, format!("Content-Encoding is `{encoding}`{lost}{events}"))
        }
        _ => Verdict::passed(CHECK, "none, also when asked for"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_encoding_of_a_stream_is_a_warning_and_one_that_holds_events_a_problem() {
        let judged = |seen: Compressed| {
            judge(&Ok(seen)).findings().first().map(|finding| (finding.code, finding.seen.clone()))
        };
        let plain = Compressed { began: true, ..Compressed::default() };
        assert_eq!(judged(plain.clone()), None);
        let gzip = Compressed { encoding: Some("gzip".into()), published: true, ..plain };
        let (code, seen) = judged(gzip.clone()).unwrap();
        assert_eq!(code, Code::CompressionHolds);
        assert!(seen.contains("did not come within"), "{seen}");
        let (code, seen) =
            judged(Compressed { passed: Some(Duration::from_millis(3)), ..gzip.clone() }).unwrap();
        assert_eq!(code, Code::StreamCompressed);
        assert!(seen.contains("still came, after 3 ms"), "{seen}");
        // Who may not publish sees the encoding, and no more.
        let (code, _) = judged(Compressed { published: false, ..gzip }).unwrap();
        assert_eq!(code, Code::StreamCompressed);
        assert_eq!(judged(Compressed::default()).unwrap().0, Code::CompressionHolds);
    }
}
