//! Listening sockets: their options are inherited by every accepted connection, so accepting costs one call.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use super::epoll::{check, owned};

/// Unsent bytes that the kernel holds for a socket before it counts as full: what waits in our queue can still be
/// judged, what waits in the kernel cannot.
const NOT_SENT_BYTES: i32 = 16 << 10;

/// A peer that acknowledges nothing for so long is gone, in milliseconds (security rule S35).
const USER_TIMEOUT_MS: i32 = 20_000;

/// Connections that may wait to be accepted; the kernel caps it at `net.core.somaxconn`.
const BACKLOG: i32 = 4_096;

/// Opens a listener. With `share_port` others may listen on the same address and the kernel spreads connections.
pub(crate) fn listen(address: SocketAddr, share_port: bool) -> io::Result<TcpListener> {
    let fd = bound(address, share_port)?;
    // SAFETY: no pointers.
    check(unsafe { libc::listen(fd.as_raw_fd(), BACKLOG) })?;
    Ok(TcpListener::from(fd))
}

/// A socket that has its address and does not listen: who connects to it is refused. `AddrInUse` where somebody listens.
pub(crate) fn bound(address: SocketAddr, share_port: bool) -> io::Result<OwnedFd> {
    let family = if address.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    // SAFETY: no pointers. The result is checked, and owned by nobody else.
    let fd = unsafe {
        owned(libc::socket(family, libc::SOCK_STREAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK, 0))?
    };
    set(&fd, libc::SOL_SOCKET, libc::SO_REUSEADDR, 1)?;
    if share_port {
        set(&fd, libc::SOL_SOCKET, libc::SO_REUSEPORT, 1)?;
    }
    set_inherited(&fd)?;
    bind(&fd, address)?;
    Ok(fd)
}

/// Makes a listener of somebody else's like one of ours.
pub(crate) fn adopt(listener: &TcpListener) -> io::Result<()> {
    set_inherited(listener)?;
    listener.set_nonblocking(true)
}

/// What every accepted connection inherits.
fn set_inherited(listener: &impl AsRawFd) -> io::Result<()> {
    set(listener, libc::IPPROTO_TCP, libc::TCP_NODELAY, 1)?;
    set(listener, libc::IPPROTO_TCP, libc::TCP_NOTSENT_LOWAT, NOT_SENT_BYTES)?;
    set(listener, libc::IPPROTO_TCP, libc::TCP_USER_TIMEOUT, USER_TIMEOUT_MS)
}

/// Takes one waiting connection, non-blocking from its first moment.
pub(crate) fn accept(listener: &TcpListener) -> io::Result<TcpStream> {
    let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: null addresses mean that the peer's is not wanted.
    let fd = check(unsafe {
        libc::accept4(listener.as_raw_fd(), std::ptr::null_mut(), std::ptr::null_mut(), flags)
    })?;
    // SAFETY: the descriptor was just returned and nobody else owns it.
    Ok(unsafe { TcpStream::from_raw_fd(fd) })
}

fn bind(fd: &OwnedFd, address: SocketAddr) -> io::Result<()> {
    let (pointer, length);
    let (v4, v6);
    match address {
        SocketAddr::V4(address) => {
            v4 = libc::sockaddr_in {
                sin_family: libc::AF_INET as libc::sa_family_t,
                sin_port: address.port().to_be(),
                sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(address.ip().octets()) },
                sin_zero: [0; 8],
            };
            (pointer, length) = ((&raw const v4).cast::<libc::sockaddr>(), size_of_val(&v4));
        }
        SocketAddr::V6(address) => {
            v6 = libc::sockaddr_in6 {
                sin6_family: libc::AF_INET6 as libc::sa_family_t,
                sin6_port: address.port().to_be(),
                sin6_flowinfo: address.flowinfo(),
                sin6_addr: libc::in6_addr { s6_addr: address.ip().octets() },
                sin6_scope_id: address.scope_id(),
            };
            (pointer, length) = ((&raw const v6).cast::<libc::sockaddr>(), size_of_val(&v6));
        }
    }
    // SAFETY: `pointer` points to a whole address of `length` bytes, which outlives the call.
    check(unsafe { libc::bind(fd.as_raw_fd(), pointer, length as libc::socklen_t) })?;
    Ok(())
}

pub(super) fn set(fd: &impl AsRawFd, level: i32, option: i32, value: i32) -> io::Result<()> {
    let length = size_of::<i32>() as libc::socklen_t;
    // SAFETY: `value` is an int that outlives the call, and `length` is its size.
    check(unsafe { libc::setsockopt(fd.as_raw_fd(), level, option, (&raw const value).cast(), length) })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asking_whether_a_port_is_taken_takes_nobody_in() {
        let address = listen("127.0.0.1:0".parse().unwrap(), true).unwrap().local_addr().unwrap();
        let asking = bound(address, false).unwrap();
        assert_eq!(TcpStream::connect(address).unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
        drop(asking);
        let _taken = listen(address, true).unwrap();
        assert_eq!(bound(address, false).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    }
}
