//! The API as its callers meet it: requests through the whole router, before a real broker and a real outlet.

#![allow(clippy::unwrap_used, reason = "a test may unwrap: its panic is its report")]

use std::sync::Arc;

use axum::body::Body;
use axum::http::{Request, Response, StatusCode};
use axum::{Router, http};
use bytes::Bytes;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tidewire_auth::dev::DevGate;
use tidewire_broker::memory::{Memory, Options};
use tidewire_engine::Control;
use tidewire_hub::broker::Broker;
use tidewire_hub::channel::Channel;
use tidewire_hub::grant::Holder;
use tidewire_hub::limits::{Limits, Retentions};
use tidewire_hub::message::Payload;
use tidewire_hub::position::Gen;
use tidewire_hub::publish::Publish;
use tidewire_server::api::{self, Parts, Peer};
use tidewire_server::census::Census;
use tidewire_server::control::Plane;
use tidewire_server::health::Phase;
use tidewire_server::metrics::Metrics;
use tidewire_server::node::Node;
use tidewire_server::outlets::Seat;
use tower::ServiceExt as _;

/// A node without sockets.
struct Rig {
    node: Arc<Node>,
    router: Router,
    /// What is answered where machines that watch us come in by an address of their own: to clients, and to them.
    apart: [Router; 2],
}

impl Rig {
    fn new() -> Rig {
        Rig::with(Limits::default())
    }

    fn with(limits: Limits) -> Rig {
        let limits = Arc::new(limits);
        let generation = Gen::from_random(0x1234_5678);
        let options = Options {
            limits: limits.clone(),
            retentions: Retentions::default(),
            generation,
            revocations: Arc::default(),
        };
        let broker: Arc<dyn Broker> = Arc::new(Memory::new(&options));
        let node = Arc::new(Node::new(Arc::new(DevGate::new(false)), broker.clone(), limits.clone()));
        let pipes = Seat::new(&*broker, &limits, false);
        let census = Census::new(Vec::new(), limits.connections_max);
        let control: Arc<dyn Control> =
            Arc::new(Plane::new(node.clone(), census.clone(), Seat::inboxes([&pipes])));
        let metrics = Arc::new(Metrics::new(node.clone(), vec![pipes.counters()], census));
        let pipes = pipes.run_pipes(control, &limits, node.clock.epoch()).unwrap();
        node.health.enter(Phase::Ready);
        let parts = Parts { node: node.clone(), pipes, metrics, console: None };
        let apart = [api::router(&parts, false, None), api::admin_router(&parts)];
        Rig { node, router: api::router(&parts, true, None), apart }
    }

    async fn ask(&self, request: http::request::Builder, body: impl Into<Body>) -> Response<Body> {
        let mut request = request.body(body.into()).unwrap();
        request.extensions_mut().insert(Peer { address: "127.0.0.1:5000".parse().unwrap(), secure: false });
        request.headers_mut().entry("host").or_insert(http::HeaderValue::from_static("localhost"));
        self.router.clone().oneshot(request).await.unwrap()
    }

    async fn get(&self, path: &str) -> Response<Body> {
        self.ask(Request::get(path), "").await
    }

    async fn publish(&self, path: &str, body: &'static str) -> Value {
        json_of(self.ask(Request::post(path), body).await).await
    }
}

