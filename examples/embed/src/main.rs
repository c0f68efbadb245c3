//! A room with live pages: Tidewire inside an axum application.
//!
//! ```text
//! POST /login, /logout     sessions.rs: a cookie, as the application would have one anyway
//! POST /say                publishes to `room:lobby`; names are the server's word, since browsers cannot publish there
//! GET  /live/c/…           Tidewire: EventSource, WebSocket, polls, with the session's rights
//!                          moderator.rs: hears the room inside the process, and answers in private on `user:{name}`
//! ```
//!
//! `PORT` is where it listens, 3000 otherwise; with `REDIS_URL`, several of it share the room.

mod moderator;
mod sessions;

use std::error::Error;
use std::net::SocketAddr;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum::{Form, Router};
use serde::Deserialize;
use sessions::{COOKIE, Sessions};
use tidewire::{Grant, Refusal, Tidewire};
use tokio::net::TcpListener;

/// How long connections have to leave at the end. What starts this program should give it a little more.
const DRAIN: Duration = Duration::from_secs(5);

#[derive(Clone)]
struct App {
    live: Tidewire,
    sessions: Sessions,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let sessions = Sessions::default();
    let known = sessions.clone();
    let mut live = Tidewire::builder()
        .on_authorize(move |asked| {
            let session = asked.cookie(COOKIE).and_then(|id| known.find(id));
            async move {
                let session = session.ok_or_else(|| Refusal::unauthorized().because("log in first"))?;
                // `user:{name}` is the subject's own, and needs no words.
                let grant = Grant::to(session.name).session(session.id);
                Ok(grant.subscribe(["room:*"])?.history(["room:*", "user:*"])?.presence(["room:*"])?)
            }
        })
        .namespace("room", |room| room.presence(true).publish_from_here_alone());
    if let Ok(redis) = std::env::var("REDIS_URL") {
        live = live.redis(redis);
    }
    let live = live.start().await?;
    tokio::spawn(moderator::watch(live.clone()));

    let app = Router::new()
        .route("/", get(page))
        .route("/login", post(login))
        .route("/logout", post(logout))
        .route("/say", post(say))
        .nest("/live", live.router())
        .with_state(App { live: live.clone(), sessions });

    let port = std::env::var("PORT").ok().and_then(|port| port.parse().ok()).unwrap_or(3000);
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    println!("listening on http://{}", listener.local_addr()?);
    // With the addresses of those who connect, so that no one of them takes all the room.
    let service = app.into_make_service_with_connect_info::<SocketAddr>();
    axum::serve(listener, service)
        .with_graceful_shutdown(async move {
            told_to_end().await;
            // While the server still serves, so that whoever comes now is told where to go.
            let drained = live.shutdown(DRAIN).await;
            println!("drained: {drained:?}");
        })
        .await?;
    Ok(())
}

async fn page(State(app): State<App>, headers: HeaderMap) -> Html<String> {
    let name = app.sessions.of(&headers).map(|session| session.name).unwrap_or_default();
    // A name is letters and digits: it cannot leave its attribute.
    Html(include_str!("page.html").replace("YOUR-NAME", &name))
}

#[derive(Deserialize)]
struct Login {
    name: String,
}

/// Whoever says a name has it: the one thing here that an application does better.
async fn login(State(app): State<App>, Form(Login { name }): Form<Login>) -> Response {
    match app.sessions.open(&name) {
        // `SameSite=Lax`: no form of another site can speak for who is logged in.
        Some(id) => {
            let cookie = format!("{COOKIE}={id}; Path=/; HttpOnly; SameSite=Lax");
            ([(header::SET_COOKIE, cookie)], Redirect::to("/")).into_response()
        }
        None => (StatusCode::BAD_REQUEST, "a name is 1 to 20 letters and digits").into_response(),
    }
}

/// Ends the session, and with it every stream that it opened, on every node.
async fn logout(State(app): State<App>, headers: HeaderMap) -> Result<Redirect, Failed> {
    if let Some(session) = app.sessions.close(&headers) {
        app.live.revoke_session(session.id).await?;
    }
    Ok(Redirect::to("/"))
}

#[derive(Deserialize)]
struct Said {
    text: String,
}

async fn say(
    State(app): State<App>,
    headers: HeaderMap,
    Form(Said { text }): Form<Said>,
) -> Result<StatusCode, Failed> {
    let Some(session) = app.sessions.of(&headers) else { return Ok(StatusCode::UNAUTHORIZED) };
    app.live.publish("room:lobby", format!("{}: {text}", session.name)).event("said").await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What Tidewire refuses is told as it says it: too large, too often, going away.
struct Failed(tidewire::Error);

impl From<tidewire::Error> for Failed {
    fn from(error: tidewire::Error) -> Failed {
        Failed(error)
    }
}

impl IntoResponse for Failed {
    fn into_response(self) -> Response {
        let status =
            if self.0.is_temporary() { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::BAD_REQUEST };
        (status, self.0.to_string()).into_response()
    }
}

async fn told_to_end() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let mut terminated = signal(SignalKind::terminate()).expect("the signal can be listened to");
        tokio::select! {
            _ = terminated.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
    }
    #[cfg(not(unix))]
    {
        let _ = tokio::signal::ctrl_c().await;
    }
}
