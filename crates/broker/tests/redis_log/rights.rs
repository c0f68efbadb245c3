//! The user that `docs/operations.md` describes may do all that the log needs, and nothing else (security rule S53).

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tidewire_broker::redis::{Address, Aside, Ear, Error};

use crate::node::{LEASE, Node, PATIENT, PREFIX, channel, endpoint, keyed, message};
use crate::server::{Server, pair};

const OPERATIONS: &str = include_str!("../../../../docs/operations.md");

/// What is sent other than from scripts.
const COMMANDS: [&str; 14] = [
    "hello",
    "select",
    "evalsha",
    "evalsha_ro",
    "script|load",
    "subscribe",
    "unsubscribe",
    "wait",
    "info",
    // Of tickets and revocations.
    "getdel",
    "xdel",
    "xinfo|stream",
    "xread",
    "ping",
];

/// The words of the line as the document has it.
fn line() -> Vec<&'static str> {
    let mut lines = OPERATIONS.lines().filter(|line| line.starts_with("ACL SETUSER tidewire "));
    let line = lines.next().expect("the document describes the user");
    assert_eq!(lines.next(), None);
    line.split(' ').collect()
}

async fn add_user(server: &Server) -> String {
    server.ask(&line()).await;
    server.url_as("tidewire", "PASSWORD")
}

#[test]
fn s53_the_user_may_call_what_scripts_call_and_no_more() {
    let scripts = concat!(env!("CARGO_MANIFEST_DIR"), "/src/redis/scripts");
    let mut wanted: BTreeSet<String> = COMMANDS.iter().map(ToString::to_string).collect();
    for file in std::fs::read_dir(scripts).unwrap() {
        let source = std::fs::read_to_string(file.unwrap().path()).unwrap();
        for call in source.split("call('").skip(1) {
            wanted.insert(call.split('\'').next().unwrap().to_lowercase());
        }
    }
    let allowed: BTreeSet<String> =
        line().iter().filter_map(|word| word.strip_prefix('+')).map(ToOwned::to_owned).collect();
    assert_eq!(allowed, wanted);
}

#[tokio::test]
async fn s53_the_whole_log_works_for_that_user() {
    let (old, new) = pair().await;
    let url = add_user(&old).await;
    let mut node = Node::at_url(&format!("{url}/1")).await;
    node.waits_for_a_replica(Duration::from_secs(5));
    let hear = Arc::new(drop);
    let ear = Ear::dial(&endpoint(&url).await, PREFIX, 0, PATIENT, hear).await.unwrap();
    ear.subscribe(&[channel("a")]).await.unwrap();
    ear.unsubscribe(&[channel("a")]).await.unwrap();
    ear.probe().await.unwrap();

    // With a key and without, again, with history and without, and on a channel without a record.
    node.publishes(&keyed("a", "1", "k")).await.unwrap();
    node.publishes(&keyed("a", "1", "k")).await.unwrap();
    old.ask(&["SCRIPT", "FLUSH"]).await;
    node.places("a", "2").await;
    node.retention.messages_max = 0;
    node.places("b", "3").await;
    node.renews(LEASE).await.unwrap();
    assert_eq!(node.slice("a", 0).await.messages.len(), 2);
    node.log.before_newest(&node.fence, &[channel("a"), channel("b")], 5).await.unwrap();
    node.log.probe().await.unwrap();

    // A node that dies, a promotion with a loss, and a node that dies before it has told what it saw.
    let dead = Node::at_url(&format!("{url}/1")).await;
    old.replicated().await;
    new.promote().await;
    node.goes_to(&format!("{url}/1")).await.unwrap();
    node.places("a", "lost").await;
    let url = add_user(&new).await;
    node.goes_to(&format!("{url}/1")).await.unwrap();
    drop(dead);
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(node.renews(Duration::from_millis(10)).await, Err(Error::Fenced));
    node.goes_to(&format!("{url}/1")).await.unwrap();
    node.places("a", "4").await;
    assert_eq!(node.fence.lineage.len(), 3);

    // A store that was emptied, and one whose stream somebody wrote over.
    new.ask(&["FLUSHALL"]).await;
    assert_eq!(node.publishes(&message("a", "5")).await, Err(Error::Fenced));
    node.goes_to(&format!("{url}/1")).await.unwrap();
    node.places("a", "5").await;
}

#[tokio::test]
async fn s53_that_user_may_touch_nothing_else() {
    let server = Server::start(&["--enable-debug-command", "yes"]).await;
    let url = add_user(&server).await;
    server.ask(&["SET", "theirs", "1"]).await;
    let aside = Aside::new(Address::parse(&url, None).unwrap(), PATIENT);
    for words in [
        &["GET", "theirs"][..],
        &["SET", "tidewire", "1"],
        &["PUBLISH", "theirs", "1"],
        &["SUBSCRIBE", "theirs"],
        &["CONFIG", "GET", "*"],
        &["KEYS", "*"],
        &["EVAL", "return 1", "0"],
        &["SCRIPT", "FLUSH"],
        &["SCRIPT", "KILL"],
        &["DEBUG", "SLEEP", "0"],
        &["FLUSHALL"],
        &["ACL", "WHOAMI"],
        &["CLIENT", "LIST"],
    ] {
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]);
        let answers = aside.ask(&[command]).await.unwrap();
        let redis::Value::ServerError(error) = &answers[0] else { panic!("{words:?}: {answers:?}") };
        assert_eq!(error.kind(), Some(redis::ServerErrorKind::NoPerm), "{words:?}");
    }
    // Rights that are taken away are no broken link.
    let mut node = Node::at_url(&url).await;
    server.ask(&["ACL", "SETUSER", "tidewire", "-evalsha", "-evalsha_ro"]).await;
    assert_eq!(node.publishes(&message("a", "2")).await, Err(Error::Auth));
}
