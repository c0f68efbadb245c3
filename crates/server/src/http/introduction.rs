//! Introductions: what a trusted proxy says of a connection before its first request (security rule S41), on listeners
//! that no event loop has. It buys no time: it must be whole, and a byte of the request here, when the first byte is due.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tidewire_engine::Proxies;
use tidewire_transport::proxy_protocol::{self, HEADER_BYTES_MAX};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use super::Incoming;

/// Reads the header that a connection of `peer` begins with, and perhaps some of what follows. Nothing where it is to
/// be closed without a word.
pub(super) async fn read(
    socket: std::net::TcpStream,
    peer: SocketAddr,
    first_due: Duration,
    proxies: &dyn Proxies,
) -> Option<Incoming> {
    let due = Instant::now() + first_due;
    let mut socket = TcpStream::from_std(socket).ok()?;
    let mut bytes = BytesMut::with_capacity(HEADER_BYTES_MAX);
    let parsed = loop {
        if timeout_at(due, socket.read_buf(&mut bytes)).await.ok()?.ok()? == 0 {
            return None;
        }
        match proxy_protocol::parse(&bytes) {
            Ok(Some(parsed)) => break parsed,
            // A header is never longer than there is room for, so there is room for its rest.
            Ok(None) => {}
            Err(fault) => {
                proxies.failed(peer, fault);
                return None;
            }
        }
    };
    Some(Incoming {
        socket: socket.into_std().ok()?,
        client: parsed.client.unwrap_or(peer),
        bytes: Bytes::copy_from_slice(&bytes[parsed.len..]),
        first_due: due.saturating_duration_since(Instant::now()),
    })
}
