//! Encodings: every way a message is written to subscribers.
//!
//! A message is encoded once for each way in use and the bytes are shared by all subscribers of that way: an id is the
//! same for everyone, nothing in a frame is personal. What it costs: one allocation of exactly the frame's size, a scan
//! for line breaks or escapes, one copy.

use tidewire_hub::message::Message;

use crate::sse::{self, Body, Style};
use crate::v1;
use crate::websocket::frame::{self, Opcode};

/// One way to write a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Encoding {
    /// An SSE block named by its publisher, on a stream that ends with the connection.
    SseSingle,
    /// An SSE block named by its channel, on a stream that ends with the connection.
    SseMulti,
    /// An SSE block that holds an envelope, on a stream that ends with the connection.
    SseEnvelope,
    /// [`Encoding::SseSingle`] as one chunk.
    SseSingleChunked,
    /// [`Encoding::SseMulti`] as one chunk.
    SseMultiChunked,
    /// [`Encoding::SseEnvelope`] as one chunk.
    SseEnvelopeChunked,
    /// A WebSocket frame that holds the payload as published, text or binary.
    WsRaw,
    /// A WebSocket text frame that holds a `tidewire.v1` `message`.
    WsV1,
}

impl Encoding {
    /// How many encodings there are.
    pub const COUNT: usize = 8;

    /// Its place, from 0, in an array of [`Encoding::COUNT`].
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }
}

const _: () = assert!(Encoding::WsV1.index() + 1 == Encoding::COUNT);

/// Writes `message` as one whole frame, chunk framing or WebSocket header included, in a buffer of exactly its size.
#[must_use]
pub fn encode(message: &Message, encoding: Encoding) -> Vec<u8> {
    let frame = match encoding {
        Encoding::SseSingle => sse::encode(message, Style::Single, Body::UntilClose),
        Encoding::SseMulti => sse::encode(message, Style::Multi, Body::UntilClose),
        Encoding::SseEnvelope => sse::encode(message, Style::Envelope, Body::UntilClose),
        Encoding::SseSingleChunked => sse::encode(message, Style::Single, Body::Chunked),
        Encoding::SseMultiChunked => sse::encode(message, Style::Multi, Body::Chunked),
        Encoding::SseEnvelopeChunked => sse::encode(message, Style::Envelope, Body::Chunked),
        Encoding::WsRaw => {
            let opcode = if message.payload.is_binary() { Opcode::Binary } else { Opcode::Text };
            frame::encode(opcode, message.payload.as_bytes())
        }
        Encoding::WsV1 => frame::encode(Opcode::Text, v1::message(message).as_bytes()),
    };
    debug_assert_eq!(frame.len(), frame.capacity(), "frames are kept by slow readers: no byte to spare");
    frame
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envelope::tests::{message, text};
    use bytes::Bytes;
    use proptest::prelude::*;
    use tidewire_hub::message::Payload;

    const ALL: [Encoding; Encoding::COUNT] = [
        Encoding::SseSingle,
        Encoding::SseMulti,
        Encoding::SseEnvelope,
        Encoding::SseSingleChunked,
        Encoding::SseMultiChunked,
        Encoding::SseEnvelopeChunked,
        Encoding::WsRaw,
        Encoding::WsV1,
    ];

    #[test]
    fn every_encoding_has_its_own_place() {
        assert_eq!(ALL.map(Encoding::index), [0, 1, 2, 3, 4, 5, 6, 7]);
    }

    #[test]
    fn a_raw_frame_is_the_payload_as_published() {
        assert_eq!(encode(&message(Some("trade"), text("hi")), Encoding::WsRaw), b"\x81\x02hi");
        let binary = Payload::binary(Bytes::from_static(b"\0\xff"));
        assert_eq!(encode(&message(None, binary), Encoding::WsRaw), b"\x82\x02\0\xff");
    }

    #[test]
    fn a_large_frame_takes_exactly_the_room_it_needs() {
        for payload in [Payload::binary(vec![0xff; 70_000].into()), text(&"\"\r\n".repeat(23_334))] {
            let message = message(Some("trade"), payload);
            for encoding in ALL {
                let frame = encode(&message, encoding);
                assert_eq!(frame.len(), frame.capacity(), "{encoding:?}");
            }
        }
    }

    proptest! {
        #[test]
        fn every_frame_takes_exactly_the_room_it_needs(content in any::<Vec<u8>>(), words in any::<String>()) {
            for payload in [Payload::binary(content.into()), text(&words)] {
                let message = message(None, payload);
                for encoding in ALL {
                    let frame = encode(&message, encoding);
                    prop_assert_eq!(frame.len(), frame.capacity());
                }
            }
        }
    }
}
