//! Which broker a node has: one in this process, or one in Redis.

use std::io;
use std::sync::Arc;

use tidewire_broker::memory::{self, Memory};
use tidewire_broker::redis::Timeouts;
use tidewire_broker::redis::broker::{Options, Redis};
use tidewire_hub::broker::Broker;
use tidewire_hub::limits::Limits;
use tidewire_hub::position::Gen;
use tidewire_hub::revocation::Revocations;

use crate::clock::Clock;
use crate::config::Settings;

/// Starts the broker that `settings` ask for.
///
/// # Errors
/// The system has no random numbers.
pub fn start(
    settings: &Settings,
    limits: &Arc<Limits>,
    revocations: &Arc<Revocations>,
    clock: &Clock,
) -> io::Result<Arc<dyn Broker>> {
    let (limits, revocations) = (limits.clone(), revocations.clone());
    let retentions = settings.retentions();
    let seed = getrandom::u64().map_err(io::Error::from)?;
    let Some(url) = &settings.broker.url else {
        let generation = Gen::from_random(seed);
        return Ok(Arc::new(Memory::new(&memory::Options { limits, retentions, generation, revocations })));
    };
    let url = String::from_utf8_lossy(url.expose()).into();
    let clock = clock.clone();
    let options = Options {
        url,
        prefix: settings.broker.prefix.clone(),
        limits,
        retentions,
        revocations,
        // A system whose source has run dry has nothing that is better.
        random: Arc::new(move || getrandom::u64().unwrap_or(seed)),
        clock: Arc::new(move || clock.now()),
        timeouts: Timeouts::default(),
    };
    Ok(Arc::new(Redis::start(options)))
}
