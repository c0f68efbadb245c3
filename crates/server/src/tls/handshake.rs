//! Handshakes: TLS 1.2 and 1.3, HTTP/2 where the client knows it, and tickets for those who come back.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::identity::{CHALLENGE, Identities, PROTOCOLS, Unreadable};
use crate::config::TlsSettings;
use crate::line::Fronted;

/// How long a handshake may take (security rule S33).
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);

/// What may wait in a connection, encrypted, for a client to take it. Beyond, nothing more is written.
const BUFFER_BYTES_MAX: usize = 64 << 10;

/// What a client and this server have agreed to speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spoken {
    /// HTTP/1.1, also where nothing was said.
    Http1,
    /// HTTP/2.
    Http2,
}

/// Everything that handshakes need.
#[derive(Clone)]
pub struct Tls {
    acceptor: TlsAcceptor,
    identities: Arc<Identities>,
}

impl Tls {
    /// TLS as `settings` describe it.
    ///
    /// # Errors
    /// Certificates or keys that cannot be used.
    pub fn open(settings: &TlsSettings) -> Result<Tls, Unreadable> {
        let identities = Arc::new(Identities::read(settings)?);
        identities.prepare()?;
        let provider = Arc::new(aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| Unreadable::of("tls.cert", &error))?;
        let mut config = config.with_no_client_auth().with_cert_resolver(identities.clone());
        config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).into();
        if identities.orders() {
            config.alpn_protocols.push(CHALLENGE.to_vec());
        }
        config.ticketer = aws_lc_rs::Ticketer::new().map_err(|error| Unreadable::of("tls.cert", &error))?;
        // Each is a write and a few hundred bytes, and one is enough to come back with.
        config.send_tls13_tickets = 1;
        // All that are offered are good; whoever looks wants to see that a client cannot choose the least of them.
        config.ignore_client_order = true;
        Ok(Tls { acceptor: TlsAcceptor::from(Arc::new(config)), identities })
    }

    /// What it shows to clients.
    #[must_use]
    pub fn identities(&self) -> Arc<Identities> {
        self.identities.clone()
    }

    /// Shakes hands over a socket of which something may have been read.
    ///
    /// # Errors
    /// The client speaks something else, gives up, or takes too long.
    pub(crate) async fn accept(&self, socket: Fronted) -> io::Result<(TlsStream<Fronted>, Spoken)> {
        let accepted = timeout(HANDSHAKE_MAX, self.acceptor.accept(socket)).await;
        let mut stream = accepted.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        let session = stream.get_mut().1;
        session.set_buffer_limit(Some(BUFFER_BYTES_MAX));
        let spoken = match session.alpn_protocol() {
            Some(b"h2") => Spoken::Http2,
            // The handshake was the answer: nothing else is said (RFC 8737 section 3).
            Some(CHALLENGE) => {
                timeout(HANDSHAKE_MAX, stream.shutdown()).await.map_err(|_| io::ErrorKind::TimedOut)??;
                return Err(io::Error::other("it was a challenge, and is answered"));
            }
            _ => Spoken::Http1,
        };
        Ok((stream, spoken))
    }
}

/// The first byte of every TLS connection: a record that shakes hands (RFC 8446 section 5.1).
const HANDSHAKE_RECORD: u8 = 22;

/// Waits for the first byte and says whether it begins TLS; nothing where the client has gone.
pub(crate) async fn begins_tls(socket: &TcpStream, before: &[u8], first_due: Duration) -> Option<bool> {
    if let Some(first) = before.first() {
        return Some(*first == HANDSHAKE_RECORD);
    }
    let mut first = [0];
    match timeout(first_due, socket.peek(&mut first)).await {
        Ok(Ok(1)) => Some(first[0] == HANDSHAKE_RECORD),
        _ => None,
    }
}
