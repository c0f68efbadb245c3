//! The PROXY protocol, version 2: what a balancer says about a connection before the client's first byte
//! (haproxy's `proxy-protocol.txt`, section 2.2; security rule S41).
//!
//! ```text
//! 12 bytes       1                1                   2        length bytes
//! +-----------+------------------+-------------------+--------+-----------+------+
//! | signature | version, command | family, transport | length | addresses | TLVs |
//! +-----------+------------------+-------------------+--------+-----------+------+
//! ```
//!
//! The protocol has no secret: who may connect may claim any address. A header is to be read on listeners that expect
//! one, from peers that are configured as proxies, and nowhere else; such a listener must not serve a connection
//! without one, or a client that reaches it directly could leave it out, or write it, as it likes.
//!
//! Sketch: 28 bytes for a client over IPv4, read where they lie; no allocation, one pass.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// A header that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parsed {
    /// The client, as the proxy saw it; an IPv4 address in its IPv6 form is the IPv4 address.
    ///
    /// Nothing where the connection is the proxy's own, such as its health check (`LOCAL`), and where the client did
    /// not come over TCP and IP (`UNSPEC`; UDP and UNIX sockets fall back to it, as the protocol asks of receivers that
    /// know no others). The peer's own address counts then.
    pub client: Option<SocketAddr>,
    /// How many bytes the header takes, at most [`HEADER_BYTES_MAX`]. The client's first byte follows.
    pub len: usize,
}

/// Reads the header at the start of `bytes`. `None` asks for more bytes: call again with the same ones and what came
/// after.
///
/// The outcome does not depend on how the bytes were cut into pieces. TLVs are skipped, and must fill the header
/// exactly; their checksum is not looked at, since TCP has one. Of a header whose addresses mean nothing (`LOCAL` and
/// `UNSPEC`), only the length counts.
///
/// # Errors
/// [`Malformed::NotProxy`] at the first byte that differs from the signature, so that a client that speaks HTTP or TLS is
/// not waited for; only what begins like version 1 is read up to its name, to say so. The others are offences of a
/// proxy. What follows has no meaning: close the connection.
pub fn parse(bytes: &[u8]) -> Result<Option<Parsed>, Malformed> {
    let Some(fixed) = bytes.first_chunk::<FIXED_BYTES>() else {
        return check_start(bytes).map(|()| None);
    };
    check_start(fixed)?;
    let block_bytes = usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
    let len = FIXED_BYTES + block_bytes;
    if len > HEADER_BYTES_MAX {
        return Err(Malformed::TooLong { bytes: len });
    }
    let family = if fixed[12] & 0xf == LOCAL { Family::Unspecified } else { Family::of(fixed[13])? };
    let address_bytes = family.address_bytes();
    if block_bytes < address_bytes {
        return Err(Malformed::TooShort { bytes: block_bytes });
    }
    let Some(block) = bytes.get(FIXED_BYTES..len) else { return Ok(None) };
    let (addresses, tlvs) = block.split_at(address_bytes);
    if family != Family::Unspecified {
        check_tlvs(tlvs)?;
    }
    Ok(Some(Parsed { client: family.client(addresses), len }))
}

/// The most bytes a header may have. 536 fit the smallest segment that TCP promises to carry, so that a header comes in
/// one; a proxy that sends more than addresses and a few TLVs is misconfigured.
pub const HEADER_BYTES_MAX: usize = 536;

/// Why bytes are not a header of version 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// They are something else altogether: the client reached this listener without its proxy, or the proxy does not
    /// send the header.
    NotProxy {
        /// The first byte, from 0, that is not the signature's.
        at: usize,
    },
    /// They begin like version 1, which is text.
    Version1,
    /// The version is not 2.
    Version(u8),
    /// The command is neither `LOCAL` nor `PROXY`.
    Command(u8),
    /// The address family and transport are none that the protocol knows.
    Family(u8),
    /// The header is longer than [`HEADER_BYTES_MAX`].
    TooLong {
        /// How many bytes it has.
        bytes: usize,
    },
    /// The header ends inside its addresses.
    TooShort {
        /// How many bytes there are for them.
        bytes: usize,
    },
    /// The TLVs do not end where the header does.
    Tlvs,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Malformed::NotProxy { .. } => {
                f.write_str("expected a PROXY protocol version 2 header; does the proxy send one here?")
            }
            Malformed::Version1 => f.write_str(
                "expected version 2 of the PROXY protocol and got version 1; in HAProxy it is `send-proxy-v2`",
            ),
            Malformed::Version(version) => write!(f, "the PROXY header's version is {version}, not 2"),
            Malformed::Command(command) => {
                write!(f, "the PROXY header's command is {command}, not 0 (LOCAL) or 1 (PROXY)")
            }
            Malformed::Family(family) => {
                write!(f, "the PROXY header's address family is {family:#04x}, which does not exist")
            }
            Malformed::TooLong { bytes } => {
                write!(f, "the PROXY header has {bytes} bytes; {HEADER_BYTES_MAX} is the most")
            }
            Malformed::TooShort { bytes } => {
                write!(f, "the PROXY header has {bytes} bytes of addresses, too few for their family")
            }
            Malformed::Tlvs => f.write_str("the PROXY header's TLVs do not end where the header does"),
        }
    }
}

