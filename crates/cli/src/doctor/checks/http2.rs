//! HTTP/2: whether a page's streams share a connection, or take one of six each.

use hyper::Request;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::tls;

use super::super::finding::{Code, Verdict};
use super::super::route::{Route, STEP_MAX, brief};

const CHECK: &str = "HTTP/2";

/// Streams that are opened at once: twice what a browser has over HTTP/1.1.
const STREAMS: usize = 12;

/// What was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Multiplexed {
    /// Without TLS browsers do not speak it.
    WithoutTls,
    /// TLS, and something else was chosen.
    NotChosen(Option<String>),
    /// Streams that began, and whether a WebSocket may be opened inside (RFC 8441).
    Streams {
        began: usize,
        extended_connect: bool,
    },
    Broken(String),
}

/// `protocol` is what ALPN chose where both were offered.
pub(crate) async fn measure(route: &Route, protocol: Option<&[u8]>) -> Multiplexed {
    let Some(trust) = &route.target.trust else { return Multiplexed::WithoutTls };
    if protocol != Some(b"h2") {
        return Multiplexed::NotChosen(protocol.map(|name| String::from_utf8_lossy(name).into_owned()));
    }
    route.wait_for_turn().await;
    let target = &route.target;
    let opened = timeout(STEP_MAX, async {
        let socket = TcpStream::connect((target.host.as_str(), target.port))
            .await
            .map_err(|error| error.to_string())?;
        let socket =
            tls::shake_for(socket, &target.host, trust, &[b"h2"]).await.map_err(|error| error.to_string())?;
        h2::client::handshake(socket).await.map_err(|error| error.to_string())
    });
    let (sender, connection) = match opened.await {
        Ok(Ok(opened)) => opened,
        Ok(Err(why)) => return Multiplexed::Broken(why),
        Err(_) => return Multiplexed::Broken("the handshake did not end".into()),
    };
    let task = tokio::spawn(connection);
    let outcome = open_streams(route, sender).await;
    task.abort();
    outcome.unwrap_or_else(Multiplexed::Broken)
}

async fn open_streams(
    route: &Route,
    sender: h2::client::SendRequest<bytes::Bytes>,
) -> Result<Multiplexed, String> {
    let channel = route.channel("http2");
    let (mut held, mut began) = (Vec::new(), 0);
    let mut sender = timeout(STEP_MAX, sender.ready())
        .await
        .map_err(|_| "it takes no stream")?
        .map_err(|error| error.to_string())?;
    let deadline = tokio::time::Instant::now() + STEP_MAX;
    for _ in 0..STREAMS {
        let uri = route.target.url(&crate::target::Target::channels(&channel), &[]);
        let mut request = Request::builder().uri(uri).header("accept", "text/event-stream");
        if let Some(token) = &route.target.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let request = request.body(()).map_err(|error| error.to_string())?;
        // A server that allows fewer streams has the next one wait.
        match tokio::time::timeout_at(deadline, sender.ready()).await {
            Ok(ready) => sender = ready.map_err(|error| error.to_string())?,
            Err(_) => return Ok(Multiplexed::Streams { began, extended_connect: false }),
        }
        let (response, _) = sender.send_request(request, true).map_err(|error| error.to_string())?;
        match tokio::time::timeout_at(deadline, response).await {
            Ok(Ok(response)) => {
                began += usize::from(response.status() == hyper::StatusCode::OK);
                // Dropped, it would be reset, and make room for the next.
                held.push(response);
            }
            Ok(Err(error)) => return Err(error.to_string()),
            Err(_) => break,
        }
    }
    let extended_connect = sender.is_extended_connect_protocol_enabled();
    Ok(Multiplexed::Streams { began, extended_connect })
}

pub(crate) fn judge(seen: &Multiplexed) -> Verdict {
    const SIX: &str = "a browser opens six connections to a host, and the seventh stream waits";
    match seen {
        Multiplexed::WithoutTls => Verdict::told(CHECK, format!("none without TLS: {SIX}")),
        Multiplexed::NotChosen(chosen) => {
            let chosen = chosen
                .as_deref()
                .map_or_else(|| "ALPN was not answered".to_owned(), |name| format!("ALPN chose `{name}`"));
            Verdict::wrong(CHECK, Code::Http2Missing, chosen)
        }
        Multiplexed::Streams { began, extended_connect } if *began == STREAMS => {
            let sockets = if *extended_connect {
                "; WebSockets may share it (RFC 8441)"
            } else {
                "; WebSockets take one each"
            };
            Verdict::passed(CHECK, format!("{began} streams on one connection{sockets}"))
        }
        Multiplexed::Streams { began, .. } => Verdict::wrong(
            CHECK,
            Code::Http2Streams,
            format!("{began} of {STREAMS} streams began on one connection within 3.0 s"),
        ),
        Multiplexed::Broken(why) => {
            // A GOAWAY says why in as many words as its sender likes.
            Verdict::wrong(CHECK, Code::Http2Streams, format!("ALPN chose `h2`, and then: {}", brief(why)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn six_connections_are_a_fact_without_tls_and_a_finding_with_it() {
        let code = |seen| judge(&seen).findings().first().map(|finding| finding.code);
        assert_eq!(code(Multiplexed::WithoutTls), None);
        assert_eq!(code(Multiplexed::NotChosen(Some("http/1.1".into()))), Some(Code::Http2Missing));
        assert_eq!(code(Multiplexed::NotChosen(None)), Some(Code::Http2Missing));
        let streams = |began| Multiplexed::Streams { began, extended_connect: true };
        assert_eq!(code(streams(STREAMS)), None);
        assert_eq!(code(streams(6)), Some(Code::Http2Streams));
        assert_eq!(code(Multiplexed::Broken("GOAWAY".into())), Some(Code::Http2Streams));
        let verdict = judge(&Multiplexed::Broken("GOAWAY, and more".repeat(1 << 10)));
        assert!(verdict.findings()[0].seen.len() < 500);
    }
}
