//! The pulse: once a second, what this node did. While somebody looks, here or at another node, it is a message on
//! `$console`, which goes the way of all messages; so the time that it takes to be placed is a figure, too.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tidewire_hub::grant::Grant;
use tidewire_hub::message::{EventName, Payload};
use tidewire_hub::publish::Publish;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::console::Console;

/// Beats for ever.
pub(crate) async fn beat(console: Arc<Console>) {
    let mut seconds = interval(Duration::from_secs(1));
    seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let probe = Arc::new(Probe::default());
    let mut before = None;
    loop {
        seconds.tick().await;
        let now = console.node.clock.now();
        console.sessions.expire(now.monotonic_ms);
        if !console.is_on() {
            before = None;
            continue;
        }
        let sample = console.sources.sample(console.channel.as_ref(), now.monotonic_ms);
        if let Some(before) = before.replace(sample.clone()) {
            let phase = console.node.health.phase().as_str();
            let figures = console.sources.figures((&before, &sample), now.wall_ms, phase, probe.placed());
            console.latest.store(Some(Arc::new(figures)));
        }
        let is_watched = console.is_watched();
        let is_looked_for = match &console.lookout {
            Some(lookout) => lookout.look(is_watched).await,
            None => false,
        };
        if is_watched || is_looked_for {
            tell(&console, &probe);
        } else {
            probe.forget();
        }
    }
}

/// Publishes the latest figures, unless those of before are still on their way.
fn tell(console: &Arc<Console>, probe: &Arc<Probe>) {
    let Some((figures, channel)) = console.latest.load_full().zip(console.channel.clone()) else { return };
    let payload = serde_json::to_vec(&*figures).ok().and_then(|json| Payload::text(Bytes::from(json)).ok());
    let Some(payload) = payload.filter(|_| probe.begin()) else { return };
    let event = EventName::parse("figures").ok();
    let publish = Publish { channel, event, payload, key: None, publisher: "console".into(), trace: None };
    let (node, probe) = (console.node.clone(), probe.clone());
    tokio::spawn(async move {
        let begun = Instant::now();
        let placed = node.publish(&Grant::everything(), publish).await.ok();
        probe.end(placed.map(|_| begun.elapsed()));
    });
}

/// How long it takes until a message is placed.
#[derive(Default)]
struct Probe {
    on_its_way: AtomicBool,
    /// In microseconds, and one more; 0 where it is not known.
    placed: AtomicU64,
}

impl Probe {
    fn begin(&self) -> bool {
        !self.on_its_way.swap(true, Ordering::AcqRel)
    }

    fn end(&self, placed: Option<Duration>) {
        let micros = placed.map_or(0, |placed| u64::try_from(placed.as_micros()).unwrap_or(u64::MAX - 1) + 1);
        self.placed.store(micros, Ordering::Release);
        self.on_its_way.store(false, Ordering::Release);
    }

    fn placed(&self) -> Option<Duration> {
        self.placed.load(Ordering::Acquire).checked_sub(1).map(Duration::from_micros)
    }

    /// What was measured before somebody looked away says nothing of now.
    fn forget(&self) {
        self.placed.store(0, Ordering::Release);
    }
}
