//! Proxies that say who a client is before its first byte (PROXY protocol version 2, security rule S41).

use std::net::{IpAddr, SocketAddr};

use tidewire_transport::proxy_protocol::Malformed;

/// Who is believed when it says so. Called on the outlet's own thread: it must not block.
pub trait Proxies: Send + Sync {
    /// Whether every connection of this peer begins with a header. Asked once for each, when it is accepted: from
    /// anybody else a header is the beginning of a request that is none.
    fn introduces(&self, peer: IpAddr) -> bool;

    /// A connection of `peer` began with something else, and ends.
    fn failed(&self, peer: SocketAddr, fault: Malformed);
}
