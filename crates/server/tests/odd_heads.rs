//! Two readers of the same head: our own check, and hyper behind it. Whatever passes the first must please the second,
//! which refuses without a word (security rules S42 and S52).

#![allow(clippy::unwrap_used, reason = "a test may unwrap: its panic is its report")]

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::Router;
use bytes::Bytes;
use tidewire_hub::limits::Limits;
use tidewire_server::census::Census;
use tidewire_server::health::Health;
use tidewire_server::http::{Http, Incoming};
use tidewire_transport::http1::parse_head;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Enough that each piece below stands in many heads. Another seed: `TIDEWIRE_SEED=7 cargo test -p tidewire-server`.
const HEADS: usize = 3_000;
const SEED: u64 = 0x5eed_0042;

/// A server whose pages are all there: what is refused, is refused before them.
struct Rig {
    http: Http,
    limits: Limits,
    listener: TcpListener,
    address: SocketAddr,
    /// Never told to close.
    _closing: watch::Sender<bool>,
}

impl Rig {
    async fn new(limits: Limits) -> Rig {
        let (closing, closes) = watch::channel(false);
        let router = Router::new().fallback(async || "fine");
        let census = Census::new(Vec::new(), limits.connections_max);
        let http = Http::new(
            Arc::new(ArcSwap::from_pointee(limits.clone())),
            census,
            Arc::new(Health::default()),
            router,
            closes,
        );
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        Rig { http, limits, listener, address, _closing: closing }
    }

    /// What is answered to `head`, which somebody else has read already or nobody has.
    async fn answer(&self, head: &[u8], handed_over: bool) -> String {
        let (client, accepted) = tokio::join!(TcpStream::connect(self.address), self.listener.accept());
        let (mut client, (socket, peer)) = (client.unwrap(), accepted.unwrap());
        let (before, after) = if handed_over { (head, &b""[..]) } else { (&b""[..], head) };
        let incoming = Incoming {
            socket: socket.into_std().unwrap(),
            client: peer,
            bytes: Bytes::copy_from_slice(before),
            first_due: Duration::from_secs(60),
        };
        tokio::spawn(self.http.clone().serve(incoming));
        client.write_all(after).await.unwrap();
        client.shutdown().await.unwrap();
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).await.unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// Sends `head` both ways, and sees that both readers agree about it.
    async fn check(&self, head: &[u8]) -> bool {
        let passes = match parse_head(head, &self.limits) {
            Ok(Some(_)) => true,
            Ok(None) => return false,
            Err(_) => false,
        };
        for handed_over in [true, false] {
            let answer = self.answer(head, handed_over).await;
            let told = if passes {
                answer.starts_with("HTTP/1.1 200 ") || answer.starts_with("HTTP/1.0 200 ")
            } else {
                answer.contains("\r\nContent-Type: application/problem+json\r\n")
                    && answer.contains("\r\nConnection: close\r\n")
                    && ["\"code\":", "\"detail\":", "\"hint\":", "\"trace_id\":"]
                        .iter()
                        .all(|field| answer.contains(field))
            };
            assert!(told, "passes: {passes}, handed over: {handed_over}\n{}\n{answer}", head.escape_ascii());
        }
        passes
    }
}

#[tokio::test]
async fn s52_a_head_that_our_check_lets_through_is_never_refused_without_a_word() {
    let seed = std::env::var("TIDEWIRE_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(SEED);
    println!("TIDEWIRE_SEED={seed}");
    let rig = Rig::new(Limits::default()).await;
    let mut random = Random(seed);
    let mut passed = 0;
    for _ in 0..HEADS {
        passed += usize::from(rig.check(&odd_head(&mut random)).await);
    }
    println!("{passed} of {HEADS} passed");
    assert!(
        passed > HEADS / 10 && passed < HEADS * 9 / 10,
        "{passed} of {HEADS} say little about the others"
    );
}

#[tokio::test]
async fn s52_every_byte_in_every_place_of_a_head_is_answered_in_words() {
    let rig = Rig::new(Limits::default()).await;
    for byte in 0..=u8::MAX {
        for (before, after) in [
            ("GE", "T / HTTP/1.1\r\nHost: a\r\n\r\n"),
            ("GET /", " HTTP/1.1\r\nHost: a\r\n\r\n"),
            ("GET /?", " HTTP/1.1\r\nHost: a\r\n\r\n"),
            ("GET / HTTP/1.1\r\nHost: a", "\r\n\r\n"),
            ("GET / HTTP/1.1\r\nHost: a\r\nX", ": 1\r\n\r\n"),
            ("GET / HTTP/1.1\r\nHost: a\r\nX: 1", "1\r\n\r\n"),
            ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1", "\r\n\r\n"),
            ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked", "\r\n\r\n"),
        ] {
            rig.check(&[before.as_bytes(), &[byte], after.as_bytes()].concat()).await;
        }
    }
}

#[tokio::test]
async fn s52_where_a_limit_is_off_hypers_own_bounds_are_told_in_words() {
    let off = usize::MAX / 8;
    let rig = Rig::new(Limits {
        head_bytes_max: off,
        headers_max: off,
        target_bytes_max: off,
        ..Limits::default()
    })
    .await;
    let target = |bytes: usize| format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(bytes - 1));
    let fields = |count: usize| format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: 1\r\n".repeat(count - 1));
    for (head, status) in
        [(target(65_534), "200"), (target(65_535), "414"), (fields(1_000), "200"), (fields(1_001), "431")]
    {
        let answer = rig.answer(head.as_bytes(), false).await;
        assert_eq!(&answer[9..12], status);
        assert_eq!(answer.contains("problem+json"), status != "200", "{answer}");
    }
}

