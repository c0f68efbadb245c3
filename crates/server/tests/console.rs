//! The console from outside: who may come in, who may act, and what it shows (security rule S51).

#![allow(clippy::unwrap_used, reason = "a test may unwrap: its panic is its report")]

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response, Version, request::Builder};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tidewire_auth::dev::DevGate;
use tidewire_broker::memory::{Memory, Options};
use tidewire_engine::Control;
use tidewire_hub::broker::Broker;
use tidewire_hub::limits::{Limits, Retentions};
use tidewire_hub::position::Gen;
use tidewire_server::admin::{self, Clients, Console, Passwords, Sources};
use tidewire_server::api::{self, Parts, Peer};
use tidewire_server::census::Census;
use tidewire_server::config::Secret;
use tidewire_server::control::Plane;
use tidewire_server::health::Phase;
use tidewire_server::metrics::Metrics;
use tidewire_server::node::Node;
use tidewire_server::outlets::Seat;
use tower::ServiceExt as _;

const ADMIN: &str = "correct horse battery";
const VIEWER: &str = "only looking around";

/// A node with a console, and who asks it: a browser on this machine, unless the test says otherwise.
struct Rig {
    router: Router,
    host: &'static str,
    peer: &'static str,
    secure: bool,
}

/// Who is logged in: the cookie, and the token that goes with it.
struct Login {
    cookie: String,
    csrf: String,
}

impl Rig {
    fn new() -> Rig {
        let [admin, viewer] = [ADMIN, VIEWER].map(Secret::new);
        Rig::with(Passwords::of(Some(&admin), Some(&viewer)).unwrap())
    }

    fn with(passwords: Passwords) -> Rig {
        let limits = Arc::new(Limits::default());
        let broker: Arc<dyn Broker> = Arc::new(Memory::new(&Options {
            limits: limits.clone(),
            retentions: Retentions::default(),
            generation: Gen::from_random(0x1234_5678),
            revocations: Arc::default(),
        }));
        let node = Arc::new(Node::new(Arc::new(DevGate::new(true)), broker.clone(), limits.clone()));
        let pipes = Seat::new(&*broker, &limits, false);
        let census = Census::new(Vec::new(), limits.connections_max);
        let plane = Plane::new(node.clone(), census.clone(), Seat::inboxes([&pipes]));
        let control: Arc<dyn Control> = Arc::new(plane.clone());
        let counters = vec![pipes.counters()];
        let metrics = Metrics::new(node.clone(), counters.clone(), census.clone());
        let pipes = pipes.run_pipes(control, &limits, node.clock.epoch()).unwrap();
        node.health.enter(Phase::Ready);
        let turned_away = node.turned_away.clone();
        let sources =
            Sources { name: "here".into(), outlets: counters, broker, is_shared: false, census, turned_away };
        let clients = Clients { port: 8080, secure: false };
        let console = admin::Parts { node: node.clone(), plane, sources, lookout: None, passwords, clients };
        let console = Some(Arc::new(Console::new(console)));
        let parts = Parts { node, pipes, metrics: Arc::new(metrics), console };
        Rig {
            router: api::router(&parts, true, None),
            host: "localhost:9090",
            peer: "127.0.0.1:5000",
            secure: false,
        }
    }

    async fn ask(&self, request: Builder, body: impl Into<Body>) -> Response<Body> {
        let mut request = request.header("host", self.host).body(body.into()).unwrap();
        request.extensions_mut().insert(Peer { address: self.peer.parse().unwrap(), secure: self.secure });
        self.router.clone().oneshot(request).await.unwrap()
    }

    async fn try_login(&self, password: &str) -> Response<Body> {
        let request = Request::post("/admin/login").header("sec-fetch-site", "same-origin");
        self.ask(request, json!({ "password": password }).to_string()).await
    }

    async fn login(&self, password: &str) -> Login {
        let response = self.try_login(password).await;
        assert_eq!(response.status(), 200);
        let set = response.headers()["set-cookie"].to_str().unwrap();
        let cookie = set.split(';').next().unwrap().to_owned();
        let csrf = json_of(response).await["csrf"].as_str().unwrap().to_owned();
        Login { cookie, csrf }
    }

    async fn get(&self, login: &Login, path: &str) -> Response<Body> {
        self.ask(Request::get(path).header("cookie", &login.cookie), "").await
    }

