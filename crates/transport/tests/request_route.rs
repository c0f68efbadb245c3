//! Which transport a request asks for, of which channels, from where on (`docs/protocol.md`, "One URL").

use std::time::Duration;

use proptest::prelude::*;
use tidewire_hub::channel::Channel;
use tidewire_hub::grant::Action;
use tidewire_hub::limits::Limits;
use tidewire_hub::position::{Cursor, Start};
use tidewire_hub::reason::Reason;
use tidewire_transport::http1::parse_head;
use tidewire_transport::refusal::Refusal;
use tidewire_transport::request::{Protocol, Request, Route, Wants, route};

const SSE: &str = "Accept: text/event-stream\r\n";
const UPGRADE: &str = "Connection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

fn routed(line: &str, fields: &str) -> Result<Route, Refusal> {
    let text = format!("{line}\r\nHost: a\r\n{fields}\r\n");
    let limits = Limits::default();
    let head =
        parse_head(text.as_bytes(), &limits).expect("the head is well-formed").expect("the head is whole");
    route(&head, &limits)
}

#[track_caller]
fn request(target: &str, fields: &str) -> Request {
    match routed(&format!("GET {target} HTTP/1.1"), fields) {
        Ok(Route::Subscribe(request)) => *request,
        other => panic!("{target} {fields:?}: {other:?}"),
    }
}

#[track_caller]
fn refused(target: &str, fields: &str) -> Reason {
    match routed(&format!("GET {target} HTTP/1.1"), fields) {
        Err(refusal) => refusal.reason,
        other => panic!("{target} {fields:?}: {other:?}"),
    }
}

fn is_other(line: &str, fields: &str) -> bool {
    matches!(routed(line, fields), Ok(Route::Other))
}

#[test]
fn the_first_row_that_matches_wins() {
    let everything = format!("{UPGRADE}Accept: text/html, text/event-stream\r\n");
    assert!(matches!(request("/c/a?wait=5", &everything).wants, Wants::WebSocket { .. }));
    let sse_and_html = "Accept: text/html, text/event-stream\r\n";
    assert_eq!(request("/c/a?wait=5", sse_and_html).wants, Wants::Sse { envelope: false });
    assert!(is_other(
        "GET /c/a?wait=5 HTTP/1.1",
        "Accept: text/html,application/xhtml+xml;q=0.9,*/*;q=0.8\r\n"
    ));
    assert_eq!(
        request("/c/a?wait=5", "Accept: */*\r\n").wants,
        Wants::LongPoll { wait: Duration::from_secs(5) }
    );
    assert_eq!(request("/c/a", "").wants, Wants::ShortPoll);
}

#[test]
fn what_is_not_a_subscription_goes_to_the_api_server() {
    for line in [
        "POST /v1/publish HTTP/1.1",
        "HEAD /c/a HTTP/1.1",
        "OPTIONS /c/a HTTP/1.1",
        "PUT /c/a HTTP/1.1",
        "get /c/a HTTP/1.1",
        "GET / HTTP/1.1",
        "GET /c HTTP/1.1",
        "GET /C/a HTTP/1.1",
        "GET /v1/channels HTTP/1.1",
        "GET /%63/a HTTP/1.1",
        "OPTIONS * HTTP/1.1",
    ] {
        assert!(is_other(line, SSE), "{line}");
    }
    assert!(is_other("POST /c/a HTTP/1.1", UPGRADE));
}

#[test]
fn a_publish_in_its_simplest_form_is_the_engines() {
    let publish = |line: &str, fields: &str| match routed(line, fields) {
        Ok(Route::Publish { channel, body_bytes }) => Some((channel.to_string(), body_bytes)),
        Ok(Route::Other) => None,
        other => panic!("{line} {fields:?}: {other:?}"),
    };
    let taken = |channel: &str, body_bytes| Some((channel.to_owned(), body_bytes));
    assert_eq!(publish("POST /c/a HTTP/1.1", SSE), taken("a", 0));
    assert_eq!(publish("POST /c/orders:42 HTTP/1.1", "Content-Length: 5\r\n"), taken("orders:42", 5));
    assert_eq!(publish("POST /c/a HTTP/1.1", "Content-Length: 16384\r\n"), taken("a", 16_384));
    for (line, fields) in [
        ("POST /c/a HTTP/1.1", "Content-Length: 16385\r\n"),
        ("POST /c/a HTTP/1.1", "Transfer-Encoding: chunked\r\n"),
        ("POST /c/a HTTP/1.1", "Content-Length: 5\r\nexpect: 100-continue\r\n"),
        ("POST /c/a?ticket=x HTTP/1.1", ""),
        ("POST /c/a,b HTTP/1.1", ""),
        ("POST /c/a%3Ab HTTP/1.1", ""),
        ("POST /c/ HTTP/1.1", ""),
        ("POST /c/a HTTP/1.0", "Content-Length: 5\r\n"),
    ] {
        assert_eq!(publish(line, fields), None, "{line} {fields:?}");
    }
}

