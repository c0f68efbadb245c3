//! Batched sends: io_uring (io_uring_enter(2)), one system call for hundreds of sockets.
//!
//! A send here never waits and never goes on by itself: `MSG_DONTWAIT` keeps it inside the call that submits it, and
//! `MSG_WAITALL` has the kernel say so where a socket took only a part, which it would pass over in silence otherwise.
//! What was sent whole is not reported (`IOSQE_CQE_SKIP_SUCCESS`). A ring shows that its kernel keeps to this before it is
//! used ([`Ring::new`]), since all of it was found by trying and not in a manual page.

use std::io::{self, Read as _};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use io_uring::squeue::Flags;
use io_uring::{IoUring, opcode, types};

/// Sends in one call at most.
const ENTRIES: u32 = 256;

/// How often in a row the kernel may take nothing before a ring is given up.
const REFUSALS_MAX: u32 = 16;

/// What is to be sent, and to whom.
pub(crate) struct Send<'s> {
    pub(crate) fd: BorrowedFd<'s>,
    pub(crate) bytes: &'s [u8],
}

/// A ring that sends.
pub(crate) struct Ring(IoUring);

/// The kernel takes no more entries. The ring cannot be used again: it still holds some.
#[derive(Debug)]
pub(crate) struct Refused;

impl Ring {
    /// A ring that has passed its examination.
    ///
    /// # Errors
    /// The kernel has none (before Linux 5.19), forbids it (`kernel.io_uring_disabled`, a container's seccomp filter), has no
    /// memory for it, or sends in another way than described above.
    pub(crate) fn new() -> io::Result<Ring> {
        let ring = IoUring::builder().setup_submit_all().setup_coop_taskrun().build(ENTRIES)?;
        let mut ring = Ring(ring);
        if !ring.0.params().is_feature_skip_cqe_on_success() || !ring.passes()? {
            return Err(io::Error::new(io::ErrorKind::Unsupported, "its sends are not reported as needed"));
        }
        Ok(ring)
    }

    /// Sends as much of each as its socket takes now. Appends to `outcomes`, in the order of `sends`, how many bytes that
    /// was; `WouldBlock` where it was none, and `Interrupted` where nothing was tried. A socket stands in `sends` once.
    /// Returns how many system calls it took.
    ///
    /// # Errors
    /// The kernel has stopped taking entries. `outcomes` is complete, and the ring is of no use any more.
    pub(crate) fn send<'s>(
        &mut self,
        sends: impl ExactSizeIterator<Item = Send<'s>>,
        outcomes: &mut Vec<io::Result<usize>>,
    ) -> Result<u64, Refused> {
        let (mut sends, mut calls) = (sends, 0);
        while sends.len() > 0 {
            let first = outcomes.len();
            {
                let mut queue = self.0.submission();
                for send in sends.by_ref().take(ENTRIES as usize) {
                    let at = (outcomes.len() - first) as u64;
                    // A length beyond `u32` is sent in part, like any that is too long for the socket.
                    let length = u32::try_from(send.bytes.len()).unwrap_or(u32::MAX);
                    let flags = libc::MSG_DONTWAIT | libc::MSG_WAITALL | libc::MSG_NOSIGNAL;
                    let entry =
                        opcode::Send::new(types::Fd(send.fd.as_raw_fd()), send.bytes.as_ptr(), length)
                            .flags(flags)
                            .build()
                            .flags(Flags::SKIP_SUCCESS)
                            .user_data(at);
                    // SAFETY: the bytes are borrowed until this function returns. By then the kernel has finished
                    // with them, since a send that may not wait is over when the call that takes it is, or the ring
                    // is given up with the entries that were not taken, which nobody will ever submit.
                    if unsafe { queue.push(&entry) }.is_err() {
                        debug_assert!(false, "the queue was empty, and as long as what is put into it");
                        break;
                    }
                    outcomes.push(Ok(length as usize));
                }
            }
            let last = outcomes.len();
            calls += self.submit(&mut outcomes[first..last]).inspect_err(|Refused| {
                outcomes.extend(sends.by_ref().map(|_| Err(io::ErrorKind::Interrupted.into())));
            })?;
        }
        Ok(calls)
    }

    /// Has the kernel take all entries, and writes down what it reports of them.
    fn submit(&mut self, outcomes: &mut [io::Result<usize>]) -> Result<u64, Refused> {
        let (mut taken, mut calls, mut refusals) = (0, 0, 0);
        while taken < outcomes.len() {
            calls += 1;
            match self.0.submit() {
                Ok(more) if more > 0 => (taken, refusals) = (taken + more, 0),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // No memory for a request, or reports that nobody has read yet.
                Ok(_) | Err(_) => refusals += 1,
            }
            for report in self.0.completion() {
                let outcome = usize::try_from(report.result())
                    .map_err(|_| io::Error::from_raw_os_error(-report.result()));
                if let Some(place) = outcomes.get_mut(report.user_data() as usize) {
                    *place = outcome.map_err(untried);
                }
            }
            if refusals == REFUSALS_MAX {
                outcomes[taken..].iter_mut().for_each(|one| *one = Err(io::ErrorKind::Interrupted.into()));
                return Err(Refused);
            }
        }
        Ok(calls)
    }

    /// Whether this kernel reports a part and a refusal, and only them.
    fn passes(&mut self) -> io::Result<bool> {
        const MUCH: usize = 4 << 20;
        let (mut theirs, ours) = UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let mut outcomes = Vec::new();
        let much = vec![b'x'; MUCH];
        for bytes in [&b"whole"[..], &much, b"refused"] {
            let fd = std::os::fd::AsFd::as_fd(&ours);
            if self.send(std::iter::once(Send { fd, bytes }), &mut outcomes).is_err() {
                return Ok(false);
            }
        }
        let [Ok(5), Ok(part @ 1..MUCH), Err(refused)] = &outcomes[..] else { return Ok(false) };
        drop(ours);
        let mut received = Vec::new();
        theirs.read_to_end(&mut received)?;
        Ok(refused.kind() == io::ErrorKind::WouldBlock && received.len() == 5 + part)
    }
}

