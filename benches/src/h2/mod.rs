//! As much of HTTP/2 as a client of event streams needs (RFC 9113): no more, so that it is the server that is measured.
//!
//! ```text
//!   bytes -> Connection -> (stream, what it saw)        frames: headers of frames, a request as HPACK has it
//!                └-> bytes to send: settings, requests, acknowledgements, windows
//! ```

mod connection;
pub mod frames;

pub use connection::Connection;
pub use frames::request;
