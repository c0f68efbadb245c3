//! Polls: whether one that waits is left to wait, whether a tag spares an answer, and whether a cache answers in our place.

use std::time::Duration;

use hyper::StatusCode;

use super::super::finding::{Code, Finding, Verdict};
use super::super::route::{Answer, Route, STEP_MAX, nonce, seconds, shown};

const LONG: &str = "long poll";
const SHORT: &str = "short poll";

/// How long the poll of the first look waits, in seconds.
const WAIT_S: u64 = 2;
/// Answers with messages of others, until one with ours is given up.
const WOKEN_MAX: usize = 10;
/// Times that a tag is tried on a channel where others speak meanwhile.
const TAGS_MAX: usize = 3;

/// What long polls did.
#[derive(Clone, Debug, Default)]
pub(crate) struct Long {
    /// One for which nothing came, and for how long it asked.
    pub quiet: Option<(Duration, Result<Answer, String>)>,
    /// Whether one that waited for a message came back with it; nothing where we may not publish.
    pub woken: Option<Result<(), String>>,
}

/// One poll that waits for nothing, and one for something.
pub(crate) async fn measure_long(route: &Route, may_publish: bool) -> Long {
    let quiet = Some((Duration::from_secs(WAIT_S), wait(route, &route.channel("quiet"), WAIT_S).await));
    let mut long = Long { quiet, woken: None };
    if may_publish {
        long.woken = Some(wake(route).await);
    }
    long
}

/// Asks what is now, and waits behind it.
pub(crate) async fn wait(route: &Route, channel: &str, wait_s: u64) -> Result<Answer, String> {
    let now = route.ask(route.get(channel, &[]), STEP_MAX).await?;
    let cursor = now.page().map(|page| page.cursor).ok_or_else(|| now.words())?;
    let query = [("cursor", cursor.as_str()), ("wait", &wait_s.to_string())];
    route.ask(route.get(channel, &query), Duration::from_secs(wait_s) + STEP_MAX).await
}

async fn wake(route: &Route) -> Result<(), String> {
    let channel = route.channel("woken");
    let word = nonce();
    let publish = async {
        tokio::time::sleep(Duration::from_millis(400)).await;
        route.publish(&channel, word.clone()).await.map(|_| ()).map_err(|why| why.words())
    };
    let (answers, receipt) = tokio::join!(wait_for(route, &channel, &word), publish);
    receipt.and(answers)
}

/// Polls until `word` is there: on a channel of others, others speak before it does.
async fn wait_for(route: &Route, channel: &str, word: &str) -> Result<(), String> {
    let page = |answer: Answer| answer.page().ok_or_else(|| answer.words());
    let mut cursor = page(route.ask(route.get(channel, &[]), STEP_MAX).await?)?.cursor;
    for _ in 0..WOKEN_MAX {
        let query = [("cursor", cursor.as_str()), ("wait", "3")];
        let answered = page(route.ask(route.get(channel, &query), 2 * STEP_MAX).await?)?;
        if answered.messages.iter().any(|message| message.data.as_deref() == Some(word)) {
            return Ok(());
        }
        if answered.messages.is_empty() {
            break;
        }
        cursor = answered.cursor;
    }
    Err("it came back without what was published".into())
}

/// `quiet` is the longest of those that were cut or held.
pub(crate) fn judge_long(long: &Long) -> Verdict {
    let Some((asked, quiet)) = &long.quiet else { return Verdict::left_out(LONG, "not tried") };
    let cut = |seen: String| Verdict::wrong(LONG, Code::PollCut, seen);
    let answer = match quiet {
        Err(why) => return cut(format!("asked to wait {}: {why}", seconds(*asked))),
        Ok(answer) => answer,
    };
    let after = format!("after {} of {}", seconds(answer.took), seconds(*asked));
    let Some(page) = answer.page().filter(|_| answer.status == StatusCode::OK) else {
        return cut(format!("{} {after}", answer.words()));
    };
    // Somebody else's message ends it early.
    if page.messages.is_empty() && answer.took + Duration::from_millis(200) < *asked {
        return Verdict::wrong(LONG, Code::PollNotHeld, format!("an empty answer came {after}"));
    }
    match &long.woken {
        Some(Err(why)) => {
            Verdict::wrong(LONG, Code::PollCut, format!("one that waited for a message: {why}"))
        }
        _ => Verdict::passed(LONG, format!("held for {}", seconds(answer.took))),
    }
}

