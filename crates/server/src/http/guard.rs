//! The guard between a socket and hyper: it holds every request of a connection to the same strictness as the first,
//! ends who is too slow, and closes so that the last answer arrives (security rules S33 and S42, delivery rule R29).

use std::future::Future as _;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use tidewire_hub::admit::HeadFields;
use tidewire_hub::limits::Limits;
use tidewire_hub::reason::Reason;
use tidewire_transport::framing::Framing;
use tidewire_transport::refusal::{self, Refusal};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep, sleep_until};

use super::pace::Pace;
use crate::api::trace_id;
use crate::line::Line;

/// How long a client may take nothing of what is written to it. Streams have stricter bounds of their own.
const STALL_MAX: Duration = Duration::from_secs(30);

/// How many requests of a connection have been answered: each counts with the end of its answer's body.
pub(super) type Answered = Arc<AtomicU64>;

/// A guarded connection.
pub(super) struct Guard {
    line: Arc<Line>,
    /// Read by the engine before it handed the connection over, and not yet by hyper.
    before: Bytes,
    framing: Framing,
    limits: Arc<Limits>,
    answered: Answered,
    /// When the head that is being read must be whole.
    pace: Pace,
    /// Wakes us at that moment.
    head_due: Pin<Box<Sleep>>,
    /// When the client must have taken something of what is written.
    write_due: Option<Pin<Box<Sleep>>>,
    /// When discarding input after our end is over.
    linger_due: Option<Pin<Box<Sleep>>>,
    /// Our half has ended.
    ended: bool,
    input: Input,
    /// Something that hyper wrote waits for the client to take it.
    blocked: bool,
    /// What the client is told before its side ends; hyper does not know of it.
    farewell: Bytes,
}

/// How far the client's side of the connection has come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Input {
    /// It may send.
    Open,
    /// It has ended, in its way or in ours. hyper reads the end of the stream, finishes what it answers, and closes.
    Ended,
}

impl Guard {
    /// Guards `line`. `first_due` is when its first byte must be here, or its first head if some of it already is.
    pub(super) fn new(
        line: Arc<Line>,
        before: Bytes,
        first_due: Duration,
        limits: Arc<Limits>,
        answered: Answered,
    ) -> Guard {
        let framing = Framing::new();
        let pace = Pace::new(Instant::now(), first_due, limits.head_max);
        let head_due = Box::pin(sleep(first_due));
        let (write_due, linger_due, ended, input, blocked, farewell) =
            (None, None, false, Input::Open, false, Bytes::new());
        Guard {
            line,
            before,
            framing,
            limits,
            answered,
            pace,
            head_due,
            write_due,
            linger_due,
            ended,
            input,
            blocked,
            farewell,
        }
    }

    /// Follows bytes that hyper is about to read. On an offence they are dropped, and so is all that follows.
    fn follow(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        self.framing.push(bytes, &self.limits)?;
        self.pace.read(&self.framing);
        Ok(())
    }

    /// Resolves when the client takes too long over a head. hyper has just found that nothing is there to read.
    fn poll_head_due(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Some(due) = self.pace.due(&self.framing, self.is_answered(), Instant::now()) else {
            return Poll::Pending;
        };
        if self.head_due.deadline() != due {
            self.head_due.set(sleep_until(due));
        }
        self.head_due.as_mut().poll(context)
    }

    /// Whether every request that hyper was given has been answered.
    fn is_answered(&self) -> bool {
        self.answered.load(Ordering::Acquire) >= self.pace.heads()
    }

    /// Ends the client's side, telling it why where nothing else is being said to it.
    fn end_input(&mut self, refusal: Option<&Refusal>) {
        self.input = Input::Ended;
        if let Some(refusal) = refusal {
            let trace = trace_id(refusal.reason);
            if self.is_answered() && !self.blocked {
                let fields = HeadFields::default();
                self.farewell = refusal::http_response(refusal, None, &fields, Some(&trace), true).into();
            }
        }
    }

    /// Writes the farewell, if there is one.
    fn poll_farewell(&mut self, context: &mut Context<'_>) -> Poll<()> {
        while !self.farewell.is_empty() {
            let farewell = self.farewell.clone();
            match ready!(self.poll_output(context, &[IoSlice::new(&farewell)])) {
                Ok(count) => self.farewell.advance(count),
                Err(_) => self.farewell = Bytes::new(),
            }
        }
        // A client that does not take it is left to its fate.
        self.poll_flush_within(context).map(|_| ())
    }

    /// Reads and throws away until the client has ended its side, so that closing does not reset the connection under
    /// an answer that is still on its way.
    fn poll_discard(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let due = self.linger_due.get_or_insert_with(|| Box::pin(sleep(self.limits.linger_max)));
        if due.as_mut().poll(context).is_ready() {
            return Poll::Ready(());
        }
        let mut discarded = [0; 4096];
        while ready!(self.line.poll_read(context, &mut ReadBuf::new(&mut discarded)))
            .is_ok_and(|count| count > 0)
        {}
        Poll::Ready(())
    }

    fn poll_input(&mut self, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<usize>> {
        if self.before.has_remaining() {
            let count = self.before.len().min(buffer.remaining());
            buffer.put_slice(&self.before[..count]);
            self.before.advance(count);
            return Poll::Ready(Ok(count));
        }
        self.line.poll_read(context, buffer)
    }

    fn poll_output(&mut self, context: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let outcome = self.line.poll_write(context, slices);
        self.held_up(context, outcome)
    }

    fn poll_flush_within(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.line.is_secure() {
            // The kernel has everything, but for what could not be written.
            return Poll::Ready(Ok(()));
        }
        let outcome = self.line.poll_flush(context);
        self.held_up(context, outcome)
    }

    /// A client that takes nothing for too long is given up.
    fn held_up<T>(&mut self, context: &mut Context<'_>, outcome: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        self.blocked = outcome.is_pending();
        if self.blocked {
            let due = self.write_due.get_or_insert_with(|| Box::pin(sleep(STALL_MAX)));
            ready!(due.as_mut().poll(context));
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        self.write_due = None;
        outcome
    }
}

impl AsyncRead for Guard {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.input == Input::Ended {
            return self.poll_farewell(context).map(Ok);
        }
        let filled = buffer.filled().len();
        if let Poll::Ready(count) = self.poll_input(context, buffer) {
            if count? == 0 {
                self.input = Input::Ended;
                return Poll::Ready(Ok(()));
            }
            if let Err(refusal) = self.follow(&buffer.filled()[filled..]) {
                buffer.set_filled(filled);
                self.end_input(Some(&refusal));
            }
            return self.poll_farewell(context).map(Ok);
        }
        ready!(self.poll_head_due(context));
        // Who has sent nothing gets nothing: most such connections are a browser's that it opened to spare.
        let too_late = Refusal::new(Reason::Timeout, "the head of the request took too long");
        let refusal = (!self.framing.is_between_requests()).then_some(&too_late);
        self.end_input(refusal);
        self.poll_farewell(context).map(Ok)
    }
}

impl AsyncWrite for Guard {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_output(context, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_output(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush_within(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.ended {
            // A client that is gone cannot be told; there is nothing to do about that.
            let outcome = self.line.poll_end(context);
            let _ = ready!(self.held_up(context, outcome));
            self.ended = true;
        }
        self.poll_discard(context).map(Ok)
    }
}
