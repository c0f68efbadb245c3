//! Who is behind a proxy: nothing that a client writes reaches past what a trusted proxy appends to it (rule S41).
//!
//! Each line of the input is a header field.

#![no_main]

use std::cell::RefCell;
use std::net::{IpAddr, Ipv4Addr};

use libfuzzer_sys::fuzz_target;
use tidewire_transport::forwarded::{ELEMENTS_MAX, client, is_https, prefix};

const PEER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));

fuzz_target!(|bytes: &[u8]| {
    let lines: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
    for (x_forwarded_for, forwarded) in [(&lines[..], &[][..]), (&[][..], &lines[..])] {
        assert_eq!(client(PEER, x_forwarded_for, forwarded, |_| false), PEER);
        // Whom it asks about is the chain from the nearest on, and the last of it is the client.
        let chain = RefCell::new(Vec::new());
        let furthest = client(PEER, x_forwarded_for, forwarded, |address| {
            chain.borrow_mut().push(address);
            true
        });
        let chain = chain.into_inner();
        assert_eq!((chain.first(), chain.last()), (Some(&PEER), Some(&furthest)));
        assert!(
            chain.len() <= 1 + ELEMENTS_MAX && chain.iter().all(|address| address.to_canonical() == *address)
        );
        let nearest = client(PEER, x_forwarded_for, forwarded, |address| address == PEER);
        assert_eq!(nearest, chain.iter().find(|address| **address != PEER).copied().unwrap_or(PEER));
        assert_eq!(prefix(prefix(furthest)), prefix(furthest));
        let _ = is_https(PEER, x_forwarded_for, forwarded, |_| true);
    }

    let known: IpAddr = "2001:db8::9".parse().expect("an address");
    let plain = [bytes, b", [2001:db8::9]:80"].concat();
    assert_eq!(client(PEER, &[&plain], &[], |address| address == PEER), known);
    let quoted = [bytes, b", for=\"[2001:db8::9]:80\";host=\"a,b\";proto=http"].concat();
    assert_eq!(client(PEER, &[], &[&quoted], |address| address == PEER), known);
    assert!(!is_https(PEER, &[], &[&quoted], |_| true));
});
