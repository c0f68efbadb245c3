//! WebSocket (RFC 6455): the handshake, frames to the client, frames from the client.
//!
//! ```text
//! OUT   payload --frame--> bytes           unmasked, never fragmented, shared by all subscribers
//! IN    bytes --decode--> Item             any split of the bytes gives the same items
//!                └─ utf8: text is refused at its first wrong byte, however it is cut
//! ```

pub mod decode;
pub mod frame;
pub mod handshake;
mod utf8;