    async fn post(&self, login: &Login, path: &str, body: Value) -> Response<Body> {
        let request = Request::post(path)
            .header("cookie", &login.cookie)
            .header("sec-fetch-site", "same-origin")
            .header("tidewire-csrf", &login.csrf);
        self.ask(request, body.to_string()).await
    }
}

async fn json_of(response: Response<Body>) -> Value {
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    serde_json::from_slice(&bytes).unwrap()
}

async fn refuses(response: Response<Body>, status: u16, code: &str) {
    assert_eq!(response.status(), status, "{code}");
    assert_eq!(json_of(response).await["code"], code);
}

#[tokio::test]
async fn s51_without_a_password_there_is_no_console() {
    let rig = Rig::with(Passwords::of(None, None).unwrap());
    for path in ["/admin", "/admin/", "/admin/session", "/admin/assets/console.js", "/admin/nothing"] {
        refuses(rig.ask(Request::get(path), "").await, 404, "not_found").await;
    }
    refuses(rig.try_login("").await, 404, "not_found").await;
}

#[tokio::test]
async fn s51_the_page_says_what_it_may_load_and_who_may_hold_it() {
    let rig = Rig::new();
    for path in ["/admin", "/admin/assets/console.js", "/admin/session", "/admin/channels"] {
        let response = rig.ask(Request::get(path), "").await;
        let headers = response.headers();
        let policy = headers["content-security-policy"].to_str().unwrap();
        assert_eq!(
            policy,
            "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; \
             base-uri 'none'; frame-ancestors 'none'; form-action 'self'; require-trusted-types-for 'script'"
        );
        assert_eq!(headers["cross-origin-opener-policy"], "same-origin");
        assert_eq!(headers["x-frame-options"], "DENY");
        assert_eq!(headers["x-content-type-options"], "nosniff");
        assert!(!headers.contains_key("access-control-allow-origin"));
    }
    let data = rig.ask(Request::get("/admin/session"), "").await;
    assert_eq!(data.headers()["cache-control"], "no-store");
}

#[tokio::test]
async fn s51_a_password_opens_a_session_whose_cookie_no_script_and_no_other_site_has() {
    let mut rig = Rig::new();
    let response = rig.try_login(ADMIN).await;
    let cookie = response.headers()["set-cookie"].to_str().unwrap();
    assert!(cookie.starts_with("tidewire_console_9090="), "{cookie}");
    assert!(cookie.ends_with("; Path=/; Max-Age=43200; HttpOnly; SameSite=Strict"), "{cookie}");
    (rig.host, rig.peer, rig.secure) = ("console.example", "203.0.113.9:1", true);
    let response = rig.try_login(ADMIN).await;
    let cookie = response.headers()["set-cookie"].to_str().unwrap();
    assert!(cookie.starts_with("__Host-tidewire_console=") && cookie.ends_with("; Secure"), "{cookie}");
}

#[tokio::test]
async fn s51_a_wrong_password_opens_nothing_and_five_of_them_are_all_for_a_minute() {
    let rig = Rig::new();
    rig.login(ADMIN).await;
    for wrong in ["", "correct horse", "tidewire", "admin", "only looking aroun"] {
        refuses(rig.try_login(wrong).await, 401, "unauthorized").await;
    }
    let refused = rig.try_login(ADMIN).await;
    assert!(refused.headers().contains_key("retry-after"));
    refuses(refused, 429, "rate_limited").await;
    let elsewhere = Rig { peer: "192.0.2.7:5000", router: rig.router.clone(), ..rig };
    elsewhere.login(ADMIN).await;
}

#[tokio::test]
async fn s51_a_password_is_not_taken_in_the_clear_from_another_machine() {
    let rig = Rig { host: "10.0.0.7:9090", peer: "10.0.0.8:5000", ..Rig::new() };
    refuses(rig.try_login(ADMIN).await, 403, "forbidden").await;
}