/// A head of which two or three things are odd.
fn odd_head(random: &mut Random) -> Vec<u8> {
    let mut method = random.pick(&["GET", "POST", "PUT", "OPTIONS", "DELETE"]).to_owned();
    let mut target = random.pick(&["/", "/c/a", "/c/a?tail=1", "http://a/c/a", "*"]).to_owned();
    let mut version = "HTTP/1.1";
    let mut host = "Host: a\r\n".to_owned();
    let mut fields = String::new();
    for _ in 0..random.below(3) {
        match random.below(9) {
            0 => method = format!("{}{}", random.piece(), random.pick(&["GET", "", "a"])),
            1 => target = format!("/c/{}", random.piece()),
            2 => target = format!("/c/a?{}", random.piece()),
            3 => {
                let authority = format!("{}{}", random.pick(&["a", "", "[::1]", "a:"]), random.piece());
                target = format!(
                    "{}://{authority}{}",
                    random.pick(&["http", "HTTP", "https", "ws"]),
                    random.pick(&["", "/", "?"])
                );
                host = format!("Host: {authority}\r\n");
            }
            4 => version = random.pick(&["HTTP/1.0", "HTTP/1.1", "HTTP/2", "HTTP/1.1 "]),
            5 => host = format!("Host: {}{}\r\n", random.pick(&["a", "", "[::1]"]), random.piece()),
            6 => fields.push_str(&format!("Content-Length: {}\r\n", random.pick(LENGTHS))),
            7 => fields.push_str(&format!("Transfer-Encoding: {}\r\n", random.pick(CODINGS))),
            _ => {
                let name = random.pick(NAMES);
                fields.push_str(&format!("{name}:{}{}\r\n", random.pick(&["", " ", "\t"]), random.piece()));
            }
        }
    }
    format!("{method} {target} {version}\r\n{host}{fields}\r\n").into_bytes()
}

const LENGTHS: &[&str] = &[
    "0",
    "5",
    "007",
    "+1",
    "-1",
    "1 1",
    "1,1",
    "",
    "0x1",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551613",
    "18446744073709551614",
    "18446744073709551615",
    "18446744073709551616",
    "00000000000000000000000000000000001",
    "99999999999999999999999999",
];
const CODINGS: &[&str] = &[
    "chunked",
    "Chunked",
    "CHUNKED ",
    ",chunked",
    "chunked,",
    "chunked, chunked",
    "gzip, chunked",
    "chunked, gzip",
    "",
    ",",
    "identity",
    "chunked;q=1",
    "\"chunked\"",
    "chunked\t",
    "xchunked",
    "chunked\u{a0}",
];
const NAMES: &[&str] = &[
    "Connection",
    "Upgrade",
    "Expect",
    "X",
    "Accept",
    "Content-Type",
    "TE",
    "Trailer",
    "Keep-Alive",
    "X:Y",
    "",
    "a b",
    "!#$%&'*+-.^_`|~",
    "Sec-WebSocket-Key",
    "Host",
];
const PIECES: &[&str] = &[
    "",
    "a",
    "%41",
    "%",
    "%2f",
    "%00",
    "%zz",
    "..",
    "./",
    "//",
    "<",
    ">",
    "`",
    "{",
    "}",
    "|",
    "^",
    "\"",
    "\\",
    "[",
    "]",
    "#",
    "?",
    "@",
    ":",
    ";",
    "=",
    "&",
    "+",
    ",",
    "'",
    "(",
    "*",
    "~",
    "!",
    "$",
    ":80",
    ":x",
    "::",
    "[::1]",
    "a@b",
    "é",
    "\u{7f}",
    "\0",
    "\t",
    " ",
    "\r",
    "close",
    "keep-alive",
    "upgrade",
    "websocket",
    "100-continue",
    "h2c",
    "\u{ff}",
    ":99999999999",
];

/// SplitMix64: the same heads from the same seed, everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % bound as u64).unwrap()
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len())]
    }

    /// One or two odd pieces.
    fn piece(&mut self) -> String {
        let first = self.pick(PIECES);
        if self.below(2) == 0 { first.to_owned() } else { format!("{first}{}", self.pick(PIECES)) }
    }
}
