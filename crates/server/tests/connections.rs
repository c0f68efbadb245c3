//! Connections of the API server as their clients meet them: framing, deadlines, orderly ends. Real sockets, and waits
//! that end with what they wait for.

#![allow(clippy::unwrap_used, reason = "a test may unwrap: its panic is its report")]

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::routing::{get, post};
use axum::{Extension, Router};
use bytes::Bytes;
use tidewire_engine::Proxies;
use tidewire_hub::limits::Limits;
use tidewire_server::api::Peer;
use tidewire_server::census::Census;
use tidewire_server::health::{Health, Phase};
use tidewire_server::http::{Http, Incoming};
use tidewire_transport::proxy_protocol::Malformed;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

struct Rig {
    http: Http,
    census: Arc<Census>,
    health: Arc<Health>,
    closing: watch::Sender<bool>,
    listener: TcpListener,
    address: SocketAddr,
}

impl Rig {
    async fn new(limits: Limits) -> Rig {
        let census = Census::new(Vec::new(), limits.connections_max);
        let health = Arc::new(Health::default());
        let (closing, closes) = watch::channel(false);
        let router = Router::new()
            .route("/hello", get(async || "hello"))
            .route("/livez", get(async || "alive"))
            .route("/slow", get(async || tokio::time::sleep(2 * HEAD_MAX).await))
            .route("/echo", post(async |body: Bytes| body));
        let http = Http::new(
            Arc::new(ArcSwap::from_pointee(limits)),
            census.clone(),
            health.clone(),
            router,
            closes,
        );
        let listener = TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        Rig { http, census, health, closing, listener, address }
    }

    /// A client of a connection that is served after `before` was read from it by somebody else.
    async fn client(&self, before: &'static str) -> TcpStream {
        let (client, accepted) = tokio::join!(TcpStream::connect(self.address), self.listener.accept());
        let (socket, client_address) = accepted.unwrap();
        let socket = socket.into_std().unwrap();
        let (bytes, first_due) = (Bytes::from_static(before.as_bytes()), Duration::from_millis(300));
        tokio::spawn(self.http.clone().serve(Incoming { socket, client: client_address, bytes, first_due }));
        client.unwrap()
    }
}

/// In the tests of deadlines: so short that they may pass, so long that a busy machine meets them.
const HEAD_MAX: Duration = Duration::from_millis(700);

fn hasty() -> Limits {
    Limits { first_byte_max: Duration::from_millis(300), head_max: HEAD_MAX, ..Limits::default() }
}

const HELLO: &str = "GET /hello HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// Reads up to the end of the first "hello".
async fn hello(client: &mut TcpStream) -> String {
    let mut text = String::new();
    while !text.ends_with("\r\n\r\nhello") {
        let mut bytes = [0; 512];
        let count = client.read(&mut bytes).await.unwrap();
        assert!(count > 0, "ended after {text:?}");
        text.push_str(std::str::from_utf8(&bytes[..count]).unwrap());
    }
    text
}

/// Everything up to the end of the connection.
async fn rest(client: &mut TcpStream) -> String {
    let mut text = String::new();
    client.read_to_string(&mut text).await.unwrap();
    text
}

#[tokio::test]
async fn r27_what_was_read_before_the_hand_over_is_answered() {
    let rig = Rig::new(Limits::default()).await;
    let mut client = rig.client(HELLO).await;
    assert!(hello(&mut client).await.starts_with("HTTP/1.1 200 OK\r\n"));
    client.write_all(HELLO.as_bytes()).await.unwrap();
    hello(&mut client).await;
}

#[tokio::test]
async fn s42_the_second_request_of_a_connection_is_held_to_the_rules_of_the_first() {
    let rig = Rig::new(Limits::default()).await;
    for bad in [
        "GET /hello HTTP/1.1\nHost: localhost\n\n",
        "GET /hello HTTP/1.1\r\nHost : localhost\r\n\r\n",
        "GET /hello HTTP/1.1\r\nHost: localhost\r\nX: a\r\n b\r\n\r\n",
        "POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        "GET /a/../hello HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ] {
        let mut client = rig.client(HELLO).await;
        hello(&mut client).await;
        client.write_all(bad.as_bytes()).await.unwrap();
        let answer = rest(&mut client).await;
        assert!(
            answer.starts_with("HTTP/1.1 400 ") && answer.contains("application/problem+json"),
            "{bad:?}: {answer}"
        );
        assert_eq!(
            answer.matches("\r\n\r\n").count(),
            1,
            "what is hidden behind it is not answered: {answer}"
        );
    }
}

#[tokio::test]
async fn s42_what_follows_an_upgrade_that_was_not_made_is_not_read_as_a_request() {
    let rig = Rig::new(Limits::default()).await;
    let mut client = rig.client("").await;
    let upgrade =
        "GET /hello HTTP/1.1\r\nHost: localhost\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
    client.write_all(format!("{upgrade}{HELLO}").as_bytes()).await.unwrap();
    let answer = rest(&mut client).await;
    assert_eq!(answer.matches("hello").count(), 1, "{answer}");
    assert!(answer.contains("connection: close"), "{answer}");
}

