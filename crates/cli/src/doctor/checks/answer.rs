//! Who answers: Tidewire, a proxy that has nobody behind it, or something else; and what our credentials are good for.

use hyper::StatusCode;

use super::super::finding::{Code, Finding, Verdict};
use super::super::route::{Answer, Unpublished, shown};

pub(crate) const CHECK: &str = "answered";
const PUBLISH: &str = "may publish";

/// Who it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    /// Tidewire, and it lets us listen.
    Tidewire,
    /// Go there instead.
    Elsewhere(String),
    /// There is no going on.
    Wrong(Finding),
}

/// What the answer to a short poll says.
pub(crate) fn judge(answer: &Answer, has_credentials: bool) -> Who {
    let wrong = |code: Code, seen: String| Who::Wrong(Finding::new(code, seen));
    if let Some(problem) = answer.problem() {
        let code = match problem.code.as_str() {
            "unauthorized" | "expired" | "revoked" if !has_credentials => Code::CredentialsMissing,
            "unauthorized" if problem.detail.contains("there are no credentials") => Code::AuthorizationLost,
            "unauthorized" | "expired" | "revoked" => Code::CredentialsRefused,
            "forbidden" => Code::GrantMissing,
            "host_refused" => Code::HostRefused,
            "not_found" => Code::PathLost,
            _ if is_for_now(answer) => Code::TurnedAway,
            _ => Code::RequestRefused,
        };
        return wrong(
            code,
            format!("Tidewire said {} `{}`: {}", answer.status.as_u16(), problem.code, problem.detail),
        );
    }
    if answer.status.is_redirection() && answer.status != StatusCode::NOT_MODIFIED {
        let to = answer.header("location").unwrap_or_default().to_owned();
        return Who::Elsewhere(to);
    }
    if answer.status == StatusCode::OK && answer.page().is_some() {
        return Who::Tidewire;
    }
    let begins = String::from_utf8_lossy(&answer.body);
    let begins = shown(begins.trim_start().lines().next().unwrap_or_default());
    let seen = match begins.as_str() {
        "" => answer.words(),
        begins => format!("{}, which begins `{begins}`", answer.words()),
    };
    match answer.status {
        StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => {
            wrong(Code::NoNode, seen)
        }
        StatusCode::NOT_FOUND => wrong(Code::PathLost, seen),
        _ => wrong(Code::NotTidewire, seen),
    }
}

/// Whether Tidewire would take the same later: it has too much to do, or something behind it is away.
fn is_for_now(answer: &Answer) -> bool {
    answer.status.is_server_error() && answer.status != StatusCode::NOT_IMPLEMENTED
        || matches!(answer.status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS)
}

/// Why a first publish was not answered with a receipt: it is not ours to make, or does not arrive.
pub(crate) fn judge_publish(why: &Unpublished) -> Verdict {
    let said = match why {
        Unpublished::Refused(answer) => answer.problem().map(|problem| (answer, problem.code)),
        Unpublished::Lost(_) => None,
    };
    let Some((answer, code)) = said else {
        let seen = format!("a POST of six bytes was not answered by Tidewire: {}", why.words());
        return Verdict::wrong(PUBLISH, Code::PublishLost, seen);
    };
    if matches!(code.as_str(), "unauthorized" | "expired" | "revoked" | "forbidden") {
        let grant = "what takes publishing is left out. Give a token with this channel under `publish`";
        return Verdict::told(PUBLISH, format!("no ({}): {grant}", why.words()));
    }
    let finding = if is_for_now(answer) { Code::TurnedAway } else { Code::RequestRefused };
    Verdict::wrong(PUBLISH, finding, format!("a publish: Tidewire said `{code}`, {}", why.words()))
}

/// The line for an address that led elsewhere.
pub(crate) fn redirected(from: &str, answer: &Answer, to: &str) -> Verdict {
    let seen =
        format!("{from} answers {} to {}; give that address to pages", answer.status.as_u16(), shown(to));
    Verdict::wrong(CHECK, Code::Redirected, seen)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use hyper::{HeaderMap, Version};

    use super::*;

    fn answer(status: u16, kind: &'static str, body: &'static str) -> Answer {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", kind.parse().unwrap());
        headers.insert("location", "https://rt.example/".parse().unwrap());
        Answer {
            status: StatusCode::from_u16(status).unwrap(),
            version: Version::HTTP_11,
            headers,
            body: body.into(),
            took: Duration::ZERO,
            at: SystemTime::UNIX_EPOCH,
        }
    }

    fn code(answer: &Answer, has_credentials: bool) -> Option<Code> {
        match judge(answer, has_credentials) {
            Who::Wrong(finding) => Some(finding.code),
            _ => None,
        }
    }

    #[test]
    fn a_page_of_a_poll_is_tidewires_and_the_error_page_of_a_proxy_is_not() {
        let page = r#"{"messages":[],"cursor":"1.1","more":false,"gap":null}"#;
        assert_eq!(judge(&answer(200, "application/json", page), false), Who::Tidewire);
        assert_eq!(judge(&answer(301, "text/html", ""), false), Who::Elsewhere("https://rt.example/".into()));
        for (status, expected) in
            [(502, Code::NoNode), (503, Code::NoNode), (404, Code::PathLost), (200, Code::NotTidewire)]
        {
            assert_eq!(code(&answer(status, "text/html", "<html>"), false), Some(expected), "{status}");
        }
    }

    #[test]
    fn a_publish_that_is_not_ours_to_make_is_told_from_one_that_does_not_arrive() {
        let code = |why: Unpublished| judge_publish(&why).findings().first().map(|finding| finding.code);
        let refused = |status, kind, body| Unpublished::Refused(Box::new(answer(status, kind, body)));
        let problem = "application/problem+json";
        let forbidden = r#"{"code":"forbidden","detail":"x","status":403}"#;
        assert_eq!(code(refused(403, problem, forbidden)), None);
        let away = r#"{"code":"broker_unavailable","detail":"x","status":503}"#;
        assert_eq!(code(refused(503, problem, away)), Some(Code::TurnedAway));
        assert_eq!(code(refused(403, "text/html", "<html>")), Some(Code::PublishLost));
        let page = r#"{"messages":[],"cursor":"1.1","more":false,"gap":null}"#;
        assert_eq!(code(refused(200, "application/json", page)), Some(Code::PublishLost));
        assert_eq!(code(Unpublished::Lost("closed".into())), Some(Code::PublishLost));
    }

    #[test]
    fn tidewires_own_refusals_say_what_is_missing() {
        let problem = |code, detail| -> &'static str {
            format!(r#"{{"code":"{code}","detail":"{detail}","status":400}}"#).leak()
        };
        let refusal = |code, detail| answer(401, "application/problem+json", problem(code, detail));
        assert_eq!(code(&refusal("unauthorized", "x"), false), Some(Code::CredentialsMissing));
        assert_eq!(code(&refusal("unauthorized", "x"), true), Some(Code::CredentialsRefused));
        assert_eq!(
            code(&refusal("unauthorized", "there are no credentials: send"), true),
            Some(Code::AuthorizationLost)
        );
        assert_eq!(code(&refusal("forbidden", "x"), true), Some(Code::GrantMissing));
        assert_eq!(code(&refusal("host_refused", "x"), true), Some(Code::HostRefused));
        assert_eq!(code(&refusal("malformed_request", "x"), true), Some(Code::RequestRefused));
        let away = answer(503, "application/problem+json", problem("draining", "x"));
        assert_eq!(code(&away, true), Some(Code::TurnedAway));
    }
}
