//! Request heads: what is read, and the smuggling and path vectors that are not (security rules S32, S42, S43).

use proptest::prelude::*;
use tidewire_hub::limits::Limits;
use tidewire_hub::reason::Reason;
use tidewire_transport::http1::{Body, Head, parse_head, percent_decode};
use tidewire_transport::refusal::Refusal;

fn parse(text: &[u8]) -> Result<Option<Head<'_>>, Refusal> {
    parse_head(text, &Limits::default())
}

#[track_caller]
fn accepted(text: &str) -> Head<'_> {
    let head = parse(text.as_bytes()).unwrap_or_else(|refusal| panic!("{text:?}: {refusal:?}"));
    head.unwrap_or_else(|| panic!("{text:?} asks for more"))
}

#[track_caller]
fn refused(text: impl AsRef<[u8]>) -> Reason {
    let text = text.as_ref();
    match parse(text) {
        Err(refusal) => refusal.reason,
        other => panic!("{:?}: {other:?}", String::from_utf8_lossy(text)),
    }
}

/// A head with these lines after a valid beginning.
fn with(fields: &str) -> String {
    format!("POST /c/a HTTP/1.1\r\nHost: a\r\n{fields}\r\n")
}

#[test]
fn a_head_is_read_where_it_lies() {
    let text = "GET /c/prices?tail=5 HTTP/1.1\r\nHost: example.com\r\nAccept:  text/event-stream \r\nX-Empty:\r\n\r\nrest";
    let head = accepted(text);
    assert_eq!((head.method, head.target, head.minor_version), ("GET", "/c/prices?tail=5", 1));
    assert_eq!((head.path(), head.query()), ("/c/prices", "tail=5"));
    assert_eq!(&text[head.len..], "rest");
    assert_eq!(head.header("accept"), Some(&b"text/event-stream"[..]));
    assert_eq!(head.header("x-empty"), Some(&b""[..]));
    assert_eq!(head.header("absent"), None);
    assert_eq!(head.body, Body::None);
    assert!(!head.ends_connection());
}

#[test]
fn s42_smuggling_vectors_are_refused() {
    let fields = [
        // Two lengths, also equal ones.
        "Content-Length: 1\r\nContent-Length: 1\r\n",
        "Content-Length: 1\r\nContent-Length: 2\r\n",
        "Content-Length: 1, 1\r\n",
        // Lengths that are no number of bytes.
        "Content-Length: +1\r\n",
        "Content-Length: -1\r\n",
        "Content-Length: 0x1\r\n",
        "Content-Length: 1 1\r\n",
        "Content-Length:\r\n",
        "Content-Length: 18446744073709551616\r\n",
        // A length beside a coding.
        "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n",
        // Codings that do not end with `chunked`, or hold it twice.
        "Transfer-Encoding: identity\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "Transfer-Encoding: chunked, chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: gzip\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding: \"chunked\"\r\n",
        "Transfer-Encoding: chunked;q=1\r\n",
        "Transfer-Encoding: \x0bchunked\r\n",
        "Transfer-Encoding:\r\n",
        // White space around names, folded lines, names that are none.
        "Transfer-Encoding : chunked\r\n",
        " Transfer-Encoding: chunked\r\n",
        "X: 1\r\n Transfer-Encoding: chunked\r\n",
        "X: 1\r\n\tfolded\r\n",
        "Transfer Encoding: chunked\r\n",
        "Transfer-Encoding\r\n",
        ": nameless\r\n",
        "X\0: 1\r\n",
        "X(): 1\r\n",
        // Line ends that some readers see and some do not.
        "X: 1\nTransfer-Encoding: chunked\r\n",
        "X: 1\rTransfer-Encoding: chunked\r\n",
        "X: 1\r\r\n",
        "X: 1\n\r\n",
        "\n",
        "\rX: 1\r\n",
        // Control bytes in values.
        "X: a\0b\r\n",
        "X: a\x08b\r\n",
        "X: a\x7fb\r\n",
        // Two hosts, and hosts that are none.
        "Host: a\r\n",
        "hOST: b\r\n",
    ];
    for lines in fields {
        assert_eq!(refused(with(lines)), Reason::MalformedRequest, "{lines:?}");
    }
    for host in ["a b", "a/b", "u@a", "a,b", "a\\b", "a?b", "a#b", "é"] {
        let head = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
        assert_eq!(refused(head), Reason::MalformedRequest, "{host:?}");
    }
    for whole in [
        "GET / HTTP/1.1\r\n\r\n",
        "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
        "GET / HTTP/1.1\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\n\n",
    ] {
        assert_eq!(refused(whole), Reason::MalformedRequest, "{whole:?}");
    }
}

