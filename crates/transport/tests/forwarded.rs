//! Who is behind a proxy: the vectors by which clients pretend to be somebody else (security rule S41).

use std::cell::Cell;
use std::net::IpAddr;

use proptest::prelude::*;
use tidewire_transport::forwarded::{BYTES_MAX, ELEMENTS_MAX, client, is_https, prefix};

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// The proxies of these tests: everything in 10.0.0.0/8 and fd00::/8.
fn trusted(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.octets()[0] == 10,
        IpAddr::V6(address) => address.octets()[0] == 0xfd,
    }
}

fn bytes<'a>(lines: &[&'a str]) -> Vec<&'a [u8]> {
    lines.iter().map(|line| line.as_bytes()).collect()
}

/// The client according to these fields from the proxy 10.0.0.1.
fn seen(x_forwarded_for: &[&str], forwarded: &[&str]) -> String {
    client(ip("10.0.0.1"), &bytes(x_forwarded_for), &bytes(forwarded), trusted).to_string()
}

const PEER: &str = "10.0.0.1";

#[test]
fn s41_x_forwarded_for_is_believed_from_the_right_and_as_far_as_it_is_trusted() {
    for (lines, expected) in [
        // What proxies write.
        (&["203.0.113.9"][..], "203.0.113.9"),
        (&["2001:db8::9"], "2001:db8::9"),
        (&["203.0.113.9:8080"], "203.0.113.9"),
        (&["[::1]:80"], "::1"),
        (&["[2001:db8::9]"], "2001:db8::9"),
        (&["::ffff:203.0.113.9"], "203.0.113.9"),
        (&["[::ffff:203.0.113.9]:80"], "203.0.113.9"),
        (&["  203.0.113.9\t"], "203.0.113.9"),
        // Two proxies; several fields are one list.
        (&["203.0.113.9, 10.0.0.2"], "203.0.113.9"),
        (&["203.0.113.9", "10.0.0.2"], "203.0.113.9"),
        (&["203.0.113.9,::ffff:10.0.0.2"], "203.0.113.9"),
        (&["203.0.113.9, fd00::1"], "203.0.113.9"),
        // What the client wrote stands to the left.
        (&["127.0.0.1, 203.0.113.9"], "203.0.113.9"),
        (&["127.0.0.1", "203.0.113.9"], "203.0.113.9"),
        (&["10.0.0.3, 203.0.113.9"], "203.0.113.9"),
        (&["127.0.0.1, 10.0.0.3, 203.0.113.9, 10.0.0.2"], "203.0.113.9"),
        (&["\"127.0.0.1, 203.0.113.9"], "203.0.113.9"),
        (&["é, 203.0.113.9"], "203.0.113.9"),
        (&[",,,, , 203.0.113.9"], "203.0.113.9"),
        (&["", "203.0.113.9"], "203.0.113.9"),
        // Everybody is trusted: the furthest.
        (&["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        (&["::ffff:10.0.0.2"], "10.0.0.2"),
        // Nothing to go by, or nothing more.
        (&[], PEER),
        (&[""], PEER),
        (&[","], PEER),
        (&[" , ,, "], PEER),
        (&["203.0.113.9,"], PEER),
        (&["203.0.113.9", ""], PEER),
        (&["203.0.113.9, , 10.0.0.2"], "10.0.0.2"),
        (&["203.0.113.9, unknown, 10.0.0.2"], "10.0.0.2"),
        (&["203.0.113.9, unix:"], PEER),
        (&["203.0.113.9, _hidden"], PEER),
        // No addresses, though they come close.
        (&["fe80::1%eth0"], PEER),
        (&["fe80::1%1"], PEER),
        (&["[fe80::1%1]:80"], PEER),
        (&["203.0.113.9 trailing"], PEER),
        (&["203.0.113.9;"], PEER),
        (&["203.0.113.9:"], PEER),
        (&["203.0.113.9:80:80"], PEER),
        (&["203.0.113.9:123456"], PEER),
        (&["203.0.113.9:+80"], PEER),
        (&["203.0.113"], PEER),
        (&["203.0.113.09"], PEER),
        (&["0xcb007109"], PEER),
        (&["3405803785"], PEER),
        (&["[203.0.113.9]"], PEER),
        (&["[2001:db8::9"], PEER),
        (&["[2001:db8::9]80"], PEER),
        (&["[2001:db8::9]:"], PEER),
        (&["2001:db8::9]"], PEER),
        (&["\"203.0.113.9\""], PEER),
        (&["for=203.0.113.9"], PEER),
        (&["localhost"], PEER),
        (&["203.0.113.9\0"], PEER),
    ] {
        assert_eq!(seen(lines, &[]), expected, "{lines:?}");
    }
}

#[test]
fn s41_forwarded_is_believed_in_the_same_way() {
    for (lines, expected) in [
        // RFC 7239 sections 4, 6 and 7.4.
        (&["for=192.0.2.60;proto=http;by=203.0.113.43"][..], "192.0.2.60"),
        (&["For=\"[2001:db8:cafe::17]:4711\""], "2001:db8:cafe::17"),
        (&["for=\"192.0.2.43:47011\""], "192.0.2.43"),
        (&["for=\"192.0.2.43:_port\""], "192.0.2.43"),
        (&["for=\"[::ffff:192.0.2.43]\""], "192.0.2.43"),
        (&["for=192.0.2.43, for=198.51.100.17;by=203.0.113.60;proto=http;host=example.com"], "198.51.100.17"),
        (&["for=192.0.2.43, for=\"10.0.0.2\""], "192.0.2.43"),
        (&["for=192.0.2.43", "for=10.0.0.2;host=\"a,b;c=d\""], "192.0.2.43"),
        (&["proto=https; FOR=192.0.2.43 ;;by=_x;"], "192.0.2.43"),
        (&["for=192.0.2.43;host=\"a\\\"b\""], "192.0.2.43"),
        (&["for=192.0.2.43:80"], "192.0.2.43"),
        (&["for=[2001:db8::9]:80"], "2001:db8::9"),
        // What the client wrote stands to the left, with its quotes.
        (&["for=127.0.0.1, for=192.0.2.43"], "192.0.2.43"),
        (&["for=\"127.0.0.1, for=192.0.2.43"], "192.0.2.43"),
        (&["for=\"127.0.0.1, for=\"[2001:db8::9]:80\""], "2001:db8::9"),
        (&["for=127.0.0.1;x=\"\\, for=\"[2001:db8::9]:80\""], "2001:db8::9"),
        (&["\\\", for=192.0.2.43;host=\"a\""], "192.0.2.43"),
        (&["x=\"", "for=192.0.2.43"], "192.0.2.43"),
        // Nothing to go by, or nothing more.
        (&[""], PEER),
        (&[",,"], PEER),
        (&["for=192.0.2.43, for=unknown"], PEER),
        (&["for=192.0.2.43, for=_hidden, for=10.0.0.2"], "10.0.0.2"),
        (&["for=192.0.2.43, for=\"_SEVKISEK\""], PEER),
        (&["for=192.0.2.43, proto=https;by=10.0.0.1"], PEER),
        (&["for=192.0.2.43, "], PEER),
        // Malformed.
        (&["for"], PEER),
        (&["for=192.0.2.43;for=192.0.2.44"], PEER),
        (&["for=192.0.2.43;proto"], PEER),
        (&["for=192.0.2.43;=x"], PEER),
        (&["for=192.0.2.43;a b=x"], PEER),
        (&["for=\"192.0.2.43\"x"], PEER),
        (&["for=\"192.0.2.43"], PEER),
        (&["for=192.0.2.43\""], PEER),
        (&["for=\"192\\.0.2.43\""], PEER),
        (&["for =192.0.2.43"], PEER),
        (&["192.0.2.43"], PEER),
    ] {
        assert_eq!(seen(&[], lines), expected, "{lines:?}");
    }
}

#[test]
fn s41_an_escaped_quote_does_not_end_a_quoted_string() {
    // One element and not two: its comma stands in quotes, however they are counted.
    assert_eq!(seen(&[], &["for=127.0.0.1, x=\"\\\", for=192.0.2.43\""]), PEER);
    assert_eq!(seen(&[], &["for=127.0.0.1, x=\"\\\\\", for=192.0.2.43"]), "192.0.2.43");
}

#[test]
fn s41_the_two_fields_are_never_mixed() {
    // A proxy that appends to the one passes the other on as it came.
    assert_eq!(seen(&["203.0.113.9"], &["for=127.0.0.1"]), "203.0.113.9");
    assert_eq!(seen(&["203.0.113.9, 10.0.0.2"], &["for=127.0.0.1"]), "203.0.113.9");
    assert_eq!(seen(&["203.0.113.9, unknown"], &["for=127.0.0.1"]), PEER);
    assert_eq!(seen(&[""], &["for=127.0.0.1"]), PEER);
}

#[test]
fn s41_a_peer_that_is_not_trusted_is_not_asked() {
    let lines: &[&[u8]] = &[b"127.0.0.1"];
    for (peer, expected) in
        [("203.0.113.1", "203.0.113.1"), ("::ffff:203.0.113.1", "203.0.113.1"), ("::1", "::1")]
    {
        assert_eq!(client(ip(peer), lines, &[], trusted), ip(expected));
        assert_eq!(client(ip(peer), &[], &[b"for=127.0.0.1"], trusted), ip(expected));
        assert!(!is_https(ip(peer), &[b"https"], &[b"proto=https"], trusted));
    }
    assert_eq!(client(ip("::ffff:10.0.0.1"), lines, &[], trusted), ip("127.0.0.1"));
}

#[test]
fn s41_only_so_many_elements_and_bytes_are_looked_at() {
    let chain = |count: usize| vec!["10.0.0.2"; count].join(",");
    let all = format!("203.0.113.9,{}", chain(ELEMENTS_MAX - 1));
    assert_eq!(seen(&[&all], &[]), "203.0.113.9");
    let one_too_many = format!("203.0.113.9,{}", chain(ELEMENTS_MAX));
    assert_eq!(seen(&[&one_too_many], &[]), "10.0.0.2");

    let asked = Cell::new(0);
    let counting = |address| {
        asked.set(asked.get() + 1);
        trusted(address)
    };
    let lines = vec![&b"10.0.0.2"[..]; 10_000];
    assert_eq!(client(ip(PEER), &lines, &[], counting), ip("10.0.0.2"));
    assert_eq!(asked.get(), ELEMENTS_MAX + 1);
    assert_eq!(client(ip(PEER), &[chain(10_000).as_bytes()], &[], trusted), ip("10.0.0.2"));

    let padded = |bytes: usize| format!("for=203.0.113.9;x={}", "x".repeat(bytes - 18));
    assert_eq!(seen(&[], &[&padded(BYTES_MAX)]), "203.0.113.9");
    assert_eq!(seen(&[], &[&padded(BYTES_MAX + 1)]), PEER);
    assert_eq!(seen(&[], &[&padded(BYTES_MAX), "for=10.0.0.2"]), "10.0.0.2");
    assert_eq!(seen(&[], &[&"\"".repeat(BYTES_MAX)]), PEER);
    assert_eq!(seen(&[], &[&"\\\"".repeat(BYTES_MAX)]), PEER);
    let spaces = format!("203.0.113.9{}, 10.0.0.2", " ".repeat(BYTES_MAX));
    assert_eq!(seen(&[&spaces], &[]), "10.0.0.2");
}

#[test]
fn s41_tls_is_believed_of_the_nearest_proxy() {
    let told =
        |proto: &[&str], forwarded: &[&str]| is_https(ip(PEER), &bytes(proto), &bytes(forwarded), trusted);
    for proto in [&["https"][..], &["HTTPS"], &[" wss "], &["http", "https"], &["http, https"]] {
        assert!(told(proto, &[]), "{proto:?}");
        assert!(told(proto, &["proto=http"]), "{proto:?}");
    }
    for proto in
        [&["http"][..], &["ws"], &[""], &["https,"], &["https, http"], &["https", "http"], &["httpsx"]]
    {
        assert!(!told(proto, &[]), "{proto:?}");
        assert!(!told(proto, &["proto=https"]), "{proto:?}");
    }
    assert!(told(&[], &["for=_a;proto=https"]) && told(&[], &["proto=http, Proto=\"https\""]));
    for forwarded in
        ["proto=https, proto=http", "proto=https, for=_a", "proto=https;proto=https", "proto=https;x", ""]
    {
        assert!(!told(&[], &[forwarded]), "{forwarded:?}");
    }
    assert!(!told(&[], &[]));
}

#[test]
fn s38_a_customer_is_counted_by_prefix() {
    for (address, expected) in [
        ("203.0.113.9", "203.0.113.9"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("2001:db8:1:2::", "2001:db8:1:2::"),
        ("::1", "::"),
        ("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "ffff:ffff:ffff:ffff::"),
    ] {
        assert_eq!(prefix(ip(address)), ip(expected));
    }
}

/// What a client may send, with the bytes that matter among it.
fn words() -> impl Strategy<Value = Vec<u8>> {
    let word = prop_oneof![
        6 => prop::sample::select(vec![
            "for=", "For=", "by=", ";", ",", ", ", "\"", "\\", "\\\"", "[::1]", ":80", "127.0.0.1", "10.0.0.2", "unknown",
            "_x", " ", "=", "proto=https", "fe80::1%1",
        ]).prop_map(|word| word.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..4),
    ];
    prop::collection::vec(word, 0..40).prop_map(|words| words.concat())
}

proptest! {
    #[test]
    fn s41_what_a_client_writes_never_reaches_past_what_the_proxy_appends(
        written in words(),
        lines in prop::collection::vec(words(), 0..4),
        own_line in any::<bool>(),
    ) {
        let appended: [(&[u8], &str); 5] = [
            (b"203.0.113.9", "203.0.113.9"),
            (b"[2001:db8::9]:80", "2001:db8::9"),
            (b"for=203.0.113.9;proto=https", "203.0.113.9"),
            (b"for=\"[2001:db8::9]:80\"", "2001:db8::9"),
            (b"host=\"a,b\";for=\"203.0.113.9:80\";by=_proxy", "203.0.113.9"),
        ];
        for (at, (own, expected)) in appended.into_iter().enumerate() {
            let last = if own_line { own.to_vec() } else { [&written[..], b", ", own].concat() };
            let mut all: Vec<&[u8]> = lines.iter().map(Vec::as_slice).collect();
            all.push(&last);
            let (x_forwarded_for, forwarded) = if at < 2 { (&all[..], &[][..]) } else { (&[][..], &all[..]) };
            prop_assert_eq!(client(ip(PEER), x_forwarded_for, forwarded, trusted), ip(expected));
        }
    }

    #[test]
    fn s41_no_bytes_panic(lines in prop::collection::vec(words(), 0..4)) {
        let lines: Vec<&[u8]> = lines.iter().map(Vec::as_slice).collect();
        let _ = client(ip(PEER), &lines, &[], |_| true);
        let _ = client(ip(PEER), &[], &lines, |_| true);
        let _ = is_https(ip(PEER), &lines, &[], |_| true);
        let _ = is_https(ip(PEER), &[], &lines, |_| true);
    }
}
