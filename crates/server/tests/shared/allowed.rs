//! What the user that nodes have in Redis must be allowed (security rule S53).

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tidewire_auth::vault::{Key, Vault as _};
use tidewire_broker::redis::{Address, Aside};
use tidewire_hub::broker::Now;
use tidewire_hub::grant::Holder;
use tidewire_hub::limits::Limits;
use tidewire_server::clock::Clock;
use tidewire_server::crowd::Crowd;
use tidewire_server::shared::{Names, Rates, RedisVault};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::PATIENT;
use crate::revoking::{KICK, Node, holds, until};
use crate::server::Server;

#[tokio::test]
async fn s53_a_user_with_the_commands_of_the_manual_and_no_others_is_enough() {
    let server = Server::start(&[]).await;
    let manual = include_str!("../../../../docs/operations.md");
    let line = manual.lines().find(|line| line.starts_with("ACL SETUSER tidewire ")).unwrap();
    let commands: Vec<String> =
        line.split(' ').filter(|word| word.starts_with('+')).map(ToOwned::to_owned).collect();
    let user = ["ACL", "SETUSER", "app", "on", ">secret", "~{tidewire:aside}:*", "-@all"];
    server.ask(&user.into_iter().chain(commands.iter().map(String::as_str)).collect::<Vec<_>>()).await;
    let url = server.url_as("app", "secret");
    let (one, other) = (Node::ready(&url).await, Node::ready(&url).await);
    one.revoke("a").await.unwrap();
    one.revoke("a").await.unwrap();
    until(KICK, "the kick", || other.bars("a")).await;
    holds(&server, 1).await;

    let aside = Aside::new(Address::parse(&url, None).unwrap(), PATIENT);
    let rates = Rates::new();
    let limits = Limits { key_publishes_per_second_max: 10, ..Limits::default() };
    let crowd = Crowd::new(Arc::new(limits)).sharing(&rates);
    let task = tokio::spawn(rates.report(aside.clone(), Names::new("tidewire"), 1, Clock::start()));
    let holder = Holder::Key("shop".into());
    for _ in 0..10 {
        crowd.may_publish(&holder, &holder.publisher()).unwrap();
    }
    server.until(&["INFO", "commandstats"], "cmdstat_hgetall").await;
    task.abort();

    let vault = RedisVault::new(aside, Names::new("tidewire"), Handle::current());
    let (key, now) = (Key::Ticket([1; 32]), Now::default());
    let (done, kept) = oneshot::channel();
    let value = Bytes::from_static(b"a");
    vault.put(
        key,
        value.clone(),
        Duration::from_secs(9),
        now,
        Box::new(|outcome| done.send(outcome).unwrap()),
    );
    assert_eq!(kept.await.unwrap(), Ok(()));
    let (done, shown) = oneshot::channel();
    vault.get(key, now, Box::new(|outcome| done.send(outcome).unwrap()));
    assert_eq!(shown.await.unwrap(), Ok(Some(value.clone())));
    let (done, taken) = oneshot::channel();
    vault.take(key, now, Box::new(|outcome| done.send(outcome).unwrap()));
    assert_eq!(taken.await.unwrap(), Ok(Some(value)));
    let refused = server.text(&["INFO", "errorstats"]).await;
    assert!(!refused.contains("NOPERM"), "{refused}");
}
