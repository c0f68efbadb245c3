//! axum and `tokio::sync::broadcast`: SSE and WebSocket at `/c/CHANNEL`, publish by POST to the same address.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, RwLock};

use axum::Router;
use axum::extract::ws::{Message, Utf8Bytes, WebSocketUpgrade};
use axum::extract::{FromRequestParts, Path, Request, State};
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures_util::StreamExt;
use tokio::sync::broadcast;
use tokio_stream::wrappers::BroadcastStream;

/// Channel name -> who hears it.
type Channels = Arc<RwLock<HashMap<String, broadcast::Sender<Utf8Bytes>>>>;

/// Messages that a subscriber may be behind; then it misses some.
const BEHIND_MAX: usize = 1_024;

// One thread, since the server has one core: more would only pass work to each other.
#[tokio::main(flavor = "current_thread")]
async fn main() {
    let port: u16 = std::env::args().nth(1).and_then(|port| port.parse().ok()).expect("usage: PORT");
    let router = Router::new()
        .route("/livez", get(|| async { "ok" }))
        .route("/c/{channel}", get(subscribe).post(publish))
        .with_state(Channels::default());
    let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
    socket.set_reuseaddr(true).expect("an option");
    socket.set_nodelay(true).expect("an option");
    socket.bind(([127, 0, 0, 1], port).into()).expect("a free port");
    axum::serve(socket.listen(4_096).expect("a listener"), router).await.expect("serve");
}

async fn publish(
    State(channels): State<Channels>,
    Path(channel): Path<String>,
    body: String,
) -> &'static str {
    if let Some(sender) = channels.read().expect("no panic").get(&channel) {
        let _ = sender.send(body.into());
    }
    "{}"
}

async fn subscribe(
    State(channels): State<Channels>,
    Path(channel): Path<String>,
    request: Request,
) -> Response {
    let receiver = channels
        .write()
        .expect("no panic")
        .entry(channel)
        .or_insert_with(|| broadcast::channel(BEHIND_MAX).0)
        .subscribe();
    let mut messages = BroadcastStream::new(receiver).filter_map(|message| std::future::ready(message.ok()));
    let (mut parts, _) = request.into_parts();
    match WebSocketUpgrade::from_request_parts(&mut parts, &()).await {
        // Its default read buffer is 128 KiB a connection.
        Ok(upgrade) => {
            upgrade.read_buffer_size(1 << 10).write_buffer_size(0).on_upgrade(|mut socket| async move {
                loop {
                    let alive = tokio::select! {
                        Some(text) = messages.next() => socket.send(Message::Text(text)).await.is_ok(),
                        received = socket.recv() => matches!(received, Some(Ok(_))),
                    };
                    if !alive {
                        break;
                    }
                }
            })
        }
        Err(_) => Sse::new(messages.map(|text| Ok::<_, Infallible>(Event::default().data(text.as_str()))))
            .into_response(),
    }
}
