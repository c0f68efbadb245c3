//! Readiness: epoll and the eventfd that wakes it (epoll(7), eventfd(2)).

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// An epoll instance.
pub(crate) struct Epoll {
    fd: OwnedFd,
    events: Vec<libc::epoll_event>,
}

/// One change that epoll reports.
#[derive(Clone, Copy)]
pub(crate) struct Change {
    pub(crate) token: u64,
    events: u32,
}

impl Change {
    pub(crate) fn readable(self) -> bool {
        self.has(libc::EPOLLIN)
    }

    pub(crate) fn writable(self) -> bool {
        self.has(libc::EPOLLOUT)
    }

    pub(crate) fn finished(self) -> bool {
        self.has(libc::EPOLLRDHUP)
    }

    pub(crate) fn broken(self) -> bool {
        self.has(libc::EPOLLHUP | libc::EPOLLERR)
    }

    fn has(self, events: i32) -> bool {
        self.events & events as u32 != 0
    }
}

impl Epoll {
    pub(crate) fn new() -> io::Result<Epoll> {
        // SAFETY: no pointers. The result is checked, and owned by nobody else.
        let fd = unsafe { owned(libc::epoll_create1(libc::EPOLL_CLOEXEC))? };
        Ok(Epoll { fd, events: Vec::with_capacity(1024) })
    }

    /// Reports every change of `fd` once, until it is closed or removed.
    pub(crate) fn watch_edges(&self, fd: impl AsFd, token: u64) -> io::Result<()> {
        let events = libc::EPOLLIN | libc::EPOLLOUT | libc::EPOLLRDHUP | libc::EPOLLET;
        self.control(libc::EPOLL_CTL_ADD, fd.as_fd(), events as u32, token)
    }

    /// Reports `fd` for as long as it is readable.
    pub(crate) fn watch_level(&self, fd: impl AsFd, token: u64) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, fd.as_fd(), libc::EPOLLIN as u32, token)
    }

    /// Stops reporting `fd`. Needed before it lives on elsewhere: epoll follows the open file, not the number.
    pub(crate) fn forget(&self, fd: impl AsFd) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_DEL, fd.as_fd(), 0, 0)
    }

    /// Waits for changes, for at most `timeout_ms`, without an end where there is none.
    pub(crate) fn wait(&mut self, timeout_ms: Option<u64>) -> impl Iterator<Item = Change> + '_ {
        let timeout = timeout_ms.map_or(-1, |ms| i32::try_from(ms).unwrap_or(i32::MAX));
        self.events.clear();
        let room = self.events.capacity();
        // SAFETY: the kernel writes at most `room` events to memory that holds `room` of them.
        let count =
            unsafe { libc::epoll_wait(self.fd.as_raw_fd(), self.events.as_mut_ptr(), room as i32, timeout) };
        // A signal ends the wait with an error; then nothing was written.
        let count = usize::try_from(count).unwrap_or(0);
        // SAFETY: the kernel has written that many events, which is at most the capacity.
        unsafe { self.events.set_len(count) };
        self.events.iter().map(|event| Change { token: event.u64, events: event.events })
    }

    fn control(&self, operation: i32, fd: BorrowedFd<'_>, events: u32, token: u64) -> io::Result<()> {
        let mut event = libc::epoll_event { events, u64: token };
        // SAFETY: both descriptors are open, and `event` outlives the call.
        check(unsafe { libc::epoll_ctl(self.fd.as_raw_fd(), operation, fd.as_raw_fd(), &raw mut event) })?;
        Ok(())
    }
}

/// An eventfd: whoever rings it wakes the loop that watches it.
pub(crate) struct Bell(OwnedFd);

impl Bell {
    pub(crate) fn new() -> io::Result<Bell> {
        // SAFETY: no pointers. The result is checked, and owned by nobody else.
        Ok(Bell(unsafe { owned(libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK))? }))
    }

    pub(crate) fn ring(&self) {
        let one = 1u64.to_ne_bytes();
        // SAFETY: eight readable bytes. It fails only where the counter is full, and then it rings already.
        unsafe { libc::write(self.0.as_raw_fd(), one.as_ptr().cast(), one.len()) };
    }

    pub(crate) fn silence(&self) {
        let mut count = [0u8; 8];
        // SAFETY: eight writable bytes. It fails only where nobody has rung.
        unsafe { libc::read(self.0.as_raw_fd(), count.as_mut_ptr().cast(), count.len()) };
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

pub(super) fn check(result: i32) -> io::Result<i32> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Owns the descriptor that a system call has returned, or says why it has returned none.
///
/// # Safety
/// A result that is not negative is a descriptor that nobody else owns.
pub(super) unsafe fn owned(result: i32) -> io::Result<OwnedFd> {
    // SAFETY: the caller's promise, once the result is known to be a descriptor.
    check(result).map(|fd| unsafe { OwnedFd::from_raw_fd(fd) })
}
