//! The entrance: the gate of a server that faces the world, made of its configuration.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use tidewire_auth::jwt::{self, Fetching, Jwks, Options, Verifier};
use tidewire_auth::{MemoryVault, Rules, Tickets, TokenGate, Vault};
use tidewire_hub::broker::Now;
use tidewire_hub::revocation::Revocations;

use crate::config::Settings;
pub use crate::config::Unusable;

/// A gate, and who verifies tokens for it: the latter wants to know that time passes.
pub struct Entrance {
    /// The gate.
    pub gate: Arc<TokenGate>,
    /// Its verifier; nothing where API keys are all there is.
    verifier: ArcSwapOption<Verifier>,
}

impl Entrance {
    /// Makes the gate that `settings` describe. Called on the runtime, which fetches key sets later. Tickets are kept in
    /// `shared`, where other nodes redeem them, or in this process.
    ///
    /// # Errors
    /// What cannot be used, by its key.
    pub fn open(
        settings: &Settings,
        revocations: Arc<Revocations>,
        shared: Option<Arc<dyn Vault>>,
    ) -> Result<Entrance, Unusable> {
        let verifier = verifier(settings, None)?;
        let rules = rules(settings, verifier.clone())?;
        let is_shared = shared.is_some();
        let vault = shared.unwrap_or_else(|| Arc::new(MemoryVault::default()));
        let tickets = Tickets::new(vault).map_err(|error| Unusable::new("auth", error))?;
        if is_shared {
            // All nodes begin with the same, until the log's fence names the life that the store is in.
            tickets.set_generation(0);
        }
        let gate = TokenGate::new(rules, tickets, revocations).map_err(Unusable::from)?;
        Ok(Entrance { gate: Arc::new(gate), verifier: ArcSwapOption::new(verifier) })
    }

    /// Goes by other settings from now on. A key set whose address is the same is not fetched anew.
    ///
    /// # Errors
    /// What cannot be used, by its key. Then nothing has changed.
    pub fn reopen(&self, settings: &Settings) -> Result<(), Unusable> {
        let before = self.verifier.load();
        let jwks = before.as_ref().and_then(|verifier| verifier.options().jwks.clone());
        let verifier = verifier(settings, jwks)?;
        let rules = rules(settings, verifier.clone())?;
        self.gate.reload(rules).map_err(Unusable::from)?;
        self.verifier.store(verifier);
        Ok(())
    }

    /// How fetching the key set goes; nothing where none is fetched.
    #[must_use]
    pub fn fetching(&self, now: Now) -> Option<Fetching> {
        let verifier = self.verifier.load_full()?;
        verifier.options().jwks.as_ref().map(|jwks| jwks.fetching(now))
    }

    /// Lets time pass.
    pub fn tick(&self, now: Now) {
        if let Some(verifier) = &*self.verifier.load() {
            verifier.tick(now);
        }
    }
}

fn rules(settings: &Settings, verifier: Option<Arc<Verifier>>) -> Result<Rules, Vec<Unusable>> {
    let verifier = verifier.map(|verifier| verifier as Arc<dyn tidewire_auth::Verify>);
    Ok(Rules { verifier, ..settings.rules()? })
}

/// `fetched` is the key set that is there already.
fn verifier(settings: &Settings, fetched: Option<Jwks>) -> Result<Option<Arc<Verifier>>, Vec<Unusable>> {
    let auth = &settings.auth;
    let keys = auth.key_set()?;
    let jwks = auth.jwks().map(|options| match fetched.filter(|fetched| *fetched.options() == options) {
        Some(fetched) => Ok(fetched),
        None => Jwks::new(options, tokio::runtime::Handle::current()),
    });
    let jwks = jwks.transpose().map_err(|error| vec![error.into()])?;
    if keys.is_empty() && jwks.is_none() {
        return Ok(None);
    }
    let rules = jwt::Rules {
        issuer: auth.issuer.as_deref().map(Into::into),
        audience: auth.audience.as_deref().map(Into::into),
        lifetime_max: auth.token_lifetime_max,
        ..jwt::Rules::default()
    };
    Ok(Some(Arc::new(Verifier::new(Options { keys, jwks, rules }))))
}
