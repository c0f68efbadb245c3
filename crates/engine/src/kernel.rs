//! What a shard needs of an operating system: three implementations are sockets over epoll, pipes in memory, and the
//! simulation's fake.

use std::io;
use std::net::SocketAddr;

use crate::event::Over;

/// Sockets and time, as a shard sees them. Nothing here blocks but [`Kernel::wait`].
pub trait Kernel {
    /// An open connection.
    type Socket;

    /// Milliseconds on a clock that never steps.
    fn now_ms(&self) -> u64;

    /// Microseconds on the clock that messages are stamped by (see [`tidewire_hub::Message::taken_us`]).
    fn now_us(&self) -> u64 {
        self.now_ms().saturating_mul(1_000)
    }

    /// Waits until something is ready, for at most `timeout_ms`, without an end where there is none. Appends what
    /// is ready to `ready`. May return early with nothing.
    fn wait(&mut self, timeout_ms: Option<u64>, ready: &mut Vec<Ready>);

    /// Takes one waiting connection.
    ///
    /// # Errors
    /// `WouldBlock` when none waits; anything else when it cannot be taken now, such as no file descriptor left.
    fn accept(&mut self) -> io::Result<Self::Socket>;

    /// Whether waiting connections are reported. While off they stay in the listener's queue.
    fn accepting(&mut self, on: bool);

    /// Whether somebody else holds the listener, too, and will take whoever waits in its queue.
    fn has_heir(&self) -> bool {
        false
    }

    /// Closes the listener.
    fn stop_listening(&mut self);

    /// Starts to report when `socket` becomes readable, writable or broken, once for each change.
    ///
    /// # Errors
    /// The socket cannot be watched; the caller closes it.
    fn watch(&mut self, socket: &Self::Socket, token: u64) -> io::Result<()>;

    /// Who is at the other end.
    fn peer(&self, socket: &Self::Socket) -> SocketAddr;

    /// What it came over.
    fn over(&self, _socket: &Self::Socket) -> Over {
        Over::default()
    }

    /// Reads what has arrived; 0 is the end of the peer's stream.
    ///
    /// # Errors
    /// `WouldBlock` when nothing has; anything else when the connection is broken.
    fn read(&mut self, socket: &Self::Socket, into: &mut [u8]) -> io::Result<usize>;

    /// Writes as much of `from` as the socket takes now.
    ///
    /// # Errors
    /// `WouldBlock` when it takes nothing; anything else when the connection is broken.
    fn write(&mut self, socket: &Self::Socket, from: &[u8]) -> io::Result<usize>;

    /// Offers bytes to many sockets, each of which stands in `writes` once (delivery rule R25). Appends to `outcomes` what
    /// came of each, in their order and as [`Kernel::write`] tells it; `Interrupted` where nothing was tried. Returns how
    /// many system calls it took.
    fn write_many(
        &mut self,
        writes: &[Write<'_, Self::Socket>],
        outcomes: &mut Vec<io::Result<usize>>,
    ) -> u64 {
        outcomes.extend(writes.iter().map(|write| self.write(write.socket, write.bytes)));
        writes.len() as u64
    }

    /// Ends our half of the connection.
    fn finish(&mut self, socket: &Self::Socket);

    /// Closes the connection. Only called at the end of a turn (delivery rule R24).
    fn close(&mut self, socket: Self::Socket);

    /// Gives the connection of `client`, which asked for something that is no subscription, to the API server.
    fn hand_off(&mut self, socket: Self::Socket, client: SocketAddr, bytes: Vec<u8>, deadline_ms: u64);
}

/// What is offered to one socket.
#[derive(Debug)]
pub struct Write<'w, S> {
    /// To whom.
    pub socket: &'w S,
    /// What, never nothing.
    pub bytes: &'w [u8],
}

/// Something that happened to a kernel's sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ready {
    /// Connections wait to be accepted.
    Accept,
    /// The socket watched with this token changed.
    Socket {
        /// As given to [`Kernel::watch`]. May be stale.
        token: u64,
        /// There may be something to read, or the peer ended its stream.
        readable: bool,
        /// There may be room to write.
        writable: bool,
        /// The peer ended its stream: reading goes on until that end has been seen.
        finished: bool,
        /// The connection is broken.
        broken: bool,
    },
}
