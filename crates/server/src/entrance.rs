//! The entrance: the gate of a server that faces the world, made of its configuration.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use tidewire_auth::allow::Origins;
use tidewire_auth::api_key::ApiKeys;
use tidewire_auth::hosts::Hosts;
use tidewire_auth::jwt::{self, Jwks, JwksOptions, KeySet, Options, Strength, Verifier, source};
use tidewire_auth::{MemoryVault, Rules, TicketLimits, Tickets, TokenGate};
use tidewire_hub::broker::Now;
use tidewire_hub::revocation::Revocations;

use crate::config::Settings;

/// Something under `auth` that reads well and cannot be used: a key that is none, an address that no name has.
#[derive(Debug)]
pub struct Unusable(String);

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unusable {}

/// A gate, and who verifies tokens for it: the latter wants to know that time passes.
pub struct Entrance {
    /// The gate.
    pub gate: Arc<TokenGate>,
    /// Its verifier; nothing where API keys are all there is.
    verifier: ArcSwapOption<Verifier>,
}

impl Entrance {
    /// Makes the gate that `settings` describe. Called on the runtime, which fetches key sets later.
    ///
    /// # Errors
    /// What cannot be used, by its key.
    pub fn open(settings: &Settings, revocations: Arc<Revocations>) -> Result<Entrance, Unusable> {
        let verifier = verifier(settings, None)?;
        let rules = rules(settings, verifier.clone())?;
        let vault = Arc::new(MemoryVault::default());
        let tickets = Tickets::new(vault).map_err(|error| unusable("auth", error))?;
        let gate = TokenGate::new(rules, tickets, revocations).map_err(|error| unusable("auth", error))?;
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
        self.gate.reload(rules).map_err(|error| unusable("auth", error))?;
        self.verifier.store(verifier);
        Ok(())
    }

    /// Lets time pass.
    pub fn tick(&self, now: Now) {
        if let Some(verifier) = &*self.verifier.load() {
            verifier.tick(now);
        }
    }
}

fn rules(settings: &Settings, verifier: Option<Arc<Verifier>>) -> Result<Rules, Unusable> {
    let (auth, limits) = (&settings.auth, &settings.limits);
    let entries: Vec<String> = auth.api_keys.iter().map(crate::config::auth::ApiKey::entry).collect();
    let origins = Origins::parse(auth.origins.iter().map(AsRef::as_ref));
    let hosts = Hosts::parse(auth.hosts.iter().map(AsRef::as_ref));
    let api_keys = ApiKeys::parse(entries.iter().map(String::as_str));
    Ok(Rules {
        origins: origins.map_err(|error| unusable("auth.origins", error))?,
        hosts: hosts.map_err(|error| unusable("auth.hosts", error))?,
        api_keys: api_keys.map_err(|error| unusable("auth.api_keys", error))?,
        verifier: verifier.map(|verifier| verifier as Arc<dyn tidewire_auth::Verify>),
        settings: tidewire_auth::Settings {
            cookie: auth.cookie.clone(),
            query_token: auth.query_token,
            credentials: auth.credentials,
            explain: false,
            tickets: TicketLimits {
                ttl: auth.ticket_ttl,
                per_second_max: limits.tickets_per_second_max,
                outstanding_max: limits.tickets_outstanding_max,
                same_network: auth.ticket_binds_address,
                ..TicketLimits::default()
            },
        },
    })
}

/// `fetched` is the key set that is there already.
fn verifier(settings: &Settings, fetched: Option<Jwks>) -> Result<Option<Arc<Verifier>>, Unusable> {
    let auth = &settings.auth;
    let mut keys = Vec::new();
    if let Some(secret) = &auth.hs256_secret {
        let text = std::str::from_utf8(secret.expose());
        let text = text.map_err(|_| unusable("auth.hs256_secret", "the secret is not text"))?;
        let key = source::hs256_secret(text, Strength::Required);
        keys.push(key.map_err(|error| unusable("auth.hs256_secret", error))?);
    }
    for file in &auth.keys {
        let read = source::read(&file.to_string(), Strength::Required);
        keys.extend(read.map_err(|error| unusable("auth.keys", format!("{file}: {error}")))?);
    }
    let jwks = auth.jwks_url.as_ref().map(|url| {
        let (allow_private, ca_file) = (auth.jwks_allow_private, auth.jwks_ca.clone());
        let options = JwksOptions { url: url.clone(), allow_private, ca_file };
        match fetched.filter(|fetched| *fetched.options() == options) {
            Some(fetched) => Ok(fetched),
            None => Jwks::new(options, tokio::runtime::Handle::current()),
        }
    });
    let jwks = jwks.transpose().map_err(|error| unusable("auth.jwks_url", error))?;
    if keys.is_empty() && jwks.is_none() {
        return Ok(None);
    }
    let keys = KeySet::new(keys).map_err(|error| unusable("auth.keys", error))?;
    let rules = jwt::Rules {
        issuer: auth.issuer.as_deref().map(Into::into),
        audience: auth.audience.as_deref().map(Into::into),
        lifetime_max: auth.token_lifetime_max,
        ..jwt::Rules::default()
    };
    Ok(Some(Arc::new(Verifier::new(Options { keys, jwks, rules }))))
}

fn unusable(key: &str, why: impl fmt::Display) -> Unusable {
    Unusable(format!("`{key}`: {why}"))
}