#[test]
fn s42_a_coding_beside_chunked_is_unsupported() {
    assert_eq!(refused(with("Transfer-Encoding: gzip, chunked\r\n")), Reason::Unsupported);
    assert_eq!(
        refused(with("Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n")),
        Reason::Unsupported
    );
}

#[test]
fn a_body_is_delimited_in_one_way() {
    assert_eq!(accepted(&with("Content-Length: 0\r\n")).body, Body::None);
    assert_eq!(accepted(&with("content-length: 0012\r\n")).body, Body::Length(12));
    assert_eq!(accepted(&with("Content-Length: 9223372036854775807\r\n")).body, Body::Length((1 << 63) - 1));
    assert_eq!(accepted(&with("Transfer-Encoding: Chunked\r\n")).body, Body::Chunked);
    assert_eq!(accepted(&with("Transfer-Encoding: \t chunked \t\r\n")).body, Body::Chunked);
}

#[test]
fn s42_a_length_that_some_cannot_count_is_refused() {
    for length in [
        "9223372036854775808",
        "18446744073709551613",
        "18446744073709551615",
        "18446744073709551616",
        "9".repeat(400).as_str(),
    ] {
        assert_eq!(
            refused(with(&format!("Content-Length: {length}\r\n"))),
            Reason::MalformedRequest,
            "{length}"
        );
    }
}

#[test]
fn s42_an_empty_coding_is_refused() {
    for codings in [
        "",
        ",",
        ",chunked",
        "chunked,",
        ", chunked ,",
        "chunked,,chunked",
        "gzip,,chunked",
        "chunked\r\nTransfer-Encoding:",
    ] {
        let head = with(&format!("Transfer-Encoding: {codings}\r\n"));
        assert_eq!(refused(head), Reason::MalformedRequest, "{codings:?}");
    }
}

#[test]
fn s42_what_browsers_encode_in_a_target_must_be_encoded() {
    let head = |target: &str| format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
    for byte in ["\"", "<", ">", "`", "{", "}", "^", "\\", "#"] {
        assert_eq!(refused(head(&format!("/c/a{byte}b"))), Reason::MalformedRequest, "{byte} in a path");
    }
    for byte in ["\"", "<", ">", "#"] {
        assert_eq!(refused(head(&format!("/c/a?b={byte}"))), Reason::MalformedRequest, "{byte} in a query");
    }
    // As Chromium and Firefox send them.
    for target in ["/c/a|b", "/c/[a]", "/c/a'b", "/c/a?b={\\}|^`[]'"] {
        accepted(&head(target));
    }
}

#[test]
fn s42_a_host_is_a_name_or_an_address_and_perhaps_a_port() {
    let head = |host: &str| format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
    for host in [
        "a:b",
        "a:1:2",
        "[::1",
        "::1",
        "[::1]x",
        "[::1]:x",
        "a]",
        "[",
        "[]",
        "[a@b]",
        "a[",
        "a%41",
        "[fe80::1%25eth0]",
        ":1:",
    ] {
        assert_eq!(refused(head(host)), Reason::MalformedRequest, "{host:?}");
    }
    for host in
        ["", "a", "a:", "a:80", "a_b.example", "127.0.0.1:8080", "[::1]", "[::1]:8080", "[::ffff:127.0.0.1]"]
    {
        accepted(&head(host));
    }
}

