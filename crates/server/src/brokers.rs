//! Which broker a node has: one in this process, or one in Redis.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tidewire_broker::memory::{self, Memory};
use tidewire_broker::redis::broker::{Options, Redis};
use tidewire_broker::redis::{Address, Bridge, Crossing, Durability, PresenceTimes, Roster, Timeouts};
use tidewire_hub::bridge::{Bridged, Outward};
use tidewire_hub::broker::Broker;
use tidewire_hub::limits::Limits;
use tidewire_hub::position::Gen;
use tidewire_hub::presence::Attendance;
use tidewire_hub::revocation::Revocations;
use tokio::sync::watch;

use crate::clock::Clock;
use crate::config::broker::Ack;
use crate::config::{Secret, Settings};
use crate::presence::{Keeper, Teller};
use crate::serve::Fatal;

/// What a flush has left of the time for an answer when its replica has not answered: time for the answer itself.
const WAIT_MARGIN: Duration = Duration::from_millis(300);

/// What messages go through.
pub struct Brokers {
    /// Places and keeps them.
    pub broker: Arc<dyn Broker>,
    /// Takes those of bridged channels; nothing where none is bridged.
    pub bridge: Option<Arc<dyn Outward>>,
    /// The generation of a log that nodes share, as it changes.
    pub generations: Option<watch::Receiver<Option<Gen>>>,
}

/// Starts the broker that `settings` ask for, and the bridge beside it.
///
/// # Errors
/// The system has no random numbers, or the certificates that Redis is to be trusted by cannot be read.
pub fn start(
    settings: &Settings,
    limits: &Arc<Limits>,
    revocations: &Arc<Revocations>,
    clock: &Clock,
    attendance: Arc<dyn Attendance>,
) -> Result<Brokers, Fatal> {
    let (limits, revocations) = (limits.clone(), revocations.clone());
    let retentions = settings.retentions();
    let seed = getrandom::u64().map_err(std::io::Error::from)?;
    let Some(url) = &settings.broker.url else {
        let generation = Gen::from_random(seed);
        let options = memory::Options { limits, retentions, generation, revocations };
        return Ok(Brokers {
            broker: Arc::new(Memory::new(&options).attended_by(attendance)),
            bridge: None,
            generations: None,
        });
    };
    let address = address(url, settings.broker.ca.as_deref()).map_err(Fatal::Broker)?;
    let timeouts = Timeouts::default();
    let durability = match settings.broker.ack {
        Ack::Stored => Durability::Stored,
        Ack::Replicated => Durability::Replicated { within: timeouts.answer - WAIT_MARGIN },
    };
    let clock = clock.clone();
    let clock = Arc::new(move || clock.now());
    let bridged = Bridged::new(&settings.broker.bridge, &settings.broker.bridge_publish);
    let payload_bytes_max = limits.message_bytes_max;
    let crossing =
        Crossing { address: address.clone(), bridged: bridged.clone(), payload_bytes_max, timeouts };
    let options = Options {
        address,
        prefix: settings.broker.prefix.clone(),
        limits,
        retentions,
        revocations,
        // A system whose source has run dry has nothing that is better.
        random: Arc::new(move || getrandom::u64().unwrap_or(seed)),
        clock: clock.clone(),
        timeouts,
        durability,
        bridged,
        attendance,
    };
    let broker = Arc::new(Redis::start(options));
    let is_bridged = !settings.broker.bridge.is_empty();
    let bridge =
        is_bridged.then(|| Arc::new(Bridge::start(crossing, broker.clone(), clock)) as Arc<dyn Outward>);
    let generations = Some(broker.generations());
    Ok(Brokers { broker, bridge, generations })
}

/// Counts who is connected, over all nodes where those share a Redis.
///
/// # Errors
/// As [`start`].
pub fn keeper(settings: &Settings, teller: &Arc<Teller>) -> Result<Keeper, Fatal> {
    let salt = getrandom::u64().map_err(std::io::Error::from)?;
    let is_kept = settings.namespaces.values().any(|own| own.presence == Some(true));
    let roster = match &settings.broker.url {
        Some(url) if is_kept => {
            let address = address(url, settings.broker.ca.as_deref()).map_err(Fatal::Broker)?;
            let (told, times) = (teller.clone(), PresenceTimes::default());
            let tell = move |news| told.tell(news);
            let random = move || getrandom::u64().unwrap_or(salt);
            let prefix = &settings.broker.prefix;
            let roster = Roster::start(&address, prefix, Timeouts::default(), times, tell, random);
            Some(Arc::new(roster) as Arc<dyn tidewire_hub::presence::Roster>)
        }
        _ => None,
    };
    Ok(Keeper::new(&settings.namespaces, salt, teller.clone(), roster))
}

/// Reads where Redis is.
fn address(url: &Secret, ca: Option<&Path>) -> Result<Address, String> {
    let ca = match ca {
        Some(path) => {
            let pem = std::fs::read(path);
            Some(pem.map_err(|error| format!("broker.ca: cannot read {}: {error}", path.display()))?)
        }
        None => None,
    };
    let url = String::from_utf8_lossy(url.expose());
    Address::parse(&url, ca.as_deref()).map_err(|error| format!("broker.url: {error}"))
}