#[test]
fn accept_is_matched_by_media_range_in_any_case() {
    for accept in [
        "text/event-stream",
        "TEXT/Event-Stream",
        "application/json, text/event-stream;q=0.5",
        "*/*,text/event-stream",
    ] {
        assert_eq!(
            request("/c/a", &format!("Accept: {accept}\r\n")).wants,
            Wants::Sse { envelope: false },
            "{accept}"
        );
    }
    for accept in ["*/*", "text/*", "text/event-streams", "application/json", "", "x;text/event-stream"] {
        assert_eq!(request("/c/a", &format!("Accept: {accept}\r\n")).wants, Wants::ShortPoll, "{accept}");
    }
    assert_eq!(
        request("/c/a", "Accept: a/b\r\naccept: text/event-stream\r\n").wants,
        Wants::Sse { envelope: false }
    );
}

#[test]
fn a_websocket_answers_the_key_of_rfc_6455() {
    let Wants::WebSocket { accept_key, protocol } = request("/c/a", UPGRADE).wants else {
        panic!("not a WebSocket")
    };
    assert_eq!(&accept_key, b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    assert_eq!(protocol, Protocol::Raw);
}

#[test]
fn s32_a_bad_handshake_is_refused() {
    let without = |field: &str| {
        UPGRADE.split_inclusive("\r\n").filter(|line| !line.starts_with(field)).collect::<String>()
    };
    for version in
        ["", "Sec-WebSocket-Version: 8\r\n", "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Version: 13\r\n"]
    {
        let fields = without("Sec-WebSocket-Version") + version;
        assert_eq!(refused("/c/a", &fields), Reason::UpgradeRequired, "{version:?}");
    }
    for key in [
        "",
        "Sec-WebSocket-Key: \r\n",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZQ==\r\n",
        "Sec-WebSocket-Key: \u{e9}\r\n",
    ] {
        let fields = without("Sec-WebSocket-Key") + key;
        assert_eq!(refused("/c/a", &fields), Reason::ProtocolError, "{key:?}");
    }
    assert_eq!(refused("/c/a", &without("Connection")), Reason::ProtocolError);
    let protocols = format!("{UPGRADE}Sec-WebSocket-Protocol: {}\r\n", "x".repeat(1_025));
    assert_eq!(refused("/c/a", &protocols), Reason::HeadTooLarge);
    let repeated = UPGRADE.to_owned()
        + &"Sec-WebSocket-Protocol: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\r\n".repeat(26);
    assert_eq!(refused("/c/a", &repeated), Reason::HeadTooLarge);
    assert_eq!(refused("/c/a", &format!("{UPGRADE}Sec-WebSocket-Protocol: a b\r\n")), Reason::ProtocolError);
}

#[test]
fn s32_a_websocket_needs_http_1_1() {
    let refusal = routed("GET /c/a HTTP/1.0", UPGRADE).unwrap_err();
    assert_eq!(refusal.reason, Reason::UpgradeRequired);
}

#[test]
fn the_subprotocol_is_chosen_and_a_bearer_becomes_the_authorization() {
    let fields = format!("{UPGRADE}Sec-WebSocket-Protocol: other, tidewire.v1, bearer.abc.def-_.x\r\n");
    let request = request("/c/a", &fields);
    assert!(matches!(request.wants, Wants::WebSocket { protocol: Protocol::V1, .. }));
    assert_eq!(request.caller.as_ref().unwrap().authorization.as_deref(), Some("Bearer abc.def-_.x"));
    assert_eq!(
        refused("/c/a", &format!("{UPGRADE}Sec-WebSocket-Protocol: bearer.a, bearer.b\r\n")),
        Reason::BadRequest
    );
    let both = format!("{UPGRADE}Authorization: Bearer x\r\nSec-WebSocket-Protocol: bearer.a\r\n");
    assert_eq!(refused("/c/a", &both), Reason::BadRequest);
}

#[test]
fn no_channel_is_for_tidewire_v1_alone() {
    let v1 = format!("{UPGRADE}Sec-WebSocket-Protocol: tidewire.v1\r\n");
    assert!(request("/c/", &v1).channels.is_empty());
    for fields in [UPGRADE, SSE, ""] {
        assert_eq!(refused("/c/", fields), Reason::ChannelCount, "{fields:?}");
    }
}

#[test]
fn s43_channels_are_decoded_once_and_split_at_commas() {
    let names = |target: &str| {
        request(target, SSE).channels.iter().map(|channel| channel.as_str().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names("/c/b,a,b"), ["b", "a"]);
    assert_eq!(names("/c/orders%3A42%2Cprices"), ["orders:42", "prices"]);
    assert_eq!(names("http://a/c/x?wait=1"), ["x"]);
    for bad in [
        "/c/a%2541",
        "/c/a/b",
        "/c/a/",
        "/c//a",
        "/c/a,,b",
        "/c/$sys",
        "/c/%24sys",
        "/c/a%20b",
        "/c/%ff",
        "/c/%C3%A9",
    ] {
        assert_eq!(refused(bad, SSE), Reason::ChannelInvalid, "{bad}");
    }
    assert_eq!(refused(&format!("/c/{}", "x".repeat(129)), SSE), Reason::ChannelInvalid);
}

#[test]
fn s36_more_channels_than_allowed_are_refused() {
    let list =
        |count: usize| format!("/c/{}", (0..count).map(|n| format!("c{n}")).collect::<Vec<_>>().join(","));
    assert_eq!(request(&list(100), SSE).channels.len(), 100);
    assert_eq!(refused(&list(101), SSE), Reason::ChannelCount);
}

#[test]
fn s46_a_channel_that_browsers_would_mistake_needs_a_stream_of_its_own() {
    for name in ["open", "error"] {
        assert_eq!(refused(&format!("/c/a,{name}"), SSE), Reason::EventInvalid);
        assert_eq!(request(&format!("/c/{name}"), SSE).channels[0], Channel::parse(name).unwrap());
        assert_eq!(request(&format!("/c/a,{name}?format=json"), SSE).channels.len(), 2);
        assert_eq!(request(&format!("/c/a,{name}"), "").channels.len(), 2);
    }
}

#[test]
fn r7_a_start_is_last_event_id_then_cursor_then_tail_then_live() {
    let at = |text: &str| Start::After(Cursor::parse(text.as_bytes()));
    let all = "/c/a?tail=5&cursor=abc.1";
    assert_eq!(request(all, "Last-Event-ID: abc.2\r\n").start, at("abc.2"));
    assert_eq!(request(all, "Last-Event-ID:\r\n").start, at("abc.1"));
    assert_eq!(request("/c/a?cursor=abc%2E1", "").start, at("abc.1"));
    assert_eq!(request("/c/a?cursor=&tail=5", "").start, Start::Tail(5));
    assert_eq!(request("/c/a?cursor=earliest&tail=5", "").start, Start::Earliest);
    assert_eq!(request("/c/a?unknown=1&&=", "").start, Start::Live);
    assert!(matches!(at("abc.1"), Start::After(Cursor::At(_))));
}

#[test]
fn r7_an_unreadable_cursor_is_never_an_error() {
    let unreadable = Start::After(Cursor::Unreadable);
    let long = "9".repeat(4_000);
    for cursor in ["x", "%", "%zz", "%00", "abc.1X", "+", &long] {
        assert_eq!(request(&format!("/c/a?cursor={cursor}"), "").start, unreadable, "{cursor}");
    }
    for id in ["x", "earliest", "\u{e9}", &long] {
        assert_eq!(
            request("/c/a?cursor=abc.1", &format!("Last-Event-ID: {id}\r\n")).start,
            unreadable,
            "{id}"
        );
    }
    assert_eq!(request("/c/a", "Last-Event-ID: abc.1\r\nLast-Event-ID: abc.2\r\n").start, unreadable);
}

#[test]
fn numbers_in_the_query_are_bounded() {
    for bad in [
        "tail=0",
        "tail=1001",
        "tail=",
        "tail=-1",
        "tail=%2B5",
        "tail=99999999999999999999999",
        "wait=",
        "wait=x",
        "wait=1.5",
        "wait=-1",
    ] {
        assert_eq!(refused(&format!("/c/a?{bad}"), ""), Reason::BadRequest, "{bad}");
    }
    assert_eq!(request("/c/a?tail=1000", "").start, Start::Tail(1_000));
    for (wait, seconds) in [("0", 0), ("60", 60), ("61", 60), ("99999999999999999999999", 60)] {
        let wants = Wants::LongPoll { wait: Duration::from_secs(seconds) };
        assert_eq!(request(&format!("/c/a?wait={wait}"), "").wants, wants);
    }
}

#[test]
fn a_stream_has_an_envelope_when_asked() {
    assert_eq!(request("/c/a?format=json", SSE).wants, Wants::Sse { envelope: true });
    assert_eq!(refused("/c/a?format=xml", SSE), Reason::BadRequest);
    assert!(is_other("GET /c/a?format=xml HTTP/1.1", "Accept: text/html\r\n"));
}

#[test]
fn s42_a_subscription_has_no_body() {
    for body in ["Content-Length: 1\r\n", "Transfer-Encoding: chunked\r\n"] {
        for fields in [SSE, UPGRADE, ""] {
            assert_eq!(refused("/c/a", &format!("{fields}{body}")), Reason::MalformedRequest, "{fields:?}");
        }
    }
    assert_eq!(request("/c/a", "Content-Length: 0\r\n").wants, Wants::ShortPoll);
}

#[test]
fn s2_two_origins_are_refused_and_one_is_handed_on_as_sent() {
    assert_eq!(refused("/c/a", "Origin: https://a\r\nOrigin: https://b\r\n"), Reason::OriginRefused);
    assert_eq!(refused("/c/a", "Origin: https://\u{e9}\r\n"), Reason::OriginRefused);
    let request = request(
        "/c/a",
        "Origin: https://A.com, x\r\nSec-Fetch-Site: same-origin\r\nAuthorization: Bearer t\r\n",
    );
    let peer = "127.0.0.1".parse().unwrap();
    let action = Action::Subscribe(request.wants.transport());
    let asked = request.caller.as_ref().unwrap().to_asked(action, peer, false);
    assert_eq!(asked.origin, Some("https://A.com, x"));
    assert_eq!(asked.fetch_site, Some("same-origin"));
    assert_eq!(asked.authorization, Some("Bearer t"));
    assert_eq!((asked.host, asked.client, asked.path), (Some("a"), peer, "/c/a"));
}

#[test]
fn two_credentials_are_refused() {
    assert_eq!(refused("/c/a", "Authorization: Bearer a\r\nAuthorization: Bearer b\r\n"), Reason::BadRequest);
}

#[test]
fn the_http_version_decides_how_an_answer_ends() {
    let request = request("/c/a", "");
    assert!(request.keep_alive && request.chunked);
    let Ok(Route::Subscribe(old)) = routed("GET /c/a HTTP/1.0", "Connection: keep-alive\r\n") else {
        panic!("refused")
    };
    assert!(!old.keep_alive && !old.chunked);
}

#[test]
fn s49_debug_output_shows_no_credentials() {
    let fields = format!("{UPGRADE}Cookie: a=canary\r\nSec-WebSocket-Protocol: bearer.canary\r\n");
    let shown = format!("{:?}", request("/c/a", &fields));
    assert!(!shown.contains("canary") && shown.contains("***"), "{shown}");
}

proptest! {
    #[test]
    fn a_target_and_fields_of_any_kind_are_routed_or_refused(
        target in "/c/[a-z,%$.0-9:]{0,12}(\\?[a-z=&%0-9.]{0,24})?",
        fields in prop::collection::vec(
            ("(Accept|Upgrade|Connection|Last-Event-ID|Origin|Cookie|Sec-WebSocket-(Key|Version|Protocol))", "[ -~é]{0,24}"),
            0..6,
        ),
    ) {
        let fields: String = fields.into_iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let text = format!("GET {target} HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        let limits = Limits::default();
        if let Ok(Some(head)) = parse_head(text.as_bytes(), &limits) {
            let _ = route(&head, &limits);
        }
    }
}
