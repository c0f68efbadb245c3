//! Streams that outlets write to: each ends in a berth of the connection's trunk.
//!
//! A stream holds what its pipe holds and nothing more: what waits for its client's window counts against the pipe, so that the
//! shard behind it has the same bounds and policies as over a socket.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use bytes::{Buf as _, Bytes};
use futures_util::FutureExt as _;
use futures_util::future::{AbortHandle, abortable};
use futures_util::task::AtomicWaker;
use h2::{RecvStream, SendStream};
use tidewire_engine::pipes::{Inlet, Moored};
use tidewire_engine::trunk::{Berth, Load, Piece, Trunk};

use super::answer::{Answered, Running, Settled};
use super::chunk::Chunk;
use super::open::Counts;

/// What a piece that waits may hold in memory, by its own length.
const HOLDS_MAX: usize = 4;

/// The berths of a connection.
#[derive(Default)]
pub(super) struct Berths {
    trunk: Trunk,
    /// By index.
    streams: Vec<Option<Stream>>,
    /// What was taken out of the trunk last, and how many pieces of it are in frames.
    load: Load,
    done: usize,
    /// How large it was.
    taken: usize,
    leavers: Arc<Leavers>,
}

/// A stream in its berth.
struct Stream {
    moored: Moored,
    out: SendStream<Chunk>,
    /// Ends what carries the other way, of a WebSocket: a client that does not end its half would hold the stream.
    carrying: Option<AbortHandle>,
    /// Rung when something other than its bytes has come of it.
    bell: Waker,
    _counts: Counts,
}

impl Berths {
    /// Has an outlet write the rest of an answer. What the client of a WebSocket says goes the other way in a future of its
    /// own.
    pub(super) fn moor(&mut self, answered: Answered) -> Option<Running> {
        let Answered { pipe, stream, inward, counts } = answered;
        let moored = pipe.moor(&self.trunk)?;
        let berth = moored.berth();
        let (inward, carrying) = inward.map(|stream| carry_in(stream, moored.inlet(), berth)).unzip();
        if self.streams.len() <= berth.index() {
            self.streams.resize_with(berth.index() + 1, || None);
        }
        let bell = Arc::new(Bell { berth, leavers: self.leavers.clone() }).into();
        self.streams[berth.index()] = Some(Stream { moored, out: stream, carrying, bell, _counts: counts });
        self.watch(berth);
        inward
    }

    /// Puts into frames what outlets have written, while there is room for them. True if that was all of it.
    pub(super) fn deliver(&mut self, context: &mut Context<'_>, room: &mut usize) -> bool {
        loop {
            while let Some(piece) = self.load.pieces.get(self.done).copied() {
                if *room == 0 {
                    return false;
                }
                *room -= 1;
                self.done += 1;
                let bytes = self.load.bytes.split_to(piece.count as usize);
                if piece.count == 0 {
                    self.end(piece.berth);
                } else {
                    self.send(piece, self.own(bytes));
                }
            }
            self.done = 0;
            // Its memory is free again before anybody waits.
            self.load = Load::default();
            let Poll::Ready(load) = self.trunk.poll_take(context) else { return true };
            self.taken = load.bytes.len();
            self.load = load;
        }
    }

    /// Lets go of streams whose clients have.
    pub(super) fn look_for_leavers(&mut self, context: &mut Context<'_>) {
        self.leavers.driver.register(context.waker());
        let leavers = std::mem::take(&mut *self.leavers.lock());
        for berth in leavers {
            self.watch(berth);
        }
    }

    /// Lets go of a stream.
    pub(super) fn leave(&mut self, berth: Berth) {
        if self.stream(berth).is_some() {
            self.streams[berth.index()] = None;
        }
    }

    /// Bytes that may wait for a window without holding much else: a slice holds everything that was taken with it, and a
    /// stream that does not read would have many of them, each with what its neighbours read long ago.
    fn own(&self, bytes: Bytes) -> Bytes {
        if bytes.len() * HOLDS_MAX < self.taken { Bytes::copy_from_slice(&bytes) } else { bytes }
    }

    fn send(&mut self, piece: Piece, bytes: Bytes) {
        let chunk = Chunk::of_outlet(bytes, self.trunk.owe(piece));
        let Some(stream) = self.stream(piece.berth) else { return };
        // What there is no room for waits with `h2`.
        if stream.out.send_data(chunk, false).is_err() {
            self.leave(piece.berth);
        }
    }

    /// An outlet has said all that it had to say.
    fn end(&mut self, berth: Berth) {
        if let Some(stream) = self.stream(berth) {
            // Fails where the client has let go already.
            let _ = stream.out.send_data(Chunk::default(), true);
            self.leave(berth);
        }
    }

    /// Lets go of a stream that its client has reset; else its bell rings when it does.
    fn watch(&mut self, berth: Berth) {
        let Some(stream) = self.stream(berth) else { return };
        if stream.out.poll_reset(&mut Context::from_waker(&stream.bell)).is_ready() {
            self.leave(berth);
        }
    }

    fn stream(&mut self, berth: Berth) -> Option<&mut Stream> {
        let stream = self.streams.get_mut(berth.index())?.as_mut()?;
        (stream.moored.berth() == berth).then_some(stream)
    }
}

/// Streams that shall be looked at.
#[derive(Default)]
struct Leavers {
    /// At most one entry for each stream between two looks: `h2` wakes a waker once, and it is given again by a look.
    berths: Mutex<Vec<Berth>>,
    driver: AtomicWaker,
}

impl Leavers {
    fn lock(&self) -> MutexGuard<'_, Vec<Berth>> {
        // Nothing panics while it holds this lock.
        self.berths.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Bell {
    berth: Berth,
    leavers: Arc<Leavers>,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.leavers.lock().push(self.berth);
        self.leavers.driver.wake();
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if let Some(carrying) = &self.carrying {
            carrying.abort();
        }
    }
}

/// What carries the words of a WebSocket's client to its outlet, and what ends that.
fn carry_in(stream: RecvStream, inlet: Inlet, berth: Berth) -> (Running, AbortHandle) {
    let (carried, carrying) = abortable(carry(stream, inlet, berth));
    (Box::pin(carried.map(|settled| settled.unwrap_or(Settled::Over))), carrying)
}

async fn carry(mut stream: RecvStream, mut inlet: Inlet, berth: Berth) -> Settled {
    while let Some(bytes) = stream.data().await {
        let Ok(mut bytes) = bytes else { return Settled::Left(berth) };
        let taken = bytes.len();
        while bytes.has_remaining() {
            match poll_fn(|context| inlet.poll_write(context, &bytes)).await {
                Ok(count) => bytes.advance(count),
                // The outlet has ended; the other way says how.
                Err(_) => return Settled::Over,
            }
        }
        // Fails where the stream is over, and with it what it had room for.
        let _ = stream.flow_control().release_capacity(taken);
    }
    // The client has ended its half; how to take that is for the outlet to say.
    inlet.finish();
    Settled::Over
}
