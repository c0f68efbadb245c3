//! How a peer is spoken to: the request that subscribes, and the POST that publishes.

use std::net::SocketAddrV4;

use crate::generator::PAYLOAD_BYTES;
use crate::payload::Payload;
use crate::peers::socket_io;
use tidewire_load::plan::Transport;

/// What differs between peers on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Subscribe and publish at `/c/CHANNEL`, the payload as it is. Also the dialect of Tidewire.
    Plain,
    /// Sessions inside WebSocket; publish as plain.
    SocketIo,
    /// Subscribe as plain; publish in JSON at a port of its own, which closes each connection after its answer.
    Pushpin,
}

/// Where and how one started peer is spoken to.
#[derive(Clone, Copy, Debug)]
pub struct Address {
    /// How.
    pub dialect: Dialect,
    /// How its subscribers listen.
    pub transport: Transport,
    /// Where they connect.
    pub subscribe: SocketAddrV4,
    /// Where it is published to.
    pub publish: SocketAddrV4,
}

impl Dialect {
    /// Whether one connection may publish again and again.
    pub fn keeps_publishers(self) -> bool {
        self != Dialect::Pushpin
    }

    /// How many subscribers that are to hear messages connect at a time. Of those that came at once, Pushpin was
    /// seen to accept some whom it then never sent anything.
    pub fn joining_max(self) -> usize {
        if self == Dialect::Pushpin { 1 } else { 64 }
    }
}

impl Address {
    /// What a subscriber of `channel` sends.
    pub fn request(&self, channel: usize) -> Vec<u8> {
        let asks = match self.transport {
            Transport::Sse => "Accept: text/event-stream\r\n",
            // The key is the example of RFC 6455, section 1.3: any will do, since the answer is not checked.
            Transport::WebSocket => {
                "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                 Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            }
            Transport::LongPoll | Transport::ShortPoll => "Accept: application/json\r\n",
        };
        let path = match self.dialect {
            Dialect::Plain | Dialect::Pushpin => format!("/c/{}", name(channel)),
            Dialect::SocketIo => socket_io::path(&name(channel)),
        };
        format!("GET {path} HTTP/1.1\r\nHost: {}\r\n{asks}\r\n", self.subscribe).into_bytes()
    }

    /// The POST that publishes one message to `channel`.
    pub fn post(&self, channel: usize, payload: Payload) -> Vec<u8> {
        let (payload, channel) = (payload.encode(PAYLOAD_BYTES), name(channel));
        let (path, kind, body) = match self.dialect {
            Dialect::Plain | Dialect::SocketIo => (format!("/c/{channel}"), "text/plain", payload),
            Dialect::Pushpin => {
                // Nothing in a payload needs to be escaped.
                let (format, before, after) = match self.transport {
                    Transport::Sse => ("http-stream", "data: ", "\\n\\n"),
                    Transport::WebSocket => ("ws-message", "", ""),
                    Transport::LongPoll | Transport::ShortPoll => ("http-response", "", ""),
                };
                let head = format!(
                    "{{\"items\":[{{\"channel\":\"{channel}\",\"formats\":{{\"{format}\":{{\"content\":\"{before}"
                );
                let body = [head.as_bytes(), &payload, after.as_bytes(), b"\"}}}]}"].concat();
                ("/publish/".to_owned(), "application/json", body)
            }
        };
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: {}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n",
            self.publish,
            body.len()
        );
        [head.as_bytes(), &body].concat()
    }
}

fn name(channel: usize) -> String {
    format!("bench-{channel}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(dialect: Dialect, transport: Transport) -> Address {
        let here: SocketAddrV4 = "127.0.0.1:8000".parse().unwrap();
        Address { dialect, transport, subscribe: here, publish: here }
    }

    #[test]
    fn a_post_announces_the_length_that_its_body_has() {
        for dialect in [Dialect::Plain, Dialect::SocketIo, Dialect::Pushpin] {
            for transport in [Transport::Sse, Transport::WebSocket] {
                let post = at(dialect, transport).post(7, Payload { run: 0, number: 1, due_ns: 2 });
                let post = String::from_utf8(post).unwrap();
                let (head, body) = post.split_once("\r\n\r\n").unwrap();
                assert!(head.ends_with(&format!("Content-Length: {}", body.len())), "{post}");
            }
        }
    }

    #[test]
    fn pushpin_is_told_what_to_write_on_a_stream_and_what_on_a_websocket() {
        let text = |transport| {
            String::from_utf8(
                at(Dialect::Pushpin, transport).post(7, Payload { run: 0, number: 1, due_ns: 2 }),
            )
            .unwrap()
        };
        assert!(text(Transport::Sse).contains(r#""http-stream":{"content":"data: bench "#));
        assert!(text(Transport::Sse).ends_with(r#".\n\n"}}}]}"#));
        assert!(text(Transport::WebSocket).contains(r#""ws-message":{"content":"bench "#));
    }
}
