use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use tidewire::{Action, Builder, Grant, Refusal, Tidewire};
use tokio::sync::Notify;

use super::rig::{Client, answer, open, serve};

const SSE: &str = "Accept: text/event-stream";

/// The cookie `user` says who it is, and some of them are odd.
fn by_cookie() -> Builder {
    Tidewire::builder().on_authorize(|asked| async move {
        match asked.cookie("user") {
            None => Err(Refusal::unauthorized().because("log in first")),
            Some("panics") => panic!("as the test wants it"),
            Some("barred") => Err(Refusal::forbidden().because("not you")),
            Some("busy") => Err(Refusal::later()),
            Some("odd") => Ok(Grant::to("odd").subscribe(["room:a*"])?),
            Some(user) => Ok(Grant::to(user).subscribe(["room:*"])?.publish(["room:1"])?),
        }
    })
}

fn app(live: &Tidewire) -> Router {
    Router::new().nest("/live", live.router())
}

#[tokio::test]
async fn the_application_decides_and_its_refusals_say_why() {
    let live = by_cookie().start().await.unwrap();
    let at = serve(app(&live), true).await;
    let own = format!("Origin: http://{at}");
    let ask = |path: &'static str, user: &'static str| {
        let (own, cookie) = (own.clone(), format!("Cookie: user={user}"));
        async move { answer(at, &format!("GET /live/c/{path}"), &[&own, &cookie], "").await }
    };
    assert_eq!(ask("room:1", "alice").await.0, 200);
    assert_eq!(ask("user:alice", "alice").await.0, 200, "what is hers needs no grant");
    for (path, user, status, says) in [
        ("user:bob", "alice", 403, "user:bob"),
        ("prices", "alice", 403, "room:*"),
        ("room:1", "barred", 403, "not you"),
        ("room:1", "busy", 503, "overloaded"),
        ("room:1", "odd", 500, "could not decide"),
        ("room:1", "panics", 500, "could not decide"),
    ] {
        let (got, text) = ask(path, user).await;
        assert!(got == status && text.contains(says), "{path} {user}: {text}");
    }
    let (status, text) = answer(at, "GET /live/c/room:1", &[], "").await;
    assert!(status == 401 && text.contains("log in first"), "{text}");
    assert_eq!(ask("room:1", "alice").await.0, 200, "one that panicked refused itself alone");
}

#[tokio::test]
async fn a_stream_of_whom_nobody_can_decide_on_now_is_told_to_come_back() {
    let live = by_cookie().start().await.unwrap();
    let at = serve(app(&live), true).await;
    let own = format!("Origin: http://{at}");
    let (status, text) = answer(at, "GET /live/c/room:1", &[&own, "Cookie: user=busy", SSE], "").await;
    assert!(
        status == 200 && text.contains("retry:"),
        "an EventSource that sees 503 is closed for good: {text}"
    );
}

#[tokio::test]
async fn a_publish_is_decided_on_like_everything_else() {
    let live = by_cookie().start().await.unwrap();
    let mut inside = live.subscribe(["room:1"]).await.unwrap();
    let at = serve(app(&live), true).await;
    let own = format!("Origin: http://{at}");
    let post = |channel: &str| format!("POST /live/c/{channel}");
    let fields = [own.as_str(), "Cookie: user=alice"];
    let (status, text) = answer(at, &post("room:1"), &fields, "hello").await;
    assert!(status == 200 && text.contains("\"id\":"), "{text}");
    assert_eq!(super::rig::next(&mut inside).await, "hello");
    assert_eq!(answer(at, &post("room:2"), &fields, "hello").await.0, 403);
    assert_eq!(
        answer(at, &post("room:1"), &["Cookie: user=alice"], "forged").await.0,
        403,
        "no page says it is ours"
    );
    assert_eq!(
        answer(at, &post("room:1"), &["Origin: https://evil.example", fields[1]], "forged").await.0,
        403
    );
    assert_eq!(answer(at, "GET /live/v1/channels", &fields, "").await.0, 403, "she is no operator");
}

