//! The control plane: it decides on everything the outlets report, and writes to no subscriber's socket.
//!
//! ```text
//! outlet --Event--> Plane --> gate (who may) --> broker (what happens) --Command--> the same outlet's inbox
//! ```
//!
//! [`Plane`] runs on the outlet's own thread. Nothing in it blocks: what the broker answers later goes on
//! from the broker's callback.

mod arrive;
mod frame;
mod joins;
pub mod passes;
mod plane;
mod post;
mod receive;
#[cfg(test)]
mod rig;

pub use plane::Plane;
