//! Polls: a page of the past as one HTTP/1.1 response (`docs/protocol.md`, "Polling").
//!
//! # Why an `ETag` of the newest id is enough
//!
//! A short poll answers what the asked channels hold after the cursor in its URL. While their newest id stays the same,
//! nothing was added to that; what trimming takes away after a cursor makes a gap, and a gap is never a 304 (delivery
//! rule R7). What a client keeps on a 304 is then the same messages and a cursor that is the same or older (the head of
//! the log moves with other channels too), and to resume from an older cursor only repeats. A newest id names its
//! generation, so a log that may have lost its tail never matches.

use tidewire_hub::admit::{HeadFields, Page};
use tidewire_hub::position::Position;

use crate::{envelope, head};

/// Names the representation in ETags: a change of what [`body`] writes must change it.
const REPRESENTATION: &str = "json1";

/// What a poll's answer depends on besides its page.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Poll {
    /// The `If-None-Match` header of a short poll.
    pub if_none_match: Option<Box<str>>,
    /// Whether it waited for messages; its answer is then never kept by anyone.
    pub long: bool,
    /// Whether the connection stays open.
    pub keep_alive: bool,
    /// The origin that may read the answer, taken from the allow-list (security rule S7).
    pub allow_origin: Option<Box<str>>,
    /// What the control plane adds.
    pub head: HeadFields,
}

