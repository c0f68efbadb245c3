//! The guard below HTTP/2: it counts what costs a client nothing and us something, sees to it that a beginning has an
//! end, and tells who does not keep to that why the connection ends (security rules S33 and S34).
//!
//! The `h2` crate has bounds of its own for streams that are opened and reset; what it leaves is frames that
//! are cheap to send and mean nothing. This follows frames as they pass, both ways, and looks at their heads alone:
//!
//! ```text
//! client ──▶ 24 bytes of preface ──▶ head, payload, head, payload … ──▶ h2
//! client ◀── head, payload, head, payload … ◀── h2               GOAWAY goes out between two frames
//! ```

use std::future::Future as _;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tidewire_hub::limits::Limits;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

/// What an HTTP/2 client says first (RFC 9113 section 3.4).
pub(super) const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Frames of one kind that a client may send within [`PERIOD`], beyond those that follow from what it was sent: two window
/// updates for each frame of data, of its stream and of the connection, and an end to each stream that was answered. A proxy
/// whose clients leave says so as often.
const FRAMES_MAX: u64 = 200;

/// The time that frames are counted in.
const PERIOD: Duration = Duration::from_secs(10);

/// The head of a frame (RFC 9113 section 4.1).
const HEAD_BYTES: usize = 9;

/// GOAWAY on the connection, with no stream named as answered and a code at its end (RFC 9113 sections 6.8 and 7). What was
/// answered is not said: whoever floods is owed nothing.
const GOAWAY: [u8; 17] = [0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
const PROTOCOL_ERROR: u8 = 1;
const ENHANCE_YOUR_CALM: u8 = 11;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

const END_STREAM: u8 = 0x1;
const END_HEADERS: u8 = 0x4;
const ACK: u8 = 0x1;

/// A guarded connection.
pub(super) struct Calm<S> {
    inner: S,
    inward: Inward,
    outward: Frames,
    sent: Sent,
    /// When what has begun must have its end: the preface, or the head of a request.
    due: Pin<Box<Sleep>>,
    head_max: Duration,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// The client is told why its connection ends, by its code: so many bytes of that have left.
    Telling(u8, usize),
    Ended,
}

impl<S> Calm<S> {
    /// Guards a connection, whose preface must be here after `first_due`.
    pub(super) fn new(inner: S, first_due: Duration, limits: &Limits) -> Calm<S> {
        Calm {
            inner,
            inward: Inward::new(Instant::now()),
            outward: Frames::default(),
            sent: Sent::default(),
            due: Box::pin(sleep(first_due)),
            head_max: limits.head_max,
            state: State::Open,
        }
    }
}

/// What is the matter with a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Offence {
    /// It begins with something else than its settings (RFC 9113 section 3.4).
    NoSettings,
    /// It sends what costs it nothing.
    Flood,
}

/// Follows what a client sends.
#[derive(Debug)]
struct Inward {
    preface_left: usize,
    /// Its settings have come, which are the other half of the preface.
    greeted: bool,
    frames: Frames,
    /// Whether a request's head has begun, and its last frame has not.
    in_head: bool,
    counts: [u64; 6],
    /// Ends of streams and window updates that follow from what the client was sent, and have not come yet.
    owed_resets: u64,
    owed_updates: u64,
    since: Instant,
}

/// Follows frames from one head to the next.
#[derive(Debug, Default)]
struct Frames {
    head: [u8; HEAD_BYTES],
    head_filled: usize,
    payload_left: usize,
}

/// What a client was sent since it was asked last.
#[derive(Clone, Copy, Debug, Default)]
struct Sent {
    data: u64,
    heads: u64,
}

impl Frames {
    /// Follows bytes that pass, and shows the head of every frame that begins in them.
    fn follow(&mut self, bytes: &[u8], mut begins: impl FnMut(&[u8; HEAD_BYTES])) {
        let mut rest = bytes;
        loop {
            let skipped = self.payload_left.min(rest.len());
            self.payload_left -= skipped;
            rest = &rest[skipped..];
            if rest.is_empty() {
                return;
            }
            let taken = (HEAD_BYTES - self.head_filled).min(rest.len());
            self.head[self.head_filled..][..taken].copy_from_slice(&rest[..taken]);
            self.head_filled += taken;
            rest = &rest[taken..];
            if self.head_filled == HEAD_BYTES {
                self.head_filled = 0;
                self.payload_left = length(&self.head);
                begins(&self.head);
            }
        }
    }

    /// How many bytes end the frame that has begun; 0 between two. Of one whose head has not passed whole, the head's rest.
    fn left(&self) -> usize {
        match self.head_filled {
            0 => self.payload_left,
            filled => HEAD_BYTES - filled,
        }
    }
}

fn length(head: &[u8; HEAD_BYTES]) -> usize {
    usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2])
}

