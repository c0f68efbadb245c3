use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use futures_util::{SinkExt as _, StreamExt as _};
use tidewire::{Builder, Grant, Refusal, Tidewire};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

use super::rig::{Client, PATIENCE, answer, open, serve};

const SSE: &str = "Accept: text/event-stream";

fn app(live: &Tidewire) -> Router {
    Router::new().nest("/live", live.router())
}

/// How many decisions are being made.
#[derive(Clone, Default)]
struct Deciding(Arc<AtomicUsize>);

struct OneOfThem(Deciding);

impl Drop for OneOfThem {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Deciding {
    fn begin(&self) -> OneOfThem {
        self.0.fetch_add(1, Ordering::SeqCst);
        OneOfThem(self.clone())
    }

    /// Returns once so many are being made. Shorter than what a decision may take by itself.
    async fn are(&self, wanted: usize) {
        let waits = async {
            while self.0.load(Ordering::SeqCst) != wanted {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let have = || self.0.load(Ordering::SeqCst);
        timeout(PATIENCE / 2, waits).await.unwrap_or_else(|_| panic!("{} and not {wanted}", have()));
    }
}

/// An application that never decides.
fn that_never_decides() -> (Builder, Deciding) {
    let deciding = Deciding::default();
    let count = deciding.clone();
    let builder = Tidewire::builder().on_authorize(move |_| {
        let one = count.begin();
        async move {
            let _one = one;
            std::future::pending::<Result<Grant, Refusal>>().await
        }
    });
    (builder, deciding)
}

#[tokio::test]
async fn no_method_and_no_spelling_of_an_address_gets_by_the_application() {
    let live =
        Tidewire::builder().on_authorize(|_| async { Err(Refusal::forbidden()) }).start().await.unwrap();
    live.publish("secret", "what nobody may read").await.unwrap();
    let at = serve(app(&live), true).await;
    for path in [
        "c/secret",
        "c/%73ecret",
        "c/secret?tail=10",
        "c/a,secret",
        "c/a%2Csecret",
        "c//secret",
        "c/./secret",
        "c/x/../secret",
        "c/x%2f..%2fsecret",
        "%63/secret",
        "c/",
        "v1/publish",
        "v1/tickets",
        "v1/revoke",
        "v1/channels",
        "v1/channels/secret/history",
        "v1/channels/secret/presence",
        "v1/channels/%73ecret/history",
        "v1//channels",
        "admin",
        "metrics",
    ] {
        for method in ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "CONNECT", "FROB", "get"] {
            for field in [
                "Accept: */*",
                "Accept: text/html",
                "X-Original-URL: /client.js",
                "X-HTTP-Method-Override: GET",
            ] {
                let (status, text) = answer(at, &format!("{method} /live/{path}"), &[field], "").await;
                let is_refused = (400..500).contains(&status) || status == 204 && method == "OPTIONS";
                assert!(is_refused && !text.contains("nobody may read"), "{method} {path} {field}: {text}");
            }
        }
    }
}

#[tokio::test]
async fn the_application_is_shown_the_channels_that_are_opened_however_they_are_spelled() {
    // It looks at what is asked for rather than at what it grants.
    let live = Tidewire::builder()
        .on_authorize(|asked| async move {
            if asked.channels().any(|channel| channel == "secret") {
                return Err(Refusal::forbidden().because("not to be looked at"));
            }
            Ok(Grant::to("alice").subscribe(["*"])?.publish(["*"])?)
        })
        .start()
        .await
        .unwrap();
    let at = serve(app(&live), true).await;
    for path in ["c/secret", "c/%73ecret", "c/a%2Csecret", "c/a,%73%65cret"] {
        for (method, body) in [("GET", ""), ("POST", "x")] {
            let (status, text) = answer(at, &format!("{method} /live/{path}"), &[], body).await;
            assert_eq!(status, 403, "{method} {path}: {text}");
        }
    }
    let (status, text) = answer(at, "GET /live/v1/channels/%73ecret/presence", &[], "").await;
    assert!(status == 403 && text.contains("not to be looked at"), "{text}");
}

#[tokio::test]
async fn frames_and_batches_are_held_to_the_grant() {
    let live = Tidewire::builder()
        .on_authorize(|_| async { Ok(Grant::to("alice").subscribe(["room:1"])?.publish(["room:1"])?) })
        .start()
        .await
        .unwrap();
    let at = serve(app(&live), true).await;
    let mut request = format!("ws://{at}/live/c/").into_client_request().unwrap();
    request.headers_mut().insert("sec-websocket-protocol", "tidewire.v1".parse().unwrap());
    let socket = TcpStream::connect(at).await.unwrap();
    let (mut v1, _) = tokio_tungstenite::client_async(request, socket).await.unwrap();
    for (frame, says) in [
        (r#"{"type":"subscribe","channels":["room:2"],"id":1}"#, "\"forbidden\""),
        (r#"{"type":"subscribe","channels":["room:1","room:2"],"id":2}"#, "\"forbidden\""),
        (r#"{"type":"subscribe","channels":["user:bob"],"id":3}"#, "\"forbidden\""),
        (r#"{"type":"subscribe","channels":["room:1"],"cursor":"earliest","id":4}"#, "\"forbidden\""),
        (r#"{"type":"publish","channel":"room:2","data":"x","id":5}"#, "\"forbidden\""),
        (r#"{"type":"presence","channel":"room:1","id":6}"#, "\"forbidden\""),
        (r#"{"type":"refresh","token":"x","id":7}"#, "\"unsupported\""),
        (r#"{"type":"subscribe","channels":["room:1"],"id":8}"#, "\"ack\""),
    ] {
        v1.send(Message::text(frame)).await.unwrap();
        let heard = loop {
            let message = timeout(PATIENCE, v1.next()).await.unwrap().unwrap().unwrap();
            let text = message.into_text().unwrap();
            if text.contains("\"id\":") {
                break text;
            }
        };
        assert!(heard.contains(says), "{frame}: {heard}");
    }
    let batch = r#"{"messages":[{"channel":"room:2","data":"x"},{"channel":"room:1","data":"y"}]}"#;
    let (status, text) = answer(at, "POST /live/v1/publish", &[], batch).await;
    assert!(status == 200 && text.contains("\"forbidden\""), "{text}");
    assert_eq!(live.history("room:2").await.unwrap().messages.len(), 0);
    assert_eq!(answer(at, "POST /live/v1/revoke", &[], r#"{"sub":"bob"}"#).await.0, 403);
    assert_eq!(
        answer(at, "POST /live/v1/tickets", &[], "{}").await.0,
        501,
        "there is nothing that would take one"
    );
}

#[tokio::test]
async fn a_decision_that_nobody_waits_for_any_more_is_given_up() {
    let (builder, deciding) = that_never_decides();
    let live = builder.start().await.unwrap();
    let at = serve(app(&live), true).await;
    let mut clients = Vec::new();
    for (first, fields) in [
        ("GET /live/c/a", &[SSE][..]),
        ("GET /live/c/a?wait=30", &[]),
        ("POST /live/c/a", &["Content-Length: 0"]),
        ("GET /live/v1/channels", &[]),
    ] {
        clients.push(Client::ask(at, first, fields, "").await);
    }
    deciding.are(4).await;
    drop(clients);
    deciding.are(0).await;
}

#[tokio::test]
async fn no_more_is_decided_on_at_once_than_connections_there_may_be() {
    let (builder, deciding) = that_never_decides();
    let live = builder.connections_max(2).start().await.unwrap();
    let at = serve(app(&live), true).await;
    let post = || Client::ask(at, "POST /live/c/a", &["Content-Length: 0"], "");
    let _two = [post().await, post().await];
    deciding.are(2).await;
    assert!(post().await.until("\r\n\r\n").await.contains(" 503 "));
    deciding.are(2).await;
}

#[tokio::test]
async fn a_shutdown_does_not_wait_for_an_application_that_never_decides() {
    let (builder, deciding) = that_never_decides();
    let live = builder.start().await.unwrap();
    let at = serve(app(&live), true).await;
    let mut stream = Client::ask(at, "GET /live/c/a", &[SSE], "").await;
    let mut poll = Client::ask(at, "GET /live/c/a?wait=30", &[], "").await;
    deciding.are(2).await;
    let ending = timeout(PATIENCE / 2, live.shutdown(PATIENCE)).await.expect("it is quicker than a decision");
    assert_eq!(ending, tidewire::Drained::Empty);
    stream.until("retry:").await;
    poll.until(" 503 ").await;
    deciding.are(0).await;
}

#[tokio::test]
async fn visitors_without_a_name_do_not_use_up_each_others_channels() {
    let folder = std::env::temp_dir().join(format!("tidewire-nameless-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("tidewire.toml");
    std::fs::write(&file, "[limits]\nsubject_channels_max = 2\n").unwrap();
    let live = open().config_file(&file).start().await.unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    let at = serve(app(&live), true).await;
    let mut streams = Vec::new();
    for _ in 0..4 {
        let mut stream = Client::ask(at, "GET /live/c/a", &[SSE], "").await;
        stream.until("$ready").await;
        streams.push(stream);
    }
}

#[tokio::test]
async fn a_name_that_a_client_gives_itself_is_not_kept_whatever_its_length() {
    let live = Tidewire::builder().on_authorize(|asked| async move {
        let named = Grant::to(asked.cookie("user").unwrap_or_default());
        let named = named.session(asked.cookie("session").unwrap_or_default());
        Ok(named.subscribe(["a"])?)
    });
    let at = serve(app(&live.start().await.unwrap()), true).await;
    let own = format!("Origin: http://{at}");
    for (name, length, status) in [("user", 256, 200), ("user", 257, 403), ("session", 8_000, 403)] {
        let cookie = format!("Cookie: {name}={}", "x".repeat(length));
        assert_eq!(answer(at, "GET /live/c/a", &[&own, &cookie], "").await.0, status, "{name} {length}");
    }
}

#[tokio::test]
async fn what_other_nodes_would_not_take_for_a_revocation_is_none_here() {
    let live = open().start().await.unwrap();
    for name in [String::new(), "x".repeat(257)] {
        assert_eq!(live.revoke_subject(name.as_str()).await.unwrap_err().code(), "bad_request");
        assert_eq!(live.revoke_session(name.as_str()).await.unwrap_err().code(), "bad_request");
    }
    live.revoke_subject("x".repeat(256)).await.unwrap();
}

#[tokio::test]
async fn s41_a_client_says_who_it_is_only_through_a_proxy_that_is_trusted() {
    for (trusted, sees) in [(None, "127.0.0.1"), (Some("127.0.0.0/8"), "203.0.113.7")] {
        let builder = Tidewire::builder().on_authorize(|asked| async move {
            Err(Refusal::forbidden().because(format!("you are {:?}", asked.client())))
        });
        let builder = builder.trusted_proxies(trusted.map(|network| network.parse().unwrap()));
        let live = builder.start().await.unwrap();
        let at = serve(app(&live), true).await;
        let fields =
            ["X-Forwarded-For: 10.1.1.1, 203.0.113.7", "X-Real-IP: 10.2.2.2", "X-Forwarded-Host: evil"];
        for first in ["GET /live/c/a", "POST /live/c/a", "GET /live/v1/channels"] {
            let (_, text) = answer(at, first, &fields, "").await;
            assert!(text.contains(&format!("you are Some({sees})")), "{first}: {text}");
        }
    }
}

#[tokio::test]
async fn two_of_them_in_one_process_share_nothing_and_end_without_being_told() {
    let (one, other) = (open().start().await.unwrap(), open().start().await.unwrap());
    let mut heard = other.subscribe(["a"]).await.unwrap();
    one.publish("a", "of the one").await.unwrap();
    drop(one);
    other.publish("a", "of the other").await.unwrap();
    assert_eq!(super::rig::next(&mut heard).await, "of the other");
}

#[tokio::test]
async fn thousands_listen_inside_the_process_and_go_again() {
    let live = open().start().await.unwrap();
    let mut all = Vec::new();
    for _ in 0..2_000 {
        all.push(live.subscribe(["a"]).await.unwrap());
    }
    live.publish("a", "x").await.unwrap();
    for subscriber in &mut all {
        assert_eq!(super::rig::next(subscriber).await, "x");
    }
    drop(all);
    let gone = async { while live.publish("a", "y").await.unwrap().receivers.websocket > 0 {} };
    timeout(PATIENCE, gone).await.unwrap();
}
