//! Ways: from where a client really comes, when trusted proxies stand between (security rule S41).

use std::net::IpAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use ipnet::IpNet;
use tidewire_transport::caller::Caller;
use tidewire_transport::forwarded;

/// The proxies that are believed.
#[derive(Debug, Default)]
pub struct Ways {
    trusted: ArcSwap<Vec<IpNet>>,
}

/// What is believed of the way of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Way {
    /// The client's address.
    pub client: IpAddr,
    /// Whether the client came over TLS.
    pub secure: bool,
}

impl Ways {
    /// Ways over these proxies. They name proxies, not the networks around them: whoever is in here is believed.
    #[must_use]
    pub fn new(trusted: Vec<IpNet>) -> Ways {
        Ways { trusted: ArcSwap::from_pointee(trusted) }
    }

    /// Believes these proxies from now on.
    pub fn trust(&self, trusted: Vec<IpNet>) {
        self.trusted.store(Arc::new(trusted));
    }

    /// Whether this address is a proxy that is believed.
    #[must_use]
    pub fn trusts(&self, peer: IpAddr) -> bool {
        let peer = peer.to_canonical();
        self.trusted.load().iter().any(|network| network.contains(&peer))
    }

    /// Looks through the proxies to who asks. `secure` says that the connection itself is TLS; what a trusted proxy says
    /// of the client's own counts for more.
    #[must_use]
    pub fn look(&self, peer: IpAddr, secure: bool, caller: &Caller) -> Way {
        let trusted = self.trusted.load();
        // Most servers have no proxy in front or one, and then this is all there is to it.
        if trusted.is_empty() {
            return Way { client: peer.to_canonical(), secure };
        }
        let trusts = |address: IpAddr| trusted.iter().any(|network| network.contains(&address));
        let [by_for, by_standard, by_proto] =
            [&caller.forwarded_for, &caller.forwarded, &caller.forwarded_proto]
                .map(|fields| fields.iter().map(AsRef::as_ref).collect::<Vec<&[u8]>>());
        Way {
            client: forwarded::client(peer, &by_for, &by_standard, trusts),
            secure: if trusts(peer.to_canonical()) && !(by_proto.is_empty() && by_standard.is_empty()) {
                forwarded::is_https(peer, &by_proto, &by_standard, trusts)
            } else {
                secure
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(trusted: &[&str], peer: &str, forwarded_for: &str) -> Way {
        let trusted = trusted.iter().map(|network| network.parse().unwrap()).collect();
        let forwarded_for = vec![forwarded_for.as_bytes().into()];
        let caller =
            Caller { forwarded_for, forwarded_proto: vec![b"https".as_slice().into()], ..Caller::default() };
        Ways::new(trusted).look(peer.parse().unwrap(), false, &caller)
    }

    #[test]
    fn s41_only_a_trusted_proxy_is_believed() {
        let believed = look(&["10.0.0.0/8"], "10.0.0.1", "203.0.113.7");
        assert_eq!(believed, Way { client: "203.0.113.7".parse().unwrap(), secure: true });
        for trusted in [&[][..], &["192.0.2.0/24"]] {
            let way = look(trusted, "10.0.0.1", "203.0.113.7");
            assert_eq!(way, Way { client: "10.0.0.1".parse().unwrap(), secure: false });
        }
    }

    #[test]
    fn s41_what_a_client_wrote_in_front_does_not_count() {
        let way = look(&["10.0.0.0/8"], "10.0.0.1", "127.0.0.1, 203.0.113.7, 10.0.0.2");
        assert_eq!(way.client, "203.0.113.7".parse::<IpAddr>().unwrap());
    }
}
