//! Requests to the server: one connection each, and refusals in the server's own words.

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use crate::exit::Failure;
use crate::target::Target;
use crate::tls;

/// Why a request was not answered as asked.
#[derive(Clone, Debug)]
pub(crate) enum Refused {
    /// There was no answer: the server may be restarting.
    Unreachable(String),
    /// The server said no.
    Refused { status: StatusCode, words: String },
}

impl Refused {
    /// What the server said, in its own words where it used them.
    pub(crate) fn of(status: StatusCode, body: &[u8]) -> Refused {
        Refused::Refused { status, words: words(status, body) }
    }

    /// Whether the same request may succeed later.
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            Refused::Unreachable(_) => true,
            Refused::Refused { status, .. } => {
                status.is_server_error() && *status != StatusCode::NOT_IMPLEMENTED
                    || matches!(*status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT)
            }
        }
    }
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Refused::Unreachable(what) => f.write_str(what),
            Refused::Refused { words, .. } => f.write_str(words),
        }
    }
}

impl From<Refused> for Failure {
    fn from(refused: Refused) -> Failure {
        if refused.may_pass() {
            Failure::TryAgain(refused.to_string())
        } else {
            Failure::Runtime(refused.to_string())
        }
    }
}

/// A connection, with TLS or without.
pub(crate) trait Socket: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Socket for T {}

/// Opens a connection.
pub(crate) async fn connect(target: &Target) -> Result<Box<dyn Socket>, Refused> {
    let Target { host, port, authority, trust, .. } = target;
    let unreachable = |why: String| Refused::Unreachable(format!("cannot reach {authority}: {why}"));
    let socket = TcpStream::connect((host.as_str(), *port)).await;
    let socket = socket.map_err(|error| unreachable(error.to_string()))?;
    match trust {
        None => Ok(Box::new(socket)),
        Some(trust) => Ok(Box::new(tls::shake(socket, host, trust).await.map_err(unreachable)?)),
    }
}

/// Sends a request and gives the response once its head is here; anything but 200 is a refusal.
pub(crate) async fn send(
    target: &Target,
    request: Request<Full<Bytes>>,
) -> Result<Response<Incoming>, Refused> {
    let response = exchange(connect(target).await?, target, request).await?;
    if response.status() == StatusCode::OK {
        return Ok(response);
    }
    let status = response.status();
    let body = Limited::new(response.into_body(), PROBLEM_BYTES_MAX).collect().await;
    let body = body.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    Err(Refused::of(status, &body))
}

/// Sends a request on a connection that is open, and gives the response once its head is here, whatever it says.
pub(crate) async fn exchange(
    socket: Box<dyn Socket>,
    target: &Target,
    request: Request<Full<Bytes>>,
) -> Result<Response<Incoming>, Refused> {
    let broken =
        |error: hyper::Error| Refused::Unreachable(format!("{} gave no answer: {error}", target.authority));
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(socket)).await.map_err(broken)?;
    // Ends with the response's body, or with its error, which the body shows too.
    tokio::spawn(connection);
    sender.send_request(request).await.map_err(broken)
}

/// A request with what every request of ours carries.
pub(crate) fn request(target: &Target, method: &str, path: &str) -> hyper::http::request::Builder {
    let builder = Request::builder().method(method).uri(path).header("host", &target.authority);
    match &target.token {
        Some(token) => builder.header("authorization", format!("Bearer {token}")),
        None => builder,
    }
}

/// A problem is a few sentences.
const PROBLEM_BYTES_MAX: usize = 64 << 10;

fn words(status: StatusCode, body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Problem {
        code: String,
        detail: String,
        #[serde(default)]
        hint: String,
    }
    #[derive(Deserialize)]
    struct Health {
        status: String,
    }
    match serde_json::from_slice::<Problem>(body) {
        Ok(Problem { code, detail, hint }) => format!("{detail} ({code}). {hint}").trim_end().to_owned(),
        // What `/readyz` answers (docs/protocol.md): one word, such as `draining`.
        Err(_) => match serde_json::from_slice::<Health>(body) {
            Ok(Health { status: word }) => format!("the server is {word}"),
            Err(_) => format!("the server answered {status}"),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_shows_the_detail_and_the_hint() {
        let body = br#"{"code":"channel_invalid","detail":"the channel name is empty","hint":"Use a name.","status":400}"#;
        let shown = words(StatusCode::BAD_REQUEST, body);
        assert_eq!(shown, "the channel name is empty (channel_invalid). Use a name.");
        assert_eq!(words(StatusCode::BAD_GATEWAY, b"<html>"), "the server answered 502 Bad Gateway");
        let draining = words(StatusCode::SERVICE_UNAVAILABLE, br#"{"status":"draining"}"#);
        assert_eq!(draining, "the server is draining");
    }

    #[test]
    fn what_may_pass_is_tried_again_and_what_may_not_is_not() {
        let refused = |code: u16| Refused::Refused {
            status: StatusCode::from_u16(code).unwrap(),
            words: String::new(),
        };
        for code in [408, 429, 500, 502, 503, 504] {
            assert!(refused(code).may_pass(), "{code}");
        }
        for code in [204, 400, 401, 403, 404, 409, 413, 501] {
            assert!(!refused(code).may_pass(), "{code}");
        }
    }
}