/// What short polls of one address did, in turn.
#[derive(Clone, Debug)]
pub(crate) struct Short {
    /// Asked as browsers ask, with `Accept-Encoding`.
    pub tagged: Answer,
    /// What became of its tag.
    pub tag: Tag,
    /// The same after a publish, and whether that was in it; nothing where we may not publish.
    pub later: Option<(Answer, bool)>,
}

/// What an answer's `ETag` was good for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Tag {
    /// The same request with it was answered 304.
    Kept,
    /// There was none.
    Missing,
    /// The same request with it was answered in full.
    Ignored { asked: String, status: u16 },
    /// Others spoke on the channel whenever it was tried.
    Moved,
}

pub(crate) async fn measure_short(route: &Route, may_publish: bool) -> Result<Short, String> {
    let channel = route.channel("short");
    let now = route.ask(route.get(&channel, &[]), STEP_MAX).await?;
    let cursor = now.page().map(|page| page.cursor).ok_or_else(|| now.words())?;
    let get = || route.get(&channel, &[("cursor", &cursor)]);
    let compressed = || get().header("accept-encoding", "gzip, deflate, br, zstd");
    let mut tagged = route.ask(compressed(), STEP_MAX).await?;
    let mut tag = Tag::Missing;
    for _ in 0..TAGS_MAX {
        let Some(asked) = tagged.header("etag").map(str::to_owned) else { break };
        let answer = route.ask(compressed().header("if-none-match", &asked), STEP_MAX).await?;
        let has_moved_on =
            answer.status == StatusCode::OK && answer.header("etag").is_some_and(|tag| tag != asked);
        tag = match answer.status {
            StatusCode::NOT_MODIFIED => Tag::Kept,
            _ if has_moved_on => Tag::Moved,
            status => Tag::Ignored { asked: shown(&asked), status: status.as_u16() },
        };
        if tag != Tag::Moved {
            break;
        }
        tagged = answer;
    }
    let mut short = Short { tagged, tag, later: None };
    let word = nonce();
    if may_publish && route.publish(&channel, word.clone()).await.is_ok() {
        let answer = route.ask(get(), STEP_MAX).await?;
        let page = answer.page();
        let has_it = page
            .is_some_and(|page| page.messages.iter().any(|said| said.data.as_deref() == Some(word.as_str())));
        short.later = Some((answer, has_it));
    }
    Ok(short)
}

pub(crate) fn judge_short(measured: &Result<Short, String>) -> Verdict {
    let short = match measured {
        Ok(short) => short,
        Err(why) => return Verdict::wrong(SHORT, Code::Unanswered, why.clone()),
    };
    let mut findings = Vec::new();
    let answers = [Some(&short.tagged), short.later.as_ref().map(|(answer, _)| answer)];
    let hit = answers.into_iter().flatten().find_map(from_cache);
    match (&short.later, hit) {
        (Some((_, false)), hit) => {
            let by = hit.map(|hit| format!(" ({hit})")).unwrap_or_default();
            let seen = format!("a poll after a publish was answered as before it{by}");
            findings.push(Finding::new(Code::Cached, seen));
        }
        (_, Some(hit)) => findings.push(Finding::new(Code::Cached, format!("an answer says `{hit}`"))),
        _ => {}
    }
    let kept = short.tagged.header("cache-control").unwrap_or_default();
    if !(kept.contains("private") && kept.contains("no-cache")) {
        let seen = match kept {
            "" => "`private, no-cache` is gone".to_owned(),
            kept => format!("`private, no-cache` became `{}`", shown(kept)),
        };
        findings.push(Finding::new(Code::CacheControlLost, seen));
    }
    match &short.tag {
        Tag::Missing => findings.push(Finding::new(Code::EtagLost, "the answer has no ETag")),
        Tag::Ignored { asked, status } => {
            let seen = format!("asked with `If-None-Match: {asked}`, it answers {status} in place of 304");
            findings.push(Finding::new(Code::EtagLost, seen));
        }
        Tag::Kept | Tag::Moved => {}
    }
    Verdict::of(SHORT, findings, "fresh, and 304 where there is nothing new")
}

