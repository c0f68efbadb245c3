//! TLS: who this server says it is, and handshakes.
//!
//! ```text
//! files ──read──▶ Identities ──▶ rustls: certificate by name, ALPN, tickets ──▶ handshake ──▶ Line, Spoken
//!   ▲                 │ ▲
//!   └── looked at ◀───┘ │  what changed is read again; what cannot be used leaves what was
//!          acme ────────┘  what was ordered, with the feature of that name
//! ```

#[cfg(feature = "acme")]
mod acme;
#[cfg(not(feature = "acme"))]
#[path = "no_acme.rs"]
mod acme;
mod handshake;
mod identity;
mod self_signed;

pub(crate) use handshake::begins_tls;
pub use handshake::{Spoken, Tls};
pub use identity::{Identities, Unreadable};