#[tokio::test]
async fn s1_a_page_of_another_site_is_sent_away_before_anybody_is_asked() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let live = Tidewire::builder()
        .on_authorize(move |_| {
            count.fetch_add(1, Ordering::SeqCst);
            async { Ok(Grant::to("alice").subscribe(["*"])?) }
        })
        .origins(["https://shop.example"])
        .start()
        .await
        .unwrap();
    let at = serve(app(&live), true).await;
    let upgrade = [
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
    ];
    for foreign in
        ["Origin: https://evil.example", "Origin: null", "Origin: https://shop.example.evil.example"]
    {
        for more in [&[SSE][..], &upgrade[..], &[]] {
            let fields = [more, &[foreign, "Cookie: user=alice"]].concat();
            let mut client = Client::ask(at, "GET /live/c/a", &fields, "").await;
            let text = client.until("\r\n\r\n").await;
            assert!(
                text.starts_with("HTTP/1.1 403") && !text.contains("access-control"),
                "{foreign}: {text}"
            );
        }
    }
    // S5: a WebSocket with a cookie and without an origin is no browser's.
    let fields = [&upgrade[..], &["Cookie: user=alice"]].concat();
    assert!(Client::ask(at, "GET /live/c/a", &fields, "").await.until("\r\n\r\n").await.contains(" 403 "));
    assert_eq!(asked.load(Ordering::SeqCst), 0);
    for named in [format!("Origin: http://{at}"), "Origin: https://shop.example".to_owned()] {
        let fields = [&upgrade[..], &[named.as_str(), "Cookie: user=alice"]].concat();
        assert!(
            Client::ask(at, "GET /live/c/a", &fields, "").await.until("\r\n\r\n").await.contains(" 101 "),
            "{named}"
        );
    }
    let (_, text) =
        answer(at, "GET /live/c/a", &["Origin: https://shop.example", "Cookie: user=alice"], "").await;
    let text = text.to_lowercase();
    assert!(text.contains("access-control-allow-origin: https://shop.example"), "{text}");
    assert!(text.contains("access-control-allow-credentials: true"), "{text}");
    assert_eq!(asked.load(Ordering::SeqCst), 3, "once for each that came this far");
}

#[tokio::test]
async fn a_decision_may_be_late_and_holds_up_nobody_else() {
    let door = Arc::new(Notify::new());
    let opened = door.clone();
    let live = Tidewire::builder()
        .on_authorize(move |asked| {
            let opened = opened.clone();
            async move {
                if asked.uri().query() == Some("late") {
                    opened.notified().await;
                }
                Ok(Grant::to("somebody").subscribe(["*"])?)
            }
        })
        .start()
        .await
        .unwrap();
    let at = serve(app(&live), true).await;
    let mut late = Client::ask(at, "GET /live/c/a?late", &[SSE], "").await;
    assert_eq!(answer(at, "GET /live/c/a", &[], "").await.0, 200);
    door.notify_one();
    late.until("$ready").await;
}

