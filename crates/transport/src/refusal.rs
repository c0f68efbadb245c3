//! Refusals: why a request is not answered as asked, and the response that says so.

use std::fmt::Write as _;

use serde::Serialize;
use tidewire_hub::admit::HeadFields;
use tidewire_hub::reason::{Reason, Retry};

use crate::head;

/// A request that is not answered as asked. The detail is shown to the client and holds no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Why, in the terms of the protocol.
    pub reason: Reason,
    /// Why, in the terms of this request.
    pub detail: Box<str>,
}

impl Refusal {
    /// Says `reason` with `detail` in the request's own terms.
    #[must_use]
    pub fn new(reason: Reason, detail: impl Into<Box<str>>) -> Refusal {
        Refusal { reason, detail: detail.into() }
    }
}

/// A whole HTTP/1.1 response that refuses: `application/problem+json` (RFC 9457).
///
/// `allow_origin` is the origin that the gate has accepted, if any: a page may only read why it was refused if it may
/// read answers at all (security rule S7). `close` announces that the connection ends with this response.
#[must_use]
pub fn http_response(
    refusal: &Refusal,
    allow_origin: Option<&str>,
    fields: &HeadFields,
    trace_id: Option<&str>,
    close: bool,
) -> Vec<u8> {
    let status = refusal.reason.status();
    let body = problem_json(refusal.reason, &refusal.detail, trace_id);
    let mut head = String::with_capacity(384 + body.len());
    // Writing into a string cannot fail, so these results carry nothing.
    let _ = write!(head, "HTTP/1.1 {status} {}\r\n", status_phrase(status));
    let _ = write!(head, "Content-Type: application/problem+json\r\nContent-Length: {}\r\n", body.len());
    head.push_str("Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n");
    for (name, value) in extra_headers(refusal.reason) {
        let _ = write!(head, "{name}: {value}\r\n");
    }
    match (status, close) {
        (426, true) => head.push_str("Connection: close, upgrade\r\n"),
        (426, false) => head.push_str("Connection: upgrade\r\n"),
        (_, true) => head.push_str("Connection: close\r\n"),
        (_, false) => {}
    }
    let mut response = head.into_bytes();
    head::write_fields(allow_origin, fields, &mut response);
    response.extend_from_slice(b"\r\n");
    response.extend_from_slice(body.as_bytes());
    response
}

/// The header fields that a refusal for this reason must carry on any HTTP version, beside those of its body.
pub fn extra_headers(reason: Reason) -> impl Iterator<Item = (&'static str, &'static str)> {
    let by_status: &[_] = match reason.status() {
        // RFC 9110 sections 15.5.2, 15.5.6 and 15.5.22 require these; RFC 6455 section 4.4 the version.
        401 => &[("WWW-Authenticate", "Bearer")],
        405 => &[("Allow", "GET, POST")],
        426 => &[("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13")],
        _ => &[],
    };
    let later: &[_] = if reason.retry() == Retry::Later { &[("Retry-After", RETRY_AFTER_S)] } else { &[] };
    by_status.iter().chain(later).copied()
}

/// The body of a refusal: `{type,title,status,code,detail,hint[,trace_id]}`.
#[must_use]
pub fn problem_json(reason: Reason, detail: &str, trace_id: Option<&str>) -> String {
    #[derive(Serialize)]
    struct Problem<'a> {
        r#type: &'static str,
        title: &'static str,
        status: u16,
        code: &'static str,
        detail: &'a str,
        hint: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        trace_id: Option<&'a str>,
    }
    // With `about:blank` the title is the status phrase (RFC 9457 section 4.2.1); `code` is what clients match on.
    let problem = Problem {
        r#type: "about:blank",
        title: status_phrase(reason.status()),
        status: reason.status(),
        code: reason.code(),
        detail,
        hint: reason.hint(),
        trace_id,
    };
    // Strings and numbers under string keys always serialise; an empty body would still carry the status.
    serde_json::to_string(&problem).unwrap_or_default()
}

/// Whether an SSE request that meets this reason is answered with 200, a `retry:` and a clean end.
///
/// `EventSource` closes for good on any other status, so a node that is only busy or leaving must not use one
/// (`docs/protocol.md`, "SSE"). Expired rights stay a 401: the same request would meet them again.
#[must_use]
pub fn answers_as_stream(reason: Reason) -> bool {
    reason.retry() != Retry::Never && matches!(reason.status(), 429 | 500..=599)
}