/// What gives away an answer that came out of a cache.
fn from_cache(answer: &Answer) -> Option<String> {
    if let Some(age) = answer.header("age").filter(|age| *age != "0") {
        return Some(format!("Age: {}", shown(age)));
    }
    ["x-cache", "x-cache-status", "cf-cache-status", "x-proxy-cache"].into_iter().find_map(|name| {
        let value = answer.header(name)?;
        value.to_ascii_lowercase().contains("hit").then(|| format!("{name}: {}", shown(value)))
    })
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use hyper::{HeaderMap, Version};

    use super::*;

    const PAGE: &str = r#"{"messages":[],"cursor":"1.1","more":false,"gap":null}"#;

    fn answer(status: u16, took_ms: u64, fields: &[(&'static str, &'static str)]) -> Answer {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.insert(*name, value.parse().unwrap());
        }
        let body = if status == 200 { PAGE.into() } else { "<html>".into() };
        let (version, at, took) = (Version::HTTP_11, SystemTime::UNIX_EPOCH, Duration::from_millis(took_ms));
        Answer { status: StatusCode::from_u16(status).unwrap(), version, headers, body, took, at }
    }

    fn codes(verdict: &Verdict) -> Vec<Code> {
        verdict.findings().iter().map(|finding| finding.code).collect()
    }

    #[test]
    fn a_long_poll_is_held_cut_or_not_held() {
        let long = |answer| judge_long(&Long { quiet: Some((Duration::from_secs(2), answer)), woken: None });
        assert_eq!(codes(&long(Ok(answer(200, 2_003, &[])))), []);
        assert_eq!(codes(&long(Ok(answer(504, 1_000, &[])))), [Code::PollCut]);
        assert_eq!(codes(&long(Err("closed".into()))), [Code::PollCut]);
        assert_eq!(codes(&long(Ok(answer(200, 4, &[])))), [Code::PollNotHeld]);
    }

    #[test]
    fn tags_caches_and_their_rules_are_each_their_own_finding() {
        const KEPT: (&str, &str) = ("cache-control", "private, no-cache");
        const TAG: (&str, &str) = ("etag", "\"1.1-json1\"");
        let short = |tagged: &[(&'static str, &'static str)], tag, has_it| {
            let later = Some((answer(200, 1, &[KEPT]), has_it));
            judge_short(&Ok(Short { tagged: answer(200, 1, tagged), tag, later }))
        };
        assert_eq!(codes(&short(&[KEPT, TAG], Tag::Kept, true)), []);
        assert_eq!(codes(&short(&[KEPT, TAG], Tag::Moved, true)), []);
        assert_eq!(codes(&short(&[KEPT, TAG], Tag::Kept, false)), [Code::Cached]);
        assert_eq!(
            codes(&short(&[KEPT, TAG, ("x-cache", "HIT from edge")], Tag::Kept, true)),
            [Code::Cached]
        );
        assert_eq!(codes(&short(&[KEPT, TAG, ("age", "7")], Tag::Kept, true)), [Code::Cached]);
        assert_eq!(codes(&short(&[KEPT], Tag::Missing, true)), [Code::EtagLost]);
        let ignored = Tag::Ignored { asked: "1.1".into(), status: 200 };
        assert_eq!(codes(&short(&[KEPT, TAG], ignored, true)), [Code::EtagLost]);
        let aged = ("cache-control", "max-age=60");
        assert_eq!(codes(&short(&[TAG, aged], Tag::Kept, true)), [Code::CacheControlLost]);
    }
}
