//! WebSockets: whether the handshake passes, what answers in its place, and whether messages come back as they were sent.

use std::time::{Duration, Instant};

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::time::{timeout, timeout_at};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::http::Socket;
use crate::ws;

use super::super::finding::{Code, Finding, Verdict};
use super::super::route::{Problem, Route, STEP_MAX, nonce, seconds, shown};

pub(crate) const CHECK: &str = "WebSocket";

/// Why there is no WebSocket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Another answer than 101.
    Answered {
        status: u16,
        body: String,
        server: Option<String>,
    },
    /// `Sec-WebSocket-Accept` does not belong to the key.
    Accept,
    /// The subprotocol that was asked for was not chosen.
    Subprotocol,
    Broken(String),
}

/// A raw WebSocket and one of `tidewire.v1`.
#[derive(Clone, Debug)]
pub(crate) struct Shaken {
    /// How long the handshake took, and what came back of what was sent; nothing where we may not publish.
    pub raw: Result<(Duration, Option<Echo>), Refusal>,
    /// Whether a `ping` was answered; not tried where there is no raw one.
    pub spoken: Result<bool, Refusal>,
}

/// What came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Echo {
    pub text: bool,
    pub binary: bool,
}

/// Opens a WebSocket.
pub(crate) async fn open(
    route: &Route,
    channel: &str,
    protocol: Option<&str>,
) -> Result<(WebSocketStream<Box<dyn Socket>>, Duration), Refusal> {
    let mut request = ws::handshake(&route.target, &route.path(channel, &[]));
    if let Some(protocol) = protocol {
        request = request.header("sec-websocket-protocol", protocol);
    }
    let request = request.body(()).map_err(|error| Refusal::Broken(error.to_string()))?;
    let socket = route.connect().await.map_err(Refusal::Broken)?;
    let began = Instant::now();
    let shaken = timeout(STEP_MAX, tokio_tungstenite::client_async(request, socket)).await;
    let shaken = shaken.map_err(|_| Refusal::Broken(format!("no answer within {}", seconds(STEP_MAX))))?;
    shaken.map(|(socket, _)| (socket, began.elapsed())).map_err(refusal)
}

fn refusal(error: Error) -> Refusal {
    match error {
        Error::Http(response) => {
            let body = response.body().as_deref().unwrap_or_default();
            let server = response.headers().get("server").and_then(|value| value.to_str().ok());
            Refusal::Answered {
                status: response.status().as_u16(),
                body: String::from_utf8_lossy(body).into_owned(),
                server: server.map(shown),
            }
        }
        Error::Protocol(ProtocolError::SecWebSocketAcceptKeyMismatch) => Refusal::Accept,
        Error::Protocol(ProtocolError::SecWebSocketSubProtocolError(_)) => Refusal::Subprotocol,
        error => Refusal::Broken(format!("the handshake broke: {error}")),
    }
}