#[test]
fn s42_a_request_line_has_exactly_two_spaces_and_a_known_version() {
    for line in [
        "GET  / HTTP/1.1",
        "GET /  HTTP/1.1",
        "GET / HTTP/1.1 ",
        " GET / HTTP/1.1",
        "GET\t/\tHTTP/1.1",
        "GET /",
        "GET",
        "GET / HTTP/1.2",
        "GET / HTTP/2.0",
        "GET / http/1.1",
        "GET / HTTP/1.",
        "GET / HTTP/1.10",
        "GET / HTTP/0.9",
        "G(T / HTTP/1.1",
        "GET /\x7f HTTP/1.1",
        "GET /é HTTP/1.1",
        "GET /\0 HTTP/1.1",
        "/ HTTP/1.1",
        "",
        "PRI * HTTP/2.0",
        "AVERYLONGMETHODTHATNOBODYHASREGISTERED / HTTP/1.1",
    ] {
        assert_eq!(refused(format!("{line}\r\nHost: a\r\n\r\n")), Reason::MalformedRequest, "{line:?}");
    }
}

#[test]
fn hopeless_beginnings_are_refused_before_they_end() {
    for start in [
        &b"\x16\x03\x01"[..],
        b"\0",
        b" ",
        b"GET / HTTP/2",
        b"GET /\n",
        b"GET \x01",
        b"\r\n\r\n",
        b"\n",
        b"\r\r",
    ] {
        assert_eq!(refused(start), Reason::MalformedRequest, "{start:?}");
    }
    assert_eq!(refused("A".repeat(33)), Reason::MalformedRequest);
}

#[test]
fn one_empty_line_before_a_request_is_skipped() {
    let text = "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n";
    assert_eq!(accepted(text).len, text.len());
}

#[test]
fn s32_limits_are_met_exactly() {
    let limits = Limits::default();
    let target = |bytes: usize| format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(bytes - 1));
    accepted(&target(limits.target_bytes_max));
    assert_eq!(refused(target(limits.target_bytes_max + 1)), Reason::TargetTooLong);
    // Said as soon as it is known, not when the line ends.
    assert_eq!(refused(format!("GET /{}", "x".repeat(limits.target_bytes_max))), Reason::TargetTooLong);

    let count = |count: usize| with(&"X: 1\r\n".repeat(count - 1));
    assert_eq!(accepted(&count(limits.headers_max)).headers.len(), limits.headers_max);
    assert_eq!(refused(count(limits.headers_max + 1)), Reason::HeadTooLarge);

    let sized = |bytes: usize| with(&format!("X: {}\r\n", "x".repeat(bytes - with("X: \r\n").len())));
    assert_eq!(accepted(&sized(limits.head_bytes_max)).len, limits.head_bytes_max);
    assert_eq!(refused(sized(limits.head_bytes_max + 1)), Reason::HeadTooLarge);
    assert_eq!(
        refused(&sized(limits.head_bytes_max * 2).as_bytes()[..limits.head_bytes_max]),
        Reason::HeadTooLarge
    );
}

