//! A stream of events that is listened to, with the moment at which everything came.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::http::request::Builder;
use hyper::{HeaderMap, StatusCode};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout_at;

use crate::http;
use crate::sse::{Event, Events};

use super::route::Route;

/// Things heard that nobody has asked for yet; beyond it the stream is not read on.
const HEARD_MAX: usize = 1_024;
/// What is kept of an event: none that is looked at is as long, and whoever answers may send as much as he likes.
const DATA_BYTES_MAX: usize = 64 << 10;
/// A refusal is a few sentences.
const REFUSAL_BYTES_MAX: usize = 16 << 10;

/// Something that came.
#[derive(Clone, Debug)]
pub(crate) enum Heard {
    Head(Box<Head>),
    Event {
        at: Instant,
        event: Event,
    },
    /// Bytes without an event: a heartbeat, or the `retry:` that a server advises.
    Quiet {
        at: Instant,
        is_retry: bool,
    },
    End {
        at: Instant,
        how: End,
    },
}

/// The head of the answer.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    pub at: Instant,
    pub status: StatusCode,
    pub headers: HeaderMap,
    /// The body, where this is no stream.
    pub body: Bytes,
}

impl Head {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

/// How a stream ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// As HTTP ends a body.
    Clean,
    /// In the middle, or before it began.
    Broken(String),
}

/// A stream that is open, or being opened. It ends when this is dropped.
pub(crate) struct Stream {
    heard: mpsc::Receiver<Heard>,
    task: JoinHandle<()>,
    /// When the request left, once it has.
    pub asked: Instant,
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Stream {
    /// Opens a stream on a connection of its own. `request` is whatever is asked beside what makes it a stream.
    pub(crate) async fn open(route: &Route, request: Builder) -> Result<Stream, String> {
        let request = request.header("accept", "text/event-stream").body(Full::new(Bytes::new()));
        let request = request.map_err(|error| error.to_string())?;
        let socket = route.connect().await?;
        let asked = Instant::now();
        let (tell, heard) = mpsc::channel(HEARD_MAX);
        let target = route.target.clone();
        let task = tokio::spawn(async move {
            let how = match http::exchange(socket, &target, request).await {
                Ok(response) => listen(response, &tell).await,
                Err(refused) => End::Broken(refused.to_string()),
            };
            // Nobody listening any more is an end, too.
            let _ = tell.send(Heard::End { at: Instant::now(), how }).await;
        });
        Ok(Stream { heard, task, asked })
    }

    /// What comes next, until `deadline`.
    pub(crate) async fn next(&mut self, deadline: Instant) -> Option<Heard> {
        timeout_at(deadline.into(), self.heard.recv()).await.ok().flatten()
    }

    /// The first event that `is_it`, heard within a time, and when it came.
    pub(crate) async fn event(
        &mut self,
        within: Duration,
        is_it: impl Fn(&Event) -> bool,
    ) -> Option<(Instant, Event)> {
        let deadline = Instant::now() + within;
        while let Some(heard) = self.next(deadline).await {
            match heard {
                Heard::Event { at, event } if is_it(&event) => return Some((at, event)),
                _ => {}
            }
        }
        None
    }
}

async fn listen(response: hyper::Response<hyper::body::Incoming>, tell: &mpsc::Sender<Heard>) -> End {
    let (head, mut body) = response.into_parts();
    let mut told =
        Head { at: Instant::now(), status: head.status, headers: head.headers, body: Bytes::new() };
    if told.status != StatusCode::OK {
        let read = Limited::new(body, REFUSAL_BYTES_MAX).collect().await;
        told.body = read.map(http_body_util::Collected::to_bytes).unwrap_or_default();
        let _ = tell.send(Heard::Head(Box::new(told))).await;
        return End::Clean;
    }
    if tell.send(Heard::Head(Box::new(told))).await.is_err() {
        return End::Clean;
    }
    let mut events = Events::default();
    loop {
        let Some(frame) = body.frame().await else { return End::Clean };
        let at = Instant::now();
        let frame = match frame {
            Ok(frame) => frame,
            Err(error) => return End::Broken(format!("the stream broke: {error}")),
        };
        let Some(bytes) = frame.data_ref() else { continue };
        let retry_before = events.retry_ms.take();
        let dispatched = match events.push(bytes) {
            Ok(dispatched) => dispatched,
            Err(endless) => return End::Broken(format!("the stream broke: {endless}")),
        };
        let is_retry = events.retry_ms.is_some();
        events.retry_ms = events.retry_ms.or(retry_before);
        let mut heard = Vec::with_capacity(dispatched.len() + 1);
        if dispatched.is_empty() {
            heard.push(Heard::Quiet { at, is_retry });
        }
        heard.extend(dispatched.into_iter().map(|event| Heard::Event { at, event: kept(event) }));
        for one in heard {
            if tell.send(one).await.is_err() {
                return End::Clean;
            }
        }
    }
}

/// An event without its data where that is more than any of ours.
fn kept(event: Event) -> Event {
    if event.data.len() > DATA_BYTES_MAX { Event { data: String::new(), ..event } } else { event }
}
