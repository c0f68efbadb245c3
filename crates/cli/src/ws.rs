//! Following over a WebSocket that speaks `tidewire.v1`.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::Value;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::{self, Message, handshake::client::Request};

use crate::http::{self, Refused};
use crate::show::{Envelope, Gap};
use crate::subscribe::{Follow, Stop};
use crate::target::Target;

/// The server pings every 20 s; silent for longer than this, it is gone.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// Follows to the connection's end.
pub(crate) async fn follow(follow: &mut Follow) -> Stop {
    match read(follow).await {
        Ok(why) => Stop::Cut(why),
        Err(stop) => stop,
    }
}

async fn read(follow: &mut Follow) -> Result<String, Stop> {
    let request = request(follow)?;
    let socket = http::connect(&follow.target).await?;
    let shaken = timeout(SILENCE_MAX, tokio_tungstenite::client_async(request, socket)).await;
    let shaken = shaken.map_err(|_| Stop::Cut("the handshake was not answered".into()))?;
    let (mut socket, _) = shaken.map_err(refused)?;
    loop {
        let next = timeout(SILENCE_MAX, socket.next()).await;
        let next = next.map_err(|_| Stop::Cut(format!("nothing came for {} s", SILENCE_MAX.as_secs())))?;
        let message = match next {
            None => return Ok("the WebSocket ended".into()),
            Some(message) => message.map_err(|error| Stop::Cut(format!("the WebSocket broke: {error}")))?,
        };
        match message {
            Message::Text(text) => frame(follow, &text)?,
            Message::Close(None) => return Ok("the server closed the WebSocket".into()),
            Message::Close(Some(close)) => return closed(follow, close.code.into(), &close.reason),
            // Pongs are queued by the library; they leave with the next flush.
            Message::Ping(_) => socket.flush().await.map_err(|error| Stop::Cut(error.to_string()))?,
            _ => {}
        }
    }
}

fn frame(follow: &mut Follow, text: &str) -> Result<(), Stop> {
    let frame: Value = serde_json::from_str(text).map_err(|_| Stop::Cut("a frame cannot be read".into()))?;
    match frame.get("type").and_then(Value::as_str) {
        Some("message") => {
            let envelope = Envelope::of(frame).ok_or_else(|| Stop::Cut("a message cannot be read".into()))?;
            follow.message(&envelope)
        }
        Some("gap") => match serde_json::from_value::<Gap>(frame) {
            Ok(gap) => follow.gap(&gap),
            Err(_) => Err(Stop::Cut("a gap cannot be read".into())),
        },
        Some("ready") => {
            follow.passed(frame.get("cursor").and_then(Value::as_str).unwrap_or_default());
            Ok(())
        }
        // Frames that a later server knows are for later clients.
        _ => Ok(()),
    }
}

/// A close that asks us to come back later, or never.
fn closed(follow: &Follow, code: u16, reason: &str) -> Result<String, Stop> {
    let words = format!("the server closed the WebSocket: {reason} ({code})");
    match code {
        // What we sent, asked for or are cannot become right by asking again.
        1002 | 1003 | 1007 | 1009 | 4400 | 4401 | 4403..=4405 | 4409 => {
            let about = format!("{words}, for {}", follow.channels);
            Err(Stop::Over(Err(crate::exit::Failure::Runtime(about))))
        }
        _ => Ok(words),
    }
}

fn request(follow: &Follow) -> Result<Request, Stop> {
    let start = follow.start.query();
    let query: Vec<(&str, &str)> = start.iter().map(|(key, value)| (*key, value.as_str())).collect();
    let path = follow.target.path(&Target::channels(&follow.channels), &query);
    let request = handshake(&follow.target, &path).header("sec-websocket-protocol", "tidewire.v1").body(());
    request.map_err(|error| Stop::Cut(format!("this cannot be asked: {error}")))
}

/// The request of a handshake (RFC 6455 section 4.1), without a subprotocol.
pub(crate) fn handshake(target: &Target, path: &str) -> hyper::http::request::Builder {
    let nonce = [getrandom::u64(), getrandom::u64()].map(Result::unwrap_or_default);
    let key = STANDARD.encode(nonce.map(u64::to_be_bytes).concat());
    http::request(target, "GET", &format!("ws://{}{path}", target.authority))
        .header("connection", "Upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", key)
}

fn refused(error: tungstenite::Error) -> Stop {
    match error {
        tungstenite::Error::Http(response) => {
            let body = response.body().as_deref().unwrap_or_default();
            Stop::from(Refused::of(response.status(), body))
        }
        error => Stop::Cut(format!("the handshake broke: {error}")),
    }
}
