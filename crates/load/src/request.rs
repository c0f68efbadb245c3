//! The requests of a run, as bytes.

use std::fmt::Write as _;

use crate::plan::{Target, Transport};

/// Opens a stream or a WebSocket of `channels`, joined by commas.
pub fn subscribe(target: &Target, transport: Transport, channels: &str) -> Vec<u8> {
    let asks = match transport {
        Transport::Sse => "Accept: text/event-stream\r\n",
        // The key is the example of RFC 6455, section 1.3: any will do, since the answer is not checked.
        Transport::WebSocket => {
            "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        }
        Transport::LongPoll | Transport::ShortPoll => "Accept: application/json\r\n",
    };
    finish(head(target, "GET", channels, "") + asks)
}

/// Asks what came after `cursor`, waiting for `wait_s` seconds if any; an `etag` says what is known. With neither cursor nor
/// wait the answer tells where the channel is now.
pub fn poll(target: &Target, channel: &str, wait_s: Option<u64>, cursor: &str, etag: &str) -> Vec<u8> {
    let mut query = String::new();
    if let (Some(wait_s), false) = (wait_s, cursor.is_empty()) {
        let _ = write!(query, "?wait={wait_s}");
    }
    if !cursor.is_empty() {
        let _ = write!(query, "{}cursor={cursor}", if query.is_empty() { '?' } else { '&' });
    }
    let mut text = head(target, "GET", channel, &query) + "Accept: application/json\r\n";
    if !etag.is_empty() {
        let _ = write!(text, "If-None-Match: {etag}\r\n");
    }
    finish(text)
}

/// The head of a publish; a payload of `bytes` goes behind it.
pub fn publish(target: &Target, channel: &str, bytes: usize) -> Vec<u8> {
    let mut text = head(target, "POST", channel, "");
    let _ = write!(text, "Content-Type: text/plain\r\nContent-Length: {bytes}\r\n");
    finish(text)
}

fn head(target: &Target, method: &str, channels: &str, query: &str) -> String {
    let Target { authority, base, token, head, .. } = target;
    let mut text = format!("{method} {base}/c/{channels}{query} HTTP/1.1\r\nHost: {authority}\r\n");
    if let Some(token) = token {
        let _ = write!(text, "Authorization: Bearer {token}\r\n");
    }
    text + head
}

fn finish(mut head: String) -> Vec<u8> {
    head.push_str("\r\n");
    head.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target() -> Target {
        Target {
            base: "/live".to_owned(),
            token: Some("t".to_owned()),
            ..Target::at("127.0.0.1:80".parse().unwrap())
        }
    }

    #[test]
    fn a_poll_begins_with_where_the_channel_is_and_goes_on_from_there() {
        let ask = |wait, cursor, etag| String::from_utf8(poll(&target(), "a", wait, cursor, etag)).unwrap();
        assert!(ask(Some(25), "", "").starts_with("GET /live/c/a HTTP/1.1\r\nHost: 127.0.0.1:80\r\n"));
        assert!(ask(Some(25), "g.1", "").starts_with("GET /live/c/a?wait=25&cursor=g.1 HTTP/1.1\r\n"));
        let short = ask(None, "g.1", "\"e\"");
        assert!(short.starts_with("GET /live/c/a?cursor=g.1 HTTP/1.1\r\n"));
        assert!(short.ends_with(
            "Authorization: Bearer t\r\nAccept: application/json\r\nIf-None-Match: \"e\"\r\n\r\n"
        ));
    }

    #[test]
    fn every_head_has_the_lines_that_were_asked_for() {
        let target = Target { head: "Accept-Language: en\r\n".to_owned(), ..target() };
        for request in [
            poll(&target, "a", None, "", ""),
            subscribe(&target, Transport::Sse, "a"),
            publish(&target, "a", 1),
        ] {
            let text = String::from_utf8(request).unwrap();
            assert!(text.contains("\r\nAccept-Language: en\r\n") && text.ends_with("\r\n\r\n"), "{text}");
        }
    }

    #[test]
    fn a_publish_says_how_long_its_payload_is() {
        let head = String::from_utf8(publish(&target(), "a", 48)).unwrap();
        assert!(
            head.starts_with("POST /live/c/a HTTP/1.1\r\n") && head.contains("\r\nContent-Length: 48\r\n")
        );
    }
}