#[test]
fn s43_paths_that_two_readers_could_understand_differently_are_refused() {
    for path in [
        "/.",
        "/..",
        "/c/.",
        "/c/..",
        "/c/../admin",
        "/c/./a",
        "/c/%2e",
        "/c/%2E%2e/admin",
        "/c/.%2e/x",
        "/c%2fa",
        "/c/a%2Fb",
        "/c/a%5cb",
        "/c\\a",
        "/c/%00",
        "/c/%0d%0aX:1",
        "/c/%7f",
        "/c/%",
        "/c/%4",
        "/c/%zz",
        "/c/%4g",
        "/c/a#b",
        "c/a",
        "",
        "?a",
        "example.com:443",
        "ftp://a/",
        "//../x",
        "http:/a",
    ] {
        assert_eq!(
            refused(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")),
            Reason::MalformedRequest,
            "{path:?}"
        );
    }
    for path in
        ["/", "/c/...", "/c/a..b", "/c/%61", "/c/orders%3A42", "/c/%252e%252e", "//", "/c/a?x=/../%2f"]
    {
        accepted(&format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
    }
}

#[test]
fn s43_a_path_is_decoded_once() {
    assert_eq!(percent_decode("%252e").unwrap(), &b"%2e"[..]);
    assert_eq!(percent_decode("a+b%41").unwrap(), &b"a+bA"[..]);
    assert_eq!(percent_decode("%ff").unwrap(), &b"\xff"[..]);
    for bad in ["%", "%4", "a%4", "%+1", "%4é"] {
        assert_eq!(percent_decode(bad), None, "{bad:?}");
    }
}

#[test]
fn an_absolute_target_must_name_the_host_it_is_sent_to() {
    let head = accepted("GET http://EXAMPLE.com:80/c/a?x HTTP/1.1\r\nHost: example.com:80\r\n\r\n");
    assert_eq!((head.path(), head.query()), ("/c/a", "x"));
    assert_eq!(accepted("GET http://a HTTP/1.1\r\nHost: a\r\n\r\n").path(), "/");
    assert_eq!(accepted("GET http://a?q HTTP/1.1\r\nHost: a\r\n\r\n").query(), "q");
    for target in
        ["http://b/", "http:///", "http://", "http://a@a/", "http://a:80/", "http://a/../b", "https://b/"]
    {
        assert_eq!(
            refused(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n")),
            Reason::MalformedRequest,
            "{target:?}"
        );
    }
    assert_eq!(refused("GET http://a/ HTTP/1.0\r\n\r\n"), Reason::MalformedRequest);
}

#[test]
fn the_asterisk_is_for_options_and_connect_is_for_proxies() {
    assert_eq!(accepted("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n").path(), "*");
    assert_eq!(refused("GET * HTTP/1.1\r\nHost: a\r\n\r\n"), Reason::MalformedRequest);
    assert_eq!(refused("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n"), Reason::MethodNotAllowed);
}

#[test]
fn a_connection_ends_when_the_client_says_so_or_speaks_1_0() {
    assert!(accepted(&with("Connection: foo, Close\r\n")).ends_connection());
    assert!(accepted(&with("Connection: foo\r\nConnection: close\r\n")).ends_connection());
    assert!(accepted("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").ends_connection());
    assert!(!accepted(&with("Connection: closed\r\n")).ends_connection());
}

/// What a reader learns that is given the first byte, then one more at a time, until it knows.
fn in_single_bytes(bytes: &[u8]) -> Result<Option<Head<'_>>, Refusal> {
    (0..=bytes.len()).map(|end| parse(&bytes[..end])).find(|outcome| outcome != &Ok(None)).unwrap_or(Ok(None))
}

/// Pieces of which heads, good and bad, are likely to come out.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => prop::sample::select(vec![
            "GET", "POST", " ", "/", "/c/a", "%2e", "..", "?tail=1", " HTTP/1.1", " HTTP/1.0", "\r\n", "\r\n", "\r\n\r\n", "\n", "\r",
            "Host: a\r\n", "Host: a", "Content-Length: 5\r\n", "Transfer-Encoding: chunked\r\n", "X:", ":", "\t", "chunked", ",",
            "GET / HTTP/1.1\r\n", "GET / HTTP/1.1\r\nHost: a\r\n",
        ])
        .prop_map(|text| text.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..4),
    ]
}

proptest! {
    #[test]
    fn s42_the_outcome_does_not_depend_on_how_the_bytes_were_cut(
        pieces in prop::collection::vec(piece(), 0..12),
        started in any::<bool>(),
    ) {
        let mut bytes = if started { b"GET / HTTP/1.1\r\nHost: a\r\n".to_vec() } else { Vec::new() };
        bytes.extend(pieces.concat());
        prop_assert_eq!(in_single_bytes(&bytes), parse(&bytes));
    }

    #[test]
    fn s42_the_limits_are_met_alike_however_the_bytes_were_cut(
        pieces in prop::collection::vec(piece(), 0..12),
        head_bytes_max in 0usize..64,
        headers_max in 0usize..3,
        target_bytes_max in 0usize..8,
    ) {
        let limits = Limits { head_bytes_max, headers_max, target_bytes_max, ..Limits::default() };
        let bytes = pieces.concat();
        let whole = parse_head(&bytes, &limits);
        let cut = (0..=bytes.len()).map(|end| parse_head(&bytes[..end], &limits)).find(|outcome| outcome != &Ok(None));
        prop_assert_eq!(cut.unwrap_or(Ok(None)), whole);
    }

    #[test]
    fn bytes_of_any_kind_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
        if let Ok(Some(head)) = parse(&bytes) {
            prop_assert!(head.len <= bytes.len());
        }
    }
}
