//! Sockets by the thousand, and the system calls that the standard library has no name for.

use std::io;
use std::mem::MaybeUninit;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{self, AddressFamily, SocketFlags, SocketType, sockopt};
use rustix::process::{self, Resource, Rlimit};
use rustix::thread::{self, CpuSet};
use rustix::time::Timespec;

/// An epoll set: each descriptor carries one number, its token.
pub struct Epoll {
    set: OwnedFd,
    turn_max: usize,
}

/// The most that one turn hands out.
const EVENTS_MAX: usize = 1_024;

/// What a descriptor waits for. An error or an end wakes it in either case.
#[derive(Clone, Copy)]
pub enum Interest {
    /// Bytes to read. Ready again in every turn until all are read.
    Readable,
    /// Bytes that were not there before. Not looked at again before more arrive, which saves half of the kernel's
    /// work for a turn; so whoever fills a buffer has to read on.
    Arrivals,
    /// Room to write, which is also how a connect ends.
    Writable,
}

impl Interest {
    fn flags(self) -> EventFlags {
        match self {
            Interest::Readable => EventFlags::IN,
            Interest::Arrivals => EventFlags::IN | EventFlags::ET,
            Interest::Writable => EventFlags::OUT,
        }
    }
}

impl Epoll {
    /// An empty set that hands out at most `turn_max` events a turn, and never more than 1 024.
    pub fn new(turn_max: usize) -> io::Result<Epoll> {
        Ok(Epoll { set: epoll::create(CreateFlags::CLOEXEC)?, turn_max: turn_max.min(EVENTS_MAX) })
    }

    /// Watches `source`. Closing the last descriptor of a socket ends the watch.
    pub fn add(&self, source: &impl AsFd, token: u64, interest: Interest) -> io::Result<()> {
        Ok(epoll::add(&self.set, source, EventData::new_u64(token), interest.flags())?)
    }

    /// Changes what `source` waits for.
    pub fn change(&self, source: &impl AsFd, token: u64, interest: Interest) -> io::Result<()> {
        Ok(epoll::modify(&self.set, source, EventData::new_u64(token), interest.flags())?)
    }

    /// Ends the watch of `source`.
    pub fn remove(&self, source: &impl AsFd) -> io::Result<()> {
        Ok(epoll::delete(&self.set, source)?)
    }

    /// Fills `tokens` with those that are ready, after `timeout` (nanosecond resolution) with none.
    pub fn wait(&mut self, tokens: &mut Vec<u64>, timeout: Option<Duration>) -> io::Result<()> {
        tokens.clear();
        // What is too long for a timespec is as good as for ever.
        let limit = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        // On the stack, for nothing: the kernel writes what is read, and an event of this kind cannot move to another thread.
        let mut events = [MaybeUninit::<epoll::Event>::uninit(); EVENTS_MAX];
        match epoll::wait(&self.set, &mut events[..self.turn_max], limit.as_ref()) {
            Ok((events, _)) => tokens.extend(events.iter().map(|event| event.data.u64())),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }
}

/// Begins a connection, from `source` if one is given. The socket is non-blocking and becomes writable at the end.
pub fn connect_from(source: Option<IpAddr>, target: SocketAddr) -> io::Result<TcpStream> {
    let family = if target.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = net::socket_with(family, SocketType::STREAM, flags, None)?;
    sockopt::set_tcp_nodelay(&socket, true)?;
    if let Some(source) = source {
        net::bind(&socket, &SocketAddr::new(source, 0))?;
    }
    match net::connect(&socket, &target) {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(TcpStream::from(socket)),
        Err(error) => Err(error.into()),
    }
}

/// Has closing this socket reset the connection at once, with whatever was on its way (`SO_LINGER` of zero).
pub fn reset_on_close(socket: &TcpStream) -> io::Result<()> {
    Ok(sockopt::set_socket_linger(socket, Some(Duration::ZERO))?)
}

/// Has the kernel keep about `bytes` at most of what arrives at a socket and is not read (`SO_RCVBUF`).
pub fn receive_at_most(socket: &TcpStream, bytes: usize) -> io::Result<()> {
    Ok(sockopt::set_socket_recv_buffer_size(socket, bytes)?)
}

/// Accepts one connection, non-blocking from its first moment: one call, where the standard library needs two.
pub fn accept(listener: &TcpListener) -> io::Result<TcpStream> {
    Ok(TcpStream::from(net::accept_with(listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC)?))
}

/// Lets `queue` connections wait to be accepted, and gives every accepted socket `TCP_NODELAY`, which Linux
/// inherits from the listener.
pub fn prepare_listener(listener: &TcpListener, queue: i32) -> io::Result<()> {
    sockopt::set_tcp_nodelay(listener, true)?;
    // Listening again only changes the queue's length.
    Ok(net::listen(listener, queue)?)
}

/// Keeps this thread, and whatever it starts from now on, on one core.
pub fn pin_to_core(core: usize) -> io::Result<()> {
    if core >= CpuSet::MAX_CPU {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "no such core"));
    }
    let mut cores = CpuSet::new();
    cores.set(core);
    Ok(thread::sched_setaffinity(None, &cores)?)
}

/// How many files this process may have open.
pub fn open_files() -> u64 {
    // No limit is written as none.
    process::getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Raises the limit of open files to what the system allows, for this process and its children, and returns it.
pub fn raise_open_files() -> io::Result<u64> {
    let limit = process::getrlimit(Resource::Nofile);
    process::setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })?;
    Ok(open_files())
}