#[tokio::test]
async fn s42_the_answer_to_an_upgrade_that_was_not_made_arrives_also_where_more_was_sent() {
    let rig = Rig::new(Limits::default()).await;
    let upgrade =
        "GET /hello HTTP/1.1\r\nHost: localhost\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
    for before in ["", upgrade] {
        let mut client = rig.client(before).await;
        let sent = format!("{}{}", &upgrade[before.len()..], "x".repeat(100_000));
        client.write_all(sent.as_bytes()).await.unwrap();
        client.shutdown().await.unwrap();
        assert!(rest(&mut client).await.ends_with("\r\n\r\nhello"));
    }
}

#[tokio::test]
async fn s42_an_offence_in_what_the_engine_has_read_is_told_too() {
    let rig = Rig::new(Limits::default()).await;
    let bad = "POST /echo HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n";
    assert!(rest(&mut rig.client(bad).await).await.starts_with("HTTP/1.1 400 "));
}

#[tokio::test]
async fn s42_a_body_that_nobody_read_ends_its_connection_with_the_answer() {
    let rig = Rig::new(Limits::default()).await;
    let mut client = rig.client("").await;
    let unread = "GET /hello HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nabc";
    client.write_all(format!("{unread}{HELLO}").as_bytes()).await.unwrap();
    let answer = rest(&mut client).await;
    assert!(answer.contains("connection: close") && answer.matches("hello").count() == 1, "{answer}");
}

#[tokio::test]
async fn s33_who_says_nothing_is_cut_without_a_word() {
    let rig = Rig::new(Limits::default()).await;
    assert_eq!(rest(&mut rig.client("").await).await, "");
}

#[tokio::test]
async fn s33_a_head_that_does_not_end_is_a_timeout() {
    let limits = Limits {
        first_byte_max: Duration::from_millis(300),
        head_max: Duration::from_millis(400),
        ..Limits::default()
    };
    let rig = Rig::new(limits).await;
    let mut client = rig.client(HELLO).await;
    hello(&mut client).await;
    client.write_all(b"GET /hello HT").await.unwrap();
    assert!(rest(&mut client).await.starts_with("HTTP/1.1 408 "));

    let mut client = rig.client("").await;
    client.write_all(b"G").await.unwrap();
    assert!(
        rest(&mut client).await.starts_with("HTTP/1.1 408 "),
        "the first byte alone buys no more than a head's time"
    );
}

#[tokio::test]
async fn s33_a_head_that_began_in_the_last_read_of_a_body_has_a_heads_time() {
    let rig = Rig::new(hasty()).await;
    let mut client = rig.client("").await;
    client.write_all(b"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\npi").await.unwrap();
    client.write_all(b"ngG").await.unwrap();
    let answers =
        tokio::time::timeout(Limits::default().keep_alive_max / 4, rest(&mut client)).await.unwrap();
    assert!(answers.contains("\r\n\r\nping") && answers.contains("HTTP/1.1 408 "), "{answers}");
}

#[tokio::test]
async fn s33_a_client_that_pipelines_behind_a_slow_answer_is_not_cut() {
    let rig = Rig::new(hasty()).await;
    let mut client = rig.client("").await;
    let (begun, ended) = HELLO.split_at(9);
    client.write_all(format!("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n{begun}").as_bytes()).await.unwrap();
    let mut answer = [0; 15];
    client.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200 OK");
    client.write_all(ended.as_bytes()).await.unwrap();
    hello(&mut client).await;
}

#[tokio::test]
async fn s33_a_body_may_take_longer_than_a_head() {
    let rig = Rig::new(hasty()).await;
    let mut client = rig.client("").await;
    client.write_all(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\npi").await.unwrap();
    // Nothing but silence follows until the head's time would be over twice.
    assert!(tokio::time::timeout(2 * HEAD_MAX, client.read_u8()).await.is_err());
    client.write_all(b"ng").await.unwrap();
    client.shutdown().await.unwrap();
    let answer = rest(&mut client).await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("ping"), "{answer}");
}

#[tokio::test]
async fn r29_a_publish_whose_client_has_finished_speaking_is_still_answered() {
    let rig = Rig::new(Limits::default()).await;
    let mut client = rig.client("").await;
    client
        .write_all(b"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\nping")
        .await
        .unwrap();
    client.shutdown().await.unwrap();
    assert!(rest(&mut client).await.ends_with("\r\n\r\nping"));
}

#[tokio::test]
async fn s39_one_connection_too_many_is_told_so() {
    let rig = Rig::new(Limits { connections_max: 1, ..Limits::default() }).await;
    let mut first = rig.client(HELLO).await;
    hello(&mut first).await;
    assert!(rest(&mut rig.client(HELLO).await).await.starts_with("HTTP/1.1 503 "));
    hello(&mut {
        first.write_all(HELLO.as_bytes()).await.unwrap();
        first
    })
    .await;
}

