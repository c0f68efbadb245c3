//! Kept-alive connections: every head is read as strictly as the first (security rule S42).

use proptest::prelude::*;
use tidewire_hub::limits::Limits;
use tidewire_hub::reason::Reason;
use tidewire_transport::framing::Framing;
use tidewire_transport::refusal::Refusal;

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const CHUNKED: &str = "POST /c/a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
const UPGRADE: &str = "GET /c/a HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";

fn post(body: &str) -> String {
    format!("POST /c/a HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

fn pushed<'b>(pieces: impl IntoIterator<Item = &'b [u8]>) -> (Framing, Result<(), Refusal>) {
    let mut framing = Framing::new();
    let limits = Limits::default();
    let outcome = pieces.into_iter().try_for_each(|piece| framing.push(piece, &limits));
    (framing, outcome)
}

/// Gives the outcome of these bytes, after seeing that single bytes have the same.
#[track_caller]
fn check(bytes: &str) -> Result<bool, Reason> {
    let (whole, outcome) = pushed([bytes.as_bytes()]);
    let (cut, cut_outcome) = pushed(bytes.as_bytes().chunks(1));
    assert_eq!(outcome, cut_outcome, "{bytes:?}");
    assert_eq!(whole.is_between_requests(), cut.is_between_requests(), "{bytes:?}");
    outcome.map(|()| whole.is_between_requests()).map_err(|refusal| refusal.reason)
}

#[test]
fn requests_follow_each_other_with_bodies_of_either_kind() {
    let chunks = "5\r\nhello\r\nA;name=\"value\"\r\n0123456789\r\n000\r\n\r\n";
    let all = [GET, &post("hello"), GET, CHUNKED, chunks, &post(""), CHUNKED, "0\r\n\r\n", GET].concat();
    assert_eq!(check(&all), Ok(true));
    assert_eq!(check(&all[..all.len() - 1]), Ok(false));
}

#[test]
fn a_body_may_look_like_a_request() {
    assert_eq!(check(&[&post("GET / HTTP/1.1\n\n"), GET].concat()), Ok(true));
    assert_eq!(check(&[CHUNKED, "10\r\nGET / HTTP/1.1\n\n\r\n0\r\n\r\n", GET].concat()), Ok(true));
}

#[test]
fn s42_later_heads_are_read_as_strictly_as_the_first() {
    for bad in [
        "GET / HTTP/1.1\nHost: a\n\n",
        "GET / HTTP/1.1\r\n\r\n",
        "GET /../x HTTP/1.1\r\nHost: a\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n",
    ] {
        for before in [GET, &post("hello"), &[CHUNKED, "1\r\nx\r\n0\r\n\r\n"].concat()] {
            assert_eq!(check(&[before, bad].concat()), Err(Reason::MalformedRequest), "{bad:?}");
        }
    }
}

#[test]
fn s42_chunks_that_two_readers_could_count_differently_are_refused() {
    for bad in [
        "\r\n",
        ";\r\n",
        "x\r\n",
        "0x5\r\n",
        "+5\r\n",
        "-5\r\n",
        " 5\r\n",
        "5 \r\n",
        "5\t;x\r\n",
        "5\n",
        "5\r5",
        "5;\n",
        "5;a\rb\r\n",
        "5;\0\r\n",
        "10000000000000000\r\n",
        "5\r\nhello!",
        "5\r\nhello\n",
        "5\r\nhello\rx",
        "5\r\nhello5\r\n",
    ] {
        assert_eq!(check(&[CHUNKED, bad].concat()), Err(Reason::MalformedRequest), "{bad:?}");
    }
    assert_eq!(check(&[CHUNKED, "5;", &"x".repeat(300)].concat()), Err(Reason::MalformedRequest));
    assert_eq!(check(&[CHUNKED, "00000000000000005\r\n"].concat()), Err(Reason::MalformedRequest));
    assert_eq!(check(&[CHUNKED, "0000000000000005\r\nhello\r\n0\r\n\r\n"].concat()), Ok(true));
    assert_eq!(check(&[CHUNKED, "ffffffffffffffff\r\nhello"].concat()), Ok(false));
}

#[test]
fn s42_trailer_fields_are_refused() {
    assert_eq!(check(&[CHUNKED, "0\r\nContent-Length: 5\r\n\r\n"].concat()), Err(Reason::Unsupported));
}

#[test]
fn what_follows_a_websocket_request_is_not_http() {
    let (framing, outcome) = pushed([UPGRADE.as_bytes(), b"\x81\x85\0\0\0\0hello\n\n"]);
    assert_eq!(outcome, Ok(()));
    assert!(framing.is_switched());
}

#[test]
fn an_upgrade_to_something_else_is_ignored() {
    let other = UPGRADE.replace("websocket", "h2c");
    assert_eq!(check(&[&other, "GET /\n"].concat()), Err(Reason::MalformedRequest));
    let posted = UPGRADE.replace("GET", "POST");
    assert_eq!(check(&[&posted, "GET /\n"].concat()), Err(Reason::MalformedRequest));
}

#[test]
fn s42_after_a_refusal_nothing_passes() {
    let mut framing = Framing::new();
    let limits = Limits::default();
    assert!(framing.push(b"GET /\n", &limits).is_err());
    assert!(framing.push(GET.as_bytes(), &limits).is_err());
}

#[test]
fn s32_a_head_that_never_ends_is_refused_at_its_limit() {
    let limits = Limits::default();
    let mut framing = Framing::new();
    framing.push(b"GET / HTTP/1.1\r\nHost: a\r\nX: ", &limits).unwrap();
    let outcome = (0..limits.head_bytes_max).try_for_each(|_| framing.push(b"x", &limits));
    assert_eq!(outcome.unwrap_err().reason, Reason::HeadTooLarge);
}

fn piece() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        6 => prop::sample::select(vec![
            GET, CHUNKED, UPGRADE, "0\r\n\r\n", "5\r\nhello\r\n", "5;x\r\nhello\r\n", "hello", "\r\n", "\n", "5", "POST / HTTP/1.1\r\n",
            "Host: a\r\n", "Content-Length: 5\r\n\r\nhello", "Content-Length: 5\r\n",
        ])
        .prop_map(|text| text.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..4),
    ]
}

proptest! {
    #[test]
    fn s42_the_outcome_does_not_depend_on_how_the_bytes_were_cut(
        pieces in prop::collection::vec(piece(), 0..12),
        cuts in prop::collection::vec(1usize..40, 1..40),
    ) {
        let bytes = pieces.concat();
        let (whole, whole_outcome) = pushed([&bytes[..]]);
        let mut rest = &bytes[..];
        let mut cut_pieces = Vec::new();
        for cut in cuts.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (piece, tail) = rest.split_at((*cut).min(rest.len()));
            cut_pieces.push(piece);
            rest = tail;
        }
        let (cut, cut_outcome) = pushed(cut_pieces);
        prop_assert_eq!(whole_outcome, cut_outcome);
        prop_assert_eq!(whole.is_between_requests(), cut.is_between_requests());
        prop_assert_eq!(whole.is_switched(), cut.is_switched());
    }
}
