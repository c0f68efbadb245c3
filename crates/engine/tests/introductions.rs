//! Connections whose proxy says who the client is (PROXY protocol version 2, security rule S41).

#![allow(clippy::unwrap_used, reason = "a test may unwrap: its panic is its report")]

mod rig;

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};

use rig::{Rig, websocket};
use tidewire_engine::Proxies;
use tidewire_hub::limits::Limits;
use tidewire_transport::proxy_protocol::Malformed;

/// Believes its peers, or does not.
struct Front {
    trusted: bool,
    faults: Mutex<Vec<(SocketAddr, Malformed)>>,
}

impl Proxies for Front {
    fn introduces(&self, _peer: IpAddr) -> bool {
        self.trusted
    }

    fn failed(&self, peer: SocketAddr, fault: Malformed) {
        self.faults.lock().unwrap().push((peer, fault));
    }
}

fn rig(trusted: bool) -> (Rig, Arc<Front>) {
    let front = Arc::new(Front { trusted, faults: Mutex::default() });
    (Rig::behind(Limits::default(), Some(front.clone())), front)
}

/// A header with this command, family and addresses.
fn header(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
    let length = u16::try_from(block.len()).unwrap().to_be_bytes();
    [b"\r\n\r\n\0\r\nQUIT\n", &[0x20 | command, family][..], &length, block].concat()
}

/// Says that `client` has come over IPv4.
fn introduction(client: &str) -> Vec<u8> {
    let SocketAddr::V4(client) = address(client) else { panic!("over IPv4") };
    let ports = [client.port().to_be_bytes(), 80_u16.to_be_bytes()].concat();
    header(1, 0x11, &[&client.ip().octets()[..], &[10, 0, 0, 1], &ports].concat())
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn arrived(rig: &Rig) -> Vec<SocketAddr> {
    rig.plane.arrived.lock().unwrap().clone()
}

const CLIENT: &str = "203.0.113.7:4000";

/// What the rig's kernel says of everybody.
const PEER: &str = "127.0.0.1:1";

const STREAM: &[u8] = b"GET /c/a HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n";
const POLL: &[u8] = b"GET /c/a HTTP/1.1\r\nHost: localhost\r\n\r\n";
const OTHER: &[u8] = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n";

#[test]
fn s41_a_client_is_who_its_trusted_proxy_says_wherever_the_bytes_are_cut() {
    let bytes = [introduction(CLIENT), STREAM.to_vec()].concat();
    for at in 0..=bytes.len() {
        let (mut rig, _) = rig(true);
        let client = rig.client(&bytes[..at], usize::MAX);
        rig.pass(1_000);
        client.send(&bytes[at..]);
        rig.turns();
        assert_eq!(arrived(&rig), [address(CLIENT)], "cut at {at}");
        assert!(client.taken().starts_with("HTTP/1.1 200 OK\r\n"), "cut at {at}");
    }
}

#[test]
fn s41_every_request_of_a_connection_has_the_client_of_its_introduction() {
    let (mut rig, _) = rig(true);
    let client = rig.client(&[&introduction(CLIENT), POLL, POLL].concat(), usize::MAX);
    rig.pass(1_000);
    client.send(&websocket("a"));
    rig.turns();
    assert_eq!(arrived(&rig), [address(CLIENT); 3]);
    assert!(client.taken().contains("HTTP/1.1 101 "));
}

#[test]
fn s41_a_connection_that_is_handed_off_keeps_its_client_and_loses_its_header() {
    let (mut rig, _) = rig(true);
    rig.client(&[&introduction(CLIENT), OTHER].concat(), usize::MAX);
    rig.client(&[&introduction("198.51.100.1:1"), POLL, OTHER].concat(), usize::MAX);
    let expected = [CLIENT, "198.51.100.1:1"].map(|client| (address(client), OTHER.to_vec()));
    assert_eq!(*rig.handed_off.borrow(), expected);
}

#[test]
fn s41_the_proxys_own_connections_and_clients_without_an_address_are_the_peers() {
    let local = header(0, 0x11, &[0; 12]);
    for introduction in [local, header(1, 0, &[]), header(1, 0x31, &[0; 216])] {
        let (mut rig, _) = rig(true);
        rig.client(&[&introduction, STREAM].concat(), usize::MAX);
        rig.client(&[&introduction, OTHER].concat(), usize::MAX);
        assert_eq!(arrived(&rig), [address(PEER)]);
        assert_eq!(*rig.handed_off.borrow(), [(address(PEER), OTHER.to_vec())]);
    }
}

#[test]
fn s41_a_trusted_proxy_that_says_nothing_of_its_client_is_closed() {
    let version_1 = b"PROXY TCP4 203.0.113.7 10.0.0.1 4000 80\r\n".to_vec();
    let mut wrong = introduction(CLIENT);
    wrong[12] = 0x31;
    for bytes in [STREAM.to_vec(), version_1, wrong, header(1, 0x11, &[0; 600])] {
        let (mut rig, front) = rig(true);
        let client = rig.client(&[&bytes, STREAM].concat(), usize::MAX);
        assert!(client.is_closed() && client.taken().is_empty(), "whatever it is, it is no client");
        assert_eq!((arrived(&rig), rig.counters.protocol_errors.get()), (vec![], 1));
        assert_eq!(front.faults.lock().unwrap()[0].0, address(PEER));
    }
}

#[test]
fn s41_a_header_of_anybody_else_is_a_request_that_is_none() {
    let (mut rig, front) = rig(false);
    let client = rig.client(&[&introduction(CLIENT), STREAM].concat(), usize::MAX);
    assert!(client.taken().starts_with("HTTP/1.1 400 ") && client.is_finished());
    assert_eq!((arrived(&rig), front.faults.lock().unwrap().len()), (vec![], 0));
    rig.client(STREAM, usize::MAX);
    assert_eq!(arrived(&rig), [address(PEER)], "without one it is served");
}

#[test]
fn s33_an_introduction_buys_no_time() {
    let bytes = introduction(CLIENT);
    for sent in [0, 1, bytes.len() - 1, bytes.len()] {
        let (mut rig, _) = rig(true);
        let client = rig.client(&bytes[..sent], usize::MAX);
        rig.pass(4_900);
        assert!(!client.is_closed());
        rig.pass(200);
        assert!(client.is_closed(), "after {sent} bytes of an introduction and nothing else");
    }
    let (mut rig, _) = rig(true);
    let client = rig.client(&[&bytes, &STREAM[..9]].concat(), usize::MAX);
    rig.pass(9_900);
    assert!(client.taken().is_empty());
    rig.pass(200);
    assert!(client.taken().starts_with("HTTP/1.1 408 "));
}
