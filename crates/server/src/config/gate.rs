//! What the gate refuses: values under `auth` that read well and cannot be used, in the words of the rooms that would use
//! them.

use std::fmt;

use tidewire_auth::allow::Origins;
use tidewire_auth::api_key::ApiKeys;
use tidewire_auth::hosts::Hosts;
use tidewire_auth::jwt::jwks::JwksError;
use tidewire_auth::jwt::{Algorithm, Key, KeySet, Strength};
use tidewire_auth::rules::RulesError;
use tidewire_auth::{Rules, TicketLimits};

use super::auth::Auth;
use super::settings::Settings;
use crate::tls::Unreadable;

/// Something under `auth` that reads well and cannot be used: a key that is none, an address that no name has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unusable {
    /// The keys involved. The first that somebody set is where it is put right.
    pub keys: Vec<&'static str>,
    why: String,
}

impl Unusable {
    /// The key to blame.
    #[must_use]
    pub fn key(&self) -> &'static str {
        self.keys.first().copied().unwrap_or("auth")
    }

    pub(crate) fn new(key: &'static str, why: impl fmt::Display) -> Unusable {
        Unusable { keys: vec![key], why: format!("`{key}`: {why}") }
    }
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

impl std::error::Error for Unusable {}

impl From<RulesError> for Unusable {
    fn from(error: RulesError) -> Unusable {
        let keys = match error {
            RulesError::AnyOriginWithCookies => vec!["auth.origins", "auth.cookie", "auth.credentials"],
            RulesError::CookieName => vec!["auth.cookie"],
            RulesError::TicketTtl => vec!["auth.ticket_ttl"],
        };
        Unusable { keys, why: error.to_string() }
    }
}

impl From<JwksError> for Unusable {
    fn from(error: JwksError) -> Unusable {
        let of_file = matches!(error, JwksError::Authorities(_));
        Unusable::new(if of_file { "auth.jwks_ca" } else { "auth.jwks_url" }, error)
    }
}

impl From<Unreadable> for Unusable {
    fn from(error: Unreadable) -> Unusable {
        Unusable { keys: vec![error.key], why: error.to_string() }
    }
}

/// All of it in one: for whoever can only fail once.
impl From<Vec<Unusable>> for Unusable {
    fn from(all: Vec<Unusable>) -> Unusable {
        let why: Vec<String> = all.iter().map(ToString::to_string).collect();
        Unusable { keys: all.into_iter().flat_map(|unusable| unusable.keys).collect(), why: why.join("; ") }
    }
}

/// Collects what cannot be used.
#[derive(Default)]
struct Found(Vec<Unusable>);

impl Found {
    /// The value, or what stands for it once there is something to say.
    fn or_default<T: Default, E: fmt::Display>(&mut self, key: &'static str, read: Result<T, E>) -> T {
        read.unwrap_or_else(|error| {
            self.0.push(Unusable::new(key, error));
            T::default()
        })
    }

    fn or<T>(self, value: T) -> Result<T, Vec<Unusable>> {
        if self.0.is_empty() { Ok(value) } else { Err(self.0) }
    }
}

impl Settings {
    /// The rules of the gate, without who verifies tokens.
    ///
    /// # Errors
    /// Everything that cannot be used.
    pub fn rules(&self) -> Result<Rules, Vec<Unusable>> {
        let (auth, limits, mut found) = (&self.auth, &self.limits, Found::default());
        let origins = Origins::parse(auth.origins.iter().map(AsRef::as_ref));
        let hosts = Hosts::parse(auth.hosts.iter().map(AsRef::as_ref));
        let api_keys = ApiKeys::new(&auth.api_keys).unwrap_or_else(|wrong| {
            found.0.extend(wrong.iter().map(|error| Unusable::new("auth.api_keys", error)));
            ApiKeys::default()
        });
        let rules = Rules {
            origins: found.or_default("auth.origins", origins),
            hosts: found.or_default("auth.hosts", hosts),
            api_keys,
            verifier: None,
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
        };
        found.0.extend(rules.check().err().map(Unusable::from));
        found.or(rules)
    }
}

impl Auth {
    /// The keys that verify tokens, read from their files.
    ///
    /// # Errors
    /// Everything that cannot be used.
    pub fn key_set(&self) -> Result<KeySet, Vec<Unusable>> {
        let (mut keys, mut found) = (Vec::new(), Found::default());
        if let Some(secret) = &self.hs256_secret {
            match Key::secret(Algorithm::Hs256, None, secret.expose(), Strength::Required) {
                Ok(key) => keys.push(key),
                Err(error) => found.0.push(Unusable::new("auth.hs256_secret", error)),
            }
        }
        for file in &self.keys {
            match file.read(Strength::Required) {
                Ok(read) => keys.extend(read),
                Err(error) => found.0.push(Unusable::new("auth.keys", format!("{file}: {error}"))),
            }
        }
        let set = found.or_default("auth.keys", KeySet::new(keys));
        found.or(set)
    }

    /// What would keep the set of `auth.jwks_url` from being fetched, as far as that can be told without asking.
    fn unusable_jwks(&self) -> Option<Unusable> {
        self.jwks()?.check().err().map(Unusable::from)
    }
}

/// Everything under `auth` that the gate would refuse.
pub(super) fn unusable(settings: &Settings) -> Vec<Unusable> {
    let rules = settings.rules().err().unwrap_or_default();
    let keys = settings.auth.key_set().err().unwrap_or_default();
    rules.into_iter().chain(keys).chain(settings.auth.unusable_jwks()).collect()
}
