//! Following over plain GETs: as a stream of events, or as one long poll after the other.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use serde::Deserialize;
use serde_json::Value;
use tokio::time::timeout;

use crate::http;
use crate::show::{Envelope, Gap};
use crate::sse::Events;
use crate::subscribe::{Follow, Stop};
use crate::target::Target;

/// Quiet streams get a heartbeat every 15 s; three of them missed are a dead connection.
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// How long a poll waits, in seconds.
const WAIT_S: &str = "25";
/// A page has at most 1 MiB of payload, which JSON may write six times as long.
const PAGE_BYTES_MAX: usize = 16 << 20;

/// Follows a stream of events to its end.
pub(crate) async fn stream(follow: &mut Follow) -> Stop {
    match read_stream(follow).await {
        Ok(()) => Stop::Cut("the stream ended".into()),
        Err(stop) => stop,
    }
}

async fn read_stream(follow: &mut Follow) -> Result<(), Stop> {
    let response = get(follow, "text/event-stream", &[("format", "json")]).await?;
    let mut body = response.into_body();
    let mut events = Events::default();
    loop {
        let frame = timeout(SILENCE_MAX, body.frame()).await;
        let frame = frame.map_err(|_| Stop::Cut(format!("nothing came for {} s", SILENCE_MAX.as_secs())))?;
        let Some(frame) = frame else { return Ok(()) };
        let frame = frame.map_err(|error| Stop::Cut(format!("the stream broke: {error}")))?;
        let Some(data) = frame.data_ref() else { continue };
        let dispatched =
            events.push(data).map_err(|endless| Stop::Cut(format!("the stream broke: {endless}")))?;
        for event in dispatched {
            match event.kind.as_str() {
                "message" => {
                    let envelope = serde_json::from_str(&event.data).ok().and_then(Envelope::of);
                    follow.message(&envelope.ok_or_else(|| Stop::Cut("a message cannot be read".into()))?)?;
                }
                "$gap" => {
                    if let Ok(gap) = serde_json::from_str::<Gap>(&event.data) {
                        follow.gap(&gap)?;
                    }
                }
                // Events that a later server knows are for later clients.
                _ => {}
            }
        }
        follow.retry = events.retry_ms.map(Duration::from_millis);
        if !events.last_id.is_empty() {
            // Heartbeats and `$ready` carry ids without messages.
            follow.passed(&events.last_id);
        }
    }
}

/// A page, as polls and history answer it.
#[derive(Deserialize)]
pub(crate) struct Page {
    pub messages: Vec<Value>,
    pub cursor: String,
    #[serde(default)]
    pub more: bool,
    pub gap: Option<Gap>,
}

/// Follows by polling, for as long as polls are answered.
pub(crate) async fn poll(follow: &mut Follow) -> Stop {
    loop {
        if let Err(stop) = read_poll(follow).await {
            return stop;
        }
    }
}

async fn read_poll(follow: &mut Follow) -> Result<(), Stop> {
    let response = get(follow, "application/json", &[("wait", WAIT_S)]).await?;
    let page = timeout(SILENCE_MAX, page(response)).await;
    let page = page.map_err(|_| Stop::Cut("the answer stopped".into()))??;
    show(follow, page)
}

/// Shows a page and goes on behind it.
pub(crate) fn show(follow: &mut Follow, page: Page) -> Result<(), Stop> {
    if let Some(gap) = &page.gap {
        follow.gap(gap)?;
    }
    for message in page.messages.into_iter().filter_map(Envelope::of) {
        follow.message(&message)?;
    }
    follow.passed(&page.cursor);
    Ok(())
}

/// Reads a page out of a response.
pub(crate) async fn page(response: hyper::Response<hyper::body::Incoming>) -> Result<Page, Stop> {
    let body = Limited::new(response.into_body(), PAGE_BYTES_MAX).collect().await;
    let body = body.map_err(|error| Stop::Cut(format!("the answer broke: {error}")))?;
    serde_json::from_slice(&body.to_bytes())
        .map_err(|error| Stop::Cut(format!("the answer cannot be read: {error}")))
}

async fn get(
    follow: &Follow,
    accept: &str,
    query: &[(&str, &str)],
) -> Result<hyper::Response<hyper::body::Incoming>, Stop> {
    let start = follow.start.query();
    let mut query = query.to_vec();
    query.extend(start.as_ref().map(|(key, value)| (*key, value.as_str())));
    let path = follow.target.path(&Target::channels(&follow.channels), &query);
    let request =
        http::request(&follow.target, "GET", &path).header("accept", accept).body(Full::new(Bytes::new()));
    let request = request.map_err(|error| Stop::Cut(format!("this cannot be asked: {error}")))?;
    let head = timeout(SILENCE_MAX, http::send(&follow.target, request)).await;
    Ok(head.map_err(|_| Stop::Cut(format!("no answer came for {} s", SILENCE_MAX.as_secs())))??)
}