impl std::error::Error for Malformed {}

/// Judges as much of the first [`FIXED_BYTES`] bytes as there is, from left to right, but for the length.
fn check_start(bytes: &[u8]) -> Result<(), Malformed> {
    if let Some(at) = bytes.iter().zip(SIGNATURE).position(|(have, want)| have != want) {
        let is_version_1 = at == 0 && bytes.iter().zip(VERSION_1).all(|(have, want)| have == want);
        return match bytes.len() {
            _ if !is_version_1 => Err(Malformed::NotProxy { at }),
            len if len < VERSION_1.len() => Ok(()),
            _ => Err(Malformed::Version1),
        };
    }
    let Some(&version_and_command) = bytes.get(SIGNATURE.len()) else { return Ok(()) };
    match (version_and_command >> 4, version_and_command & 0xf) {
        (2, LOCAL) => return Ok(()),
        (2, PROXY) => {}
        (2, command) => return Err(Malformed::Command(command)),
        (version, _) => return Err(Malformed::Version(version)),
    }
    bytes.get(SIGNATURE.len() + 1).map_or(Ok(()), |family| Family::of(*family).map(|_| ()))
}

/// What the address block holds.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Family {
    Unspecified,
    Tcp4,
    Tcp6,
    /// Addresses that are none of a TCP client, and how many bytes they take.
    Other(usize),
}

impl Family {
    fn of(byte: u8) -> Result<Family, Malformed> {
        match byte {
            0x00 => Ok(Family::Unspecified),
            0x11 => Ok(Family::Tcp4),
            0x21 => Ok(Family::Tcp6),
            0x12 => Ok(Family::Other(IPV4_BYTES)),
            0x22 => Ok(Family::Other(IPV6_BYTES)),
            0x31 | 0x32 => Ok(Family::Other(UNIX_BYTES)),
            _ => Err(Malformed::Family(byte)),
        }
    }

    fn address_bytes(self) -> usize {
        match self {
            Family::Unspecified => 0,
            Family::Tcp4 => IPV4_BYTES,
            Family::Tcp6 => IPV6_BYTES,
            Family::Other(bytes) => bytes,
        }
    }

    /// The source of the connection. Source address, destination address, source port, destination port stand in this
    /// order.
    fn client(self, addresses: &[u8]) -> Option<SocketAddr> {
        let (ip, ports) = match self {
            Family::Tcp4 => {
                let (ip, rest) = addresses.split_first_chunk::<4>()?;
                (IpAddr::V4(Ipv4Addr::from(*ip)), rest.get(4..)?)
            }
            Family::Tcp6 => {
                let (ip, rest) = addresses.split_first_chunk::<16>()?;
                (IpAddr::V6(Ipv6Addr::from(*ip)), rest.get(16..)?)
            }
            Family::Unspecified | Family::Other(_) => return None,
        };
        let port = ports.first_chunk::<2>()?;
        Some(SocketAddr::new(ip.to_canonical(), u16::from_be_bytes(*port)))
    }
}

/// Walks over `type, length, value` triples. Their number is bounded by the header's bytes.
fn check_tlvs(mut tlvs: &[u8]) -> Result<(), Malformed> {
    while !tlvs.is_empty() {
        let ([_, high, low], rest) = tlvs.split_first_chunk().ok_or(Malformed::Tlvs)?;
        let value_bytes = usize::from(u16::from_be_bytes([*high, *low]));
        tlvs = rest.get(value_bytes..).ok_or(Malformed::Tlvs)?;
    }
    Ok(())
}

/// No HTTP request and no TLS hello begins like this.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// How version 1 begins.
const VERSION_1: &[u8; 6] = b"PROXY ";

/// Signature, version and command, family and transport, length.
const FIXED_BYTES: usize = 16;

const LOCAL: u8 = 0;
const PROXY: u8 = 1;

const IPV4_BYTES: usize = 2 * 4 + 2 * 2;
const IPV6_BYTES: usize = 2 * 16 + 2 * 2;
const UNIX_BYTES: usize = 2 * 108;

const _: () = assert!(FIXED_BYTES + UNIX_BYTES <= HEADER_BYTES_MAX, "every family's addresses fit a header");
