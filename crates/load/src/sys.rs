//! The system calls that the standard library has no name for: the only unsafe code of this crate.

use std::io;
use std::mem::size_of_val;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::ptr;
use std::time::Duration;

/// An epoll set: each descriptor carries one number, its token.
pub struct Epoll {
    set: OwnedFd,
    events: Vec<libc::epoll_event>,
}

/// What a descriptor waits for. An error or an end wakes it in either case.
#[derive(Clone, Copy)]
pub enum Interest {
    /// Bytes to read. Ready again in every turn until all are read.
    Readable = libc::EPOLLIN as isize,
    /// Bytes that were not there before. Not looked at again before more arrive, which saves half of the kernel's
    /// work for a turn; so whoever fills a buffer has to read on.
    Arrivals = (libc::EPOLLIN | libc::EPOLLET) as isize,
    /// Room to write, which is also how a connect ends.
    Writable = libc::EPOLLOUT as isize,
}

impl Epoll {
    /// An empty set that hands out at most `turn_max` events a turn.
    pub fn new(turn_max: usize) -> io::Result<Epoll> {
        // SAFETY: takes no pointers; a negative result is turned into an error.
        let fd = check(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
        // SAFETY: the kernel has just made this descriptor and nobody else holds it.
        let set = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(Epoll { set, events: vec![libc::epoll_event { events: 0, u64: 0 }; turn_max] })
    }

    /// Watches `source`. Closing the last descriptor of a socket ends the watch.
    pub fn add(&self, source: &impl AsFd, token: u64, interest: Interest) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, source, token, interest)
    }

    /// Changes what `source` waits for.
    pub fn change(&self, source: &impl AsFd, token: u64, interest: Interest) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_MOD, source, token, interest)
    }

    /// Fills `tokens` with those that are ready, after `timeout` (nanosecond resolution) with none.
    pub fn wait(&mut self, tokens: &mut Vec<u64>, timeout: Option<Duration>) -> io::Result<()> {
        tokens.clear();
        let room = i32::try_from(self.events.len()).unwrap_or(i32::MAX);
        let limit = timeout.map(|t| libc::timespec {
            tv_sec: i64::try_from(t.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(t.subsec_nanos()),
        });
        let limit = limit.as_ref().map_or(ptr::null(), ptr::from_ref);
        // SAFETY: `events` has `room` entries to write to; `limit` is null or points to a timespec that lives
        // until the end of this function; a null signal mask leaves signals as they are.
        let count = check(unsafe {
            libc::epoll_pwait2(self.set.as_raw_fd(), self.events.as_mut_ptr(), room, limit, ptr::null())
        });
        match count {
            Ok(count) => {
                let count = usize::try_from(count).unwrap_or(0);
                tokens.extend(self.events.iter().take(count).map(|event| event.u64));
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn control(&self, operation: i32, source: &impl AsFd, token: u64, interest: Interest) -> io::Result<()> {
        let mut event = libc::epoll_event { events: interest as u32, u64: token };
        let fd = source.as_fd().as_raw_fd();
        // SAFETY: both descriptors are open, since they are borrowed; the event is read before the call returns.
        check(unsafe { libc::epoll_ctl(self.set.as_raw_fd(), operation, fd, &raw mut event) }).map(drop)
    }
}

/// Begins a connection from `source`, whose port the kernel picks at connect time: so one source address has
/// 28 000 ports for each server, not for all of them. The socket is non-blocking and becomes writable at the end.
pub fn connect_from(source: Ipv4Addr, target: SocketAddrV4) -> io::Result<TcpStream> {
    let kind = libc::SOCK_STREAM | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: takes no pointers; a negative result is turned into an error.
    let fd = check(unsafe { libc::socket(libc::AF_INET, kind, 0) })?;
    // SAFETY: the kernel has just made this descriptor and nobody else holds it.
    let socket = TcpStream::from(unsafe { OwnedFd::from_raw_fd(fd) });
    set_option(&socket, libc::IPPROTO_IP, libc::IP_BIND_ADDRESS_NO_PORT, 1)?;
    set_option(&socket, libc::IPPROTO_TCP, libc::TCP_NODELAY, 1)?;
    let (from, to) = (address(SocketAddrV4::new(source, 0)), address(target));
    let length = size_of_val(&from) as libc::socklen_t;
    // SAFETY: `from` is a whole sockaddr_in of `length` bytes, read before the call returns.
    check(unsafe { libc::bind(fd, (&raw const from).cast(), length) })?;
    // SAFETY: as above, for `to`.
    match check(unsafe { libc::connect(fd, (&raw const to).cast(), length) }) {
        Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => Err(error),
        _ => Ok(socket),
    }
}

/// Has closing this socket reset the connection at once, with whatever was on its way (`SO_LINGER` of zero).
pub fn reset_on_close(socket: &TcpStream) -> io::Result<()> {
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    let length = size_of_val(&linger) as libc::socklen_t;
    let fd = socket.as_raw_fd();
    // SAFETY: `linger` is a whole linger of `length` bytes, read before the call returns.
    check(unsafe {
        libc::setsockopt(fd, libc::SOL_SOCKET, libc::SO_LINGER, (&raw const linger).cast(), length)
    })
    .map(drop)
}

/// Accepts one connection, non-blocking from its first moment: one call, where the standard library needs two.
pub fn accept(listener: &TcpListener) -> io::Result<TcpStream> {
    let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: null pointers say that the peer's address is not asked for.
    let fd = check(unsafe { libc::accept4(listener.as_raw_fd(), ptr::null_mut(), ptr::null_mut(), flags) })?;
    // SAFETY: the kernel has just made this descriptor and nobody else holds it.
    Ok(TcpStream::from(unsafe { OwnedFd::from_raw_fd(fd) }))
}

/// Lets `queue` connections wait to be accepted, and gives every accepted socket `TCP_NODELAY`, which Linux
/// inherits from the listener.
pub fn prepare_listener(listener: &TcpListener, queue: i32) -> io::Result<()> {
    set_option(listener, libc::IPPROTO_TCP, libc::TCP_NODELAY, 1)?;
    // SAFETY: the descriptor is open, since it is borrowed; listening again only changes the queue's length.
    check(unsafe { libc::listen(listener.as_raw_fd(), queue) }).map(drop)
}

/// Keeps this thread, and whatever it starts from now on, on one core.
pub fn pin_to_core(core: usize) -> io::Result<()> {
    // SAFETY: a cpu_set_t is an array of integers, for which all zeros is the empty set.
    let mut cores: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    if core >= 8 * size_of_val(&cores) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "no such core"));
    }
    // SAFETY: the line above keeps `core` inside the set.
    unsafe { libc::CPU_SET(core, &mut cores) };
    // SAFETY: the set is read before the call returns; 0 means this thread.
    check(unsafe { libc::sched_setaffinity(0, size_of_val(&cores), &raw const cores) }).map(drop)
}

/// Raises the limit of open files to what the system allows, for this process and its children, and returns it.
pub fn raise_open_files() -> io::Result<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is a whole rlimit to write to.
    check(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) })?;
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: `limit` is read before the call returns.
    check(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) })?;
    Ok(limit.rlim_cur)
}

fn set_option(socket: &impl AsFd, level: i32, name: i32, value: i32) -> io::Result<()> {
    let length = size_of_val(&value) as libc::socklen_t;
    let fd = socket.as_fd().as_raw_fd();
    // SAFETY: `value` is an int of `length` bytes, read before the call returns.
    check(unsafe { libc::setsockopt(fd, level, name, (&raw const value).cast(), length) }).map(drop)
}

fn address(of: SocketAddrV4) -> libc::sockaddr_in {
    libc::sockaddr_in {
        sin_family: libc::AF_INET as libc::sa_family_t,
        sin_port: of.port().to_be(),
        sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(of.ip().octets()) },
        sin_zero: [0; 8],
    }
}

fn check(result: i32) -> io::Result<i32> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
