//! What a request carries: whether `Last-Event-ID`, the query, a large head and a large body arrive.

use super::super::finding::{Code, Finding, Verdict};
use super::super::route::{Answer, Route, STEP_MAX, Unpublished};

const CHECK: &str = "requests";

/// A cursor that no server ever gave: one that reads it answers with a gap.
const UNKNOWN_CURSOR: &str = "doctor.0";
/// A bearer token with a few hundred channels in it.
const FIELD_BYTES: usize = 4 << 10;
/// The largest publish that Tidewire takes by default.
const PAYLOAD_BYTES: usize = 64 << 10;

/// What became of each.
#[derive(Clone, Debug)]
pub(crate) struct Carried {
    pub last_event_id: Result<Answer, String>,
    pub query: Result<Answer, String>,
    pub large_head: Result<Answer, String>,
    /// Nothing where we may not publish.
    pub large_body: Option<Result<(), Refusal>>,
}

/// Who refused a large body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    Tidewire(String),
    SomebodyElse(String),
}

pub(crate) async fn measure(route: &Route, may_publish: bool) -> Carried {
    let channel = route.channel("requests");
    let get = |query: &[(&str, &str)]| route.get(&channel, query);
    let last_event_id = route.ask(get(&[]).header("last-event-id", UNKNOWN_CURSOR), STEP_MAX).await;
    let query = route.ask(get(&[("cursor", UNKNOWN_CURSOR)]), STEP_MAX).await;
    let large_head = route.ask(get(&[]).header("tidewire-doctor", "x".repeat(FIELD_BYTES)), STEP_MAX).await;
    let mut large_body = None;
    if may_publish {
        let published = route.publish(&channel, vec![b'.'; PAYLOAD_BYTES]).await;
        large_body = Some(published.map(|_| ()).map_err(|why| match &why {
            Unpublished::Refused(answer) if answer.problem().is_some() => Refusal::Tidewire(why.words()),
            _ => Refusal::SomebodyElse(why.words()),
        }));
    }
    Carried { last_event_id, query, large_head, large_body }
}

pub(crate) fn judge(carried: &Carried) -> Verdict {
    let mut findings = Vec::new();
    let mut passed = Vec::new();
    for (answer, code, what) in [
        (&carried.last_event_id, Code::LastEventIdLost, "Last-Event-ID"),
        (&carried.query, Code::QueryLost, "query"),
    ] {
        match answer.as_ref().map(|answer| answer.page().ok_or_else(|| answer.words())) {
            Ok(Ok(page)) if page.gap.is_some() => passed.push(what),
            Ok(Ok(_)) => {
                let seen =
                    format!("a cursor that nobody gave, sent in the {what}, was not answered with a gap");
                findings.push(Finding::new(code, seen));
            }
            Ok(Err(words)) => {
                findings.push(Finding::new(code, format!("a poll with a cursor in the {what}: {words}")));
            }
            Err(why) => {
                findings.push(Finding::new(code, format!("a poll with a cursor in the {what}: {why}")));
            }
        }
    }
    match &carried.large_head {
        Ok(answer) if answer.page().is_some() => passed.push("a header of 4 KiB"),
        Ok(answer) => findings.push(Finding::new(Code::HeadTooLarge, format!("answered {}", answer.words()))),
        Err(why) => findings.push(Finding::new(Code::HeadTooLarge, why.clone())),
    }
    match &carried.large_body {
        None => {}
        Some(Ok(())) => passed.push("a publish of 64 KiB"),
        Some(Err(Refusal::Tidewire(words))) => {
            findings.push(Finding::new(Code::BodyLimit, format!("Tidewire said {words}")));
        }
        Some(Err(Refusal::SomebodyElse(words))) => {
            findings.push(Finding::new(Code::BodyTooLarge, format!("answered {words}")));
        }
    }
    Verdict::of(CHECK, findings, format!("passed: {}", passed.join(", ")))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use hyper::{HeaderMap, StatusCode, Version};

    use super::*;

    fn answer(status: u16, body: &'static str) -> Result<Answer, String> {
        let (status, body) = (StatusCode::from_u16(status).unwrap(), body.into());
        let (headers, took, at) = (HeaderMap::new(), Duration::ZERO, SystemTime::UNIX_EPOCH);
        Ok(Answer { status, version: Version::HTTP_11, headers, body, took, at })
    }

    #[test]
    fn a_cursor_that_nobody_gave_is_answered_with_a_gap_where_it_arrives() {
        let gap = || answer(200, r#"{"messages":[],"cursor":"1.1","more":false,"gap":{"reason":"epoch"}}"#);
        let page = || answer(200, r#"{"messages":[],"cursor":"1.1","more":false,"gap":null}"#);
        let codes = |carried: &Carried| -> Vec<Code> {
            judge(carried).findings().iter().map(|finding| finding.code).collect()
        };
        let whole =
            Carried { last_event_id: gap(), query: gap(), large_head: page(), large_body: Some(Ok(())) };
        assert_eq!(codes(&whole), []);
        let bare = Carried {
            last_event_id: page(),
            query: page(),
            large_head: answer(400, "<html>"),
            large_body: None,
        };
        assert_eq!(codes(&bare), [Code::LastEventIdLost, Code::QueryLost, Code::HeadTooLarge]);
        let small = |refusal| Carried { large_body: Some(Err(refusal)), ..whole.clone() };
        assert_eq!(codes(&small(Refusal::Tidewire("413".into()))), [Code::BodyLimit]);
        assert_eq!(codes(&small(Refusal::SomebodyElse("413".into()))), [Code::BodyTooLarge]);
    }
}
