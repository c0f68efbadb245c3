//! Configuration: raw in many places, resolved in one. Flags beat the environment, which beats the file, which
//! beats the defaults; a key that does not exist is an error wherever it stands.

pub mod keys;
pub mod machine;
pub mod settings;
pub mod sources;
mod units;

pub use settings::{Io, Settings};
pub use sources::{ConfigError, Sources};
