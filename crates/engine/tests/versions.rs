//! Connections that begin as those of HTTP/2 do (RFC 9113 section 3.4), which another server speaks.

#![allow(clippy::unwrap_used, reason = "a test may unwrap: its panic is its report")]

mod rig;

use rig::Rig;
use tidewire_hub::limits::Limits;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const POLL: &[u8] = b"GET /c/a HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// What has been handed off, byte for byte.
fn handed_off(rig: &Rig) -> Vec<Vec<u8>> {
    rig.handed_off.borrow().iter().map(|(_, bytes)| bytes.clone()).collect()
}

#[test]
fn a_preface_is_handed_off_wherever_it_is_cut() {
    for at in 1..PREFACE.len() {
        let mut rig = Rig::new(Limits::default());
        let client = rig.client(&PREFACE[..at], usize::MAX);
        rig.turns();
        client.send(&PREFACE[at..]);
        rig.turns();
        let handed_off = handed_off(&rig).concat();
        assert!(handed_off.len() >= at && PREFACE.starts_with(&handed_off), "cut at {at}");
    }
}

#[test]
fn a_preface_is_handed_off_where_its_bytes_come_one_by_one() {
    let mut rig = Rig::new(Limits::default());
    let client = rig.client(&PREFACE[..1], usize::MAX);
    for byte in &PREFACE[1..] {
        client.send(&[*byte]);
        rig.turns();
    }
    assert_eq!(handed_off(&rig), [b"PRI * HTTP/2.0\r\n"]);
}

#[test]
fn a_preface_behind_a_request_is_a_malformed_request() {
    for at in 0..PREFACE.len() {
        let mut rig = Rig::new(Limits::default());
        let client = rig.client(POLL, usize::MAX);
        rig.turns();
        assert!(client.taken().starts_with("HTTP/1.1 200 OK\r\n"));
        client.send(&PREFACE[..at]);
        rig.turns();
        client.send(&PREFACE[at..]);
        rig.turns();
        assert!(client.taken().contains("HTTP/1.1 400 "), "cut at {at}");
        assert!(handed_off(&rig).is_empty());
    }
}