#[tokio::test]
async fn s51_a_program_on_this_machine_may_look_in_dev_mode_and_nobody_else_may_without_a_password() {
    async fn opens(rig: &Rig, fields: &[(&str, &str)]) -> Response<Body> {
        let login = Request::post("/admin/login");
        rig.ask(fields.iter().fold(login, |login, (name, value)| login.header(*name, *value)), "{}").await
    }
    let own = [("origin", "http://localhost:9090")];
    let dev = Rig::with(Passwords::random("made up at the start").letting_this_machine_look());
    let response = opens(&dev, &own).await;
    let set = response.headers()["set-cookie"].to_str().unwrap().to_owned();
    let cookie = set.split(';').next().unwrap().to_owned();
    let about = json_of(response).await;
    assert_eq!(about["role"], "watcher");
    let login = Login { cookie, csrf: about["csrf"].as_str().unwrap().to_owned() };
    for list in ["/admin/connections", "/admin/channels", "/admin/refusals"] {
        assert_eq!(dev.get(&login, list).await.status(), 200, "{list}");
    }
    for messages in ["/admin/history?channel=a", "/admin/tail?channel=a", "/admin/channel?channel=a"] {
        refuses(dev.get(&login, messages).await, 403, "forbidden").await;
    }
    refuses(dev.post(&login, "/admin/kick", json!({ "id": "0-1" })).await, 403, "forbidden").await;

    // No page, not even one of this server's own: a browser says that it is one.
    let page = [("origin", "http://localhost:9090"), ("sec-fetch-site", "same-origin")];
    refuses(opens(&dev, &page).await, 401, "unauthorized").await;
    for said in ["x-forwarded-for", "x-forwarded-host", "x-real-ip", "forwarded", "via", "cf-connecting-ip"] {
        let passed_on = [("origin", "http://localhost:9090"), (said, "192.0.2.7")];
        refuses(opens(&dev, &passed_on).await, 401, "unauthorized").await;
    }
    // nginx says nothing by its defaults, and speaks HTTP/1.0.
    let silent = Request::post("/admin/login").version(Version::HTTP_10).header("origin", own[0].1);
    refuses(dev.ask(silent, "{}").await, 401, "unauthorized").await;
    for foreign in [&[][..], &[("origin", "http://localhost:3000")]] {
        refuses(opens(&dev, foreign).await, 403, "origin_refused").await;
    }
    // Nor anybody who comes from elsewhere, or by a name that may lead elsewhere.
    let far = Rig { peer: "192.0.2.7:5000", secure: true, router: dev.router.clone(), ..dev };
    refuses(opens(&far, &[("origin", "https://localhost:9090")]).await, 401, "unauthorized").await;
    let named = Rig { host: "dev.example:9090", peer: "127.0.0.1:5000", router: far.router.clone(), ..far };
    refuses(opens(&named, &[("origin", "https://dev.example:9090")]).await, 401, "unauthorized").await;
    // Nor anybody at all where a password was chosen, or dev mode is open to other machines.
    for shut in [Rig::new(), Rig::with(Passwords::random("made up at the start"))] {
        refuses(opens(&shut, &own).await, 401, "unauthorized").await;
    }
}

#[tokio::test]
async fn what_comes_first_in_a_list_is_what_is_asked_for() {
    let rig = Rig::new();
    let login = rig.login(ADMIN).await;
    for (channel, messages) in [("a", 1), ("b", 3), ("c", 2)] {
        for _ in 0..messages {
            rig.post(&login, "/admin/publish", json!({ "channel": channel, "data": "x" })).await;
        }
    }
    let _stream = rig.ask(Request::get("/c/a").header("accept", "text/event-stream"), "").await;
    for (order, first) in
        [("name", ["a", "b", "c"]), ("placed", ["b", "c", "a"]), ("subscribers", ["a", "b", "c"])]
    {
        let listed = json_of(rig.get(&login, &format!("/admin/channels?order={order}")).await).await;
        let names: Vec<_> = (0..3).map(|at| listed["channels"][at]["channel"].clone()).collect();
        assert_eq!(names, first, "{order}");
    }
    let listed = json_of(rig.get(&login, "/admin/channels?search=b").await).await;
    assert_eq!(listed["channels"][0]["placed"], 3);
    for (find, matching) in [("a", 1), ("sse", 1), ("127.0", 1), ("developer", 1), ("nobody", 0)] {
        let path = format!("/admin/connections?order=backlog&find={find}");
        assert_eq!(json_of(rig.get(&login, &path).await).await["matching"], matching, "{find}");
    }
    refuses(rig.get(&login, "/admin/connections?order=age").await, 400, "bad_request").await;
}