async fn text_of(response: Response<Body>) -> String {
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

async fn json_of(response: Response<Body>) -> Value {
    serde_json::from_str(&text_of(response).await).unwrap()
}

/// Asserts that a response refuses with this status and code, in the words of RFC 9457.
async fn refuses(response: Response<Body>, status: u16, code: &str) {
    assert_eq!(response.status().as_u16(), status, "{code}");
    assert_eq!(response.headers()["content-type"], "application/problem+json");
    let problem = json_of(response).await;
    assert_eq!(problem["code"], code);
    assert_eq!(problem["status"], status);
    for field in ["title", "detail", "hint", "trace_id"] {
        assert!(problem[field].as_str().is_some_and(|text| !text.is_empty()), "{field} of {problem}");
    }
}

#[tokio::test]
async fn a_publish_is_answered_with_its_id_and_can_be_polled() {
    let rig = Rig::new();
    let receipt = rig.publish("/c/prices", "12.5").await;
    assert_eq!(receipt["channel"], "prices");
    assert_eq!(receipt["receivers"], json!({ "sse": 0, "ws": 0, "poll": 0 }));
    let page = json_of(rig.get("/c/prices?cursor=earliest").await).await;
    assert_eq!(page["messages"][0]["id"], receipt["id"]);
    assert_eq!(page["messages"][0]["data"], "12.5");
    assert_eq!(page["gap"], Value::Null);
}

#[tokio::test]
async fn a_publish_carries_its_event_and_its_kind() {
    let rig = Rig::new();
    let request = Request::post("/c/a").header("tidewire-event", "tick");
    rig.ask(request.header("content-type", "application/octet-stream"), &b"\xff\x00"[..]).await;
    let page = json_of(rig.get("/c/a?tail=1").await).await;
    assert_eq!(page["messages"][0]["event"], "tick");
    assert_eq!(page["messages"][0]["base64"], "/wA=");
}

#[tokio::test]
async fn a_percent_encoded_channel_is_the_same_channel() {
    let rig = Rig::new();
    assert_eq!(rig.publish("/c/orders%3A42", "x").await["channel"], "orders:42");
}

#[tokio::test]
async fn r22_a_repeated_key_has_the_same_id_and_another_payload_is_a_conflict() {
    let rig = Rig::new();
    let keyed = || Request::post("/c/a").header("idempotency-key", "k1");
    let first = json_of(rig.ask(keyed(), "x").await).await;
    let again = json_of(rig.ask(keyed(), "x").await).await;
    assert_eq!(first["id"], again["id"]);
    refuses(rig.ask(keyed(), "y").await, 409, "key_reused").await;
    refuses(rig.ask(keyed().header("tidewire-event", "e"), "x").await, 409, "key_reused").await;
}

#[tokio::test]
async fn a_publish_that_cannot_be_meant_says_why() {
    let rig = Rig::new();
    let post = Request::post;
    refuses(rig.ask(post("/c/a,b"), "x").await, 400, "channel_count").await;
    refuses(rig.ask(post("/c/"), "x").await, 400, "channel_count").await;
    refuses(rig.ask(post("/c/$sys"), "x").await, 400, "channel_invalid").await;
    refuses(rig.ask(post("/c/a/b"), "x").await, 400, "channel_invalid").await;
    refuses(rig.ask(post("/c/a%FF"), "x").await, 400, "channel_invalid").await;
    refuses(rig.ask(post("/c/a").header("tidewire-event", "open"), "x").await, 400, "event_invalid").await;
    refuses(rig.ask(post("/c/a").header("tidewire-event", "$x"), "x").await, 400, "event_invalid").await;
    refuses(rig.ask(post("/c/a").header("idempotency-key", "a b"), "x").await, 400, "bad_request").await;
    let twice = post("/c/a").header("idempotency-key", "a").header("idempotency-key", "b");
    refuses(rig.ask(twice, "x").await, 400, "bad_request").await;
    refuses(rig.ask(post("/c/a"), &b"\xff"[..]).await, 400, "not_utf8").await;
    assert_eq!(json_of(rig.get("/c/a?cursor=earliest").await).await["messages"], json!([]));
}

#[tokio::test]
async fn s37_a_payload_beyond_its_bound_is_too_large() {
    let rig = Rig::with(Limits { message_bytes_max: 4, ..Limits::default() });
    let response = rig.ask(Request::post("/c/a"), "12345").await;
    refuses(response, 413, "too_large").await;
    assert_eq!(rig.ask(Request::post("/c/a"), "1234").await.status(), StatusCode::OK);
}

#[tokio::test]
async fn s37_more_publishes_at_once_than_allowed_are_told_to_come_back() {
    let rig = Rig::with(Limits { publishes_in_flight_max: 1, ..Limits::default() });
    let elsewhere = Publish {
        channel: Channel::parse("elsewhere").unwrap(),
        event: None,
        payload: Payload::binary(Bytes::new()),
        key: None,
        publisher: "".into(),
        trace: None,
    };
    let held = rig.node.publishes.begin(&Holder::Developer, &elsewhere).unwrap();
    let response = rig.ask(Request::post("/c/a"), "x").await;
    assert!(response.headers().contains_key("retry-after"));
    refuses(response, 503, "overloaded").await;
    drop(held);
    assert_eq!(rig.ask(Request::post("/c/a"), "x").await.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_batch_is_answered_message_by_message_in_its_order() {
    let rig = Rig::new();
    let batch = r#"{"messages":[
        {"channel":"a","data":"1","event":"e"}, {"channel":"a b","data":"2"}, {"channel":"a","base64":"/wA="},
        {"channel":"a"}, {"channel":"a","data":"3","base64":""}, {"channel":"a","base64":"?"},
        {"channel":"a","data":"4","key":"k"}, {"channel":"a","data":"5","key":"k"}
    ]}"#;
    let answer = rig.publish("/v1/publish", batch).await;
    let codes: Vec<&str> = answer["results"]
        .as_array()
        .unwrap()
        .iter()
        .map(|result| result["code"].as_str().unwrap_or("ok"))
        .collect();
    assert_eq!(
        codes,
        ["ok", "channel_invalid", "ok", "bad_request", "bad_request", "bad_request", "ok", "key_reused"]
    );
    let page = json_of(rig.get("/c/a?cursor=earliest").await).await;
    let kept: Vec<&Value> =
        page["messages"].as_array().unwrap().iter().map(|message| &message["id"]).collect();
    assert_eq!(kept, [&answer["results"][0]["id"], &answer["results"][2]["id"], &answer["results"][6]["id"]]);
}

#[tokio::test]
async fn a_batch_that_cannot_be_read_is_refused_as_a_whole() {
    let rig = Rig::new();
    for bad in [
        "",
        "[]",
        "{",
        r#"{"messages":[{"channel":"a","data":"x","chanel":"b"}]}"#,
        r#"{"messages":[{"channel":"a","channel":"b"}]}"#,
    ] {
        refuses(rig.ask(Request::post("/v1/publish"), bad).await, 400, "bad_request").await;
    }
    let many = format!("{{\"messages\":[{}]}}", vec![r#"{"channel":"a","data":""}"#; 101].join(","));
    refuses(rig.ask(Request::post("/v1/publish"), many).await, 413, "too_large").await;
    assert_eq!(json_of(rig.get("/v1/channels").await).await["channels"], json!([]));
}

#[tokio::test]
async fn history_is_paged_from_the_beginning() {
    let rig = Rig::new();
    for text in ["1", "2", "3"] {
        rig.publish("/c/a", text).await;
    }
    rig.publish("/c/b", "x").await;
    let texts = |page: &Value| -> Vec<String> {
        page["messages"]
            .as_array()
            .unwrap()
            .iter()
            .map(|message| message["data"].as_str().unwrap().to_owned())
            .collect()
    };
    let first = json_of(rig.get("/v1/channels/a/history?limit=2").await).await;
    assert_eq!((texts(&first), &first["more"]), (vec!["1".into(), "2".into()], &json!(true)));
    let cursor = first["cursor"].as_str().unwrap();
    let second = json_of(rig.get(&format!("/v1/channels/a/history?cursor={cursor}")).await).await;
    assert_eq!((texts(&second), &second["more"]), (vec!["3".into()], &json!(false)));
    assert_eq!(texts(&json_of(rig.get("/v1/channels/a/history?tail=1").await).await), ["3"]);
    let unreadable = json_of(rig.get("/v1/channels/a/history?cursor=nonsense").await).await;
    assert_eq!(unreadable["gap"]["reason"], "epoch", "R7");
    refuses(rig.get("/v1/channels/a/history?limit=x").await, 400, "bad_request").await;
    let listed = json_of(rig.get("/v1/channels").await).await;
    assert_eq!(listed["channels"][0]["channel"], "a");
    assert_eq!(listed["channels"][0]["messages"], 3);
}

#[tokio::test]
async fn a_stream_on_a_connection_of_hyper_is_the_outlets_own() {
    let rig = Rig::new();
    rig.publish("/c/a", "before").await;
    let mut response = rig.ask(Request::get("/c/a?tail=5").header("accept", "text/event-stream"), "").await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    assert!(
        !response.headers().contains_key("transfer-encoding")
            && !response.headers().contains_key("connection")
    );
    rig.publish("/c/a", "after").await;
    let mut seen = String::new();
    while !seen.contains("data: after\n") {
        let frame = response.body_mut().frame().await.unwrap().unwrap();
        seen.push_str(std::str::from_utf8(frame.data_ref().unwrap()).unwrap());
    }
    let place = |text: &str| seen.find(text).unwrap();
    assert!(place("retry: ") < place("event: $ready\n"));
    assert!(
        place("event: $ready\n") < place("data: before\n")
            && place("data: before\n") < place("data: after\n")
    );
}

#[tokio::test]
async fn m13_a_stream_that_is_dropped_frees_its_place() {
    let rig = Rig::new();
    let response = rig.ask(Request::get("/c/a").header("accept", "text/event-stream"), "").await;
    assert_eq!(rig.publish("/c/a", "x").await["receivers"]["sse"], 1);
    drop(response);
    // The outlet's thread learns of it in its own time; each publish is a look, not a wait of a length that is hoped for.
    while rig.publish("/c/a", "x").await["receivers"]["sse"] != 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_long_poll_is_answered_by_the_next_message() {
    let rig = Rig::new();
    let waiting = rig.ask(Request::get("/c/a?wait=60"), "");
    let publish = async {
        while rig.publish("/c/a", "x").await["receivers"]["poll"] == 0 {
            tokio::task::yield_now().await;
        }
    };
    let (answer, ()) = tokio::join!(waiting, publish);
    assert_eq!(answer.headers()["cache-control"], "no-store, no-transform");
    assert_eq!(json_of(answer).await["messages"][0]["data"], "x");
}

#[tokio::test]
async fn an_upgrade_that_was_not_asked_for_hop_by_hop_is_not_made() {
    let rig = Rig::new();
    let upgrade = || {
        let request =
            Request::get("/c/a").header("upgrade", "websocket").header("sec-websocket-version", "13");
        request.header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
    };
    refuses_briefly(rig.ask(upgrade(), "").await, 400).await;
    let old = upgrade().header("connection", "upgrade").version(http::Version::HTTP_10);
    refuses_briefly(rig.ask(old, "").await, 426).await;
}

#[tokio::test]
async fn s9_and_s10_the_door_is_before_everything() {
    let rig = Rig::new();
    for path in ["/c/a", "/v1/publish", "/livez", "/nowhere", "/"] {
        let evil = Request::post(path).header("origin", "https://evil.example");
        let response = rig.ask(evil, "x").await;
        assert!(!response.headers().contains_key("access-control-allow-origin"), "S7");
        refuses(response, 403, "origin_refused").await;
        refuses(rig.ask(Request::post(path).header("host", "evil.example"), "x").await, 403, "host_refused")
            .await;
    }
    let get = |name, value| Request::get("/c/a").header(name, value);
    refuses_briefly(rig.ask(get("origin", "https://evil.example"), "").await, 403).await;
    refuses_briefly(rig.ask(get("host", "evil.example"), "").await, 403).await;
    assert_eq!(json_of(rig.get("/v1/channels").await).await["channels"], json!([]), "nothing was published");
}

/// An outlet's refusal carries no trace id.
async fn refuses_briefly(response: Response<Body>, status: u16) {
    assert_eq!(response.status().as_u16(), status);
    assert_eq!(response.headers()["content-type"], "application/problem+json");
    assert!(!response.headers().contains_key("access-control-allow-origin"));
}

#[tokio::test]
async fn s7_an_allowed_origin_is_named_and_only_that_one() {
    let rig = Rig::new();
    for request in
        [Request::post("/c/a"), Request::get("/c/a"), Request::get("/livez"), Request::get("/nowhere")]
    {
        let response = rig.ask(request.header("origin", "http://localhost:3000"), "").await;
        assert_eq!(response.headers()["access-control-allow-origin"], "http://localhost:3000");
        let vary =
            response.headers().get_all("vary").iter().any(|vary| vary.to_str().unwrap().contains("Origin"));
        assert!(vary && !response.headers().contains_key("access-control-allow-credentials"));
    }
}

#[tokio::test]
async fn s8_a_preflight_names_what_pages_may_send() {
    let rig = Rig::new();
    let request = Request::builder().method("OPTIONS").uri("/c/a").header("origin", "http://localhost:3000");
    let response = rig.ask(request.header("access-control-request-method", "POST"), "").await;
    assert_eq!(response.status(), StatusCode::NO_CONTENT);
    let allowed = response.headers()["access-control-allow-headers"].to_str().unwrap();
    for field in
        ["Last-Event-ID", "Authorization", "Content-Type", "Idempotency-Key", "Tidewire-Event", "traceparent"]
    {
        assert!(allowed.contains(field), "{field}");
    }
    assert_eq!(response.headers()["access-control-max-age"], "7200");
    let evil = Request::builder().method("OPTIONS").uri("/c/a").header("origin", "https://evil.example");
    refuses(rig.ask(evil, "").await, 403, "origin_refused").await;
}

#[tokio::test]
async fn what_is_not_there_and_what_is_not_done_there_are_problems_too() {
    let rig = Rig::new();
    refuses(rig.get("/nowhere").await, 404, "not_found").await;
    refuses(rig.get("/demo/nothing.js").await, 404, "not_found").await;
    refuses(rig.get("/demo/..%2Findex.html").await, 404, "not_found").await;
    for undecodable in ["/demo/%ff", "/inspector/%ff"] {
        refuses(rig.get(undecodable).await, 404, "not_found").await;
    }
    refuses(rig.ask(Request::delete("/c/a"), "").await, 405, "method_not_allowed").await;
    refuses(rig.ask(Request::get("/v1/publish"), "").await, 405, "method_not_allowed").await;
}

#[tokio::test]
async fn s43_what_watches_us_and_what_clients_ask_for_may_have_an_address_each() {
    let mut rig = Rig::new();
    let [public, admin] = rig.apart.clone();
    for (router, there, not_there) in [
        (public, &["/c/a", "/v1/channels"][..], &["/livez", "/readyz", "/metrics"][..]),
        (
            admin,
            &["/livez", "/readyz", "/metrics"],
            &["/v1/channels", "/v1/publish", "/", "/inspector/inspector.js"],
        ),
    ] {
        rig.router = router;
        for path in there {
            assert_eq!(rig.get(path).await.status(), StatusCode::OK, "{path}");
        }
        for path in not_there {
            refuses(rig.get(path).await, 404, "not_found").await;
        }
    }
    refuses(rig.ask(Request::post("/c/a"), "").await, 404, "not_found").await;
}

#[tokio::test]
async fn a_refused_method_and_a_preflight_name_the_methods_of_their_address() {
    let rig = Rig::new();
    for (path, methods) in [
        ("/c/a", "GET, POST"),
        ("/c/", "GET, POST"),
        ("/v1/publish", "POST"),
        ("/v1/tickets", "POST"),
        ("/v1/revoke", "POST"),
        ("/v1/channels", "GET,HEAD"),
        ("/v1/channels/a/history", "GET,HEAD"),
        ("/livez", "GET,HEAD"),
        ("/client.js", "GET,HEAD"),
    ] {
        for method in ["DELETE", "OPTIONS"] {
            let response = rig.ask(Request::builder().method(method).uri(path), "").await;
            assert_eq!(response.headers()["allow"], methods, "{method} {path}");
            assert_eq!(response.headers().get_all("allow").iter().count(), 1);
        }
    }
    let head = rig.ask(Request::head("/c/a"), "").await;
    assert_eq!((head.status().as_u16(), head.headers()["allow"].to_str().unwrap()), (405, "GET, POST"));
    let nowhere = rig.ask(Request::builder().method("OPTIONS").uri("/nowhere"), "").await;
    assert!(!nowhere.headers().contains_key("allow"));
}

#[tokio::test]
async fn pages_come_with_a_policy_and_end_their_connection() {
    let rig = Rig::new();
    for request in
        [Request::get("/c/a").header("accept", "text/html"), Request::get("/inspector/inspector.js")]
    {
        let response = rig.ask(request, "").await;
        assert_eq!(response.status(), StatusCode::OK);
        let policy = response.headers()["content-security-policy"].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'; script-src 'self'") && !policy.contains("unsafe"));
        assert_eq!(response.headers()["connection"], "close");
    }
    let etag = rig.get("/client.js").await.headers()["etag"].clone();
    let known = rig.ask(Request::get("/client.js").header("if-none-match", etag), "").await;
    assert_eq!(known.status(), StatusCode::NOT_MODIFIED);
    assert_eq!(text_of(known).await, "");
}

#[tokio::test]
async fn r23_a_draining_node_is_red_and_takes_no_publishes() {
    let rig = Rig::new();
    assert_eq!(rig.get("/readyz").await.status(), StatusCode::OK);
    rig.node.health.enter(Phase::Draining);
    rig.node.broker.drain();
    let red = rig.get("/readyz").await;
    assert_eq!(red.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(text_of(red).await, r#"{"status":"draining"}"#);
    assert_eq!(rig.get("/livez").await.status(), StatusCode::OK);
    refuses(rig.ask(Request::post("/c/a"), "x").await, 503, "draining").await;
}

#[tokio::test]
async fn metrics_come_in_either_text_and_know_what_happened() {
    let rig = Rig::new();
    rig.publish("/c/a", "x").await;
    let text = text_of(rig.get("/metrics").await).await;
    assert!(
        text.contains("\ntidewire_messages_published_total 1\n") && text.contains("\ntidewire_channels 1\n"),
        "{text}"
    );
    assert!(text.contains("# TYPE tidewire_messages_delivered_total counter\n"), "{text}");
    let open_metrics =
        Request::get("/metrics").header("accept", "application/openmetrics-text; version=1.0.0");
    let text = text_of(rig.ask(open_metrics, "").await).await;
    assert!(
        text.contains("# TYPE tidewire_messages_delivered counter\n") && text.ends_with("# EOF\n"),
        "{text}"
    );
}