/// The phrase of a status that [`Reason`] may give (RFC 9110 section 15).
#[must_use]
pub fn status_phrase(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        409 => "Conflict",
        413 => "Content Too Large",
        414 => "URI Too Long",
        426 => "Upgrade Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        507 => "Insufficient Storage",
        _ => "",
    }
}

/// Seconds. Short, because the clients' own back-off adds the jitter that a fixed number cannot.
const RETRY_AFTER_S: &str = "2";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s52_a_refusal_is_problem_json_with_a_stable_code() {
        let refusal = Refusal::new(Reason::Forbidden, "token allows `orders:*`, asked `\"x\"\n`");
        let text =
            String::from_utf8(http_response(&refusal, None, &HeadFields::default(), Some("t-1"), true))
                .unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 403 Forbidden\r\n"));
        assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())));
        assert!(head.contains("Content-Type: application/problem+json"));
        assert!(head.contains("X-Content-Type-Options: nosniff") && head.contains("Cache-Control: no-store"));
        assert!(head.ends_with("Connection: close"));
        let body: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(body["code"], "forbidden");
        assert_eq!(body["status"], 403);
        assert_eq!(body["detail"], &*refusal.detail);
        assert_eq!(body["trace_id"], "t-1");
    }

    #[test]
    fn a_refusal_without_a_trace_has_no_trace_id() {
        assert!(!problem_json(Reason::Forbidden, "", None).contains("trace_id"));
    }

    #[test]
    fn s7_only_an_origin_that_is_passed_in_is_named_and_it_cannot_carry_a_header() {
        let refusal = Refusal::new(Reason::Forbidden, "");
        let listed = String::from_utf8(http_response(
            &refusal,
            Some("https://a.com"),
            &HeadFields::default(),
            None,
            false,
        ))
        .unwrap();
        assert!(listed.contains("Access-Control-Allow-Origin: https://a.com\r\nVary: Origin\r\n"));
        for origin in [None, Some("https://a.com\r\nSet-Cookie: x=y"), Some("a b")] {
            let text =
                String::from_utf8(http_response(&refusal, origin, &HeadFields::default(), None, false))
                    .unwrap();
            assert!(!text.contains("Access-Control") && !text.contains("Set-Cookie"), "{origin:?}");
        }
    }

    #[test]
    fn every_reason_carries_what_its_status_requires() {
        for reason in Reason::ALL.iter().copied() {
            let text = String::from_utf8(http_response(
                &Refusal::new(reason, ""),
                None,
                &HeadFields::default(),
                None,
                false,
            ))
            .unwrap();
            let has = |field: &str| text.contains(field);
            assert!(!status_phrase(reason.status()).is_empty(), "{reason:?}");
            assert_eq!(
                has("\r\nSec-WebSocket-Version: 13\r\n"),
                reason == Reason::UpgradeRequired,
                "{reason:?}"
            );
            assert_eq!(has("\r\nConnection: upgrade\r\n"), reason == Reason::UpgradeRequired, "{reason:?}");
            assert_eq!(has("\r\nWWW-Authenticate: "), reason.status() == 401, "{reason:?}");
            assert_eq!(has("\r\nAllow: "), reason.status() == 405, "{reason:?}");
            assert_eq!(has("\r\nRetry-After: "), reason.retry() == Retry::Later, "{reason:?}");
        }
    }

    #[test]
    fn an_event_source_is_told_to_retry_only_where_that_can_help() {
        let as_stream: Vec<Reason> =
            Reason::ALL.iter().copied().filter(|reason| answers_as_stream(*reason)).collect();
        for reason in [
            Reason::Overloaded,
            Reason::ChannelsFull,
            Reason::Draining,
            Reason::RateLimited,
            Reason::Internal,
        ] {
            assert!(as_stream.contains(&reason), "{reason:?}");
        }
        for reason in
            [Reason::Unauthorized, Reason::Expired, Reason::Forbidden, Reason::Unsupported, Reason::Gap]
        {
            assert!(!as_stream.contains(&reason), "{reason:?}");
        }
    }
}
