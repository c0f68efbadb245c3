//! Configuration: raw in many places, resolved in one. Flags beat the environment, which beats the file, which
//! beats the defaults; a key that does not exist is an error wherever it stands.
//!
//! ```text
//! Sources ──lay──> Settings + Places ──settle──> contradictions ──> Resolved
//! file, variables,  each value by its row        what follows       what a node is made of,
//! flags             in the table of keys         from others        and where it came from
//! ```

pub mod auth;
pub mod broker;
pub mod console;
mod contradictions;
mod credentials;
pub mod environment;
pub mod gate;
pub mod keys;
pub mod kinds;
pub mod machine;
pub mod manual;
pub mod namespace;
pub mod place;
pub mod production;
pub mod reference;
pub mod reload;
pub mod schema;
pub mod secret;
pub mod settings;
mod settle;
pub mod show;
pub mod sources;
pub mod tls;
pub mod units;

pub use auth::Auth;
pub use broker::BrokerSettings;
pub use console::{ConsoleSettings, is_hash};
pub use gate::Unusable;
pub use namespace::NamespaceSettings;
pub use place::{Place, Places};
pub use reload::Change;
pub use secret::Secret;
pub use settings::{Io, LogFormat, Settings};
pub use sources::{ConfigError, Resolved, Sources};
pub use tls::TlsSettings;
