//! The connection over which every node is told of joins and leaves.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use redis::{AsyncConnectionConfig, PushInfo, PushKind, Value};
use tidewire_hub::presence::{Change, News};

use super::calls::read_news;
use super::roster::Shared;
use crate::redis::address::Address;
use crate::redis::endpoint;
use crate::redis::error::Error;
use crate::redis::link::Timeouts;

/// Between two looks at whether anybody is still there: a connection that died in silence is found out by them.
const PROBE_INTERVAL: Duration = Duration::from_secs(3);

/// Before another dial.
const PAUSE: Duration = Duration::from_millis(500);

/// Listens for ever, over one connection after the other.
pub(super) async fn listen(shared: Arc<Shared>, address: Address, timeouts: Timeouts, told: String) {
    let mut heard_before = false;
    loop {
        // How it ended says nothing that a pause and another dial would not find out.
        let _ = hear_out(&shared, &address, timeouts, &told, &mut heard_before).await;
        tokio::time::sleep(PAUSE).await;
    }
}

async fn hear_out(
    shared: &Arc<Shared>,
    address: &Address,
    timeouts: Timeouts,
    told: &str,
    heard_before: &mut bool,
) -> Result<(), Error> {
    let ended = Arc::new(tokio::sync::Notify::new());
    let (ear, ends, name) = (shared.clone(), ended.clone(), told.to_owned());
    let config = AsyncConnectionConfig::new().set_push_sender(move |push: PushInfo| -> Result<(), ()> {
        match (push.kind, &push.data[..]) {
            (PushKind::Disconnection, _) => ends.notify_one(),
            (PushKind::Message, [Value::BulkString(on), Value::BulkString(bytes)])
                if on == name.as_bytes() =>
            {
                match read_news(bytes) {
                    Some(news) => (ear.hear)(news),
                    None => drop(ear.junk.fetch_add(1, Ordering::Relaxed)),
                }
            }
            _ => {}
        }
        Ok(())
    });
    let mut connection = address.master(timeouts).await?.dial(timeouts, config).await?;
    connection.subscribe(told).await?;
    if std::mem::replace(heard_before, true) {
        // What was told meanwhile is not told again.
        for channel in shared.channels() {
            (shared.hear)(News { channel, change: Change::Missed });
        }
    }
    loop {
        tokio::select! {
            () = ended.notified() => return Ok(()),
            () = tokio::time::sleep(PROBE_INTERVAL) => {}
        }
        let ping = [redis::cmd("PING")];
        let probe = endpoint::send(&connection, &ping);
        tokio::time::timeout(timeouts.answer, probe).await.map_err(|_| Error::Broken)??;
    }
}
