use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tower_http::compression::CompressionLayer;
use tower_http::timeout::TimeoutLayer;

use super::rig::{Client, PATIENCE, answer, next, open, serve};

const SSE: &str = "Accept: text/event-stream";

#[tokio::test]
async fn every_transport_works_nested_under_a_prefix_and_beside_the_applications_own_pages() {
    let live = open().start().await.unwrap();
    let app = Router::new().route("/", get(|| async { "a page" })).nest("/deep/live", live.router());
    let at = serve(app, true).await;
    assert!(answer(at, "GET /", &[], "").await.1.ends_with("a page"));

    let mut stream = Client::ask(at, "GET /deep/live/c/a,b", &[SSE], "").await;
    let head = stream.until("$ready").await.to_lowercase();
    assert!(
        head.contains("content-type: text/event-stream") && head.contains("no-store, no-transform"),
        "{head}"
    );
    let id = live.publish("a", "one").await.unwrap().id.unwrap();
    let text = stream.until("data: one").await;
    assert!(text.contains("event: a\n") && text.contains(&format!("id: {id}")), "{text}");
    drop(stream);

    live.publish("b", "two").await.unwrap();
    let resumed = format!("Last-Event-ID: {id}");
    Client::ask(at, "GET /deep/live/c/a,b", &[SSE, &resumed], "").await.until("data: two").await;
    let (status, text) = answer(at, &format!("GET /deep/live/c/a,b?cursor={id}"), &[], "").await;
    assert!(
        status == 200 && text.contains("\"data\":\"two\"") && !text.contains("\"data\":\"one\""),
        "{text}"
    );

    let mut poll = Client::ask(at, "GET /deep/live/c/c?wait=20", &["Connection: close"], "").await;
    let waits = async {
        while live.publish("c", "news").await.unwrap().receivers.poll == 0 {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, waits).await.unwrap();
    assert!(poll.until("\"cursor\"").await.contains("\"data\":\"news\""));

    let (status, text) =
        answer(at, "POST /deep/live/v1/publish", &[], r#"{"messages":[{"channel":"a","data":"x"}]}"#).await;
    assert!(status == 200 && text.contains("\"results\""), "{text}");
    let (status, text) = answer(at, "GET /deep/live/client.js", &[], "").await;
    assert!(status == 200 && text.contains("javascript"), "{status}");
    assert_eq!(answer(at, "GET /deep/live/nothing", &[], "").await.0, 404);
    assert_eq!(answer(at, "GET /deep/live/readyz", &[], "").await.0, 404, "it is in the other router");
}

#[tokio::test]
async fn a_websocket_speaks_both_ways_raw_and_in_frames() {
    let live = open().start().await.unwrap();
    let mut inside = live.subscribe(["a"]).await.unwrap();
    let at = serve(Router::new().nest("/live", live.router()), true).await;

    let socket = TcpStream::connect(at).await.unwrap();
    let (mut raw, _) = tokio_tungstenite::client_async(format!("ws://{at}/live/c/a"), socket).await.unwrap();
    raw.send(Message::text("from a browser")).await.unwrap();
    assert_eq!(next(&mut inside).await, "from a browser");
    assert_eq!(heard(&mut raw).await, Message::text("from a browser"), "its own, like everybody's");
    live.publish("a", vec![1_u8, 2]).await.unwrap();
    assert_eq!(heard(&mut raw).await, Message::binary(vec![1, 2]));

    let mut request = format!("ws://{at}/live/c/").into_client_request().unwrap();
    request.headers_mut().insert("sec-websocket-protocol", "tidewire.v1".parse().unwrap());
    let socket = TcpStream::connect(at).await.unwrap();
    let (mut v1, answer) = tokio_tungstenite::client_async(request, socket).await.unwrap();
    assert_eq!(answer.headers()["sec-websocket-protocol"], "tidewire.v1");
    v1.send(Message::text(r#"{"type":"subscribe","channels":["b"],"id":1}"#)).await.unwrap();
    let mut texts = String::new();
    while !texts.contains("\"ack\"") {
        texts.push_str(heard(&mut v1).await.to_text().unwrap());
    }
    live.publish("b", "framed").await.unwrap();
    assert!(heard(&mut v1).await.to_text().unwrap().contains("\"data\":\"framed\""));
    v1.send(Message::text(r#"{"type":"refresh","token":"x","id":2}"#)).await.unwrap();
    assert!(heard(&mut v1).await.to_text().unwrap().contains("\"unsupported\""));
}

async fn heard<S>(socket: &mut S) -> Message
where
    S: futures_util::Stream<Item = Result<Message, tokio_tungstenite::tungstenite::Error>> + Unpin,
{
    loop {
        let message = timeout(PATIENCE, socket.next()).await.unwrap().unwrap().unwrap();
        if !message.is_ping() {
            return message;
        }
    }
}

#[tokio::test]
async fn streams_and_websockets_share_one_connection_of_http2() {
    let live = open().start().await.unwrap();
    let at = serve(Router::new().nest("/live", live.router()), true).await;
    let socket = TcpStream::connect(at).await.unwrap();
    let (mut send, connection) = h2::client::handshake(socket).await.unwrap();
    let driver = tokio::spawn(connection);
    send = send.ready().await.unwrap();

    let request = |method: &str, path: &str| {
        axum::http::Request::builder().method(method).uri(format!("http://{at}/live/c/{path}"))
    };
    let mut streams = Vec::new();
    for number in 0..30 {
        let asked =
            request("GET", &format!("a,c{number}")).header("accept", "text/event-stream").body(()).unwrap();
        streams.push(send.send_request(asked, true).unwrap().0.await.unwrap().into_body());
        send = send.ready().await.unwrap();
    }
    let mut asked = request("CONNECT", "a").header("sec-websocket-version", "13").body(()).unwrap();
    asked.extensions_mut().insert(h2::ext::Protocol::from_static("websocket"));
    let (answer, mut up) = send.send_request(asked, false).unwrap();
    let answer = timeout(PATIENCE, answer).await.unwrap().unwrap();
    assert_eq!(answer.status(), 200);
    assert!(answer.headers().get("sec-websocket-accept").is_none(), "there is none over HTTP/2");
    let mut down = answer.into_body();

    for stream in &mut streams {
        until(stream, b"$ready").await;
    }
    // A masked text frame: "hi", with a mask of zeros.
    up.send_data(Bytes::from_static(b"\x81\x82\0\0\0\0hi"), false).unwrap();
    until(&mut down, b"\x81\x02hi").await;
    for stream in &mut streams {
        until(stream, b"data: hi").await;
    }
    driver.abort();
}

async fn until(stream: &mut h2::RecvStream, wanted: &[u8]) {
    let mut all = Vec::new();
    while !all.windows(wanted.len()).any(|window| window == wanted) {
        let bytes = timeout(PATIENCE, stream.data()).await.unwrap().expect("it goes on").unwrap();
        stream.flow_control().release_capacity(bytes.len()).unwrap();
        all.extend_from_slice(&bytes);
    }
}

#[tokio::test]
async fn it_may_stand_at_the_root_beside_what_the_application_has_there() {
    let live = open().start().await.unwrap();
    let app = Router::new().route("/", get(|| async { "a page" })).merge(live.router());
    let at = serve(app, true).await;
    assert!(answer(at, "GET /", &[], "").await.1.ends_with("a page"));
    assert_eq!(answer(at, "GET /c/a", &[], "").await.0, 200);
    let (status, text) = answer(at, "PUT /c/a", &[], "").await;
    assert!(status == 405 && text.contains("method_not_allowed"), "{text}");
}

#[tokio::test]
async fn who_goes_away_leaves_nothing_behind() {
    let live = open().start().await.unwrap();
    let at = serve(Router::new().nest("/live", live.router()), true).await;
    let mut stream = Client::ask(at, "GET /live/c/a", &[SSE], "").await;
    stream.until("$ready").await;
    let poll = Client::ask(at, "GET /live/c/a?wait=30", &[], "").await;
    let socket = TcpStream::connect(at).await.unwrap();
    let (raw, _) = tokio_tungstenite::client_async(format!("ws://{at}/live/c/a"), socket).await.unwrap();
    let shows = async |wanted: &str| {
        let waits = async {
            while !format!("{live:?}").contains(wanted) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(PATIENCE, waits).await.unwrap_or_else(|_| panic!("{live:?} is not {wanted}"));
    };
    shows("connections: 3").await;
    drop((stream, poll, raw));
    shows("connections: 0").await;
    let receivers = live.publish("a", "x").await.unwrap().receivers;
    assert_eq!((receivers.sse, receivers.websocket, receivers.poll), (0, 0, 0));
}

#[tokio::test]
async fn layers_that_compress_and_that_lose_patience_leave_streams_alone_and_cut_long_polls() {
    let live = open().start().await.unwrap();
    let patience =
        TimeoutLayer::with_status_code(StatusCode::SERVICE_UNAVAILABLE, Duration::from_millis(300));
    let app = Router::new().nest("/live", live.router()).layer(CompressionLayer::new()).layer(patience);
    let at = serve(app, true).await;
    let mut stream = Client::ask(at, "GET /live/c/a", &[SSE, "Accept-Encoding: gzip"], "").await;
    stream.until("$ready").await;
    // Once this is cut off, the stream has lived for longer than the layer waits.
    let (status, text) = answer(at, "GET /live/c/b?wait=20", &[], "").await;
    assert!(status == 503 && !text.contains("cursor"), "{text}");
    live.publish("a", "still here").await.unwrap();
    let text = stream.until("data: still here").await;
    assert!(!text.to_lowercase().contains("content-encoding"), "{text}");
    let (_, text) = answer(at, "GET /live/c/a?tail=1", &["Accept-Encoding: gzip"], "").await;
    assert!(text.to_lowercase().contains("content-encoding: gzip"), "{text}");
}

#[tokio::test]
async fn who_watches_has_a_router_of_their_own() {
    let live = open().start().await.unwrap();
    let at = serve(live.ops_router(), false).await;
    assert_eq!(answer(at, "GET /livez", &[], "").await.0, 200);
    let (status, text) = answer(at, "GET /readyz", &[], "").await;
    assert!(status == 200 && text.contains("ready"), "{text}");
    assert!(answer(at, "GET /metrics", &[], "").await.1.contains("tidewire_"));
    assert_eq!(answer(at, "GET /c/a", &[], "").await.0, 404);
    live.shutdown(Duration::from_secs(2)).await;
    assert_eq!(answer(at, "GET /readyz", &[], "").await.0, 503);
}

#[tokio::test]
async fn a_drain_ends_streams_in_order_and_tells_them_to_come_back() {
    let live = open().start().await.unwrap();
    let at = serve(Router::new().nest("/live", live.router()), true).await;
    let mut stream = Client::ask(at, "GET /live/c/a", &[SSE], "").await;
    stream.until("$ready").await;
    let socket = TcpStream::connect(at).await.unwrap();
    let (mut raw, _) = tokio_tungstenite::client_async(format!("ws://{at}/live/c/a"), socket).await.unwrap();
    live.publish("a", "last").await.unwrap();
    let drained = tokio::spawn({
        let live = live.clone();
        async move { live.shutdown(Duration::from_secs(2)).await }
    });
    assert_eq!(heard(&mut raw).await, Message::text("last"));
    let Message::Close(Some(close)) = heard(&mut raw).await else { panic!("a close") };
    assert_eq!(u16::from(close.code), 1012);
    let text = stream.until("0\r\n\r\n").await;
    let (_, end) = text.split_once("data: last").expect("what was published before the end is delivered");
    assert!(end.contains("retry:"), "{text}");
    assert_eq!(drained.await.unwrap(), tidewire::Drained::Empty);
    let (status, text) = answer(at, "GET /live/c/a", &[SSE], "").await;
    assert!(status == 200 && text.contains("retry:"), "an EventSource comes back by itself: {text}");
    assert_eq!(answer(at, "POST /live/c/a", &[], "x").await.0, 503);
}