pub(crate) async fn measure(route: &Route, may_publish: bool) -> Shaken {
    let channel = route.channel("socket");
    let raw = async {
        let (mut socket, took) = open(route, &channel, None).await?;
        let echo = if may_publish { Some(echo(&mut socket).await) } else { None };
        Ok((took, echo))
    };
    let spoken = async {
        let (mut socket, _) = open(route, &channel, Some("tidewire.v1")).await?;
        let word = nonce();
        let ping = format!(r#"{{"type":"ping","id":"{word}"}}"#);
        let _ = socket.send(Message::text(ping)).await;
        Ok(hears(&mut socket, |message| {
            matches!(message, Message::Text(text) if text.contains("\"pong\"") && text.contains(&word))
        })
        .await)
    };
    let raw = raw.await;
    // What keeps one out keeps the other out, and has been waited for.
    let spoken = if raw.is_ok() { spoken.await } else { Ok(false) };
    Shaken { raw, spoken }
}

/// Sends a text and every byte there is, and listens for both.
async fn echo(socket: &mut WebSocketStream<Box<dyn Socket>>) -> Echo {
    let text = format!("doctor {} – äöü ✓", nonce());
    let _ = socket.send(Message::text(text.clone())).await;
    let text =
        hears(socket, |message| matches!(message, Message::Text(heard) if heard.as_str() == text)).await;
    let every: Vec<u8> = (0..16u8).flat_map(|_| 0..=255u8).collect();
    let _ = socket.send(Message::binary(every.clone())).await;
    let binary =
        hears(socket, |message| matches!(message, Message::Binary(heard) if heard[..] == every[..])).await;
    Echo { text, binary }
}

/// What comes next until `deadline`: a message, an error, or (within) nothing where it has ended.
pub(crate) async fn next(
    socket: &mut WebSocketStream<Box<dyn Socket>>,
    deadline: Instant,
) -> Option<Option<Result<Message, Error>>> {
    // A timeout looks at the clock only while there is nothing to read, and one read may hold ten thousands of messages: without
    // these two a server that floods us would keep us, and everything else that we look at, for as long as it likes.
    if Instant::now() >= deadline {
        return None;
    }
    tokio::task::consume_budget().await;
    timeout_at(deadline.into(), socket.next()).await.ok()
}

async fn hears(socket: &mut WebSocketStream<Box<dyn Socket>>, is_it: impl Fn(&Message) -> bool) -> bool {
    let deadline = Instant::now() + Duration::from_millis(1_500);
    while let Some(Some(Ok(message))) = next(socket, deadline).await {
        if is_it(&message) {
            return true;
        }
    }
    false
}

pub(crate) fn judge(shaken: &Shaken) -> Verdict {
    let (took, echo) = match &shaken.raw {
        Ok(raw) => raw,
        Err(refusal) => {
            return Verdict::of(CHECK, vec![refused(refusal)], "");
        }
    };
    let mut findings = Vec::new();
    match &shaken.spoken {
        Ok(true) => {}
        Ok(false) => findings
            .push(Finding::new(Code::SocketAltered, "a `ping` of tidewire.v1 was not answered within 1.5 s")),
        Err(Refusal::Subprotocol) => {
            let seen = "asked for with `Sec-WebSocket-Protocol: tidewire.v1`, the answer chooses none";
            findings.push(Finding::new(Code::SubprotocolLost, seen));
        }
        Err(other) => findings.push(refused(other)),
    }
    if let Some(Echo { text, binary }) = echo {
        for (came, what) in [(text, "a text"), (binary, "a binary message of 4 KiB")] {
            if !came {
                findings.push(Finding::new(
                    Code::SocketAltered,
                    format!("{what} did not come back as it was sent, within 1.5 s"),
                ));
            }
        }
    }
    let echoed = if echo.is_some() { "; text and binary came back whole" } else { "" };
    Verdict::of(CHECK, findings, format!("open after {}{echoed}", seconds(*took)))
}

/// What an answer in place of 101 says about who gave it.
fn refused(refusal: &Refusal) -> Finding {
    let (status, body, server) = match refusal {
        Refusal::Accept => {
            return Finding::new(
                Code::AcceptWrong,
                "101, with a Sec-WebSocket-Accept that does not belong to our key",
            );
        }
        Refusal::Subprotocol => return Finding::new(Code::SubprotocolLost, "the subprotocol was not chosen"),
        Refusal::Broken(why) => return Finding::new(Code::UpgradeLost, why.clone()),
        Refusal::Answered { status, body, server } => (status, body, server),
    };
    if let Ok(problem) = serde_json::from_str::<Problem>(body) {
        let seen = format!("Tidewire said {status} `{}`: {}", problem.code, problem.detail);
        // It saw half a handshake.
        let code = match problem.code.as_str() {
            "protocol_error" | "upgrade_required" | "bad_request" => Code::UpgradeLost,
            _ => Code::SocketRefused,
        };
        return Finding::new(code, seen);
    }
    if *status == 200 && (body.contains("\"messages\"") || body.is_empty()) {
        let seen =
            "200 and the page of a poll in place of 101: the request came to Tidewire, without its Upgrade";
        return Finding::new(Code::UpgradeLost, seen);
    }
    let by = server.as_ref().map(|server| format!(" by `{server}`")).unwrap_or_default();
    Finding::new(Code::UpgradeLost, format!("{status}{by} in place of 101"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(raw: Result<(Duration, Option<Echo>), Refusal>, spoken: Result<bool, Refusal>) -> Option<Code> {
        judge(&Shaken { raw, spoken }).findings().first().map(|finding| finding.code)
    }

    fn answered(status: u16, body: &str) -> Refusal {
        Refusal::Answered { status, body: body.into(), server: None }
    }

    #[test]
    fn what_comes_in_place_of_101_says_who_dropped_the_handshake() {
        let page = r#"{"messages":[],"cursor":"1.1","more":false,"gap":null}"#;
        let half = r#"{"code":"protocol_error","detail":"the Connection field does not hold `upgrade`"}"#;
        let forbidden = r#"{"code":"origin_refused","detail":"pages from x may not"}"#;
        for (refusal, expected) in [
            (answered(200, page), Code::UpgradeLost),
            (answered(400, half), Code::UpgradeLost),
            (answered(403, forbidden), Code::SocketRefused),
            (answered(502, "<html>"), Code::UpgradeLost),
            (Refusal::Accept, Code::AcceptWrong),
            (Refusal::Broken("closed".into()), Code::UpgradeLost),
        ] {
            assert_eq!(code(Err(refusal.clone()), Ok(true)), Some(expected), "{refusal:?}");
        }
    }

    #[test]
    fn an_open_socket_has_to_give_back_what_it_was_given() {
        let soon = Duration::from_millis(3);
        let echo = |text, binary| Ok((soon, Some(Echo { text, binary })));
        assert_eq!(code(echo(true, true), Ok(true)), None);
        assert_eq!(code(Ok((soon, None)), Ok(true)), None);
        assert_eq!(code(echo(true, false), Ok(true)), Some(Code::SocketAltered));
        assert_eq!(code(echo(true, true), Err(Refusal::Subprotocol)), Some(Code::SubprotocolLost));
    }
}