impl Inward {
    fn new(now: Instant) -> Inward {
        let (frames, counts) = Default::default();
        Inward {
            preface_left: PREFACE.len(),
            greeted: false,
            frames,
            in_head: false,
            counts,
            owed_resets: 0,
            owed_updates: 0,
            since: now,
        }
    }

    /// Follows bytes that the client sent, who has been `sent` so much since.
    fn follow(&mut self, bytes: &[u8], sent: Sent, now: Instant) -> Result<(), Offence> {
        if now - self.since >= PERIOD {
            (self.counts, self.since) = (Default::default(), now);
        }
        self.owed_resets = self.owed_resets.saturating_add(sent.heads);
        self.owed_updates = self.owed_updates.saturating_add(2 * sent.data);
        let skipped = self.preface_left.min(bytes.len());
        self.preface_left -= skipped;
        let (counts, in_head, greeted) = (&mut self.counts, &mut self.in_head, &mut self.greeted);
        let (owed_resets, owed_updates) = (&mut self.owed_resets, &mut self.owed_updates);
        let mut well_begun = true;
        self.frames.follow(&bytes[skipped..], |head| {
            let (kind, flags) = (head[3], head[4]);
            well_begun &= std::mem::replace(greeted, true) || kind == SETTINGS && flags & ACK == 0;
            let counted = match kind {
                DATA if length(head) == 0 && flags & END_STREAM == 0 => Some(0),
                PRIORITY => Some(1),
                RST_STREAM if *owed_resets > 0 => {
                    *owed_resets -= 1;
                    None
                }
                WINDOW_UPDATE if *owed_updates > 0 => {
                    *owed_updates -= 1;
                    None
                }
                RST_STREAM => Some(2),
                SETTINGS => Some(3),
                PING => Some(4),
                WINDOW_UPDATE => Some(5),
                _ => None,
            };
            counted.into_iter().for_each(|kind| counts[kind] += 1);
            if [HEADERS, CONTINUATION].contains(&kind) {
                *in_head = flags & END_HEADERS == 0;
            }
        });
        match self.counts.iter().any(|count| *count > FRAMES_MAX) {
            _ if !well_begun => Err(Offence::NoSettings),
            true => Err(Offence::Flood),
            false => Ok(()),
        }
    }