#[tokio::test]
async fn the_application_sees_the_request_as_the_client_wrote_it_and_what_its_layers_found() {
    #[derive(Clone)]
    struct Session(&'static str);

    let (told, heard) = std::sync::mpsc::channel();
    let told = std::sync::Mutex::new(told);
    let live = Tidewire::builder()
        .on_authorize(move |asked| {
            let session = asked.extensions().get::<Session>().map_or("none", |session| session.0);
            let channels: Vec<&str> = asked.channels().collect();
            let line = format!(
                "{:?} {} {} {} {} {}",
                asked.action(),
                asked.method(),
                asked.uri(),
                channels.join("+"),
                session,
                asked.client().is_some_and(|client| client.is_loopback()),
            );
            told.lock().unwrap().send(line).unwrap();
            assert_ne!(asked.action(), Action::Control);
            async { Ok(Grant::to_anybody().subscribe(["*"])?) }
        })
        .start()
        .await
        .unwrap();
    let layer = from_fn(|mut request: Request, next: Next| async move {
        request.extensions_mut().insert(Session("ann"));
        next.run(request).await
    });
    let router: Router = Router::new().nest("/{tenant}/live", live.router()).layer(layer);
    let at = serve(router.clone(), true).await;
    assert_eq!(answer(at, "GET /t1/live/c/a,b?x=1", &[], "").await.0, 200);
    assert_eq!(heard.recv().unwrap(), "Subscribe GET /t1/live/c/a,b?x=1 a+b ann true");
    let at = serve(router, false).await;
    assert_eq!(answer(at, "POST /t1/live/c/a", &[], "x").await.0, 403);
    assert_eq!(heard.recv().unwrap(), "Publish POST /t1/live/c/a a ann false");
}

#[tokio::test]
async fn clients_whose_addresses_nobody_knows_do_not_shut_each_other_out() {
    let live = open().per_address(2, 2).start().await.unwrap();
    let at = serve(app(&live), false).await;
    let mut streams = Vec::new();
    for _ in 0..6 {
        let mut stream = Client::ask(at, "GET /live/c/a", &[SSE], "").await;
        stream.until("$ready").await;
        streams.push(stream);
    }
    let at = serve(app(&live), true).await;
    let mut known = Vec::new();
    for number in 0..6 {
        let mut stream = Client::ask(at, "GET /live/c/a", &[SSE], "").await;
        // Who is one too many is told to come back, in a stream that ends.
        stream.until(if number < 2 { "$ready" } else { "0\r\n\r\n" }).await;
        known.push(stream);
    }
}

#[tokio::test]
async fn rights_end_when_they_are_said_to_and_when_they_are_taken_back() {
    let live = Tidewire::builder()
        .on_authorize(|asked| async move {
            let user = asked.uri().query().unwrap_or("nobody").to_owned();
            let grant = Grant::to(user.as_str()).session(format!("s-{user}")).subscribe(["*"])?;
            Ok(if user == "brief" { grant.lasting(Duration::from_secs(1)) } else { grant })
        })
        .start()
        .await
        .unwrap();
    let at = serve(app(&live), true).await;
    let mut streams = Vec::new();
    for user in ["brief", "alice", "bob", "carol"] {
        let mut stream = Client::ask(at, &format!("GET /live/c/a?{user}"), &[SSE], "").await;
        stream.until("$ready").await;
        streams.push(stream);
    }
    streams[0].until("$expired").await;
    live.revoke_subject("alice").await.unwrap();
    streams[1].until("0\r\n\r\n").await;
    live.revoke_session("s-bob").await.unwrap();
    streams[2].until("0\r\n\r\n").await;
    live.publish("a", "still here").await.unwrap();
    streams[3].until("still here").await;
    assert_eq!(
        answer(at, "GET /live/c/a?bob", &[], "").await.0,
        401,
        "a session that was ended does not come back"
    );
    live.revoke_channel("b").await.unwrap();
}

#[tokio::test]
async fn the_keys_of_a_file_let_in_as_a_server_does() {
    let folder = std::env::temp_dir().join(format!("tidewire-embedded-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("tidewire.toml");
    std::fs::write(
        &file,
        "[auth]\norigins = [\"https://app.example\"]\nhs256_secret = \"0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a6978\"\n",
    )
    .unwrap();
    let live = Tidewire::builder().config_file(&file).start().await.unwrap();
    let at = serve(app(&live), true).await;
    assert_eq!(answer(at, "GET /live/c/a", &[], "").await.0, 401);
    assert_eq!(answer(at, "GET /live/c/a", &["Authorization: Bearer a.b.c"], "").await.0, 401);
    assert_eq!(answer(at, "GET /live/c/a", &["Origin: https://evil.example"], "").await.0, 403);
    std::fs::write(&file, "[auth]\nissuer = 4\nnonsense = true\n").unwrap();
    let wrong = Tidewire::builder().config_file(&file).start().await.unwrap_err().to_string();
    assert!(wrong.contains("nonsense") && wrong.contains("tidewire.toml"), "{wrong}");
    std::fs::remove_dir_all(&folder).unwrap();
}

#[tokio::test]
async fn a_file_may_leave_it_to_the_application_who_comes_in_and_where() {
    let folder = std::env::temp_dir().join(format!("tidewire-shared-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("tidewire.toml");
    for text in [
        "dev = false\n",
        "[auth]\norigins = [\"https://app.example\"]\n",
        "listen = \"0.0.0.0:80\"\n",
        "listen = \"0.0.0.0:443\"\n[tls]\ncert = \"/of/the/server.pem\"\nkey = \"/of/the/server.key\"\n",
    ] {
        std::fs::write(&file, text).unwrap();
        let live = Tidewire::builder().on_authorize(|_| async { Ok(Grant::to("alice").subscribe(["a"])?) });
        let live = live.config_file(&file).start().await.unwrap_or_else(|error| panic!("{text}: {error}"));
        let at = serve(app(&live), true).await;
        let (origin, cookie) = ("Origin: https://app.example", "Cookie: session=1");
        let status = answer(at, "GET /live/c/a", &[origin, cookie], "").await.0;
        assert_eq!(status, if text.contains("origins") { 200 } else { 403 }, "{text}");
    }
    std::fs::remove_dir_all(&folder).unwrap();
}

#[tokio::test]
async fn what_cannot_be_used_is_named_at_the_start() {
    for (builder, says) in [
        (open().origins(["shop.example"]), "shop.example"),
        (open().hosts(["https://a"]), "https://a"),
        (open().namespace("a:b", |namespace| namespace), "a:b"),
        (open().redis("http://127.0.0.1"), "broker.url"),
        (open().redis("redis://127.0.0.1:1").redis_prefix(""), "redis_prefix"),
        (open().redis_prefix("a{b}"), "redis_prefix"),
        (open().message_bytes_max(0), "message_bytes_max"),
        (open().per_address(0, 200), "per_address"),
        (open().per_address(1_000, 0), "per_address"),
        (open().heartbeat(Duration::ZERO), "heartbeat"),
    ] {
        let problem = builder.start().await.unwrap_err().to_string();
        assert!(problem.contains(says), "{problem}");
    }
}