#[tokio::test]
async fn s51_who_is_not_logged_in_sees_nothing() {
    let rig = Rig::new();
    assert_eq!(json_of(rig.ask(Request::get("/admin/session"), "").await).await, Value::Null);
    for path in [
        "/admin/feed",
        "/admin/tail?channel=a",
        "/admin/figures",
        "/admin/channels",
        "/admin/channel?channel=a",
        "/admin/history?channel=a",
        "/admin/connections",
        "/admin/refusals",
    ] {
        refuses(rig.ask(Request::get(path), "").await, 401, "unauthorized").await;
    }
    let nobody = Login { cookie: "tidewire_console_9090=x".into(), csrf: String::new() };
    for path in ["/admin/publish", "/admin/kick", "/admin/revoke", "/admin/logout"] {
        refuses(rig.post(&nobody, path, json!({})).await, 401, "unauthorized").await;
    }
}

#[tokio::test]
async fn s51_a_page_of_another_site_changes_nothing_and_reads_nothing() {
    let rig = Rig::new();
    let login = rig.login(ADMIN).await;
    let asks = |fields: &[(&str, &str)], method: &str, path: &str| {
        let mut request = Request::builder().method(method).uri(path).header("cookie", &login.cookie);
        request = request.header("tidewire-csrf", &login.csrf);
        fields.iter().fold(request, |request, (name, value)| request.header(*name, *value))
    };
    let body = || json!({ "channel": "a", "data": "x" }).to_string();
    for fields in [
        &[][..],
        &[("origin", "https://evil.example")],
        &[("origin", "null")],
        &[("origin", "http://localhost:3000")],
        &[("sec-fetch-site", "cross-site"), ("origin", "http://localhost:9090")],
        &[("sec-fetch-site", "same-site")],
    ] {
        refuses(rig.ask(asks(fields, "POST", "/admin/publish"), body()).await, 403, "origin_refused").await;
    }
    refuses(
        rig.ask(asks(&[("sec-fetch-site", "cross-site")], "GET", "/admin/channels"), "").await,
        403,
        "origin_refused",
    )
    .await;
    let own = [("origin", "http://localhost:9090")];
    assert_eq!(rig.ask(asks(&own, "POST", "/admin/publish"), body()).await.status(), 200);
}

#[tokio::test]
async fn s51_a_change_without_the_sessions_token_is_refused() {
    let rig = Rig::new();
    let login = rig.login(ADMIN).await;
    let other = rig.login(ADMIN).await;
    for csrf in [String::new(), "guess".into(), other.csrf] {
        let forged = Login { cookie: login.cookie.clone(), csrf };
        for path in ["/admin/publish", "/admin/kick", "/admin/revoke", "/admin/logout"] {
            refuses(rig.post(&forged, path, json!({})).await, 403, "forbidden").await;
        }
    }
}

#[tokio::test]
async fn s51_a_viewer_looks_and_does_nothing() {
    let rig = Rig::new();
    let login = rig.login(VIEWER).await;
    assert_eq!(json_of(rig.get(&login, "/admin/session").await).await["role"], "viewer");
    for path in ["/admin/channels", "/admin/connections", "/admin/refusals", "/admin/history?channel=a"] {
        assert_eq!(rig.get(&login, path).await.status(), 200, "{path}");
    }
    for (path, body) in [
        ("/admin/publish", json!({ "channel": "a", "data": "x" })),
        ("/admin/kick", json!({ "id": "0-1" })),
        ("/admin/revoke", json!({ "sub": "alice" })),
    ] {
        refuses(rig.post(&login, path, body).await, 403, "forbidden").await;
    }
    let history = json_of(rig.get(&login, "/admin/history?channel=a").await).await;
    assert_eq!(history["messages"], json!([]));
}

#[tokio::test]
async fn s51_who_logs_out_or_in_again_has_ended_the_session_and_what_ran_in_it() {
    let rig = Rig::new();
    let login = rig.login(ADMIN).await;
    let tail = rig.get(&login, "/admin/tail?channel=a").await;
    assert_eq!(tail.headers()["content-type"], "text/event-stream");
    let cookie = rig.post(&login, "/admin/logout", json!({})).await.headers()["set-cookie"].clone();
    assert!(cookie.to_str().unwrap().contains("=; Path=/; Max-Age=0;"));
    tail.into_body().collect().await.unwrap();
    refuses(rig.get(&login, "/admin/channels").await, 401, "unauthorized").await;
    let first = rig.login(ADMIN).await;
    let again =
        Request::post("/admin/login").header("sec-fetch-site", "same-origin").header("cookie", &first.cookie);
    assert_eq!(rig.ask(again, json!({ "password": ADMIN }).to_string()).await.status(), 200);
    refuses(rig.get(&first, "/admin/channels").await, 401, "unauthorized").await;
}

