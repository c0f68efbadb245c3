//! Introductions: what a trusted proxy says of a connection before its first request (security rule S41).
//!
//! A header counts as what comes before the first byte: it must be whole, and that byte here, in the same time that a
//! client has who comes without a proxy.

use std::net::SocketAddr;

use tidewire_transport::proxy_protocol::{Parsed, parse};

use crate::kernel::Kernel;

use super::slot::Phase;
use super::turn::Shard;

impl<K: Kernel> Shard<K> {
    /// Waits for a header first, if this connection comes from who sends one.
    pub(super) fn await_introduction(&mut self, index: u32) {
        let Some(proxies) = &self.proxies else { return };
        let slot = self.slots.at(index);
        if slot.socket.as_ref().is_some_and(|socket| proxies.introduces(self.kernel.peer(socket).ip())) {
            slot.phase = Phase::Unintroduced;
        }
    }

    /// `bytes` is everything that has arrived on this connection.
    pub(super) fn introduction_arrived(&mut self, index: u32, bytes: &[u8]) {
        match parse(bytes) {
            // At most `HEADER_BYTES_MAX`, or it would be whole or wrong.
            Ok(None) => self.slots.at(index).story().inbound = bytes.to_vec(),
            Ok(Some(Parsed { client, len })) => {
                let slot = self.slots.at(index);
                slot.phase = Phase::Head;
                slot.story().client = client.map(Box::new);
                if len < bytes.len() {
                    self.head_arrived(index, &bytes[len..]);
                }
            }
            Err(fault) => {
                self.counters.protocol_errors.add(1);
                let peer = self.client_of(index);
                if let Some((proxies, peer)) = self.proxies.as_ref().zip(peer) {
                    proxies.failed(peer, fault);
                }
                self.doom(index);
            }
        }
    }

    /// Who is at the other end, as its proxy said or as the kernel knows. Nothing where the connection has been given
    /// away.
    pub(super) fn client_of(&mut self, index: u32) -> Option<SocketAddr> {
        let slot = self.slots.at(index);
        let introduced = slot.story.as_ref().and_then(|story| story.client.as_deref().copied());
        introduced.or_else(|| slot.socket.as_ref().map(|socket| self.kernel.peer(socket)))
    }
}
