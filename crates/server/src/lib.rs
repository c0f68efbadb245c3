//! The control plane: configuration, HTTP API, metrics, pages. The only room that knows all the others.
//!
//! ```text
//! sockets ──> event loops (engine) ──Event──> control ──> gate, broker ──Command──> the same event loops
//!                  │ what is no subscription                  ^
//!                  v                                          │ publish
//!                http ──> guard ──> hyper ──> api ────────────┘
//!                                              │ subscriptions on hyper's connections
//!                                              └──> pipes ──> one more event loop
//! ```
//!
//! [`serve`] puts all of it together and reads like a contents page.

#![forbid(unsafe_code)]

pub mod admin;
pub mod api;
pub mod assembly;
mod brokers;
pub mod census;
pub mod clock;
pub mod config;
pub mod control;
pub mod crowd;
#[cfg(feature = "demo")]
pub mod demo;
#[cfg(not(feature = "demo"))]
#[path = "no_demo.rs"]
pub mod demo;
pub mod drain;
pub mod entrance;
pub mod errors;
pub mod health;
pub mod http;
pub mod inquiry;
mod life;
pub mod line;
pub mod listeners;
#[cfg(unix)]
pub mod manager;
#[cfg(not(unix))]
#[path = "no_manager.rs"]
pub mod manager;
pub mod metrics;
pub mod node;
pub mod outlets;
mod posts;
pub mod presence;
pub mod private;
mod process;
mod proxies;
pub mod publishes;
pub mod ready_box;
pub mod refusals;
pub mod reload;
pub mod serve;
pub mod shared;
pub mod signals;
pub mod spans;
pub mod tls;
pub mod turned_away;
pub mod ways;

pub use config::Settings;
pub use reload::Surroundings;
pub use serve::{Fatal, run};