/// Appends the whole response: 200 with the page, or 304 where a short poll knows it already (RFC 9110 section 15.4.5).
pub fn response(page: &Page, poll: &Poll, out: &mut Vec<u8>) {
    // A gap is told every time and kept by no cache. Nor is a page that has more behind it: its reader is about to ask
    // for the next one, and a tag carried over to that question would answer it with nothing.
    let etag = (!poll.long && page.gap.is_none() && !page.more).then(|| etag(page.newest));
    let known =
        etag.as_ref().zip(poll.if_none_match.as_ref()).is_some_and(|(etag, tags)| matches(tags, etag));
    if known {
        out.extend_from_slice(b"HTTP/1.1 304 Not Modified\r\n");
        write_fields(poll, etag.as_deref(), out);
        out.extend_from_slice(b"\r\n");
        return;
    }
    let mut json = Vec::new();
    body(page, &mut json);
    out.reserve(512 + json.len());
    out.extend_from_slice(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: ");
    envelope::write_number(json.len() as u64, out);
    out.extend_from_slice(b"\r\n");
    write_fields(poll, etag.as_deref(), out);
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(&json);
}

/// Appends the page as JSON: `{"messages":[…],"cursor":"…","more":false,"gap":null}`.
pub fn body(page: &Page, out: &mut Vec<u8>) {
    out.reserve(128 + page.messages.iter().map(|message| envelope::capacity(message) + 1).sum::<usize>());
    out.extend_from_slice(b"{\"messages\":");
    envelope::write_messages(page.messages.iter().map(AsRef::as_ref), out);
    out.extend_from_slice(b",\"cursor\":\"");
    envelope::write_position(page.cursor, out);
    out.extend_from_slice(if page.more {
        b"\",\"more\":true,\"gap\":"
    } else {
        b"\",\"more\":false,\"gap\":"
    });
    match &page.gap {
        Some(gap) => envelope::write_gap(gap, out),
        None => out.extend_from_slice(b"null"),
    }
    out.push(b'}');
}

/// Appends the header fields that a 200 and its 304 share (RFC 9110 section 15.4.5, security rule S44).
fn write_fields(poll: &Poll, etag: Option<&str>, out: &mut Vec<u8>) {
    out.extend_from_slice(if poll.long {
        b"Cache-Control: no-store, no-transform\r\n".as_slice()
    } else {
        // The same URL is also a stream and a page, by `Accept`.
        b"Cache-Control: private, no-cache\r\nVary: Accept\r\n"
    });
    out.extend_from_slice(b"X-Accel-Buffering: no\r\nX-Content-Type-Options: nosniff\r\n");
    if let Some(etag) = etag {
        out.extend_from_slice(b"ETag: ");
        out.extend_from_slice(etag.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    head::write_fields(poll.allow_origin.as_deref(), &poll.head, out);
    if poll.allow_origin.is_some() && !poll.long {
        out.extend_from_slice(b"Access-Control-Expose-Headers: ETag\r\n");
    }
    out.extend_from_slice(if poll.keep_alive {
        b"Connection: keep-alive\r\n".as_slice()
    } else {
        b"Connection: close\r\n"
    });
}

fn etag(newest: Position) -> String {
    format!("\"{newest}-{REPRESENTATION}\"")
}

/// Whether a list of entity tags holds `etag`, compared weakly, as `If-None-Match` asks (RFC 9110 sections 8.8.3.2 and
/// 13.1.2). A proxy that compresses makes our tag weak; it still names the same page.
fn matches(if_none_match: &str, etag: &str) -> bool {
    let mut rest = if_none_match.trim_matches([' ', '\t']);
    if rest == "*" {
        return true;
    }
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let opaque = rest.strip_prefix("W/").unwrap_or(rest);
        // Tags may hold commas, so the list is read from quote to quote.
        let Some(end) = opaque.strip_prefix('"').and_then(|tag| tag.find('"')) else { return false };
        let (tag, after) = opaque.split_at(end + 2);
        if tag == etag {
            return true;
        }
        rest = after;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envelope::tests::{message, position, text};
    use std::sync::Arc;
    use tidewire_hub::admit::{Gap, GapReason};
    use tidewire_hub::channel::Channel;

    fn page() -> Page {
        Page {
            gap: None,
            start: Some(position(40)),
            messages: vec![Arc::new(message(None, text("a"))), Arc::new(message(Some("b"), text("")))],
            cursor: position(50),
            more: false,
            whole: Some(position(40)),
            newest: position(46),
        }
    }

    fn gap() -> Gap {
        Gap { channels: vec![Channel::parse("a").unwrap()], reason: GapReason::Epoch, cursor: position(5) }
    }

    fn answer(page: &Page, poll: &Poll) -> String {
        let mut out = Vec::new();
        response(page, poll, &mut out);
        String::from_utf8(out).unwrap()
    }

    fn asking(if_none_match: &str) -> Poll {
        Poll { if_none_match: Some(if_none_match.into()), ..Poll::default() }
    }

    #[test]
    fn a_body_is_messages_cursor_more_and_gap() {
        let mut out = Vec::new();
        body(&Page { gap: Some(gap()), more: true, ..page() }, &mut out);
        let json: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(json["messages"].as_array().unwrap().len(), 2);
        assert_eq!(json["cursor"], position(50).to_string());
        assert_eq!(json["more"], true);
        assert_eq!(json["gap"]["reason"], "epoch");
        out.clear();
        body(&Page { messages: Vec::new(), ..page() }, &mut out);
        assert_eq!(out, br#"{"messages":[],"cursor":"73f80m6kc.1e","more":false,"gap":null}"#);
    }

    #[test]
    fn s44_a_short_poll_may_be_kept_by_its_reader_and_asked_about() {
        let poll =
            Poll { keep_alive: true, allow_origin: Some("https://a.example".into()), ..Poll::default() };
        let answer = answer(&page(), &poll);
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert_eq!(
            head,
            format!(
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
                 Cache-Control: private, no-cache\r\nVary: Accept\r\nX-Accel-Buffering: no\r\n\
                 X-Content-Type-Options: nosniff\r\nETag: \"73f80m6kc.1a-json1\"\r\n\
                 Access-Control-Allow-Origin: https://a.example\r\nVary: Origin\r\n\
                 Access-Control-Expose-Headers: ETag\r\nConnection: keep-alive",
                body.len()
            )
        );
    }

    #[test]
    fn s44_a_long_poll_is_kept_by_nobody() {
        let poll = Poll { long: true, ..asking("*") };
        let answer = answer(&page(), &poll);
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"));
        assert!(answer.contains("\r\nCache-Control: no-store, no-transform\r\n"));
        assert!(answer.contains("\r\nConnection: close\r\n"));
        assert!(!answer.contains("ETag"));
    }

    #[test]
    fn a_known_page_is_a_304_without_a_body() {
        let answer = answer(&page(), &asking("\"73f80m6kc.1a-json1\""));
        assert_eq!(
            answer,
            "HTTP/1.1 304 Not Modified\r\nCache-Control: private, no-cache\r\nVary: Accept\r\n\
             X-Accel-Buffering: no\r\nX-Content-Type-Options: nosniff\r\nETag: \"73f80m6kc.1a-json1\"\r\n\
             Connection: close\r\n\r\n"
        );
    }

    #[test]
    fn r7_a_gap_is_never_a_304() {
        for tags in ["*", "\"73f80m6kc.1a-json1\""] {
            let answer = answer(&Page { gap: Some(gap()), ..page() }, &asking(tags));
            assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && !answer.contains("ETag"));
        }
    }

    #[test]
    fn entity_tags_are_compared_weakly_and_from_quote_to_quote() {
        for yes in ["*", " * ", "\"a\"", "W/\"a\"", "\"x\", \"a\"", "\"x,\",W/\"y\" , W/\"a\"", ", ,\"a\""] {
            assert!(matches(yes, "\"a\""), "{yes}");
        }
        for no in [
            "",
            "a",
            "\"",
            "\"a",
            "\"b\"",
            "\"x, \"a\"",
            "w/\"a\"",
            "W/",
            "W/W/\"a\"",
            "*, \"b\"",
            "\"b\" x \"a\"",
        ] {
            assert!(!matches(no, "\"a\""), "{no}");
        }
    }

    #[test]
    fn r7_the_same_seq_of_another_generation_is_another_tag() {
        use tidewire_hub::position::Gen;
        assert_ne!(etag(position(7)), etag(Position { generation: Gen::from_random(7), seq: 7 }));
    }
}
