//! All that a node shares beside the log, made of its configuration.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tidewire_auth::vault::Vault;
use tidewire_broker::redis::{Address, Aside, Timeouts};
use tidewire_hub::broker::Broker;
use tidewire_hub::revocation::Revocations;
use tokio::runtime::Handle;

use super::lookout::Lookout;
use super::names::Names;
use super::rates::Rates;
use super::revocations::Ledger;
use super::vault::RedisVault;
use crate::clock::Clock;
use crate::config::{BrokerSettings, Unusable};

/// Until a call is answered, a dial included: a ticket has to be told within about a second.
const TIMEOUTS: Timeouts = Timeouts { dial: Duration::from_millis(800), answer: Duration::from_millis(800) };

/// For the link that waits for news, half a second of which it is meant to.
const FOLLOWS: Timeouts = Timeouts { answer: Duration::from_millis(1_300), ..TIMEOUTS };

/// The links to Redis that are not the log's. Made on the runtime that drives them.
#[derive(Clone, Debug)]
pub struct Beside {
    address: Address,
    aside: Aside,
    names: Names,
    runtime: Handle,
}

impl Beside {
    /// What `settings` describe; nothing where there is no Redis. Nothing is dialled yet.
    ///
    /// # Errors
    /// What cannot be used, by its key.
    pub fn open(settings: &BrokerSettings) -> Result<Option<Beside>, Unusable> {
        let Some(url) = &settings.url else { return Ok(None) };
        let ca = settings.ca.as_ref().map(std::fs::read).transpose();
        let ca = ca.map_err(|error| Unusable::new("broker.ca", error))?;
        let url = String::from_utf8_lossy(url.expose());
        let address = Address::parse(&url, ca.as_deref());
        let address = address.map_err(|error| Unusable::new("broker.url", error))?;
        let aside = Aside::new(address.clone(), TIMEOUTS);
        let names = Names::new(&settings.prefix);
        Ok(Some(Beside { address, aside, names, runtime: Handle::current() }))
    }

    /// Where tickets are kept that any node may redeem.
    #[must_use]
    pub fn vault(&self) -> Arc<dyn Vault> {
        Arc::new(RedisVault::new(self.aside.clone(), self.names.clone(), self.runtime.clone()))
    }

    /// The ledger of revocations, which follows the other nodes from now on, over a link of its own.
    #[must_use]
    pub fn ledger(&self, revocations: Arc<Revocations>, broker: Arc<dyn Broker>, clock: Clock) -> Ledger {
        let (aside, runtime) = (self.aside.clone(), self.runtime.clone());
        let ledger = Ledger::new(aside, &self.names, revocations, broker, clock, runtime);
        self.runtime.spawn(ledger.clone().follow(Aside::new(self.address.clone(), FOLLOWS)));
        ledger
    }

    /// Whether somebody looks at the console of any node.
    #[must_use]
    pub fn lookout(&self) -> Lookout {
        Lookout::new(self.aside.clone(), &self.names)
    }

    /// Rates that hold for all nodes together, from now on.
    ///
    /// # Errors
    /// The system has no random number for this node's name.
    pub fn rates(&self, clock: Clock) -> io::Result<Rates> {
        let rates = Rates::new();
        let node = getrandom::u64().map_err(io::Error::from)?;
        self.runtime.spawn(rates.clone().report(self.aside.clone(), self.names.clone(), node, clock));
        Ok(rates)
    }
}
