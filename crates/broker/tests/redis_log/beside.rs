//! Calls that are not the log's.

use std::time::Duration;

use redis::{Cmd, Value};
use tidewire_broker::redis::{ASIDE_CALLS_MAX, Address, Aside, Error, Timeouts};

use crate::finding::{Somebody, answers, names};
use crate::node::PATIENT;
use crate::server::{Server, free_port, pair};

fn aside(url: &str, timeouts: Timeouts) -> Aside {
    Aside::new(Address::parse(url, None).unwrap(), timeouts)
}

fn command(words: &[&str]) -> Cmd {
    let mut command = redis::cmd(words[0]);
    command.arg(&words[1..]);
    command
}

async fn connections(server: &Server) -> usize {
    // Without the one that asks.
    server.text(&["CLIENT", "LIST", "TYPE", "normal"]).await.lines().count() - 1
}

/// Calls until it is answered again.
async fn comes_back(aside: &Aside) -> Vec<Error> {
    let mut errors = Vec::new();
    loop {
        match aside.ask(&[command(&["SET", "a", "1"])]).await {
            Ok(_) => return errors,
            Err(error) => errors.push(error),
        }
        assert!(errors.len() < 100, "{errors:?}");
    }
}

#[tokio::test]
async fn calls_are_answered_in_their_order_over_one_connection() {
    let server = Server::start(&[]).await;
    let aside = aside(&server.url(), PATIENT);
    assert_eq!(connections(&server).await, 0);
    let mut tasks = Vec::new();
    for task in 0..50 {
        let aside = aside.clone();
        tasks.push(tokio::spawn(async move {
            let key = format!("k{task}");
            let calls = [command(&["SET", &key, &key]), command(&["NONSENSE"]), command(&["GET", &key])];
            let answers = aside.ask(&calls).await.unwrap();
            assert!(matches!(&answers[..2], [Value::Okay, Value::ServerError(_)]), "{answers:?}");
            assert_eq!(answers[2], Value::BulkString(key.into_bytes()));
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(connections(&server).await, 1);
}

#[tokio::test]
async fn f5_a_server_that_restarts_is_dialled_again_and_no_call_is_repeated() {
    let mut server = Server::start(&["--appendonly", "yes", "--appendfsync", "always"]).await;
    let aside = aside(&server.url(), PATIENT);
    aside.ask(&[command(&["INCR", "calls"])]).await.unwrap();
    server.crash_and_restart().await;
    comes_back(&aside).await;
    assert_eq!(server.text(&["GET", "calls"]).await, "1");
    assert_eq!(connections(&server).await, 1);
}

#[tokio::test]
async fn f6_a_silent_server_costs_a_call_its_timeout_and_one_too_many_is_told_at_once() {
    let server = Server::start(&[]).await;
    let timeouts = Timeouts { answer: Duration::from_millis(500), ..PATIENT };
    let aside = aside(&server.url(), timeouts);
    aside.ask(&[command(&["PING"])]).await.unwrap();
    server.signal("STOP");
    let ping = [command(&["PING"])];
    let mut calls: Vec<_> = (0..ASIDE_CALLS_MAX).map(|_| Box::pin(aside.ask(&ping))).collect();
    // Each is begun, and none has its time run out before the clock is looked at again.
    for call in &mut calls {
        tokio::select! {
            biased;
            outcome = call => panic!("{outcome:?}"),
            () = std::future::ready(()) => {}
        }
    }
    assert_eq!(aside.ask(&ping).await, Err(Error::Crowded));
    for call in calls {
        assert_eq!(call.await, Err(Error::Broken));
    }
    server.signal("CONT");
    comes_back(&aside).await;
}

#[tokio::test]
async fn a_server_that_is_away_is_dialled_once_at_a_time() {
    // It accepts and never answers, so that a dial lasts.
    let silent = answers(None).await;
    let timeouts = Timeouts { dial: Duration::from_secs(5), answer: Duration::from_millis(100) };
    let aside = aside(&format!("redis://127.0.0.1:{}", silent.port), timeouts);
    for _ in 0..2 {
        assert_eq!(aside.ask(&[command(&["PING"])]).await, Err(Error::Broken));
    }
    assert_eq!(silent.calls(), 1);

    let nobody = self::aside(&format!("redis://127.0.0.1:{}", free_port()), PATIENT);
    assert_eq!(nobody.ask(&[command(&["PING"])]).await, Err(Error::Broken));
}

#[tokio::test]
async fn f7_a_master_that_became_a_replica_is_left_for_the_new_one() {
    let (old, new) = pair().await;
    let sentinels: [Somebody; 2] = [names(&old.port()).await, names(&new.port()).await];
    let [first, second] = sentinels.map(|sentinel| sentinel.port);
    let url = format!("redis+sentinel://127.0.0.1:{first},127.0.0.1:{second}/main");
    let aside = aside(&url, PATIENT);
    aside.ask(&[command(&["SET", "a", "1"])]).await.unwrap();
    new.promote().await;
    old.follow(&new).await;
    let errors = comes_back(&aside).await;
    assert_eq!(errors, [Error::ReadOnly]);
    assert_eq!(connections(&new).await, 1);
}

#[tokio::test]
async fn s53_a_wrong_password_is_told_to_every_call() {
    let server = Server::start(&["--requirepass", "right"]).await;
    let aside = aside(&server.url_as("default", "wrong"), PATIENT);
    for _ in 0..2 {
        assert_eq!(aside.ask(&[command(&["PING"])]).await, Err(Error::Auth));
    }
    assert!(!format!("{aside:?}").contains("wrong"));
}

#[test]
fn a_runtime_that_ends_takes_the_connection_with_it_and_not_the_client() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (first, second) = (runtime(), runtime());
    let server = first.block_on(Server::start(&[]));
    let aside = aside(&server.url(), PATIENT);
    // It ends while it dials.
    first.block_on(async {
        let call = [command(&["PING"])];
        tokio::select! {
            biased;
            _ = aside.ask(&call) => panic!("it had no time to dial"),
            () = std::future::ready(()) => {}
        }
    });
    drop(first);
    let errors = second.block_on(comes_back(&aside));
    assert_eq!(errors, [Error::Broken]);
}