/// A send that was cancelled has sent nothing, and may be tried again.
fn untried(error: io::Error) -> io::Error {
    if error.raw_os_error() == Some(libc::ECANCELED) { io::ErrorKind::Interrupted.into() } else { error }
}

#[cfg(test)]
mod tests {
    use std::collections::hash_map::RandomState;
    use std::hash::BuildHasher as _;
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsFd as _;

    use super::super::listen::set;
    use super::*;

    #[test]
    fn r25_a_schedule_of_short_sends_refusals_and_closes_loses_and_repeats_nothing() {
        let Ok(mut ring) = Ring::new() else { return eprintln!("no io_uring here") };
        let seed = RandomState::new().hash_one(0u8) | 1;
        eprintln!("seed {seed}");
        let mut dice = seed;
        let mut roll = |below: usize| {
            dice ^= dice << 13;
            dice ^= dice >> 7;
            dice ^= dice << 17;
            (dice % below as u64) as usize
        };
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut pairs: Vec<Pair> = (0..40).map(|number| Pair::new(&listener, number)).collect();
        let (mut short, mut refused, mut broken) = (0, 0, 0);
        for _ in 0..600 {
            let chosen: Vec<usize> = (0..pairs.len()).filter(|_| roll(3) > 0).collect();
            let lengths = chosen.iter().map(|_| [400, 60_000][usize::from(roll(8) == 0)]).collect::<Vec<_>>();
            let bytes: Vec<Vec<u8>> =
                chosen.iter().zip(lengths).map(|(at, most)| pairs[*at].next(1 + roll(most))).collect();
            let sends =
                chosen.iter().zip(&bytes).map(|(at, bytes)| Send { fd: pairs[*at].ours.as_fd(), bytes });
            let mut outcomes = Vec::new();
            ring.send(sends.collect::<Vec<_>>().into_iter(), &mut outcomes).unwrap();
            assert_eq!(outcomes.len(), chosen.len());
            for ((at, bytes), outcome) in chosen.iter().zip(&bytes).zip(outcomes) {
                match outcome {
                    Ok(count) => {
                        assert!(count > 0 && count <= bytes.len());
                        short += usize::from(count < bytes.len());
                        pairs[*at].sent += count;
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => refused += 1,
                    Err(_) => {
                        broken += 1;
                        assert!(pairs[*at].theirs.is_none(), "only a peer that is gone breaks a connection");
                    }
                }
            }
            for at in 0..pairs.len() {
                match roll(400) {
                    0 => pairs[at].theirs = None,
                    1..=150 => pairs[at].read(roll(40_000)),
                    _ if pairs[at].theirs.is_none() && roll(10) == 0 => {
                        // The number of the closed descriptor is the next one's.
                        pairs.remove(at);
                        pairs.insert(at, Pair::new(&listener, at));
                    }
                    _ => {}
                }
            }
        }
        for pair in &mut pairs {
            pair.read(usize::MAX);
        }
        eprintln!("{short} short, {refused} refused, {broken} broken");
        assert!(short > 100 && refused > 100 && broken > 0);
    }

    /// Both ends of a connection; what goes over it are the bytes of a sequence that no two of them share.
    struct Pair {
        number: usize,
        ours: TcpStream,
        theirs: Option<TcpStream>,
        sent: usize,
        read: usize,
    }

    impl Pair {
        fn new(listener: &TcpListener, number: usize) -> Pair {
            let theirs = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (ours, _) = listener.accept().unwrap();
            // Small buffers, which fill up soon.
            set(&ours, libc::SOL_SOCKET, libc::SO_SNDBUF, 8 << 10).unwrap();
            set(&theirs, libc::SOL_SOCKET, libc::SO_RCVBUF, 8 << 10).unwrap();
            ours.set_nonblocking(true).unwrap();
            theirs.set_nonblocking(true).unwrap();
            Pair { number, ours, theirs: Some(theirs), sent: 0, read: 0 }
        }

        fn byte(&self, at: usize) -> u8 {
            (at / 251 + at + self.number) as u8
        }

        fn next(&self, count: usize) -> Vec<u8> {
            (self.sent..self.sent + count).map(|at| self.byte(at)).collect()
        }

        fn read(&mut self, most: usize) {
            let Some(mut theirs) = self.theirs.take() else { return };
            let mut buffer = vec![0; most.min(1 << 16)];
            let mut left = most;
            while left > 0 {
                let room = left.min(buffer.len());
                let Ok(count @ 1..) = theirs.read(&mut buffer[..room]) else { break };
                for byte in &buffer[..count] {
                    assert_eq!(*byte, self.byte(self.read), "connection {} at {}", self.number, self.read);
                    self.read += 1;
                }
                left -= count;
            }
            assert!(self.read <= self.sent, "nothing arrives that was not reported as sent");
            self.theirs = Some(theirs);
        }
    }
}
