//! The console at `/admin`: figures, channels, connections and refusals, for whoever runs the server (security rule S51,
//! decision 25).
//!
//! ```text
//! request -> guard (is there a console, whose page asks, whose session is it) -> routes -> one file per answer
//!
//! pulse, each second:  counters -> figures -> a message on `$console` -> feed, a subscription like any other
//! ```
//!
//! | file | what is in it |
//! |---|---|
//! | `guard` | what every request passes, and what every answer says |
//! | `password`, `attempts`, `sessions`, `login` | who may come in |
//! | `figures`, `process`, `pulse` | what the node does, once a second |
//! | `feed` | live: figures, and the messages of a channel |
//! | `channels`, `connections`, `refusals` | what there is to look at, and to do |
//! | `files` | the page |

mod attempts;
mod channels;
mod connections;
mod console;
mod feed;
mod figures;
mod files;
mod guard;
mod login;
mod password;
mod pulse;
mod refusals;
mod routes;
mod sessions;

pub(crate) use console::CHANNEL;
pub use console::{Clients, Console, Parts};
pub use figures::Sources;
pub use password::{Passwords, random_password};
pub(crate) use pulse::beat;
pub(crate) use routes::routes;