#[tokio::test]
async fn a_message_that_was_sent_is_listed_kept_and_shown_as_it_came() {
    let rig = Rig::new();
    let login = rig.login(ADMIN).await;
    let sent = json!({ "channel": "chat:1", "event": "hello", "data": "<b>hi</b>" });
    let receipt = json_of(rig.post(&login, "/admin/publish", sent).await).await;
    assert_eq!(receipt["channel"], "chat:1");
    rig.post(&login, "/admin/publish", json!({ "channel": "chat:1", "base64": "AP8=" })).await;
    let found = json_of(rig.get(&login, "/admin/channels?search=hat").await).await;
    assert_eq!(
        (&found["channels"][0]["channel"], &found["channels"][0]["messages"]),
        (&json!("chat:1"), &json!(2))
    );
    let none = json_of(rig.get(&login, "/admin/channels?search=nowhere").await).await;
    assert_eq!(none["channels"], json!([]));
    let history = json_of(rig.get(&login, "/admin/history?channel=chat:1").await).await;
    assert_eq!(history["messages"][0]["data"], "<b>hi</b>");
    assert_eq!(history["messages"][1]["base64"], "AP8=");
    for bad in [json!({ "channel": "chat:1" }), json!({ "channel": "$console", "data": "x" }), json!({})] {
        assert_eq!(rig.post(&login, "/admin/publish", bad).await.status(), 400);
    }
}

#[tokio::test]
async fn a_connection_is_listed_with_what_it_hears_and_ends_when_it_is_kicked() {
    let rig = Rig::new();
    let login = rig.login(ADMIN).await;
    let stream = Request::get("/c/prices,news").header("accept", "text/event-stream");
    let stream = rig.ask(stream, "").await;
    let listed = json_of(rig.get(&login, "/admin/connections?channel=news&address=127.").await).await;
    assert_eq!((&listed["matching"], &listed["all"]), (&json!(1), &json!(1)));
    let row = &listed["connections"][0];
    assert_eq!((&row["transport"], &row["address"]), (&json!("sse"), &json!("127.0.0.1")));
    assert_eq!(row["channels"], json!(["prices", "news"]));
    for other in ["channel=other", "who=alice", "address=10."] {
        let listed = json_of(rig.get(&login, &format!("/admin/connections?{other}")).await).await;
        assert_eq!(listed["matching"], 0, "{other}");
    }
    assert_eq!(rig.post(&login, "/admin/kick", json!({ "id": row["id"] })).await.status(), 200);
    let heard = String::from_utf8(stream.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap();
    assert!(heard.contains("$ready") && heard.matches("retry:").count() == 2, "it comes back: {heard}");
    refuses(rig.post(&login, "/admin/kick", json!({ "id": "x" })).await, 400, "bad_request").await;
}

#[tokio::test]
async fn s49_a_refusal_is_remembered_with_its_reason_and_without_its_secrets() {
    let rig = Rig::new();
    let login = rig.login(ADMIN).await;
    let stream = Request::get("/c/prices?ticket=canary")
        .header("origin", "https://evil.example")
        .header("accept", "text/event-stream");
    let refused = json_of(rig.ask(stream, "").await).await;
    let post = Request::post("/v1/publish?access_token=canary").header("authorization", "Bearer canary");
    rig.ask(post, "{").await;
    let shown = json_of(rig.get(&login, "/admin/refusals").await).await;
    let [batch, stream] = [&shown["refusals"][0], &shown["refusals"][1]];
    assert_eq!(
        (&batch["code"], &batch["path"], &batch["asked"]),
        (&json!("bad_request"), &json!("/v1/publish"), &json!("POST"))
    );
    assert_eq!(
        (&stream["code"], &stream["origin"]),
        (&json!("origin_refused"), &json!("https://evil.example"))
    );
    assert_eq!((&stream["path"], &stream["trace_id"]), (&json!("/c/prices"), &refused["trace_id"]));
    assert_eq!((&stream["asked"], &stream["client"]), (&json!("sse"), &json!("127.0.0.1")));
    assert!(!shown.to_string().contains("canary"), "{shown}");
}
