//! Trunks: many pipes that end in one mailbox.
//!
//! What waits here is bounded pipe by pipe: each has as much room as it had in memory of its own, and takes no more.
//!
//! The streams of an HTTP/2 connection are read by one task. A message for a hundred of them is left in one place, under one
//! lock, and wakes that task once:
//!
//! ```text
//! pipe ─┐
//! pipe ─┼─ put ──▶ Trunk: bytes, and whose they are ──▶ poll_take ──▶ one task, which writes them out
//! pipe ─┘                          ▲                                      │
//!                                  └──────────── Owed, dropped ◀──────────┘  there is room again
//! ```

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;

use crate::pipes::{PIPE_BYTES_MAX, Pipe};

/// A mailbox that pipes may end in; see [`PipeEnd::moor`](crate::pipes::PipeEnd::moor). Clones are the same one.
#[derive(Clone, Default)]
pub struct Trunk(Arc<Mutex<Mail>>);

/// Which pipe of a trunk: no two that a trunk has ever had are equal, but for a wrap around of four thousand millions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Berth {
    index: u32,
    generation: u32,
}

/// What pipes have written, in order.
#[derive(Debug, Default)]
pub struct Load {
    /// All of it, one after the other.
    pub bytes: Bytes,
    /// Whose is what.
    pub pieces: Vec<Piece>,
}

/// What a pipe has written, or that it has ended.
#[derive(Clone, Copy, Debug)]
pub struct Piece {
    /// Which pipe.
    pub berth: Berth,
    /// So many bytes of the load, behind those of the piece before. 0 is the pipe's end.
    pub count: u32,
}

/// Bytes that were taken and have not been written out yet. They count against their pipe until this is dropped.
pub struct Owed {
    trunk: Trunk,
    berth: Berth,
    count: u32,
}

#[derive(Default)]
struct Mail {
    bytes: Vec<u8>,
    pieces: Vec<Piece>,
    seats: Vec<Seat>,
    free: Vec<u32>,
    reader: Option<Waker>,
}

struct Seat {
    generation: u32,
    /// Nothing once its reader has left.
    pipe: Option<Arc<Pipe>>,
    /// Bytes that are here, or were taken and are owed.
    waiting: usize,
    blocked: bool,
}

impl Berth {
    /// Where it stands among the pipes that there are: small numbers, used again after a pipe has left.
    #[must_use]
    pub fn index(self) -> usize {
        self.index as usize
    }
}

impl Trunk {
    /// Takes everything that pipes have written, in the order in which they did.
    pub fn poll_take(&self, context: &mut Context<'_>) -> Poll<Load> {
        let mut mail = self.lock();
        if mail.pieces.is_empty() {
            if !mail.reader.as_ref().is_some_and(|reader| reader.will_wake(context.waker())) {
                mail.reader = Some(context.waker().clone());
            }
            return Poll::Pending;
        }
        let (bytes, pieces) = (std::mem::take(&mut mail.bytes), std::mem::take(&mut mail.pieces));
        Poll::Ready(Load { bytes: bytes.into(), pieces })
    }

    /// What these bytes are owed to, until they have been written out.
    #[must_use]
    pub fn owe(&self, piece: Piece) -> Owed {
        Owed { trunk: self.clone(), berth: piece.berth, count: piece.count }
    }

    /// Has a pipe end here from now on, out of which `bytes` have come already.
    pub(crate) fn enter(&self, pipe: Arc<Pipe>, bytes: &[&[u8]]) -> Berth {
        let mut mail = self.lock();
        let index = mail.free.pop().unwrap_or(mail.seats.len() as u32);
        let seat = Seat { generation: 0, pipe: Some(pipe), waiting: 0, blocked: false };
        let generation = match mail.seats.get_mut(index as usize) {
            Some(place) => {
                let generation = place.generation.wrapping_add(1);
                *place = Seat { generation, ..seat };
                generation
            }
            None => {
                mail.seats.push(seat);
                0
            }
        };
        let berth = Berth { index, generation };
        for bytes in bytes.iter().filter(|bytes| !bytes.is_empty()) {
            mail.leave(berth, bytes);
        }
        let reader = mail.reader.take();
        drop(mail);
        reader.into_iter().for_each(Waker::wake);
        berth
    }

    /// Has nothing of a pipe end here any more.
    pub(crate) fn exit(&self, berth: Berth) {
        let mut mail = self.lock();
        if let Some(seat) = mail.seat(berth) {
            let pipe = seat.pipe.take();
            mail.free.push(berth.index);
            drop(mail);
            drop(pipe);
        }
    }

    /// Says that a pipe has ended.
    pub(crate) fn end(&self, berth: Berth) {
        let mut mail = self.lock();
        if mail.seat(berth).is_none() {
            return;
        }
        mail.pieces.push(Piece { berth, count: 0 });
        let reader = mail.reader.take();
        drop(mail);
        reader.into_iter().for_each(Waker::wake);
    }

    /// To put things in, of several pipes.
    pub(crate) fn open(&self) -> Opened<'_> {
        Opened { trunk: self, mail: self.lock() }
    }

    pub(crate) fn is(&self, other: &Trunk) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    fn lock(&self) -> MutexGuard<'_, Mail> {
        // Nothing panics while it holds this lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A trunk that is being put things in.
pub(crate) struct Opened<'t> {
    trunk: &'t Trunk,
    mail: MutexGuard<'t, Mail>,
}

impl Opened<'_> {
    pub(crate) fn is_of(&self, trunk: &Trunk) -> bool {
        self.trunk.is(trunk)
    }

    /// Takes as much as there is room for. Whoever waits for it is given back, to be woken.
    pub(crate) fn put(&mut self, berth: Berth, from: &[u8]) -> (io::Result<usize>, Option<Waker>) {
        let mail = &mut *self.mail;
        let Some(seat) = mail.seat(berth) else {
            return (Err(io::ErrorKind::BrokenPipe.into()), None);
        };
        let count = from.len().min(PIPE_BYTES_MAX.saturating_sub(seat.waiting));
        seat.blocked |= count < from.len();
        if count == 0 {
            return (Err(io::ErrorKind::WouldBlock.into()), None);
        }
        mail.leave(berth, &from[..count]);
        (Ok(count), mail.reader.take())
    }
}

impl Mail {
    /// The seat of a pipe whose reader is still there.
    fn seat(&mut self, berth: Berth) -> Option<&mut Seat> {
        let seat = self.seats.get_mut(berth.index as usize)?;
        (seat.generation == berth.generation && seat.pipe.is_some()).then_some(seat)
    }

    fn leave(&mut self, berth: Berth, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        // A pipe holds less than this by far.
        let count = bytes.len() as u32;
        self.pieces.push(Piece { berth, count });
        if let Some(seat) = self.seat(berth) {
            seat.waiting += bytes.len();
        }
    }
}

impl Drop for Owed {
    fn drop(&mut self) {
        let mut mail = self.trunk.lock();
        let Some(seat) = mail.seat(self.berth) else { return };
        seat.waiting = seat.waiting.saturating_sub(self.count as usize);
        if std::mem::take(&mut seat.blocked) {
            let pipe = seat.pipe.clone();
            drop(mail);
            pipe.into_iter().for_each(|pipe| pipe.unblocked());
        }
    }
}
