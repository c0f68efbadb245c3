//! Bodies of requests and answers, as `h2` has them.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::Body;
use axum::http::{HeaderMap, header};
use bytes::Bytes;
use h2::{Reason, RecvStream, SendStream};
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt as _;

use super::chunk::Chunk;

/// The body of a request. What is read of it makes room for more; trailers are passed over.
pub(super) struct Asked {
    stream: RecvStream,
    /// How much is still to come, where the client has said so: `h2` holds it to that.
    left: Option<u64>,
}

impl Asked {
    pub(super) fn new(stream: RecvStream, fields: &HeaderMap) -> Asked {
        let length = fields.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        Asked { stream, left: length }
    }
}

impl http_body::Body for Asked {
    type Data = Bytes;
    type Error = h2::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        let Some(bytes) = ready!(self.stream.poll_data(context)).transpose()? else {
            return Poll::Ready(None);
        };
        // Fails where the stream is over, and with it what it had room for.
        let _ = self.stream.flow_control().release_capacity(bytes.len());
        self.left = self.left.map(|left| left.saturating_sub(bytes.len() as u64));
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.stream.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

/// Writes the body of an answer to its end, or to that of its stream.
pub(super) async fn write(mut body: Body, mut stream: SendStream<Chunk>) {
    loop {
        let frame = tokio::select! {
            biased;
            frame = body.frame() => frame,
            _ = poll_fn(|context| stream.poll_reset(context)) => return,
        };
        let data = match frame {
            Some(Ok(frame)) => frame.into_data(),
            Some(Err(_)) => return stream.send_reset(Reason::INTERNAL_ERROR),
            None => {
                // Fails where the client has taken its request back.
                let _ = stream.send_data(Chunk::default(), true);
                return;
            }
        };
        // Trailers are none of ours.
        let Ok(mut data) = data else { continue };
        while !data.is_empty() {
            stream.reserve_capacity(data.len());
            let Some(Ok(room)) = poll_fn(|context| stream.poll_capacity(context)).await else { return };
            let piece = data.split_to(room.min(data.len()));
            let ends = data.is_empty() && http_body::Body::is_end_stream(&body);
            if stream.send_data(piece.into(), ends).is_err() || ends {
                return;
            }
        }
    }
}
