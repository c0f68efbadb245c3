//! The `tidewire.v1` subprotocol: JSON text frames, each with a `type` (`docs/protocol.md`, "tidewire.v1").
//!
//! ```text
//! client  subscribe {channels, cursor?}   unsubscribe {channels}   publish {channel, event?, data|base64, key?}
//!         presence {channel}   refresh {token}   ping              each may carry an id
//! server  ready  message  gap  presence  expired                   of its own accord
//!         ack {id, …}  error {id, code, detail}  pong {id}         in answer
//! ```

mod client;
mod fields;
mod server;

pub use client::{ClientFrame, ID_BYTES_MAX, Tagged, Token, V1Error, parse};
pub use server::{
    ack, ack_presence, ack_publish, ack_subscribe, error, expired, expired_channels, gap, message, pong,
    presence, ready,
};
