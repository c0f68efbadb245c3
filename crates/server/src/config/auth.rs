//! What is set under `auth`: who may come in, and how that is verified. Gates are made of it.

use std::path::PathBuf;
use std::time::Duration;

use tidewire_auth::api_key;
use tidewire_auth::jwt::{JwksOptions, KeyFile};

use super::secret::Secret;

/// Everything under `auth`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Auth {
    /// Origins of pages that may come in: `https://app.example`, `https://*.app.example`, `null`, `*`.
    pub origins: Vec<Box<str>>,
    /// Names that this server may be called by, with a port where it is not the scheme's own. Empty: any.
    pub hosts: Vec<Box<str>>,
    /// Verifies tokens signed with HS256.
    pub hs256_secret: Option<Secret>,
    /// Verify tokens of one algorithm each.
    pub keys: Vec<KeyFile>,
    /// Where a key set (RFC 7517 section 5) is fetched. HTTPS, and never made of anything that a client sent (S12).
    pub jwks_url: Option<Box<str>>,
    /// Certificates in PEM that `jwks_url` is trusted by, in place of the public ones.
    pub jwks_ca: Option<PathBuf>,
    /// Whether `jwks_url` may lead to a private address (S16).
    pub jwks_allow_private: bool,
    /// What `iss` has to be (S14).
    pub issuer: Option<String>,
    /// What `aud` has to be or to hold (S14).
    pub audience: Option<String>,
    /// Keys of backends. The keys themselves are not here: only their hashes are stored (S50).
    pub api_keys: Vec<api_key::Entry>,
    /// The name of the cookie that holds a token.
    pub cookie: Option<Box<str>>,
    /// Whether pages of other allowed origins may send cookies (`Access-Control-Allow-Credentials`, S7).
    pub credentials: bool,
    /// Whether a token may stand in the query (S18).
    pub query_token: bool,
    /// The longest life of a token, from `iat` or from now to `exp` (S13).
    pub token_lifetime_max: Duration,
    /// How long a ticket waits to be spent (S19).
    pub ticket_ttl: Duration,
    /// Whether a ticket is good only at the address that bought it: its /24, or the /64 of IPv6 (S22).
    pub ticket_binds_address: bool,
}

impl Default for Auth {
    fn default() -> Auth {
        Auth {
            origins: Vec::new(),
            hosts: Vec::new(),
            hs256_secret: None,
            keys: Vec::new(),
            jwks_url: None,
            jwks_ca: None,
            jwks_allow_private: false,
            issuer: None,
            audience: None,
            api_keys: Vec::new(),
            cookie: None,
            credentials: false,
            query_token: false,
            token_lifetime_max: Duration::from_secs(86_400),
            ticket_ttl: Duration::from_secs(30),
            ticket_binds_address: false,
        }
    }
}

impl Auth {
    /// The keys of the table of which one at least lets credentials be verified.
    pub const VERIFIERS: [&'static str; 4] =
        ["auth.hs256_secret", "auth.keys", "auth.jwks_url", "auth.api_keys"];

    /// Whether any credential can be verified.
    #[must_use]
    pub fn verifies(&self) -> bool {
        self.hs256_secret.is_some()
            || !self.keys.is_empty()
            || self.jwks_url.is_some()
            || !self.api_keys.is_empty()
    }

    /// Where a key set is fetched and whom to trust on the way, if one is.
    #[must_use]
    pub fn jwks(&self) -> Option<JwksOptions> {
        let (allow_private, ca_file) = (self.jwks_allow_private, self.jwks_ca.clone());
        self.jwks_url.clone().map(|url| JwksOptions { url, allow_private, ca_file })
    }

    /// Whether every origin is allowed.
    #[must_use]
    pub fn allows_every_origin(&self) -> bool {
        self.origins.iter().any(|origin| **origin == *"*")
    }
}
