//! Live pages inside an [axum] application: Server-Sent Events, WebSocket and polling on one address, with order, resume
//! and gaps, and no process beside your own.
//!
//! ```
//! use axum::Router;
//! use axum::routing::get;
//! use tidewire::{Delivery, Grant, Refusal, Tidewire};
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let live = Tidewire::builder()
//!     .on_authorize(|asked| async move {
//!         // A session of yours; here, the cookie is the user.
//!         let user = asked.cookie("user").ok_or_else(Refusal::unauthorized)?;
//!         Ok(Grant::to(user).subscribe(["prices", "room:*"])?.publish(["room:*"])?)
//!     })
//!     .start()
//!     .await?;
//!
//! // `new EventSource("/live/c/prices")`, `new WebSocket("wss://…/live/c/room:1")`, `fetch("/live/c/prices?wait=25")`
//! let app: Router = Router::new().route("/", get(|| async { "hello" })).nest("/live", live.router());
//!
//! let mut prices = live.subscribe(["prices"]).await?;
//! let receipt = live.publish("prices", "EURUSD 1.0842").event("quote").key("q-1").await?;
//! if let Some(Delivery::Message(message)) = prices.next().await {
//!     assert_eq!((message.text(), message.id()), (Some("EURUSD 1.0842"), receipt.id));
//! }
//! # drop(app);
//! live.shutdown(std::time::Duration::from_secs(1)).await;
//! # Ok(())
//! # }
//! ```
//!
//! # A tour
//!
//! - **Set up** with [`Tidewire::builder`]: who comes in, what is kept, where. [`Builder::start`] gives a handle, whose
//!   clones are the same one.
//! - **Who comes in** is yours to decide, in [`Builder::on_authorize`]: you are shown the request ([`Asked`]: cookies, fields,
//!   what your own layers put into its extensions), and answer with a [`Grant`] or a [`Refusal`]. Before that, pages of other
//!   sites are sent away, so that nobody rides on your visitors' cookies (cross-site WebSocket hijacking). Nothing is open by
//!   default: without a decision it does not start.
//! - **Browsers** use what they have, on the addresses of [`Tidewire::router`]. What goes over the wire is the same as with a
//!   Tidewire server (`docs/protocol.md`), and so are its clients.
//! - **Publish** with [`Tidewire::publish`], from any task.
//! - **Listen** inside the process with [`Tidewire::subscribe`]: to log, to moderate, to answer.
//! - **Look** with [`Tidewire::history`] and [`Tidewire::presence`], and take rights back with
//!   [`Tidewire::revoke_subject`].
//! - **Leave** with [`Tidewire::shutdown`]: everybody is told to come back elsewhere, over the time that you give.
//!
//! # What is promised
//!
//! The same inside the process as outside it.
//!
//! 1. **Order.** On one channel every subscriber sees the same messages in the same order.
//! 2. **Resume.** Within what a channel keeps (1 000 messages for an hour, unless told otherwise), who comes back with a
//!    [`Cursor`] gets every message after it at least once; ids make duplicates visible.
//! 3. **Never silence.** Where anything may be missing there is a [`Gap`], which says where it goes on. That holds for slow
//!    subscribers, too: one whose queue is full goes on from the log, and hears of a gap where that no longer has what it missed.
//! 4. **Publish.** A receipt means stored. A time-out means unknown: repeat it with the same [`key`](Publish::key), and it
//!    happens once.
//!
//! Messages are kept in this process and end with it, unless [`Builder::redis`] names a Redis; then every node there,
//! application or server, is one of the same cluster.
//!
//! # Cargo features
//!
//! | feature | is on | what for |
//! |---|---|---|
//! | `http2` | by default | WebSockets over HTTP/2 (RFC 8441), where the application serves it |
//!
//! [axum]: https://docs.rs/axum

#![forbid(unsafe_code)]

mod access;
mod builder;
mod error;
mod front;
mod gate;
mod hearing;
mod live;
mod message;
mod publish;
mod subscriber;

/// The programs of the README compile.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

pub use access::{Action, Asked, Grant, PatternError, Refusal};
pub use builder::{Builder, Namespace};
pub use error::{Error, StartError};
pub use live::{Drained, History, Member, Page, Presence, Tidewire};
pub use message::{Cursor, Delivery, Gap, GapCause, Message};
pub use publish::{Payload, Publish, Receipt, Receivers};
pub use subscriber::{Subscriber, Subscription};
