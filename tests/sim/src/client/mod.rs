//! Clients: subscribers that speak real bytes, come back after every cut, and misbehave by chance.

mod act;
mod hear;
mod life;

pub use life::{Around, Client};
