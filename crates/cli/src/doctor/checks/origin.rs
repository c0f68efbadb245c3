//! Whether a page of some origin would be let in: to read, and to publish.

use super::super::finding::{Code, Finding, Verdict};
use super::super::route::{Answer, Route, STEP_MAX, shown};

const CHECK: &str = "origin";

/// The answer to a read and to a preflight.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub read: Answer,
    pub preflight: Answer,
}

pub(crate) async fn measure(route: &Route, origin: &str) -> Result<Asked, String> {
    let channel = route.channel("origin");
    let read = route.ask(route.get(&channel, &[]).header("origin", origin), STEP_MAX).await?;
    // A preflight has no credentials.
    let preflight = hyper::Request::builder()
        .method("OPTIONS")
        .uri(route.path(&channel, &[]))
        .header("host", &route.target.authority)
        .header("origin", origin)
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "authorization,content-type");
    let preflight = route.ask(preflight, STEP_MAX).await?;
    Ok(Asked { read, preflight })
}

pub(crate) fn judge(origin: Option<&str>, measured: Option<&Result<Asked, String>>) -> Verdict {
    let (Some(origin), Some(measured)) = (origin, measured) else {
        return Verdict::left_out(CHECK, "--origin https://app.example says whether its pages are let in");
    };
    let asked = match measured {
        Ok(asked) => asked,
        Err(why) => return Verdict::wrong(CHECK, Code::Unanswered, why.clone()),
    };
    let mut findings: Vec<Finding> = Vec::new();
    for (answer, what) in [(&asked.read, "a poll"), (&asked.preflight, "the preflight of a publish")] {
        let Some(finding) = look(answer, what, origin) else { continue };
        if !findings.iter().any(|other| other.code == finding.code) {
            findings.push(finding);
        }
    }
    let with_cookies = asked.read.header("access-control-allow-credentials") == Some("true");
    let cookies = if with_cookies { "with cookies too" } else { "without cookies" };
    Verdict::of(CHECK, findings, format!("pages of {origin} are let in, {cookies}"))
}

fn look(answer: &Answer, what: &str, origin: &str) -> Option<Finding> {
    if answer.problem().is_some_and(|problem| problem.code == "origin_refused") {
        return Some(Finding::new(Code::OriginRefused, format!("{what} from {origin} was refused")));
    }
    let allowed: Vec<&str> = answer
        .headers
        .get_all("access-control-allow-origin")
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .collect();
    match allowed[..] {
        [one] if one == origin => None,
        [] | [_] => {
            let seen =
                allowed.first().map_or_else(|| "nothing".to_owned(), |one| format!("`{}`", shown(one)));
            Some(Finding::new(Code::CorsMissing, format!("the answer to {what} from {origin} allows {seen}")))
        }
        _ => Some(Finding::new(
            Code::CorsDoubled,
            format!("the answer to {what} allows `{}`", shown(&allowed.join(", "))),
        )),
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use hyper::{HeaderMap, StatusCode, Version};

    use super::*;

    const PAGE: &str = "https://app.example";

    fn answer(status: u16, allowed: &[&'static str], body: &'static str) -> Answer {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", "application/problem+json".parse().unwrap());
        for value in allowed {
            headers.append("access-control-allow-origin", value.parse().unwrap());
        }
        let (status, version) = (StatusCode::from_u16(status).unwrap(), Version::HTTP_11);
        Answer {
            status,
            version,
            headers,
            body: body.into(),
            took: Duration::ZERO,
            at: SystemTime::UNIX_EPOCH,
        }
    }

    #[test]
    fn an_origin_is_allowed_once_and_by_name() {
        let codes = |allowed: &[&'static str]| -> Vec<Code> {
            let asked = Asked { read: answer(200, allowed, ""), preflight: answer(204, &[PAGE], "") };
            judge(Some(PAGE), Some(&Ok(asked))).findings().iter().map(|finding| finding.code).collect()
        };
        assert_eq!(codes(&[PAGE]), []);
        assert_eq!(codes(&[]), [Code::CorsMissing]);
        assert_eq!(codes(&["*"]), [Code::CorsMissing]);
        assert_eq!(codes(&["*", PAGE]), [Code::CorsDoubled]);
        assert_eq!(codes(&["*, https://app.example"]), [Code::CorsDoubled]);
    }

    #[test]
    fn a_refused_origin_is_one_finding_however_often_it_was_refused() {
        let refused = || answer(403, &[], r#"{"code":"origin_refused","detail":"no"}"#);
        let asked = Asked { read: refused(), preflight: refused() };
        let verdict = judge(Some(PAGE), Some(&Ok(asked)));
        assert_eq!(verdict.findings().len(), 1);
        assert_eq!(verdict.findings()[0].code, Code::OriginRefused);
    }
}