#[tokio::test]
async fn s39_a_node_that_is_full_still_says_that_it_is_alive() {
    let rig = Rig::new(Limits { connections_max: 1, ..Limits::default() }).await;
    let mut first = rig.client(HELLO).await;
    hello(&mut first).await;
    let livez = "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let answer = rest(&mut rig.client(livez).await).await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("connection: close"), "{answer}");
}

#[tokio::test]
async fn s39_who_watches_us_comes_in_where_there_is_no_room() {
    let rig = Rig::new(Limits { connections_max: 0, ..Limits::default() }).await;
    tokio::spawn(rig.http.clone().watched().accept(rig.listener));
    let mut client = TcpStream::connect(rig.address).await.unwrap();
    for _ in 0..2 {
        client.write_all(HELLO.as_bytes()).await.unwrap();
        hello(&mut client).await;
    }
}

#[tokio::test]
async fn a_draining_node_ends_each_connection_with_its_next_answer_and_the_idle_ones_at_last() {
    let rig = Rig::new(Limits::default()).await;
    let (mut asks, mut idles) = (rig.client(HELLO).await, rig.client(HELLO).await);
    hello(&mut asks).await;
    hello(&mut idles).await;
    rig.health.enter(Phase::Draining);
    asks.write_all(HELLO.as_bytes()).await.unwrap();
    let answer = rest(&mut asks).await;
    assert!(answer.contains("connection: close") && answer.ends_with("hello"), "{answer}");
    rig.closing.send_replace(true);
    assert_eq!(rest(&mut idles).await, "");
    drop((asks, idles));
    while rig.census.connections() > 0 {
        tokio::task::yield_now().await;
    }
}

/// A server behind proxies on loopback, and its address.
async fn behind_a_proxy(limits: Limits, trusted: bool) -> (SocketAddr, watch::Sender<bool>) {
    struct Front(bool);
    impl Proxies for Front {
        fn introduces(&self, _peer: IpAddr) -> bool {
            self.0
        }
        fn failed(&self, _peer: SocketAddr, _fault: Malformed) {}
    }
    let census = Census::new(Vec::new(), limits.connections_max);
    let (closing, closes) = watch::channel(false);
    let who = async |Extension(peer): Extension<Peer>| format!("{}.", peer.address);
    let router = Router::new().route("/who", get(who));
    let http = Http::new(Arc::new(ArcSwap::from_pointee(limits)), census, Arc::default(), router, closes);
    let listener = TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(http.behind(Arc::new(Front(trusted))).accept(listener));
    (address, closing)
}

/// Says that 203.0.113.7:4000 has come over IPv4.
const INTRODUCTION: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xcb\0\x71\x07\x0a\0\0\x01\x0f\xa0\0\x50";

const WHO: &[u8] = b"GET /who HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

#[tokio::test]
async fn s41_a_client_is_who_its_trusted_proxy_says_without_an_engine_too() {
    let (address, _closing) = behind_a_proxy(Limits::default(), true).await;
    let bytes = [INTRODUCTION, WHO].concat();
    for at in [0, 1, 12, INTRODUCTION.len(), INTRODUCTION.len() + 3] {
        let mut client = TcpStream::connect(address).await.unwrap();
        client.set_nodelay(true).unwrap();
        client.write_all(&bytes[..at]).await.unwrap();
        tokio::task::yield_now().await;
        client.write_all(&bytes[at..]).await.unwrap();
        let answer = rest(&mut client).await;
        assert!(answer.ends_with("\r\n\r\n203.0.113.7:4000."), "cut at {at}: {answer}");
    }
    let local = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";
    let mut client = TcpStream::connect(address).await.unwrap();
    client.write_all(&[local, WHO].concat()).await.unwrap();
    assert!(rest(&mut client).await.ends_with(&format!("\r\n\r\n{}.", client.local_addr().unwrap())));
}

#[tokio::test]
async fn s41_without_a_header_a_trusted_proxy_is_closed_and_with_one_anybody_else_is_refused() {
    let (address, _closing) = behind_a_proxy(Limits::default(), true).await;
    let mut client = TcpStream::connect(address).await.unwrap();
    client.write_all(b"G").await.unwrap();
    assert_eq!(client.read(&mut [0; 9]).await.unwrap(), 0);
    let (address, _closing) = behind_a_proxy(Limits::default(), false).await;
    let mut client = TcpStream::connect(address).await.unwrap();
    client.write_all(&[INTRODUCTION, WHO].concat()).await.unwrap();
    assert!(rest(&mut client).await.starts_with("HTTP/1.1 400 "));
}

#[tokio::test]
async fn s33_an_introduction_buys_no_time_without_an_engine_either() {
    let limits = Limits { first_byte_max: Duration::from_millis(100), ..Limits::default() };
    let (address, _closing) = behind_a_proxy(limits, true).await;
    for sent in [0, 1, INTRODUCTION.len()] {
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(&INTRODUCTION[..sent]).await.unwrap();
        assert_eq!(client.read(&mut [0; 9]).await.unwrap(), 0, "after {sent} bytes");
    }
}