    /// Whether something has begun that must have an end.
    fn is_waiting(&self) -> bool {
        let must_end = [HEADERS, CONTINUATION, SETTINGS].contains(&self.frames.head[3]);
        self.preface_left > 0 || !self.greeted || self.in_head || must_end && self.frames.payload_left > 0
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Calm<S> {
    /// Tells the client that it is too much, as soon as the frame before has left.
    fn poll_tell(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let State::Telling(code, told) = self.state {
            if self.outward.left() > 0 {
                // `h2` has the rest of it, and comes by.
                return Poll::Pending;
            }
            let mut goaway = GOAWAY;
            goaway[GOAWAY.len() - 1] = code;
            let rest = &goaway[told..];
            let count = ready!(Pin::new(&mut self.inner).poll_write(context, rest))?;
            self.state = if count == rest.len() { State::Ended } else { State::Telling(code, told + count) };
        }
        ready!(Pin::new(&mut self.inner).poll_flush(context))?;
        Poll::Ready(Err(io::Error::other("the client keeps to no rules")))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Calm<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.state != State::Open {
            return self.poll_tell(context);
        }
        let filled = buffer.filled().len();
        if let Poll::Ready(outcome) = Pin::new(&mut self.inner).poll_read(context, buffer) {
            match outcome {
                // Many clients close without a word.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {}
                outcome => outcome?,
            }
            let was_waiting = self.inward.is_waiting();
            let sent = std::mem::take(&mut self.sent);
            let followed = self.inward.follow(&buffer.filled()[filled..], sent, Instant::now());
            if self.inward.is_waiting() && !was_waiting {
                let due = Instant::now() + self.head_max;
                self.due.as_mut().reset(due);
            }
            if let Err(offence) = followed {
                buffer.set_filled(filled);
                let code = match offence {
                    Offence::NoSettings => PROTOCOL_ERROR,
                    Offence::Flood => ENHANCE_YOUR_CALM,
                };
                self.state = State::Telling(code, 0);
                return self.poll_tell(context);
            }
            return Poll::Ready(Ok(()));
        }
        if self.inward.is_waiting() && self.due.as_mut().poll(context).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        Poll::Pending
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Calm<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let count = if self.state == State::Open {
            ready!(Pin::new(&mut self.inner).poll_write_vectored(context, slices))?
        } else {
            // The frame that has begun gets its end, and nothing else leaves any more.
            let left = self.outward.left();
            let Some(first) = slices.iter().find(|slice| !slice.is_empty()).filter(|_| left > 0) else {
                return self.poll_tell(context).map_ok(|()| 0);
            };
            let most = left.min(first.len());
            ready!(Pin::new(&mut self.inner).poll_write(context, &first[..most]))?
        };
        let Calm { outward, sent, .. } = &mut *self;
        let mut left = count;
        for slice in slices {
            let passed = left.min(slice.len());
            outward.follow(&slice[..passed], |head| {
                sent.data += u64::from(head[3] == DATA);
                sent.heads += u64::from(head[3] == HEADERS);
            });
            left -= passed;
        }
        Poll::Ready(Ok(count))
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let length = (payload.len() as u32).to_be_bytes();
        [&length[1..], &[kind, flags, 0, 0, 0, 1], payload].concat()
    }

    fn opened() -> Inward {
        let mut inward = Inward::new(Instant::now());
        let greeting = [&PREFACE[..], &frame(SETTINGS, 0, b"")].concat();
        inward.follow(&greeting, Sent::default(), Instant::now()).unwrap();
        inward.counts = Default::default();
        inward
    }

    #[test]
    fn s34_frames_that_mean_nothing_are_counted_however_they_are_cut() {
        let kinds: [(u8, &[u8]); 6] = [
            (DATA, b""),
            (PRIORITY, b"12345"),
            (RST_STREAM, b"1234"),
            (SETTINGS, b""),
            (PING, b"12345678"),
            (WINDOW_UPDATE, b"1234"),
        ];
        for (kind, payload) in kinds {
            let flood = frame(kind, 0, payload).repeat(201);
            let now = Instant::now();
            assert_eq!(opened().follow(&flood, Sent::default(), now), Err(Offence::Flood), "{kind}");
            let mut inward = opened();
            let outcomes: Vec<_> =
                flood.chunks(7).map(|bytes| inward.follow(bytes, Sent::default(), now)).collect();
            assert_eq!(outcomes.last(), Some(&Err(Offence::Flood)), "{kind}");
            let mut inward = opened();
            inward.follow(&flood[..flood.len() / 201 * 200], Sent::default(), now).unwrap();
            inward
                .follow(&flood[..flood.len() / 201 * 200], Sent::default(), Instant::now() + PERIOD)
                .unwrap();
        }
    }

    #[test]
    fn s34_who_takes_much_may_open_its_window_as_often() {
        let mut inward = opened();
        let sent = Sent { data: 50, heads: 0 };
        for _ in 0..100 {
            inward.follow(&frame(WINDOW_UPDATE, 0, b"1234").repeat(100), sent, Instant::now()).unwrap();
        }
    }

    #[test]
    fn s34_what_was_sent_may_be_answered_later_and_at_once() {
        let mut inward = opened();
        let sent = Sent { data: 256, heads: 0 };
        inward.follow(&frame(PING, 0, b"12345678"), sent, Instant::now()).unwrap();
        let updates = frame(WINDOW_UPDATE, 0, b"1234");
        inward.follow(&updates.repeat(512), Sent::default(), Instant::now()).unwrap();
        let more = inward.follow(&updates.repeat(201), Sent::default(), Instant::now());
        assert_eq!(more, Err(Offence::Flood));
    }

    #[test]
    fn s34_a_proxy_whose_clients_leave_one_after_the_other_does_not_flood() {
        let (mut inward, sent) = (opened(), Sent { data: 0, heads: 100 });
        for _ in 0..100 {
            inward.follow(&frame(RST_STREAM, 0, b"1234").repeat(100), sent, Instant::now()).unwrap();
        }
    }

    #[test]
    fn s33_a_head_that_has_begun_is_waited_for_until_it_ends() {
        let mut inward = Inward::new(Instant::now());
        assert!(inward.is_waiting(), "for the preface");
        inward.follow(PREFACE, Sent::default(), Instant::now()).unwrap();
        assert!(inward.is_waiting(), "for its other half");
        inward.follow(&frame(SETTINGS, 0, b"123456"), Sent::default(), Instant::now()).unwrap();
        assert!(!inward.is_waiting());
        inward.follow(&frame(HEADERS, 0, b"abc"), Sent::default(), Instant::now()).unwrap();
        assert!(inward.is_waiting());
        let last = frame(CONTINUATION, END_HEADERS, b"abc");
        inward.follow(&last[..10], Sent::default(), Instant::now()).unwrap();
        assert!(inward.is_waiting(), "for its payload");
        inward.follow(&last[10..], Sent::default(), Instant::now()).unwrap();
        assert!(!inward.is_waiting());
    }

    #[test]
    fn the_end_of_a_frame_is_known_wherever_it_is_cut() {
        let bytes = [frame(DATA, 0, b"hello"), frame(HEADERS, 0, b"")].concat();
        let mut frames = Frames::default();
        let left: Vec<usize> = bytes
            .iter()
            .map(|byte| {
                frames.follow(&[*byte], |_| {});
                frames.left()
            })
            .collect();
        assert_eq!(left, [8, 7, 6, 5, 4, 3, 2, 1, 5, 4, 3, 2, 1, 0, 8, 7, 6, 5, 4, 3, 2, 1, 0]);
    }
}
