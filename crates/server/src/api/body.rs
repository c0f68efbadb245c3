//! Request bodies: bounded in bytes and in time, whatever their length says (security rules S33 and S37).

use std::time::Duration;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use tidewire_hub::reason::Reason;
use tidewire_transport::refusal::Refusal;
use tokio::time::{Instant, timeout_at};

/// What a body that comes more slowly than [`BYTES_PER_SECOND_MIN`] is granted at its start.
const GRACE: Duration = Duration::from_secs(5);
/// The slowest pace of a body (S33).
const BYTES_PER_SECOND_MIN: u64 = 1_024;

/// Reads a body of at most `bytes_max`, within `time_max` and at no less than 1 KiB/s.
///
/// # Errors
/// `too_large`, `timeout`, or `malformed_request` when the connection breaks.
pub(crate) async fn read(mut body: Body, bytes_max: usize, time_max: Duration) -> Result<Bytes, Refusal> {
    let too_large = || Refusal::new(Reason::TooLarge, format!("the body has more than {bytes_max} bytes"));
    // What its length says is believed in this one respect: a body that says it is too large need not come.
    if http_body::Body::size_hint(&body).lower() > bytes_max as u64 {
        return Err(too_large());
    }
    let begun = Instant::now();
    // A copy, which is small: what came is a part of the connection's buffer, and a payload that is kept would keep all
    // of that, and have the connection need another one for its next request.
    let mut whole = BytesMut::new();
    loop {
        let received = whole.len();
        let earned = Duration::from_secs(received as u64 / BYTES_PER_SECOND_MIN);
        let deadline = begun + (GRACE + earned).min(time_max);
        let frame = timeout_at(deadline, body.frame())
            .await
            .map_err(|_| Refusal::new(Reason::Timeout, format!("the body stopped after {received} bytes")))?;
        let Some(frame) = frame else { break };
        let frame = frame.map_err(|_| Refusal::new(Reason::MalformedRequest, "the body ended too early"))?;
        let Ok(data) = frame.into_data() else { continue };
        if data.len() > bytes_max - received {
            return Err(too_large());
        }
        whole.extend_from_slice(&data);
    }
    Ok(whole.freeze())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body::Frame;
    use std::collections::VecDeque;
    use std::convert::Infallible;
    use std::future::Future as _;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    /// A body in pieces; at the end it ends, or stalls.
    struct Pieces {
        pieces: VecDeque<Bytes>,
        stalls: bool,
    }

    impl http_body::Body for Pieces {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            match self.pieces.pop_front() {
                Some(piece) => Poll::Ready(Some(Ok(Frame::data(piece)))),
                None if self.stalls => Poll::Pending,
                None => Poll::Ready(None),
            }
        }
    }

    fn body(pieces: &[&'static str], stalls: bool) -> Body {
        let pieces = pieces.iter().map(|piece| Bytes::from_static(piece.as_bytes())).collect();
        Body::new(Pieces { pieces, stalls })
    }

    /// A body that comes in equal pieces at equal times.
    struct Drip {
        pieces: usize,
        piece: Bytes,
        every: Duration,
        next: Pin<Box<tokio::time::Sleep>>,
    }

    fn drip(pieces: usize, piece_bytes: usize, every: Duration) -> Body {
        let (piece, next) = (vec![b'x'; piece_bytes].into(), Box::pin(tokio::time::sleep(every)));
        Body::new(Drip { pieces, piece, every, next })
    }

    impl http_body::Body for Drip {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            if self.pieces == 0 {
                return Poll::Ready(None);
            }
            std::task::ready!(self.next.as_mut().poll(context));
            let next = self.next.deadline() + self.every;
            self.next.as_mut().reset(next);
            self.pieces -= 1;
            Poll::Ready(Some(Ok(Frame::data(self.piece.clone()))))
        }
    }

    const LONG: Duration = Duration::from_secs(30);

    #[tokio::test]
    async fn a_body_is_whole_however_it_was_cut() {
        for cut in [&["abc"][..], &["a", "b", "c"], &["", "ab", "", "c"]] {
            assert_eq!(read(body(cut, false), 3, LONG).await.unwrap(), "abc");
        }
        assert_eq!(read(Body::empty(), 3, LONG).await.unwrap(), "");
    }

    #[tokio::test]
    async fn s37_a_body_beyond_its_bound_is_too_large() {
        for cut in [&["abcd"][..], &["abc", "d"]] {
            assert_eq!(read(body(cut, true), 3, LONG).await.unwrap_err().reason, Reason::TooLarge);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn s33_a_body_that_comes_at_less_than_a_kibibyte_a_second_is_a_timeout() {
        let (tenth, whole) = (Duration::from_millis(100), Duration::from_secs(1));
        let begun = Instant::now();
        // A byte each tenth of a second: it is let go as soon as the start's grace is over, not after half a minute.
        let refusal = read(drip(10_000, 1, tenth), 60_000, LONG).await.unwrap_err();
        assert_eq!((refusal.reason, begun.elapsed()), (Reason::Timeout, GRACE));
        // Half of the pace holds for twice the grace.
        let begun = Instant::now();
        assert_eq!(read(drip(100, 512, whole), 60_000, LONG).await.unwrap_err().reason, Reason::Timeout);
        assert!((GRACE..=2 * GRACE).contains(&begun.elapsed()), "{:?}", begun.elapsed());
        // The pace itself is enough, up to the time that every body has.
        assert_eq!(read(drip(25, 1_024, whole), 60_000, LONG).await.unwrap().len(), 25 << 10);
        let begun = Instant::now();
        assert_eq!(read(drip(50, 1_024, whole), 60_000, LONG).await.unwrap_err().reason, Reason::Timeout);
        assert_eq!(begun.elapsed(), LONG);
    }

    #[tokio::test(start_paused = true)]
    async fn s33_a_body_that_stops_is_a_timeout() {
        let begun = Instant::now();
        assert_eq!(read(body(&["abc"], true), 9, LONG).await.unwrap_err().reason, Reason::Timeout);
        assert_eq!(begun.elapsed(), GRACE);
        let refusal = read(body(&["abc"], true), 9, Duration::from_secs(1)).await.unwrap_err();
        assert_eq!(refusal.reason, Reason::Timeout);
        assert_eq!(begun.elapsed(), GRACE + Duration::from_secs(1));
    }
}
