//! The PROXY protocol: what an encoder writes is read back at every split, and nothing else passes (rule S41).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use proptest::prelude::*;
use tidewire_transport::proxy_protocol::{HEADER_BYTES_MAX, Malformed, Parsed, parse};

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// A header with this block, whatever that means.
fn header(version_and_command: u8, family: u8, block: &[u8]) -> Vec<u8> {
    let length = u16::try_from(block.len()).expect("it fits a header").to_be_bytes();
    [SIGNATURE, &[version_and_command, family], &length, block].concat()
}

/// What a proxy writes for a client that came to `server`.
fn encode(client: SocketAddr, server: SocketAddr, tlvs: &[(u8, Vec<u8>)]) -> Vec<u8> {
    let (family, mut block) = match (client.ip(), server.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => (0x11, [from.octets(), to.octets()].concat()),
        (IpAddr::V6(from), IpAddr::V6(to)) => (0x21, [from.octets(), to.octets()].concat()),
        _ => panic!("one family for both"),
    };
    block.extend(client.port().to_be_bytes());
    block.extend(server.port().to_be_bytes());
    for (kind, value) in tlvs {
        block.push(*kind);
        block.extend(u16::try_from(value.len()).expect("it fits a TLV").to_be_bytes());
        block.extend(value);
    }
    header(0x21, family, &block)
}

/// Gives the outcome for these bytes, after seeing that every split has the same: more bytes are asked for up to the
/// one that settles it.
#[track_caller]
fn check(bytes: &[u8]) -> Result<Option<Parsed>, Malformed> {
    let whole = parse(bytes);
    let first = (0..=bytes.len()).map(|end| parse(&bytes[..end])).find(|outcome| *outcome != Ok(None));
    assert_eq!(first.unwrap_or(Ok(None)), whole, "{bytes:02x?}");
    if let Ok(Some(parsed)) = whole {
        assert!(parsed.len <= bytes.len().min(HEADER_BYTES_MAX));
        assert_eq!(parse(&bytes[..parsed.len - 1]), Ok(None), "not before its last byte");
    }
    whole
}

#[track_caller]
fn client_of(bytes: &[u8]) -> Option<SocketAddr> {
    let parsed = check(bytes).expect("the header is well-formed").expect("the header is whole");
    assert_eq!(parsed.len, bytes.len());
    parsed.client
}

#[test]
fn the_header_that_haproxy_sends_is_read() {
    let bytes =
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xac\x13\0\x01\xac\x13\0\x03\xa6\x52\0\x50GET / HTTP/1.1\r\n";
    let parsed = check(bytes).unwrap().unwrap();
    assert_eq!(parsed.client, Some("172.19.0.1:42578".parse().unwrap()));
    assert_eq!(&bytes[parsed.len..], b"GET / HTTP/1.1\r\n");
}

#[test]
fn a_client_over_ipv6_is_read_and_its_tlvs_are_skipped() {
    let (client, server) = ("[2001:db8::7]:5000".parse().unwrap(), "[2001:db8::1]:443".parse().unwrap());
    assert_eq!(client_of(&encode(client, server, &[])), Some(client));
    let tlvs = [(0x01, b"h2".to_vec()), (0x04, Vec::new()), (0xee, vec![0; 200])];
    assert_eq!(client_of(&encode(client, server, &tlvs)), Some(client));
}

#[test]
fn s41_an_ipv4_address_in_its_ipv6_form_is_the_ipv4_address() {
    let (mapped, server) = ("[::ffff:192.0.2.7]:1".parse().unwrap(), "[::1]:2".parse().unwrap());
    assert_eq!(client_of(&encode(mapped, server, &[])), Some("192.0.2.7:1".parse().unwrap()));
}

#[test]
fn what_is_no_tcp_client_leaves_the_peer_to_count() {
    // LOCAL: whatever its family and block, also ones that do not exist.
    for (family, block) in [(0x00, &b""[..]), (0x11, &[1; 12]), (0x21, &[1; 3]), (0xff, &[0xff; 520])] {
        assert_eq!(client_of(&header(0x20, family, block)), None, "{family:#04x}");
    }
    // UNSPEC: a block that nobody can tell apart into addresses and TLVs.
    assert_eq!(client_of(&header(0x21, 0x00, b"")), None);
    assert_eq!(client_of(&header(0x21, 0x00, &[0xff; 7])), None);
    // UDP and UNIX sockets.
    for (family, bytes) in [(0x12, 12), (0x22, 36), (0x31, 216), (0x32, 216)] {
        assert_eq!(client_of(&header(0x21, family, &vec![1; bytes])), None, "{family:#04x}");
        assert_eq!(
            check(&header(0x21, family, &vec![1; bytes - 1])),
            Err(Malformed::TooShort { bytes: bytes - 1 })
        );
    }
}

