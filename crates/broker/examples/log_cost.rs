//! What the log in Redis costs: `cargo run --release -p tidewire-broker --example log_cost -- redis://127.0.0.1:6379`.
//!
//! Prints, for flushes of several sizes, the messages a second of one connection, the CPU time of Redis per message (all
//! of its threads, as `INFO cpu` has it) and that of this process. With history, and without. It writes under a prefix
//! of its own and removes nothing: give it a Redis that nobody else uses.

use std::collections::HashMap;
use std::error::Error;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tidewire_broker::redis::{Address, Log, NodeId, Past, Placing, Request, Timeouts};
use tidewire_hub::channel::Channel;
use tidewire_hub::limits::Retention;
use tidewire_hub::message::Payload;
use tidewire_hub::position::Gen;
use tidewire_hub::publish::Publish;

const MESSAGES: usize = 100_000;
const CHANNELS: usize = 1_000;
const FLUSHES: [usize; 4] = [1, 10, 100, 1_000];

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = std::env::args().nth(1).ok_or("name the Redis: redis://127.0.0.1:6379")?;
    let timeouts = Timeouts { dial: Duration::from_secs(5), answer: Duration::from_secs(30) };
    let endpoint = Address::parse(&url, None)?.master(timeouts).await?;
    let log = Log::dial(&endpoint, "tidewire-cost", 0, timeouts).await?;
    let random = || RandomState::new().hash_one(0);
    let mut past = Past::new(NodeId::from_random(random()));
    let fence = log.handshake(&past, [Gen::from_random(random()), Gen::from_random(random())]).await?;
    past.enter(&fence);
    let messages: Vec<Publish> = (0..CHANNELS).map(message).collect::<Result<_, _>>()?;
    println!(
        "{:>8} {:>8} {:>12} {:>16} {:>15}",
        "flush", "history", "messages/s", "Redis us/message", "here us/message"
    );
    for (history, messages_max) in [("yes", 1_000), ("no", 0)] {
        let retention = Retention { messages_max, ..Retention::default() };
        for flush in FLUSHES {
            let count = if flush == 1 { MESSAGES / 10 } else { MESSAGES };
            let (redis, here, began) = (redis_cpu(&url).await?, own_cpu()?, Instant::now());
            for number in 0..count / flush {
                let publishes = messages.iter().cycle().skip(number * flush % CHANNELS).take(flush);
                let key_ttl = Duration::from_secs(300);
                let requests: Vec<_> =
                    publishes.map(|publish| Request { publish, time_ms: 0, retention, key_ttl }).collect();
                for outcome in log.publish(&fence, past.node(), &requests).await {
                    let Placing::Placed(_) = outcome? else { return Err("a message was not placed".into()) };
                }
            }
            let took = began.elapsed().as_secs_f64();
            let per = |from: f64, to: f64| (to - from) * 1e6 / count as f64;
            let (redis, here) = (per(redis, redis_cpu(&url).await?), per(here, own_cpu()?));
            println!("{flush:>8} {history:>8} {:>12.0} {redis:>16.1} {here:>15.1}", count as f64 / took);
        }
    }
    Ok(())
}

/// 128 bytes on a channel of its own.
fn message(number: usize) -> Result<Publish, Box<dyn Error>> {
    Ok(Publish {
        channel: Channel::parse(&format!("cost:{number}"))?,
        event: None,
        payload: Payload::binary(Bytes::from(vec![b'x'; 128])),
        key: None,
        publisher: Arc::from("cost"),
        trace: None,
    })
}

/// Seconds of CPU that Redis has used.
async fn redis_cpu(url: &str) -> Result<f64, Box<dyn Error>> {
    let mut connection = redis::Client::open(url)?.get_multiplexed_async_connection().await?;
    let info: String = redis::cmd("INFO").arg("cpu").query_async(&mut connection).await?;
    let fields: HashMap<&str, f64> = info
        .lines()
        .filter_map(|line| line.split_once(':'))
        .filter_map(|(name, value)| Some((name, value.parse().ok()?)))
        .collect();
    let field = |name| fields.get(name).copied().ok_or("INFO cpu has other fields than expected");
    Ok(field("used_cpu_sys")? + field("used_cpu_user")?)
}

/// Seconds of CPU that this process has used, in ticks of 10 ms as Linux shows them.
fn own_cpu() -> Result<f64, Box<dyn Error>> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks: f64 = fields[11].parse::<f64>()? + fields[12].parse::<f64>()?;
    Ok(ticks / 100.0)
}
