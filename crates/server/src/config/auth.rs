//! What is set under `auth`: who may come in, and how that is verified. Gates are made of it.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::secret::{MASK, Secret};

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
    /// Keys of backends.
    pub api_keys: Vec<ApiKey>,
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

    /// Whether every origin is allowed.
    #[must_use]
    pub fn allows_every_origin(&self) -> bool {
        self.origins.iter().any(|origin| **origin == *"*")
    }

    /// The files that are read when the gate is made, each with the key that names it.
    pub(super) fn files(&self) -> impl Iterator<Item = (&'static str, &Path)> {
        let keys = self.keys.iter().map(|key| ("auth.keys", key.path()));
        keys.chain(self.jwks_ca.as_deref().map(|path| ("auth.jwks_ca", path)))
    }
}

/// A key that tokens are verified with. The algorithm is the configuration's, never the token's (S11).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyFile {
    /// A file with nothing but the key: PEM, or the secret of an HMAC.
    Key {
        /// What it verifies.
        algorithm: Algorithm,
        /// The `kid` of tokens that it verifies; nothing means those without one.
        kid: Option<Box<str>>,
        /// Where it lies.
        path: PathBuf,
    },
    /// A JWK or a set of them in JSON, which name their algorithms and ids themselves (RFC 7517).
    Jwk(PathBuf),
}

impl KeyFile {
    /// Where it lies.
    #[must_use]
    pub fn path(&self) -> &Path {
        match self {
            KeyFile::Key { path, .. } | KeyFile::Jwk(path) => path,
        }
    }
}

/// A signature algorithm of tokens (RFC 7518 section 3.1, RFC 8037 section 3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// HMAC with SHA-256.
    Hs256,
    /// HMAC with SHA-384.
    Hs384,
    /// HMAC with SHA-512.
    Hs512,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// RSASSA-PSS with SHA-256.
    Ps256,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// Ed25519.
    EdDsa,
}

impl Algorithm {
    /// Every algorithm.
    pub const ALL: [Algorithm; 7] = [
        Algorithm::Hs256,
        Algorithm::Hs384,
        Algorithm::Hs512,
        Algorithm::Rs256,
        Algorithm::Ps256,
        Algorithm::Es256,
        Algorithm::EdDsa,
    ];

    /// Its name in a token's `alg`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Algorithm::Hs256 => "HS256",
            Algorithm::Hs384 => "HS384",
            Algorithm::Hs512 => "HS512",
            Algorithm::Rs256 => "RS256",
            Algorithm::Ps256 => "PS256",
            Algorithm::Es256 => "ES256",
            Algorithm::EdDsa => "EdDSA",
        }
    }
}

/// The key of a backend. The key itself is not here: only its hash is stored (S50).
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey {
    /// Who uses it, for logs and as the publisher of idempotency keys.
    pub name: Box<str>,
    /// What it is good for.
    pub scopes: Scopes,
    /// The SHA-256 of the key as it is sent.
    pub sha256: [u8; 32],
}

/// What an API key is good for, on every channel that belongs to nobody.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scopes {
    /// To publish.
    pub publish: bool,
    /// To subscribe, with history and presence.
    pub subscribe: bool,
    /// To use the control API.
    pub admin: bool,
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = [(self.publish, "publish"), (self.subscribe, "subscribe"), (self.admin, "admin")];
        let held: Vec<&str> = all.into_iter().filter(|(held, _)| *held).map(|(_, scope)| scope).collect();
        f.write_str(&held.join("+"))
    }
}

impl ApiKey {
    /// As it is written in the configuration, hash included.
    #[must_use]
    pub fn entry(&self) -> String {
        let hex: String = self.sha256.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{}:{}:{hex}", self.name, self.scopes)
    }
}

impl fmt::Display for ApiKey {
    // The hash of a long random key gives nothing away; that of a short one can be guessed against.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{MASK}", self.name, self.scopes)
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for KeyFile {
    // As it is written in the configuration.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeyFile::Key { algorithm, kid, path } => {
                let path = path.display().to_string();
                let kid = match kid {
                    Some(kid) => format!("{kid}:"),
                    // A colon of the path must not be taken for the end of an id.
                    None if path.contains(':') => ":".into(),
                    None => String::new(),
                };
                write!(f, "{}:{kid}{path}", algorithm.name())
            }
            KeyFile::Jwk(path) => write!(f, "{}", path.display()),
        }
    }
}
