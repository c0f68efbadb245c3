//! Tokens: JSON Web Tokens (RFC 7519) signed as RFC 7515 says, and read as strictly as one can (security rules S11 to S17).
//!
//! ```text
//! text ──> Parts ───────> signature ────────> Claims
//!          header only    by a key whose      every claim of the right type,
//!                         algorithm we chose  and nothing before this line
//! ```
//!
//! Keys come from the configuration ([`source`]) or, for [`jwks`], from a URL that stands in the configuration. A token
//! chooses among them by name and can do nothing else: it brings no key, no address and no algorithm.

pub mod algorithm;
pub mod claims;
pub mod error;
pub mod generate;
mod json;
mod jwk;
pub mod jwks;
pub mod keys;
pub mod mint;
mod parts;
pub mod secret;
pub mod source;
pub mod verify;

#[cfg(test)]
mod tests;

pub use algorithm::Algorithm;
pub use claims::Rules;
pub use error::TokenError;
pub use jwks::{Fetching, Jwks, JwksOptions};
pub use keys::{Key, KeyError, KeySet};
pub use mint::{Draft, SigningKey};
pub use secret::Strength;
pub use source::KeyFile;
pub use verify::{Generation, Options, Verifier};
