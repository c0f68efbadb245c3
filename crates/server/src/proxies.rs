//! Proxies that say who a client is before its first byte: the node's word on who is believed (security rule S41).

use std::net::{IpAddr, SocketAddr};

use tidewire_engine::Proxies;
use tidewire_transport::proxy_protocol::Malformed;

use crate::node::Node;

impl Proxies for Node {
    fn introduces(&self, peer: IpAddr) -> bool {
        self.ways.trusts(peer)
    }

    fn failed(&self, peer: SocketAddr, fault: Malformed) {
        tracing::debug!(%peer, %fault, "connection of a trusted proxy ended");
    }
}