#[test]
fn s41_what_is_not_the_protocol_is_told_at_its_first_byte() {
    for other in
        [&b"GET / HTTP/1.1\r\n"[..], b"\x16\x03\x01", b"\0", b"\n", b"POST /", b"PRI * HTTP/2.0", b"proxy "]
    {
        let at = other.iter().zip(SIGNATURE).position(|(have, want)| have != want).unwrap();
        assert_eq!(check(other), Err(Malformed::NotProxy { at }), "{other:?}");
    }
    for at in 0..SIGNATURE.len() {
        let mut bytes = encode("192.0.2.1:1".parse().unwrap(), "192.0.2.2:2".parse().unwrap(), &[]);
        bytes[at] ^= 0x20;
        assert_eq!(check(&bytes), Err(Malformed::NotProxy { at }));
        assert_eq!(parse(&bytes[..at]), Ok(None));
        assert_eq!(parse(&bytes[..=at]), Err(Malformed::NotProxy { at }));
    }
}

#[test]
fn s41_version_1_is_refused_by_name() {
    let text = b"PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\n";
    assert_eq!(check(text), Err(Malformed::Version1));
    assert!(Malformed::Version1.to_string().contains("send-proxy-v2"));
    assert_eq!(check(b"PROXY"), Ok(None), "until its name is whole");
    assert_eq!(check(b"PROXI"), Err(Malformed::NotProxy { at: 0 }));
}

#[test]
fn s41_malformed_headers_are_refused() {
    let block = [1; 12];
    for (version_and_command, error) in [
        (0x00, Malformed::Version(0)),
        (0x11, Malformed::Version(1)),
        (0x31, Malformed::Version(3)),
        (0x22, Malformed::Command(2)),
        (0x2f, Malformed::Command(15)),
    ] {
        assert_eq!(check(&header(version_and_command, 0x11, &block)), Err(error));
    }
    for family in [0x01, 0x10, 0x13, 0x20, 0x30, 0x33, 0x41, 0xff] {
        assert_eq!(check(&header(0x21, family, &block)), Err(Malformed::Family(family)));
    }
    assert_eq!(check(&header(0x21, 0x11, &block[1..])), Err(Malformed::TooShort { bytes: 11 }));
    assert_eq!(check(&header(0x21, 0x21, &[1; 35])), Err(Malformed::TooShort { bytes: 35 }));
    for tlvs in
        [&b"\x04"[..], b"\x04\0", b"\x04\0\x01", b"\x04\0\0\x04", b"\x04\xff\xff", b"\x04\0\x02ab\x04\0\x02a"]
    {
        assert_eq!(check(&header(0x21, 0x11, &[&block, tlvs].concat())), Err(Malformed::Tlvs), "{tlvs:?}");
    }
}

#[test]
fn s41_a_header_beyond_its_bound_is_refused_before_it_comes() {
    let fits = header(0x20, 0x00, &[0; HEADER_BYTES_MAX - 16]);
    assert_eq!(check(&fits).unwrap().unwrap().len, HEADER_BYTES_MAX);
    for command in [0x20, 0x21] {
        for length in [521_u16, 768, u16::MAX] {
            let start = [SIGNATURE, &[command, 0x11], &length.to_be_bytes()].concat();
            assert_eq!(check(&start), Err(Malformed::TooLong { bytes: 16 + usize::from(length) }));
        }
    }
}

fn addresses() -> impl Strategy<Value = (SocketAddr, SocketAddr)> {
    let v4 = any::<([u8; 4], [u8; 4])>()
        .prop_map(|(from, to)| (Ipv4Addr::from(from).into(), Ipv4Addr::from(to).into()));
    let v6 = any::<([u8; 16], [u8; 16])>()
        .prop_map(|(from, to)| (Ipv6Addr::from(from).into(), Ipv6Addr::from(to).into()));
    (prop_oneof![v4, v6], any::<(u16, u16)>())
        .prop_map(|((from, to), ports): ((IpAddr, IpAddr), _)| ((from, ports.0).into(), (to, ports.1).into()))
}

/// Bytes that come close to a header.
fn nearly() -> impl Strategy<Value = Vec<u8>> {
    let start = prop_oneof![
        8 => Just(SIGNATURE.to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..14),
        1 => Just(b"PROXY TCP4 ".to_vec()),
    ];
    let fixed =
        (prop_oneof![Just(0x20), Just(0x21), any::<u8>()], prop_oneof![Just(0x11), Just(0x21), any::<u8>()]);
    (start, fixed, 0_u16..600, prop::collection::vec(prop_oneof![Just(0), any::<u8>()], 0..600)).prop_map(
        |(start, (command, family), length, block)| {
            [&start[..], &[command, family], &length.to_be_bytes(), &block].concat()
        },
    )
}

proptest! {
    #[test]
    fn s41_what_an_encoder_writes_is_read_back(
        (client, server) in addresses(),
        tlvs in prop::collection::vec((any::<u8>(), prop::collection::vec(any::<u8>(), 0..40)), 0..8),
        rest in prop::collection::vec(any::<u8>(), 0..20),
    ) {
        let bytes = encode(client, server, &tlvs);
        let parsed = check(&[&bytes[..], &rest].concat()).unwrap().unwrap();
        let canonical = SocketAddr::new(client.ip().to_canonical(), client.port());
        prop_assert_eq!(parsed, Parsed { client: Some(canonical), len: bytes.len() });
    }

    #[test]
    fn s41_no_bytes_panic_and_no_cut_matters(bytes in nearly()) {
        let _ = check(&bytes);
    }
}
