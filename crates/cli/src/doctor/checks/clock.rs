//! Clocks: that of whoever dates the answers, and that of the node, which dates messages, against this machine's.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::super::finding::{Code, Finding, Verdict};
use super::super::route::seconds;

const CHECK: &str = "clock";

/// What a clock may be off: more than a token's `iat` and `exp` notice, and than a slow answer explains.
const SKEW_MAX: Duration = Duration::from_secs(5);

/// By how much another clock is ahead (`Ok`) or behind (`Err`).
type Skew = Result<Duration, Duration>;

/// What the clocks said.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Clocks {
    /// `Date` of an answer, in whole seconds.
    pub front: Option<Skew>,
    /// `time` of a message.
    pub node: Option<Skew>,
}

/// How far `Date` is from when the answer was made.
pub(crate) fn of_date(date: Option<&str>, at: SystemTime) -> Option<Skew> {
    let date = httpdate::parse_http_date(date?).ok()?;
    // It was cut to the second.
    Some(skew(date + Duration::from_millis(500), at))
}

/// How far the `time` of a message is from when it was published.
pub(crate) fn of_message(time_ms: u64, at: SystemTime) -> Skew {
    skew(UNIX_EPOCH + Duration::from_millis(time_ms), at)
}

fn skew(there: SystemTime, here: SystemTime) -> Skew {
    there.duration_since(here).map_err(|behind| behind.duration())
}

pub(crate) fn judge(clocks: Clocks) -> Verdict {
    let mut findings = Vec::new();
    let mut seen = Vec::new();
    for (whose, code, skew) in
        [("answers", Code::ClockProxy, clocks.front), ("messages", Code::ClockNode, clocks.node)]
    {
        let Some(skew) = skew else { continue };
        let (by, way) = match skew {
            Ok(ahead) => (ahead, "ahead of"),
            Err(behind) => (behind, "behind"),
        };
        if by > SKEW_MAX {
            findings.push(Finding::new(
                code,
                format!("the clock that dates {whose} is {} {way} this machine's", seconds(by)),
            ));
        }
        // A date says no more than the second.
        let is_a_date = whose == "answers";
        let by = if is_a_date && by < Duration::from_secs(1) { "less than 1 s".into() } else { seconds(by) };
        let off = if seen.is_empty() { "off by" } else { "by" };
        seen.push(format!("{whose} {off} {by}"));
    }
    if seen.is_empty() {
        return Verdict::left_out(CHECK, "no answer was dated");
    }
    Verdict::of(CHECK, findings, seen.join(", "))
}

#[cfg(test)]
mod tests {
    use super::super::super::finding::Outcome;
    use super::*;

    #[test]
    fn either_clock_is_judged_by_itself_in_both_directions() {
        let second = Duration::from_secs(1);
        let codes = |front, node| -> Vec<Code> {
            judge(Clocks { front, node }).findings().iter().map(|finding| finding.code).collect()
        };
        assert_eq!(codes(Some(Ok(second * 2)), Some(Err(second * 2))), []);
        let passed = |front, node| judge(Clocks { front, node }).outcome;
        let words = Outcome::Passed("answers off by less than 1 s, messages by less than 1 ms".into());
        assert_eq!(passed(Some(Ok(second / 2)), Some(Err(Duration::ZERO))), words);
        let words = Outcome::Passed("messages off by 4 ms".into());
        assert_eq!(passed(None, Some(Ok(Duration::from_millis(4)))), words);
        assert_eq!(codes(Some(Ok(second * 90)), Some(Err(second))), [Code::ClockProxy]);
        assert_eq!(codes(None, Some(Err(second * 90))), [Code::ClockNode]);
    }

    #[test]
    fn a_date_is_compared_in_the_middle_of_its_second() {
        let at = UNIX_EPOCH + Duration::from_millis(1_500);
        assert_eq!(of_date(Some("Thu, 01 Jan 1970 00:00:01 GMT"), at), Some(Ok(Duration::ZERO)));
        assert_eq!(of_date(Some("yesterday"), at), None);
        assert_eq!(of_message(500, at), Err(Duration::from_secs(1)));
    }
}
