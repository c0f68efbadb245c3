//! Pure codecs: bytes in, values out, and back. Nothing here knows a socket, a clock or a runtime.
//!
//! ```text
//! IN    bytes --http1--> Head --request--> Request        what is asked, and of which channels
//!            '--post--> Post                              a publish that is simple enough
//!       bytes --framing--> checked bytes                  later requests of a kept-alive connection
//!       bytes --websocket::decode--> messages --v1--> what a client says
//! OUT   Message --encoding--> frame                       encoded once: sse, websocket::frame, envelope, poll
//!       Refusal --refusal--> response                     the same table for every transport
//! ```

#![forbid(unsafe_code)]

pub mod caller;
pub mod cookie;
pub mod encoding;
pub mod envelope;
pub mod forwarded;
pub mod framing;
pub mod head;
pub mod http1;
pub mod poll;
pub mod post;
pub mod presence;
pub mod proxy_protocol;
pub mod refusal;
pub mod request;
pub mod sse;
pub mod v1;
pub mod websocket;
