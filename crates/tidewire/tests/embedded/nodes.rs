use std::time::Duration;

use axum::Router;
use tidewire::{Builder, Tidewire};
use tokio::time::timeout;

use super::rig::{Client, PATIENCE, next, open, serve};
use super::server::Server;

async fn node(redis: &Server) -> Tidewire {
    let live = on(redis).start().await.unwrap();
    let ready = async {
        while !live.is_ready() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, ready).await.unwrap();
    live
}

fn on(redis: &Server) -> Builder {
    open().redis(redis.url()).redis_prefix("embedded").namespace("room", |namespace| namespace.presence(true))
}

#[tokio::test]
async fn two_applications_on_one_redis_hear_each_other_and_resume_on_each_other() {
    let redis = Server::start(&[]).await;
    let (one, two) = (node(&redis).await, node(&redis).await);
    let mut here = one.subscribe(["a"]).await.unwrap();
    let mut there = two.subscribe(["a"]).await.unwrap();
    for number in 0..200 {
        let from = if number % 2 == 0 { &one } else { &two };
        from.publish("a", number.to_string()).await.unwrap();
    }
    for number in 0..200 {
        assert_eq!(next(&mut here).await, number.to_string());
        assert_eq!(next(&mut there).await, number.to_string());
    }
    let cursor = here.cursor().unwrap();
    one.publish("a", "missed").await.unwrap();
    let mut resumed = two.subscribe(["a"]).cursor(cursor).await.unwrap();
    assert_eq!(next(&mut resumed).await, "missed");

    let at = serve(Router::new().nest("/live", two.router()), true).await;
    let mut stream = Client::ask(at, "GET /live/c/room:1", &["Accept: text/event-stream"], "").await;
    stream.until("$ready").await;
    let seen = async {
        while one.presence("room:1").await.unwrap().count != 1 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, seen).await.expect("one node sees who is on the other");
    one.publish("room:1", "across").await.unwrap();
    stream.until("data: across").await;

    one.shutdown(Duration::from_secs(2)).await;
    two.publish("a", "goes on").await.unwrap();
    while next(&mut resumed).await != "goes on" {}
    two.shutdown(Duration::from_secs(2)).await;
}

#[tokio::test]
async fn a_slow_subscriber_goes_on_from_the_log_in_redis() {
    let redis = Server::start(&[]).await;
    let live = node(&redis).await;
    let mut slow = live.subscribe(["a"]).capacity(3).await.unwrap();
    for number in 0..300 {
        live.publish("a", number.to_string()).await.unwrap();
    }
    for number in 0..300 {
        assert_eq!(next(&mut slow).await, number.to_string());
    }
}

#[tokio::test]
async fn who_catches_up_while_redis_is_away_is_told_so_and_goes_on_from_its_cursor() {
    let redis = Server::start(&[]).await;
    let (one, two) = (node(&redis).await, node(&redis).await);
    let first = one.publish("a", "first").await.unwrap().id.unwrap();
    // More than the second node has read of it by the time that Redis stops.
    for number in 0..900 {
        one.publish("a", format!("{number:08000}")).await.unwrap();
    }
    let mut slow = two.subscribe(["a"]).cursor(first).await.unwrap();
    redis.signal("STOP");
    let mut heard = 0;
    while timeout(PATIENCE, slow.next()).await.expect("it ends rather than wait for ever").is_some() {
        heard += 1;
    }
    let error = slow.error().expect("nothing has shut down").clone();
    redis.signal("CONT");
    assert!(error.is_temporary() && error.code() == "broker_unavailable" && heard < 900, "{heard} {error}");
    let cursor = slow.cursor().unwrap();
    let again = async {
        loop {
            match two.subscribe(["a"]).cursor(cursor).await {
                Ok(again) => break again,
                Err(error) => assert!(error.is_temporary(), "{error}"),
            }
        }
    };
    let mut again = timeout(PATIENCE, again).await.expect("Redis is back");
    for number in heard..900 {
        assert_eq!(next(&mut again).await, format!("{number:08000}"));
    }
}

#[tokio::test]
async fn whoever_asks_when_all_has_ended_is_answered_and_does_not_wait_for_ever() {
    let redis = Server::start(&[]).await;
    let live = node(&redis).await;
    live.publish("a", "x").await.unwrap();
    live.shutdown(Duration::ZERO).await;
    let late = async {
        [
            live.publish("a", "y").await.unwrap_err(),
            live.history("a").await.unwrap_err(),
            live.presence("room:1").await.unwrap_err(),
            live.subscribe(["a"]).await.unwrap_err(),
            live.revoke_subject("alice").await.unwrap_err(),
        ]
    };
    for error in timeout(PATIENCE, late).await.expect("each is answered") {
        assert_eq!(error.code(), "draining", "{error}");
    }
}
